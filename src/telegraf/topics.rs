//! Topics of `mqtt_consumer`, and what its `topic_parsing` takes out of them. Pure.
//!
//! Telegraf subscribes to filters, and looks at each topic with each `topic_parsing`. forebay has
//! patterns, of which the most specific one takes a topic. So each filter is parted into cells:
//! the topics that the same sections apply to.

use super::section::Section;

/// Most patterns that the topics of an input are parted into.
pub const MAX_CELLS: usize = 1_000;
/// Most levels of a topic.
const MAX_LEVELS: usize = 128;

/// What a level of a pattern takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Takes {
    /// This name.
    Name(String),
    /// Any one level.
    One,
    /// All levels that are left.
    Rest,
}

/// A level of a topic, and what Telegraf makes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// What it takes.
    pub takes: Takes,
    /// The tags that it becomes.
    pub tags: Vec<String>,
    /// The fields that it becomes.
    pub fields: Vec<String>,
    /// Whether it is the measurement.
    pub is_measurement: bool,
}

impl Level {
    fn of(text: &str) -> Self {
        let takes = match text {
            "+" => Takes::One,
            "#" => Takes::Rest,
            name => Takes::Name(name.to_owned()),
        };
        Self { takes, tags: Vec::new(), fields: Vec::new(), is_measurement: false }
    }
}

/// Topics that Telegraf treats alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The levels of the topics.
    pub levels: Vec<Level>,
    /// The group of a shared subscription.
    pub shared: Option<String>,
    /// Sections that apply.
    applied: usize,
}

impl Cell {
    /// Of a filter that is subscribed to.
    fn of(filter: &str) -> Self {
        let shared = filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
        let (shared, filter) = shared.map_or((None, filter), |(group, filter)| (Some(group.to_owned()), filter));
        Self { levels: filter.split('/').map(Level::of).collect(), shared, applied: 0 }
    }

    fn is_alike(&self, other: &Self) -> bool {
        let takes = |cell: &Self| cell.levels.iter().map(|level| level.takes.clone()).collect::<Vec<_>>();
        self.shared == other.shared && takes(self) == takes(other)
    }

    fn has_rest(&self) -> bool {
        self.levels.last().is_some_and(|level| level.takes == Takes::Rest)
    }

    /// The level that is the measurement.
    pub fn measurement(&self) -> Option<&Level> {
        self.levels.iter().find(|level| level.is_measurement)
    }
}

/// A `topic_parsing`: places are counted from the front, or from the back where they are negative.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsing {
    names: Vec<(i64, String)>,
    has_rest: bool,
    least: usize,
    measurement: Option<i64>,
    tags: Vec<(i64, String)>,
    fields: Vec<(i64, String)>,
}

/// A text such as `_/site/#/kind`.
struct Places {
    named: Vec<(i64, String)>,
    count: usize,
}

impl Places {
    /// `skipped` is what stands for a level that is not named.
    fn of(text: &str, skipped: &[&str]) -> Self {
        let parts: Vec<&str> = text.split('/').collect();
        let rest = parts.iter().position(|part| *part == "#");
        let place = |at: usize| match rest {
            Some(rest) if at > rest => at as i64 - parts.len() as i64,
            _ => at as i64,
        };
        let named = parts.iter().enumerate().filter(|(_, part)| **part != "#" && !skipped.contains(*part));
        let count = parts.iter().filter(|part| **part != "#").count();
        Self { named: named.map(|(at, part)| (place(at), (*part).to_owned())).collect(), count }
    }
}

impl Parsing {
    /// By its section. The error says why Telegraf would not start with it, or what is too much.
    pub fn of(section: &mut Section) -> Result<Self, String> {
        let topic = section.text("topic").unwrap_or_default();
        let [measurement, tags, fields] =
            ["measurement", "tags", "fields"].map(|key| section.text(key).unwrap_or_default());
        // Types of fields that come from topics; such fields become symbols, which are text.
        let _ = section.pairs("types");
        if [&topic, &measurement, &tags, &fields].iter().any(|text| text.split('/').count() > MAX_LEVELS) {
            return Err(format!("it has more than {MAX_LEVELS} levels"));
        }
        let hashes = topic.split('/').filter(|part| *part == "#").count();
        if hashes > 1 {
            return Err("topic can only contain one hash".into());
        }
        let names = Places::of(&topic, &["+"]);
        let skipped = ["_", ""];
        let [by_name, by_tag, by_field] = [&measurement, &tags, &fields].map(|text| Places::of(text, &skipped));
        if by_name.named.len() > 1 {
            return Err("measurement can only contain one element".into());
        }
        for (word, text, places) in
            [("measurement", &measurement, &by_name), ("tags", &tags, &by_tag), ("fields", &fields, &by_field)]
        {
            if hashes == 0 && !text.is_empty() && !places.named.is_empty() && places.count != names.count {
                return Err(format!("{word} has another number of levels than topic"));
            }
        }
        let least = [&by_name, &by_tag, &by_field].iter().map(|places| places.count).chain([names.count]).max();
        Ok(Self {
            names: names.named,
            has_rest: hashes == 1,
            least: least.unwrap_or_default(),
            measurement: by_name.named.first().map(|(at, _)| *at),
            tags: by_tag.named,
            fields: by_field.named,
        })
    }

    /// Whether it counts from the back anywhere.
    fn counts_back(&self) -> bool {
        let named = self.names.iter().chain(&self.tags).chain(&self.fields);
        named.map(|(at, _)| *at).chain(self.measurement).any(|at| at < 0)
    }

    /// The topics of a cell that it applies to, with what it makes of them; none where there are
    /// none. The error says what patterns can't say.
    fn within(&self, cell: &Cell) -> Result<Option<Cell>, String> {
        let mut levels = cell.levels.clone();
        if cell.has_rest() {
            levels.pop();
            if self.has_rest && self.counts_back() {
                return Err(
                    "the topics under # have any number of levels, and a pattern counts levels from the front \
                            alone; list the topics with + for each level"
                        .into(),
                );
            }
            while levels.len() < self.least {
                levels.push(Level::of("+"));
            }
            if self.has_rest {
                levels.push(Level::of("#"));
            } else if levels.len() != self.least {
                return Ok(None);
            }
        } else if levels.len() < self.least || !self.has_rest && levels.len() != self.least {
            return Ok(None);
        }
        let count = levels.len();
        let mut cell = Cell { levels, shared: cell.shared.clone(), applied: cell.applied + 1 };
        let index = |at: i64| if at >= 0 { at as usize } else { (count as i64 + at) as usize };
        for (at, name) in &self.names {
            let Some(level) = cell.levels.get_mut(index(*at)) else { return Ok(None) };
            match &level.takes {
                Takes::Name(own) if own != name => return Ok(None),
                _ => level.takes = Takes::Name(name.clone()),
            }
        }
        if let Some(at) = self.measurement {
            cell.levels.iter_mut().for_each(|level| level.is_measurement = false);
            if let Some(level) = cell.levels.get_mut(index(at)) {
                level.is_measurement = true;
            }
        }
        for (at, tag) in &self.tags {
            cell.levels.iter_mut().for_each(|level| level.tags.retain(|other| other != tag));
            if let Some(level) = cell.levels.get_mut(index(*at)) {
                level.tags.push(tag.clone());
            }
        }
        for (at, field) in &self.fields {
            if let Some(level) = cell.levels.get_mut(index(*at)) {
                level.fields.push(field.clone());
            }
        }
        Ok(Some(cell))
    }
}

/// Parts filters into cells. What patterns can't say of a section goes to `faults`, by its number.
pub fn cells(filters: &[String], parsings: &[Parsing], faults: &mut Vec<(usize, String)>) -> Vec<Cell> {
    let mut all: Vec<Cell> = Vec::new();
    for filter in filters {
        let mut cells = vec![Cell::of(filter)];
        for (number, parsing) in parsings.iter().enumerate() {
            let mut next = cells.clone();
            for (at, cell) in cells.iter().enumerate() {
                match parsing.within(cell) {
                    Ok(None) => {}
                    Ok(Some(part)) => put(&mut next, part, at),
                    Err(what) => faults.push((number, what)),
                }
            }
            cells = next;
            cells.truncate(MAX_CELLS);
        }
        for cell in cells {
            if !all.iter().any(|other| other.is_alike(&cell)) && all.len() < MAX_CELLS {
                all.push(cell);
            }
        }
    }
    all
}

/// Puts the part of a cell in the place of the whole where it is the whole, else beside it. Of two
/// that are alike the one counts that more sections apply to.
fn put(cells: &mut Vec<Cell>, part: Cell, at: usize) {
    match cells.iter_mut().enumerate().find(|(_, other)| other.is_alike(&part)) {
        Some((other_at, other)) if other_at == at || other.applied < part.applied => *other = part,
        Some(_) => {}
        None => cells.push(part),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsing(topic: &str, measurement: &str, tags: &str) -> Result<Parsing, String> {
        let text = |text: &str| super::super::document::Item {
            line: 1,
            value: super::super::document::Value::Text(text.into()),
        };
        let entries =
            vec![("topic".into(), text(topic)), ("measurement".into(), text(measurement)), ("tags".into(), text(tags))];
        Parsing::of(&mut Section::new("f", "p".into(), 1, entries))
    }

    /// Cells as text: `a/+=site`.
    fn told(filters: &[&str], parsings: &[(&str, &str, &str)]) -> (Vec<String>, usize) {
        let filters: Vec<String> = filters.iter().map(|filter| (*filter).to_owned()).collect();
        let parsings: Vec<Parsing> = parsings.iter().map(|(a, b, c)| parsing(a, b, c).expect("a parsing")).collect();
        let mut faults = Vec::new();
        let level = |level: &Level| {
            let takes = match &level.takes {
                Takes::Name(name) => name.as_str(),
                Takes::One => "+",
                Takes::Rest => "#",
            };
            let tags = level.tags.iter().flat_map(|tag| ["=", tag]).collect::<String>();
            format!("{takes}{tags}{}", if level.is_measurement { "!" } else { "" })
        };
        let cells = cells(&filters, &parsings, &mut faults);
        let told = cells.iter().map(|cell| cell.levels.iter().map(level).collect::<Vec<_>>().join("/")).collect();
        (told, faults.len())
    }

    #[test]
    fn a_section_for_all_topics_takes_the_place_of_the_filter() {
        assert_eq!(told(&["a/+/+"], &[("a/+/+", "_/_/measurement", "_/site/_")]).0, ["a/+=site/+!"]);
        assert_eq!(told(&["a/+/temp"], &[("a/+/+", "", "_/site/kind")]).0, ["a/+=site/temp=kind"]);
        assert_eq!(told(&["a/+"], &[("b/+", "", "_/site")]).0, ["a/+"]);
    }

    #[test]
    fn a_section_for_some_topics_is_a_pattern_beside_the_filter() {
        assert_eq!(told(&["a/#"], &[("a/+/temp", "", "_/site/_")]).0, ["a/#", "a/+=site/temp"]);
        assert_eq!(told(&["a/#"], &[("a/+/#", "", "_/site/#")]).0, ["a/#", "a/+=site/#"]);
        assert_eq!(told(&["a/#"], &[("a/#", "", "_/site/dev/#")]).0, ["a/#", "a/+=site/+=dev/#"]);
        let both = told(&["a/+/+"], &[("a/+/+", "", "_/site/_"), ("a/+/temp", "", "_/_/kind")]);
        assert_eq!(both.0, ["a/+=site/+", "a/+=site/temp=kind"]);
        let crossed = told(&["+/+"], &[("a/+", "", "x/_"), ("+/b", "", "_/y")]);
        assert_eq!(crossed.0, ["+/+", "a=x/+", "+/b=y", "a=x/b=y"]);
    }

    #[test]
    fn a_hash_in_the_middle_counts_from_the_back() {
        assert_eq!(told(&["a/+/+/b"], &[("a/#/b", "", "_/#/last/_")]).0, ["a/+/+=last/b"]);
        assert_eq!(told(&["a/#"], &[("a/#/b", "", "_/#/last/_")]), (vec!["a/#".to_owned()], 1));
    }

    #[test]
    fn what_telegraf_refuses_is_refused() {
        assert!(parsing("a/+", "_/_/m", "").is_err() && parsing("#/#", "", "").is_err());
        assert!(parsing("a/+", "x/y", "").is_err() && parsing("a/+", "", "_/_/_/x").is_err());
    }

    #[test]
    fn a_shared_subscription_keeps_its_group() {
        let cells = cells(&["$share/g/a/+".to_owned()], &[], &mut Vec::new());
        assert_eq!((cells[0].shared.as_deref(), cells[0].levels.len()), (Some("g"), 2));
    }

    proptest! {
        #[test]
        fn arbitrary_sections_never_panic(filter in "[ab+#/]{0,12}", topic in "[ab+#/]{0,12}", tags in "[xy_#/]{0,12}") {
            if let Ok(parsing) = parsing(&topic, "", &tags) {
                let _ = cells(&[filter], &[parsing], &mut Vec::new());
            }
        }
    }
}
