use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    entry::{Rows, encode_rows},
    point::{RowNotes, Timestamp, Value},
    settings::Latest as LatestSettings,
};

fn map(max_series: usize) -> Latest {
    let max_bytes = crate::settings::Bytes::mib(4);
    Latest::new(&settings::Latest { max_series, max_bytes, ..settings::Latest::default() })
}

fn at(wall_us: i64) -> Received {
    Received { wall: Timestamp(wall_us * 1_000 + 7), since_boot_ns: 0 }
}

fn row(device: &str, time_us: Option<i64>, fields: &[(&str, f64)]) -> Row {
    Row {
        time: time_us.map(|us| Timestamp(us * 1_000)),
        device_time: time_us.is_some(),
        symbols: vec![("device".into(), device.into())],
        fields: fields.iter().map(|(n, v)| ((*n).into(), Value::Double(*v))).collect(),
        ..Row::default()
    }
}

fn values(series: &Series) -> Vec<(&str, f64)> {
    let number = |f: &Field| match f.value {
        Value::Double(v) => v,
        _ => f64::NAN,
    };
    series.fields.iter().map(|f| (f.name.as_str(), number(f))).collect()
}

#[test]
fn the_highest_event_time_wins_and_a_tie_goes_to_the_later_record() {
    let latest = map(10);
    latest.update("t", &row("a", Some(20), &[("x", 1.0), ("y", 1.0)]), Seq(1), at(0));
    latest.update("t", &row("a", Some(10), &[("x", 2.0)]), Seq(2), at(1));
    latest.update("t", &row("a", Some(20), &[("y", 3.0)]), Seq(3), at(2));
    latest.update("t", &row("a", Some(20), &[("y", 4.0)]), Seq(2), at(3));
    let series = latest.get("t", &[("device", "a")]).unwrap();
    assert_eq!(values(&series), [("x", 1.0), ("y", 3.0)]);
    assert_eq!(series.seq(), Seq(3));
    let status = latest.status();
    assert_eq!((status.updates, status.late, status.series), (2, 2, 1));
}

#[test]
fn receive_times_strictly_increase_within_a_series_even_when_the_clock_goes_back() {
    let latest = map(10);
    let mut times = Vec::new();
    for wall in [100, 100, 90, 200] {
        let mut reading = row("a", None, &[("x", 0.0)]);
        latest.prepare("t", &mut reading, at(wall));
        assert!(!reading.device_time);
        latest.update("t", &reading, Seq(1), at(wall));
        times.push(reading.time.unwrap().0);
    }
    assert_eq!(times, [100_000, 101_000, 102_000, 200_000]);
}

#[test]
fn receive_times_are_known_again_after_a_restore() {
    let mut reading = row("a", Some(500), &[("x", 1.0)]);
    reading.device_time = false;
    let mut body = Vec::new();
    encode_rows("t", &[reading], &mut body).unwrap();
    let latest = map(10);
    for restored in Rows::decode(&body).unwrap() {
        latest.restore("t", &restored.unwrap(), Seq(1), at(1));
    }
    assert!(latest.get("t", &[("device", "a")]).is_none(), "not shown before all is read");
    latest.restored();
    assert_eq!(values(&latest.get("t", &[("device", "a")]).unwrap()), [("x", 1.0)]);
    let mut next = row("a", None, &[("x", 2.0)]);
    latest.prepare("t", &mut next, at(400));
    assert_eq!(next.time, Some(Timestamp(501_000)));
}

#[test]
fn a_clock_that_was_ahead_for_a_moment_leaves_no_series_ahead() {
    let latest = map(10);
    let ahead = 10 * 365 * 86_400_000_000;
    for (wall, time, value) in [(100, 100, 1.0), (ahead, ahead, 2.0), (300, 300, 3.0), (400, 400, 4.0)] {
        let mut reading = row("a", None, &[("x", value)]);
        latest.prepare("t", &mut reading, at(wall));
        assert_eq!(reading.time, Some(Timestamp(time * 1_000)));
        latest.update("t", &reading, Seq(1), at(wall));
        assert_eq!(values(&latest.get("t", &[("device", "a")]).unwrap()), [("x", value)]);
    }
}

#[test]
fn a_reading_timed_by_receipt_that_comes_in_again_much_later_replaces_nothing() {
    let latest = map(10);
    let day = 86_400_000_000;
    latest.update("t", &row("a", Some(2 * day), &[("x", 1.0)]), Seq(1), at(2 * day));
    let mut again = row("a", Some(day), &[("x", 2.0)]);
    again.device_time = false;
    latest.update("t", &again, Seq(2), at(2 * day + 1));
    assert_eq!(values(&latest.get("t", &[("device", "a")]).unwrap()), [("x", 1.0)]);
}

#[test]
fn once_the_clock_is_trusted_a_time_beyond_the_limit_yields_to_the_next_reading() {
    let latest = map(10);
    let shown = |latest: &Latest| values(&latest.get("t", &[("device", "a")]).unwrap())[0].1 as i64;
    latest.update("t", &row("a", Some(9_000), &[("x", 1.0)]), Seq(1), at(5));
    latest.update("t", &row("a", Some(10), &[("x", 2.0)]), Seq(2), at(10));
    assert_eq!(shown(&latest), 1, "a clock in doubt judges nothing");
    latest.believe_upto(Timestamp(100_000));
    assert_eq!(shown(&latest), 1, "it yields to a reading, not to time");
    assert!(latest.fill("t", &row("a", Some(9), &[("x", 3.0)])), "the database's word is one");
    latest.update("t", &row("a", Some(10), &[("x", 4.0)]), Seq(3), at(12));
    assert!(!latest.fill("t", &row("a", Some(9_000), &[("x", 1.0)])), "nor does it come back");
    latest.update("t", &row("a", Some(9_001), &[("x", 5.0)]), Seq(4), at(12));
    latest.update("t", &row("a", Some(8), &[("x", 6.0)]), Seq(5), at(12));
    assert_eq!(shown(&latest), 4);
    latest.believe_upto(Timestamp(9_001_000));
    latest.update("t", &row("a", Some(9_001), &[("x", 7.0)]), Seq(6), at(9_000));
    assert_eq!(shown(&latest), 7, "when its time has come");
}

#[test]
fn what_is_restored_is_judged_by_the_clock_of_the_start() {
    let mut body = Vec::new();
    let rows = [row("a", Some(9_000), &[("x", 1.0)]), row("a", Some(10), &[("x", 2.0)])];
    encode_rows("t", &rows, &mut body).unwrap();
    for (limit, wanted) in [(100, 2.0), (i64::MAX / 1_000, 1.0)] {
        let latest = map(10);
        latest.believe_upto(Timestamp(limit * 1_000));
        for (restored, seq) in Rows::decode(&body).unwrap().zip(1..) {
            latest.restore("t", &restored.unwrap(), Seq(seq), at(5));
        }
        latest.restored();
        assert_eq!(values(&latest.get("t", &[("device", "a")]).unwrap()), [("x", wanted)]);
    }
}

#[test]
fn readings_of_the_same_microsecond_become_their_union() {
    let latest = map(10);
    latest.update("t", &row("a", Some(20), &[("temp", 1.0), ("hum", 2.0)]), Seq(1), at(0));
    let mut same = row("a", Some(20), &[("hum", 9.0), ("co2", 3.0)]);
    latest.prepare("t", &mut same, at(1));
    let names: Vec<&str> = same.fields.iter().map(|(n, _)| n.as_str()).collect();
    assert_eq!(names, ["hum", "co2", "temp"]);
    let mut other = row("a", Some(21), &[("hum", 9.0)]);
    latest.prepare("t", &mut other, at(1));
    assert_eq!(other.fields.len(), 1);
}

#[test]
fn rows_of_one_message_are_united_and_timed_apart() {
    let latest = map(10);
    let mut rows = vec![
        row("a", Some(20), &[("temp", 1.0)]),
        row("b", Some(20), &[("temp", 5.0)]),
        row("a", Some(20), &[("hum", 2.0)]),
        row("a", Some(21), &[("hum", 3.0)]),
    ];
    assert_eq!(latest.prepare_rows("t", &mut rows, at(0)), Collisions::default());
    assert_eq!(rows.iter().map(|row| row.fields.len()).collect::<Vec<_>>(), [2, 1, 1]);

    // A newer value of the message wins over the one held, whichever row it stands in.
    latest.update("t", &row("h", Some(20), &[("temp", 1.0), ("co2", 7.0)]), Seq(1), at(0));
    let mut rows = vec![row("h", Some(20), &[("temp", 2.0)]), row("h", Some(20), &[("hum", 3.0)])];
    latest.prepare_rows("t", &mut rows, at(1));
    let value = |name: &str| rows[0].fields.iter().find(|(have, _)| have == name).map(|(_, value)| value.clone());
    assert_eq!(["temp", "hum", "co2"].map(value), [2.0, 3.0, 7.0].map(|v| Some(Value::Double(v))));
    assert_eq!((rows.len(), rows[0].completed, rows[0].notes.replaced), (1, 1, 1), "temp was 1 before");

    let mut rows = vec![row("c", None, &[("x", 1.0)]), row("c", None, &[("y", 2.0)])];
    latest.prepare_rows("t", &mut rows, at(0));
    assert!(rows[0].time < rows[1].time && rows[1].fields.len() == 1);
    assert!(latest.get("t", &[("device", "c")]).is_none(), "a series without values is not shown");
}

#[test]
fn rows_of_one_message_that_replace_each_other_are_counted_with_the_likely_cause() {
    let latest = map(10);
    let event = |id: &str, v: f64| {
        let mut row = row("a", Some(20), &[("v", v)]);
        row.fields.push(("id".into(), Value::Text(id.into())));
        row
    };
    let mut rows = vec![event("P1", 7.0), event("P2", 0.0), event("P3", 4.0), event("P3", 4.0)];
    let collisions = latest.prepare_rows("t", &mut rows, at(0));
    assert_eq!((collisions.rows, collisions.field.as_deref()), (2, Some("id")), "{collisions:?}");
    assert_eq!((rows.len(), rows[0].notes.replaced), (1, 2));
    assert_eq!(rows[0].fields, event("P3", 4.0).fields);
}

#[test]
fn ten_thousand_readings_of_one_member_and_moment_stay_small() {
    let latest = map(10);
    let mut rows: Vec<Row> = (0..10_000).map(|n| row("a", Some(20), &[(&format!("tag{}", n % 300), 1.0)])).collect();
    let collisions = latest.prepare_rows("t", &mut rows, at(0));
    assert_eq!((rows.len(), rows[0].fields.len(), collisions.rows), (1, 300, 0));
}

#[test]
fn what_completing_may_add_is_bounded() {
    let latest = map(10);
    let text = |bytes: usize| Value::Text("x".repeat(bytes).into());
    let mut large = row("a", Some(20), &[("x", 1.0)]);
    large.fields.push(("large".into(), text(MAX_COMPLETED_BYTES)));
    large.fields.push(("small".into(), text(100)));
    latest.update("t", &large, Seq(1), at(0));
    let mut next = row("a", Some(20), &[("y", 2.0)]);
    latest.prepare("t", &mut next, at(1));
    let names: Vec<&str> = next.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((names, next.notes.replaced), (vec!["y", "x", "small"], 1), "what goes missing is counted");
}

/// A row of late halves: its fields, sorted by name, and its notes.
fn late(latest: &Latest, seq: u64, micros: i64, fields: &[(&str, f64)]) -> (Vec<(String, Value)>, RowNotes) {
    let mut late = row("a", Some(micros), fields);
    latest.prepare("t", &mut late, at(0));
    latest.update("t", &late, Seq(seq), at(0));
    let mut fields: Vec<_> = late.fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    (fields, late.notes)
}

fn doubles(fields: &[(&str, f64)]) -> Vec<(String, Value)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), Value::Double(*value))).collect()
}

#[test]
fn halves_of_a_moment_meet_however_late_the_second_comes() {
    let latest = map(10);
    for t in 0..1_000 {
        assert_eq!(late(&latest, t as u64 + 1, t, &[("temp", t as f64)]).1, RowNotes::default());
    }
    for t in 0..1_000 {
        let (fields, notes) = late(&latest, t as u64 + 2_000, t, &[("hum", 1.0)]);
        assert_eq!((fields, notes), (doubles(&[("hum", 1.0), ("temp", t as f64)]), RowNotes::default()), "{t}");
    }
    let (fields, notes) = late(&latest, 5_000, 500, &[("hum", 1.0)]);
    assert_eq!((fields, notes), (doubles(&[("hum", 1.0), ("temp", 500.0)]), RowNotes::default()), "delivered again");
    let (fields, notes) = late(&latest, 5_001, 500, &[("hum", 2.0)]);
    assert_eq!((fields, notes.replaced), (doubles(&[("hum", 2.0), ("temp", 500.0)]), 1), "another value");
    let (fields, notes) = late(&latest, 5_002, 500, &[("temp", 500.0)]);
    assert_eq!((fields, notes.replaced), (doubles(&[("hum", 2.0), ("temp", 500.0)]), 0));
}

#[test]
fn what_is_not_remembered_is_said_to_be_uncompared() {
    let settings = LatestSettings { history_bytes: crate::settings::Bytes(20_000), ..LatestSettings::default() };
    let latest = Latest::new(&settings);
    for t in 0..10_000 {
        late(&latest, t as u64 + 1, t, &[("temp", t as f64)]);
    }
    let status = latest.status();
    assert!(status.history_bytes <= status.max_history_bytes && status.history_bytes > 15_000, "{status:?}");
    let (fields, notes) = late(&latest, 20_000, 0, &[("hum", 1.0)]);
    assert_eq!((fields.len(), notes), (1, RowNotes { uncompared: true, ..RowNotes::default() }));
    assert_eq!(late(&latest, 20_001, 9_900, &[("hum", 1.0)]).0.len(), 2);
    let none = Latest::new(&LatestSettings { history_bytes: crate::settings::Bytes(0), ..LatestSettings::default() });
    late(&none, 1, 10, &[("temp", 1.0)]);
    assert_eq!(late(&none, 2, 10, &[("hum", 1.0)]).0.len(), 2, "the latest moment is among the latest values");
    assert!(late(&none, 3, 9, &[("hum", 1.0)]).1.uncompared);
    assert!(!late(&none, 4, 11, &[("hum", 1.0)]).1.uncompared);
    assert_eq!(none.status().history_bytes, 0);
}

#[test]
fn many_series_share_the_memory_and_give_it_back() {
    let settings =
        LatestSettings { history_bytes: crate::settings::Bytes(100_000), max_series: 40, ..LatestSettings::default() };
    let latest = Latest::new(&settings);
    for t in 0..200i64 {
        for device in 0..40 {
            latest.update("t", &row(&device.to_string(), Some(t), &[("x", 1.0), ("y", 2.0)]), Seq(1), at(0));
        }
    }
    let full = latest.status().history_bytes;
    assert!((60_000..=100_000).contains(&full), "{full}");
    for device in 100..140 {
        latest.update("t", &row(&device.to_string(), Some(300), &[("x", 1.0)]), Seq(1), at(0));
    }
    assert!(latest.status().history_bytes < 10_000, "{}", latest.status().history_bytes);
    let mut again = row("7", Some(150), &[("z", 1.0)]);
    latest.prepare("t", &mut again, at(0));
    assert!(again.notes.uncompared, "the series made room, and nothing is known of it");
    let mut fresh = row("7", Some(201), &[("z", 1.0)]);
    latest.prepare("t", &mut fresh, at(0));
    assert!(!fresh.notes.uncompared);
}

#[test]
fn a_map_read_back_from_the_ring_knows_the_moments_in_it() {
    let restored = |first: u64| {
        let latest = map(10);
        latest.begins_with(Seq(first), at(100_000));
        for t in [10, 20, 30] {
            let mut body = Vec::new();
            crate::entry::encode_rows("t", &[row("a", Some(t), &[("temp", 1.0)])], &mut body).unwrap();
            let rows = crate::entry::Rows::decode(&body).unwrap();
            rows.flatten().for_each(|row| {
                latest.restore("t", &row, Seq(first + t as u64), at(0));
            });
        }
        latest.restored();
        latest
    };
    for first in [1, 7] {
        let latest = restored(first);
        assert_eq!(late(&latest, 99, 20, &[("hum", 1.0)]).0.len(), 2);
        assert_eq!(late(&latest, 100, 5, &[("hum", 1.0)]).1.uncompared, first > 1, "rows from before may be gone");
        let mut other = row("b", Some(5), &[("x", 1.0)]);
        latest.prepare("t", &mut other, at(0));
        assert_eq!(other.notes.uncompared, first > 1);
        let mut other = row("b", Some(100_001), &[("x", 1.0)]);
        latest.prepare("t", &mut other, at(0));
        assert!(!other.notes.uncompared);
    }
}

#[test]
fn the_least_recently_updated_makes_room() {
    let latest = map(3);
    for (seq, device) in ["a", "b", "c", "a", "d"].iter().enumerate() {
        latest.update("t", &row(device, Some(1), &[("x", 1.0)]), Seq(seq as u64), at(0));
    }
    let held = |d: &str| latest.get("t", &[("device", d)]).is_some();
    assert_eq!(["a", "b", "c", "d"].map(held), [true, false, true, true]);
    assert_eq!((latest.status().series, latest.status().evicted), (3, 1));
}

#[test]
fn long_texts_make_room_too() {
    let latest = map(1);
    let wide = map(8);
    let mut reading = row("a", Some(1), &[]);
    reading.fields.push(("text".into(), Value::Text("x".repeat(1 << 20).into())));
    for device in 0..8 {
        reading.symbols[0].1 = device.to_string().into();
        latest.update("t", &reading, Seq(1), at(0));
        wide.update("t", &reading, Seq(1), at(0));
    }
    assert_eq!(latest.status().series, 1);
    assert_eq!(wide.status().series, 3, "4 MiB hold three texts of 1 MiB");
    assert!(wide.status().bytes < 4 << 20);
}

#[test]
fn fields_of_a_series_are_bounded_and_the_oldest_makes_room() {
    let latest = map(1);
    for n in 0..=crate::point::MAX_FIELDS {
        latest.update("t", &row("a", Some(n as i64), &[(&format!("f{n}"), 1.0)]), Seq(n as u64), at(0));
    }
    let series = latest.get("t", &[("device", "a")]).unwrap();
    assert_eq!(series.fields.len(), crate::point::MAX_FIELDS);
    assert!(series.fields.iter().all(|f| f.name != "f0"));
}

#[test]
fn clear_forgets_up_to_its_record_only() {
    let latest = map(4);
    latest.update("t", &row("a", Some(1), &[("x", 1.0)]), Seq(1), at(0));
    latest.update("t", &row("a", Some(2), &[("y", 1.0)]), Seq(5), at(0));
    assert!(latest.clear("t", &[("device", "a")], Seq(3), at(0)));
    assert_eq!(latest.get("t", &[("device", "a")]).unwrap().fields.len(), 1);
    assert!(latest.clear("t", &[("device", "a")], Seq(5), at(0)));
    assert!(latest.get("t", &[("device", "a")]).is_none());
    assert!(!latest.clear("t", &[("device", "a")], Seq(9), at(0)));
    assert_eq!((latest.status().series, latest.status().bytes), (0, 0));
}

#[test]
fn a_query_finds_all_that_match_and_no_other() {
    let latest = map(5_000);
    for n in 0..4_000 {
        let mut reading = row(&format!("d{n}"), Some(1), &[("x", f64::from(n))]);
        reading.symbols.push(("site".into(), if n % 2 == 0 { "even" } else { "odd" }.into()));
        latest.update(if n < 2_000 { "low" } else { "high" }, &reading, Seq(1), at(0));
    }
    let count = |table: Option<&str>, symbols: &[(&str, &str)], limit| {
        let found = latest.list(&Filter::new(table, symbols.iter().copied()).unwrap(), limit);
        (found.series.len(), found.truncated)
    };
    assert_eq!(count(None, &[], 10_000), (4_000, false));
    assert_eq!(count(Some("low"), &[], 10_000), (2_000, false));
    assert_eq!(count(Some("low"), &[("site", "odd")], 1_000), (1_000, false));
    assert_eq!(count(Some("low"), &[("site", "odd")], 999), (999, true));
    assert_eq!(count(Some("low"), &[("site", "odd"), ("device", "d3")], 9), (1, false));
    assert_eq!(count(Some("low"), &[("device", "d3")], 9), (1, false));
    assert_eq!(count(Some("high"), &[("device", "d3")], 9), (0, false));
    assert_eq!(count(Some("none"), &[], 9), (0, false));
    assert_eq!(count(None, &[("nothing", "d3")], 9), (0, false));
}

#[test]
fn filters_refuse_what_no_series_can_be() {
    assert!(matches!(Filter::new(None, [("a", "1"), ("a", "2")]), Err(FilterError::Twice(_))));
    assert!(matches!(Filter::new(None, [("", "1")]), Err(FilterError::Length { .. })));
    assert!(matches!(Filter::new(None, (0..65).map(|n| (n.to_string(), "1"))), Err(FilterError::Count)));
}

#[tokio::test]
async fn watchers_see_changes_and_slow_ones_are_told_what_they_missed() {
    let latest = map(10);
    let mut watcher = latest.subscribe(None).unwrap();
    latest.update("t", &row("a", Some(2), &[("x", 1.0)]), Seq(1), at(0));
    latest.update("t", &row("a", Some(1), &[("x", 2.0)]), Seq(2), at(0));
    latest.update("t", &row("a", Some(3), &[("x", 3.0)]), Seq(3), at(0));
    let seen = async |w: &mut Subscription| tokio::time::timeout(Duration::from_secs(5), w.next()).await.unwrap();
    for (number, expected) in [(0, 1.0), (1, 3.0)] {
        let Event::Changed(told, Change::Values(series)) = seen(&mut watcher).await else { panic!("an update") };
        assert_eq!((told, values(&series)), (number, vec![("x", expected)]));
    }
    for n in 0..WATCH_BACKLOG as i64 + 10 {
        latest.update("t", &row("a", Some(10 + n), &[("x", 0.0)]), Seq(9), at(0));
    }
    assert_eq!(seen(&mut watcher).await, Event::Missed(WATCH_BACKLOG as u64 + 10));
    latest.update("t", &row("a", Some(9_999), &[("x", 7.0)]), Seq(10), at(0));
    assert!(matches!(seen(&mut watcher).await, Event::Changed(..)));
    assert_eq!(latest.status().watchers, 1);
    drop(watcher);
    assert_eq!(latest.status().watchers, 0);
}

#[tokio::test]
async fn a_watcher_that_waits_is_woken_and_one_that_comes_back_goes_on_where_it_was() {
    let latest = Arc::new(map(10));
    let mut watcher = latest.subscribe(None).unwrap();
    let writer = Arc::clone(&latest);
    let (told, ()) = tokio::join!(watcher.next(), async move {
        tokio::task::yield_now().await;
        writer.update("t", &row("a", Some(1), &[("x", 1.0)]), Seq(1), at(0));
    });
    assert!(matches!(told, Event::Changed(0, _)));
    drop(watcher);
    latest.update("t", &row("a", Some(2), &[("x", 2.0)]), Seq(2), at(0));
    assert!(latest.clear("t", &[("device", "a")], Seq(3), at(0)));
    let mut again = latest.subscribe(Some(1)).unwrap();
    assert!(matches!(again.poll_next(), Some(Event::Changed(1, Change::Values(_)))));
    assert!(matches!(again.poll_next(), Some(Event::Changed(2, Change::Cleared(_)))));
    assert_eq!(again.poll_next(), None);
}

#[test]
fn seats_are_limited_and_free_again() {
    let latest = map(10);
    let mut seats: Vec<_> = (0..MAX_SEATS).map(|_| latest.subscribe(None).unwrap()).collect();
    assert!(latest.subscribe(None).is_none());
    seats.remove(7);
    assert!(latest.subscribe(None).is_some());
}

#[test]
fn the_choice_of_who_makes_room_is_exact_in_a_large_shard_too() {
    let latest = map(1_000);
    let mut seq = 0;
    let mut touch = |device: u64| {
        seq += 1;
        latest.update("t", &row(&device.to_string(), Some(seq), &[("x", 1.0)]), Seq(seq as u64), at(0));
    };
    (0..1_000).for_each(&mut touch);
    // Every second one is updated again, then 500 newcomers push out just the others.
    (0..1_000).step_by(2).for_each(&mut touch);
    (1_000..1_250).for_each(&mut touch);
    (0..1_000).step_by(2).for_each(&mut touch);
    (1_250..1_500).for_each(&mut touch);
    let held = |device: u64| latest.get("t", &[("device", device.to_string())]).is_some();
    assert!((0..1_000).all(|device| held(device) == (device % 2 == 0)));
    assert!((1_000..1_500).all(held));
}

#[test]
fn what_the_database_holds_fills_gaps_and_never_wins_over_what_is_held_or_was_cleared() {
    let latest = map(10);
    latest.update("t", &row("a", Some(5), &[("x", 1.0)]), Seq(4), at(0));
    assert!(!latest.fill("t", &row("a", Some(5), &[("x", 9.0)])));
    assert!(latest.fill("t", &row("a", Some(4), &[("x", 9.0), ("y", 2.0)])));
    assert_eq!(values(&latest.get("t", &[("device", "a")]).unwrap()), [("x", 1.0), ("y", 2.0)]);
    assert!(latest.fill("t", &row("b", Some(3), &[("x", 3.0)])));
    assert_eq!(latest.get("t", &[("device", "b")]).unwrap().seq(), FROM_DATABASE);
    latest.clear("t", &[("device", "b")], Seq(5), at(4));
    assert!(!latest.fill("t", &row("b", Some(3), &[("x", 3.0)])), "from before it was cleared");
    assert!(latest.fill("t", &row("b", Some(6), &[("x", 3.0)])), "stored since");
    assert_eq!(latest.status().filled, 3);
}

#[test]
fn a_long_listing_comes_in_parts_in_order_and_can_be_taken_up_again() {
    let latest = map(5_000);
    for n in 0..3_000_u64 {
        let table = if n % 3 == 0 { "b" } else { "a" };
        latest.update(table, &row(&format!("{n:04}"), Some(1), &[("x", 1.0)]), Seq(n + 1), at(0));
        latest.saw(Seq(n + 1));
    }
    assert_eq!(latest.seen(), Seq(3_000));
    let all = |since, after| {
        let mut walk = Walk::new(Filter::new(Some("a"), [("", ""); 0]).unwrap(), since, after);
        let mut found = Vec::new();
        while !walk.is_over() {
            let part = latest.part(&mut walk, 100);
            assert!(part.len() <= 100);
            found.extend(part.into_iter().map(|series| Key::clone(&series.key)));
        }
        found
    };
    let listed = all(None, None);
    assert!(listed.len() == 2_000 && listed.is_sorted());
    assert_eq!(all(None, Some(listed[1_499].clone())), listed[1_500..]);
    assert_eq!([3_000, 2_999, 2_996].map(|since| all(Some(Seq(since)), None).len()), [0, 1, 3]);
}

#[test]
fn writers_and_readers_at_once_stay_within_the_bound() {
    let latest = Arc::new(map(2_000));
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let latest = Arc::clone(&latest);
            std::thread::spawn(move || {
                for n in 0..3_000 {
                    latest.update("t", &row(&format!("{thread}-{n}"), Some(n), &[("x", 1.0)]), Seq(n as u64), at(0));
                    if n % 500 == 0 {
                        latest.list(&Filter::default(), 100);
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let status = latest.status();
    assert!(status.series <= 2_000);
    assert_eq!(status.series + status.evicted, 12_000);
    assert_eq!(latest.list(&Filter::default(), 10_000).series.len() as u64, status.series);
}

/// What the map promises, written as plainly as possible: (time, seq) and value by device and field.
#[derive(Default)]
struct Model {
    held: BTreeMap<u8, BTreeMap<u8, (i64, u64, f64)>>,
    touched: Vec<u8>,
}

impl Model {
    fn update(&mut self, device: u8, time: i64, fields: &[u8], seq: u64, value: f64, max_series: usize) {
        let series = self.held.entry(device).or_default();
        for field in fields {
            let held = series.entry(*field).or_insert((i64::MIN, 0, 0.0));
            if (held.0, held.1) <= (time, seq) {
                *held = (time, seq, value);
            }
        }
        self.touched.retain(|d| *d != device);
        self.touched.push(device);
        if self.held.len() > max_series {
            let oldest = self.touched.remove(0);
            self.held.remove(&oldest);
        }
    }

    fn clear(&mut self, device: u8) {
        self.held.remove(&device);
        self.touched.retain(|d| *d != device);
    }
}

proptest! {
    #[test]
    fn it_does_what_the_model_does(
        max_series in 1..8usize,
        steps in proptest::collection::vec((0..10u8, 0..20i64, proptest::collection::btree_set(0..6u8, 1..4), 0..20u8), 1..80),
    ) {
        let latest = map(max_series);
        let mut model = Model::default();
        for (seq, (device, time, fields, dice)) in steps.into_iter().enumerate() {
            let (seq, value) = (seq as u64, seq as f64);
            let name = device.to_string();
            if dice == 0 {
                latest.clear("t", &[("device", &name)], Seq(seq), at(0));
                model.clear(device);
                continue;
            }
            let fields: Vec<u8> = fields.into_iter().collect();
            let names: Vec<String> = fields.iter().map(u8::to_string).collect();
            let pairs: Vec<(&str, f64)> = names.iter().map(|n| (n.as_str(), value)).collect();
            latest.update("t", &row(&name, Some(time), &pairs), Seq(seq), at(0));
            model.update(device, time, &fields, seq, value, max_series);
        }
        let listed = latest.list(&Filter::default(), 100);
        let found: BTreeMap<u8, BTreeMap<u8, (i64, u64, f64)>> = listed.series.iter().map(|series| {
            let fields = series.fields.iter().zip(values(series)).map(|(f, (name, value))| {
                (name.parse().unwrap(), (f.time.to_micros(), f.seq.0, value))
            });
            (series.key.symbols[0].1.parse().unwrap(), fields.collect())
        }).collect();
        prop_assert_eq!(found, model.held);
    }
}
