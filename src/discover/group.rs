//! From topics to patterns: topics that differ in some levels and look alike are one group. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{shape::Class, words};

/// Members of a cluster that others are compared with.
const MAX_COMPARED: usize = 16;
/// Most names that become columns; more of them are a symbol.
const MAX_METRICS: usize = 200;
/// Ways below a level before a placeholder takes the rest of the topic.
const LEAST_WAYS: usize = 3;

/// One level of a group's pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Level {
    /// It is the same in all topics.
    Literal(String),
    /// It differs, and says whose the reading is.
    Varies(BTreeSet<String>),
    /// It differs behind the same beginning.
    Part(String, BTreeSet<String>),
    /// It says whose the reading is, in a pattern that takes one topic.
    Fixed(String),
    /// It differs, and says what is measured.
    Metric(BTreeSet<String>),
    /// The rest of the topic says what is measured.
    Rest,
}

/// Topics that one pattern takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The levels of the pattern.
    pub levels: Vec<Level>,
    /// What they look like.
    pub class: Class,
    /// The topics' places.
    pub topics: Vec<usize>,
}

impl Group {
    /// Whether a level names the field.
    pub fn has_metric(&self) -> bool {
        self.levels.iter().any(|level| matches!(level, Level::Metric(_) | Level::Rest))
    }

    /// What the pattern matches, without names.
    pub fn shape(&self) -> String {
        let level = |level: &Level| match level {
            Level::Literal(text) | Level::Fixed(text) => text.clone(),
            Level::Varies(_) | Level::Metric(_) => "+".to_owned(),
            Level::Part(start, _) => format!("{start}{{}}"),
            Level::Rest => "#".to_owned(),
        };
        self.levels.iter().map(level).collect::<Vec<_>>().join("/")
    }
}

/// A topic that looks like something.
#[derive(Debug, Clone)]
pub struct Item<'a> {
    /// The topic's place among all topics.
    pub at: usize,
    /// The topic's levels.
    pub levels: Vec<&'a str>,
    /// What it looks like.
    pub class: &'a Class,
    /// Whether it is a plain word, where others are numbers.
    pub is_word: bool,
}

/// Groups topics. Every one of them is in one group.
pub fn groups(items: &[Item<'_>]) -> Vec<Group> {
    let mut groups = Vec::new();
    let all: Vec<&Item<'_>> = items.iter().collect();
    split(&all, &[], &mut groups);
    part_those_that_meet(&mut groups, items);
    groups
}

/// Groups topics that have the first levels in common.
fn split(items: &[&Item<'_>], prefix: &[Level], groups: &mut Vec<Group>) {
    let depth = prefix.len();
    let (leaves, inner): (Vec<&Item<'_>>, Vec<&Item<'_>>) =
        items.iter().copied().partition(|item| item.levels.len() == depth + 1);
    if let Some(group) = rest(&leaves, &inner, prefix) {
        groups.push(group);
        return;
    }
    leaf_groups(&leaves, prefix, groups);
    let mut by_name: BTreeMap<&str, Vec<&Item<'_>>> = BTreeMap::new();
    for item in &inner {
        by_name.entry(item.levels.get(depth).copied().unwrap_or_default()).or_default().push(item);
    }
    let is_uneven = depth > 0 && is_uneven(&inner, depth + 1);
    let mut clusters: Vec<(Vec<&str>, Vec<Below<'_>>)> = Vec::new();
    for (name, items) in &by_name {
        let below = Below::of(items, depth + 1);
        let joins = |(names, known): &&mut (Vec<&str>, Vec<Below<'_>>)| {
            let can = !name.is_empty() && names.iter().all(|name| !name.is_empty());
            can && (is_uneven || known.iter().any(|other| other.is_like(&below, depth > 0)))
        };
        match clusters.iter_mut().find(joins) {
            Some((names, known)) => {
                names.push(name);
                if known.len() < MAX_COMPARED {
                    known.push(below);
                }
            }
            None => clusters.push((vec![name], vec![below])),
        }
    }
    for (names, _) in clusters {
        let items: Vec<&Item<'_>> = names.iter().filter_map(|name| by_name.get(name)).flatten().copied().collect();
        let level = match names.as_slice() {
            [one] => Level::Literal((*one).to_owned()),
            several => Level::Varies(several.iter().map(|name| (*name).to_owned()).collect()),
        };
        split(&items, &[prefix, &[level]].concat(), groups);
    }
}

/// Whether topics are single values of one class whose ways from a level on have different lengths.
fn is_uneven(items: &[&Item<'_>], depth: usize) -> bool {
    let Some(first) = items.first() else { return false };
    let ways: BTreeSet<&[&str]> = items.iter().map(|item| item.levels.get(depth..).unwrap_or_default()).collect();
    let is_one = items.iter().all(|item| item.class == first.class) && first.class.is_single();
    is_one && items.iter().any(|item| item.levels.len() != first.levels.len()) && ways.len() >= LEAST_WAYS
}

/// The group of topics whose rest says what is measured: single values at different depths.
fn rest(leaves: &[&Item<'_>], inner: &[&Item<'_>], prefix: &[Level]) -> Option<Group> {
    let first = leaves.first()?;
    let all = || leaves.iter().chain(inner);
    let is_one = all().all(|item| item.class == first.class) && first.class.is_single();
    let ways: BTreeSet<String> =
        all().map(|item| item.levels.get(prefix.len()..).unwrap_or_default().join("/")).collect();
    let quantities = ways.iter().filter(|way| words::is_quantity(way.rsplit('/').next().unwrap_or(way))).count();
    let is_told = quantities * 2 >= ways.len() || ways.len() > LEAST_WAYS + 2;
    let fits = (LEAST_WAYS..=MAX_METRICS).contains(&ways.len()) && is_told;
    if inner.is_empty()
        || prefix.is_empty()
        || !is_one
        || !fits
        || ways.iter().any(|way| way.split('/').any(str::is_empty))
    {
        return None;
    }
    let levels = [prefix, &[Level::Rest]].concat();
    Some(Group { levels, class: first.class.clone(), topics: all().map(|item| item.at).collect() })
}

/// The groups of topics that end at this level.
fn leaf_groups(leaves: &[&Item<'_>], prefix: &[Level], groups: &mut Vec<Group>) {
    let mut by_class: BTreeMap<&Class, Vec<&Item<'_>>> = BTreeMap::new();
    for item in leaves {
        by_class.entry(item.class).or_default().push(item);
    }
    for (class, items) in by_class {
        let last = |item: &&Item<'_>| item.levels.last().copied().unwrap_or_default().to_owned();
        let (unnamed, named): (Vec<_>, Vec<_>) = items.iter().copied().partition(|item| last(item).is_empty());
        let mut add = |level: Level, items: &[&Item<'_>]| {
            let topics = items.iter().map(|item| item.at).collect();
            groups.push(Group { levels: [prefix, &[level]].concat(), class: class.clone(), topics });
        };
        if !unnamed.is_empty() {
            add(Level::Literal(String::new()), &unnamed);
        }
        let names: BTreeSet<String> = named.iter().map(last).collect();
        if names.len() <= 1 {
            for name in names {
                add(Level::Literal(name), &named);
            }
        } else if class.is_single() && is_metric(&named, &names) && !prefix.is_empty() {
            add(Level::Metric(names), &named);
        } else if prefix.is_empty() {
            // A placeholder at the only level takes what anybody sends there.
            match common_start(&names) {
                Some(start) => add(Level::Part(start, names), &named),
                None => named.iter().for_each(|item| add(Level::Literal(last(item)), &[*item])),
            }
        } else {
            // Words and numbers are columns of different types.
            let (words, numbers): (Vec<&Item<'_>>, Vec<&Item<'_>>) =
                named.iter().copied().partition(|item| item.is_word);
            for part in [numbers, words].into_iter().filter(|part| !part.is_empty()) {
                add(Level::Varies(part.iter().map(last).collect()), &part);
            }
        }
    }
}

/// Whether the last level of single values says what is measured, and not where.
fn is_metric(items: &[&Item<'_>], names: &BTreeSet<String>) -> bool {
    if names.len() > MAX_METRICS {
        return false;
    }
    let quantities = names.iter().filter(|name| words::is_quantity(name)).count();
    if quantities * 2 >= names.len() {
        return true;
    }
    let mut parents: BTreeMap<&str, BTreeSet<&[&str]>> = BTreeMap::new();
    for item in items {
        if let Some((last, above)) = item.levels.split_last() {
            parents.entry(last).or_default().insert(above);
        }
    }
    let is_name = |name: &String| !name.bytes().any(|byte| byte.is_ascii_digit());
    let repeated = parents.values().filter(|above| above.len() > 1).count();
    repeated * 2 >= names.len() && names.iter().all(is_name)
}

/// What the names begin with up to a sign between parts, where that is something.
pub fn common_start(names: &BTreeSet<String>) -> Option<String> {
    let first = names.first()?;
    let shared = names.iter().map(|name| {
        let same = first.chars().zip(name.chars()).take_while(|(a, b)| a == b);
        same.map(|(c, _)| c.len_utf8()).sum::<usize>()
    });
    let shared = first.get(..shared.min()?)?;
    let end = shared.rfind(['-', '_', ':', '.']).map(|at| at + 1).or_else(|| {
        let is_number = |name: &String| {
            name.get(shared.len()..).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
        };
        let letters = shared.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        (names.iter().all(is_number)).then_some(letters)
    })?;
    let start = shared.get(..end)?;
    let is_clear = start.len() >= 3 && !start.contains(['{', '}']) && names.iter().all(|name| name.len() > start.len());
    is_clear.then(|| start.to_owned())
}

/// What stands below a level.
struct Below<'a> {
    /// The ways and what is there.
    ways: BTreeSet<(String, &'a Class)>,
    /// How long the ways are, and what is there.
    depths: BTreeSet<(usize, &'a Class)>,
}

impl<'a> Below<'a> {
    fn of(items: &[&Item<'a>], depth: usize) -> Self {
        let way = |item: &&Item<'a>| (item.levels.get(depth..).unwrap_or_default().join("/"), item.class);
        let length = |item: &&Item<'a>| (item.levels.len().saturating_sub(depth), item.class);
        Self { ways: items.iter().map(way).collect(), depths: items.iter().map(length).collect() }
    }

    /// Whether what is below another name is the same sort of things. Where the names of what is
    /// below need not be the same, `is_loose` says so.
    fn is_like(&self, other: &Self, is_loose: bool) -> bool {
        let shared: Vec<&(String, &Class)> = self.ways.intersection(&other.ways).collect();
        let is_same = shared.len() * 2 >= self.ways.union(&other.ways).count() && !shared.is_empty();
        // At the top a single value named like many others says little.
        let says =
            |(way, class): &(String, &Class)| !class.is_single() || words::is_quantity(way) && !words::is_state(way);
        let is_telling = is_loose || shared.len() > 1 || shared.iter().any(|way| says(way));
        let depths = self.depths.intersection(&other.depths).count();
        let is_near = is_loose && depths * 2 >= self.depths.union(&other.depths).count();
        is_same && is_telling || is_near
    }
}

/// Parts groups whose patterns match the same topics: by the beginning that the names at a level
/// have in common, and else into patterns without placeholders, where there are few.
fn part_those_that_meet(groups: &mut Vec<Group>, items: &[Item<'_>]) {
    const MOST: usize = 16;
    let mut shapes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, group) in groups.iter().enumerate() {
        shapes.entry(group.shape()).or_default().push(at);
    }
    let mut added = Vec::new();
    for (_, mut meeting) in shapes.into_iter().filter(|(_, meeting)| meeting.len() > 1) {
        // The largest keeps its pattern, unless its names begin alike.
        meeting.sort_by_key(|at| groups.get(*at).map_or(0, |group| group.topics.len()));
        meeting = with_parts(groups, meeting, items);
        meeting.pop();
        for at in meeting {
            let Some(group) = groups.get_mut(at) else { continue };
            if group.topics.len() > MOST {
                continue;
            }
            for place in std::mem::take(&mut group.topics) {
                let Some(item) = items.iter().find(|item| item.at == place) else { continue };
                let fixed = |(level, text): (&Level, &&str)| match level {
                    Level::Varies(_) | Level::Part(..) => Level::Fixed((*text).to_owned()),
                    _ => Level::Literal((*text).to_owned()),
                };
                let mut levels: Vec<Level> = group.levels.iter().zip(&item.levels).map(fixed).collect();
                let rest = item.levels.iter().skip(levels.len());
                levels.extend(rest.map(|text| Level::Literal((*text).to_owned())));
                added.push(Group { levels, class: group.class.clone(), topics: vec![place] });
            }
        }
    }
    groups.extend(added);
    groups.retain(|group| !group.topics.is_empty());
}

/// Gives groups a pattern with a part of a level, where that parts them from all others. Those that
/// are left still match the same topics.
fn with_parts(groups: &mut [Group], meeting: Vec<usize>, items: &[Item<'_>]) -> Vec<usize> {
    let mut left = meeting.len();
    meeting
        .into_iter()
        .filter(|at| {
            let Some(group) = groups.get_mut(*at).filter(|_| left > 1) else { return true };
            let others = items.iter().filter(|item| !group.topics.contains(&item.at)).map(|item| item.levels.clone());
            let others: Vec<Vec<&str>> = others.collect();
            let is_parted = has_part(group, &others);
            left -= usize::from(is_parted);
            !is_parted
        })
        .collect()
}

/// Makes one level of a group's pattern a part, so that it matches none of the other topics.
fn has_part(group: &mut Group, others: &[Vec<&str>]) -> bool {
    for at in 0..group.levels.len() {
        let Some(Level::Varies(names)) = group.levels.get(at) else { continue };
        let Some(start) = common_start(names) else { continue };
        let meets = others.iter().any(|levels| {
            levels.len() == group.levels.len() && levels.get(at).is_some_and(|level| level.starts_with(&start))
        });
        if !meets {
            let part = Level::Part(start, names.clone());
            if let Some(level) = group.levels.get_mut(at) {
                *level = part;
            }
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The shapes of the groups of topics, each with its number of topics.
    fn shapes(topics: &[(&str, Class)]) -> Vec<(String, usize)> {
        let items: Vec<Item<'_>> = topics
            .iter()
            .enumerate()
            .map(|(at, (topic, class))| Item { at, levels: topic.split('/').collect(), class, is_word: false })
            .collect();
        let mut shapes: Vec<_> = groups(&items).iter().map(|group| (group.shape(), group.topics.len())).collect();
        shapes.sort();
        shapes
    }

    fn of(expected: &[(&str, usize)]) -> Vec<(String, usize)> {
        expected.iter().map(|(shape, count)| ((*shape).to_owned(), *count)).collect()
    }

    const A: Class = Class::Documents(0);
    const B: Class = Class::Documents(1);
    const P: Class = Class::Plain;

    #[test]
    fn levels_that_differ_become_placeholders_where_what_is_below_is_alike() {
        assert_eq!(
            shapes(&[("sensors/north/d1", A), ("sensors/south/d7", A), ("sensors/south/d8", A)]),
            of(&[("sensors/+/+", 3)])
        );
        assert_eq!(
            shapes(&[("p/l1/press", A), ("p/l1/oven", B), ("p/l2/press", A), ("p/l2/oven", B)]),
            of(&[("p/+/oven", 2), ("p/+/press", 2)])
        );
        assert_eq!(
            shapes(&[("d1/telemetry", A), ("d2/telemetry", A), ("weather/berlin", A)]),
            of(&[("+/telemetry", 2), ("weather/berlin", 1)])
        );
        assert_eq!(shapes(&[("a/x", A), ("b/y", A)]), of(&[("a/x", 1), ("b/y", 1)]));
        assert_eq!(shapes(&[("meter1", A), ("meter2", A), ("x", A)]).len(), 3, "no placeholder takes the only level");
    }

    #[test]
    fn the_last_level_of_single_values_may_say_what_is_measured() {
        let topics = [("b/r1/temperature", P), ("b/r1/co2", P), ("b/r2/temperature", P), ("b/r2/door", P)];
        assert_eq!(shapes(&topics), of(&[("b/+/+", 4)]));
        let deep = [("N/p/b/1/Dc/0/Power", P), ("N/p/b/1/Level", P), ("N/p/v/2/Dc/0/Power", P), ("N/p/v/2/Mode/X", P)];
        assert_eq!(shapes(&deep), of(&[("N/p/+/+/#", 4)]));
    }

    #[test]
    fn different_shapes_on_like_topics_are_parted() {
        let topics = [("d/pm-1", B), ("d/pm-2", B), ("d/t1", A), ("d/t2", A), ("d/t3", A)];
        assert_eq!(shapes(&topics), of(&[("d/+", 3), ("d/pm-{}", 2)]));
        let topics = [("d/x", B), ("d/y", B), ("d/t1", A), ("d/t2", A), ("d/t3", A)];
        assert_eq!(shapes(&topics), of(&[("d/+", 3), ("d/x", 1), ("d/y", 1)]));
    }

    proptest! {
        #[test]
        fn every_topic_is_in_one_group(
            topics in prop::collection::btree_map("[ab/]{1,9}", 0..4usize, 0..30),
        ) {
            let classes = [A, B, P, Class::Line];
            let items: Vec<Item<'_>> = topics.iter().enumerate()
                .map(|(at, (topic, class))| Item { at, levels: topic.split('/').collect(), class: &classes[*class], is_word: false })
                .collect();
            let mut seen: Vec<usize> = groups(&items).iter().flat_map(|group| group.topics.clone()).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..topics.len()).collect::<Vec<_>>());
        }
    }
}
