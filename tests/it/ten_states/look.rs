//! What a person sees of a daemon: `status`, `check`, `top`, the page and the journal, kept below
//! target/screenshots for whoever wants to look.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::support::{
    Daemon,
    browser::Browser,
    daemon::{FOREBAY, told},
    eventually, eventually_some,
    scratch::scratch,
};

const LIMIT: Duration = Duration::from_secs(30);
/// Lines and columns of the terminal that `top` is looked at in.
const LINES: usize = 40;
const COLUMNS: usize = 120;

/// What is seen in one state.
pub struct Seen {
    /// `forebay status`.
    pub status: String,
    /// `forebay status --all`.
    pub all: String,
    /// `forebay check`, both outputs.
    pub check: String,
    /// The screen of `forebay top`.
    pub top: String,
    /// The text of the page.
    pub page: String,
    /// What the daemon has logged.
    pub journal: String,
}

/// Looks at a daemon through every door, and keeps what it sees under the state's name.
pub fn look(state: &str, daemon: &Daemon, site: &str) -> Seen {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    fs::create_dir_all(&folder).expect("a folder");
    let text = |arguments: &[&str]| {
        let (code, out, err) = told(&daemon.cli(arguments));
        format!("{out}{err}(exit code {code})\n")
    };
    let seen = Seen {
        page: page(site, &folder.join(format!("state-{state}.png"))),
        status: text(&["status"]),
        all: text(&["status", "--all"]),
        check: text(&["check"]),
        top: top(daemon),
        journal: daemon.log(),
    };
    let mut kept = String::new();
    for (door, text) in [
        ("status", &seen.status),
        ("status --all", &seen.all),
        ("check", &seen.check),
        ("top", &seen.top),
        ("page", &seen.page),
        ("journal", &seen.journal),
    ] {
        let _ = writeln!(kept, "=== {door}\n{text}");
    }
    fs::write(folder.join(format!("state-{state}.txt")), kept).expect("written");
    seen
}

/// The page's text, and a picture of it.
fn page(site: &str, picture: &Path) -> String {
    let mut browser = Browser::start();
    browser.view(1280, 1100, "light");
    browser.open(&format!("{site}/"));
    browser.eventually(LIMIT, "document.getElementById('link')?.textContent === 'live'");
    browser.screenshot(picture);
    browser.eval("document.body.innerText").as_str().unwrap_or_default().to_owned()
}

/// The screen of `forebay top` once it has drawn the daemon's state.
fn top(daemon: &Daemon) -> String {
    let dir = scratch("top");
    let screen = dir.join("screen");
    let run = format!("stty rows {LINES} cols {COLUMNS}; exec {FOREBAY} --socket {} top", daemon.socket().display());
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig=KILL", "--", "script", "-qefc", &run]).arg(&screen);
    command.env("TERM", "xterm").env("SHELL", "/bin/sh").env("NO_COLOR", "1");
    let mut script = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("script runs");
    let shown = eventually_some(LIMIT, "top draws the state", || {
        let drawn = drawn(&String::from_utf8_lossy(&fs::read(&screen).ok()?));
        drawn.contains("up ").then_some(drawn)
    });
    let _ = script.kill();
    eventually(LIMIT, "top has ended", || script.try_wait().expect("wait").is_some());
    shown
}

/// What a terminal shows after these bytes: places of the cursor (CUP) are followed, colours and
/// modes left out (ECMA-48, section 8.3).
fn drawn(bytes: &str) -> String {
    let mut cells = vec![vec![' '; COLUMNS]; LINES];
    let (mut line, mut column) = (0, 0);
    let mut rest = bytes.split_once("\u{1b}[").map_or("", |(_, rest)| rest).chars().peekable();
    let mut in_sequence = true;
    let mut parameters = String::new();
    while let Some(c) = rest.next() {
        if in_sequence {
            if !('@'..='~').contains(&c) {
                parameters.push(c);
                continue;
            }
            if c == 'H' {
                let mut place = parameters.split(';').map(|number| number.parse::<usize>().unwrap_or(1));
                let mut next = || place.next().unwrap_or(1).saturating_sub(1);
                (line, column) = (next(), next());
            }
            in_sequence = false;
            parameters.clear();
        } else if c == '\u{1b}' {
            in_sequence = rest.next_if_eq(&'[').is_some();
        } else if !c.is_control() {
            if let Some(cell) = cells.get_mut(line).and_then(|line| line.get_mut(column)) {
                *cell = c;
            }
            column += 1;
        }
    }
    cells.iter().map(|line| String::from_iter(line).trim_end().to_owned() + "\n").collect()
}
