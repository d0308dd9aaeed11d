//! A ring whose committer works when it is told to and at no other time: for tests in simulated time.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    Ring,
    committer::Committer,
    media::Media,
    open::{RecoveryReport, recover_log, share},
};
use crate::{clock::SharedClock, observe::heartbeat::Heartbeat, settings::Ring as Settings};

/// The ring, and what commits it.
pub struct Still {
    /// The ring.
    pub ring: Ring,
    committer: Committer,
}

impl Still {
    /// Recovers the ring in a medium that has a valid header.
    pub fn open(
        media: Box<dyn Media>,
        settings: &Settings,
        resend_window: Duration,
        clock: SharedClock,
        heartbeat: Heartbeat,
    ) -> io::Result<Self> {
        let mut report = RecoveryReport::default();
        let recovered = recover_log(media, &clock, &mut report, &mut |_| {}, &mut |_| {})?;
        let shared = share(recovered, settings, resend_window, clock);
        let committer = Committer::new(Arc::clone(&shared), heartbeat);
        Ok(Self { ring: Ring { shared, committer: Arc::new(Mutex::new(None)) }, committer })
    }

    /// Commits what was appended, and makes room where it is short.
    pub fn commit(&mut self) -> Result<(), String> {
        self.committer.turn()
    }
}
