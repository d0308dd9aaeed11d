//! SIGHUP: reads the configuration again and takes over what can change while running.

use std::{path::PathBuf, sync::Arc};

use super::{
    reloaded::{Reloaded, named},
    sources::{Followers, Prepared},
};
use crate::{
    config::{
        self,
        changes::{self, Change, When},
    },
    control::token::WriteToken,
    observe::{log::LogHandle, systemd::ServiceManager},
    settings::{Batch, Settings},
};

/// What reloading needs and changes.
pub struct Reload {
    file: Option<PathBuf>,
    settings: Settings,
    log: LogHandle,
    followers: Followers,
    token: Option<Arc<WriteToken>>,
    reloaded: Arc<Reloaded>,
}

impl Reload {
    /// Reloading of `file` into what runs with `settings`.
    pub fn new(
        file: Option<PathBuf>,
        settings: Settings,
        log: LogHandle,
        followers: Followers,
        reloaded: Arc<Reloaded>,
    ) -> Self {
        Self { file, settings, log, followers, token: None, reloaded }
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

    /// Reads the configuration again. An invalid one is refused as a whole, and the old one stays in force.
    pub fn now(&mut self) {
        ServiceManager.reloading();
        self.token();
        let refused = self.read().err();
        for problem in refused.iter().flatten() {
            tracing::error!(error = %problem, "the configuration is invalid; the old one stays in force");
        }
        if let Some(problems) = &refused {
            self.reloaded.refused(problems);
        }
        ServiceManager.ready(if refused.is_some() { "running; the last reload was refused" } else { "running" });
    }

    fn read(&mut self) -> Result<(), Vec<String>> {
        let loaded = config::load(self.file.as_deref());
        let mut loaded = loaded.map_err(|error| error.problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        loaded.keep_file_sizes(&self.settings);
        let prepared = Prepared::of(&loaded.settings).map_err(|error| vec![error.to_string()])?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        self.take(&loaded.settings, prepared);
        Ok(())
    }

    fn token(&self) {
        match self.token.as_ref().map(|token| token.reload()) {
            Some(Ok(true)) => tracing::info!("the token of control.token_file has changed and is in force"),
            Some(Err(error)) => tracing::error!(%error, "the old token stays in force"),
            Some(Ok(false)) | None => {}
        }
    }

    fn take(&mut self, new: &Settings, prepared: Prepared) {
        let changes = changes::between_settings(&self.settings, new);
        if let Err(error) = self.log.set_level(&new.log.level) {
            tracing::error!(%error, "the log level cannot be changed");
        }
        self.followers.flusher.set_batch(&new.batch);
        if self.settings.source != new.source || self.settings.limits != new.limits {
            self.followers.follow(&self.settings, new, prepared);
        }
        self.settings.log.level.clone_from(&new.log.level);
        self.settings.batch = Batch { max_lanes: self.settings.batch.max_lanes, ..new.batch.clone() };
        self.settings.daemon = new.daemon.clone();
        self.settings.source.clone_from(&new.source);
        self.settings.tags.clone_from(&new.tags);
        self.settings.limits = new.limits.clone();
        let waiting = changes.iter().filter(|change| change.when == When::Restart).map(|change| change.key.clone());
        self.reloaded.taken(self.settings.clone(), waiting.collect());
        tell(&changes);
    }
}

/// Tells the journal what is in force now, and what waits for a restart.
fn tell(changes: &[Change]) {
    let keys = |when| {
        let of = changes.iter().filter(|change| change.when == when);
        of.map(ToString::to_string).collect::<Vec<_>>()
    };
    let (now, later) = (keys(When::Reload), keys(When::Restart));
    if !now.is_empty() {
        tracing::info!("the configuration was read again and is in force: {}", named(&now));
    } else if later.is_empty() {
        tracing::info!("the configuration was read again and is in force; nothing has changed");
    }
    if !later.is_empty() {
        tracing::warn!("these changes of the configuration wait for a restart: {}", named(&later));
    }
}
