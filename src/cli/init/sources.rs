//! Sources: ready-made ones that are named, and those that follow from listening at the broker.

use std::path::Path;

use jiff::tz::TimeZone;

use super::{InitArgs, ask::Answers};
use crate::{
    cli::{
        Exit, Failure, discover as listening,
        fragment::Fragment,
        out::{plural, say, tame},
    },
    clock::{Clock, SystemClock},
    devices,
    discover::{self, Findings, Left, Limits, Listening, Notes, Proposal},
    settings::{Mqtt, Settings},
};

/// Topics, and reasons, that are named at most.
const MAX_NAMED: usize = 3;
const MAX_REASONS: usize = 10;
/// Numbers that a file's name is tried with where the name is taken.
const MAX_NUMBER: usize = 100;

/// The files of the ready-made sources that are named.
pub fn named(names: &[String], fragments: &Path) -> Result<Vec<Fragment>, Failure> {
    let fragment = |name: &String| {
        let family = devices::find(name).ok_or_else(|| {
            let what = format!("there is no ready-made file {name:?}; forebay device ls lists them");
            Failure::new(Exit::NotFound, what)
        })?;
        Ok(Fragment { path: fragments.join(format!("{name}.toml")), text: family.text.to_owned() })
    };
    names.iter().map(fragment).collect()
}

/// Listens at the broker and asks which of what is found to take. `taken` are the files so far, whose
/// sources have their topics already.
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
fn free_name(fragments: &Path, name: &str) -> std::path::PathBuf {
    let numbered = (2..MAX_NUMBER).map(|number| format!("{name}-{number}.toml"));
    let mut names = std::iter::once(format!("{name}.toml")).chain(numbered);
    let free = names.find(|name| !fragments.join(name).exists());
    fragments.join(free.unwrap_or_else(|| format!("{name}.toml")))
}

fn tell(notes: &Notes, findings: &Findings) {
    let (messages, topics) = (plural(notes.messages, "message"), plural(notes.topics.len() as u64, "topic"));
    say(&format!("heard {messages} on {topics}"));
    for Left { topics, why, .. } in findings.rest.iter().take(MAX_REASONS) {
        say(&format!("not taken: {}: {}", some(topics), tame(why)));
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
    let Proposal { name, patterns, family, topics, messages, format, sample, fates, .. } = proposal;
    let kind = if family.is_some() { " (ready-made)" } else { "" };
    let (messages, rows) = (plural(*messages, "message"), plural(fates.rows as u64, "row"));
    format!(
        "\n{name}{kind}: {}\n  {} on {}, {format}; of those kept {rows}\n  sample: {}",
        tame(&patterns.join(", ")),
        messages,
        some(topics),
        tame(sample)
    )
}

/// The first topics, and how many more.
fn some(topics: &[String]) -> String {
    let mut text = topics.iter().take(MAX_NAMED).map(|topic| tame(topic)).collect::<Vec<_>>().join(", ");
    if topics.len() > MAX_NAMED {
        text = format!("{text} and {} more", topics.len() - MAX_NAMED);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(free_name(directory.path(), "a"), directory.path().join("a.toml"));
        std::fs::write(directory.path().join("a.toml"), "").expect("written");
        assert_eq!(free_name(directory.path(), "a"), directory.path().join("a-2.toml"));
    }

    #[test]
    fn ready_made_sources_are_named_by_their_file() {
        let files = named(&["tasmota".into()], Path::new("/c")).expect("known");
        assert!(files[0].path == Path::new("/c/tasmota.toml") && files[0].text.contains("[source.tasmota]"));
        assert_eq!(named(&["tasmotta".into()], Path::new("/c")).expect_err("unknown").exit, Exit::NotFound);
    }
}
