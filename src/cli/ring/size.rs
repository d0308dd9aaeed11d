//! `forebay ring size`: how large a ring has to be.

use std::{fmt::Write as _, time::Duration};

use clap::Args;
use serde::Serialize;

use super::{Exit, Failure, Global};
use crate::{
    cli::out::{aligned, count, emit, human_bytes, span},
    config::{
        self,
        validate::storage::{MAX_FILE, MESSAGES_PER_RING},
    },
    ring::appetite::bytes_per_row,
    settings::{CommitSpacing, Durability, Ring, Settings},
};

/// Rates shown beside the one that was asked about.
const RATES: [f64; 5] = [1.0, 100.0, 500.0, 2_000.0, 20_000.0];
const MIB: u64 = 1 << 20;

/// Arguments of `ring size`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
A row takes its record and its part of a commit. Commits end sectors of the disk, so that rare rows take more: with the default \
commit_spacing each row below some 50 a second has a commit of its own.

Besides an outage's rows the ring holds those of [questdb] resend_window, which are stored and may have to be sent again.

Exit codes: 0 done, 2 usage or configuration is wrong")]
pub struct SizeArgs {
    /// Rows a second.
    #[arg(long, value_name = "ROWS")]
    rate: f64,
    /// How long the database may be away, such as 8h or 2days.
    #[arg(long, value_parser = humantime::parse_duration)]
    outage: Duration,
    /// Bytes of a row: names and values of its symbols and fields, and a little for each.
    #[arg(long = "row-bytes", value_name = "BYTES", default_value_t = 100)]
    body_bytes: usize,
}

/// What came of it.
#[derive(Debug, PartialEq, Serialize)]
struct Needed {
    rows_per_s: f64,
    outage_s: u64,
    bytes_per_row: f64,
    size_bytes: u64,
    /// What `[ring] size` says now, and how long an outage it is enough for.
    configured_bytes: u64,
    configured_outage_s: u64,
}

pub fn run(args: &SizeArgs, global: &Global) -> Result<(), Failure> {
    if !(args.rate.is_finite() && args.rate > 0.0) {
        return Err(Failure::new(Exit::Usage, "--rate: rows a second, more than 0"));
    }
    let settings = match config::load(global.config_file()) {
        Ok(loaded) => loaded.settings,
        Err(why) if global.config.is_some() => return Err(Failure::new(Exit::Usage, why)),
        // Without a configuration the defaults are those of the daemon.
        Err(_) => Settings::default(),
    };
    let needed = needed(args, &settings);
    if global.json {
        let json = serde_json::to_string(&needed).map_err(|why| Failure::new(Exit::Failed, why))?;
        return emit(&(json + "\n"));
    }
    emit(&render(args, &settings, &needed))
}

fn spacing(ring: &Ring) -> CommitSpacing {
    match ring.durability {
        Durability::Commit => ring.commit_spacing,
        Durability::Interval | Durability::Memory => CommitSpacing::Fixed(ring.interval),
    }
}

fn needed(args: &SizeArgs, settings: &Settings) -> Needed {
    let bytes_per_row = bytes_per_row(args.body_bytes, args.rate, spacing(&settings.ring));
    let bytes_per_s = bytes_per_row * args.rate;
    let window = settings.questdb.resend_window.as_secs_f64();
    // A sixteenth is kept free for commits and for the tail's steps.
    let needed = bytes_per_s * (args.outage.as_secs_f64() + window) * 17.0 / 16.0;
    let configured = settings.ring.size.0;
    let enough_s = (configured as f64 * 16.0 / 17.0 / bytes_per_s - window).max(0.0);
    let most_payload = settings.mqtt.max_payload.0.saturating_mul(MESSAGES_PER_RING);
    Needed {
        rows_per_s: args.rate,
        outage_s: args.outage.as_secs(),
        bytes_per_row,
        size_bytes: ((needed / MIB as f64).ceil() as u64)
            .max(1)
            .saturating_mul(MIB)
            .max(most_payload.next_multiple_of(MIB)),
        configured_bytes: configured,
        configured_outage_s: enough_s as u64,
    }
}

fn render(args: &SizeArgs, settings: &Settings, needed: &Needed) -> String {
    let mut text = String::new();
    let outage = humantime::format_duration(args.outage);
    let _ = writeln!(
        text,
        "At {} rows/s a row of {} bytes takes {:.0} bytes of the ring.\nAn outage of {outage} needs [ring] size = \"{}MiB\".",
        args.rate,
        args.body_bytes,
        needed.bytes_per_row,
        needed.size_bytes / MIB
    );
    if needed.size_bytes > MAX_FILE.0 {
        let _ = writeln!(text, "That is more than a ring may have, {MAX_FILE}: have fewer rows, or shorter ones.");
    }
    let (size, enough) = (human_bytes(needed.configured_bytes), span(needed.configured_outage_s as f64 * 1e3));
    let _ = writeln!(text, "The configured {size} are enough for {enough}.\n");
    let per_row = |rate: f64| bytes_per_row(args.body_bytes, rate, spacing(&settings.ring));
    let rows: Vec<[String; 3]> = RATES
        .iter()
        .map(|rate| {
            let a_day = per_row(*rate) * rate * 86_400.0;
            [count(*rate as u64), format!("{:.0}", per_row(*rate)), human_bytes(a_day as u64)]
        })
        .collect();
    text + &aligned(["ROWS/S", "BYTES A ROW", "A DAY"], &[0, 1, 2], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_grows_with_the_outage_and_the_configured_one_is_judged() {
        let mut settings = Settings::default();
        settings.ring.size = crate::settings::Bytes::mib(256);
        let args = |outage| SizeArgs { rate: 500.0, outage, body_bytes: 100 };
        let hour = needed(&args(Duration::from_hours(1)), &settings);
        let day = needed(&args(Duration::from_hours(24)), &settings);
        assert!(hour.size_bytes.is_multiple_of(MIB) && day.size_bytes > 20 * hour.size_bytes);
        settings.ring.size = crate::settings::Bytes(hour.size_bytes);
        let judged = needed(&args(Duration::from_hours(1)), &settings);
        assert!((3_600..3_700).contains(&judged.configured_outage_s), "{judged:?}");
        let text = render(&args(Duration::from_hours(1)), &settings, &judged);
        assert!(
            text.contains("An outage of 1h needs [ring] size = \"") && text.contains("are enough for 60 min"),
            "{text}"
        );
    }
}
