//! What the session asks the broker to send, and what it takes back, also when the configuration
//! changes meanwhile.

use std::{sync::Arc, time::Duration};

use tracing::{error, info, warn};

use super::{Link, Phase, Session, Standing};
use crate::{
    ingest::filters,
    mqtt::{
        changeover::LEARNS,
        error::ConnectError,
        protocol::Subscription,
        status::State,
        subscribe::{Answer, packets},
        withdraw::Withdrawal,
    },
    observe::log::clip,
};

/// How long a subscription waits for being remembered on the disk; a full ring may take longer.
const REMEMBERED_WITHIN: Duration = Duration::from_secs(5);

impl Session {
    /// Goes over to the subscriptions of the present configuration; `session_present` where the
    /// broker may have others.
    pub(super) fn configure(&mut self, link: &mut Link, session_present: bool) {
        if self.standing == Standing::Changed {
            self.standing = Standing::Followed;
        }
        let now = self.task.clock.since_boot();
        self.asks_since = now;
        let wanted = Arc::clone(&self.task.subscriptions.borrow_and_update());
        let gone = self.gone(&wanted, session_present);
        // Until those are taken back the broker sends a message for the new filter and for the old
        // one.
        let ids = filters::ids_beside(wanted.iter().map(|of| (of.filter.as_str(), of.id)), &gone);
        let with_id = |(of, id): (&Subscription, Option<u32>)| {
            // A broker that knows no identifiers has the same subscription as before.
            Subscription { id: id.filter(|_| link.has_ids), ..of.clone() }
        };
        let all: Vec<Subscription> = wanted.iter().zip(ids).map(with_id).collect();
        link.ask_after = now;
        let concerned = crossing(&link.subscriptions, &all, &gone);
        if link.has_ids && !concerned.is_empty() {
            if !self.inbox.is_changing() && only_adds(&link.subscriptions, &all, &gone) {
                self.inbox.begin_addition();
            } else {
                self.inbox.begin_change(now.as_nanos() as u64, concerned);
                link.ask_after = now + LEARNS;
                self.tick.reset_after(LEARNS);
            }
        }
        let is_first = link.subscriptions.is_empty();
        link.subscriber.replace(&link.subscriptions, &all);
        link.subscriptions = all;
        link.withdrawal = Withdrawal::of(gone);
        // On a new connection the broker has yet to say what it grants.
        if !is_first || link.subscriber.is_confirmed() {
            self.tell_granted(link);
        }
    }

    /// Shows what the broker grants of the subscriptions of now.
    fn tell_granted(&mut self, link: &Link) {
        let lowered = link.subscriber.lowered(&link.subscriptions);
        if self.task.status.set_lowered(lowered.clone()) {
            for of in &lowered {
                warn!("{of}");
            }
        }
        if link.subscriber.is_confirmed() && link.phase == Phase::Open {
            self.task.status.set_state(State::Connected);
        }
    }

    /// Follows a change of the configuration on an open connection, once the broker owes no answer.
    pub(super) fn follow_configuration(&mut self, link: &mut Link) -> Result<(), ConnectError> {
        if self.standing != Standing::Changed
            || link.phase != Phase::Open
            || link.subscriber.is_waiting()
            || link.withdrawal.is_waiting()
        {
            return Ok(());
        }
        self.configure(link, true);
        self.subscribe(link)
    }

    /// The filters that the session at the broker has from earlier configurations, and that no
    /// source wants any more.
    fn gone(&self, wanted: &[Subscription], session_present: bool) -> Vec<String> {
        let is_wanted = |filter: &String| wanted.iter().any(|wanted| wanted.filter == *filter);
        let gone: Vec<String> = self.task.intake.subscribed().into_iter().filter(|filter| !is_wanted(filter)).collect();
        if session_present {
            return gone;
        }
        // They went with the session.
        for filter in &gone {
            self.task.intake.taken_back(filter);
        }
        Vec::new()
    }

    /// Asks for the subscriptions that are due, and takes back those that no source wants any more;
    /// in this order, so that nothing falls between the two where a topic's filter has changed.
    pub(super) fn subscribe(&mut self, link: &mut Link) -> Result<(), ConnectError> {
        let now = self.task.clock.since_boot();
        if now < link.ask_after {
            return Ok(());
        }
        let all = &link.subscriptions;
        let due = link.subscriber.due(now).to_vec();
        if !due.is_empty() {
            for Subscription { filter, qos, .. } in due.iter().filter_map(|index| all.get(*index)) {
                self.remembered = self.remembered.max(self.task.intake.subscribing(filter, *qos));
            }
            link.waits_for_ring = !self.is_remembered(now);
            if link.waits_for_ring {
                return Ok(());
            }
            let mut asked = Vec::new();
            for (id, indexes) in packets(all, &due, link.has_ids) {
                let Some(packet) = link.requests.subscribe(id, indexes.iter().filter_map(|index| all.get(*index)))
                else {
                    return Err(ConnectError::Settings("source topics: all filters together are too long".into()));
                };
                asked.push((packet, indexes));
            }
            link.subscriber.asked(asked, now);
        }
        let gone = link.withdrawal.due(now);
        if !gone.is_empty()
            && let Some(packet) = link.requests.unsubscribe(gone.iter().map(String::as_str))
        {
            link.withdrawal.asked(packet, now);
        }
        Ok(())
    }

    /// Whether what is asked for may be asked for: a filter that a crash makes forgotten could
    /// never be taken back.
    fn is_remembered(&self, now: Duration) -> bool {
        self.task.ackable.borrow().notes >= self.remembered || now >= self.asks_since + REMEMBERED_WITHIN
    }

    pub(super) fn subscribe_once_remembered(&mut self, link: &mut Link) -> Result<(), ConnectError> {
        if link.waits_for_ring && link.phase == Phase::Open { self.subscribe(link) } else { Ok(()) }
    }

    pub(super) fn subscribed(&mut self, id: u16, codes: &[Result<u8, String>], link: &mut Link) {
        let (now, random) = (self.task.clock.since_boot(), fastrand::f64());
        let all = &link.subscriptions;
        let answer = link.subscriber.answered(id, all, codes, now, random);
        match answer {
            Answer::Confirmed => info!(filters = link.subscriptions.len(), "subscribed"),
            Answer::Refused(why) => {
                error!("{why}");
                self.task.status.set_error(why);
            }
            Answer::Partly => {}
            Answer::Unexpected => warn!("the broker answered a SUBSCRIBE that was not asked"),
        }
        self.inbox.stands(link.subscriber.is_confirmed());
        if !link.subscriber.is_waiting() {
            self.tell_granted(link);
            self.inbox.changed(now.as_nanos() as u64);
        }
    }

    pub(super) fn unsubscribed(&mut self, id: u16, codes: &[Result<u8, String>], link: &mut Link) {
        let (now, random) = (self.task.clock.since_boot(), fastrand::f64());
        let Some(withdrawn) = link.withdrawal.answered(id, codes, now, random) else {
            return warn!("the broker answered an UNSUBSCRIBE that was not asked");
        };
        for filter in &withdrawn.done {
            self.task.intake.taken_back(filter);
        }
        self.inbox.changed(now.as_nanos() as u64);
        if !withdrawn.done.is_empty() {
            let filters = clip(&withdrawn.done.join(", ")).to_string();
            info!(%filters, "subscriptions that no source wants any more are taken back; what the broker still holds for them comes all the same");
        }
        for (filter, why) in &withdrawn.refused {
            warn!(filter = %clip(filter), %why, "the broker does not take a subscription back that no source wants any more; asking again");
        }
    }
}

/// Those filters of a change of subscriptions that may bring a publication twice: one that comes,
/// goes or changes and matches what another one matches. On a new connection (`before` is empty)
/// those stay as they were that are wanted.
fn crossing(before: &[Subscription], all: &[Subscription], gone: &[String]) -> Vec<String> {
    let is_new = |of: &&Subscription| !before.is_empty() && !before.contains(of);
    let changed = all.iter().filter(is_new).map(|of| of.filter.as_str()).chain(gone.iter().map(String::as_str));
    let others = || all.iter().chain(before).map(|of| of.filter.as_str()).chain(gone.iter().map(String::as_str));
    let crosses = |changed: &&str| others().any(|other| other != *changed && filters::cross(other, changed));
    changed.filter(crosses).map(str::to_owned).collect()
}

/// Whether all filters of before stay, under the identifiers that they had. Those are asked for
/// first that had none, so that from the moment on in which a new filter stands each message comes
/// once for each filter, under its identifier.
fn only_adds(before: &[Subscription], all: &[Subscription], gone: &[String]) -> bool {
    let stays = |of: &Subscription| {
        let is_same = |now: &Subscription| now.filter == of.filter && (of.id.is_none() || of.id == now.id);
        all.iter().any(is_same)
    };
    !before.is_empty() && gone.is_empty() && before.iter().all(stays)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_brings_copies_where_filters_cross() {
        let all = |filters: &[&str]| {
            let of = |filter: &&str| Subscription { filter: (*filter).into(), qos: 1, id: None };
            filters.iter().map(of).collect::<Vec<_>>()
        };
        let brings = |before: &[&str], after: &[&str], gone: &[&str]| {
            let gone: Vec<String> = gone.iter().map(|filter| (*filter).to_owned()).collect();
            !crossing(&all(before), &all(after), &gone).is_empty()
        };
        assert!(brings(&["a/+"], &["a/#"], &["a/+"]));
        assert!(!brings(&["a/+"], &["a/+", "b/+"], &[]) && !brings(&["a/+", "b"], &["a/+"], &["b"]));
        assert!(brings(&["a/+/c"], &["a/+/c", "a/b/+"], &[]));
        assert!(!brings(&[], &["a/+/c", "a/b/+"], &[]), "they were there before the connection");
        assert!(brings(&[], &["a/+"], &["a/#"]));
        assert!(!brings(&["a/+/c", "a/b/+"], &["a/+/c", "a/b/+"], &[]));
    }

    #[test]
    fn filters_that_come_beside_others_are_only_added() {
        let all = |filters: &[(&str, Option<u32>)]| {
            let of = |(filter, id): &(&str, Option<u32>)| Subscription { filter: (*filter).into(), qos: 1, id: *id };
            filters.iter().map(of).collect::<Vec<_>>()
        };
        let (before, gone) = (all(&[("a/#", None), ("b", Some(3))]), ["c".to_owned()]);
        assert!(only_adds(&before, &all(&[("a/#", Some(1)), ("a/+", Some(2)), ("b", Some(3))]), &[]));
        assert!(!only_adds(&before, &all(&[("a/#", Some(1)), ("a/+", Some(2)), ("b", Some(3))]), &gone), "one goes");
        assert!(!only_adds(&before, &all(&[("a/#", None), ("b", Some(4))]), &[]), "another identifier");
        assert!(!only_adds(&before, &all(&[("a/#", None), ("b", None)]), &[]), "none any more");
        assert!(!only_adds(&before, &all(&[("a/+", None), ("b", Some(3))]), &[]), "another filter in its place");
        assert!(!only_adds(&[], &before, &[]), "a new connection");
    }
}
