//! Tests of whole configurations: layers, mistakes and where they are reported, and the shipped example.

use std::{collections::BTreeSet, fs, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::settings::*;

const SOURCE: &str = "[source.a]\ntopic = \"a/{x}\"\ntable = \"a\"\n";

/// Loads `main` with fragments and variables; the directory's name in messages becomes `DIR`.
fn load_text(main: &str, fragments: &[(&str, &str)], env: &[(&str, &str)]) -> Result<Loaded, String> {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("forebay.toml");
    fs::write(&file, main).expect("written");
    if !fragments.is_empty() {
        fs::create_dir(directory.path().join("conf.d")).expect("directory");
    }
    for (name, text) in fragments {
        fs::write(directory.path().join("conf.d").join(name), text).expect("written");
    }
    let env: Vec<(OsString, OsString)> = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let shown = directory.path().display().to_string();
    load_with(Some(&file), env.into_iter()).map_err(|error| error.to_string().replace(&shown, "DIR"))
}

fn faults(main: &str) -> String {
    load_text(&format!("{SOURCE}{main}"), &[], &[]).expect_err(main)
}

fn warnings(main: &str) -> String {
    load_text(&format!("{SOURCE}{main}"), &[], &[]).expect(main).warnings.join("\n")
}

#[test]
fn an_empty_file_with_a_source_gives_the_defaults() {
    let mut loaded = load_text(SOURCE, &[], &[]).expect("loaded");
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    loaded.settings.source.clear();
    assert_eq!(loaded.settings, Settings::default());
}

#[test]
fn later_layers_win_and_fragments_add_sources() {
    let fragments = [
        (
            "20-b.toml",
            "[source.B-2]\ntopic = \"b/{Y}\"\ntable = \"b\"\nfields = { Temp = \"long\" }\n[ring]\nsize = \"32MiB\"",
        ),
        ("10-a.toml", "[ring]\nsize = \"64MiB\"\n[mqtt]\nclient_id = \"first\"\n[source.a]\nqos = 0"),
        (".hidden.toml", "nonsense"),
        ("notes.txt", "nonsense"),
    ];
    let env = [
        ("FOREBAY__MQTT__CLIENT_ID", "007"),
        ("FOREBAY__MQTT__PROTOCOL", "4"),
        ("FOREBAY__SOURCE__B_2__QOS", "0"),
        ("FOREBAY__SOURCE__B_2__SYMBOLS", "unit, Line"),
        ("FOREBAY__SOURCE__NEW__TOPIC", "n/{d}"),
        ("FOREBAY__SOURCE__NEW__TABLE", "n"),
        ("FOREBAY__QUESTDB__CREATE_TABLES", "false"),
        ("FOREBAY__CONTROL__LISTEN", "127.0.0.1:8400"),
        ("FOREBAY_UNRELATED", "x"),
        ("HOME", "/root"),
    ];
    let loaded = load_text(SOURCE, &fragments, &env).expect("loaded");
    let settings = &loaded.settings;
    assert_eq!(loaded.files.len(), 3);
    assert_eq!(settings.ring.size, Bytes::mib(32));
    assert_eq!((settings.mqtt.client_id.as_str(), settings.mqtt.protocol), ("007", 4));
    assert_eq!(settings.source.keys().collect::<Vec<_>>(), ["B-2", "a", "new"]);
    assert_eq!(settings.source["a"].qos, 0);
    assert_eq!(settings.source["a"].table_template(), "a");
    assert_eq!(settings.source["B-2"].symbols, ["unit", "Line"]);
    assert_eq!(settings.source["B-2"].fields.keys().collect::<Vec<_>>(), ["Temp"]);
    assert!(!settings.questdb.create_tables);
    assert!(settings.control.listen.is_some());
    assert!(loaded.origins["ring.size"].ends_with("20-b.toml:6"), "{:?}", loaded.origins["ring.size"]);
    assert_eq!(loaded.origins["mqtt.client_id"], "environment variable FOREBAY__MQTT__CLIENT_ID");
}

#[test]
fn variables_keep_the_case_of_names() {
    let main = "[source.a]\ntopic = \"a/{x}\"\ntable = \"a\"\nfields = { Humidity = \"double\" }\n";
    let env = [
        ("FOREBAY__SOURCE__A__FIELDS__HUMIDITY", "long"),
        ("FOREBAY__SOURCE__A__FIELDS__Temp", "double"),
        ("FOREBAY__SOURCE__A__FIELDS__AM2301.Temperature", "long"),
        ("FOREBAY__SOURCE__A__fields__CO2", "long"),
        ("FOREBAY__SOURCE__Hall1__TOPIC", "h/{d}"),
        ("FOREBAY__SOURCE__HALL1__TABLE", "h"),
        ("FOREBAY__Source__Hall1__Symbols", "Line"),
        ("FOREBAY__SOURCE__OTHER__TOPIC", "o/{d}"),
        ("FOREBAY__SOURCE__OTHER__TABLE", "o"),
    ];
    let settings = load_text(main, &[], &env).expect("loaded").settings;
    let fields = &settings.source["a"].fields;
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["AM2301.Temperature", "CO2", "Humidity", "Temp"]);
    assert_eq!(fields["Humidity"], FieldType::Long, "the spelling of the file");
    assert_eq!(settings.source.keys().collect::<Vec<_>>(), ["a", "hall1", "other"]);
    assert_eq!(
        (settings.source["hall1"].table_template(), &settings.source["hall1"].symbols[..]),
        ("h", &["Line".to_owned()][..])
    );
    let mixed = [("FOREBAY__SOURCE__Hall1__TOPIC", "h/{d}"), ("FOREBAY__SOURCE__Hall1__TABLE", "h")];
    assert!(load_text(main, &[], &mixed).expect("loaded").settings.source.contains_key("Hall1"));
}

#[test]
fn a_secret_in_the_brokers_url_is_refused_and_what_else_its_query_says_is_hidden() {
    let text = faults("[mqtt]\nurl = \"wss://broker/mqtt?a=1&pass%77ord=hunter2\"\n");
    assert!(text.contains("mqtt.url: its query holds a secret (password)") && !text.contains("hunter2"), "{text}");
    let text = format!("{SOURCE}[mqtt]\nurl = \"wss://broker/mqtt?session=hunter2\"\n");
    let loaded = load_text(&text, &[], &[]).expect("loaded");
    let shown = to_toml(&loaded.settings, &loaded.origins, &loaded.chosen).expect("TOML");
    assert!(shown.contains("wss://broker/mqtt?session=…") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn messages_cannot_command_a_terminal_or_turn_a_line_round() {
    let text = faults("[ring]\n\"si\u{202e}ze\" = 1\n[batch]\nstrategy = \"a\\u001b[2J\"\n");
    assert!(text.contains("\\u{202e}") && !text.contains(['\u{202e}', '\u{1b}']), "{text:?}");
}

#[test]
fn every_mistake_is_reported_with_its_place() {
    let main = "[mqtt]\nprotcol = 5\nqos = 1\npassword = \"x\"\n[ring]\non_full = \"drop_oldest\"\n[batch]\nmax_rows = 1.5\n\
                [latest]\nstale_after = \"5 parsecs\"\n[source.b]\ntopic = \"b\"\n[nonsense]\nx = 1\n";
    let env = [("FOREBAY__RING__SISE", "1GiB"), ("FOREBAY__MQTT", "x"), ("FOREBAY__MQTT__KEEP_ALIVE", "5")];
    let text = load_text(main, &[], &env).expect_err("mistakes");
    for line in [
        "DIR/forebay.toml:2: mqtt.protcol: there is no such key; did you mean mqtt.protocol?",
        "DIR/forebay.toml:3: mqtt.qos: there is no such key; did you mean source.*.qos?",
        "DIR/forebay.toml:4: mqtt.password: there is no such key; secrets come from files: set password_file or token_file",
        "DIR/forebay.toml:6: ring.on_full: \"drop_oldest\" is none of \"block\", \"drop-oldest\", \"drop-newest\"; did you mean \"drop-oldest\"?",
        "DIR/forebay.toml:8: batch.max_rows: ",
        "DIR/forebay.toml:10: latest.stale_after: \"5 parsecs\" is no duration",
        "DIR/forebay.toml:11: source.b.table: this key is required and has no default; set it",
        "DIR/forebay.toml:13: nonsense: there is no such key",
        "environment variable FOREBAY__RING__SISE: ring.sise: there is no such key; did you mean ring.size?",
        "environment variable FOREBAY__MQTT: mqtt: this is a table",
        "environment variable FOREBAY__MQTT__KEEP_ALIVE: mqtt.keep_alive: \"5\" is no duration",
    ] {
        assert!(text.contains(line), "{line}\nis not in\n{text}");
    }
    assert_eq!(text.lines().count(), 11, "{text}");
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let directory = tempfile::tempdir().expect("directory");
    let missing = directory.path().join("none.toml");
    let error = load_with(Some(&missing), std::iter::empty()).expect_err("missing").to_string();
    assert!(error.contains("none.toml: cannot be read") && error.contains("--config"), "{error}");
    let text = load_text("[mqtt\n", &[], &[]).expect_err("no TOML");
    assert!(text.starts_with("DIR/forebay.toml:1: no valid TOML: "), "{text}");
    let text = load_text(SOURCE, &[("x.toml", "a = ")], &[]).expect_err("no TOML");
    assert!(text.starts_with("DIR/conf.d/x.toml:1: no valid TOML: "), "{text}");
    let text = load_text("[ring]\nsize = \"1MiB\"\nsize = \"2MiB\"\n", &[], &[]).expect_err("twice");
    assert!(text.starts_with("DIR/forebay.toml:3: "), "{text}");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    for (main, key, part) in [
        ("[mqtt]\nurl = \"broker\"", "mqtt.url", "no scheme"),
        ("[mqtt]\nurl = \"http://b\"", "mqtt.url", "none of mqtt"),
        ("[mqtt]\nurl = \"mqtt://u:p@b\"", "mqtt.url", "password_file"),
        ("[mqtt]\nurl = \"mqtt://:1883\"", "mqtt.url", "host"),
        ("[mqtt]\nurl = \"mqtt://b:0\"", "mqtt.url", "port"),
        ("[mqtt]\nurl = \"mqtt://b:1883/x\"", "mqtt.url", "path"),
        ("[mqtt]\nurl = \"unix://x\"", "mqtt.url", "absolute"),
        ("[mqtt]\nclient_id = \"\"", "mqtt.client_id", "name"),
        ("[mqtt]\nprotocol = 3", "mqtt.protocol", "5"),
        ("[mqtt]\nusername = \"u\"", "mqtt.username", "password_file"),
        ("[mqtt]\nreceive_maximum = 0", "mqtt.receive_maximum", "1 to 65535"),
        ("[mqtt]\nreceive_maximum = 70000", "mqtt.receive_maximum", "16 bit"),
        ("[mqtt]\nkeep_alive = \"1s\"", "mqtt.keep_alive", "5s"),
        ("[mqtt.tls]\ncert_file = \"/c\"", "mqtt.tls.cert_file", "key"),
        ("[mqtt.tls]\nca_file = \"/c\"", "mqtt.tls", "no TLS"),
        ("[mqtt]\nmax_payload = \"64MiB\"", "ring.size", "16 × mqtt.max_payload"),
        ("[ring]\nsize = \"64KiB\"", "ring.size", "out of range"),
        ("[ring]\ncommit_spacing = \"2s\"", "ring.commit_spacing", "1s"),
        ("[ring]\npath = \"ring\"", "ring.path", "relative"),
        ("[quarantine]\npath = \"/var/lib/forebay/ring\"", "quarantine.path", "ring"),
        ("[limits]\ncolumns_per_table = 1", "limits.columns_per_table", "2 to 4096"),
        ("[limits]\ntables_per_source = 0", "limits.tables_per_source", "1 to 4096"),
        ("[limits]\nnew_columns_per_minute = 5000", "limits.new_columns_per_minute", "1 to 4096"),
        ("[questdb]\nconf = \"9000\"", "questdb.conf", "addr"),
        ("[questdb]\nconf = \"tcp::addr=h:9009;\"", "questdb.conf", "HTTP"),
        ("[questdb]\nconf = \"http::addr=h:9000;password=hunter2;\"", "questdb.conf", "password_file"),
        ("[questdb]\nconf = \"http::addr=u:hunter2@h:9000;\"", "questdb.conf", "credentials"),
        ("[questdb]\nconf = \"http::addr=h;retry_timeout=1;\"", "questdb.conf", "retries by itself"),
        ("[questdb]\nconf = \"http::addr=h;auto_flush=off;\"", "questdb.conf", "[batch]"),
        ("[questdb]\nconf = \"http::addr=h;tls_verfy=on;\"", "questdb.conf", "tls_verify"),
        ("[questdb]\nusername = \"u\"", "questdb.username", "password_file"),
        ("[questdb]\nttl = \"90m\"", "questdb.ttl", "whole hours"),
        ("[questdb]\nttl = \"36h\"", "questdb.ttl", "multiple"),
        ("[batch]\nmax_rows = 0", "batch.max_rows", "1 to"),
        ("[batch]\nmax_bytes = \"1KiB\"", "batch.max_bytes", "64KiB to 64MiB"),
        ("[batch]\nmax_buffered = \"1MiB\"", "batch.max_buffered", "4MiB to 1GiB"),
        (
            "[batch]\nstrategy = \"hybrid\"\nmax_rows = 0\nmax_bytes = 0\nmax_linger = \"0s\"",
            "batch.max_linger",
            "nothing",
        ),
        ("[control]\nmode = \"rw\"", "control.mode", "octal"),
        ("[control]\nmode = \"0400\"", "control.mode", "octal"),
        ("[control]\nlisten = \"0.0.0.0:80\"", "control.listen", "127.0.0.1"),
        ("[log]\nlevel = \"verbose\"", "log.level", "no level"),
        ("[log]\nlevel = \"info,forebay=loud\"", "log.level", "no filter"),
        ("[source.b]\ntopic = \"b/#/c\"\ntable = \"b/c\"", "source.b.topic", "follows"),
        ("[source.b]\ntopic = \"b\"\ntable = \"b_{y}\"", "source.b.table", "{y}"),
        ("[source.b]\ntopic = \"b\"\ntable = \"b\"\nqos = 2", "source.b.qos", "QoS"),
        ("[source.\"b c\"]\ntopic = \"b\"\ntable = \"b\"", "source.b c", "letters"),
    ] {
        let text = faults(main);
        let found = text.lines().any(|line| format!(": {line}").contains(&format!(": {key}: ")) && line.contains(part));
        assert!(found, "{main}\n{key}: {part}\nis not in\n{text}");
        assert!(!text.contains("hunter2") && !text.contains("u:p"), "a secret is quoted: {text}");
    }
    let none = load_text("", &[], &[]).expect("a configuration without a source");
    assert!(none.warnings.iter().any(|text| text.starts_with("source: there is none")), "{:?}", none.warnings);
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    for (main, part) in [
        ("[mqtt]\nprotocol = 4\nsession_expiry = \"1day\"", "mqtt.session_expiry: MQTT 3.1.1"),
        ("[ring]\ninterval = \"1s\"", "ring.interval: it has no effect"),
        ("[ring]\ndurability = \"memory\"", "ring.durability"),
        ("[questdb]\nresend_window = \"0s\"", "questdb.resend_window"),
        ("[questdb]\nconf = \"https::addr=h:9000;tls_verify=unsafe_off;\"", "questdb.conf: tls_verify"),
        ("[control]\ntoken_file = \"/t\"", "control.token_file: it has no effect without control.listen"),
        (
            "[batch]\nmax_lanes = 8\nmax_bytes = \"8MiB\"",
            "batch.max_bytes: with 8 lanes a batch has at most 4576KiB: they share batch.max_buffered, which is 16MiB",
        ),
        ("[source.b]\ntopic = \"a/{y}\"\ntable = \"b\"", "source.a takes the same topics"),
        (
            "[source.b]\ntopic = \"#\"\ntable = \"b\"",
            "source.b.topic: of the topics that it matches, source.a takes those of \"a/+\"",
        ),
        (
            "[source.b]\ntopic = [\"b/+\", \"b/#\"]\ntable = \"b\"",
            "source.b.topic: \"b/#\" takes all that \"b/+\" does",
        ),
        ("[source.b]\ntopic = \"b/{x}\"\ntable = \"b\"\nexclude = [\"b/#\"]", "source.b.exclude: \"b/#\" excludes all"),
        (
            "[control]\nlisten = \"127.0.0.1:9\"\n[source.k]\ntopic = \"k/{x}\"\ntable = \"{x}\"",
            "source.k.table: with control.listen",
        ),
        ("[source.c]\ntopic = \"c\"\ntable = \"Ä\"\n[source.d]\ntopic = \"d\"\ntable = \"ä\"", "as source.c's \"Ä\""),
    ] {
        let text = warnings(main);
        assert!(text.contains(part), "{main}\n{part}\nis not in\n{text}");
    }
    let apart = "[source.b]\ntopic = \"b-{x}\"\ntable = \"b\"\n[source.c]\ntopic = \"c-{x}\"\ntable = \"c\"";
    assert_eq!(warnings(apart), "");
    for quiet in ["[source.k]\ntopic = \"k/{x}\"\ntable = \"{x}\"", "[control]\nlisten = \"127.0.0.1:9\""] {
        assert!(!warnings(quiet).contains("every local user"), "{quiet}");
    }
}

#[test]
fn the_printed_configuration_reads_back_the_same() {
    let main = format!(
        "{SOURCE}timestamp = {{ field = \"ts\", unit = \"ms\" }}\n[questdb]\nttl = \"30days\"\n[mqtt]\nusername = \"u\"\npassword_file = \"/p\"\n"
    );
    let loaded = load_text(&main, &[], &[]).expect("loaded");
    assert_eq!(loaded.settings.questdb.ttl, Some(Duration::from_hours(30 * 24)));
    let printed = to_toml(&loaded.settings, &loaded.origins, &loaded.chosen).expect("printed");
    assert_eq!(toml::from_str::<Settings>(&printed).expect("read back"), loaded.settings);
    assert!(printed.lines().any(|line| line.starts_with("ttl = ") && line.ends_with("forebay.toml:6")), "{printed}");
    assert!(printed.lines().any(|line| line.starts_with("unit = ") && line.contains("  # ")), "{printed}");
}

#[test]
fn sizes_that_are_not_set_fit_the_machine_and_are_shown_with_the_reason() {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("forebay.toml");
    fs::write(&file, format!("{SOURCE}[quarantine]\nsize = \"16MiB\"\n")).expect("written");
    let room = sizes::Room { directory: "/state".into(), free: Bytes::mib(600) };
    let site = sizes::Site { file: sizes::Existing::None, room: Some(room) };
    let machine = Machine { ring: site.clone(), quarantine: site, memory: Some(Bytes::mib(64)) };
    let env = [("FOREBAY__LATEST__MAX_BYTES", "10MiB")].map(|(name, value)| (name.into(), value.into()));
    let mut loaded = load_on(Some(&file), &[], env.into_iter(), &|_| machine.clone()).expect("loaded");
    let sizes = |settings: &Settings| {
        let (latest, batch) = (&settings.latest, &settings.batch);
        [settings.ring.size, settings.quarantine.size, latest.max_bytes, latest.history_bytes, batch.max_buffered]
            .map(|size| size.0 >> 20)
    };
    assert_eq!(sizes(&loaded.settings), [75, 16, 10, 2, 4]);
    let shown = to_toml(&loaded.settings, &loaded.origins, &loaded.chosen).expect("TOML");
    assert!(shown.contains("size = \"75MiB\"  # default, 256MiB elsewhere: /state has 600 MiB free\n"), "{shown}");
    assert_eq!(toml::from_str::<Settings>(&shown).expect("read back"), loaded.settings);

    let machine =
        Machine { ring: sizes::Site { file: sizes::Existing::Sized(Bytes::mib(1)), room: None }, ..Machine::default() };
    let kept = load_on(Some(&file), &[], std::iter::empty(), &|_| machine.clone()).expect("a small ring is no mistake");
    assert_eq!(kept.settings.ring.size, Bytes::mib(1));

    let mut running = loaded.settings.clone();
    (running.ring.size, running.quarantine.size) = (Bytes::mib(70), Bytes::mib(8));
    loaded.keep_file_sizes(&running);
    assert_eq!(
        sizes(&loaded.settings)[..2],
        [70, 16],
        "the file that is open has its size; what is set is another matter"
    );
}

const EXAMPLE: &str = include_str!("../../conf/forebay.toml");

/// The example with its commented defaults switched on; lines marked as examples too, when wanted.
fn uncommented(examples: bool) -> String {
    let is_setting = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line.contains(" = ");
    let wanted = |line: &str| is_setting(line) && (examples || !line.ends_with("# example"));
    EXAMPLE.lines().map(|line| if wanted(line) { &line[1..] } else { line }).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_is_valid_and_its_commented_defaults_are_the_defaults() {
    let as_is = load_text(EXAMPLE, &[], &[]).expect("the example");
    assert!(as_is.warnings.is_empty(), "{:?}", as_is.warnings);
    let explicit = load_text(&uncommented(false), &[], &[]).expect("the example with its defaults");
    assert_eq!(as_is.settings, explicit.settings);
    let mut settings = as_is.settings;
    settings.source.clear();
    assert_eq!(settings, Settings::default());
}

#[test]
fn the_example_has_every_key() {
    let all: toml::Table = uncommented(true).parse().expect("TOML");
    let mut shown = BTreeSet::new();
    collect(&mut Vec::new(), &toml::Value::Table(all), &mut shown);
    let missing: Vec<_> = schema::all_keys().into_iter().filter(|key| !shown.contains(key)).collect();
    assert!(missing.is_empty(), "conf/forebay.toml does not show {missing:?}");
}

/// Every path in a tree, with `*` for a source's name.
fn collect(path: &mut Vec<String>, value: &toml::Value, found: &mut BTreeSet<String>) {
    found.insert(path.join("."));
    if let toml::Value::Table(table) = value {
        for (key, value) in table {
            path.push(if path == &["source"] { "*".into() } else { key.clone() });
            collect(path, value, found);
            path.pop();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn no_file_or_variable_panics(
        text in r#"\PC{0,40}|(\[(mqtt|ring|source|source\.a|log)\]\n(url|size|topic|a|level|fields) = ("x"|1|\[1\]|\{a=1\}|1.5|true)\n){0,4}"#,
        name in r"\PC{0,12}|FOREBAY__[A-Z_é]{0,12}|(FOREBAY|forebay)__(MQTT|RING|SOURCE)__(URL|SIZE|A)(__[A-Z]{0,5}){0,2}",
        value in r"\PC{0,12}",
    ) {
        let name = name.replace(['=', '\0'], "_");
        let _ = load_text(&text, &[], &[(&name, &value)]);
    }
}

#[test]
fn what_shapes_a_source_is_read_from_files_and_variables() {
    let main = r#"
        [source.a]
        topic = "a/{x}"
        table = "a"
        scale = { power = 0.1, temp = { factor = 0.5, offset = -40 }, whole = 10 }
        rename = { "m.v" = "volt" }
        only = ["power", "temp"]
        [source.b]
        topic = "b/{gateway}"
        table = "b"
        [source.c]
        topic = "c"
        table = "c"
        rename = { g = "gateway" }
        tags = { site = "own" }
        [tags]
        gateway = "g1"
        site = "s1"
    "#;
    let env = [
        ("FOREBAY__SOURCE__C__SCALE__power", "0.25"),
        ("FOREBAY__SOURCE__C__NULL_VALUES", "unknown, -9999"),
        ("FOREBAY__SOURCE__C__IGNORE", "a.*,b"),
        ("FOREBAY__TAGS__LINE", "7"),
    ];
    let loaded = load_text(main, &[], &env).expect("loaded");
    let source = |name: &str| &loaded.settings.source[name];
    let scale = |name: &str, path: &str| source(name).scale[path].parts();
    assert_eq!(["power", "temp", "whole"].map(|path| scale("a", path)), [(0.1, 0.0), (0.5, -40.0), (10.0, 0.0)]);
    assert_eq!(scale("c", "power"), (0.25, 0.0));
    assert_eq!(
        (&source("c").null_values[..], &source("c").ignore[..]),
        (&["unknown", "-9999"].map(String::from)[..], &["a.*", "b"].map(String::from)[..])
    );
    let tags = |name: &str| source(name).tags.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(" ");
    assert_eq!(["a", "b", "c"].map(tags), ["LINE=7 gateway=g1 site=s1", "LINE=7 site=s1", "LINE=7 site=own"]);
    let printed = to_toml(&loaded.settings, &loaded.origins, &loaded.chosen).expect("printed");
    assert!(load_text(&printed, &[], &[]).is_ok_and(|again| again.settings == loaded.settings), "{printed}");
    for (main, part) in [
        ("scale = { p = \"x\" }", "no number such as 0.1"),
        ("scale = { p = { factr = 2 } }", "there is no such key"),
        ("rename = { p = \"x\" }\nfields = { x = \"long\" }", "is used twice"),
        ("rename = { p = \"q\", r = \"Q\" }", "is used twice"),
        ("format = \"plain\"\nonly = [\"a\"]", "it means nothing"),
        ("[tags]\n\"a b\" = \"{x}\"", "placeholders are a source's"),
        ("[tags]\n\"a/b\" = \"x\"", "tags.a/b"),
    ] {
        let told = faults(main);
        assert!(told.contains(part), "{main}\n{part}\nis not in\n{told}");
    }
    assert!(warnings("ignore = [\"p\"]\nscale = { p = 2 }").contains("is left out by ignore"));
}
