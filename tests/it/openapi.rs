//! The interface against its own description: schemathesis makes requests out of the `OpenAPI` document and checks the answers.

use std::{
    io,
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::Command,
    thread,
    time::Duration,
};

use crate::support::{
    Daemon, DaemonBuilder, Mosquitto, QuestDb, Readings, eventually, http, process::free_port, scratch,
};

const LIMIT: Duration = Duration::from_secs(30);

/// A daemon with something to show on every route.
fn stage(port: u16) -> (Daemon, Mosquitto) {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    // The examples of the document name this table.
    let readings = Readings::new("sensors", 5);
    let daemon = DaemonBuilder::new()
        .servers(&broker, questdb)
        .source(&readings)
        .set("control.listen", format!("127.0.0.1:{port}"))
        .start();
    daemon.wait_subscribed();
    let mut publisher = broker.publisher().expect("connects");
    readings.publish(&mut publisher, 0..25);
    daemon.wait_drained(25, LIMIT);
    for _ in 0..5 {
        publisher.publish(&readings.reading(0).0, b"rubbish").expect("publish");
    }
    publisher.drain(LIMIT).expect("the broker acknowledges");
    eventually(LIMIT, "the rubbish is set aside", || daemon.ledger("dead_letters") == 5);
    (daemon, broker)
}

/// Has schemathesis try what is at this port; tells what it tried.
fn tried(port: u16, excluded: &[&str]) -> String {
    let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tools/schemathesis/bin/schemathesis");
    let base = format!("http://127.0.0.1:{port}");
    let dir = scratch("schemathesis");
    let output = Command::new(&program)
        .arg("run")
        .arg(format!("{base}/v1/openapi.json"))
        .args(["--url", &base, "--phases", "examples,coverage,fuzzing", "--max-examples", "100", "--seed", "1"])
        // A stream has no end to wait for. That `wait` goes with `min_state`, and which texts are times, no schema says.
        .args(["--exclude-path", "/v1/watch", "--exclude-checks", "positive_data_acceptance"])
        .args(excluded)
        .args(["--request-timeout", "40", "--no-color"])
        .current_dir(&*dir)
        .output()
        .unwrap_or_else(|why| panic!("{}: {why}; run tests/tools/install-deps test", program.display()));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("Operations:"), "{told}");
    told
}

/// A port that leads to a Unix socket.
fn port_of(socket: PathBuf) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(daemon) = UnixStream::connect(&socket) else { continue };
            let (from, to) = (client.try_clone().expect("a handle"), daemon.try_clone().expect("a handle"));
            thread::spawn(move || to_the_end(from, to, |to| to.shutdown(Shutdown::Write)));
            thread::spawn(move || to_the_end(daemon, client, |client: TcpStream| client.shutdown(Shutdown::Write)));
        }
    });
    port
}

fn to_the_end<W: io::Write>(mut from: impl io::Read, mut to: W, end: impl FnOnce(W) -> io::Result<()>) {
    let _ = io::copy(&mut from, &mut to);
    let _ = end(to);
}

#[test]
fn every_answer_is_as_described_whatever_is_asked() {
    let port = free_port();
    let (daemon, _broker) = stage(port);
    let of_the_socket = ["quarantine", "administration", "configuration"];
    let excluded: Vec<&str> = of_the_socket.iter().flat_map(|tag| ["--exclude-tag", tag]).collect();
    tried(port, &excluded);
    assert!(http::get(port, "/healthz", None).is_ok_and(|answer| answer.code == 200));
    // Over the socket the test may administer. None of it can do harm here: what is dropped or put
    // back is rubbish. (A ring of another size takes the interface away for a moment.)
    tried(port_of(daemon.socket()), &["--exclude-tag", "page", "--exclude-path", "/v1/ring/resize"]);
    assert!(daemon.request("GET", "/healthz", "").is_ok_and(|answer| answer.code == 200));
}
