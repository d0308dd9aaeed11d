//! Names and payloads with characters that a terminal obeys or nobody sees: no command shows them to a terminal, and no log holds them.

use std::{process::Command, time::Duration};

use crate::support::{
    Daemon, DaemonBuilder, Mosquitto, QuestDb,
    daemon::{FOREBAY, told},
    eventually, unique,
};

const LIMIT: Duration = Duration::from_secs(60);
/// Right-to-left override, zero width space, and the beginning of a control sequence (ESC, and CSI in one character).
const HARMFUL: [char; 4] = ['\u{202e}', '\u{200b}', '\u{1b}', '\u{9b}'];

/// A command's output at a terminal, which script(1) makes.
fn at_a_terminal(daemon: &Daemon, arguments: &str) -> String {
    let (config, socket) = (daemon.config(), daemon.socket());
    let run = format!("{FOREBAY} --config {} --socket {} {arguments}", config.display(), socket.display());
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig=KILL", "--", "script", "-qec", &run, "/dev/null"]);
    let output = command.env("TERM", "dumb").env("SHELL", "/bin/sh").output().expect("script runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_terminal_and_the_log_get_no_character_that_is_obeyed_or_not_seen() {
    let (broker, name) = (Mosquitto::start(), unique("harmless"));
    let key = format!("source.{name}");
    let daemon = DaemonBuilder::new()
        .servers(&broker, QuestDb::shared())
        .set(&format!("{key}.topic"), format!("{name}/{{device}}"))
        .set(&format!("{key}.table"), name.clone())
        .start();
    daemon.wait_subscribed();
    let device = "dev\u{202e}1\u{200b}";
    let good = r#"{"note":"a\u001b[2J\u202eb\u009b31m","fie\u202eld":1}"#;
    let mut publisher = broker.publisher().expect("connects");
    publisher.publish(&format!("{name}/{device}"), good.as_bytes()).expect("publish");
    publisher.publish(&format!("{name}/{device}"), "no JSON \u{202e}\u{1b}[31m\u{9b}".as_bytes()).expect("publish");
    publisher.drain(LIMIT).expect("the broker has it");
    let entries = || daemon.database()["quarantine"]["entries"].as_u64().unwrap_or(0);
    eventually(LIMIT, "one is set aside and one stored", || entries() == 1 && daemon.ledger("stored") == 1);

    let (_, listed, _) = told(&daemon.cli(&["quarantine", "ls", "--json"]));
    let listed: serde_json::Value = serde_json::from_str(listed.lines().next().expect("an entry")).expect("JSON");
    let id = listed["id"].as_str().or(listed["entries"][0]["id"].as_str()).expect("an id").to_owned();
    for (arguments, shows) in [
        ("get", "u{202e}"),
        ("get --json", "u202e"),
        ("get --csv", "u202e"),
        ("quarantine ls", "u{202e}"),
        ("quarantine ls --json", "u202e"),
        (&format!("quarantine show {id}"), "u{202e}"),
        ("quarantine export", "u202e"),
        ("ring ls", "no JSON"),
        ("ring cat", "u202e"),
        ("ring cat --format line-protocol", "u202e"),
        ("ring export --format line-protocol", "u202e"),
        ("status", "forebay"),
        ("status --json", "sources"),
        ("check", "ring"),
    ] {
        let said = at_a_terminal(&daemon, arguments);
        assert!(!said.contains(HARMFUL), "forebay {arguments}: {said:?}");
        assert!(arguments == "ring ls" || said.contains(shows), "forebay {arguments} lacks {shows}: {said:?}");
    }
    // Into a file or a pipe goes what there is.
    let (_, csv, _) = told(&daemon.cli(&["get", "--csv"]));
    assert!(csv.contains(device) && csv.contains('\u{1b}'), "{csv:?}");
    let log = daemon.log();
    assert!(log.contains("u{202e}") && !log.contains(HARMFUL), "{log:?}");
    // An error's body names what was asked for.
    let answer = daemon.request("GET", "/v1/no%E2%80%AEwhere?table=x%E2%80%AEy", "").expect("an answer");
    assert!(answer.code == 404 && !answer.body.contains(HARMFUL), "{}", answer.body);
    let answer = daemon.request("GET", "/v1/latest?tab%E2%80%AEle=x", "").expect("an answer");
    assert!(!answer.body.contains(HARMFUL), "{}", answer.body);
    let answer = daemon.request("POST", "/write", "t f\u{202e}=x\u{202e}y 1").expect("an answer");
    assert!(answer.code == 400 && !answer.body.contains(HARMFUL), "{}", answer.body);
}
