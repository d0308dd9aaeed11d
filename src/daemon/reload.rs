//! SIGHUP: reads the configuration again and takes over what can change while running.

use std::{path::PathBuf, sync::Arc};

use crate::{
    config,
    control::token::WriteToken,
    flush::Flusher,
    observe::{log::LogHandle, systemd::ServiceManager},
    settings::{Batch, Settings},
};

/// What reloading needs and changes.
pub struct Reload {
    file: Option<PathBuf>,
    settings: Settings,
    log: LogHandle,
    flusher: Arc<Flusher>,
    token: Option<Arc<WriteToken>>,
}

impl Reload {
    /// Reloading of `file` into what runs with `settings`.
    pub fn new(file: Option<PathBuf>, settings: Settings, log: LogHandle, flusher: Arc<Flusher>) -> Self {
        Self { file, settings, log, flusher, token: None }
    }

    /// The same, reading a token's file again as well.
    #[must_use]
    pub fn with_token(self, token: Option<Arc<WriteToken>>) -> Self {
        Self { token, ..self }
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Reads the configuration again. An invalid one is refused and the old one stays in force.
    pub fn now(&mut self) {
        ServiceManager.reloading();
        self.token();
        match config::load(self.file.as_deref()) {
            Ok(mut loaded) => {
                loaded.keep_file_sizes(&self.settings);
                for warning in &loaded.warnings {
                    tracing::warn!("{warning}");
                }
                self.take(&loaded.settings);
            }
            Err(error) => {
                for problem in &error.problems {
                    tracing::error!(error = %problem, "the configuration is invalid; the old one stays in force");
                }
            }
        }
        ServiceManager.ready("running");
    }

    fn token(&self) {
        match self.token.as_ref().map(|token| token.reload()) {
            Some(Ok(true)) => tracing::info!("the token of control.token_file has changed and is in force"),
            Some(Err(error)) => tracing::error!(%error, "the old token stays in force"),
            Some(Ok(false)) | None => {}
        }
    }

    fn take(&mut self, new: &Settings) {
        if let Err(error) = self.log.set_level(&new.log.level) {
            tracing::error!(%error, "the log level cannot be changed");
        }
        self.flusher.set_batch(&new.batch);
        self.settings.log.level.clone_from(&new.log.level);
        self.settings.batch = Batch { max_lanes: self.settings.batch.max_lanes, ..new.batch.clone() };
        self.settings.daemon = new.daemon.clone();
        let waiting = sections_that_differ(&self.settings, new);
        if waiting.is_empty() {
            tracing::info!("the configuration was read again and is in force");
        } else {
            let sections = waiting.join(", ");
            tracing::warn!(%sections, "log level, [batch] (but max_lanes) and [daemon] are in force; the rest of the changes needs a restart");
        }
    }
}

fn sections_that_differ(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let pairs = [
        ("[mqtt]", old.mqtt != new.mqtt),
        ("[source]", old.source != new.source),
        ("[ring]", old.ring != new.ring),
        ("[quarantine]", old.quarantine != new.quarantine),
        ("[latest]", old.latest != new.latest),
        ("[limits]", old.limits != new.limits),
        ("[questdb]", old.questdb != new.questdb),
        ("[batch] max_lanes", old.batch.max_lanes != new.batch.max_lanes),
        ("[control]", old.control != new.control),
        ("[log] target", old.log.target != new.log.target),
    ];
    pairs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}
