//! The forecast's history, kept by the main thread while it waits for the end.

use std::{sync::Mutex, time::Duration};

use super::space::{forecaster, levels};
use crate::{
    clock::SharedClock,
    observe::{
        forecast::{Forecast, Forecaster},
        lag::Lag,
    },
    ring::Ring,
    sync::lock,
};

/// How often the levels are noted, so that the first answer is as good as any later one.
pub const PERIOD: Duration = Duration::from_secs(2);

/// Where the ring stands and where it is going.
pub struct Outlook {
    ring: Ring,
    clock: SharedClock,
    forecaster: Mutex<Forecaster>,
    lag: Mutex<Lag>,
}

impl Outlook {
    /// An outlook whose history begins now.
    pub fn new(ring: &Ring, resend_window: Duration, clock: &SharedClock) -> Self {
        let outlook = Self {
            forecaster: Mutex::new(forecaster(ring, resend_window)),
            lag: Mutex::default(),
            ring: ring.clone(),
            clock: SharedClock::clone(clock),
        };
        outlook.note();
        outlook
    }

    /// Takes note of where the ring stands. May wait for a store into it, so a thread that others rely on must not call it.
    pub fn note(&self) {
        let levels = levels(&self.ring);
        let now = self.clock.since_boot();
        lock(&self.forecaster).note(now, levels);
        lock(&self.lag).note(now, levels);
    }

    /// The forecast as of now; `is_away` says that the database is known to take nothing.
    pub fn forecast(&self, is_away: bool) -> Forecast {
        let levels = levels(&self.ring);
        let forecast = lock(&self.forecaster).look(self.clock.since_boot(), levels);
        if is_away { forecast.while_nothing_is_stored() } else { forecast }
    }

    /// Age of the oldest row that waits for the database.
    pub fn lag(&self) -> Duration {
        let levels = levels(&self.ring);
        lock(&self.lag).look(self.clock.since_boot(), levels)
    }
}
