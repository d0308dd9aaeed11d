//! How many dead letters about parts of messages are kept: of each source, member and kind so many
//! a day. Pure.

use std::time::Duration;

use hashbrown::HashMap;

use crate::{
    decode::{Fault, FaultKind, Faults},
    limits::Owner,
    point::Text,
};

/// Kept a day; the others are counted.
pub(super) const MOST_A_DAY: u32 = 100;
/// Members told apart; beyond, all of a source and kind are one.
const MAX_MEMBERS: usize = 4_096;
const DAY: Duration = Duration::from_hours(24);

/// What has been kept today.
#[derive(Debug, Default)]
pub(super) struct Quota {
    day: u64,
    kept: HashMap<(Owner, Text, FaultKind), u32, foldhash::quality::RandomState>,
}

impl Quota {
    /// Whether a letter is kept about a message of a source; `now` is the time since boot. It is
    /// when one of its faults has not been told often enough.
    pub fn keeps(&self, source: Owner, faults: &Faults, now: Duration) -> bool {
        let is_new_day = self.day != day(now);
        let has_room = |fault: &Fault| {
            let kept = self.kept.get(&self.key(source, fault)).copied().unwrap_or_default();
            is_new_day || kept < MOST_A_DAY
        };
        faults.iter().any(has_room)
    }

    /// Takes note of the faults of a message that has been taken in.
    pub fn note(&mut self, source: Owner, faults: &Faults, now: Duration) {
        if self.day != day(now) {
            self.day = day(now);
            self.kept.clear();
        }
        for fault in faults.iter() {
            let kept = self.kept.entry(self.key(source, fault)).or_default();
            *kept = kept.saturating_add(1);
        }
    }

    fn key(&self, source: Owner, fault: &Fault) -> (Owner, Text, FaultKind) {
        let key = (source, fault.member.clone(), fault.kind);
        let is_beyond = self.kept.len() >= MAX_MEMBERS && !self.kept.contains_key(&key);
        if is_beyond { (source, Text::default(), fault.kind) } else { key }
    }
}

fn day(now: Duration) -> u64 {
    now.as_secs() / DAY.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode::DecodeError, limits::Allowance, settings};

    fn faults(members: &[&str]) -> Faults {
        let mut faults = Faults::default();
        for member in members {
            let error = DecodeError { place: "$".into(), reason: "bad".into() };
            faults.push(Fault { row: Some(0), member: (*member).into(), kind: FaultKind::Type, error });
        }
        faults
    }

    fn one() -> Owner {
        Owner::default()
    }

    fn another() -> Owner {
        let source: settings::Source = toml::from_str("topic = \"t\"\ntable = \"t\"").expect("a source");
        Allowance::new(&settings::Limits::default(), [(&"a".to_owned(), &source)].into_iter()).sources()[0]
    }

    fn keeps(quota: &mut Quota, source: Owner, faults: &Faults, now: Duration) -> bool {
        let keeps = quota.keeps(source, faults, now);
        quota.note(source, faults, now);
        keeps
    }

    #[test]
    fn each_member_has_a_number_a_day() {
        let mut quota = Quota::default();
        let noon = DAY / 2;
        for _ in 0..MOST_A_DAY {
            assert!(keeps(&mut quota, one(), &faults(&["a"]), noon));
        }
        assert!(!quota.keeps(one(), &faults(&["a"]), noon));
        assert!(quota.keeps(one(), &faults(&["a", "b"]), noon), "the other one is new");
        assert!(quota.keeps(another(), &faults(&["a"]), noon));
        assert!(quota.keeps(one(), &faults(&["a"]), noon + DAY), "the next day");
    }

    #[test]
    fn members_are_told_apart_up_to_a_limit() {
        let mut quota = Quota::default();
        let kept = (0..MAX_MEMBERS * 2).filter(|n| keeps(&mut quota, one(), &faults(&[&n.to_string()]), DAY)).count();
        assert_eq!(kept, MAX_MEMBERS + MOST_A_DAY as usize);
        assert!(quota.kept.len() <= MAX_MEMBERS + 1);
    }
}
