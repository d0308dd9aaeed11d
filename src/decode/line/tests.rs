use proptest::prelude::*;

use super::*;
use crate::{
    decode::names::column_fault,
    entry::{Rows, encode_rows},
    lines::line_protocol,
    point::{MAX_SYMBOL_BYTES, Value},
};

fn read(text: &str) -> Result<Vec<Line<'_>>, LineError> {
    Lines::new(text, Precision::default()).collect()
}

fn one(text: &str) -> Row {
    let mut lines = read(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    assert_eq!(lines.len(), 1, "{text:?}");
    lines.remove(0).row
}

fn fault(text: &str) -> String {
    read(text).expect_err(text).to_string()
}

fn value(text: &str) -> Value {
    one(&format!("t x={text}")).fields[0].1.clone()
}

fn pairs<T: Clone>(pairs: &[(&str, T)]) -> Vec<(Text, T)> {
    pairs.iter().map(|(name, value)| ((*name).into(), value.clone())).collect()
}

#[test]
fn a_line_gives_table_symbols_fields_and_time() {
    let lines = read("sensors,site=hall-1,device=d7 temperature=21.5,n=3i 1700000000123456789\n").unwrap();
    let Line { number, table, row, faults } = &lines[0];
    assert!(faults.is_empty());
    assert_eq!((*number, &**table, row.device_time), (1, "sensors", true));
    assert_eq!(row.time, Some(Timestamp(1_700_000_000_123_456_789)));
    assert_eq!(row.symbols, pairs::<Text>(&[("device", "d7".into()), ("site", "hall-1".into())]), "sorted by name");
    assert_eq!(row.fields, pairs(&[("temperature", Value::Double(21.5)), ("n", Value::Long(3))]));
}

#[test]
fn values_keep_their_type() {
    for (text, wanted) in [
        ("1", Value::Double(1.0)),
        ("1.", Value::Double(1.0)),
        (".5", Value::Double(0.5)),
        ("-1.5E-3", Value::Double(-0.0015)),
        ("+2", Value::Double(2.0)),
        ("-9223372036854775808i", Value::Long(i64::MIN)),
        ("9223372036854775807u", Value::Long(i64::MAX)),
        ("1700000000123456t", Value::Long(1_700_000_000_123_456)),
        ("1700000000123456789n", Value::Long(1_700_000_000_123_456)),
        ("t", Value::Flag(true)),
        ("TRUE", Value::Flag(true)),
        ("False", Value::Flag(false)),
        ("f", Value::Flag(false)),
        (r#""""#, Value::Text("".into())),
        (r#""a, b=c # d""#, Value::Text("a, b=c # d".into())),
        (r#""say \"hi\" \\ \n \x""#, Value::Text(r#"say "hi" \ \n \x"#.into())),
        ("\"two\nlines\\\nthree\"", Value::Text("two\nlines\nthree".into())),
    ] {
        assert_eq!(value(text), wanted, "{text}");
    }
    assert_eq!(value("\"a\0b\""), Value::Text("a\u{fffd}b".into()), "NUL makes QuestDB's answers unreadable");
    for text in ["NaN", "inf", "-Infinity"] {
        assert_eq!(one(&format!("t x={text},y=1")).fields.len(), 1, "{text}");
        assert_eq!(one(&format!("t,a=b x={text}")), Row::default(), "a row that says nothing");
    }
    for text in ["", "1e400", "9223372036854775808i", "-1.5i", "1.5u", "0x1i", "i", "tr", "1_0", "\"a", "\"a\"b", "'a'"]
    {
        assert!(read(&format!("t x={text}")).is_err(), "{text}");
    }
}

#[test]
fn a_backslash_takes_the_meaning_off_what_follows() {
    let lines = read(r"my\ table=x,site=a\,b\=c\ d\\,dir=C:\temp a\ f=1").unwrap();
    assert_eq!(lines[0].table, "my table=x");
    assert_eq!(lines[0].row.symbols, pairs::<Text>(&[("dir", r"C:\temp".into()), ("site", r"a,b=c d\".into())]));
    assert_eq!(lines[0].row.fields[0].0, "a f");
    assert_eq!(one("t,a=b\\\nc x=1").symbols[0].1, "b\nc", "a line break too");
}

#[test]
fn rows_may_do_without_a_time_and_with_symbols_alone() {
    assert_eq!((one("t x=1").time, one("t x=1").device_time), (None, false));
    assert_eq!(one("t,a=b 5").time, Some(Timestamp(5)));
    assert_eq!((one("t,a=b").time, one("t,a=b ").fields.len()), (None, 0));
    assert_eq!(one("t,a=,b=c x=1").symbols, pairs::<Text>(&[("b", "c".into())]), "a symbol without a value is absent");
    assert_eq!(one("t,a=b 5x=1").fields.len(), 1, "a field may begin with a digit");
}

#[test]
fn times_have_the_unit_of_the_request_or_their_own() {
    let at = |precision: &str, time: &str| {
        let text = format!("t x=1 {time}");
        let mut lines = Lines::new(&text, Precision::named(precision).expect(precision));
        lines.next().expect("a line").map(|line| line.row.time.expect("a time").0)
    };
    for (precision, nanos) in
        [("", 1), ("n", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000), ("h", 3_600_000_000_000)]
    {
        assert_eq!(at(precision, "7"), Ok(7 * nanos), "{precision}");
        assert_eq!((at(precision, "7t"), at(precision, "7n")), (Ok(7_000), Ok(7)), "{precision}");
    }
    assert_eq!(Precision::named("minutes"), None);
    for (precision, time) in
        [("", "-1"), ("h", "9223372036854775807"), ("", "1.5"), ("", "1 2"), ("", "9223372036854775808")]
    {
        assert!(at(precision, time).is_err(), "{precision} {time}");
    }
}

#[test]
fn comments_blank_lines_and_carriage_returns_are_no_rows() {
    let text = "# a comment, with \"a quote\r\n\r\n  \n t,a=b x=1 1\r\n\tt,a=c x=2 2\n#\nt x=\"v\"\r\n# end";
    let lines = read(text).unwrap();
    let found: Vec<_> = lines.iter().map(|line| (line.number, line.row.time.map(|time| time.0))).collect();
    assert_eq!(found, [(4, Some(1)), (5, Some(2)), (7, None)]);
    assert_eq!(lines[2].row.fields[0].1, Value::Text("v".into()));
    assert!(read("").unwrap().is_empty() && read("\n#").unwrap().is_empty());
}

#[test]
fn a_mistake_is_told_with_its_line_and_column() {
    for (text, wanted) in [
        ("t x=1\nt x", "line 2, column 4: field \"x\" has no \"=\""),
        ("t x=1,y=z 5", "line 1, column 9: field \"y\": \"z\" is no number"),
        ("t x=\"a\nb\" 1\nt x=1 now", "line 3, column 10: \"now\" is no time"),
        ("t,a x=1", "line 1, column 4: symbol \"a\" has no \"=\""),
        ("t,a=b=c x=1", "line 1, column 6: the value of symbol \"a\" holds \"=\""),
        ("\n\nt", "line 3, column 1: there is no field"),
        ("t 5", "line 1, column 1: there is no field"),
        ("t x=1 1 2", "line 1, column 9: the line goes on after its time"),
        ("t x==\u{10}12345678", "protocol_version=1"),
        ("t x=1,", "line 1, column 7: field \"\" has no \"=\""),
    ] {
        let told = fault(text);
        assert!(told.contains(wanted), "{text:?}: {told}");
    }
    let mut lines = Lines::new("t x\nt x=1", Precision::default());
    assert!(lines.next().is_some_and(|line| line.is_err()) && lines.next().is_none(), "a mistake ends it");
    assert_eq!(utf8(b"t x=1\nt x=\xff").unwrap_err().to_string().split(':').next(), Some("error in line 2, column 5"));
}

#[test]
fn names_that_questdb_refuses_are_changed_and_other_bad_members_cost_themselves() {
    fn line(text: &str) -> Line<'_> {
        read(text).unwrap().remove(0)
    }
    for (text, table, symbol, field) in [
        ("a/b,x=y f=1", "a_b", "x", "f"),
        (",x=y f=1", "_", "x", "f"),
        ("t,x.y=y a.b=1", "t", "x_y", "a_b"),
        ("t,timestamp=1 timestamp=1,f=2", "t", "timestamp_", "f"),
        ("t,a=b A=1,f=2", "t", "a", "f"),
        ("t,a=b,a=b f=1,F=1", "t", "a", "f"),
    ] {
        let line = line(text);
        assert_eq!((&*line.table, line.row.symbols.len(), line.row.fields.len()), (table, 1, 1), "{text}");
        assert_eq!((&*line.row.symbols[0].0, &*line.row.fields[0].0), (symbol, field), "{text}");
        let faults = u64::from(text.contains("timestamp=1 ") || text.contains("A=1"));
        assert_eq!(line.faults.count(), faults, "{text}: {}", line.faults.reason());
    }
    let faults = line("t,a=b A=1,f=2").faults.reason();
    assert_eq!(faults, "at line 1: \"A\" appears twice (after flattening; case does not count)");
}

/// Why the one member is left out, and what is left of the row.
fn left_out(text: &str) -> (String, Row) {
    let line = read(text).unwrap().remove(0);
    assert_eq!(line.faults.count(), 1, "{text}");
    (line.faults.reason(), line.row)
}

#[test]
fn limits_are_exact() {
    let symbols = |n: usize| (0..n).map(|i| format!(",s{i}=v")).collect::<Vec<_>>().concat();
    let fields = |n: usize| (0..n).map(|i| format!("f{i}=1")).collect::<Vec<_>>().join(",");
    assert!(read(&format!("t{} x=1", symbols(MAX_SYMBOLS))).is_ok());
    let (reason, row) = left_out(&format!("t{} x=1", symbols(MAX_SYMBOLS + 1)));
    assert!(reason.contains("more than 64 symbols") && row.symbols.len() == MAX_SYMBOLS);
    assert!(read(&format!("t {}", fields(MAX_FIELDS))).is_ok());
    let (reason, row) = left_out(&format!("t {}", fields(MAX_FIELDS + 1)));
    assert!(reason.contains("more than 1024 fields") && row.fields.len() == MAX_FIELDS);
    assert!(read(&format!("t,a={} x=1", "v".repeat(MAX_SYMBOL_BYTES))).is_ok());
    let (reason, row) = left_out(&format!("t,a={} x=1", "v".repeat(MAX_SYMBOL_BYTES + 1)));
    assert!(reason.contains("1024 are allowed") && row.symbols.is_empty());
    let (reason, row) = left_out(&format!("t {}=1,x=1", "f".repeat(128)));
    assert!(reason.contains("127 are allowed") && row.fields.len() == 1);
    let (reason, row) = left_out(&format!("{} x=1", "t".repeat(128)));
    assert!(reason.contains("127 are allowed") && row.fields.is_empty(), "the line is left out");
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Flag),
        any::<i64>().prop_map(Value::Long),
        any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(Value::Double),
        "(?s).{0,30}|[\\\\\",= \n\r#]{0,10}".prop_map(|text: String| Value::Text(text.replace('\0', "").into())),
    ]
}

fn any_row() -> impl Strategy<Value = Row> {
    let symbols = proptest::collection::btree_map("s[a-z =,]{0,8}x", "(?s).{1,20}|[\\\\\",= \n\r#]{1,8}", 0..4);
    let fields = proptest::collection::btree_map("f[a-z =,]{0,8}x", any_value(), 1..5);
    (0..i64::MAX, symbols, fields).prop_map(|(time, symbols, fields)| Row {
        time: Some(Timestamp(time)),
        device_time: true,
        symbols: symbols.into_iter().map(|(name, value)| (name.into(), value.replace('\0', "?").into())).collect(),
        fields: fields.into_iter().map(|(name, value)| (name.into(), value)).collect(),
        ..Row::default()
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(rows in proptest::collection::vec(any_row(), 1..4)) {
        let rows: Vec<Row> = rows
            .into_iter()
            .filter(|row| row.symbols.iter().all(|(name, _)| column_fault(name).is_none()))
            .filter(|row| row.fields.iter().all(|(name, _)| column_fault(name).is_none()))
            .collect();
        let mut body = Vec::new();
        encode_rows("my table", &rows, &mut body).unwrap();
        let mut text = String::new();
        for row in Rows::decode(&body).unwrap() {
            prop_assert!(line_protocol("my table", &row.unwrap(), &mut text));
        }
        let lines = read(&text);
        prop_assert!(lines.is_ok(), "{:?} of {text}", lines);
        let lines = lines.unwrap();
        prop_assert!(lines.iter().all(|line| line.table == "my table"));
        let back: Vec<Row> = lines.into_iter().map(|line| line.row).collect();
        prop_assert_eq!(back, rows);
    }

    #[test]
    fn any_text_ends_without_panic(text in "(?s).{0,200}|[a-c,=\\\\ \"\n\r#0-9itun.-]{0,120}") {
        let lines = Lines::new(&text, Precision::Hours);
        prop_assert!(lines.count() <= text.len() + 1);
    }

    #[test]
    fn any_bytes_are_text_or_told(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        match utf8(&bytes) {
            Ok(text) => drop(read(text)),
            Err(error) => prop_assert!(error.line as usize <= bytes.len() && error.column <= bytes.len()),
        }
    }
}
