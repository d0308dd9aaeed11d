//! What is set aside, on the page: by source, and with what to do about it.

use super::{LIMIT, daemon};
use crate::support::{Mosquitto, QuestDb, Readings, browser::Browser, unique};

#[test]
fn a_source_has_its_refused_rows_and_a_reason_what_to_do() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("aside"), 1);
    // No number goes into a column of UUIDs.
    questdb.sql(&format!(
        "CREATE TABLE '{}_odd' (timestamp TIMESTAMP, room SYMBOL, v UUID) TIMESTAMP(timestamp) PARTITION BY DAY WAL \
         DEDUP UPSERT KEYS(timestamp, room)",
        readings.name
    ));
    let (_daemon, site) = daemon(&broker, questdb, &readings);
    let mut publisher = broker.publisher().expect("connects");
    let topic = format!("{}-odd/attic", readings.name);
    for payload in [r#"{"v":1.5}"#, r#"{"v":2.5}"#, r#"{"level":7.5}"#] {
        publisher.publish(&topic, payload.as_bytes()).expect("published");
    }
    publisher.drain(LIMIT).expect("acknowledged");

    let mut browser = Browser::start();
    browser.view(1280, 900, "light");
    browser.open(&format!("{site}/"));
    let row = "[...document.querySelectorAll('#sources tbody tr')].find((tr) => tr.textContent.startsWith('odd'))";
    for (cell, number) in [(3, 1), (4, 2)] {
        browser.eventually(LIMIT, &format!("{row}?.cells[{cell}].textContent === '{number}'"));
        browser.eventually(LIMIT, &format!("{row}.cells[{cell}].dataset.state === 'warn'"));
    }
    browser.eventually(LIMIT, &format!("{row}.cells[4].dataset.label === 'Refused rows'"));
    let advice = "[...document.querySelectorAll('#reasons .advice')].map((e) => e.textContent)";
    for words in ["Change the member", "change the column"] {
        browser.eventually(LIMIT, &format!("{advice}.some((text) => text.includes('{words}'))"));
    }
    assert_eq!(browser.complaints(), [""; 0]);
}
