//! `forebay quarantine requeue`.

use std::fmt::Write as _;

use clap::Args;

use super::{TargetArgs, Terms, nothing_matches, source::query, tell_missing};
use crate::{
    cli::{
        Exit, Failure, Global, block_on,
        out::{count, emit, plural, tame},
    },
    control::client::{Client, ClientError},
    requeue::Report,
    shown::is_harmful,
};

/// How long the daemon may take for a request.
const PATIENCE: std::time::Duration = std::time::Duration::from_mins(2);

/// Arguments of `quarantine requeue`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Examples:
  forebay quarantine requeue 1234-m-9f86d081
  forebay quarantine requeue --table sensors --reason 'cast error'
  forebay quarantine requeue --all --drop-superseded

Put right what is wrong first: a dead letter is decoded again by the daemon's present configuration (reload it after a change of \
[source]), a row is sent to the table as that is now. Whatever still is no reading stays, and the reason is told.

What enters the ring is stored like anything that comes in. An entry leaves the quarantine once what it held is durable in the \
ring; a crash in between leaves it in both, and requeued once more it is found to be superseded.

A row is not put back where a newer one of its table, time (to the microsecond) and symbols is known, in the ring or in QuestDB, so \
a correction is never overwritten. QuestDB does not tell when a row was recorded, so any row there counts as newer. Such entries stay, \
or go with --drop-superseded. When QuestDB cannot be asked, nothing is put back. Of several entries of one time and series the newest \
enters.

In the ledger a row that is put back is a row taken in anew: its first life stays counted as quarantined. So does a dead letter's.

Exit codes: 0 all were requeued (or dropped as superseded), 1 some stay, or work was stopped, 2 usage, 3 nothing matches, 4 the \
daemon is not reachable")]
pub struct RequeueArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Drop entries whose rows are superseded by newer ones, instead of keeping them.
    #[arg(long)]
    drop_superseded: bool,
}

pub fn run(args: &RequeueArgs, global: &Global) -> Result<(), Failure> {
    let requests = args.target.requests()?;
    let socket = global.socket_path()?;
    let report = block_on(async {
        let mut client = Client::connect(&socket).await.map_err(absent)?.patient(PATIENCE);
        let mut whole = Report::default();
        let mut matched = 0;
        for terms in requests {
            let one = put_back(&mut client, terms, args.drop_superseded).await?;
            matched += one.matched;
            let over = one.stopped.is_some();
            whole.add(one);
            if over {
                break;
            }
        }
        whole.matched = matched;
        Ok(whole)
    })?;
    tell_missing(args.target.named(), report.matched);
    if report.matched == 0 {
        return Err(nothing_matches());
    }
    if global.json {
        let json = serde_json::to_string(&report).map_err(|why| Failure::new(Exit::Failed, why))?;
        emit(&(json + "\n"))?;
    } else {
        emit(&render(&report))?;
    }
    let stays = report.superseded + report.unfit + report.not_reached + report.remaining;
    if stays > 0 || report.stopped.is_some() { Err(Failure::silent(Exit::Failed)) } else { Ok(()) }
}

fn absent(error: ClientError) -> Failure {
    match error {
        error if error.is_unreachable() => {
            Failure::new(Exit::Unreachable, format!("{error}; only a running daemon can put entries back"))
        }
        error => error.into(),
    }
}

/// Makes requests until nothing remains or the daemon stops.
async fn put_back(client: &mut Client, terms: Terms, drop_superseded: bool) -> Result<Report, Failure> {
    let mut whole = Report::default();
    let mut cursor: Option<String> = None;
    loop {
        let mut terms = terms.clone();
        terms.push(("drop_superseded", drop_superseded.to_string()));
        terms.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let report: Report = client.post_json(&format!("/v1/quarantine/requeue{}", query(&terms))).await?;
        cursor.clone_from(&report.cursor);
        whole.add(report);
        if cursor.is_none() {
            return Ok(whole);
        }
        eprintln!("{} requeued, {} remain", count(whole.requeued), count(whole.remaining));
    }
}

fn render(report: &Report) -> String {
    let mut text = format!("{} requeued: {}\n", plural(report.requeued, "entry"), plural(report.rows, "row"));
    let stay = |entries: u64| if entries == 1 { "stays" } else { "stay" };
    let superseded = format!("{}: newer rows are known (--drop-superseded drops them)", stay(report.superseded));
    let unfit = format!("{}: still no rows can be made of it", stay(report.unfit));
    for (entries, what) in [
        (report.superseded_dropped, "dropped: newer rows are known"),
        (report.superseded, &*superseded),
        (report.unfit, &*unfit),
        (report.not_reached + report.remaining, "not worked on"),
    ] {
        if entries > 0 {
            let _ = writeln!(text, "{} {what}", count(entries));
        }
    }
    if let Some(why) = &report.stopped {
        let _ = writeln!(text, "stopped: {}", whole(why));
    }
    if report.moved_on {
        text.push_str("entries were pushed out by newer ones meanwhile\n");
    }
    for note in &report.notes {
        let _ = writeln!(text, "  {}  {}", tame(&note.id), tame(&note.what));
    }
    let named = report.notes.len() as u64;
    let unnamed = (report.superseded + report.superseded_dropped + report.unfit).saturating_sub(named);
    if unnamed > 0 {
        let _ = writeln!(text, "  … and {} more", count(unnamed));
    }
    text
}

/// Not cut, but harmless.
fn whole(text: &str) -> String {
    text.chars().filter(|c| !is_harmful(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requeue::Note;

    #[test]
    fn the_report_says_what_stays_and_why() {
        let report = Report {
            requeued: 1_200,
            rows: 1_300,
            superseded: 2,
            not_reached: 3,
            remaining: 4,
            stopped: Some("the ring is too full".into()),
            notes: vec![Note { id: "7-0-00000000".into(), what: "superseded\u{7}".into() }],
            ..Report::default()
        };
        let text = render(&report);
        for part in [
            "1,200 entries requeued: 1,300 rows\n",
            "2 stay: newer rows are known",
            "7 not worked on\n",
            "stopped: the ring is too full\n",
            "7-0-00000000  superseded\\u{7}\n",
            "… and 1 more\n",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
