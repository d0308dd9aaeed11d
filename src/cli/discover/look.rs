//! The settings that somebody goes by who may have no source yet.

use crate::{
    cli::{Exit, Failure, Global},
    config,
    settings::{Mqtt, Settings},
};

/// The configuration, with or without sources; with a broker that is named, the configuration is
/// only asked for sources that there are, and only if it can be read.
pub fn settings(broker: Option<&str>, global: &Global) -> Result<Settings, Failure> {
    let loaded = config::load(global.config_file()).map(|loaded| loaded.settings);
    let Some(url) = broker else { return loaded.map_err(|error| Failure::new(Exit::Usage, error)) };
    let settings = match loaded {
        Ok(settings) => settings,
        Err(error) if global.config.is_some() => return Err(Failure::new(Exit::Usage, error)),
        Err(_) => Settings::default(),
    };
    // Credentials are those of the configured broker alone.
    let mqtt = if settings.mqtt.url == url { settings.mqtt } else { Mqtt { url: url.to_owned(), ..Mqtt::default() } };
    Ok(Settings { mqtt, ..settings })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_without_sources_will_do_and_a_broken_one_will_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("forebay.toml");
        let global = Global { config: Some(file.clone()), ..Global::default() };
        std::fs::write(&file, "[mqtt]\nurl = \"mqtt://192.0.2.7:1883\"\n").expect("writes");
        let told = settings(None, &global).expect("settings");
        assert!(told.mqtt.url == "mqtt://192.0.2.7:1883" && told.source.is_empty());
        let told = settings(Some("mqtt://192.0.2.8:1883"), &global).expect("settings");
        assert_eq!(told.mqtt.url, "mqtt://192.0.2.8:1883");
        std::fs::write(&file, "[mqtt]\nurl = 7\n").expect("writes");
        assert_eq!(settings(None, &global).expect_err("refused").exit, Exit::Usage);
        let none = Global { config: Some(dir.path().join("none.toml")), ..Global::default() };
        assert_eq!(settings(Some("mqtt://192.0.2.8:1883"), &none).expect_err("refused").exit, Exit::Usage);
    }
}
