//! The live screen: keys, signals, answers, and a terminal that is put back in order however it ends.

use std::{io, panic, thread, time::Instant};

use ratatui::{
    DefaultTerminal,
    crossterm::{cursor, event, execute},
};
use serde_json::Value;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use super::{
    draw,
    poll::{PERIOD, Poller, Watcher},
    view::{Step, View},
};
use crate::cli::{Exit, Failure};

/// Keys and answers that wait to be looked at.
const QUEUE: usize = 64;

/// Shows the daemon until a key or a signal ends it.
pub async fn run(poller: Poller, colour: bool) -> Result<(), Failure> {
    let failed = |why: io::Error| Failure::new(Exit::Failed, format!("the terminal can't be used: {why}"));
    let mut ends = Ends::new().map_err(failed)?;
    let watcher = Watcher::start(poller.socket());
    let mut answers = ask(poller);
    let mut screen = Screen::open().map_err(failed)?;
    let mut keys = keys();
    let mut view = View::default();
    let began = Instant::now();
    let mut step = Step::Show;
    while step != Step::Quit {
        if step == Step::Show {
            screen.show(&view, colour).map_err(failed)?;
        }
        step = tokio::select! {
            Some(answer) = answers.recv() => {
                view.told(began.elapsed(), answer);
                let (lively, note) = watcher.liveliest();
                view.counted(lively, note);
                Step::Show
            }
            Some(event) = keys.recv() => match event {
                event::Event::Key(key) => view.key(key),
                event::Event::Resize(..) => Step::Show,
                _ => Step::Nothing,
            },
            () = ends.wait() => Step::Quit,
        };
    }
    Ok(())
}

/// The terminal in its other mode; dropping it puts it back.
struct Screen(DefaultTerminal);

impl Screen {
    /// A panic on the way puts the terminal in order too: ratatui's hook does, but for the cursor. In a release a panic is an abort, after
    /// which nothing is dropped.
    fn open() -> io::Result<Self> {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |why| {
            let _ = execute!(io::stdout(), cursor::Show);
            hook(why);
        }));
        ratatui::try_init().map(Self)
    }

    fn show(&mut self, view: &View, colour: bool) -> io::Result<()> {
        self.0.draw(|frame| {
            let area = frame.area();
            draw::draw(view, area, frame.buffer_mut());
            if !colour {
                draw::without_colour(frame.buffer_mut());
            }
        })?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Asks for the status once a period, so that keys never wait for an answer.
fn ask(mut poller: Poller) -> mpsc::Receiver<Result<Value, String>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let mut turns = interval(PERIOD);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            let answer = poller.status().await.map_err(|why| why.to_string());
            if sender.send(answer).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// Events of the terminal, read by a thread that waits for them; it ends with the process.
fn keys() -> mpsc::Receiver<event::Event> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The signals that end it.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Ends {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => (),
            _ = self.interrupt.recv() => (),
            _ = self.hang_up.recv() => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        process::{Command, Stdio},
    };

    use super::*;

    /// Set in the process that panics, which the test starts in a terminal of its own.
    const PANICS: &str = "FOREBAY_TEST_PANICS";
    const NAME: &str = "cli::top::live::tests::a_panic_leaves_the_terminal_in_order";

    fn panics() {
        let mut screen = Screen::open().expect("a terminal");
        screen.show(&View::default(), true).expect("shown");
        panic!("on purpose");
    }

    /// What the release's profile makes of a panic is an abort: only what the hook does is done then.
    fn aborts() {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |why| {
            hook(why);
            std::process::abort();
        }));
        panics();
    }

    #[test]
    fn a_panic_leaves_the_terminal_in_order() {
        match std::env::var(PANICS).as_deref() {
            Ok("unwinds") => panics(),
            Ok(_) => aborts(),
            Err(_) => {}
        }
        let program = std::env::current_exe().expect("the test's program");
        let directory = tempfile::tempdir().expect("a directory");
        for way in ["unwinds", "aborts"] {
            let (screen, modes) = (directory.path().join(way), directory.path().join(format!("{way}.modes")));
            // The terminal's modes are looked at once the program has ended.
            let run = format!(
                "stty rows 30 cols 100; {PANICS}={way} {} --exact {NAME} --nocapture; stty -a >{}",
                program.display(),
                modes.display()
            );
            let mut script = Command::new("script");
            script.args(["-qefc", &run]).arg(&screen).env("TERM", "xterm").env("SHELL", "/bin/sh");
            script.stdin(Stdio::null()).stdout(Stdio::null()).status().expect("script runs");
            let said = String::from_utf8_lossy(&fs::read(&screen).expect("a typescript")).into_owned();
            // Leaves the other screen, and shows the cursor again (xterm control sequences, DECRST 1049 and DECSET 25).
            let (entered, left) = (said.find("\x1b[?1049h"), said.find("\x1b[?1049l"));
            let told = said.rfind("on purpose");
            assert!(entered.is_some() && entered < left && left < told, "{way}: told on the usual screen: {said:?}");
            let (hidden, shown) = (said.rfind("\x1b[?25l"), said.rfind("\x1b[?25h"));
            assert!(hidden < shown, "{way}: the cursor is shown again: {said:?}");
            let modes = fs::read_to_string(&modes).expect("modes");
            assert!(modes.contains(" echo ") && modes.contains(" icanon "), "{way}: {modes}");
        }
    }
}
