//! The interface against its own description: schemathesis makes requests out of the `OpenAPI` document and checks the answers.

use std::{path::PathBuf, process::Command, time::Duration};

use crate::support::{DaemonBuilder, Mosquitto, QuestDb, Readings, http};

const LIMIT: Duration = Duration::from_secs(30);

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

#[test]
fn every_answer_is_as_described_whatever_is_asked() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    // The examples of the document name this table.
    let readings = Readings::new("sensors", 5);
    let port = free_port();
    let daemon = DaemonBuilder::new()
        .servers(&broker, questdb)
        .source(&readings)
        .set("control.listen", format!("127.0.0.1:{port}"))
        .start();
    daemon.wait_subscribed();
    readings.publish(&mut broker.publisher().expect("connects"), 0..25);
    daemon.wait_drained(25, LIMIT);

    let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tools/schemathesis/bin/schemathesis");
    let base = format!("http://127.0.0.1:{port}");
    let output = Command::new(&program)
        .arg("run")
        .arg(format!("{base}/v1/openapi.json"))
        .args(["--url", &base, "--phases", "examples,coverage,fuzzing", "--max-examples", "100", "--seed", "1"])
        // A stream has no end to wait for. That `wait` goes with `min_state`, and which texts are times, no schema says.
        .args(["--exclude-path", "/v1/watch", "--exclude-checks", "positive_data_acceptance"])
        .args(["--request-timeout", "40", "--no-color"])
        .current_dir(crate::support::scratch("schemathesis"))
        .output()
        .unwrap_or_else(|why| panic!("{}: {why}; run tests/tools/install-deps test", program.display()));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("Operations:") && http::get(port, "/healthz", None).is_ok_and(|answer| answer.code == 200));
}
