//! `forebay replay`: stored rows go to the database again, out of the ring's history.

use std::{fmt::Write as _, time::Duration};

use clap::Args;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Exit, Failure, Global, block_on,
    out::{emit, human_bytes, plural, tame},
    query::escape,
};
use crate::{
    control::client::{Client, ClientError},
    flush::{
        ReplayStatus,
        replay::{ReplayAnswer, ReplayLane},
    },
    since::Since,
};

/// How often the daemon is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long the daemon may take to find the place: it reads the headers of all that the ring holds.
const SEARCH_TIMEOUT: Duration = Duration::from_mins(5);

/// Arguments of `replay`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
QuestDB keeps one row a time and set of symbols, so what it has already is replaced by itself. Everything received since then goes \
again in its order and up to the newest, so that a row corrected meanwhile keeps its correction; new rows wait behind it in the ring. \
Rows in quarantine are not sent, nor is anything sent twice to a table without deduplication.

Time is that of receipt. What this run of the daemon received is told by the time since boot, which nobody sets; what is older, by the \
wall clock. How far back the ring's history goes depends on its size: `forebay status` shows its tail.

Only one replay is under way at a time; others wait and become one, from the place that is further back. A replay ends with the daemon.

Exit codes: 0 done, 1 refused, not done within --wait, or the daemon restarted meanwhile, 2 usage, 3 nothing was received since then, \
4 the daemon is not reachable")]
pub struct ReplayArgs {
    /// From when on: so long ago (10m, 2h, 1d), or an RFC 3339 time.
    #[arg(long, value_name = "TIME", value_parser = Since::parse)]
    since: Since,
    /// Only this table; may be given several times [default: all].
    #[arg(long = "table", value_name = "NAME")]
    tables: Vec<String>,
    /// Wait until it is done, so long at most [default when given without a value: 10m].
    #[arg(
        long, value_name = "SPAN", num_args = 0..=1, require_equals = true, default_missing_value = "10m",
        value_parser = humantime::parse_duration
    )]
    wait: Option<Duration>,
}

pub fn run(args: &ReplayArgs, global: &Global) -> Result<(), Failure> {
    let socket = global.socket_path()?;
    block_on(async {
        let mut client = Client::connect(&socket).await?;
        let body = client.post_within(&request(args), SEARCH_TIMEOUT).await?;
        let answer: ReplayAnswer =
            serde_json::from_slice(&body).map_err(|why| ClientError::Strange(why.to_string(), socket.clone()))?;
        if global.json {
            emit(&(String::from_utf8_lossy(&body).into_owned() + "\n"))?;
        } else {
            emit(&render(&answer))?;
        }
        match args.wait {
            Some(limit) => follow(&mut client, &answer, limit, !global.json).await,
            None => Ok(()),
        }
    })
}

fn request(args: &ReplayArgs) -> String {
    let mut path = match args.since {
        Since::Ago(ago) => format!("/v1/replay?since_ms={}", u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
        Since::At(time) => format!("/v1/replay?since={}", escape(&time.to_string())),
    };
    for table in &args.tables {
        let _ = write!(path, "&table={}", escape(table));
    }
    path
}

fn render(answer: &ReplayAnswer) -> String {
    let mut text = String::new();
    let total = |of: fn(&ReplayLane) -> u64| answer.lanes.iter().map(of).sum::<u64>();
    if answer.history_begins {
        text.push_str("the ring's history begins later than that; what was received before is not kept any more\n");
    }
    let (rows, bytes) = (plural(total(|lane| lane.rows), "row"), human_bytes(total(|lane| lane.bytes)));
    let (records, received) = (plural(total(|lane| lane.records), "record"), &answer.received);
    let _ =
        writeln!(text, "sending again {rows} in {records} ({bytes}) from record {}, received {received}", answer.from);
    for lane in &answer.lanes {
        let (rows, records) = (plural(lane.rows, "row"), plural(lane.records, "record"));
        let _ = writeln!(text, "  lane {}: {rows} in {records} ({})", lane.lane, human_bytes(lane.bytes));
    }
    for table in &answer.left_out {
        let _ =
            writeln!(text, "left out: {} has no deduplication, a resent row would become a second row", tame(table));
    }
    text
}

/// Asks until every lane is through.
async fn follow(client: &mut Client, answer: &ReplayAnswer, limit: Duration, tell: bool) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    loop {
        let status: Value = client.get_json("/v1/status").await?;
        let states: Vec<_> =
            answer.lanes.iter().map(|lane| (lane.lane, state(&status, lane.lane, answer.number))).collect();
        if states.iter().all(|(_, state)| *state == State::Through) {
            return if tell { emit("done\n") } else { Ok(()) };
        }
        if Instant::now() >= deadline {
            let mut where_it_is = String::new();
            for (lane, state) in states {
                if let State::At(status) = state {
                    let _ = write!(where_it_is, "; lane {lane} is at record {} of {}", status.at, status.until);
                }
            }
            return Err(Failure::new(Exit::Failed, format!("the replay is still under way{where_it_is}")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Waiting,
    At(ReplayStatus),
    Through,
}

/// How far a lane is with a replay. Its connection ends with the daemon, so the numbers are of one run.
fn state(status: &Value, lane: usize, number: u64) -> State {
    let lanes = status.pointer("/flush/lanes").and_then(Value::as_array).into_iter().flatten();
    let replay = lanes.filter(|status| status["lane"] == lane).find_map(|status| status.get("replay"));
    match replay.and_then(|replay| serde_json::from_value::<ReplayStatus>(replay.clone()).ok()) {
        Some(replay) if replay.number < number => State::Waiting,
        Some(replay) if replay.through => State::Through,
        Some(replay) => State::At(replay),
        None => State::Waiting,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::marks::Seq;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ReplayArgs,
    }

    #[test]
    fn the_request_says_what_was_asked() {
        let parse = |line: &[&str]| Line::try_parse_from(line).map(|line| line.args);
        let args = parse(&["replay", "--since", "10m", "--table", "a b", "--wait", "--table", "c"]).unwrap();
        assert_eq!(request(&args), "/v1/replay?since_ms=600000&table=a%20b&table=c");
        assert_eq!(args.wait, Some(Duration::from_mins(10)));
        let args = parse(&["replay", "--since", "2026-03-01T12:00:00Z", "--wait=3s"]).unwrap();
        assert_eq!(request(&args), "/v1/replay?since=2026-03-01T12%3A00%3A00Z");
        assert_eq!(args.wait, Some(Duration::from_secs(3)));
        assert!(parse(&["replay"]).is_err() && parse(&["replay", "--since", "soon"]).is_err());
    }

    #[test]
    fn a_lane_is_through_with_its_own_number() {
        let replay = ReplayStatus { number: 2, from: Seq(1), at: Seq(5), until: Seq(9), through: false };
        let mut status = json!({ "flush": { "lanes": [{ "lane": 0 }, { "lane": 1, "replay": replay }] } });
        assert_eq!(state(&status, 0, 1), State::Waiting);
        assert_eq!((state(&status, 1, 2), state(&status, 1, 3)), (State::At(replay), State::Waiting));
        status["flush"]["lanes"][1]["replay"]["through"] = true.into();
        assert_eq!((state(&status, 1, 1), state(&status, 1, 3)), (State::Through, State::Waiting));
    }

    #[test]
    fn what_goes_again_is_told_by_lane() {
        let lanes = vec![
            ReplayLane { lane: 0, records: 2, rows: 1_500, bytes: 2_048 },
            ReplayLane { lane: 1, records: 1, rows: 1, bytes: 100 },
        ];
        let answer = ReplayAnswer {
            number: 1,
            from: Seq(7),
            received: "2026-01-01T00:00:00Z".into(),
            history_begins: true,
            lanes,
            left_out: vec!["plain".into()],
        };
        let text = render(&answer);
        for part in [
            "history begins later",
            "1,501 rows in 3 records",
            "from record 7",
            "lane 0: 1,500 rows",
            "left out: plain",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
