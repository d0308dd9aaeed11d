//! Signals, carried from signal-hook's iterator into the async world.

use std::io;

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals as Iterator,
};
use tokio::sync::mpsc;

/// Signals that may wait to be looked at; more of them say nothing new.
const WAITING: usize = 8;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT; its name.
    Stop(&'static str),
    /// SIGHUP.
    Reload,
}

/// The signals as they come.
pub struct Signals(mpsc::Receiver<Signal>);

impl Signals {
    /// The next one. Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        match self.0.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

/// Begins to listen; from here on the signals no longer end the process by themselves.
pub fn listen() -> io::Result<Signals> {
    let mut signals = Iterator::new([SIGTERM, SIGINT, SIGHUP])?;
    let (send, receive) = mpsc::channel(WAITING);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let meaning = match signal {
                SIGHUP => Signal::Reload,
                SIGINT => Signal::Stop("SIGINT"),
                _ => Signal::Stop("SIGTERM"),
            };
            let _ = send.try_send(meaning);
        }
    })?;
    Ok(Signals(receive))
}
