//! `forebay status`: the daemon's state on one screen. First whether all is well, then what comes
//! in, what is durable, what goes out, what is set aside, and the machine.

mod aside;
mod durable;
mod intake;
mod machine;
mod out;
mod screen;
mod verdict;

use clap::Args;
use serde_json::Value;

use self::screen::Screen;
use super::{Failure, Global, block_on, document::Document, out::emit};
use crate::control::client::Client;

/// Arguments of `status`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
The first line says OK, or what is wrong, for how long, and what to do; what else is wrong stands below it.
Then come five groups: what comes in, what is durable, what goes out, what is set aside, and the machine.
The ledger counts rows since the ring was created: rows = pending + stored + quarantined + dropped + coalesced.

Exit codes: 0 done, 4 the daemon is not reachable")]
pub struct StatusArgs {
    /// Show what goes on inside, too: the ring's marks and commits, and each lane's batches.
    #[arg(long)]
    all: bool,
}

pub fn run(args: &StatusArgs, global: &Global) -> Result<(), Failure> {
    let socket = global.socket_path()?;
    block_on(async {
        let mut client = Client::connect(&socket).await?;
        if global.json {
            let body = client.get("/v1/status").await?;
            return emit(&(String::from_utf8_lossy(&body).into_owned() + "\n"));
        }
        let status: Value = client.get_json("/v1/status").await?;
        emit(&render(&Document(&status), args.all))
    })
}

fn render(status: &Document<'_>, all: bool) -> String {
    let mut screen = Screen::default();
    verdict(&mut screen, status);
    intake::show(&mut screen, status);
    durable::show(&mut screen, status, all);
    out::show(&mut screen, status, all);
    aside::show(&mut screen, status);
    machine::show(&mut screen, status);
    screen.text()
}

/// OK, or what is wrong, the worst first.
fn verdict(screen: &mut Screen, status: &Document<'_>) {
    if status.0.as_object().is_none_or(serde_json::Map::is_empty) {
        return;
    }
    let findings = verdict::findings(status);
    if findings.is_empty() {
        let text = "what came in is acknowledged, and goes to QuestDB; nothing is set aside or lost";
        return screen.head("OK", text);
    }
    for (number, finding) in findings.iter().enumerate() {
        screen.head(if number == 0 { "NOT OK" } else { "also" }, &finding.what);
        if !finding.remedy.is_empty() {
            screen.head("", &format!("→ {}", finding.remedy));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_groups_come_in_the_order_of_a_readings_way() {
        let text = render(&Document(&json!({ "version": "1" })), false);
        let places: Vec<_> = ["OK ", "\nIn\n", "\nDurable\n", "\nOut\n", "\nSet aside\n", "\nMachine\n"]
            .map(|part| text.find(part))
            .into();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}: {text}");
    }

    #[test]
    fn trouble_stands_out() {
        let status = json!({
            "forecast": { "sentence": "full; the backlog does not shrink" },
            "ring": { "fill": 0.5, "full": true, "on_full": "block", "poisoned": "sync failed", "gaps": [[3, 9]] },
            "flush": { "lanes": [{ "lane": 0, "batch_rows": 500, "linger_ms": 12.0, "reason": "backlog", "flushes": 1 }], "warnings": ["no dedup"] },
        });
        let text = render(&Document(&status), true);
        for part in [
            "NOT OK      the ring has failed, and nothing is acknowledged: sync failed",
            "also        the ring is full",
            "forecast    full; the backlog does not shrink",
            "full, on_full = block",
            "records 3 to 9",
            "at most 500 rows or 12 ms: backlog",
            "no dedup",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
