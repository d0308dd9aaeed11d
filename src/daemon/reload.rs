//! SIGHUP: reads the configuration again and takes over what can change while running.

use std::{path::PathBuf, sync::Arc};

use super::{
    reloaded::{Reloaded, named},
    sources::{Followers, SoundSources},
};
use crate::{
    config::{
        self,
        changes::{self, Change, When},
    },
    control::token::WriteToken,
    observe::{log::LogHandle, systemd::ServiceManager},
    settings::Settings,
};

/// What reloading needs and changes.
pub struct Reload {
    file: Option<PathBuf>,
    log: LogHandle,
    followers: Followers,
    token: Option<Arc<WriteToken>>,
    reloaded: Arc<Reloaded>,
}

impl Reload {
    /// Reloading of `file` into what runs.
    pub fn new(file: Option<PathBuf>, log: LogHandle, followers: Followers, reloaded: Arc<Reloaded>) -> Self {
        Self { file, log, followers, token: None, reloaded }
    }

    /// The same, reading a token's file again as well.
    #[must_use]
    pub fn with_token(self, token: Option<Arc<WriteToken>>) -> Self {
        Self { token, ..self }
    }

    /// The settings in force.
    pub fn settings(&self) -> Settings {
        self.reloaded.settings()
    }

    /// Reads the configuration again. An invalid one is refused as a whole, and the old one stays
    /// in force.
    pub fn now(&self) {
        ServiceManager.reloading();
        self.token();
        let refused = self.read().err();
        for problem in refused.iter().flatten() {
            tracing::error!(error = %problem, "the configuration is invalid; the old one stays in force");
        }
        if let Some(problems) = &refused {
            self.reloaded.refused(problems);
        }
        ServiceManager.reloaded();
    }

    fn read(&self) -> Result<(), Vec<String>> {
        let loaded = config::load(self.file.as_deref());
        let mut loaded = loaded.map_err(|error| error.problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        loaded.keep_file_sizes(&self.settings());
        let sound = SoundSources::of(&loaded.settings).map_err(|error| vec![error.to_string()])?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        self.take(&loaded.settings, sound);
        Ok(())
    }

    fn token(&self) {
        match self.token.as_ref().map(|token| token.reload()) {
            Some(Ok(true)) => tracing::info!("the token of control.token_file has changed and is in force"),
            Some(Err(error)) => tracing::error!(%error, "the old token stays in force"),
            Some(Ok(false)) | None => {}
        }
    }

    fn take(&self, new: &Settings, sound: SoundSources) {
        let old = self.settings();
        let changes = changes::between_settings(&old, new);
        let settings = changes::reloaded(&old, new);
        if let Err(error) = self.log.set_level(&settings.log.level) {
            tracing::error!(%error, "the log level cannot be changed");
        }
        self.followers.flusher.set_batch(&settings.batch);
        if old.source != new.source || old.limits != new.limits {
            self.followers.follow(&old, &settings, sound);
        }
        let waiting = changes.iter().filter(|change| change.when == When::Restart).map(|change| change.key.clone());
        self.reloaded.taken(settings, waiting.collect());
        tell(&changes);
    }
}

/// Tells the journal what is in force now, and what waits for a restart.
fn tell(changes: &[Change]) {
    let keys = |when| {
        let of = changes.iter().filter(|change| change.when == when);
        of.map(ToString::to_string).collect::<Vec<_>>()
    };
    let [now, later, resized] = [When::Reload, When::Restart, When::Resize].map(keys);
    if !now.is_empty() {
        tracing::info!("the configuration was read again and is in force: {}", named(&now));
    } else if later.is_empty() && resized.is_empty() {
        tracing::info!("the configuration was read again and is in force; nothing has changed");
    }
    if !later.is_empty() {
        tracing::warn!("these changes of the configuration wait for a restart: {}", named(&later));
    }
    if !resized.is_empty() {
        tracing::warn!("the ring keeps its size, which forebay ring resize changes: {}", named(&resized));
    }
}
