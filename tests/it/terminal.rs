//! At the terminal: top in a real pseudo-terminal, completion in a real bash, manual pages where make install puts them.

use std::{
    io::Write as _,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    Daemon, DaemonBuilder, Load, Mosquitto, QuestDb, Readings,
    daemon::{FOREBAY, told},
    eventually, eventually_some,
    scratch::{Scratch, scratch},
    unique,
};

const LIMIT: Duration = Duration::from_secs(30);
/// Leaves the other screen and shows the cursor again (xterm control sequences, DECRST 1049 and DECSET 25).
const LEFT: &str = "\x1b[?1049l";
const CURSOR: &str = "\x1b[?25h";

struct Stage {
    daemon: Daemon,
    table: String,
    _load: Load,
    _broker: Mosquitto,
}

fn stage() -> Stage {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("terminal"), 4);
    let daemon = DaemonBuilder::new().servers(&broker, questdb).source(&readings).start();
    daemon.wait_subscribed();
    let load = Load::start(&readings, broker.port, 200);
    eventually(LIMIT, "rows are stored", || daemon.ledger("stored") > 100);
    Stage { daemon, table: readings.name, _load: load, _broker: broker }
}

/// `forebay top` in a terminal of 30 lines of 100 columns, which script(1) makes.
struct Top {
    script: Child,
    keys: Option<ChildStdin>,
    screen: PathBuf,
    id: i32,
    _dir: Scratch,
}

impl Top {
    fn start(daemon: &Daemon) -> Self {
        let dir = scratch("top");
        let (screen, id) = (dir.join("screen"), dir.join("id"));
        let run = format!(
            "stty rows 30 cols 100; echo $$ >{}; exec {FOREBAY} --socket {} top",
            id.display(),
            daemon.socket().display()
        );
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig=KILL", "--", "script", "-qefc", &run]).arg(&screen);
        command.env("TERM", "xterm").env("SHELL", "/bin/sh").env_remove("NO_COLOR");
        let mut script = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("script runs");
        let keys = script.stdin.take();
        let read = || std::fs::read_to_string(&id).ok()?.trim().parse().ok();
        let id = eventually_some(LIMIT, "top starts", read);
        Self { script, keys, screen, id, _dir: dir }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.screen).unwrap_or_default()).into_owned()
    }

    #[track_caller]
    fn wait_for(&self, from: usize, what: &str) {
        eventually(LIMIT, &format!("the screen shows {what:?}"), || {
            self.said().get(from..).is_some_and(|said| said.contains(what))
        });
    }

    fn press(&mut self, key: &str) {
        self.keys.as_mut().expect("open").write_all(key.as_bytes()).expect("takes keys");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.id).expect("a process"), signal).expect("runs");
    }

    /// Waits for its end, which must leave the terminal as it was.
    #[track_caller]
    fn ends(mut self) -> Option<i32> {
        let status = eventually_some(LIMIT, "top ends", || self.script.try_wait().expect("wait"));
        let said = self.said();
        let (left, cursor) = (said.rfind(LEFT), said.rfind(CURSOR));
        assert!(left.is_some() && cursor.is_some(), "the terminal is put in order: {said:?}");
        status.code()
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

#[test]
fn top_follows_the_daemon_over_its_restart_and_leaves_the_terminal_in_order() {
    let Stage { mut daemon, table, _load, _broker } = stage();
    let mut top = Top::start(&daemon);
    for part in ["running", "messages/s", "QuestDB:", "LINGER", "Liveliest", &table, "device=dev-"] {
        top.wait_for(0, part);
    }
    let before = top.said().len();
    daemon.kill9();
    top.wait_for(before, "○");
    let before = top.said().len();
    daemon.restart();
    top.wait_for(before, "running");
    top.press("p");
    top.wait_for(before, "PAUSED");
    top.press("q");
    assert_eq!(top.ends(), Some(0));
}

#[test]
fn signals_end_top_and_leave_the_terminal_in_order() {
    let daemon = DaemonBuilder::new().write();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let top = Top::start(&daemon);
        top.wait_for(0, "asked");
        top.signal(signal);
        assert_eq!(top.ends(), Some(0), "{signal:?}");
    }
    // In raw mode Ctrl-C is a key like any other, and no signal.
    let mut top = Top::start(&daemon);
    top.wait_for(0, "asked");
    top.press("\x03");
    assert_eq!(top.ends(), Some(0), "Ctrl-C");
}

#[test]
fn top_prints_once_where_there_is_no_terminal() {
    let stage = stage();
    let (code, out, error) = told(&stage.daemon.cli(&["top"]));
    assert_eq!(code, 0, "{error}");
    for part in ["● running", "messages/s", "Ring", "lane 0: ", "Liveliest", &stage.table, "temperature="] {
        assert!(out.contains(part), "{part} in\n{out}");
    }
    assert!(!out.contains('\x1b'), "no control sequences: {out}");
    let away = DaemonBuilder::new().write();
    assert_eq!(told(&away.cli(&["top", "--once"])).0, 4);
    assert_eq!(told(&away.cli(&["--json", "top"])).0, 2);
}

/// What a real bash makes of a line with the cursor at its end.
fn completed(line: &str) -> Vec<String> {
    let script = "source <(forebay completions bash) && COMP_LINE=$1 COMP_POINT=${#1} && _forebay && printf '%s\\n' \"${COMPREPLY[@]}\"";
    let path = format!(
        "{}:{}",
        Path::new(FOREBAY).parent().expect("a directory").display(),
        std::env::var("PATH").expect("PATH")
    );
    let output = Command::new("bash")
        .args(["--norc", "-c", script, "bash", line])
        .env("PATH", path)
        .env("COMP_WORDBREAKS", " \t\n\"'><=;|&(:")
        .output()
        .expect("bash runs");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_subcommands_tables_symbols_and_values() {
    let stage = stage();
    let (table, socket) = (&stage.table, stage.daemon.socket().display().to_string());
    assert_eq!(completed("forebay stat"), ["status"]);
    assert!(completed("forebay ring ").contains(&"verify".to_owned()));
    assert_eq!(completed(&format!("forebay --socket {socket} get {}", &table[..6])), [table.as_str()]);
    assert_eq!(completed(&format!("forebay --socket {socket} get {table} d")), ["device="]);
    // bash replaces only what stands behind the "=".
    let values = ["dev-0", "dev-1", "dev-2", "dev-3"];
    assert_eq!(completed(&format!("forebay --socket={socket} watch {table} device=")), values);
    assert_eq!(completed(&format!("forebay --socket {socket} get site=site-2 device=dev-")), ["dev-2"]);
    assert_eq!(completed(&format!("forebay --socket {socket} get {table} --field temp")), ["temperature"]);
    assert_eq!(completed(&format!("forebay --socket {socket} verify --table term")), [table.as_str()]);
}

#[test]
fn completion_is_silent_and_quick_without_the_daemon() {
    let dir = scratch("completion");
    assert_eq!(completed(&format!("forebay --socket {}/none get se", dir.display())), [""; 0]);
    let socket = dir.join("silent");
    let _listener = UnixListener::bind(&socket).expect("binds");
    let began = Instant::now();
    assert_eq!(completed(&format!("forebay --socket {} get se", socket.display())), [""; 0]);
    assert!(began.elapsed() < Duration::from_secs(5), "its patience is 200 ms, not the 10 s of other commands");
}

#[test]
fn the_other_shells_get_the_same_names() {
    let stage = stage();
    let socket = stage.daemon.socket().display().to_string();
    for shell in ["zsh", "fish"] {
        let mut command = Command::new(FOREBAY);
        command.args(["--", "forebay", "--socket", &socket, "get", "device=dev-"]).env("COMPLETE", shell);
        let output = command.env("_CLAP_COMPLETE_INDEX", "4").env("_CLAP_IFS", "\n").output().expect("runs");
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(out.lines().any(|line| line.starts_with("device=dev-3")), "{shell}: {out}");
        let script = told(&Command::new(FOREBAY).args(["completions", shell]).output().expect("runs"));
        assert!(script.0 == 0 && script.1.contains("forebay"), "{shell}: {script:?}");
    }
}

#[test]
fn make_install_puts_pages_and_completions_in_place() {
    let dir = scratch("install");
    let run = Command::new("make")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["--no-print-directory", "install-extras", "PREFIX=/usr"])
        .args([format!("PROGRAM={FOREBAY}"), format!("DESTDIR={}", dir.display())])
        .output()
        .expect("make runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    for (file, part) in [
        ("man/man1/forebay.1", ".SH SYNOPSIS"),
        ("man/man1/forebay-top.1", "NO_COLOR"),
        ("man/man1/forebay-ring-verify.1", ".SH OPTIONS"),
        ("bash-completion/completions/forebay", "complete -o"),
        ("zsh/vendor-completions/_forebay", "#compdef forebay"),
        ("fish/vendor_completions.d/forebay.fish", "complete"),
        ("forebay/forebay.rules.yml", "ForebayLag"),
        ("forebay/forebay.json", "\"panels\""),
    ] {
        let text =
            std::fs::read_to_string(dir.join("usr/share").join(file)).unwrap_or_else(|why| panic!("{file}: {why}"));
        assert!(text.contains(part), "{part} in {file}");
    }
}
