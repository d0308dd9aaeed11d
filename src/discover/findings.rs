//! What was heard, and the sources that are proposed for it. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::tz::TimeZone;

use super::{
    draft::{Draft, cut},
    exclude,
    families::{self, Shown},
    found::{Entry, Findings, Left, MAX_SAMPLE_CHARS, Proposal},
    group::{self, Group, Item, Level},
    housekeeping::{self, Reason},
    notes::{Notes, Topic},
    passing, placeholders,
    propose::{self, Member, Subject},
    shape::{self, Shape},
    trial::{Fates, Owner, Trial, settings},
};
use crate::{
    devices::Family,
    point::Timestamp,
    settings::{Settings, Source},
};

/// How badly a candidate serves; the least is taken.
type Score = (usize, bool, bool, usize);

/// Most groups that are proposed.
const MAX_GROUPS: usize = 200;
/// Most times that proposals are changed so that each gets its own topics.
const MAX_ROUNDS: usize = 4;
/// Most filters that a source leaves out.
const MAX_EXCLUDED: usize = 200;

/// A source that was worked out.
struct Own {
    draft: Draft,
    time: Option<String>,
    topics: Vec<usize>,
    /// Topics whose values would be mixed with those of another one.
    mixed: BTreeSet<(String, String)>,
}

/// The source with the times of receipt, because so many rows would be lost.
fn without_time(candidate: &propose::Candidate, lost: usize) -> propose::Candidate {
    let mut candidate = candidate.clone();
    candidate.draft.unset("timestamp");
    let why = format!(
        "that of receipt: messages that differ tell the same time, and {lost} of the rows heard would have replaced others"
    );
    candidate.draft.comments.push(format!("The time is {why}."));
    candidate.time = Some(why);
    candidate
}

/// Finds sources for what was heard, beside those that are `there` already: topics that these take
/// are not proposed again. Local times are compared with `now` by the machine's `zone`.
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
                Owner::Nobody => {
                    let of = self.families.iter().find(|family| family.housekeeping.contains(entry.name));
                    if let Some(family) = of {
                        self.why.entry(at).or_insert(format!("the ready-made source {} leaves it out", family.name));
                    }
                }
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
        let topics: Vec<(&str, &Topic)> = self.entries.iter().map(|entry| (entry.name, entry.topic)).collect();
        let levels = passing::levels(&topics);
        let mut items = Vec::new();
        for (at, (entry, class)) in self.entries.iter().zip(&classes).enumerate() {
            if let Some(class) = class {
                let is_word = entry.shape.as_ref().is_some_and(Shape::is_word);
                items.push(Item { at, levels: levels.get(at).cloned().unwrap_or_default(), class, is_word });
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
                Ok(mut own) => {
                    self.leave_out_mixed(&mut own);
                    self.own.push(own);
                }
                Err(why) => self.leave(&group.topics, &why),
            }
        }
        self.share_tables();
    }

    /// Leaves out topics whose values would stand in another topic's column of the same series.
    fn leave_out_mixed(&mut self, own: &mut Own) {
        for (topic, first) in std::mem::take(&mut own.mixed) {
            let Some(at) = self.entries.iter().position(|entry| entry.name == topic) else { continue };
            own.topics.retain(|other| *other != at);
            let first = cut(&first, MAX_SAMPLE_CHARS);
            let why = format!("its values would be in the same series and column as those of {first}");
            self.why.entry(at).or_insert(why);
        }
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
        if let Some(why) = passing::reason(subject.documents()) {
            return Err(why);
        }
        let mut best: Option<(Score, propose::Candidate, Fates)> = None;
        let mut problem = String::new();
        let mut queue: VecDeque<propose::Candidate> = propose::candidates(&subject).into();
        // Topics that differ in a level without a name are one series.
        let is_one_series = group.levels.iter().any(|level| *level == Level::Literal(passing::UNNAMED.into()));
        while let Some(candidate) = queue.pop_front() {
            let mut fates = match self.try_out(&candidate.draft, &subject) {
                Ok(fates) => fates,
                Err(why) => {
                    problem = why;
                    continue;
                }
            };
            if is_one_series {
                fates.mixed.clear();
            }
            if fates.lost > 0 && candidate.draft.get("timestamp").is_some() {
                queue.push_front(without_time(&candidate, fates.lost));
            }
            // A source that says where rows stand may miss messages that say something elsewhere.
            let missed = if candidate.draft.get("rows").is_some() { fates.empty } else { 0 };
            let is_mixed = !fates.mixed.is_empty();
            let score = (fates.doubtful(), fates.lost > 0, candidate.collides || fates.collides || is_mixed, missed);
            let is_good = score == (0, false, false, 0);
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
        if candidate.double_names && !candidate.names_are_told() {
            return Err("a name comes twice in one message, and nothing tells the two values apart".to_owned());
        }
        Ok(Own { draft: candidate.draft, time: candidate.time, topics: group.topics.clone(), mixed: fates.mixed })
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
            let is_out = exclude.iter().any(|filter| exclude::matches(filter, entry.name));
            if !is_out && exclude.len() < MAX_EXCLUDED {
                exclude.push(exclude::filter(entry.name, &kept, &own.draft));
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
        let warnings = crate::config::validate::check(&all).warnings;
        let of_sources = warnings.iter().filter(|of| of.key.starts_with("source."));
        let mut findings = Findings {
            proposals: self.proposals(),
            beyond: self.notes.beyond,
            warnings: of_sources.map(ToString::to_string).collect(),
            ..Findings::default()
        };
        self.give_topics(&all, &mut findings);
        // A family that shows by its signs, and whose topics others take, has nothing to say.
        findings.proposals.retain(|proposal| !proposal.topics.is_empty());
        findings
    }

    /// All proposals, which have no topics yet.
    fn proposals(&self) -> Vec<Proposal> {
        let of_family = |family: &Shown| Proposal {
            name: family.name.to_owned(),
            sources: family.settings.source.keys().cloned().collect(),
            patterns: family.settings.source.values().flat_map(|source| source.topic.0.clone()).collect(),
            text: family.text.clone(),
            family: Some(family.name),
            zone: family.zone.clone(),
            ..Proposal::default()
        };
        let of_own = |own: &Own| Proposal {
            name: own.draft.name.clone(),
            sources: vec![own.draft.name.clone()],
            patterns: own.draft.topics.clone(),
            text: own.draft.text(),
            time: own.time.clone(),
            ..Proposal::default()
        };
        self.families.iter().map(of_family).chain(self.own.iter().map(of_own)).collect()
    }

    /// Gives each topic to the proposal whose source takes it, and the others to the rest.
    fn give_topics(&self, all: &Settings, findings: &mut Findings) {
        let places: BTreeMap<String, usize> = findings
            .proposals
            .iter()
            .enumerate()
            .flat_map(|(at, proposal)| proposal.sources.iter().map(move |name| (name.clone(), at)))
            .collect();
        let mut rest: BTreeMap<String, Left> = BTreeMap::new();
        let mut trial = Trial::new(all, self.now);
        for (at, entry) in self.entries.iter().enumerate() {
            let owner = trial.as_mut().map_or(Owner::Nobody, |trial| trial.owner(entry.name));
            let place = if let Owner::Takes(name) = &owner { places.get(name) } else { None };
            if let Some(proposal) = place.and_then(|place| findings.proposals.get_mut(*place)) {
                proposal.take(entry, self.notes);
                if let Some(trial) = &mut trial {
                    trial.decode(entry.name, entry.topic, &mut proposal.fates);
                }
                proposal.rows = proposal.fates.rows;
            } else {
                let why = self.why_left(at, owner);
                rest.entry(why.clone()).or_insert_with(|| Left { why, ..Left::default() }).take(entry);
            }
        }
        findings.rest = rest.into_values().collect();
    }

    fn why_left(&self, at: usize, owner: Owner) -> String {
        self.why.get(&at).cloned().unwrap_or_else(|| match owner {
            Owner::LeavesOut(source) => format!("source.{source} leaves it out"),
            _ => "no proposal takes it".to_owned(),
        })
    }
}
