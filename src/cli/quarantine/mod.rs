//! `forebay quarantine`: what was set aside, and what to do about it. One file a subcommand.

mod discard;
mod export;
mod ls;
mod requeue;
mod show;
mod source;

use clap::{Args, Subcommand};

use super::{Exit, Failure, Global};

/// Arguments of `quarantine`.
#[derive(Debug, Clone, Args)]
pub struct QuarantineArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Subcommand)]
enum Action {
    /// List entries, the newest first, with counts by reason.
    Ls(ls::LsArgs),
    /// Show one entry whole.
    Show(show::ShowArgs),
    /// Put entries back into the ring; those that enter leave the quarantine.
    Requeue(requeue::RequeueArgs),
    /// Write entries as JSON lines or line protocol, the oldest first.
    Export(export::ExportArgs),
    /// Take entries out for good.
    Drop(discard::DropArgs),
}

pub fn run(args: &QuarantineArgs, global: &Global) -> Result<(), Failure> {
    match &args.action {
        Action::Ls(args) => ls::run(args, global),
        Action::Show(args) => show::run(args, global),
        Action::Requeue(args) => requeue::run(args, global),
        Action::Export(args) => export::run(args, global),
        Action::Drop(args) => discard::run(args, global),
    }
}

/// Which entries, by what they have in common.
#[derive(Debug, Clone, Default, Args)]
struct FilterArgs {
    /// Rows only, or dead letters only.
    #[arg(long, value_parser = ["row", "dead-letter"])]
    kind: Option<String>,
    /// Rows of this table.
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Dead letters whose topic begins like this.
    #[arg(long, value_name = "PREFIX")]
    topic: Option<String>,
    /// Entries whose reason contains this, whatever the case.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Entries set aside since: a span before now ("10m", "2days"), or a time ("2026-01-31T12:00:00Z").
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
}

/// Names and values of conditions, as in a request.
type Terms = Vec<(&'static str, String)>;

impl FilterArgs {
    fn terms(&self) -> Result<Terms, Failure> {
        let given = [("kind", &self.kind), ("table", &self.table), ("topic", &self.topic), ("reason", &self.reason)];
        let mut terms: Terms = given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
        if let Some(since) = &self.since {
            terms.push(("since", since_when(since, jiff::Timestamp::now())?));
        }
        // What the conditions mean together is found out before anything is asked.
        source::selection(&terms)?;
        Ok(terms)
    }
}

/// Entries named by id or by what they have in common, for commands that change something.
#[derive(Debug, Clone, Default, Args)]
struct TargetArgs {
    /// Entries by id, as `quarantine ls` shows them.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Every entry.
    #[arg(long, conflicts_with_all = ["ids", "kind", "table", "topic", "reason", "since"])]
    all: bool,
}

/// Most ids in a request, which is a line of limited length.
const IDS_PER_REQUEST: usize = 200;

impl TargetArgs {
    /// The conditions of the requests to make, one after the other. Of entries named by id the newest come first.
    fn requests(&self) -> Result<Vec<Terms>, Failure> {
        let filter = self.filter.terms()?;
        if self.all {
            return Ok(vec![vec![("all", "true".to_owned())]]);
        }
        if self.ids.is_empty() {
            if filter.is_empty() {
                return Err(usage("name entries by id, by conditions such as --reason TEXT, or say --all"));
            }
            return Ok(vec![filter]);
        }
        let mut ids: Vec<crate::flush::quarantine::Id> = Vec::new();
        for id in &self.ids {
            ids.push(id.parse().map_err(|why| Failure::new(Exit::Usage, why))?);
        }
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.dedup();
        let request = |ids: &[crate::flush::quarantine::Id]| {
            ids.iter().map(|id| ("id", id.to_string())).chain(filter.iter().cloned()).collect()
        };
        Ok(ids.chunks(IDS_PER_REQUEST).map(request).collect())
    }

    /// How many different entries are named by id.
    fn named(&self) -> u64 {
        self.ids.iter().collect::<std::collections::HashSet<_>>().len() as u64
    }
}

/// Says of how many entries named by id there was nothing to be found.
fn tell_missing(named: u64, matched: u64) {
    if let Some(missing) = named.checked_sub(matched).filter(|missing| *missing > 0) {
        eprintln!("{missing} of the entries named are not in the quarantine (any more), or do not meet the conditions");
    }
}

fn nothing_matches() -> Failure {
    Failure::new(Exit::NotFound, "no entry of the quarantine matches")
}

fn usage(what: &str) -> Failure {
    Failure::new(Exit::Usage, what)
}

/// A time given as such, or as a span before now.
fn since_when(text: &str, now: jiff::Timestamp) -> Result<String, Failure> {
    if text.parse::<jiff::Timestamp>().is_ok() {
        return Ok(text.to_owned());
    }
    let span = humantime::parse_duration(text).ok().and_then(|span| now.checked_sub(span).ok());
    let time = span.ok_or_else(|| {
        usage(&format!("--since {text:?} is neither a span such as 10m nor a time such as 2026-01-31T12:00:00Z"))
    })?;
    Ok(time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(ids: &[&str]) -> TargetArgs {
        TargetArgs { ids: ids.iter().map(|id| (*id).to_owned()).collect(), ..TargetArgs::default() }
    }

    #[test]
    fn spans_count_back_from_now() {
        let now: jiff::Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        assert_eq!(since_when("10m", now).unwrap(), "2026-01-31T11:50:00Z");
        assert_eq!(since_when("2025-01-01T00:00:00Z", now).unwrap(), "2025-01-01T00:00:00Z");
        assert_eq!(since_when("yesterday", now).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn nothing_named_is_no_request_for_everything() {
        assert_eq!(targets(&[]).requests().unwrap_err().exit, Exit::Usage);
        assert_eq!(targets(&["7"]).requests().unwrap_err().exit, Exit::Usage);
        let all = TargetArgs { all: true, ..TargetArgs::default() };
        assert_eq!(all.requests().unwrap(), [vec![("all", "true".to_owned())]]);
    }

    #[test]
    fn ids_are_asked_for_once_in_parts_and_the_newest_first() {
        let ids: Vec<String> = (0..=IDS_PER_REQUEST).map(|seq| format!("{seq}-0-00000000")).collect();
        let mut ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        ids.push(ids[3]);
        let requests = targets(&ids).requests().unwrap();
        assert_eq!(requests.iter().map(Vec::len).collect::<Vec<_>>(), [IDS_PER_REQUEST, 1]);
        assert_eq!(requests[0][0].1, format!("{IDS_PER_REQUEST}-0-00000000"));
        let conflicting = TargetArgs {
            filter: FilterArgs { table: Some("t".into()), topic: Some("a".into()), ..FilterArgs::default() },
            ..TargetArgs::default()
        };
        assert_eq!(conflicting.requests().unwrap_err().exit, Exit::Usage);
    }
}
