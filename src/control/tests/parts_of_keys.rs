//! Tests: `/v1/latest` in one answer, in pages and as a snapshot of `/v1/watch` finds by a part of
//! a key what a scan of all series finds.

use std::fmt::Write as _;

use super::*;
use crate::control::api::SeriesView;

/// Series: enough for several parts of a listing and several pages.
const SERIES: usize = 300;
const PAGE: usize = 90;

fn symbols(n: usize) -> [(&'static str, String); 3] {
    [("device", n.to_string()), ("line", (n / 100).to_string()), ("site", "s".to_owned())]
}

fn reading(n: usize) -> (&'static str, Row) {
    let row = Row {
        time: Some(Timestamp(8_000_000_000)),
        device_time: true,
        symbols: symbols(n).map(|(name, value)| (name.into(), value.as_str().into())).to_vec(),
        fields: vec![("x".into(), Value::Long(1))],
        ..Row::default()
    };
    (if n.is_multiple_of(3) { "u" } else { "t" }, row)
}

async fn pages(client: &mut Client, target: &str) -> Vec<SeriesView> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer: LatestAnswer = client.get_json(&format!("{target}&limit={PAGE}{cursor}")).await.expect("an answer");
        all.extend(answer.series);
        match answer.next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

#[tokio::test]
async fn every_door_finds_by_a_part_of_a_key_what_a_scan_finds() {
    let served = served(Limits::default());
    for n in 0..SERIES {
        let (table, row) = reading(n);
        served.latest.update(table, &row, Seq(1), Received::default());
    }
    let mut client = served.client().await;
    let scanned: LatestAnswer = client.get_json("/v1/latest").await.unwrap();
    assert_eq!(scanned.series.len(), SERIES);
    for table in ["", "table=t", "table=u"] {
        for subset in 1..8_usize {
            let named: Vec<_> = symbols(142).into_iter().enumerate().filter(|(at, _)| subset >> at & 1 == 1).collect();
            let mut query = table.to_owned();
            for (_, (name, value)) in &named {
                write!(query, "&{name}={value}").unwrap();
            }
            let has = |one: &SeriesView| named.iter().all(|(_, (name, value))| one.symbols[*name] == *value);
            let is_of = |one: &SeriesView| table.is_empty() || table.ends_with(&one.table);
            let wanted: Vec<_> = scanned.series.iter().filter(|one| is_of(one) && has(one)).collect();
            let same = |found: &[SeriesView]| {
                found.len() == wanted.len()
                    && found.iter().zip(&wanted).all(|(a, b)| (&a.table, &a.symbols) == (&b.table, &b.symbols))
            };
            if wanted.is_empty() {
                let refused = client.get(&format!("/v1/latest?{query}")).await.unwrap_err();
                assert_eq!(detail(&refused).0, 404, "{query}");
                continue;
            }
            let at_once: LatestAnswer = client.get_json(&format!("/v1/latest?{query}")).await.unwrap();
            assert!(same(&at_once.series) && !at_once.truncated, "{query}");
            assert!(same(&pages(&mut client, &format!("/v1/latest?{query}")).await), "{query} in pages");
            let mut events = served.client().await.events(&format!("/v1/watch?{query}&snapshot=true")).await.unwrap();
            let mut told = Vec::new();
            for _ in &wanted {
                let event = timeout(DEADLINE, events.next()).await.unwrap().unwrap().unwrap();
                told.push(serde_json::from_str(&event.data).unwrap());
            }
            assert!(same(&told), "{query} watched");
        }
    }
}
