//! What wakes the committer.

use std::{
    sync::{Condvar, Mutex, MutexGuard},
    time::Duration,
};

use crate::sync::{lock, wait_while};

/// Wakes the committer.
#[derive(Default)]
pub(super) struct Bell {
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Default)]
struct State {
    has_work: bool,
    may_hurry: bool,
    stop: bool,
    listens: ListensTo,
}

/// What the committer is woken by besides a stop; anything else is not lost meanwhile, and wakes
/// nobody.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum ListensTo {
    #[default]
    Nothing,
    Work,
    Hurry,
}

impl Bell {
    /// There is something to do, now or at the committer's next wait.
    pub fn ring(&self) {
        let mut state = lock(&self.state);
        if !state.has_work {
            state.has_work = true;
            self.wake(&state, ListensTo::Work);
        }
    }

    /// There is something to do, and what the committer waits for before a commit may not be worth
    /// it any more.
    pub fn hurry(&self) {
        let mut state = lock(&self.state);
        if !(state.may_hurry && state.has_work) {
            (state.may_hurry, state.has_work) = (true, true);
            self.wake(&state, state.listens);
        }
    }

    /// Asks the committer to finish.
    pub fn stop(&self) {
        lock(&self.state).stop = true;
        self.rung.notify_one();
    }

    pub fn is_stopping(&self) -> bool {
        lock(&self.state).stop
    }

    /// Waits for something to do; whether to finish.
    pub fn wait(&self, timeout: Duration) -> bool {
        let mut state = self.listen(ListensTo::Work, timeout, |state| state.has_work);
        state.has_work = false;
        state.stop
    }

    /// Lets time pass.
    pub fn pause(&self, timeout: Duration) {
        drop(self.listen(ListensTo::Nothing, timeout, |_| false));
    }

    /// Lets time pass until somebody says to hurry.
    pub fn pause_until_hurried(&self, timeout: Duration) {
        self.listen(ListensTo::Hurry, timeout, |state| state.may_hurry).may_hurry = false;
    }

    fn wake(&self, state: &State, of: ListensTo) {
        if of != ListensTo::Nothing && state.listens == of {
            self.rung.notify_one();
        }
    }

    fn listen(&self, to: ListensTo, timeout: Duration, until: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = lock(&self.state);
        state.listens = to;
        let mut state = wait_while(&self.rung, state, timeout, |state| !(state.stop || until(state)));
        state.listens = ListensTo::Nothing;
        state
    }
}
