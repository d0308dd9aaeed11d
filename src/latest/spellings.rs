//! Tests: all spellings of a table, symbol or field are one (docs/names.md).

use super::*;
use crate::{
    entry::{Rows, encode_rows},
    point::{Text, Timestamp, Value},
};

const NOW: Received = Received { wall: Timestamp(9_000), since_boot_ns: 0 };

fn map() -> Latest {
    Latest::new(&settings::Latest::default())
}

/// A row of the moment 1 µs.
fn row(symbols: &[(&str, &str)], fields: &[(&str, i64)]) -> Row {
    let mut row = Row {
        time: Some(Timestamp(1_000)),
        device_time: true,
        symbols: symbols.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        fields: fields.iter().map(|(name, value)| ((*name).into(), Value::Long(*value))).collect(),
        ..Row::default()
    };
    row.sort_symbols();
    row
}

fn fields(fields: &[(Text, Value)]) -> Vec<(&str, i64)> {
    let number = |value: &Value| if let Value::Long(value) = value { *value } else { -1 };
    fields.iter().map(|(name, value)| (name.as_str(), number(value))).collect()
}

fn held(latest: &Latest, table: &str, symbols: &[(&str, &str)]) -> Vec<(String, i64)> {
    let found = latest.list(&Filter::new(Some(table), symbols.iter().copied()).unwrap(), 10).series;
    let pairs = |series: &Series| series.fields.iter().map(|f| (f.name.clone(), f.value.clone())).collect::<Vec<_>>();
    found
        .iter()
        .flat_map(|series| fields(&pairs(series)).into_iter().map(|(n, v)| (n.to_owned(), v)).collect::<Vec<_>>())
        .collect()
}

#[test]
fn a_series_is_found_and_completed_in_every_spelling_and_shown_in_the_first() {
    let latest = map();
    latest.update("Plant", &row(&[("Device", "a"), ("zone", "Z")], &[("ä", 1), ("k", 2)]), Seq(1), NOW);
    let mut second = row(&[("ZONE", "Z"), ("device", "a")], &[("Ä", 3), ("ß", 4)]);
    latest.prepare("plant", &mut second, NOW);
    assert_eq!((fields(&second.fields), second.completed), (vec![("Ä", 3), ("ß", 4), ("k", 2)], 1));
    latest.update("plant", &second, Seq(2), NOW);
    latest.update("PLANT", &row(&[("DEVICE", "A"), ("zone", "Z")], &[("x", 9)]), Seq(3), NOW);
    assert_eq!(latest.status().series, 2, "values are told apart by case, names are not");
    for (table, symbol) in [("Plant", "Device"), ("pLANT", "dEVICE")] {
        let wanted = [("ä".to_owned(), 3), ("k".to_owned(), 2), ("ß".to_owned(), 4)];
        assert_eq!(held(&latest, table, &[(symbol, "a")]), wanted);
        assert_eq!(held(&latest, table, &[("Zone", "Z"), (symbol, "a")]), wanted, "by its whole key");
        assert_eq!(held(&latest, table, &[]).len(), 4);
    }
    let shown = latest.list(&Filter::default(), 10).series;
    assert_eq!((&*shown[1].key.table, &*shown[1].key.symbols[0].0), ("Plant", "Device"));
    assert!(latest.clear("plant", &[("DEVICE", "a"), ("zone", "Z")], Seq(3), NOW));
    assert!(held(&latest, "Plant", &[("device", "a")]).is_empty());
}

#[test]
fn rows_of_one_message_are_united_in_every_spelling() {
    let latest = map();
    let mut rows = vec![
        row(&[("Device", "a")], &[("İ", 1), ("STRAẞE", 2)]),
        row(&[("device", "a")], &[("i", 3)]),
        row(&[("device", "A")], &[("i", 4)]),
    ];
    latest.prepare_rows("t", &mut rows, NOW);
    assert_eq!(
        fields(&rows[0].fields),
        [("İ", 3), ("STRAẞE", 2)],
        "the spelling that came first, the value that came last"
    );
    assert_eq!(fields(&rows[1].fields), [("i", 4)]);
    assert_eq!(rows.len(), 2);
}

#[test]
fn an_older_ring_s_symbols_stand_in_another_order() {
    let latest = map();
    let written =
        Row { symbols: vec![("Zone".into(), "z".into()), ("area".into(), "a".into())], ..row(&[], &[("x", 1)]) };
    let mut body = Vec::new();
    encode_rows("t", std::slice::from_ref(&written), &mut body).unwrap();
    let read = Rows::decode(&body).unwrap().next().unwrap().unwrap();
    assert!(read.symbols().eq([("Zone", "z"), ("area", "a")]));
    latest.restore("t", &read, Seq(1), NOW);
    latest.restored();
    latest.update("t", &row(&[("zone", "z"), ("Area", "a")], &[("y", 2)]), Seq(2), NOW);
    assert_eq!(latest.status().series, 1);
    assert_eq!(read.to_row(), row(&[("Zone", "z"), ("area", "a")], &[("x", 1)]), "a copy is in order");
    body.clear();
    crate::entry::encode_clear("t", &written.symbols, &mut body).unwrap();
    let clear = crate::entry::Clear::decode(&body).unwrap();
    assert!(latest.clear(clear.table, &clear.symbols, Seq(3), NOW) && latest.status().series == 0);
}

#[test]
fn a_listing_goes_on_behind_a_series_in_any_spelling() {
    let latest = map();
    for (seq, (table, device)) in [("b", "1"), ("A", "2"), ("a", "1"), ("C", "1")].into_iter().enumerate() {
        latest.update(table, &row(&[("d", device)], &[("x", 1)]), Seq(1 + seq as u64), NOW);
    }
    let order =
        |series: &[Series]| series.iter().map(|s| format!("{}{}", s.key.table, s.key.symbols[0].1)).collect::<Vec<_>>();
    assert_eq!(order(&latest.list(&Filter::default(), 10).series), ["a1", "A2", "b1", "C1"]);
    let after = Key { table: "a".into(), symbols: [("D".into(), "2".into())].into() };
    let mut walk = Walk::new(Filter::default(), None, Some(after));
    assert_eq!(order(&latest.part(&mut walk, 10)), ["b1", "C1"]);
}
