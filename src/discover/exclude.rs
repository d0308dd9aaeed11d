//! Filters of topics that a source leaves out. Pure.

use super::draft::Draft;
use crate::decode::pattern::Pattern;

/// Whether a filter matches a topic.
pub fn matches(filter: &str, topic: &str) -> bool {
    Pattern::parse(filter).is_ok_and(|filter| filter.captures(topic).is_some())
}

/// A filter for a topic that a source is to leave out: as wide as can be without the source's own
/// topics.
pub fn filter(topic: &str, own: &[&str], draft: &Draft) -> String {
    let levels: Vec<&str> = topic.split('/').collect();
    let pattern = draft.topics.first().map_or("", String::as_str);
    let of: Vec<&str> = pattern.split('/').collect();
    let varies = |at: usize| of.get(at).is_none_or(|level| level.contains('{') || matches!(*level, "+" | "#"));
    let spares = |filter: &String| !own.iter().any(|own| matches(filter, own));
    // All placeholders but one are any level.
    let but_one = (0..levels.len()).rev().filter(|at| varies(*at)).map(|kept| {
        let level =
            |(at, level): (usize, &&str)| if varies(at) && at != kept { "+".to_owned() } else { (*level).to_owned() };
        levels.iter().enumerate().map(level).collect::<Vec<_>>().join("/")
    });
    let first = levels.first().copied().unwrap_or_default();
    let mut filters = but_one.filter(|filter| !filter.starts_with('+') || !first.starts_with('$'));
    filters.find(spares).unwrap_or_else(|| topic.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_as_wide_as_the_own_topics_allow() {
        let draft = Draft { topics: vec!["house/{room}/{metric}".into()], ..Draft::default() };
        let own = ["house/bath/humidity", "house/kitchen/light"];
        assert_eq!(filter("house/bath/status", &own, &draft), "house/+/status");
        assert_eq!(filter("house/hall/light", &own, &draft), "house/hall/+");
        assert_eq!(filter("house/bath/light", &own, &draft), "house/bath/light");
        assert!(matches("house/+/status", "house/bath/status") && !matches("house/+", "house/bath/status"));
    }
}
