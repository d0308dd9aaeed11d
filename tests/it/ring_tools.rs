//! `forebay ring`: seeing into the ring, beside a running daemon and without one, intact and damaged.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::support::{
    Daemon, DaemonBuilder, Load, Mosquitto, QuestDb, Readings,
    daemon::{FOREBAY, told},
    eventually, heavy, unique,
};

const LIMIT: Duration = Duration::from_secs(30);
/// Where the data of a ring file begins (docs/ring-format.md).
const DATA_START: u64 = 8192;
/// Where the second header slot lies.
const SLOT_B: u64 = 4096;

struct Stage {
    broker: Mosquitto,
    readings: Readings,
    daemon: Daemon,
}

/// A daemon without a database: what it takes in stays in the ring.
fn stage(name: &str, change: impl FnOnce(DaemonBuilder) -> DaemonBuilder) -> Stage {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::prepared(None));
    let readings = Readings::new(unique(name), 5);
    let daemon = change(DaemonBuilder::new().servers(&broker, &questdb).source(&readings)).start();
    daemon.wait_subscribed();
    Stage { broker, readings, daemon }
}

impl Stage {
    /// Publishes readings and waits until forebay has acknowledged them all, so they are durable.
    fn take_in(&self, range: std::ops::Range<u64>) {
        let enough = self.acknowledged() + (range.end - range.start);
        self.readings.publish(&mut self.broker.publisher().expect("connects"), range);
        eventually(LIMIT, "all are acknowledged", || self.acknowledged() >= enough);
    }

    fn say(&self, payload: &[u8]) {
        let enough = self.acknowledged() + 1;
        let mut publisher = self.broker.publisher().expect("connects");
        publisher.publish(&format!("{}/site-0/dev-0", self.readings.name), payload).expect("publishes");
        publisher.drain(LIMIT).expect("the broker acknowledges");
        eventually(LIMIT, "it is acknowledged", || self.acknowledged() >= enough);
    }

    fn acknowledged(&self) -> u64 {
        self.daemon.broker()["acknowledged"].as_u64().unwrap_or(0)
    }

    /// A copy of the ring to be damaged.
    fn copy(&self, name: &str) -> PathBuf {
        let copy = self.daemon.ring().with_file_name(name);
        std::fs::copy(self.daemon.ring(), &copy).expect("a copy");
        copy
    }
}

/// Runs `forebay ring …` without any configuration.
fn ring(arguments: &[&str], file: &Path) -> (i32, String, String) {
    let output = Command::new(FOREBAY)
        .arg("ring")
        .args(arguments)
        .arg("--file")
        .arg(file)
        .env("FOREBAY__RING__SIZE", "this is not looked at")
        .output()
        .expect("runs");
    told(&output)
}

#[track_caller]
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}"))
}

/// Device and number of each row in JSON lines.
#[track_caller]
fn rows(text: &str) -> Vec<(String, u64)> {
    let lines = text.lines().map(json).filter(|line| line["kind"] == "row");
    lines
        .map(|line| {
            let device = line["symbols"]["device"].as_str().expect("a device").to_owned();
            (device, line["fields"]["seq"].as_u64().expect("a number"))
        })
        .collect()
}

/// Asserts that readings `0..count` are there, each once, in order.
#[track_caller]
fn assert_readings(found: &[(String, u64)], readings: &Readings, count: u64) {
    let wanted: Vec<(String, u64)> =
        (0..count).map(|n| (format!("dev-{}", n % readings.devices), n / readings.devices)).collect();
    assert_eq!(found.len(), wanted.len());
    assert_eq!(found, wanted);
}

fn flip(file: &Path, at: u64) {
    let file = std::fs::File::options().read(true).write(true).open(file).expect("opens");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("reads");
    file.write_all_at(&[byte[0] ^ 0x10], at).expect("writes");
}

#[test]
fn a_running_daemon_and_its_file_tell_the_same() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("told"), 5);
    let mut daemon = DaemonBuilder::new().servers(&broker, questdb).source(&readings).start();
    daemon.wait_subscribed();
    let mut publisher = broker.publisher().expect("connects");
    readings.publish(&mut publisher, 0..2_000);
    publisher.publish(&format!("{}/a/b", readings.name), b"not json").expect("publishes");
    publisher.drain(LIMIT).expect("the broker acknowledges");
    daemon.wait_drained(2_001, LIMIT);

    let (code, out, error) = told(&daemon.cli(&["ring", "info", "--json"]));
    assert_eq!(code, 0, "{error}");
    let (live, status) = (json(&out), daemon.status());
    assert_eq!((&live["source"], &live["complete"]), (&"daemon".into(), &true.into()), "{live}");
    assert_eq!((&live["records"], &live["rows"], &live["dead_letters"]), (&2_001.into(), &2_000.into(), &1.into()));
    assert_eq!(live["tables"], serde_json::json!([{ "table": readings.name, "rows": 2_000 }]));
    assert_eq!(live["ledger"], status["ledger"], "{live}");
    for mark in ["tail", "durable", "appended"] {
        assert_eq!(live[mark]["seq"], status["ring"][mark], "{mark}: {live}");
    }
    assert!(live["oldest_age_ms"].as_u64() < Some(60_000) && live["oldest_time"].is_string(), "{live}");
    let answer = daemon.request("GET", "/v1/ring", "").expect("answers");
    assert_eq!((answer.code, &answer.json()["ring_id"]), (200, &live["ring_id"]));

    // The file, while the daemon has it.
    let file = daemon.ring();
    let beside = json(&ring(&["info", "--json"], &file).1);
    assert_eq!((&beside["source"], &beside["clean"]), (&"file".into(), &false.into()), "{beside}");
    for same in ["ring_id", "generation", "records", "rows", "tables", "oldest_received", "oldest_time", "appended"] {
        assert_eq!(beside[same], live[same], "{same}");
    }
    let (code, out, error) = ring(&["verify"], &file);
    assert_eq!(code, 0, "{out}{error}");
    assert!(out.contains("verdict     intact"), "{out}");

    assert_eq!(daemon.stop().code(), Some(0));
    let (code, _, error) = told(&daemon.cli(&["ring", "info"]));
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("--file"), "says what to do: {error}");
    let after = json(&ring(&["info", "--json"], &file).1);
    assert_eq!((&after["clean"], &after["ledger"]), (&true.into(), &live["ledger"]), "{after}");
    assert_eq!(after["settled"]["seq"], after["appended"]["seq"], "{after}");
    let text = ring(&["info"], &file).1;
    assert!(text.contains("closed in order") && text.contains(&readings.name), "{text}");
}

#[test]
fn what_is_in_the_ring_is_listed_and_printed_after_a_kill_and_after_a_stop() {
    let mut stage = stage("listed", |builder| builder);
    stage.take_in(0..1_000);
    stage.say(b"\x1b[2Jnot json");
    stage.say(b"");
    stage.daemon.kill9();
    check_listing(&stage, 1_000);
    stage.daemon.restart();
    stage.daemon.wait_subscribed();
    stage.take_in(1_000..1_500);
    assert_eq!(stage.daemon.stop().code(), Some(0));
    check_listing(&stage, 1_500);
}

fn check_listing(stage: &Stage, count: u64) {
    let file = stage.daemon.ring();
    // By configuration as well as by name.
    let (code, out, error) = told(&stage.daemon.cli(&["ring", "cat"]));
    assert_eq!((code, error.as_str()), (0, ""));
    assert_readings(&rows(&out), &stage.readings, count);
    let kinds: Vec<Value> = out.lines().map(|line| json(line)["kind"].clone()).filter(|kind| kind != "row").collect();
    assert_eq!(kinds, ["dead-letter", "clear"]);
    assert_eq!(ring(&["export"], &file).1, out, "an intact ring's export is what it holds");

    let (_, lines, error) = ring(&["cat", "--format", "line-protocol"], &file);
    assert_eq!(lines.lines().count() as u64, count);
    assert!(lines.starts_with(&format!("{},device=dev-0,site=site-0 seq=0i,", stage.readings.name)), "{lines:.200}");
    assert!(error.starts_with("2 dead letters, clears and held rows left out"), "{error}");

    // Event times of a device's readings are a millisecond apart, those of all devices' nth reading the same.
    let first = json(out.lines().nth(500).expect("a line"))["time"].as_str().expect("a time").to_owned();
    let span = ring(&["cat", "--since", &first, "--table", &stage.readings.name], &file).1;
    assert_eq!(rows(&span).len() as u64, count - 500);
    assert_eq!(rows(&ring(&["cat", "--until", &first], &file).1).len(), 500);
    assert_eq!(rows(&ring(&["cat", "--since", "1m"], &file).1).len(), 0, "their own time is ten minutes ago");
    assert_eq!(rows(&ring(&["cat", "--since", "10m", "--by", "received"], &file).1).len() as u64, count);
    assert_eq!(ring(&["cat", "--table", "nothing"], &file).1, "");

    let listed = ring(&["ls"], &file).1;
    assert_eq!(listed.lines().count() as u64, count + 3, "a head and a line a record");
    assert!(!listed.contains('\x1b'), "devices say nothing to the terminal");
    let json_lines = ring(&["ls", "--json", "--kind", "clear", "--kind", "dead-letter"], &file).1;
    let kinds: Vec<Value> = json_lines.lines().map(|line| json(line)["kind"].clone()).collect();
    assert_eq!(kinds, ["dead-letter", "clear"]);
    let numbers: Vec<Value> =
        ring(&["ls", "--json", "-n", "3"], &file).1.lines().map(|line| json(line)["seq"].clone()).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert!(ring(&["ls", "--json", "--kind", "commit"], &file).1.lines().count() > 0);
}

/// The places of records in the file, by number.
fn places(file: &Path) -> Vec<(u64, u64)> {
    let listed = ring(&["ls", "--json"], file).1;
    let place = |line: &str| {
        let line = json(line);
        (line["seq"].as_u64().expect("a number"), DATA_START + line["position"].as_u64().expect("a position"))
    };
    listed.lines().map(place).collect()
}

#[test]
fn a_damaged_ring_is_told_and_all_that_is_intact_comes_out() {
    let mut stage = stage("damaged", |builder| builder.set("ring.size", "2MiB").set("mqtt.max_payload", "64KiB"));
    stage.take_in(0..2_000);
    stage.daemon.kill9();
    let whole = rows(&ring(&["export"], &stage.daemon.ring()).1);
    assert_readings(&whole, &stage.readings, 2_000);

    let file = stage.copy("flipped");
    let hit: BTreeSet<u64> = [3, 700, 701, 1_500].into();
    for (seq, at) in places(&file) {
        if hit.contains(&seq) {
            flip(&file, at + 60);
        }
    }
    let (code, out, error) = ring(&["verify", "--json"], &file);
    assert_eq!(code, 1, "{out}{error}");
    let report = json(&out);
    let told: Vec<[u64; 2]> = report["damage"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| ["first", "last"].map(|end| one[end].as_u64().expect("a number")))
        .collect();
    assert_eq!(told, [[3, 3], [700, 701], [1_500, 1_500]], "{report}");
    assert_eq!(
        (&report["lost_records"], &report["lost_rows"], &report["records"]),
        (&4.into(), &4.into(), &1_996.into())
    );
    assert_eq!(report["tables"], serde_json::json!([stage.readings.name]), "{report}");
    assert!(ring(&["verify"], &file).1.contains("records 700 to 701"));
    let (code, out, error) = ring(&["cat"], &file);
    assert_eq!((code, rows(&out).len()), (1, 1_996), "{error}");
    assert!(error.contains("records 700 to 701 are lost"), "{error}");
    let (code, out, error) = ring(&["export"], &file);
    assert_eq!(code, 0, "{error}");
    assert!(error.contains("missing: records 700 to 701") && error.contains("4 records are missing"), "{error}");
    let left: Vec<_> = (1..).zip(&whole).filter(|(seq, _)| !hit.contains(seq)).map(|(_, row)| row.clone()).collect();
    assert_eq!(rows(&out), left);

    for slot in [0, SLOT_B] {
        let file = stage.copy("slot");
        flip(&file, slot + 70);
        let (code, out, _) = ring(&["verify"], &file);
        assert_eq!(code, 1, "{out}");
        assert!(out.contains(if slot == 0 { "slot A      DAMAGED" } else { "slot B      DAMAGED" }), "{out}");
        let (code, out, error) = ring(&["export"], &file);
        assert_eq!((code, rows(&out)), (0, whole.clone()), "{error}");
        assert!(error.contains("one header slot is damaged"), "{error}");
    }

    let file = stage.copy("short");
    let cut = places(&file)[1_000].1 + 10;
    std::fs::File::options().write(true).open(&file).expect("opens").set_len(cut).expect("cut short");
    let (code, out, _) = ring(&["verify"], &file);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("CUT SHORT"), "{out}");
    let (code, out, error) = ring(&["export", "--json"], &file);
    assert_eq!((code, rows(&out)), (0, whole[..1_000].to_vec()), "{error}");
    assert!(json(&error)["short_by_bytes"].as_u64() > Some(0), "{error}");

    // What a file tells is what a daemon then does.
    let (first, lost) = (stage.copy("for-a-daemon"), stage.daemon.ring());
    flip(&first, places(&first)[99].1 + 60);
    let told = json(&ring(&["verify", "--json"], &first).1);
    std::fs::rename(&first, &lost).expect("in place");
    stage.daemon.restart();
    let gaps = stage.daemon.status()["ring"]["gaps"].clone();
    assert_eq!(gaps[0][0], told["damage"][0]["first"], "{gaps}");
}

#[test]
fn history_before_the_tail_comes_out_of_a_ring_that_went_round() {
    let mut stage = stage("history", |builder| {
        builder.set("ring.size", "2MiB").set("mqtt.max_payload", "64KiB").set("ring.on_full", "drop-oldest")
    });
    stage.take_in(0..30_000);
    stage.daemon.kill9();
    let file = stage.daemon.ring();
    let info = json(&ring(&["info", "--json"], &file).1);
    let tail = info["tail"]["seq"].as_u64().expect("a number");
    assert!(tail > 10_000, "{info}");
    assert_eq!(info["ledger"]["dropped"], tail, "{info}");
    let (code, out, error) = ring(&["export", "--json"], &file);
    assert_eq!(code, 0, "{error}");
    let report = json(&error);
    assert!(report["history"].as_u64() > Some(50), "{report}");
    assert_eq!((&report["last"], &report["missing_records"]), (&30_000.into(), &0.into()), "{report}");
    let found = rows(&out);
    let distinct: BTreeSet<&(String, u64)> = found.iter().collect();
    assert_eq!(distinct.len(), found.len(), "each once");
    let inside = rows(&ring(&["cat"], &file).1);
    assert_eq!(found[found.len() - inside.len()..], inside, "what is behind the tail comes last");
}

#[test]
fn an_export_into_a_file_appears_whole_and_never_over_the_ring() {
    let mut stage = stage("output", |builder| builder);
    stage.take_in(0..100);
    assert_eq!(stage.daemon.stop().code(), Some(0));
    let file = stage.daemon.ring();
    let output = file.with_file_name("rows.jsonl");
    let (code, out, error) = ring(&["export", "--output", output.to_str().expect("text")], &file);
    assert_eq!((code, out.as_str()), (0, ""), "{error}");
    assert!(error.contains("found 100 intact records, numbers 1 to 100: 100 rows"), "{error}");
    assert_readings(&rows(&std::fs::read_to_string(&output).expect("reads")), &stage.readings, 100);
    let before = std::fs::read(&file).expect("reads");
    let (code, _, error) = ring(&["export", "--output", file.to_str().expect("text")], &file);
    assert_eq!(code, 2, "{error}");
    assert_eq!(ring(&["export", "--output", "/no/such/place/x"], &file).0, 1);
    assert!(std::fs::read(&file).expect("reads") == before, "the ring is as it was");
    let names: Vec<String> = std::fs::read_dir(file.parent().expect("a directory"))
        .expect("lists")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains(".new"))
        .collect();
    assert_eq!(names, [""; 0], "nothing temporary is left");
}

#[test]
fn files_that_are_no_ring_of_this_version_are_told_apart() {
    let mut stage = stage("strange", |builder| builder);
    stage.take_in(0..10);
    assert_eq!(stage.daemon.stop().code(), Some(0));
    let commands = [&["info"][..], &["verify"], &["ls"], &["cat"], &["export"]];

    let other = stage.copy("version");
    let mut bytes = std::fs::read(&other).expect("the copy");
    for slot in [0, SLOT_B as usize] {
        // Every version of the format keeps the checksum where it is.
        let slot = &mut bytes[slot..slot + 512];
        slot[8] = 9;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&slot[..12]), &slot[16..]);
        slot[12..16].copy_from_slice(&crc.to_le_bytes());
    }
    std::fs::write(&other, bytes).expect("the copy");
    let zeros = stage.daemon.ring().with_file_name("zeros");
    std::fs::write(&zeros, vec![0; 1 << 20]).expect("written");
    for command in commands {
        let (code, _, error) = ring(command, &other);
        assert_eq!(code, 1, "{command:?}: {error}");
        assert!(error.contains("format version 9") && error.contains("use the forebay that wrote it"), "{error}");
        let (code, _, error) = ring(command, &zeros);
        assert_eq!(code, 1, "{command:?}: {error}");
        assert!(error.contains("is no ring"), "{error}");
        let (code, _, error) = ring(command, Path::new("/no/such/ring"));
        assert_eq!(code, 5, "{command:?}: {error}");
        assert!(error.contains("--file"), "{error}");
        assert_eq!(ring(command, Path::new("/tmp")).0, 5, "{command:?} on a directory");
    }
    assert_eq!(ring(&["cat", "--since", "yesterday"], &other).0, 2);
    assert_eq!(ring(&["cat", "--json", "--format", "line-protocol"], &other).0, 2);
    assert_eq!(told(&Command::new(FOREBAY).args(["--config", "/no/such", "ring", "ls"]).output().expect("runs")).0, 2);
}

#[test]
fn a_ring_without_any_header_comes_out_by_its_commits() {
    let mut stage = stage("headless", |builder| builder);
    stage.take_in(0..1_000);
    stage.daemon.kill9();
    let file = stage.copy("headless");
    for slot in [0, SLOT_B] {
        flip(&file, slot + 70);
    }
    let (code, out, error) = ring(&["export"], &file);
    assert_eq!(code, 0, "{error}");
    assert_readings(&rows(&out), &stage.readings, 1_000);
    assert_eq!(ring(&["verify"], &file).0, 1);
}

#[test]
fn reading_beside_a_daemon_that_overwrites_finds_no_damage() {
    let _alone = heavy();
    let stage = stage("beside", |builder| {
        builder.set("ring.size", "2MiB").set("mqtt.max_payload", "64KiB").set("ring.on_full", "drop-oldest")
    });
    let file = stage.daemon.ring();
    let load = Load::start(&stage.readings, stage.broker.port, 20_000);
    let tail = || stage.daemon.status()["ring"]["tail"].as_u64().unwrap_or(0);
    eventually(LIMIT, "the tail moves", || tail() > 0);
    let (began, mut looks) = (tail(), 0);
    // Two laps and more.
    while tail() < began + 30_000 || looks < 5 {
        let (code, out, error) = ring(&["verify", "--json"], &file);
        assert_eq!(code, 0, "{out}{error}");
        assert!(json(&out)["records"].as_u64() > Some(100), "{out}");
        let (code, out, error) = ring(&["cat"], &file);
        assert_eq!(code, 0, "{error}");
        let found = rows(&out);
        assert!(found.windows(2).all(|pair| pair[0] != pair[1]) && found.len() > 100, "{} rows", found.len());
        assert_eq!(ring(&["export", "--output", "/dev/null"], &file).0, 0);
        let live = told(&stage.daemon.cli(&["ring", "info", "--json"]));
        assert_eq!((live.0, &json(&live.1)["damaged_stretches"]), (0, &0.into()), "{live:?}");
        looks += 1;
    }
    // A reader that stands still while the ring goes round is told what it missed.
    let mut child = Command::new(FOREBAY)
        .args(["ring", "cat", "--file"])
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    out.read_line(&mut line).expect("a line");
    let passed = tail() + 25_000;
    eventually(LIMIT, "the tail passes it", || tail() > passed);
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("the rest");
    let (code, _, error) = told(&child.wait_with_output().expect("ends"));
    assert_eq!(code, 0, "{error}");
    assert!(error.contains("the running daemon gave up"), "{error}");
    load.finish();
}

#[test]
fn a_reader_that_closes_its_end_ends_the_command_quietly() {
    let mut stage = stage("closed", |builder| builder);
    stage.take_in(0..3_000);
    assert_eq!(stage.daemon.stop().code(), Some(0));
    for command in ["cat", "ls", "export"] {
        let mut child = Command::new(FOREBAY)
            .args(["ring", command, "--file"])
            .arg(stage.daemon.ring())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("runs");
        let mut line = String::new();
        BufReader::with_capacity(64, child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let (code, _, error) = told(&child.wait_with_output().expect("ends"));
        assert_eq!((code, error.as_str()), (0, ""), "{command}");
        assert!(line.ends_with('\n'), "{command}: {line}");
    }
}
