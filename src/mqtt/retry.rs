//! What follows from a failure: what to say, and how long to wait. Pure: times and randomness are arguments.

use std::time::Duration;

use tracing::warn;

use super::{backoff::Backoff, error::ConnectError};

/// A connection that lasted this long was a good one: the next failure is a first one.
const GOOD_AFTER: Duration = Duration::from_secs(1);
/// The same after a failure that needs somebody's hands; two clients with one id take turns faster than this.
const MENDED_AFTER: Duration = Duration::from_mins(1);
/// Connections closed in a row, each within `MENDED_AFTER`, with the broker reachable all the
/// while: that may be a rival for the client id. MQTT 3.1.1 has no way to say so. In MQTT 5 a broker
/// must (section 3.1.4), and mosquitto 2.0.11 does not: there it is named, and a link that breaks is
/// tried again soon all the same.
const RIVAL_AFTER: u32 = 3;
const QUICK: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
const SLOW: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_mins(1));

/// What the failures so far mean for the next attempt.
pub(super) struct Retry {
    quick: Backoff,
    slow: Backoff,
    /// Whether no broker says why it closes a connection, as in MQTT 3.1.1.
    is_silent: bool,
    /// Connections closed without a word in a row.
    closed: u32,
    last: Option<ConnectError>,
}

impl Retry {
    /// No failure yet, of connections of this `mqtt.protocol`.
    pub const fn new(protocol: u8) -> Self {
        Self { quick: QUICK, slow: SLOW, is_silent: protocol == 4, closed: 0, last: None }
    }

    /// Takes a failure of a connection that `lasted` so long (none: it was never accepted); gives the error to show and the
    /// time to wait.
    pub fn after(&mut self, error: ConnectError, lasted: Option<Duration>, random: f64) -> (ConnectError, Duration) {
        let lived = lasted.unwrap_or_default();
        let was_closed = error == ConnectError::Closed && lasted.is_some() && lived < MENDED_AFTER;
        self.closed = if was_closed { self.closed + 1 } else { 0 };
        let error = if self.closed >= RIVAL_AFTER { ConnectError::Rival } else { error };
        // Two clients that take turns are the slower about it the more often they do.
        if lived >= GOOD_AFTER && !(self.is_silent && error == ConnectError::Rival) {
            self.quick.reset();
        }
        if lived >= MENDED_AFTER {
            self.slow.reset();
        }
        let backoff = if error.needs_hands() { &mut self.slow } else { &mut self.quick };
        let wait = backoff.next(random);
        // A repeated failure is told at the 1st, 2nd, 4th, 8th … time.
        if self.last.as_ref() != Some(&error) || backoff.failures().is_power_of_two() {
            warn!(%error, failures = backoff.failures(), wait_ms = wait.as_millis() as u64, "no connection to the broker");
        }
        self.last = Some(error.clone());
        (error, wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_is_away_is_tried_soon_and_a_refusal_later() {
        let mut retry = Retry::new(5);
        assert_eq!(retry.after(ConnectError::Unreachable("x".into()), None, 1.0).1, Duration::from_millis(250));
        assert_eq!(retry.after(ConnectError::Unreachable("x".into()), None, 1.0).1, Duration::from_millis(500));
        assert_eq!(retry.after(ConnectError::NotAuthorised, None, 1.0).1, Duration::from_secs(5));
        assert_eq!(retry.after(ConnectError::NotAuthorised, None, 1.0).1, Duration::from_secs(10));
        let lasted = Some(GOOD_AFTER);
        assert_eq!(retry.after(ConnectError::Lost("x".into()), lasted, 1.0).1, Duration::from_millis(250));
    }

    #[test]
    fn a_rival_for_the_client_id_is_named_and_given_way() {
        let mut retry = Retry::new(4);
        let lasted = Some(Duration::from_millis(1_300));
        assert_eq!(retry.after(ConnectError::Closed, lasted, 1.0).0, ConnectError::Closed);
        assert_eq!(retry.after(ConnectError::Closed, lasted, 1.0), (ConnectError::Closed, Duration::from_millis(250)));
        assert_eq!(retry.after(ConnectError::Closed, lasted, 1.0), (ConnectError::Rival, Duration::from_millis(500)));
        for _ in 0..9 {
            let (error, wait) = retry.after(ConnectError::Closed, lasted, 1.0);
            assert!(
                error == ConnectError::Rival && wait <= Duration::from_secs(10),
                "it may be a link that breaks: {wait:?}"
            );
        }
        // A broker that says so is believed.
        assert_eq!(Retry::new(5).after(ConnectError::TakenOver, lasted, 1.0).1, Duration::from_secs(5));
    }

    #[test]
    fn with_mqtt_5_a_link_that_breaks_again_and_again_is_tried_again_soon_though_it_may_be_a_rival() {
        let mut retry = Retry::new(5);
        for time in 1..20 {
            let (error, wait) = retry.after(ConnectError::Closed, Some(Duration::from_secs(2)), 1.0);
            let named = if time < RIVAL_AFTER { ConnectError::Closed } else { ConnectError::Rival };
            assert_eq!((error, wait), (named, Duration::from_millis(250)));
        }
    }

    #[test]
    fn a_broker_that_restarts_is_no_rival() {
        let mut retry = Retry::new(4);
        for _ in 0..5 {
            assert_eq!(retry.after(ConnectError::Closed, Some(Duration::from_secs(2)), 0.0).0, ConnectError::Closed);
            assert_ne!(retry.after(ConnectError::Unreachable("x".into()), None, 0.0).0, ConnectError::Rival);
        }
        for _ in 0..5 {
            assert_eq!(retry.after(ConnectError::Closed, Some(MENDED_AFTER), 0.0).0, ConnectError::Closed);
        }
    }
}
