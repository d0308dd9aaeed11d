//! Since when the broker or the database is away, or the ring is full. Pure: times come as
//! arguments.

use std::time::Duration;

use crate::control::api::TroubleStatus;

/// What is wrong at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wrong {
    /// No connection to the broker.
    pub broker: bool,
    /// The database is neither ok nor slow.
    pub database: bool,
    /// The ring is full.
    pub ring_full: bool,
}

/// When each of them began, since boot.
#[derive(Debug, Default)]
pub struct Spells {
    broker: Option<Duration>,
    database: Option<Duration>,
    ring_full: Option<Duration>,
}

impl Spells {
    /// Takes note of what is wrong now, and says for how long it has been.
    pub fn note(&mut self, now: Duration, wrong: Wrong) -> TroubleStatus {
        let lasted = |began: &mut Option<Duration>, is_wrong: bool| {
            *began = is_wrong.then(|| began.unwrap_or(now));
            began.map(|began| now.saturating_sub(began).as_secs_f64())
        };
        TroubleStatus {
            broker_s: lasted(&mut self.broker, wrong.broker),
            database_s: lasted(&mut self.database, wrong.database),
            ring_full_s: lasted(&mut self.ring_full, wrong.ring_full),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spell_lasts_from_its_beginning_to_its_end() {
        let mut spells = Spells::default();
        let at = Duration::from_secs;
        let away = Wrong { database: true, ..Wrong::default() };
        assert_eq!(spells.note(at(10), Wrong::default()), TroubleStatus::default());
        assert_eq!(spells.note(at(20), away).database_s, Some(0.0));
        let both = Wrong { ring_full: true, ..away };
        let told = spells.note(at(50), both);
        assert_eq!((told.database_s, told.ring_full_s, told.broker_s), (Some(30.0), Some(0.0), None));
        assert_eq!(spells.note(at(60), Wrong::default()), TroubleStatus::default());
        assert_eq!(spells.note(at(70), away).database_s, Some(0.0), "another spell");
    }
}
