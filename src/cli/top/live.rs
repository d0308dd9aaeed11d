//! The live screen: keys, signals, answers, and a terminal that is put back in order however it ends.

use std::{io, thread, time::Instant};

use ratatui::{DefaultTerminal, crossterm::event};
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
    // A panic on the way puts the terminal in order too: ratatui's hook does.
    let mut screen = Screen(ratatui::try_init().map_err(failed)?);
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
