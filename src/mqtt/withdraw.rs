//! Taking back subscriptions that no source wants any more. Pure: the time (since boot) and randomness are arguments.

use std::time::Duration;

use super::backoff::Backoff;

/// How long the broker may take to answer an UNSUBSCRIBE.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LAST_RETRY: Duration = Duration::from_mins(1);

/// The filters to be taken back on one connection.
pub(super) struct Withdrawal {
    /// To be asked for at `at`.
    due: Vec<String>,
    at: Duration,
    /// Packet id of the UNSUBSCRIBE that is unanswered, its filters, and when the answer is overdue.
    asked: Option<(u16, Vec<String>, Duration)>,
    backoff: Backoff,
}

/// What an answer meant.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Withdrawn {
    /// Filters that are taken back.
    pub done: Vec<String>,
    /// Those that the broker refused to take back, with its reason.
    pub refused: Vec<(String, String)>,
}

impl Withdrawal {
    /// These filters, at once.
    pub fn of(due: Vec<String>) -> Self {
        Self { due, at: Duration::ZERO, asked: None, backoff: Backoff::new(FIRST_RETRY, LAST_RETRY) }
    }

    /// Whether an answer is awaited.
    pub fn is_waiting(&self) -> bool {
        self.asked.is_some()
    }

    /// The filters to ask for now.
    pub fn due(&self, now: Duration) -> &[String] {
        if self.asked.is_none() && self.at <= now { &self.due } else { &[] }
    }

    /// Takes note that they have been asked for.
    pub fn asked(&mut self, id: u16, now: Duration) {
        self.asked = Some((id, std::mem::take(&mut self.due), now + ANSWER_WITHIN));
    }

    /// Whether the broker owes an answer for too long.
    pub fn is_overdue(&self, now: Duration) -> bool {
        self.asked.as_ref().is_some_and(|(_, _, by)| *by <= now)
    }

    /// Takes the broker's answer; none when it is not the answer to what was asked. Without codes (MQTT 3.1.1) all is done.
    pub fn answered(&mut self, id: u16, codes: &[Result<u8, String>], now: Duration, random: f64) -> Option<Withdrawn> {
        let (_, filters, _) = self.asked.take_if(|(asked, _, _)| *asked == id)?;
        let mut answer = Withdrawn::default();
        for (place, filter) in filters.into_iter().enumerate() {
            match codes.get(place) {
                Some(Err(why)) => answer.refused.push((filter, why.clone())),
                Some(Ok(_)) => answer.done.push(filter),
                None if codes.is_empty() => answer.done.push(filter),
                None => answer.refused.push((filter, "no answer".to_owned())),
            }
        }
        self.due = answer.refused.iter().map(|(filter, _)| filter.clone()).collect();
        if !self.due.is_empty() {
            self.at = now + self.backoff.next(random);
        }
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn what_is_refused_is_asked_for_again_and_later() {
        let mut withdrawal = Withdrawal::of(vec!["a".into(), "b".into(), "c".into()]);
        assert_eq!(withdrawal.due(NOW).len(), 3);
        withdrawal.asked(7, NOW);
        assert!(withdrawal.due(NOW).is_empty() && !withdrawal.is_overdue(NOW));
        assert!(withdrawal.is_overdue(NOW + ANSWER_WITHIN));
        let codes = [Ok(0), Err("not authorised".to_owned()), Ok(0x11)];
        assert_eq!(withdrawal.answered(8, &codes, NOW, 1.0), None);
        let answer = withdrawal.answered(7, &codes, NOW, 1.0).expect("is the answer");
        assert_eq!(answer.done, ["a", "c"]);
        assert_eq!(answer.refused, [("b".to_owned(), "not authorised".to_owned())]);
        assert!(withdrawal.due(NOW).is_empty());
        assert_eq!(withdrawal.due(NOW + FIRST_RETRY), ["b"]);
    }

    #[test]
    fn an_answer_without_codes_is_done() {
        let mut withdrawal = Withdrawal::of(vec!["a".into()]);
        withdrawal.asked(1, NOW);
        assert_eq!(withdrawal.answered(1, &[], NOW, 0.0).expect("is the answer").done, ["a"]);
        assert!(withdrawal.due(NOW + LAST_RETRY).is_empty());
    }
}
