//! `forebay verify`: is everything in QuestDB that the ring says is there?

use std::{fmt::Write as _, path::Path, sync::Arc, time::Duration};

use clap::Args;
use serde_json::Value;

use super::{
    Exit, Failure, Global, block_on,
    out::{count, emit, plural, say, tame},
};
use crate::{
    clock::{Clock, SystemClock},
    config,
    control::client::Client,
    flush::quarantine::snapshot_of,
    marks::Seq,
    questdb::{Connection, Secrets, Sql, SqlError},
    ring::{Ledger, inspect::RingFile},
    settings::{self, Settings},
    shown::is_harmful,
    since::Since,
    verify::{Ask, Finding, Quarantined, Report, Running, Uncompared, VerifyError, verify},
};

/// Least time for an answer of QuestDB, which may have to read old partitions from its disk.
const LEAST_TIMEOUT: Duration = Duration::from_secs(30);

/// Arguments of `verify`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Reads the ring's history, from its tail to what is settled, and asks QuestDB for each row by time and symbols. It names each row that is \
missing or has another value, and checks the ledger against the rows in the ring. The ring file is only read, so this works while the \
daemon runs and while it does not; it needs the daemon's configuration and the right to read its files.

Not looked for: rows still to be stored, in quarantine, dropped by the on_full policy, or older than the table's time to live. Of rows \
with the same time and symbols the last counts. Where a table has no deduplication, as many rows as the ring has are looked for among \
those close to each other. Numbers are compared as QuestDB keeps them: NaN is null, an integer in a DOUBLE column a double.

What a replay or an operator changes while this runs may be reported; what is wrong is looked for a second time before.

A table whose answers cannot be read, or that QuestDB refuses to show, is named with the number of its rows, and the others are compared.

Exit codes: 0 all agree, 1 some do not, a table could not be compared or the ledger does not balance, 2 usage or configuration, 3 the ring holds nothing received since \
then, 4 QuestDB is not reachable, 5 the ring cannot be read")]
pub struct VerifyArgs {
    /// Only this table; may be given several times [default: all].
    #[arg(long = "table", value_name = "NAME")]
    tables: Vec<String>,
    /// Only what was received since then: so long ago (10m, 2h, 1d), or an RFC 3339 time [default: everything].
    #[arg(long, value_name = "TIME", value_parser = Since::parse)]
    since: Option<Since>,
    /// Name so many rows; the rest is counted.
    #[arg(long, value_name = "N", default_value_t = 100)]
    most: usize,
}

pub fn run(args: &VerifyArgs, global: &Global) -> Result<(), Failure> {
    let loaded = config::load(global.config_file()).map_err(|why| Failure::new(Exit::Usage, why))?;
    let settings = loaded.settings;
    let path = &settings.ring.path;
    let unreadable = |why| Failure::new(Exit::Ring, why);
    // What the daemon says is settled now is a part of what is read later.
    let running = ask_daemon(&settings, global);
    let file = RingFile::open(path).map_err(unreadable)?;
    let sql = connect(&settings.questdb)?;
    let quarantined = quarantined(&settings.quarantine.path, file.header().ring_id).map_err(|why| fail(&why))?;
    let ask = Ask { tables: args.tables.clone(), since: args.since, most: args.most };
    let report = verify(&file, &sql, &quarantined, SystemClock.now(), &ask, running).map_err(|why| fail(&why))?;
    if global.json {
        let text = serde_json::to_string(&report).map_err(|why| Failure::new(Exit::Failed, why))?;
        emit(&(text + "\n"))?;
    } else {
        emit(&render(&report, running.is_some()))?;
    }
    if report.ok { Ok(()) } else { Err(Failure::silent(Exit::Failed)) }
}

/// What the daemon says of the ring, if one runs on it.
fn ask_daemon(settings: &Settings, global: &Global) -> Option<Running> {
    let socket = global.socket.clone().unwrap_or_else(|| settings.control.socket.clone());
    let status: Value = block_on(async { Ok(Client::connect(&socket).await?.get_json("/v1/status").await?) }).ok()?;
    let is_same = |path: &str| Path::new(path).canonicalize().ok() == settings.ring.path.canonicalize().ok();
    if !status.pointer("/ring/path")?.as_str().is_some_and(is_same) {
        return None;
    }
    let settled: Seq = serde_json::from_value(status.pointer("/ring/settled")?.clone()).ok()?;
    let ledger: Ledger = serde_json::from_value(status.get("ledger")?.clone()).ok()?;
    Some(Running { settled, ledger })
}

fn connect(settings: &settings::Questdb) -> Result<Sql, Failure> {
    let unusable = |why: &dyn std::fmt::Display| Failure::new(Exit::Usage, why.to_string());
    let secrets = Secrets::read(settings).map_err(|why| unusable(&why))?;
    let mut connection = Connection::new(settings, secrets).map_err(|why| unusable(&why))?;
    connection.request_timeout = connection.request_timeout.max(LEAST_TIMEOUT);
    Sql::new(Arc::new(connection)).map_err(|why| unusable(&why))
}

/// The rows of that ring in quarantine; some 40 bytes of memory each.
fn quarantined(path: &Path, ring_id: u64) -> Result<Quarantined, VerifyError> {
    let mut rows = Quarantined::new();
    let mut take = |key: crate::flush::quarantine::Key, received: i64| {
        if key.ring_id == ring_id && !key.is_letter() {
            rows.insert((key.seq.0, received, key.row));
        }
    };
    let mut complaints = Vec::new();
    let read = snapshot_of(path, &mut complaints)
        .and_then(|snapshot| snapshot.each(&mut |entry| take(entry.key, entry.received.0)));
    read.map_err(VerifyError::Quarantine)?;
    for complaint in complaints {
        say(&format!("forebay: {complaint}"));
    }
    Ok(rows)
}

fn fail(why: &VerifyError) -> Failure {
    let exit = match why {
        VerifyError::Ring(_) => Exit::Ring,
        VerifyError::Nothing => Exit::NotFound,
        VerifyError::Sql(SqlError::Unreachable(_) | SqlError::Timeout | SqlError::Overloaded(_)) => Exit::Unreachable,
        VerifyError::Sql(SqlError::Auth | SqlError::Setup(_)) => Exit::Usage,
        VerifyError::Sql(_) | VerifyError::Quarantine(_) => Exit::Failed,
    };
    Failure::new(exit, why.to_string())
}

fn render(report: &Report, is_running: bool) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        describe(&mut text, finding);
    }
    let more = report.missing + report.differ - report.findings.len() as u64;
    if more > 0 {
        let _ = writeln!(text, "… and {} more", count(more));
    }
    for Uncompared { table, rows, why } in &report.uncompared {
        let _ = writeln!(text, "not compared  {}  ({}): {}", tame(table), plural(*rows, "row"), tame_long(why));
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "note: {}", tame_long(warning));
    }
    let verb = |number: u64, one, many| format!("{} {}", count(number), if number == 1 { one } else { many });
    let agree = verb(report.agree, "row agrees", "rows agree");
    let missing = verb(report.missing, "is missing", "are missing");
    let differ = verb(report.differ, "differs", "differ");
    let (from, upto) = (report.from_seq, report.settled_seq);
    let _ = writeln!(
        text,
        "records {from} up to {upto}, {}: {agree}, {missing}, {differ}",
        plural(report.tables as u64, "table")
    );
    let excused = report.excused;
    let excuses = [
        (excused.pending, "row", "still to be stored"),
        (excused.quarantined, "row", "in quarantine"),
        (excused.superseded, "row", "replaced by later ones"),
        (excused.expired, "row", "older than the time to live of its table"),
        (excused.overtaken_records, "record", "given up while this was read"),
        (excused.damaged_records, "record", "lost to damage"),
    ];
    let told: Vec<String> = excuses
        .iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, one, what)| format!("{} {what}", plural(*number, one)))
        .collect();
    if !told.is_empty() {
        let _ = writeln!(text, "not looked for: {}", told.join(", "));
    }
    if report.uncompared_fields > 0 {
        let values = plural(report.uncompared_fields, "value");
        let _ = writeln!(text, "{values} in columns of types that are not compared");
    }
    ledger(&mut text, report, is_running);
    text
}

fn describe(text: &mut String, finding: &Finding) {
    let symbols: Vec<String> =
        finding.symbols.iter().map(|(name, value)| format!("{}={}", tame(name), tame(value))).collect();
    let place = format!("{}  {}  {}", tame(&finding.table), finding.time, symbols.join(" "));
    let (seq, row) = (finding.seq, finding.row);
    if finding.differences.is_empty() {
        let _ = writeln!(text, "missing  {place}  (record {seq}, row {row})");
    }
    for difference in &finding.differences {
        let shown = |value: &Option<String>| value.as_deref().map_or_else(|| "nothing".to_owned(), tame);
        let (field, ring, questdb) = (tame(&difference.field), shown(&difference.ring), shown(&difference.questdb));
        let _ = writeln!(
            text,
            "differs  {place}  {field}: {ring} in the ring, {questdb} in QuestDB  (record {seq}, row {row})"
        );
    }
}

fn ledger(text: &mut String, report: &Report, is_running: bool) {
    let Ledger { rows, pending, stored, quarantined, dropped, coalesced, .. } = report.ledger;
    let [rows, pending, stored, quarantined, dropped, coalesced] =
        [rows, pending, stored, quarantined, dropped, coalesced].map(count);
    let verdict = report.ledger_fault.clone().unwrap_or_else(|| "balances".to_owned());
    let source = if is_running { "the daemon's" } else { "the file's; no daemon answers" };
    let _ = writeln!(
        text,
        "ledger ({source}): {rows} = {pending} pending + {stored} stored + {quarantined} quarantined + {dropped} dropped + \
         {coalesced} coalesced; {verdict}"
    );
}

/// Without harmful characters, and not cut: a warning names what mends it.
fn tame_long(text: &str) -> String {
    text.chars().map(|c| if is_harmful(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::{Excused, compare::Difference};

    fn finding(differences: Vec<Difference>) -> Finding {
        Finding {
            table: "sensors".into(),
            time: "2026-01-01T00:00:00Z".into(),
            symbols: vec![("device".into(), "dev-1".into())],
            seq: 7,
            row: 2,
            differences,
        }
    }

    #[test]
    fn each_row_is_named_with_both_values_and_the_rest_counted() {
        let difference = |questdb: Option<&str>| Difference {
            field: "temperature".into(),
            ring: Some("21.5".into()),
            questdb: questdb.map(str::to_owned),
        };
        let report = Report {
            agree: 1_000,
            uncompared: vec![Uncompared { table: "odd".into(), rows: 2_000, why: "this is no answer".into() }],
            missing: 5,
            differ: 2,
            findings: vec![finding(vec![]), finding(vec![difference(Some("20")), difference(None)])],
            excused: Excused { quarantined: 3, ..Excused::default() },
            ledger: Ledger { rows: 1_010, stored: 1_007, quarantined: 3, ..Ledger::default() },
            ..Report::default()
        };
        let text = render(&report, true);
        for part in [
            "missing  sensors  2026-01-01T00:00:00Z  device=dev-1  (record 7, row 2)",
            "temperature: 21.5 in the ring, 20 in QuestDB",
            "temperature: 21.5 in the ring, nothing in QuestDB",
            "… and 5 more",
            "not compared  odd  (2,000 rows): this is no answer",
            "1,000 rows agree, 5 are missing, 2 differ",
            "not looked for: 3 rows in quarantine\n",
            "1,010 = 0 pending + 1,007 stored + 3 quarantined + 0 dropped + 0 coalesced; balances",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_told_from_what_is_wrong() {
        let exit = |why: VerifyError| fail(&why).exit;
        assert_eq!(exit(SqlError::Timeout.into()), Exit::Unreachable);
        assert_eq!(exit(SqlError::Auth.into()), Exit::Usage);
        assert_eq!(exit(VerifyError::Nothing), Exit::NotFound);
    }
}
