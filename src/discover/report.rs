//! What was found, for people and for programs. Pure.

use std::fmt::Write;

use serde_json::{Value as Json, json};
use unicode_width::UnicodeWidthStr;

use super::{
    Findings, Left, Notes, Proposal,
    draft::{cut, some},
};
use crate::shown::{harmless, plural};

/// Topics of a group that are named.
const MAX_NAMED: usize = 3;
/// Reasons of a proposal that are named.
const MAX_REASONS: usize = 5;
/// Proposals, and reasons why topics are not proposed, that are shown.
const MAX_SHOWN: usize = 300;
/// Longest sample that is shown.
const SAMPLE_CHARS: usize = 100;
/// Widest pattern in the table.
const PATTERN_CHARS: usize = 60;

// Writing into memory does not fail.

/// A table of groups, what is not proposed, and the sections.
#[must_use]
pub fn in_words(notes: &Notes, findings: &Findings) -> String {
    let mut text = headline(notes, findings);
    if !findings.proposals.is_empty() {
        text.push('\n');
        text.push_str(&table(findings));
        text.push_str(&beyond(findings.proposals.len(), MAX_SHOWN, "and"));
        for proposal in findings.proposals.iter().take(MAX_SHOWN) {
            text.push_str(&details(proposal));
        }
    }
    if !findings.rest.is_empty() {
        text.push_str("\nNot proposed:\n");
        findings.rest.iter().take(MAX_SHOWN).for_each(|left| text.push_str(&left_in_words(left)));
        text.push_str(&beyond(findings.rest.len(), MAX_SHOWN, "  and"));
    }
    if !findings.proposals.is_empty() {
        text.push_str(
            "\nPut this into a new file of conf.d, such as /etc/forebay/conf.d/discovered.toml (--output writes one),\n\
             then: systemctl reload forebay\n\n",
        );
        text.push_str(&findings.text());
    }
    text
}

fn headline(notes: &Notes, findings: &Findings) -> String {
    let topics = notes.topics.len() as u64;
    let kept: u64 = notes.topics.values().map(|topic| topic.retained).sum();
    let seconds = notes.span().as_secs_f64();
    let mut text = format!("{} on {} in {seconds:.0} s", plural(notes.messages, "message"), plural(topics, "topic"));
    if kept > 0 {
        let _ = write!(text, ", {kept} of them kept by the broker from before");
    }
    text.push('\n');
    if findings.beyond > 0 {
        let what = "on topics beyond the limit of 2,000 topics (or 1,024 bytes a topic) were counted only; narrow it with --filter";
        let _ = writeln!(text, "{} {what}", plural(findings.beyond, "message"));
    }
    text
}

/// How many are not shown, where there are more than so many.
fn beyond(count: usize, most: usize, what: &str) -> String {
    match count.saturating_sub(most) {
        0 => String::new(),
        more => format!("{what} {more} more; --json lists them\n"),
    }
}

fn table(findings: &Findings) -> String {
    let head = ["PATTERN", "TOPICS", "MESSAGES", "RATE", "FORMAT", "SOURCE"].map(str::to_owned);
    let row = |proposal: &Proposal| {
        let pattern = proposal.patterns.first().map_or(String::new(), |pattern| cut(pattern, PATTERN_CHARS));
        let more = proposal.patterns.len().saturating_sub(1);
        let packed = proposal.packed.map_or(String::new(), |packed| format!(" in {packed}"));
        [
            if more > 0 { format!("{pattern} +{more}") } else { pattern },
            proposal.topics.len().to_string(),
            proposal.messages.to_string(),
            format!("{:.2}/s", proposal.rate),
            format!("{}{packed}", proposal.format),
            proposal.family.map_or_else(|| proposal.name.clone(), |family| format!("{family} (ready-made)")),
        ]
    };
    let rows: Vec<[String; 6]> =
        std::iter::once(head).chain(findings.proposals.iter().take(MAX_SHOWN).map(row)).collect();
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.width()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width + 2 - cell.width()));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn details(proposal: &Proposal) -> String {
    let Proposal { fates, .. } = proposal;
    let mut text = format!("\n{}: {}\n", proposal.name, some(&proposal.topics, MAX_NAMED, PATTERN_CHARS));
    if let Some(family) = proposal.family {
        let zone = proposal.zone.as_ref().map_or(String::new(), |zone| format!(" --zone {zone}"));
        let _ = writeln!(text, "  known: forebay device add {family}{zone}");
    }
    let _ = writeln!(text, "  sample: {}", cut(&proposal.sample, SAMPLE_CHARS));
    let time = proposal.time.clone().or_else(|| proposal.family.map(|_| "as the ready-made source says".to_owned()));
    let _ = writeln!(text, "  time: {}", time.map_or("that of receipt".into(), |time| harmless(&time).into_owned()));
    let mut said = vec![format!(
        "{} of {} that were kept give {}",
        fates.to_rows,
        plural(fates.messages as u64, "message"),
        plural(fates.rows as u64, "row")
    )];
    if fates.empty > 0 {
        said.push(format!("{} hold no value", fates.empty));
    }
    if fates.retained > 0 {
        said.push(format!(
            "{} were kept by the broker and tell no time: not stored (retained = \"latest\" or \"store\" changes that)",
            fates.retained
        ));
    }
    if fates.collides {
        said.push("some rows of a message have the same time and symbols: the last one stays".into());
    }
    let _ = writeln!(text, "  {}", said.join("; "));
    for (topic, reason) in fates.aside.iter().take(MAX_REASONS) {
        let _ = writeln!(text, "  set aside of {}: {}", cut(topic, PATTERN_CHARS), cut(reason, 200));
    }
    text.push_str(&beyond(fates.aside.len(), MAX_REASONS, "  set aside: and"));
    text
}

fn left_in_words(left: &Left) -> String {
    format!("  {}: {}\n", some(&left.topics, MAX_NAMED, PATTERN_CHARS), harmless(&left.why))
}

/// Everything for programs.
#[must_use]
pub fn as_json(notes: &Notes, findings: &Findings) -> Json {
    let aside = |proposal: &Proposal| {
        let all = proposal.fates.aside.iter();
        all.map(|(topic, reason)| json!({ "topic": topic, "reason": reason })).collect::<Vec<_>>()
    };
    let proposal = |of: &Proposal| {
        json!({
            "name": of.name,
            "sources": of.sources,
            "patterns": of.patterns,
            "family": of.family,
            "zone": of.zone,
            "topics": of.topics,
            "messages": of.messages,
            "retained": of.retained,
            "rate": of.rate,
            "format": of.format,
            "packed": of.packed,
            "time": of.time,
            "sample": of.sample,
            "kept": of.fates.messages,
            "to_rows": of.fates.to_rows,
            "rows": of.fates.rows,
            "empty": of.fates.empty,
            "retained_without_time": of.fates.retained,
            "set_aside": aside(of),
            "toml": of.text,
        })
    };
    let left = |of: &Left| json!({ "topics": of.topics, "why": of.why, "messages": of.messages, "sample": of.sample });
    json!({
        "messages": notes.messages,
        "topics": notes.topics.len(),
        "seconds": notes.span().as_secs_f64(),
        "beyond": findings.beyond,
        "proposals": findings.proposals.iter().map(proposal).collect::<Vec<_>>(),
        "rest": findings.rest.iter().map(left).collect::<Vec<_>>(),
        "warnings": findings.warnings,
        "toml": if findings.proposals.is_empty() { String::new() } else { findings.text() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::trial::Fates;

    #[test]
    fn what_is_not_shown_is_counted() {
        let aside = |count: usize| (0..count).map(|at| (format!("t/{at}"), "broken".to_owned())).collect();
        let proposal = |at: usize, asides: usize| Proposal {
            name: format!("p{at}"),
            topics: (0..asides).map(|at| format!("t/{at}")).collect(),
            fates: Fates { aside: aside(asides), ..Fates::default() },
            ..Proposal::default()
        };
        let left = |at: usize| Left { topics: vec![format!("l/{at}")], why: format!("why {at}"), ..Left::default() };
        let findings = |proposals: usize, asides: usize, rest: usize| Findings {
            proposals: (0..proposals).map(|at| proposal(at, asides)).collect(),
            rest: (0..rest).map(left).collect(),
            ..Findings::default()
        };
        let text = in_words(&Notes::default(), &findings(MAX_SHOWN, MAX_REASONS, MAX_SHOWN));
        assert!(!text.contains("--json lists them") && text.contains("t/0, t/1, t/2 and 2 more\n"), "{text}");
        let text = in_words(&Notes::default(), &findings(MAX_SHOWN + 2, MAX_REASONS + 1, MAX_SHOWN + 3));
        assert!(text.contains("\nand 2 more; --json lists them\n"), "{text}");
        assert!(text.contains("\n  and 3 more; --json lists them\n"), "{text}");
        assert_eq!(text.matches("\n  set aside: and 1 more; --json lists them\n").count(), MAX_SHOWN, "{text}");
    }
}
