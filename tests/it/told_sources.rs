//! What is told of a source that brings nothing, or not what its configuration names.

use std::time::Duration;

use crate::support::{DaemonBuilder, Mosquitto, daemon::told, eventually, eventually_eq, process::free_port};

const LIMIT: Duration = Duration::from_secs(40);

#[test]
fn a_silent_source_and_members_that_never_come_are_told() {
    let broker = Mosquitto::start();
    let daemon = DaemonBuilder::new()
        .set("mqtt.url", broker.url())
        .set("questdb.conf", format!("http::addr=127.0.0.1:{};", free_port()))
        .set("source.plant.topic", "plant/{line}")
        .set("source.plant.table", "plant")
        .set("source.plant.timestamp.field", "ts")
        .set("source.plant.symbols", vec!["cell"])
        .set("source.plant.silent_after", "10s")
        .set("source.rare.topic", "rare/{id}")
        .set("source.rare.table", "rare")
        .start();
    daemon.wait_subscribed();
    let warnings = || daemon.status()["warnings"].to_string().replace('\\', "");
    eventually(LIMIT, "it is silent", || {
        warnings().contains("source.plant is silent: no message came since the start (silent_after = 10s)")
    });
    eventually(LIMIT, "the journal says so", || daemon.log().contains("source.plant is silent"));
    let (_, text, _) = told(&daemon.cli(&["status"]));
    assert!(text.starts_with("NOT OK") && text.contains("source.plant is silent"), "{text}");
    let page = daemon.request("GET", "/metrics", "").expect("the page").body;
    assert!(page.contains("forebay_source_silent{source=\"plant\"} 1"), "{page}");
    assert!(!page.contains("forebay_source_silent{source=\"rare\"}"), "{page}");

    let mut publisher = broker.publisher().expect("connects");
    for value in 0..10 {
        let payload = format!(r#"{{"time":1780000000,"sell":"a","v":{value}}}"#);
        publisher.publish("plant/1", payload.as_bytes()).expect("publishes");
    }
    publisher.drain(LIMIT).expect("the broker acknowledges");
    eventually(LIMIT, "it is heard again", || daemon.log().contains("source.plant is heard again"));
    eventually_eq(LIMIT, "rows", 10, || daemon.ledger("rows"));
    let told = warnings();
    for member in ["symbols \"cell\"", "timestamp.field \"ts\""] {
        let sentence = format!("source.plant: {member} was in none of its readings since the start");
        assert!(told.contains(&sentence), "{sentence}: {told}");
    }
    assert!(!told.contains("is silent"), "{told}");
    publisher.publish("plant/1", br#"{"ts":1780000000,"cell":"a","v":11}"#).expect("publishes");
    publisher.drain(LIMIT).expect("the broker acknowledges");
    eventually(LIMIT, "they are seen", || !warnings().contains("was in none of its readings"));
}
