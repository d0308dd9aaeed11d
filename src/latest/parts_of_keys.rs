//! Tests: questions that name a part of a key find what a scan of all series finds.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    entry::{Rows, encode_rows},
    point::{Text, Value},
};

type Symbols = Vec<(&'static str, String)>;

fn at(step: i64) -> Received {
    Received { wall: Timestamp(step * 1_000), since_boot_ns: 0 }
}

fn row(symbols: &Symbols, field: &str, step: i64) -> Row {
    let mut row = Row {
        time: Some(Timestamp(step * 1_000)),
        device_time: true,
        symbols: symbols.iter().map(|(name, value)| ((*name).into(), value.as_str().into())).collect(),
        fields: vec![(field.into(), Value::Long(step))],
        ..Row::default()
    };
    row.sort_symbols();
    row
}

fn filter(table: Option<&str>, symbols: &Symbols) -> Filter {
    Filter::new(table, symbols.iter().map(|(name, value)| (*name, value.as_str()))).unwrap()
}

/// All of a listing in parts, behind a place.
fn in_parts(latest: &Latest, filter: &Filter, since: Option<Seq>, after: Option<&Key>, most: usize) -> Vec<Key> {
    let mut walk = Walk::new(filter.clone(), since, after.cloned());
    let mut found = Vec::new();
    while !walk.is_over() {
        let part = latest.part(&mut walk, most);
        assert!(part.len() <= most && found.len() < 10_000, "a listing ends");
        found.extend(part.into_iter().map(|series| Key::clone(&series.key)));
    }
    found
}

/// What the map should hold: each series with the last record that changed it, and which series
/// were updated least recently.
#[derive(Default)]
struct Held {
    series: BTreeMap<Key, u64>,
    touched: Vec<Key>,
}

impl Held {
    fn update(&mut self, key: &Key, seq: u64, max_series: usize) {
        let held = self.series.entry(key.clone()).or_default();
        *held = seq.max(*held);
        self.touched.retain(|other| other != key);
        self.touched.push(key.clone());
        if self.series.len() > max_series {
            let oldest = self.touched.remove(0);
            self.series.remove(&oldest);
        }
    }

    fn clear(&mut self, key: &Key) {
        self.series.remove(key);
        self.touched.retain(|other| other != key);
    }

    fn found(&self, table: Option<&str>, symbols: &Symbols, since: Option<Seq>, after: Option<&Key>) -> Vec<Key> {
        let has = |key: &Key, name: &str, value: &str| {
            key.symbols.iter().any(|(n, v)| n.eq_ignore_ascii_case(name) && v == value)
        };
        let matching = self.series.iter().filter(|(key, seq)| {
            table.is_none_or(|table| table.eq_ignore_ascii_case(&key.table))
                && symbols.iter().all(|(name, value)| has(key, name, value))
                && since.is_none_or(|since| **seq > since.0)
                && after.is_none_or(|after| *key > after)
        });
        matching.map(|(key, _)| key.clone()).collect()
    }
}

/// Every subset of three symbols with values that series have, and one that none has.
fn questions() -> Vec<Symbols> {
    let values = |name, count: usize| (0..=count).map(move |n| (n < count).then(|| (name, n.to_string())));
    let mut all = Vec::new();
    for a in values("a", 4) {
        for b in values("B", 3) {
            for c in values("c", 2) {
                all.push([&a, &b, &c].into_iter().flatten().cloned().collect());
            }
        }
    }
    all
}

#[derive(Debug, Clone)]
struct Step {
    table: &'static str,
    symbols: Symbols,
    dice: u8,
}

fn step() -> impl Strategy<Value = Step> {
    let symbol = |names: [&'static str; 2], values: u8| {
        prop::option::weighted(0.7, (prop::sample::select(names.to_vec()), (0..values).prop_map(|n| n.to_string())))
    };
    let symbols = (symbol(["a", "A"], 3), symbol(["b", "B"], 2), symbol(["c", "C"], 1));
    let symbols = symbols.prop_map(|(a, b, c)| [a, b, c].into_iter().flatten().collect());
    let tables = prop::sample::select(vec!["t", "T", "u"]);
    (tables, symbols, any::<u8>()).prop_map(|(table, symbols, dice)| Step { table, symbols, dice })
}

proptest! {
    #[test]
    fn a_part_of_a_key_finds_what_a_scan_finds(
        max_series in 1..25usize,
        restored in 0..20usize,
        steps in prop::collection::vec(step(), 1..60),
        limit in 1..6usize,
        place in any::<prop::sample::Index>(),
        since in 0..60u64,
    ) {
        let latest = Latest::new(&settings::Latest { max_series, ..settings::Latest::default() });
        let mut held = Held::default();
        let mut keys = Vec::new();
        for (at_step, Step { table, symbols, dice }) in steps.iter().enumerate() {
            let (seq, time) = (at_step as u64 + 1, at_step as i64 + 1);
            let row = |field| row(symbols, field, time);
            let key = KeyRef { table, symbols: pairs(&row("x").symbols) }.to_key();
            if at_step < restored {
                let mut body = Vec::new();
                encode_rows(table, &[row("x")], &mut body).unwrap();
                for row in Rows::decode(&body).unwrap() {
                    latest.restore(table, &row.unwrap(), Seq(seq), at(time));
                }
                held.update(&key, seq, max_series);
            } else if dice % 8 == 0 {
                latest.clear(table, &key.symbols, Seq(seq), at(time));
                held.clear(&key);
            } else if dice % 8 == 1 {
                latest.fill(table, &row("y"));
                held.update(&key, 0, max_series);
            } else {
                latest.update(table, &row("x"), Seq(seq), at(time));
                held.update(&key, seq, max_series);
            }
            if at_step + 1 == restored.min(steps.len()) {
                latest.restored();
            }
            keys.push(key);
        }
        let after = place.get(&keys);
        for table in [None, Some("t"), Some("U")] {
            for symbols in questions() {
                let filter = filter(table, &symbols);
                let all = held.found(table, &symbols, None, None);
                let listing = latest.list(&filter, limit);
                let listed: Vec<Key> = listing.series.iter().map(|series| Key::clone(&series.key)).collect();
                prop_assert_eq!(&listed[..], &all[..all.len().min(limit)], "{:?} {:?}", table, symbols);
                prop_assert_eq!(listing.truncated, all.len() > limit);
                if let Some(only) = latest.only(&filter) {
                    prop_assert_eq!(&all[..], &[Key::clone(&only.key)]);
                }
                for since in [None, Some(Seq(since))] {
                    for after in [None, Some(after)] {
                        let found = in_parts(&latest, &filter, since, after, limit);
                        prop_assert_eq!(found, held.found(table, &symbols, since, after));
                    }
                }
            }
        }
    }
}

/// Series with a symbol of its own, two that many have, and one that all have.
fn many(series: usize) -> Latest {
    let latest = Latest::new(&settings::Latest::default());
    for n in 0..series {
        let table = if n % 5 == 0 { "u" } else { "t" };
        latest.update(table, &row(&symbols_of(n).into(), "x", 1), Seq(1), at(1));
    }
    latest
}

fn symbols_of(n: usize) -> [(&'static str, String); 4] {
    // Series of a line stand together in listings, those of a kind far from each other.
    [("device", n.to_string()), ("kind", (n % 7).to_string()), ("line", (n / 700).to_string()), ("site", "s".into())]
}

#[test]
fn long_listings_by_parts_of_keys_find_what_a_scan_finds() {
    let latest = many(5_000);
    let all = latest.list(&Filter::default(), 5_000).series;
    for table in [None, Some("t")] {
        for subset in 0..16_usize {
            for n in [0, 3_333] {
                let symbols = symbols_of(n).into_iter().enumerate().filter(|(at, _)| subset >> at & 1 == 1);
                let filter = filter(table, &symbols.map(|(_, symbol)| symbol).collect());
                let scanned = all.iter().filter(|series| filter.matches(&series.key));
                let scanned: Vec<Key> = scanned.map(|series| Key::clone(&series.key)).collect();
                for (most, behind) in [(64, 0), (5_000, 0), (64, scanned.len() / 2)] {
                    let after = behind.checked_sub(1).and_then(|at| scanned.get(at));
                    assert!(in_parts(&latest, &filter, None, after, most) == scanned[behind..], "{filter:?} {most}");
                }
            }
        }
    }
}

#[test]
fn a_question_looks_at_those_that_have_the_value_which_fewest_have() {
    let latest = many(5_000);
    let looked_at = |symbols: &Symbols, after: Option<&Arc<Key>>| {
        let begin = Arc::new(Key { table: Text::default(), symbols: Box::default() });
        let from = after.map_or(std::ops::Bound::Included(&begin), std::ops::Bound::Excluded);
        let mut seen = 0;
        latest.board.walk(filter(None, symbols).symbols(), from, |_| {
            seen += 1;
            true
        });
        seen
    };
    let [device, kind, line, site] = symbols_of(1_234);
    for (symbols, most) in [
        (vec![device.clone()], 1),
        (vec![site.clone(), device.clone()], 1),
        (vec![kind.clone(), line, site.clone(), device], 1),
        (vec![kind.clone()], 714),
        (vec![kind, site.clone()], 714),
        (vec![site.clone(), ("line", "7".to_owned())], 100),
        (vec![site.clone(), ("line", "none".to_owned())], 0),
    ] {
        assert_eq!(looked_at(&symbols, None), most, "{symbols:?}");
    }
    let page = latest.list(&filter(None, &vec![site.clone()]), 4_990).series;
    assert_eq!(looked_at(&vec![site], page.last().map(|series| &series.key)), 10, "a page begins at its place");
}

#[test]
fn each_symbol_of_a_series_is_counted() {
    let bytes = |symbols: usize| {
        let latest = Latest::new(&settings::Latest::default());
        latest.update("t", &row(&symbols_of(1)[..symbols].to_vec(), "x", 1), Seq(1), at(1));
        latest.status().bytes as usize
    };
    let of_key = size_of::<(Text, Text)>();
    assert_eq!(bytes(4) - bytes(1), 3 * (of_key + by_symbol::ENTRY_BYTES));
}

#[test]
fn whoever_left_is_found_by_none_of_its_symbols_while_others_come_and_go() {
    let latest = Arc::new(Latest::new(&settings::Latest { max_series: 2_000, ..settings::Latest::default() }));
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let latest = Arc::clone(&latest);
            std::thread::spawn(move || {
                for n in (0..3_000).map(|n| n * 4 + thread) {
                    let symbols = symbols_of(n).to_vec();
                    latest.update("t", &row(&symbols, "x", 1), Seq(1), at(1));
                    if n % 50 == 0 {
                        latest.clear("t", &row(&symbols, "x", 1).symbols, Seq(1), at(1));
                    }
                    let found = latest.list(&filter(Some("t"), &symbols[1..3].to_vec()), 1_000).series;
                    assert!(found.is_sorted_by(|a, b| a.key < b.key));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let held = latest.list(&Filter::default(), 10_000).series;
    for n in 0..12_000 {
        let symbols = symbols_of(n).to_vec();
        let found = latest.list(&filter(None, &symbols[..1].to_vec()), 10).series;
        let is_held = held.iter().any(|series| *series.key.symbols[0].1 == symbols[0].1);
        assert_eq!(found.len(), usize::from(is_held), "{n}");
    }
    let by_site = latest.list(&filter(None, &symbols_of(0)[3..].to_vec()), 10_000).series;
    assert!(by_site == held, "the same series in the same order");
}
