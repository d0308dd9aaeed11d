//! What to subscribe to, and what has been subscribed to: the latter outlives every restart in the ring's state.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    decode::{
        Decoder, DecoderError,
        pattern::Pattern,
        topics::{covers, overlap},
    },
    observe::log::clip,
    ring::{Ring, StateKind},
    settings::Source,
};

/// Largest subscription identifier (MQTT 5, section 3.8.2.1.2).
const MAX_ID: u32 = 268_435_455;

/// A filter to subscribe to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The filter, with its `$share/group/` where it is shared.
    pub filter: String,
    /// QoS.
    pub qos: u8,
    /// Where messages may match another one as well: the identifier that tells for which of them a copy came.
    pub id: Option<u32>,
}

/// The MQTT filters of the sources, with their QoS, without those that another one covers.
pub fn wanted(sources: &BTreeMap<String, Source>) -> Result<Vec<Wanted>, DecoderError> {
    let mut filters: BTreeMap<String, u8> = BTreeMap::new();
    for (name, source) in sources {
        for filter in Decoder::new(name, source)?.patterns().iter().map(Pattern::filter) {
            let shared = source.shared_group.as_ref().map(|group| format!("$share/{group}/{filter}"));
            let qos = filters.entry(shared.unwrap_or(filter)).or_default();
            *qos = source.qos.max(*qos);
        }
    }
    Ok(plan(&filters))
}

/// The filters of somebody who looks on: plain ones at QoS 0, of all sources or of the one that is
/// named, narrowed to what `within` matches as well. Where they cannot be as narrow as that, other
/// topics come too.
pub fn to_look_on(
    sources: &BTreeMap<String, Source>,
    only: Option<&str>,
    within: Option<&str>,
) -> Result<Vec<Wanted>, DecoderError> {
    let sources = sources.iter().filter(|(name, _)| only.is_none_or(|only| only == *name));
    let mut filters = Vec::new();
    for (name, source) in sources {
        filters.extend(Decoder::new(name, source)?.patterns().iter().map(Pattern::filter));
    }
    Ok(plan(&narrowed(filters, within).into_iter().map(|filter| (filter, 0)).collect()))
}

fn narrowed(filters: Vec<String>, within: Option<&str>) -> Vec<String> {
    match within {
        None => filters,
        Some(within) if filters.iter().any(|filter| covers(filter, within)) => vec![within.to_owned()],
        Some(within) => filters.into_iter().filter(|filter| overlap(filter, within)).collect(),
    }
}

fn plan(filters: &BTreeMap<String, u8>) -> Vec<Wanted> {
    // A shared subscription covers nothing: other members of its group get some of its messages.
    let is_covered = |filter: &str, qos: u8| {
        let mut others = filters.iter().filter(|(other, _)| *other != filter && !is_shared(other));
        !is_shared(filter) && others.any(|(other, theirs)| *theirs >= qos && covers(other, filter))
    };
    let left: Vec<(&String, u8)> =
        filters.iter().filter(|(filter, qos)| !is_covered(filter, **qos)).map(|(filter, qos)| (filter, *qos)).collect();
    let mut ids = BTreeSet::new();
    let wanted = |(filter, qos): &(&String, u8)| {
        let overlaps = left.iter().any(|(other, _)| other != filter && cross(other, filter));
        Wanted { filter: (*filter).clone(), qos: *qos, id: overlaps.then(|| id(filter, &mut ids)) }
    };
    left.iter().map(wanted).collect()
}

/// An identifier of a filter, which is the same in every run: messages that the broker has queued carry the one of their time.
fn id(filter: &str, taken: &mut BTreeSet<u32>) -> u32 {
    let mut id = crc32c::crc32c(filter.as_bytes()) % MAX_ID + 1;
    while !taken.insert(id) {
        id = id % MAX_ID + 1;
    }
    id
}

/// Identifiers for filters that have none, and that bring messages which one of `others` brings as
/// well: filters that the broker still has and that are about to be taken back.
pub fn ids_beside<'a>(wanted: impl Iterator<Item = (&'a str, Option<u32>)>, others: &[String]) -> Vec<Option<u32>> {
    let wanted: Vec<_> = wanted.collect();
    let mut taken: BTreeSet<u32> = wanted.iter().filter_map(|(_, id)| *id).collect();
    let mut identify = |(filter, known): &(&str, Option<u32>)| {
        let overlaps = || others.iter().any(|other| cross(other, filter));
        known.or_else(|| overlaps().then(|| id(filter, &mut taken)))
    };
    wanted.iter().map(&mut identify).collect()
}

/// Whether some message matches both filters.
pub fn cross(one: &str, other: &str) -> bool {
    overlap(plain(one), plain(other))
}

/// Whether a filter is that of a shared subscription.
fn is_shared(filter: &str) -> bool {
    filter.starts_with("$share/")
}

/// A filter without its `$share/group/`.
fn plain(filter: &str) -> &str {
    let shared = filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
    shared.map_or(filter, |(_, plain)| plain)
}

/// Remembers a filter that is about to be subscribed; on the disk once so many notes are ackable.
pub(super) fn remember(ring: &Ring, filter: &str, qos: u8) -> u64 {
    if ring.with_states(|states| states.get(StateKind::FILTER, filter.as_bytes()) == Some(&[qos])) {
        return 0;
    }
    match ring.set_state(StateKind::FILTER, filter.as_bytes(), Some(&[qos])) {
        Ok(number) => number,
        Err(error) => {
            tracing::warn!(filter = %clip(filter), %error, "a subscription cannot be remembered");
            0
        }
    }
}

/// The filters that are remembered.
pub(super) fn remembered(ring: &Ring) -> Vec<String> {
    let text = |(key, _): (&[u8], &[u8])| String::from_utf8(key.to_vec()).ok();
    ring.with_states(|states| states.all(StateKind::FILTER).filter_map(text).collect())
}

/// Forgets one.
pub(super) fn forget(ring: &Ring, filter: &str) {
    // To remove an entry needs no room.
    let _ = ring.set_state(StateKind::FILTER, filter.as_bytes(), None);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(filters: &[(&str, u8)]) -> Vec<(String, u8, bool)> {
        let filters = filters.iter().map(|(filter, qos)| ((*filter).to_owned(), *qos)).collect();
        plan(&filters).into_iter().map(|of| (of.filter, of.qos, of.id.is_some())).collect()
    }

    fn of(expected: &[(&str, u8, bool)]) -> Vec<(String, u8, bool)> {
        expected.iter().map(|(filter, qos, has_id)| ((*filter).to_owned(), *qos, *has_id)).collect()
    }

    #[test]
    fn a_filter_is_left_out_where_another_covers_it_with_its_qos() {
        assert_eq!(
            planned(&[("a/#", 1), ("a/+/c", 1), ("a/b", 0), ("b", 1)]),
            of(&[("a/#", 1, false), ("b", 1, false)])
        );
        assert_eq!(
            planned(&[("a/#", 0), ("a/+", 1)]),
            of(&[("a/#", 0, true), ("a/+", 1, true)]),
            "a lower QoS covers nothing"
        );
        assert_eq!(planned(&[("a/+/c", 1), ("a/b/+", 1)]), of(&[("a/+/c", 1, true), ("a/b/+", 1, true)]));
    }

    #[test]
    fn what_is_shared_covers_nothing_and_is_not_covered() {
        let all = [("$share/g/a/#", 1), ("$share/h/b", 1), ("a/+", 1), ("c", 1)];
        let expected = [("$share/g/a/#", 1, true), ("$share/h/b", 1, false), ("a/+", 1, true), ("c", 1, false)];
        assert_eq!(planned(&all), of(&expected));
    }

    #[test]
    fn who_looks_on_asks_for_plain_filters_and_no_more_than_is_to_be_seen() {
        let sources: BTreeMap<String, Source> = toml::from_str(
            r#"
            a = { topic = "a/{x}", table = "a", shared_group = "g" }
            all = { topic = "a/#", table = "all", qos = 1 }
            b = { topic = "b/{x}/c", table = "b" }
            "#,
        )
        .expect("sources");
        let wanted = |only, within| {
            let wanted = to_look_on(&sources, only, within).expect("sound sources");
            wanted.into_iter().map(|of| (of.filter, of.qos)).collect::<Vec<_>>()
        };
        let plain = |filters: &[&str]| filters.iter().map(|filter| ((*filter).to_owned(), 0)).collect::<Vec<_>>();
        assert_eq!(wanted(None, None), plain(&["a/#", "b/+/c"]));
        assert_eq!(wanted(Some("a"), None), plain(&["a/+"]));
        assert_eq!(wanted(None, Some("a/1/#")), plain(&["a/1/#"]));
        assert_eq!(wanted(None, Some("#")), plain(&["a/#", "b/+/c"]));
        assert_eq!(wanted(None, Some("+/1/+")), plain(&["a/#", "b/+/c"]), "neither is within the other");
        assert_eq!(wanted(Some("b"), Some("a/1")), plain(&[]));
    }

    #[test]
    fn filters_beside_those_to_be_taken_back_have_identifiers() {
        let others = ["a/+".to_owned(), "$share/g/c/#".to_owned()];
        let wanted = [("a/#", None), ("b", None), ("c/x", None), ("d", Some(7))];
        let ids = ids_beside(wanted.into_iter(), &others);
        assert_eq!(ids.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true, true]);
        assert_eq!(ids, ids_beside(wanted.into_iter(), &others), "the same in every run");
        assert_eq!(ids_beside(wanted.into_iter(), &[]), [None, None, None, Some(7)]);
    }

    #[test]
    fn identifiers_stay_the_same_and_differ() {
        let mut taken = BTreeSet::new();
        let first = id("a/+/c", &mut taken);
        assert_eq!(first, id("a/+/c", &mut BTreeSet::new()));
        assert_ne!(first, id("a/+/c", &mut taken), "two that meet are parted");
        let mut full = BTreeSet::from([MAX_ID]);
        assert!((1..=MAX_ID).contains(&id("x", &mut full)));
    }
}
