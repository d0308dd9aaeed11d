//! Sources: ready-made ones that are named, and those that follow from listening at the broker.

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use super::{InitArgs, ask::Answers};
use crate::{
    cli::{
        Exit, Failure,
        device::family,
        discover as listening,
        fragment::Fragment,
        out::{plural, say, tame},
    },
    clock::{Clock, SystemClock},
    config::Loaded,
    devices::{self, Family},
    discover::{self, Findings, Left, Limits, Listening, Notes, Proposal, some},
    settings::{Mqtt, Settings},
};

/// Topics, and reasons, that are named at most.
const MAX_NAMED: usize = 3;
/// Longest topic that is shown whole, in characters.
const MAX_TOPIC_CHARS: usize = 60;
const MAX_REASONS: usize = 10;
/// Numbers that a file's name is tried with where the name is taken.
const MAX_NUMBER: usize = 100;

/// The files of the ready-made sources that are named, but for those that are there already.
pub fn named(names: &[String], loaded: &Loaded, fragments: &Path) -> Result<Vec<Fragment>, Failure> {
    let mut files: Vec<Fragment> = Vec::new();
    for name in names {
        let family = family(name)?;
        let path = fragments.join(format!("{name}.toml"));
        if files.iter().any(|file| file.path == path) {
            continue;
        }
        if let Some(place) = place_of(family, loaded, &path)? {
            say(&format!("--device {name}: the source is there already ({place})"));
        } else {
            files.push(Fragment { path, text: family.text.to_owned() });
        }
    }
    Ok(files)
}

/// Where a family's sources are, in its own file or in another.
fn place_of(family: &Family, loaded: &Loaded, path: &Path) -> Result<Option<String>, Failure> {
    if path.exists() {
        return Ok(Some(path.display().to_string()));
    }
    let sources = family.sources().map_err(|error| Failure::new(Exit::Failed, error))?;
    Ok(sources.keys().find_map(|name| loaded.origins.get(&format!("source.{name}")).cloned()))
}

/// Listens at the broker and asks which of what is found to take. `taken` are the files so far,
/// whose sources have their topics already.
pub fn heard(
    args: &InitArgs,
    mqtt: &Mqtt,
    settings: &Settings,
    fragments: &Path,
    answers: &mut Answers,
) -> Result<Vec<Fragment>, Failure> {
    let filters = if args.filter.is_empty() { vec!["#".to_owned()] } else { args.filter.clone() };
    let listening = Listening { mqtt, filters, span: args.span };
    let mut notes = Notes::new(Limits::default());
    listening::hear_all(&listening, &mut notes)?;
    let (now, zone) = (SystemClock.now().wall, TimeZone::system());
    let findings = discover::findings_beside(&notes, now, devices::all(), &zone, &settings.source);
    tell(&notes, &findings);
    let mut files = Vec::new();
    for proposal in &findings.proposals {
        say(&described(proposal));
        if answers.agrees("take it")? {
            let path = free_name(fragments, &proposal.name);
            files.push(Fragment { path, text: proposal.text.trim_end().to_owned() + "\n" });
        }
    }
    Ok(files)
}

/// A file's name that is not taken yet.
pub fn free_name(fragments: &Path, name: &str) -> PathBuf {
    let numbered = (2..MAX_NUMBER).map(|number| format!("{name}-{number}.toml"));
    let mut names = std::iter::once(format!("{name}.toml")).chain(numbered);
    let free = names.find(|name| !fragments.join(name).exists());
    fragments.join(free.unwrap_or_else(|| format!("{name}.toml")))
}

fn tell(notes: &Notes, findings: &Findings) {
    let (messages, topics) = (plural(notes.messages, "message"), plural(notes.topics.len() as u64, "topic"));
    say(&format!("heard {messages} on {topics}"));
    for Left { topics, why, .. } in findings.rest.iter().take(MAX_REASONS) {
        say(&format!("not taken: {}: {}", some(topics, MAX_NAMED, MAX_TOPIC_CHARS), tame(why)));
    }
    if findings.rest.len() > MAX_REASONS {
        say(&format!("not taken: {} more; forebay discover lists them", findings.rest.len() - MAX_REASONS));
    }
    if findings.proposals.is_empty() {
        say(
            "nothing to take in was heard: publish something and run this again, name a ready-made source with --device, or write one (docs/sources.md)",
        );
    }
}

fn described(proposal: &Proposal) -> String {
    let Proposal { name, patterns, family, topics, messages, format, sample, fates, time, .. } = proposal;
    let kind = if family.is_some() { " (ready-made)" } else { "" };
    let (messages, rows) = (plural(*messages, "message"), plural(fates.rows as u64, "row"));
    let of_family = family.map(|_| "as the ready-made source says");
    let time = time.as_deref().or(of_family).unwrap_or("that of receipt");
    format!(
        "\n{name}{kind}: {}\n  {} on {}, {format}; of those kept {rows}\n  time: {}\n  sample: {}",
        tame(&patterns.join(", ")),
        messages,
        some(topics, MAX_NAMED, MAX_TOPIC_CHARS),
        tame(time),
        tame(sample)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(free_name(directory.path(), "a"), directory.path().join("a.toml"));
        std::fs::write(directory.path().join("a.toml"), "").expect("written");
        assert_eq!(free_name(directory.path(), "a"), directory.path().join("a-2.toml"));
    }

    fn loaded(directory: &Path, text: &str) -> Loaded {
        let file = directory.join("forebay.toml");
        std::fs::write(&file, text).expect("written");
        config::load_with(Some(&file), std::iter::empty()).expect("valid")
    }

    #[test]
    fn ready_made_sources_are_named_by_their_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let loaded = loaded(directory.path(), "");
        let files = named(&["tasmota".into(), "tasmota".into()], &loaded, Path::new("/c")).expect("known");
        assert!(files.len() == 1 && files[0].path == Path::new("/c/tasmota.toml"), "{files:?}");
        assert!(files[0].text.contains("[source.tasmota]"));
        let failure = named(&["tasmato".into()], &loaded, Path::new("/c")).expect_err("unknown");
        let told = failure.error.expect("an error").to_string();
        assert!(failure.exit == Exit::NotFound && told.contains("did you mean tasmota?"), "{told}");
    }

    #[test]
    fn a_source_that_is_there_is_not_added_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let names = ["tasmota".into(), "zigbee2mqtt".into(), "shelly".into()];
        let elsewhere = loaded(directory.path(), "[source.tasmota]\ntopic = \"t/#\"\ntable = \"t\"\n");
        std::fs::write(directory.path().join("zigbee2mqtt.toml"), "").expect("written");
        let files = named(&names, &elsewhere, directory.path()).expect("known");
        assert!(files.len() == 1 && files[0].path.ends_with("shelly.toml"), "{files:?}");
    }
}
