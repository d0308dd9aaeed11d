//! Getting every subscription confirmed: asked for on each connection, refusals asked for again later. Pure: the time (since
//! boot) and randomness are arguments.

use std::time::Duration;

use super::{backoff::Backoff, protocol::Subscription};

/// How long the broker may take to answer a SUBSCRIBE.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LAST_RETRY: Duration = Duration::from_mins(1);

/// The state of the subscriptions on one connection.
pub(super) struct Subscriber {
    state: State,
    backoff: Backoff,
}

enum State {
    /// To be asked for at this time (indexes of subscriptions).
    Due(Vec<usize>, Duration),
    /// Asked for; the answer is overdue at this time.
    Asked(Vec<usize>, Duration),
    /// All confirmed.
    Confirmed,
}

/// What an answer meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Every subscription is confirmed.
    Confirmed,
    /// Some were refused; in words.
    Refused(String),
    /// It was not the answer to anything asked.
    Unexpected,
}

impl Subscriber {
    /// Subscriptions of a new connection, all to be asked for at once.
    pub fn new(count: usize) -> Self {
        let state = if count == 0 { State::Confirmed } else { State::Due((0..count).collect(), Duration::ZERO) };
        Self { state, backoff: Backoff::new(FIRST_RETRY, LAST_RETRY) }
    }

    /// Which subscriptions to ask for now; they count as asked for from here on.
    pub fn ask(&mut self, now: Duration) -> Option<&[usize]> {
        if let State::Due(wanted, at) = &mut self.state
            && *at <= now
        {
            self.state = State::Asked(std::mem::take(wanted), now + ANSWER_WITHIN);
            if let State::Asked(asked, _) = &self.state {
                return Some(asked);
            }
        }
        None
    }

    /// Whether the broker owes an answer for too long.
    pub fn is_overdue(&self, now: Duration) -> bool {
        matches!(self.state, State::Asked(_, by) if by <= now)
    }

    /// Whether every subscription is confirmed.
    pub fn is_confirmed(&self) -> bool {
        matches!(self.state, State::Confirmed)
    }

    /// Takes the broker's answer.
    pub fn answered(
        &mut self,
        all: &[Subscription],
        codes: &[Result<u8, String>],
        now: Duration,
        random: f64,
    ) -> Answer {
        let State::Asked(asked, _) = &mut self.state else { return Answer::Unexpected };
        let mut refused = Vec::new();
        let mut words = Vec::new();
        for (place, &index) in asked.iter().enumerate() {
            let filter = all.get(index).map_or("?", |subscription| subscription.filter.as_str());
            match codes.get(place) {
                Some(Ok(_)) => {}
                Some(Err(why)) => {
                    refused.push(index);
                    words.push(format!("{filter} ({why})"));
                }
                None => {
                    refused.push(index);
                    words.push(format!("{filter} (no answer)"));
                }
            }
        }
        if refused.is_empty() {
            self.state = State::Confirmed;
            return Answer::Confirmed;
        }
        self.state = State::Due(refused, now + self.backoff.next(random));
        Answer::Refused(format!(
            "the broker refused the subscription to {}; check its rules for mqtt.username and the topic of the source; asking \
             again",
            words.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn all() -> Vec<Subscription> {
        ["a/+", "b/#"].map(|filter| Subscription { filter: filter.into(), qos: 1 }).to_vec()
    }

    #[test]
    fn nothing_to_subscribe_to_is_confirmed_at_once() {
        let mut subscriber = Subscriber::new(0);
        assert!(subscriber.is_confirmed() && subscriber.ask(NOW).is_none());
    }

    #[test]
    fn only_the_refused_one_is_asked_for_again_and_later() {
        let mut subscriber = Subscriber::new(2);
        assert_eq!(subscriber.ask(NOW), Some([0, 1].as_slice()));
        assert_eq!(subscriber.ask(NOW), None);
        let Answer::Refused(words) = subscriber.answered(&all(), &[Ok(1), Err("NotAuthorized".into())], NOW, 1.0)
        else {
            panic!("is refused")
        };
        assert!(words.contains("b/# (NotAuthorized)") && !words.contains("a/+"), "{words}");
        assert_eq!(subscriber.ask(NOW), None);
        assert_eq!(subscriber.ask(NOW + FIRST_RETRY), Some([1].as_slice()));
        assert_eq!(subscriber.answered(&all(), &[Ok(0)], NOW, 1.0), Answer::Confirmed);
        assert!(subscriber.is_confirmed());
    }

    #[test]
    fn an_answer_that_is_too_short_confirms_only_what_it_names() {
        let mut subscriber = Subscriber::new(2);
        subscriber.ask(NOW);
        assert!(
            matches!(subscriber.answered(&all(), &[Ok(1)], NOW, 0.0), Answer::Refused(words) if words.contains("b/#"))
        );
    }

    #[test]
    fn silence_and_unexpected_answers_are_told() {
        let mut subscriber = Subscriber::new(2);
        assert_eq!(subscriber.answered(&all(), &[], NOW, 0.0), Answer::Unexpected);
        subscriber.ask(NOW);
        assert!(!subscriber.is_overdue(NOW) && subscriber.is_overdue(NOW + ANSWER_WITHIN));
    }
}
