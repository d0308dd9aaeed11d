//! Who may enter now. A message that takes longer claims the moments of its rows, so that others need not wait for it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Condvar, Mutex, MutexGuard},
};

use crate::{
    latest::Latest,
    marks::Seq,
    sync::{lock, wait_untimed},
};

/// Numbers of moments ([`crate::moment::of_row`]).
pub(super) type Moments = HashSet<u64, foldhash::fast::RandomState>;
/// Moments that are watched, and whether a row newer than the one set aside is known.
pub(super) type Watched = HashMap<u64, bool, foldhash::fast::RandomState>;

/// The door takes nothing any more: the daemon stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed;

/// The gate. Its lock is taken after that of the session's routes, and before those of the ring and of the latest values.
#[derive(Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    /// Notified when a claim ends.
    released: Condvar,
}

/// What the gate knows.
#[derive(Default)]
pub(super) struct State {
    /// Moments of the message that is entering in slices, if one is.
    claimed: Option<Moments>,
    /// The last record that entered meanwhile.
    passed: Seq,
    /// Moments of rows that are about to be put back.
    pub watched: Option<Watched>,
    /// Once the daemon stops, doors that close take nothing any more.
    closed: bool,
}

impl State {
    /// Whether a message is entering in slices.
    pub fn is_claimed(&self) -> bool {
        self.claimed.is_some()
    }

    /// Whether a row that is put back would take the place of a newer one. Of a moment that is not watched it may be.
    pub fn is_superseded(&self, moment: u64) -> bool {
        self.watched.as_ref().and_then(|watched| watched.get(&moment)).is_none_or(|newer| *newer)
    }

    /// Notes that a newer row of the moment is known, if that is watched.
    pub fn note(&mut self, moment: u64) {
        if let Some(newer) = self.watched.as_mut().and_then(|watched| watched.get_mut(&moment)) {
            *newer = true;
        }
    }

    /// Takes note that the readings of the records up to `seq` are in the map; but not of those of the message that is
    /// entering in slices.
    pub fn saw(&mut self, latest: &Latest, seq: Seq) {
        if self.is_claimed() {
            self.passed = self.passed.max(seq);
        } else {
            latest.saw(seq);
        }
    }

    /// Whether a message may enter by a door that `closes` once the daemon stops, or by one that does not.
    fn check(&self, closes: bool) -> Result<(), Closed> {
        if self.closed && closes { Err(Closed) } else { Ok(()) }
    }
}

impl Gate {
    /// The state, for a short time.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Lets a message in once it `meets` none of the moments claimed. Its door may be one that `closes`.
    pub fn pass<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        closes: bool,
        meets: impl Fn(&Moments) -> bool,
    ) -> Result<MutexGuard<'a, State>, Closed> {
        while state.claimed.as_ref().is_some_and(&meets) {
            state = self.wait(state);
        }
        state.check(closes)?;
        Ok(state)
    }

    /// Waits until no message is entering in slices.
    pub fn unclaimed(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while state.is_claimed() {
            state = self.wait(state);
        }
        state
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        wait_untimed(&self.released, state)
    }

    /// Claims the moments of a message's rows. There is one claim at a time. The message's door may be one that `closes`.
    pub fn claim<'a>(&'a self, moments: Moments, closes: bool, latest: &'a Latest) -> Result<Claim<'a>, Closed> {
        let mut state = self.unclaimed();
        state.check(closes)?;
        state.claimed = Some(moments);
        state.passed = Seq(0);
        Ok(Claim { gate: self, latest, last: Seq(0) })
    }

    /// Takes nothing any more from doors that close; what is entering has entered when this returns.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        drop(state);
        drop(self.unclaimed());
    }
}

/// The claim of the message that is entering in slices; it ends when this is dropped.
pub(super) struct Claim<'a> {
    gate: &'a Gate,
    latest: &'a Latest,
    /// The message's last record, once the map holds all of them.
    last: Seq,
}

impl Claim<'_> {
    /// Ends the claim of a message that has entered: the map holds its records up to `last`.
    pub fn fulfil(mut self, last: Seq) {
        self.last = last;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        let claimed = state.claimed.take();
        self.latest.saw(state.passed.max(self.last));
        drop(state);
        // Many moments take a while to be freed.
        drop(claimed);
        self.gate.released.notify_all();
    }
}
