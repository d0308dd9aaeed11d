//! `forebay check --changes`: what a configuration changes of the one that the daemon runs by.

use std::fmt::Write as _;

use serde_json::json;

use super::{Failure, Global, block_on, out};
use crate::{
    config::{
        self, Loaded,
        changes::{self, Change, When},
    },
    control::{api::ConfigStatus, client::Client},
};

/// Prints the keys that differ, by when they are in force.
pub fn show(loaded: &Loaded, global: &Global) -> Result<(), Failure> {
    let socket = global.socket.clone().unwrap_or_else(|| loaded.settings.control.socket.clone());
    let running: ConfigStatus = block_on(async {
        let mut client = Client::connect(&socket).await?;
        Ok(client.get_json("/v1/config").await?)
    })?;
    let changes = against(loaded, &running);
    let text = if global.json { json!({ "changes": changes }).to_string() + "\n" } else { render(&changes) };
    out::emit(&text)
}

/// The keys that the daemon has otherwise. A running daemon's files keep their sizes where none is
/// set.
fn against(loaded: &Loaded, running: &ConfigStatus) -> Vec<Change> {
    let shown = serde_json::to_value(config::as_shown(&loaded.settings)).unwrap_or_default();
    let mut changes = changes::between(&running.settings, &shown);
    changes.retain(|change| {
        !["ring.size", "quarantine.size"].contains(&change.key.as_str()) || loaded.origins.contains_key(&change.key)
    });
    changes
}

fn render(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "the daemon runs by this configuration; nothing has changed\n".to_owned();
    }
    let mut text = String::new();
    let parts = [
        (When::Reload, "with a reload (systemctl reload forebay):"),
        (When::Restart, "with a restart (systemctl restart forebay):"),
        (When::Resize, "by forebay ring resize SIZE alone (a ring that is there keeps its size):"),
    ];
    for (when, title) in parts {
        let of: Vec<&Change> = changes.iter().filter(|change| change.when == when).collect();
        if of.is_empty() {
            continue;
        }
        text.push_str(title);
        text.push('\n');
        for change in of {
            // Writing into memory does not fail.
            let _ = writeln!(text, "  {change}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(text: &str) -> Loaded {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("forebay.toml");
        std::fs::write(&file, text).expect("written");
        config::load_with(Some(&file), std::iter::empty()).expect("a configuration")
    }

    #[test]
    fn what_a_reload_does_is_told_from_what_needs_a_restart() {
        let source = "[source.a]\ntopic = \"a/{x}\"\ntable = \"a\"\n";
        let before = loaded(source);
        let mut running = ConfigStatus {
            settings: serde_json::to_value(config::as_shown(&before.settings)).expect("JSON"),
            ..ConfigStatus::default()
        };
        running.settings["ring"]["size"] = "1GiB".into();
        assert_eq!(render(&against(&before, &running)), "the daemon runs by this configuration; nothing has changed\n");
        let after = loaded(&format!("{source}qos = 0\n[mqtt]\nclient_id = \"other\"\n[ring]\nsize = \"2GiB\"\n"));
        assert_eq!(
            render(&against(&after, &running)),
            "with a reload (systemctl reload forebay):\n  source.a.qos: 1 becomes 0\nwith a restart (systemctl restart forebay):\n  \
             mqtt.client_id: \"forebay\" becomes \"other\"\nby forebay ring resize SIZE alone (a ring that is there keeps its size):\n  \
             ring.size: \"1GiB\" becomes \"2GiB\"\n"
        );
    }
}
