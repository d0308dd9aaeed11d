//! What was heard, and the sources that are proposed for it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;

use super::{
    draft::{Draft, cut},
    families::{self, Shown},
    found::{Findings, Left, Proposal},
    group::{self, Group, Item},
    housekeeping::{self, Reason},
    notes::{Notes, Topic},
    placeholders,
    propose::{self, Member, Subject},
    shape::{self, Shape},
    trial::{Fates, Owner, Trial, settings},
};
use crate::{
    decode::pattern::Pattern,
    devices::Family,
    point::Timestamp,
    settings::{Settings, Source},
};

/// Most groups that are proposed.
const MAX_GROUPS: usize = 200;
/// Longest sample in characters.
const MAX_SAMPLE_CHARS: usize = 160;
/// Most times that proposals are changed so that each gets its own topics.
const MAX_ROUNDS: usize = 4;
/// Most filters that a source leaves out.
const MAX_EXCLUDED: usize = 200;

/// A topic that was heard.
struct Entry<'a> {
    name: &'a str,
    topic: &'a Topic,
    shape: Option<Shape>,
}

/// A source that was worked out.
struct Own {
    draft: Draft,
    time: Option<String>,
    topics: Vec<usize>,
}

/// Finds sources for what was heard. Local times are compared with `now` by the machine's `zone`.
#[must_use]
pub fn findings(notes: &Notes, now: Timestamp, families: &[Family], zone: &TimeZone) -> Findings {
    findings_beside(notes, now, families, zone, &BTreeMap::new())
}

/// The same beside sources that there are: their topics are theirs.
#[must_use]
pub fn findings_beside(
    notes: &Notes,
    now: Timestamp,
    families: &[Family],
    zone: &TimeZone,
    there: &BTreeMap<String, Source>,
) -> Findings {
    let mut work = Work::new(notes, now, zone, there);
    work.take_what_is_there();
    work.take_families(families);
    work.take_what_is_no_reading();
    work.propose();
    work.settle();
    work.conclude()
}

struct Work<'a> {
    notes: &'a Notes,
    now: Timestamp,
    zone: &'a TimeZone,
    there: Settings,
    entries: Vec<Entry<'a>>,
    /// Why an entry is not proposed.
    why: BTreeMap<usize, String>,
    /// Entries that may get readings later: a source that takes them may do so.
    open: BTreeSet<usize>,
    families: Vec<Shown>,
    own: Vec<Own>,
}

impl<'a> Work<'a> {
    fn new(notes: &'a Notes, now: Timestamp, zone: &'a TimeZone, there: &BTreeMap<String, Source>) -> Self {
        let entry = |(name, topic): (&'a String, &'a Topic)| Entry { name, topic, shape: None };
        let there = Settings { source: there.clone(), ..Settings::default() };
        Self {
            notes,
            now,
            zone,
            there,
            entries: notes.topics.iter().map(entry).collect(),
            why: BTreeMap::new(),
            open: BTreeSet::new(),
            families: Vec::new(),
            own: Vec::new(),
        }
    }

    fn take_what_is_there(&mut self) {
        let Some(mut trial) = Trial::new(&self.there, self.now) else { return };
        for (at, entry) in self.entries.iter().enumerate() {
            if let Owner::Takes(source) | Owner::LeavesOut(source) = trial.owner(entry.name) {
                self.why.insert(at, format!("source.{source} of the configuration takes it already"));
            }
        }
    }

    fn take_families(&mut self, families: &[Family]) {
        let taken: BTreeSet<&str> = self
            .entries
            .iter()
            .enumerate()
            .filter(|(at, _)| self.why.contains_key(at))
            .map(|(_, entry)| entry.name)
            .collect();
        let mut shown = families::shown(self.notes, families, self.zone, &|name| !taken.contains(name));
        shown.retain(|family| !family.settings.source.keys().any(|name| self.there.source.contains_key(name)));
        self.families = shown;
        let Some(mut trial) = Trial::new(&self.settings_of_families(), self.now) else { return };
        for (at, entry) in self.entries.iter().enumerate() {
            match trial.owner(entry.name) {
                Owner::Takes(source) => drop(self.why.entry(at).or_insert(format!("source.{source} takes it"))),
                Owner::LeavesOut(source) => {
                    self.why.entry(at).or_insert(format!("the ready-made source {source} leaves it out"));
                }
                Owner::Nobody => {}
            }
        }
    }

    fn settings_of_families(&self) -> Settings {
        let sources = self.families.iter().flat_map(|family| family.settings.source.clone());
        Settings { source: sources.collect(), ..Settings::default() }
    }

    fn take_what_is_no_reading(&mut self) {
        for (at, entry) in self.entries.iter_mut().enumerate() {
            if self.why.contains_key(&at) {
                continue;
            }
            let reads = shape::reads(entry.name, entry.topic);
            match housekeeping::reason(entry.name, entry.topic, &reads) {
                Some(reason) => {
                    if let Reason::NotYet(_) = &reason {
                        self.open.insert(at);
                    }
                    self.why.insert(at, reason.in_words().to_owned());
                }
                None => entry.shape = Shape::of(&reads),
            }
        }
    }

    /// Groups the other topics, and works out a source for each group.
    fn propose(&mut self) {
        let shapes: Vec<Option<&Shape>> = self.entries.iter().map(|entry| entry.shape.as_ref()).collect();
        let classes = shape::classes(&shapes);
        let mut items = Vec::new();
        for (at, (entry, class)) in self.entries.iter().zip(&classes).enumerate() {
            if let Some(class) = class {
                let is_word = entry.shape.as_ref().is_some_and(Shape::is_word);
                items.push(Item { at, levels: entry.name.split('/').collect(), class, is_word });
            } else {
                let kind = entry.shape.as_ref().map_or("nothing", |shape| shape.kind.in_words());
                self.why.entry(at).or_insert(format!("no source reads it: {kind}"));
            }
        }
        let mut groups = group::groups(&items);
        groups.sort_by(|one, other| {
            other.topics.len().cmp(&one.topics.len()).then_with(|| one.shape().cmp(&other.shape()))
        });
        let mut names: BTreeSet<String> = self.there.source.keys().cloned().collect();
        names.extend(self.there.source.values().filter_map(|source| Some(source.table.as_ref()?.to_lowercase())));
        names.extend(
            self.settings_of_families()
                .source
                .into_iter()
                .flat_map(|(name, source)| [name, source.table.unwrap_or_default().to_lowercase()]),
        );
        for (number, group) in groups.iter().enumerate() {
            if number >= MAX_GROUPS {
                let why = format!("there are more than {MAX_GROUPS} groups of topics: listen with --filter to fewer");
                self.leave(&group.topics, &why);
                continue;
            }
            let name = placeholders::unique(&placeholders::source_name(&group.levels), &mut names);
            match self.best(group, &name) {
                Ok(own) => self.own.push(own),
                Err(why) => self.leave(&group.topics, &why),
            }
        }
        self.share_tables();
    }

    fn leave(&mut self, topics: &[usize], why: &str) {
        for at in topics {
            self.why.entry(*at).or_insert_with(|| why.to_owned());
        }
    }

    /// The best source for a group: the most telling one that sets nothing aside.
    fn best(&self, group: &Group, name: &str) -> Result<Own, String> {
        let member = |at: &usize| {
            let entry = self.entries.get(*at)?;
            Some(Member { name: entry.name, topic: entry.topic, reads: shape::reads(entry.name, entry.topic) })
        };
        let topics = group.topics.iter().filter_map(member).collect();
        let subject = Subject { group, topics, name, zone: self.zone };
        let mut best: Option<((usize, bool, usize), propose::Candidate, Fates)> = None;
        let mut problem = String::new();
        for candidate in propose::candidates(&subject) {
            let fates = match self.try_out(&candidate.draft, &subject) {
                Ok(fates) => fates,
                Err(why) => {
                    problem = why;
                    continue;
                }
            };
            // A source that says where rows stand may miss messages that say something elsewhere.
            let missed = if candidate.draft.get("rows").is_some() { fates.empty } else { 0 };
            let score = (fates.doubtful(), candidate.collides || fates.collides, missed);
            let is_good = score.0 == 0 && !score.1 && score.2 == 0;
            if best.as_ref().is_none_or(|(least, ..)| score < *least) {
                best = Some((score, candidate, fates));
            }
            if is_good {
                break;
            }
        }
        let Some((_, candidate, fates)) = best else { return Err(format!("no source was found for it: {problem}")) };
        if fates.to_rows + fates.retained == 0 {
            return Err(match fates.aside.first() {
                Some((_, reason)) => format!("none of its messages would become a row: {reason}"),
                None => "its messages have no values".to_owned(),
            });
        }
        Ok(Own { draft: candidate.draft, time: candidate.time, topics: group.topics.clone() })
    }

    fn try_out(&self, draft: &Draft, subject: &Subject<'_>) -> Result<Fates, String> {
        let settings = settings(&draft.text())
            .map_err(|problems| problems.first().map_or(String::new(), |(_, what)| what.clone()))?;
        let mut trial = Trial::new(&settings, self.now).ok_or_else(|| "it cannot be tried".to_owned())?;
        let mut fates = Fates::default();
        for member in &subject.topics {
            if trial.owner(member.name) != Owner::Takes(draft.name.clone()) {
                return Err("its pattern does not take its topics".into());
            }
            trial.decode(member.name, member.topic, &mut fates);
        }
        Ok(fates)
    }

    /// Sources of one topic each that came of one group have one table.
    fn share_tables(&mut self) {
        let tagged =
            |own: &Own| own.draft.topics.iter().all(|topic| !topic.contains('{')) && own.draft.get("tags").is_some();
        let key = |own: &Own| {
            let keys: Vec<String> = own
                .draft
                .keys
                .iter()
                .filter(|(key, ..)| *key != "tags")
                .map(|(key, value, _)| format!("{key}={value}"))
                .collect();
            let above =
                own.draft.topics.first().and_then(|topic| topic.rsplit_once('/')).map_or("", |(above, _)| above);
            let shape = own.topics.first().and_then(|at| self.entries.get(*at)?.shape.as_ref());
            let paths =
                shape.map(|shape| shape.paths.iter().cloned().collect::<Vec<_>>().join(" ")).unwrap_or_default();
            format!("{above}\n{}\n{paths}", keys.join("\n"))
        };
        let mut tables: BTreeMap<String, Option<String>> = BTreeMap::new();
        let keys: Vec<Option<String>> = self.own.iter().map(|own| tagged(own).then(|| key(own))).collect();
        for (own, key) in self.own.iter_mut().zip(keys) {
            let Some(key) = key else { continue };
            own.draft.table = tables.entry(key).or_insert_with(|| own.draft.table.clone()).clone();
        }
    }

    /// The text of all proposals.
    fn text(&self) -> String {
        let families = self.families.iter().map(|family| family.text.clone());
        families.chain(self.own.iter().map(|own| own.draft.text())).collect::<Vec<_>>().join("\n")
    }

    /// The settings of all proposals and of what is there. Those that are no good together are
    /// withdrawn.
    fn together(&mut self) -> Settings {
        loop {
            let problems = match settings(&self.text()) {
                Ok(mut settings) => {
                    settings.source.extend(self.there.source.clone());
                    return settings;
                }
                Err(problems) => problems,
            };
            let before = self.own.len() + self.families.len();
            let is_named = |name: &str| {
                let key = format!("source.{name}");
                problems.iter().find(|(own, _)| *own == key || own.starts_with(&format!("{key}.")))
            };
            let (own, withdrawn): (Vec<Own>, Vec<Own>) =
                std::mem::take(&mut self.own).into_iter().partition(|own| is_named(&own.draft.name).is_none());
            for of in &withdrawn {
                let what = is_named(&of.draft.name).map_or("", |(_, what)| what);
                self.leave(&of.topics, &format!("its source was withdrawn: {what}"));
            }
            self.own = own;
            self.families.retain(|family| !family.settings.source.keys().any(|name| is_named(name).is_some()));
            if before == self.own.len() + self.families.len() {
                // Nobody is named: the last one has to go.
                let Some(of) = self.own.pop() else {
                    self.families.clear();
                    return self.there.clone();
                };
                self.leave(&of.topics, "its source does not fit beside the others");
            }
        }
    }

    /// Sees to it that each proposal gets its own topics, and none that are no readings.
    fn settle(&mut self) {
        for _ in 0..MAX_ROUNDS {
            let all = self.together();
            let Some(mut trial) = Trial::new(&all, self.now) else { return };
            let owners: Vec<Owner> = self.entries.iter().map(|entry| trial.owner(entry.name)).collect();
            let mut has_changed = false;
            for number in 0..self.own.len() {
                has_changed |= self.leave_out_others(number, &owners);
            }
            if !has_changed {
                return;
            }
        }
    }

    /// Has a source leave out what it takes of others. Whether something changed.
    fn leave_out_others(&mut self, number: usize, owners: &[Owner]) -> bool {
        let Some(own) = self.own.get(number) else { return false };
        let mine: BTreeSet<usize> = own.topics.iter().copied().chain(self.open.iter().copied()).collect();
        let is_mine = |owner: &Owner| *owner == Owner::Takes(own.draft.name.clone());
        let strays: Vec<usize> = owners
            .iter()
            .enumerate()
            .filter(|(at, owner)| is_mine(owner) && !mine.contains(at))
            .map(|(at, _)| at)
            .collect();
        let kept: Vec<&str> =
            own.topics.iter().filter_map(|at| self.entries.get(*at)).map(|entry| entry.name).collect();
        let mut exclude = own.draft.exclude.clone();
        for at in strays {
            let Some(entry) = self.entries.get(at) else { continue };
            let is_out = exclude.iter().any(|filter| matches(filter, entry.name));
            if !is_out && exclude.len() < MAX_EXCLUDED {
                exclude.push(filter(entry.name, &kept, &own.draft));
            }
        }
        let is_new = exclude.len() > own.draft.exclude.len();
        if let Some(own) = self.own.get_mut(number) {
            own.draft.exclude = exclude;
        }
        is_new
    }

    fn conclude(mut self) -> Findings {
        let all = self.together();
        let mut findings = Findings { beyond: self.notes.beyond, ..Findings::default() };
        let warnings = crate::config::validate::check(&all).warnings;
        findings.warnings =
            warnings.iter().filter(|of| of.key.starts_with("source.")).map(ToString::to_string).collect();
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        for family in &self.families {
            let sources: Vec<String> = family.settings.source.keys().cloned().collect();
            places.extend(sources.iter().map(|name| (name.clone(), findings.proposals.len())));
            let patterns = family.settings.source.values().flat_map(|source| source.topic.0.clone()).collect();
            findings.proposals.push(Proposal {
                name: family.name.to_owned(),
                sources,
                patterns,
                text: family.text.clone(),
                family: Some(family.name),
                zone: family.zone.clone(),
                ..Proposal::default()
            });
        }
        for own in &self.own {
            places.insert(own.draft.name.clone(), findings.proposals.len());
            findings.proposals.push(Proposal {
                name: own.draft.name.clone(),
                sources: vec![own.draft.name.clone()],
                patterns: own.draft.topics.clone(),
                text: own.draft.text(),
                time: own.time.clone(),
                ..Proposal::default()
            });
        }
        let mut left: BTreeMap<String, Left> = BTreeMap::new();
        let mut trial = Trial::new(&all, self.now);
        for (at, entry) in self.entries.iter().enumerate() {
            let owner = trial.as_mut().map_or(Owner::Nobody, |trial| trial.owner(entry.name));
            let place = if let Owner::Takes(name) = &owner { places.get(name) } else { None };
            if let Some(proposal) = place.and_then(|place| findings.proposals.get_mut(*place)) {
                proposal.take(entry, self.notes);
                if let Some(trial) = &mut trial {
                    trial.decode(entry.name, entry.topic, &mut proposal.fates);
                }
                proposal.rows = proposal.fates.rows;
                continue;
            }
            let why = self.why.get(&at).cloned().unwrap_or_else(|| match owner {
                Owner::LeavesOut(source) => format!("source.{source} leaves it out"),
                _ => "no proposal takes it".to_owned(),
            });
            let left = left.entry(why.clone()).or_insert_with(|| Left { why, ..Left::default() });
            left.topics.push(entry.name.to_owned());
            left.messages += entry.topic.messages;
            if left.sample.is_empty() {
                left.sample = sample(entry);
            }
        }
        // A family that shows by its signs, and whose topics others take, has nothing to say.
        findings.proposals.retain(|proposal| !proposal.topics.is_empty());
        findings.rest = left.into_values().collect();
        findings
    }
}

impl Proposal {
    fn take(&mut self, entry: &Entry<'_>, notes: &Notes) {
        self.topics.push(entry.name.to_owned());
        self.messages += entry.topic.messages;
        self.retained += entry.topic.retained;
        let seconds = notes.span().as_secs_f64();
        if seconds > 0.0 {
            self.rate += entry.topic.live_messages() as f64 / seconds;
        }
        if self.sample.is_empty() {
            let reads = shape::reads(entry.name, entry.topic);
            let shape = Shape::of(&reads);
            self.format = shape.as_ref().map_or(String::new(), |shape| shape.kind.in_words().to_owned());
            self.packed = shape.as_ref().and_then(|shape| shape.packed);
            self.sample = shape.map_or_else(|| sample(entry), |shape| cut(&shape.sample, MAX_SAMPLE_CHARS));
        }
    }
}

/// A payload of a topic, cut to a line.
fn sample(entry: &Entry<'_>) -> String {
    let last = entry.topic.kept.back();
    last.map_or(String::new(), |kept| {
        let start = kept.payload.get(..MAX_SAMPLE_CHARS * 4).unwrap_or(&kept.payload);
        cut(&String::from_utf8_lossy(start), MAX_SAMPLE_CHARS)
    })
}

fn matches(filter: &str, topic: &str) -> bool {
    Pattern::parse(filter).is_ok_and(|filter| filter.captures(topic).is_some())
}

/// A filter for a topic that a source is to leave out: as wide as can be without its own topics.
fn filter(topic: &str, own: &[&str], draft: &Draft) -> String {
    let levels: Vec<&str> = topic.split('/').collect();
    let pattern = draft.topics.first().map_or("", String::as_str);
    let of: Vec<&str> = pattern.split('/').collect();
    let varies = |at: usize| of.get(at).is_none_or(|level| level.contains('{') || matches!(*level, "+" | "#"));
    let spares = |filter: &String| !own.iter().any(|own| matches(filter, own));
    // All placeholders but one are any level.
    let but_one = (0..levels.len()).rev().filter(|at| varies(*at)).map(|kept| {
        let level =
            |(at, level): (usize, &&str)| if varies(at) && at != kept { "+".to_owned() } else { (*level).to_owned() };
        levels.iter().enumerate().map(level).collect::<Vec<_>>().join("/")
    });
    let first = levels.first().copied().unwrap_or_default();
    let mut filters = but_one.filter(|filter| !filter.starts_with('+') || !first.starts_with('$'));
    filters.find(spares).unwrap_or_else(|| topic.to_owned())
}
