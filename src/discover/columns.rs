//! Which members of rows are symbols, and which types their fields have. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value as Json;

use super::{
    members::{RowOf, Rows, column, is_outside},
    values::{MANY, Values},
    words,
};

/// Most members that are tried in pairs.
const MAX_PAIRED: usize = 6;

/// What is known of columns beforehand.
#[derive(Debug, Clone, Default)]
pub struct Known<'a> {
    /// Levels of each topic of the group.
    pub levels: Vec<Vec<&'a str>>,
    /// The levels that differ, and are symbols.
    pub varying: BTreeSet<usize>,
    /// Members that are no columns: the time, names and values of a list.
    pub taken: BTreeSet<String>,
    /// Whether the names that `*` met are a symbol.
    pub has_keys: bool,
    /// Whether each row of a message has its place in an array beside others.
    pub is_zipped: bool,
}

/// Symbols of rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Symbols {
    /// The symbols' paths.
    pub paths: Vec<String>,
    /// Members that say what the topic says.
    pub repeats: Vec<String>,
    /// Members that never changed.
    pub constants: Vec<String>,
    /// Whether rows of a message may have the same symbols and time.
    pub collides: bool,
}

/// The member whose values are a level of the topics, for each level where there is one.
#[must_use]
pub fn named_levels(rows: &Rows, levels: &[Vec<&str>]) -> BTreeMap<usize, String> {
    let mut named = BTreeMap::new();
    for path in rows.members.keys().filter(|path| !is_outside(path)) {
        let values = Values::of(rows, path).filter(|values| values.is_text || words::is_identity(path));
        if let Some(at) = values.and_then(|values| values.level(levels)) {
            named.entry(at).or_insert_with(|| path.clone());
        }
    }
    named
}

/// The symbols of rows whose time is the member at `time`.
#[must_use]
pub fn symbols(rows: &Rows, known: &Known<'_>, time: Option<&str>) -> Symbols {
    let mut symbols = Symbols::default();
    let has_several = rows.most_in_a_message() > 1;
    let mut candidates = Vec::new();
    for path in rows.members.keys().filter(|path| !known.taken.contains(*path) && time != Some(path.as_str())) {
        let Some(values) = Values::of(rows, path) else { continue };
        let is_key = |(row, text): &(&RowOf, String)| row.keys.last() == Some(text);
        if known.has_keys && values.of.iter().all(is_key) {
            symbols.repeats.push(path.clone());
            continue;
        }
        let says = |at: &usize| known.varying.contains(at);
        if (values.is_text || words::is_identity(path)) && values.level(&known.levels).as_ref().is_some_and(says) {
            symbols.repeats.push(path.clone());
            continue;
        }
        if is_symbol(path, &values, known.levels.len(), has_several, rows.all.len()) {
            symbols.paths.push(path.clone());
        } else if values.is_text && values.distinct().len() == 1 && rows.messages > 1 {
            symbols.constants.push(path.clone());
            if words::is_identity(path) {
                candidates.push(path.clone());
            }
        } else if values.is_text && !words::is_state(path) || words::is_identity(path) && !is_outside(path) {
            candidates.push(path.clone());
        }
    }
    // A name that stands in several objects of a row names its parts, and not whose it is.
    let last = |path: &String| path.rsplit_once('.').map(|(_, last)| last.to_owned());
    let all: Vec<Option<String>> = rows.members.keys().map(last).collect();
    let is_one =
        |path: &String| last(path).is_none_or(|own| all.iter().flatten().filter(|other| **other == own).count() < 2);
    symbols.paths.retain(|path| is_outside(path) || is_one(path));
    one_of_each_column(&mut symbols.paths);
    symbols.paths.truncate(12);
    symbols.collides = has_several && collides(rows, known, &symbols.paths, time);
    if symbols.collides {
        tell_apart(rows, known, &candidates, time, &mut symbols);
    }
    symbols
}

/// Adds the member that tells the rows of each message apart.
fn tell_apart(rows: &Rows, known: &Known<'_>, candidates: &[String], time: Option<&str>, symbols: &mut Symbols) {
    for candidate in candidates {
        let Some(values) = Values::of(rows, candidate) else { continue };
        let is_passing = values.never_comes_again();
        if is_passing || values.is_reading() && !words::is_identity(candidate) || !values.is_text && !is_stable(&values)
        {
            continue;
        }
        let paths = [symbols.paths.clone(), vec![candidate.clone()]].concat();
        if !collides(rows, known, &paths, time) {
            (symbols.paths, symbols.collides) = (paths, false);
            return;
        }
    }
    // An address on a bus tells rows apart only together with the bus.
    let named: Vec<&String> = candidates.iter().filter(|path| words::is_identity(path)).take(MAX_PAIRED).collect();
    for (at, one) in named.iter().enumerate() {
        for other in named.iter().skip(at + 1) {
            let paths = [symbols.paths.clone(), vec![(*one).clone(), (*other).clone()]].concat();
            let come_again = [one, other].iter().all(|path| {
                Values::of(rows, path).is_some_and(|values| values.messages() == 1 || values.comes_again())
            });
            if come_again && !collides(rows, known, &paths, time) {
                (symbols.paths, symbols.collides) = (paths, false);
                return;
            }
        }
    }
}

/// Of members that would be one column only the first stays.
fn one_of_each_column(paths: &mut Vec<String>) {
    let mut columns = BTreeSet::new();
    paths.retain(|path| columns.insert(column(path)));
}

/// Whether whole numbers are names of things and not counted on: they come again, or there is one
/// message that has them all.
fn is_stable(values: &Values<'_>) -> bool {
    values.tells_rows_apart() && (values.messages() == 1 || values.comes_again())
}

fn is_symbol(path: &str, values: &Values<'_>, topics: usize, has_several: bool, rows: usize) -> bool {
    let is_identity = words::is_identity(path);
    // A name that only some rows of a message have does not tell whose they are.
    if has_several && values.of.len() < rows {
        return false;
    }
    // A symbol comes again, or stays.
    if values.never_comes_again() || !has_several && values.counts() && !is_told_by_address(path) {
        return false;
    }
    let (distinct, by_topic) = (values.distinct().len(), values.by_topic());
    if !values.is_text {
        let comes_again = values.messages() >= 4 && values.comes_again() && distinct > 1;
        return is_identity
            && !is_outside(path)
            && if has_several {
                is_stable(values) && is_number_of_a_thing(path)
            } else {
                comes_again && by_topic.values().any(|of| of.len() > 1)
            };
    }
    if values.is_unique_by_make() && distinct > 1 && !has_several
        || values.is_reading() && !is_identity
        || words::is_version(path)
    {
        return false;
    }
    let is_constant = by_topic.values().all(|of| of.len() == 1);
    match (is_constant, is_identity) {
        (true, true) => topics == 1 || distinct > 1,
        (true, false) => {
            let is_told = distinct > 1 && values.fewest_messages() >= MANY && !has_several;
            is_told && !words::is_state(path) && words::time_rank(path).is_none()
        }
        (false, true) => has_several || values.comes_again() || values.messages() < MANY + 1,
        (false, false) => false,
    }
}

/// Whether a member is named like the number of a thing: a code or an index may be a reading.
fn is_number_of_a_thing(path: &str) -> bool {
    let told = [
        "id", "addr", "address", "channel", "ch", "chan", "sensor", "slave", "node", "device", "port", "register",
        "unit", "gateway", "meter", "machine", "inverter", "probe", "zone", "room", "station",
    ];
    let parts = words::parts(path.rsplit('.').next().unwrap_or(path));
    parts.last().is_some_and(|last| told.contains(&last.as_str()))
}

/// Whether a member is named like the address of a thing, whose numbers a gateway asks one by one.
fn is_told_by_address(path: &str) -> bool {
    let parts = words::parts(path.rsplit('.').next().unwrap_or(path));
    let told = ["addr", "address", "slave", "sensor", "channel", "meter", "inverter", "node", "probe", "station"];
    parts.iter().any(|part| told.contains(&part.as_str()))
}

/// Whether two rows of a message have the same symbols and time.
fn collides(rows: &Rows, known: &Known<'_>, paths: &[String], time: Option<&str>) -> bool {
    let mut identities: Vec<Vec<String>> = rows
        .all
        .iter()
        .map(|row| vec![row.message.to_string(), if known.has_keys { row.keys.join("\n") } else { String::new() }])
        .collect();
    let named = paths.iter().map(String::as_str).chain(time).chain(known.taken.iter().map(String::as_str));
    for path in named {
        for seen in rows.members.get(path).into_iter().flatten() {
            // What a value is does not tell whose it is.
            let is_value = known.taken.contains(path) && !seen.value.is_string();
            if let Some(identity) = identities.get_mut(seen.row).filter(|_| !is_value || time == Some(path)) {
                identity.push(format!("{path}={}", seen.value));
            }
        }
    }
    // Elements of arrays side by side have their own times, or follow each other.
    if known.is_zipped && time.is_none() {
        return false;
    }
    let mut seen = HashSet::new();
    !identities.into_iter().all(|identity| seen.insert(identity))
}

/// The type that a field is to be given, and why; none for what comes as it is to be.
#[must_use]
pub fn kind(values: &[&Json], name: &str, is_always_there: bool) -> Option<(&'static str, &'static str)> {
    let (mut numbers, mut numeric, mut switches, mut booleans, mut other) = (0, 0, 0, 0, 0);
    let mut is_code = false;
    for value in values {
        match value {
            Json::Number(_) => numbers += 1,
            Json::Bool(_) => booleans += 1,
            Json::String(text) if text.is_empty() || words::is_nothing(text) => {}
            Json::String(text) => match words::plain(text) {
                Some(words::Plain::Number | words::Plain::Measure) => {
                    numeric += 1;
                    is_code |=
                        text.len() > 1 && text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit())
                            || text.len() > 15 && text.bytes().all(|byte| byte.is_ascii_digit());
                }
                Some(words::Plain::Boolean | words::Plain::Switch) => switches += 1,
                None => other += 1,
            },
            _ => {}
        }
    }
    let is_named_otherwise = words::is_version(name) || words::is_identity(name);
    // A time in text stays what it is.
    let is_epoch = |value: &&Json| value.as_str().is_some_and(|text| text.parse::<f64>().is_ok_and(|n| n >= 9e8));
    if words::time_rank(name) == Some(0) && values.iter().any(is_epoch) {
        return None;
    }
    if numeric > 0 && other + switches + booleans == 0 && !is_code && !is_named_otherwise {
        return Some(("double", "text that is a number"));
    }
    if switches > 0 && other + numbers + numeric == 0 {
        return Some(if is_always_there {
            ("boolean", "text that is yes or no")
        } else {
            ("long", "text that is yes or no, as 1 or 0: it is not in every row, and a BOOLEAN column has no null")
        });
    }
    None
}

/// Words among texts that say that there is no value, where numbers are expected.
#[must_use]
pub fn nulls(values: &[&Json]) -> BTreeSet<String> {
    let is_number = |value: &&&Json| match value {
        Json::Number(_) | Json::Bool(_) => true,
        Json::String(text) => words::plain(text).is_some(),
        _ => false,
    };
    let texts = values.iter().filter_map(|value| value.as_str()).filter(|text| words::is_nothing(text));
    let nulls: BTreeSet<String> = texts.map(|text| text.trim().to_owned()).collect();
    let is_other =
        |value: &&&Json| value.as_str().is_some_and(|text| !words::is_nothing(text) && words::plain(text).is_none());
    if values.iter().any(|value| is_number(&value)) && !values.iter().any(|value| is_other(&value)) {
        nulls
    } else {
        BTreeSet::new()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        discover::members::{Document, Layout, Step},
        point::Timestamp,
    };

    fn symbols_of(documents: &[(usize, Json)], steps: Vec<Step>) -> Symbols {
        let documents: Vec<_> = documents
            .iter()
            .map(|(topic, json)| Document { topic: *topic, json, received: Timestamp(0), is_live: true })
            .collect();
        let rows = Rows::of(&documents, &Layout { steps, ..Layout::default() });
        let levels = vec![vec!["s", "a"], vec!["s", "b"]];
        let known = Known { levels, varying: BTreeSet::from([1]), ..Known::default() };
        symbols(&rows, &known, None)
    }

    #[test]
    fn what_names_a_thing_is_a_symbol_and_what_varies_is_none() {
        let flat = |documents: &[(usize, Json)]| symbols_of(documents, Vec::new());
        let told = flat(&[
            (0, json!({"dev":"a","room":"r1","id":1,"msg_id":"x1","v":20})),
            (0, json!({"dev":"a","room":"r1","id":2,"msg_id":"x2","v":20})),
            (1, json!({"dev":"b","room":"r2","id":3,"msg_id":"x3","v":20})),
        ]);
        assert_eq!((told.paths, told.repeats), (vec!["room".to_owned()], vec!["dev".to_owned()]));
        let states = flat(&[(0, json!({"state":"ON","v":1})), (1, json!({"state":"OFF","v":1}))]);
        assert_eq!(states.paths, Vec::<String>::new());
        let several: Vec<_> = (0..8).map(|n| (n % 2, json!({"kind": (["in", "out"][n % 2]), "v": n}))).collect();
        assert_eq!(flat(&several).paths, ["kind"], "it never changed, and differs between topics");
        let mixed = flat(&[(0, json!({"sensor":"x","v":1})), (0, json!({"sensor":"y","v":1}))]);
        assert_eq!(mixed.paths, ["sensor"]);
    }

    #[test]
    fn a_measurement_is_no_symbol_whatever_its_name_is() {
        for name in ["sensor", "id", "room", "channel", "code"] {
            for values in [["21.5", "22.5"], ["open", "closed"], ["21 °C", "22 °C"], ["17", "18"]] {
                let documents: Vec<_> =
                    (0..8).map(|n| (0, json!({ name: values[n % 2].replace('1', &n.to_string()), "v": n }))).collect();
                assert_eq!(symbols_of(&documents, Vec::new()).paths, [""; 0], "{name} {values:?}");
            }
            let documents: Vec<_> = (0..8).map(|n| (0, json!({ name: 20 + n, "v": n }))).collect();
            assert_eq!(symbols_of(&documents, Vec::new()).paths, [""; 0], "{name}");
        }
    }

    #[test]
    fn rows_of_a_message_are_told_apart() {
        let rows = |json: Json| symbols_of(&[(0, json)], vec![Step::Name("r".into()), Step::Elements]);
        let told = rows(json!({"gw":"g","r":[{"id":1,"v":5},{"id":2,"v":5}]}));
        assert_eq!((told.paths, told.collides), (vec!["id".to_owned()], false));
        let told = rows(json!({"r":[{"pos":"top","v":5},{"pos":"low","v":6}]}));
        assert_eq!((told.paths, told.collides), (vec!["pos".to_owned()], false));
        let told =
            rows(json!({"r":[{"bus":1,"address":1,"v":5},{"bus":1,"address":2,"v":5},{"bus":2,"address":1,"v":5}]}));
        assert_eq!((told.paths.len(), told.collides), (2, false), "{:?}", told.paths);
        let told = rows(json!({"r":[{"v":5},{"v":6}]}));
        assert_eq!((told.paths, told.collides), (Vec::new(), true));
    }

    #[test]
    fn texts_that_are_values_get_a_type() {
        let of = |values: &[Json]| kind(&values.iter().collect::<Vec<_>>(), "x", true).map(|(kind, _)| kind);
        assert_eq!(of(&[json!("21.5"), json!(3), json!("unavailable")]), Some("double"));
        assert_eq!(of(&[json!("ON"), json!("off")]), Some("boolean"));
        assert_eq!(of(&[json!("21.5"), json!("open")]), None);
        assert_eq!(of(&[json!("007")]), None);
        assert_eq!(of(&[json!(3), json!(true)]), None);
        assert_eq!(kind(&[&json!("1.2")], "fw_version", true), None);
    }
}
