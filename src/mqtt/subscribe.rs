//! Getting every subscription confirmed: asked for on each connection, refusals asked for again later. Pure: the time (since
//! boot) and randomness are arguments.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{backoff::Backoff, protocol::Subscription, status::Lowered};

/// How long the broker may take to answer a SUBSCRIBE.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LAST_RETRY: Duration = Duration::from_mins(1);

/// The state of the subscriptions on one connection. They are named by their place among all of them.
pub(super) struct Subscriber {
    /// To be asked for at `at`.
    due: Vec<usize>,
    at: Duration,
    /// Packet ids of SUBSCRIBEs that are unanswered, and what they asked for.
    asked: BTreeMap<u16, Vec<usize>>,
    /// When their answers are overdue.
    by: Duration,
    refused: Vec<usize>,
    /// Those that were granted a lower QoS than asked for, and which.
    lowered: BTreeMap<usize, u8>,
    backoff: Backoff,
}

/// What an answer meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Every subscription is confirmed.
    Confirmed,
    /// Others are still to be answered.
    Partly,
    /// Some were refused; in words.
    Refused(String),
    /// It was not the answer to anything asked.
    Unexpected,
}

impl Subscriber {
    /// Subscriptions of a new connection, all to be asked for at once.
    pub fn new(count: usize) -> Self {
        Self {
            due: (0..count).collect(),
            at: Duration::ZERO,
            asked: BTreeMap::new(),
            by: Duration::ZERO,
            refused: Vec::new(),
            lowered: BTreeMap::new(),
            backoff: Backoff::new(FIRST_RETRY, LAST_RETRY),
        }
    }

    /// Whether an answer is awaited.
    pub fn is_waiting(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Goes over to other subscriptions: those that are confirmed as they are stay so, the others
    /// are asked for at once, first those whose filters stand already. To be called while no answer
    /// is awaited.
    pub fn replace(&mut self, before: &[Subscription], all: &[Subscription]) {
        let open: BTreeSet<usize> = self.due.iter().chain(&self.refused).copied().collect();
        let place = |of: &Subscription| before.iter().position(|known| known == of);
        let confirmed = |of: &Subscription| place(of).filter(|at| !open.contains(at));
        let lowered = all.iter().enumerate().filter_map(|(at, of)| Some((at, *self.lowered.get(&confirmed(of)?)?)));
        let lowered = lowered.collect();
        let mut due: Vec<usize> = (0..all.len()).filter(|at| confirmed(&all[*at]).is_none()).collect();
        due.sort_by_key(|at| before.iter().all(|known| known.filter != all[*at].filter));
        *self = Self { due, lowered, ..Self::new(0) };
    }

    /// Which subscriptions to ask for now.
    pub fn due(&self, now: Duration) -> &[usize] {
        if self.at <= now { &self.due } else { &[] }
    }

    /// Takes note of what has been asked for, in how many packets however.
    pub fn asked(&mut self, packets: impl IntoIterator<Item = (u16, Vec<usize>)>, now: Duration) {
        self.due.clear();
        self.asked.extend(packets);
        self.by = now + ANSWER_WITHIN;
    }

    /// Whether the broker owes an answer for too long.
    pub fn is_overdue(&self, now: Duration) -> bool {
        !self.asked.is_empty() && self.by <= now
    }

    /// Whether every subscription is confirmed.
    pub fn is_confirmed(&self) -> bool {
        self.due.is_empty() && self.asked.is_empty() && self.refused.is_empty()
    }

    /// The subscriptions that were granted a lower QoS than asked for.
    pub fn lowered(&self, all: &[Subscription]) -> Vec<Lowered> {
        let lowered = |(index, granted): (&usize, &u8)| {
            let Subscription { filter, qos, .. } = all.get(*index)?;
            Some(Lowered { filter: filter.clone(), asked: *qos, granted: *granted })
        };
        self.lowered.iter().filter_map(lowered).collect()
    }

    /// Takes the broker's answer.
    pub fn answered(
        &mut self,
        id: u16,
        all: &[Subscription],
        codes: &[Result<u8, String>],
        now: Duration,
        random: f64,
    ) -> Answer {
        let Some(asked) = self.asked.remove(&id) else { return Answer::Unexpected };
        let mut words = Vec::new();
        for (place, index) in asked.into_iter().enumerate() {
            let (filter, wanted) = all.get(index).map_or(("?", 0), |of| (of.filter.as_str(), of.qos));
            self.lowered.remove(&index);
            let why = match codes.get(place) {
                Some(Ok(granted)) => {
                    if *granted < wanted {
                        self.lowered.insert(index, *granted);
                    }
                    continue;
                }
                Some(Err(why)) => why.as_str(),
                None => "no answer",
            };
            self.refused.push(index);
            words.push(format!("{filter} ({why})"));
        }
        if self.asked.is_empty() && !self.refused.is_empty() {
            self.due = std::mem::take(&mut self.refused);
            self.at = now + self.backoff.next(random);
        }
        if !words.is_empty() {
            return Answer::Refused(format!(
                "the broker refused the subscription to {}; check its rules for mqtt.username and the topic of the source; asking \
                 again",
                words.join(", ")
            ));
        }
        if self.is_confirmed() { Answer::Confirmed } else { Answer::Partly }
    }
}

/// The packets that ask for some subscriptions: those without an identifier in one, each other one in one of its own.
pub(super) fn packets(all: &[Subscription], due: &[usize], has_ids: bool) -> Vec<(Option<u32>, Vec<usize>)> {
    let id_of = |index: &usize| all.get(*index).and_then(|of| of.id).filter(|_| has_ids);
    let (with, without): (Vec<usize>, Vec<usize>) = due.iter().copied().partition(|index| id_of(index).is_some());
    let together = (!without.is_empty()).then_some((None, without));
    together.into_iter().chain(with.into_iter().map(|index| (id_of(&index), vec![index]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn all() -> Vec<Subscription> {
        [("a/+", None), ("b/#", None), ("c/+/d", Some(9)), ("c/x/+", Some(8))]
            .map(|(filter, id)| Subscription { filter: filter.into(), qos: 1, id })
            .to_vec()
    }

    fn asked(count: usize) -> Subscriber {
        let mut subscriber = Subscriber::new(count);
        let due = subscriber.due(NOW).to_vec();
        assert_eq!(due, (0..count).collect::<Vec<_>>());
        subscriber.asked([(1, due)], NOW);
        subscriber
    }

    #[test]
    fn nothing_to_subscribe_to_is_confirmed_at_once() {
        let subscriber = Subscriber::new(0);
        assert!(subscriber.is_confirmed() && subscriber.due(NOW).is_empty());
    }

    #[test]
    fn only_the_refused_one_is_asked_for_again_and_later() {
        let mut subscriber = asked(2);
        assert!(subscriber.due(NOW).is_empty());
        let Answer::Refused(words) = subscriber.answered(1, &all(), &[Ok(1), Err("not authorised".into())], NOW, 1.0)
        else {
            panic!("is refused")
        };
        assert!(words.contains("b/# (not authorised)") && !words.contains("a/+"), "{words}");
        assert!(subscriber.due(NOW).is_empty() && !subscriber.is_confirmed());
        assert_eq!(subscriber.due(NOW + FIRST_RETRY), [1]);
        subscriber.asked([(2, vec![1])], NOW);
        assert_eq!(subscriber.answered(2, &all(), &[Ok(1)], NOW, 1.0), Answer::Confirmed);
        assert!(subscriber.is_confirmed());
    }

    #[test]
    fn other_subscriptions_are_asked_for_and_what_is_confirmed_stays() {
        let mut subscriber = asked(4);
        let codes = [Ok(1), Ok(0), Err("not authorised".into()), Ok(1)];
        assert!(matches!(subscriber.answered(1, &all(), &codes, NOW, 1.0), Answer::Refused(_)));
        let other = |filter: &str, qos, id| Subscription { filter: filter.into(), qos, id };
        let new = [
            other("new", 1, None),
            other("c/x/+", 1, Some(8)),
            other("c/+/d", 1, Some(9)),
            other("a/+", 1, Some(5)),
            other("b/#", 1, None),
        ];
        subscriber.replace(&all(), &new);
        assert_eq!(subscriber.due(NOW), [2, 3, 0], "refused before, with another identifier; then what is new");
        assert_eq!(subscriber.lowered(&new), [Lowered { filter: "b/#".into(), asked: 1, granted: 0 }]);
        subscriber.asked([(2, vec![0, 2, 3])], NOW);
        assert!(subscriber.is_waiting());
        assert_eq!(subscriber.answered(2, &new, &[Ok(1), Ok(1), Ok(1)], NOW, 1.0), Answer::Confirmed);
        subscriber.replace(&new, &new[..2]);
        assert!(subscriber.is_confirmed());
    }

    #[test]
    fn a_lower_qos_than_asked_for_is_told() {
        let mut subscriber = asked(2);
        assert_eq!(subscriber.answered(1, &all(), &[Ok(0), Ok(1)], NOW, 1.0), Answer::Confirmed);
        assert_eq!(subscriber.lowered(&all()), [Lowered { filter: "a/+".into(), asked: 1, granted: 0 }]);
    }

    #[test]
    fn filters_with_an_identifier_go_in_packets_of_their_own_and_all_are_waited_for() {
        let packets = packets(&all(), &[0, 1, 2, 3], true);
        assert_eq!(packets, [(None, vec![0, 1]), (Some(9), vec![2]), (Some(8), vec![3])]);
        assert_eq!(super::packets(&all(), &[2, 3], false), [(None, vec![2, 3])]);
        let mut subscriber = Subscriber::new(4);
        subscriber.asked([(1, vec![0, 1]), (2, vec![2]), (3, vec![3])], NOW);
        assert!(matches!(subscriber.answered(2, &all(), &[Err("no".into())], NOW, 1.0), Answer::Refused(_)));
        assert_eq!(subscriber.answered(1, &all(), &[Ok(1), Ok(1)], NOW, 1.0), Answer::Partly);
        assert_eq!(subscriber.answered(3, &all(), &[Ok(1)], NOW, 1.0), Answer::Partly);
        assert_eq!(subscriber.due(NOW + FIRST_RETRY), [2]);
    }

    #[test]
    fn an_answer_that_is_too_short_confirms_only_what_it_names() {
        let mut subscriber = asked(2);
        assert!(
            matches!(subscriber.answered(1, &all(), &[Ok(1)], NOW, 0.0), Answer::Refused(words) if words.contains("b/#"))
        );
    }

    #[test]
    fn silence_and_unexpected_answers_are_told() {
        let mut subscriber = Subscriber::new(2);
        assert_eq!(subscriber.answered(1, &all(), &[], NOW, 0.0), Answer::Unexpected);
        subscriber.asked([(1, vec![0, 1])], NOW);
        assert!(!subscriber.is_overdue(NOW) && subscriber.is_overdue(NOW + ANSWER_WITHIN));
        assert_eq!(subscriber.answered(2, &all(), &[], NOW, 0.0), Answer::Unexpected);
    }
}
