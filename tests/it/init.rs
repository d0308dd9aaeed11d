//! The first hour: a broker on which several kinds of devices publish, an empty configuration, and
//! `forebay init`.

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::support::{
    Daemon, DaemonBuilder, Mosquitto, QuestDb,
    daemon::{FOREBAY, told},
    eventually, eventually_eq,
    mosquitto::Options,
    process::free_port,
};

const LIMIT: Duration = Duration::from_mins(1);

/// What five kinds of devices say, round `n`.
fn messages(n: u64) -> Vec<(String, String)> {
    let value = 20.0 + (n % 50) as f64 / 10.0;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let (now, tenth) = (now.as_secs(), now.subsec_millis());
    let tenth = format!("{tenth:03}");
    let mut all = vec![
        (
            "zigbee2mqtt/bath".into(),
            format!(r#"{{"battery":87,"humidity":51.3,"linkquality":101,"temperature":{value}}}"#),
        ),
        ("zigbee2mqtt/bridge/state".into(), r#"{"state":"online"}"#.into()),
        (
            "shellyplus1pm-a1/events/rpc".into(),
            format!(
                r#"{{"src":"shellyplus1pm-a1","dst":"shellyplus1pm-a1/events","method":"NotifyStatus","params":{{"ts":{now}.{tenth},"switch:0":{{"id":0,"output":true,"apower":{value},"voltage":233.2}}}}}}"#
            ),
        ),
        ("weather/roof/temperature".into(), format!("{value}")),
        ("weather/roof/humidity".into(), format!("{}", 40.0 + value)),
        ("weather/yard/temperature".into(), format!("{}", value - 2.0)),
        ("press/line-1/data".into(), format!(r#"{{"machine":"p-7","force":{value},"cycles":{n}}}"#)),
        ("press/line-2/data".into(), format!(r#"{{"machine":"p-9","force":{value},"cycles":{n}}}"#)),
    ];
    // Its time is in whole seconds, and it says nothing more often than that.
    if n.is_multiple_of(12) {
        let time = jiff::Timestamp::from_second(now as i64).expect("a time").strftime("%Y-%m-%dT%H:%M:%S");
        let energy = format!(r#"{{"Total":12.052,"Power":{value},"Voltage":231}}"#);
        all.push(("tele/plug-3/SENSOR".into(), format!(r#"{{"Time":"{time}","ENERGY":{energy}}}"#)));
    }
    all
}

/// Devices that publish until they are dropped.
struct Devices(Option<Sender<()>>, Option<thread::JoinHandle<()>>);

impl Devices {
    fn start(broker: &Mosquitto) -> Self {
        const EVERY: Duration = Duration::from_millis(100);
        let (stop, stopped) = channel();
        let mut publisher = broker.publisher().expect("connects");
        let publish = move || {
            for n in 0.. {
                for (topic, payload) in messages(n) {
                    publisher.publish(&topic, payload.as_bytes()).expect("publishes");
                }
                publisher.drain(LIMIT).expect("the broker acknowledges");
                // The pace of devices, until they are told to stop.
                if stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        Self(Some(stop), Some(thread::spawn(publish)))
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        drop(self.0.take());
        let _ = self.1.take().expect("runs").join();
    }
}

#[test]
fn five_kinds_of_devices_are_in_the_database_after_two_commands() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::start());
    let mut daemon = DaemonBuilder::new().write();
    let _devices = Devices::start(&broker);
    let init = |daemon: &Daemon, more: &[&str]| {
        let (url, conf) = (broker.url(), questdb.conf());
        let line = [&["init", "--yes", "--for", "4s", "--broker", &url, "--questdb", &conf], more].concat();
        told(&daemon.cli(&line))
    };
    let (code, shown, said) = init(&daemon, &["--dry-run"]);
    assert!(code == 0 && shown.contains("[mqtt]") && said.contains("nothing was written"), "{shown}{said}");
    assert!(!daemon.config().with_file_name("conf.d").exists());
    let (code, shown, said) = init(&daemon, &[]);
    assert!(code == 0 && shown.starts_with("next: systemctl enable --now forebay\n"), "{shown}{said}");
    let (code, _, said) = told(&daemon.cli(&["check", "--connect"]));
    assert_eq!((code, said.contains("valid; both connections work")), (0, true), "{said}");

    daemon.launch();
    daemon.wait_subscribed();
    let sources = || daemon.status()["sources"].as_array().cloned().unwrap_or_default();
    assert!(sources().len() >= 5, "{:#?}", sources());
    eventually(LIMIT, "every source has rows", || sources().iter().all(|of| of["rows"].as_u64() > Some(0)));
    let letters: u64 = sources().iter().filter_map(|of| of["dead_letters"].as_u64()).sum();
    assert_eq!((letters, daemon.ledger("dead_letters")), (0, 0), "{:#?}", sources());
    let mut tables = BTreeSet::new();
    eventually_eq(LIMIT, "the tables of five kinds", true, || {
        let names = questdb.sql("SELECT table_name FROM tables()");
        tables = names.iter().filter_map(|row| Some(row[0].as_str()?.to_owned())).collect();
        tables.len() >= 5 && tables.iter().all(|table| questdb.count(table) > 0)
    });
    assert!(tables.contains("zigbee") && tables.contains("tasmota") && tables.contains("shelly"), "{tables:?}");

    // Once more there is nothing to do, and no file is touched.
    let files = || {
        let directory = fs::read_dir(daemon.config().with_file_name("conf.d")).expect("a directory");
        let of = |entry: std::io::Result<fs::DirEntry>| {
            let path = entry.expect("an entry").path();
            (path.clone(), fs::read_to_string(path).expect("a file"))
        };
        directory.map(of).collect::<BTreeSet<_>>()
    };
    let before = files();
    let (code, shown, said) = init(&daemon, &[]);
    assert!(code == 0 && said.contains("nothing to write") && shown.contains("reload"), "{shown}{said}");
    assert_eq!(files(), before);
}

#[test]
fn what_is_in_the_way_or_does_not_answer_is_told_and_nothing_is_written() {
    let broker =
        Mosquitto::with(&Options { login: Some(("device".into(), "secret one".into())), ..Options::default() });
    let daemon = DaemonBuilder::new().write();
    let conf = format!("127.0.0.1:{}", free_port());
    let init =
        |line: &[&str]| told(&daemon.cli(&[&["init", "--yes", "--no-listen", "--questdb", &conf], line].concat()));
    let nothing = format!("mqtt://127.0.0.1:{}", free_port());
    let (code, _, said) = init(&["--broker", &nothing]);
    assert!(code == 1 && said.contains("can't be reached") && said.contains("nothing was written"), "{said}");
    let url = broker.url();
    let (code, _, said) = init(&["--broker", &url]);
    assert!(code == 2 && said.contains("mqtt.password_file"), "{said}");
    let (code, _, said) = init(&["--broker", &url, "--device", "no-such"]);
    assert!(code == 3 && said.contains("device ls"), "{said}");
    assert!(!daemon.config().with_file_name("conf.d").exists(), "nothing is written");

    let password = daemon.config().with_file_name("password");
    fs::write(&password, "secret one\n").expect("written");
    let password = password.display().to_string();
    let line = ["--broker", &url, "--username", "device", "--password-file", &password, "--device", "tasmota"];
    let (code, shown, said) = init(&line);
    assert!(code == 0 && said.contains("not reachable"), "a database that is away is told: {shown}{said}");
    let written = fs::read_to_string(daemon.config().with_file_name("conf.d/10-connections.toml")).expect("a file");
    assert!(written.contains("username = \"device\"") && !written.contains("secret one"), "{written}");
    let (code, _, said) = init(&line);
    assert!(code == 0 && said.contains("--device tasmota: the source is there already"), "{said}");
    assert!(said.contains("nothing to write"), "{said}");
    let (code, _, said) = init(&["--broker", &nothing]);
    assert!(code == 1 && said.contains("can't be reached") && said.contains("nothing was written"), "{said}");
}

#[test]
fn connections_that_are_configured_stay_and_secrets_are_no_part_of_an_address() {
    let (broker, other) = (Mosquitto::start(), Mosquitto::start());
    let daemon = DaemonBuilder::new().write();
    let conf = format!("127.0.0.1:{}", free_port());
    let init = |line: &[&str]| told(&daemon.cli(&[&["init", "--yes", "--for", "1s"], line].concat()));
    for (line, option) in [
        (["--broker", "mqtt://u:SECRET@127.0.0.1"], "--password-file"),
        (["--questdb", "http::addr=127.0.0.1:9000;password=SECRET;"], "--questdb-password-file"),
        (["--questdb", "http://u:SECRET@127.0.0.1"], "--questdb-password-file"),
    ] {
        let (code, shown, said) = init(&line);
        assert!(code == 2 && said.contains(option) && !said.contains("listening"), "{said}");
        assert!(!said.contains("SECRET") && !shown.contains("SECRET"), "{shown}{said}");
    }
    let (first, second) = (broker.url(), other.url());
    let (code, _, said) = init(&["--no-listen", "--broker", &first, "--questdb", &conf]);
    assert_eq!(code, 0, "{said}");
    let written = || fs::read_dir(daemon.config().with_file_name("conf.d")).expect("a directory").count();
    assert_eq!(written(), 1);
    let (code, _, said) = init(&["--broker", &second, "--questdb", &conf]);
    assert!(code == 2 && said.contains("10-connections.toml:") && said.contains("mqtt.url"), "{said}");
    assert!(said.contains(&first) && said.contains(&second) && !said.contains("listening"), "{said}");
    assert_eq!(written(), 1, "nothing is written");
}

#[test]
fn without_a_configuration_one_is_made_and_nobody_is_asked_without_a_terminal() {
    let broker = Mosquitto::start();
    let directory = crate::support::scratch("first");
    let file = directory.join("etc/forebay.toml");
    fs::create_dir(directory.join("etc")).expect("a directory");
    // A relative path is one below the directory where it is run.
    let run = |line: &[&str]| {
        let mut command = Command::new(FOREBAY);
        command.current_dir(directory.join("etc")).args(["--config", "forebay.toml"]).args(line);
        let output = command.stdin(Stdio::null()).output();
        told(&output.expect("it runs"))
    };
    let (code, _, said) = run(&["init"]);
    assert!(code == 2 && said.contains("--yes"), "{said}");
    let (url, conf) = (broker.url(), format!("127.0.0.1:{}", free_port()));
    let (code, _, said) =
        run(&["init", "--yes", "--no-listen", "--broker", &url, "--questdb", &conf, "--device", "tasmota"]);
    assert!(code == 0 && said.contains("etc/forebay.toml"), "{said}");
    let (code, shown, said) = run(&["device", "add", "shelly"]);
    assert!(code == 0 && shown.starts_with(&*file.with_file_name("conf.d/shelly.toml").to_string_lossy()), "{said}");
    let (code, shown, _) = run(&["--json", "check"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((code, &shown["settings"]["mqtt"]["url"]), (0, &Value::from(url)));
    assert!(shown["settings"]["source"]["tasmota"].is_object());
    let first = fs::read_to_string(&file).expect("the first file");
    assert!(first.contains("forebay init"), "{first}");
}
