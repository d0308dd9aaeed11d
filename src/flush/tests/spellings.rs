//! Tables that come in several spellings.

use super::*;
use crate::ring::tables::hash_as_written;

#[test]
fn rows_of_all_spellings_of_a_table_go_in_their_order_and_under_one_name() {
    let mut bench = Bench::new();
    for (number, (table, symbol)) in [("T", "device"), ("t", "Device"), ("T", "device")].into_iter().enumerate() {
        bench.row_of(table, number as i64, symbol);
    }
    // As a program wrote it that took each spelling for a table.
    let mut body = Vec::new();
    encode_rows("T", &[Row { fields: vec![("x".into(), Value::Long(3))], ..Row::default() }], &mut body).unwrap();
    let table_hash = hash_as_written("T");
    bench.append(Part { kind: Kind::Rows, table_hash, rows: 1, body: &body, ..Part::default() });
    bench.run_out();
    let sent = bench.database.seen().writes.concat();
    let places = [0, 1, 2, 3].map(|number| sent.find(&format!(" x={number}i ")));
    assert!(places.is_sorted() && places[0].is_some(), "{places:?}");
    let names: Vec<&str> = sent.lines().filter_map(|line| line.split([',', ' ']).next()).collect();
    assert_eq!(names, ["t"; 4], "{sent:?}");
}
