//! Signals, carried from signal-hook's iterator into the async world.

use std::io;

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals as Iterator,
};
use tokio::sync::watch;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT; its name.
    Stop(&'static str),
    /// SIGHUP, once or several times.
    Reload,
}

/// What was asked for so far; a stop is never taken back.
#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    stop: Option<&'static str>,
    reloads: u64,
}

/// The signals as they come.
pub struct Signals {
    asked: watch::Receiver<Asked>,
    reloads_seen: u64,
}

impl Signals {
    /// Whether the daemon is told to stop.
    pub fn is_stopping(&self) -> bool {
        self.asked.borrow().stop.is_some()
    }

    /// The next one; a stop comes before a reload. Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        let seen = self.reloads_seen;
        match self.asked.wait_for(|asked| asked.stop.is_some() || asked.reloads > seen).await.map(|asked| *asked) {
            Ok(Asked { stop: Some(name), .. }) => Signal::Stop(name),
            Ok(Asked { reloads, .. }) => {
                self.reloads_seen = reloads;
                Signal::Reload
            }
            Err(_) => std::future::pending().await,
        }
    }
}

/// Begins to listen; from here on the signals no longer end the process by themselves.
pub fn listen() -> io::Result<Signals> {
    let mut signals = Iterator::new([SIGTERM, SIGINT, SIGHUP])?;
    let (send, asked) = watch::channel(Asked::default());
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            send.send_modify(|asked| match signal {
                SIGHUP => asked.reloads += 1,
                SIGINT => asked.stop = Some("SIGINT"),
                _ => asked.stop = Some("SIGTERM"),
            });
        }
    })?;
    Ok(Signals { asked, reloads_seen: 0 })
}
