//! `forebay ring resize`: a larger or smaller ring.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use serde::de::{Deserialize, IntoDeserializer, value::Error as ParseError};

use super::{Exit, Failure, FileArgs, Global, remark};
use crate::{
    cli::{
        block_on,
        out::{count, emit, plural},
    },
    clock::{SharedClock, SystemClock},
    config::{self, Loaded, validate::storage::ring_size},
    control::{
        api::{ResizeState, ResizeStatus},
        client::{Client, ClientError},
    },
    ring::{
        OpenError,
        resize::{self, ResizeError},
    },
    settings::Bytes,
};

/// How often the daemon is asked whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A daemon whose process is gone is waited for so long: the service manager may start another one.
const GONE: Duration = Duration::from_secs(15);
/// For how long it is asked.
const MOST: Duration = Duration::from_hours(2);

/// Arguments of `ring resize`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
A new file is made beside the old one and takes its name when it is whole: killed at any point, one whole ring is there. So both have to \
fit on the disk for a while. Everything that waits for QuestDB goes along, what may have to be sent again, what is held back, the \
ledger, the state and as much of the history as fits; the ring's id and the numbers of records stay.

A running daemon does it: it stops in order, makes the file and starts again, in the same process; the broker keeps what comes \
meanwhile. Without a daemon, or with --file, this command does it; the file keeps its owner and mode. Where the configuration sets \
[ring] size, set it to the same size afterwards: a new ring gets that one.

Exit codes: 0 done, 1 the ring cannot have that size, or the daemon could not make it, and is as it was; 2 usage; 4 the daemon is not reachable any more; 5 the file cannot be read or written")]
pub struct ResizeArgs {
    /// The size of the file, such as 512MiB.
    #[arg(value_parser = size)]
    size: Bytes,
    #[command(flatten)]
    file: FileArgs,
}

fn size(text: &str) -> Result<Bytes, ParseError> {
    Bytes::deserialize(text.into_deserializer())
}

pub fn run(args: &ResizeArgs, global: &Global) -> Result<(), Failure> {
    if let Some(file) = &args.file.file {
        return finish(&here(file, args.size)?, None, global);
    }
    let socket = global.socket_path()?;
    if let Some(status) = block_on(ask(&socket, args.size, !global.json))? {
        return finish(&status, loaded(global).ok().as_ref(), global);
    }
    let loaded = loaded(global)?;
    ring_size(args.size, &loaded.settings).map_err(|why| Failure::new(Exit::Failed, why))?;
    finish(&here(&loaded.settings.ring.path, args.size)?, Some(&loaded), global)
}

fn loaded(global: &Global) -> Result<Loaded, Failure> {
    config::load(global.config_file())
        .map_err(|why| Failure::new(Exit::Usage, format!("{why}\n(--file names a ring without a configuration)")))
}

/// Has the daemon do it, and waits until it is done; none where there is no daemon.
async fn ask(socket: &Path, size: Bytes, tell: bool) -> Result<Option<ResizeStatus>, Failure> {
    let mut client = match Client::connect(socket).await {
        Err(ClientError::Missing(_) | ClientError::Refused(_)) => return Ok(None),
        connected => connected?,
    };
    let daemon: Daemon = client.get_json("/v1/status").await?;
    let begun: ResizeStatus = client.post_json(&format!("/v1/ring/resize?bytes={}", size.0)).await?;
    drop(client);
    if tell {
        remark("the daemon stops in order, makes the new file and starts again …");
    }
    let (deadline, mut seen) = (Instant::now() + MOST, Instant::now());
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match status(socket).await {
            Ok(status) if status.number < begun.number => {
                let why = "the daemon was started again meanwhile; forebay ring info tells which size the ring has";
                return Err(Failure::new(Exit::Failed, why));
            }
            Ok(status) if status.state != ResizeState::Running => return Ok(Some(status)),
            Err(why) if Instant::now() >= deadline || seen.elapsed() > GONE => return Err(why.into()),
            // It is stopped, and starts again.
            Ok(_) | Err(_) => {}
        }
        if daemon.runs() {
            seen = Instant::now();
        }
    }
}

/// The process that does it.
#[derive(serde::Deserialize)]
struct Daemon {
    pid: u32,
}

impl Daemon {
    fn runs(&self) -> bool {
        Path::new(&format!("/proc/{}", self.pid)).exists()
    }
}

async fn status(socket: &Path) -> Result<ResizeStatus, ClientError> {
    Client::connect(socket).await?.get_json("/v1/ring/resize").await
}

/// Does it in this process.
fn here(path: &Path, size: Bytes) -> Result<ResizeStatus, Failure> {
    let clock: SharedClock = Arc::new(SystemClock);
    let done = resize::resize(path, size.0, &clock, &mut |_| Ok(())).map_err(|why| Failure::new(exit_of(&why), why))?;
    Ok(ResizeStatus {
        state: ResizeState::Done,
        number: 0,
        from_bytes: done.from_bytes,
        to_bytes: done.to_bytes,
        records: done.records,
        given_up: done.given_up,
        pending_rows: done.pending_rows,
        gaps: done.gaps.len() as u64,
        error: None,
    })
}

fn exit_of(error: &ResizeError) -> Exit {
    match error {
        ResizeError::Open(OpenError::Size(_))
        | ResizeError::NoRing(_)
        | ResizeError::NotARing(_)
        | ResizeError::TooSmall { .. }
        | ResizeError::LargeRecord { .. }
        | ResizeError::State(_) => Exit::Failed,
        ResizeError::Open(_) | ResizeError::File(_) | ResizeError::Copy { .. } => Exit::Ring,
    }
}

fn finish(status: &ResizeStatus, loaded: Option<&Loaded>, global: &Global) -> Result<(), Failure> {
    if let Some(error) = &status.error {
        return Err(Failure::new(Exit::Failed, format!("{error} (the daemon runs again, on the ring as it was)")));
    }
    if global.json {
        emit(&(serde_json::to_string(status).map_err(|why| Failure::new(Exit::Failed, why))? + "\n"))?;
    } else {
        emit(&render(status))?;
    }
    if let Some(hint) = loaded.and_then(|loaded| hint(loaded, status.to_bytes)) {
        remark(&hint);
    }
    Ok(())
}

/// What to do about a size that is written down and is another one now.
fn hint(loaded: &Loaded, bytes: u64) -> Option<String> {
    let (place, size) = (loaded.origins.get("ring.size")?, loaded.settings.ring.size);
    let is_other = size.0 / 4096 != bytes / 4096;
    is_other.then(|| {
        let to = Bytes(bytes);
        format!("{place}: ring.size is {size}: set it to \"{to}\", so that each start finds what it expects")
    })
}

fn render(status: &ResizeStatus) -> String {
    let (from, to) = (Bytes(status.from_bytes), Bytes(status.to_bytes));
    if from == to {
        return format!("the ring has {to} already\n");
    }
    let given_up = match status.given_up {
        0 => "all of its history is there".to_owned(),
        1 => "1 old record did not fit".to_owned(),
        many => format!("{} old records did not fit", count(many)),
    };
    let (records, rows) = (plural(status.records, "record"), plural(status.pending_rows, "row"));
    let wait = if status.pending_rows == 1 { "waits" } else { "wait" };
    let gaps = match status.gaps {
        0 => String::new(),
        gaps => format!("; {} of the old ring stay lost (forebay ring verify)", plural(gaps, "damaged part")),
    };
    format!("the ring had {from} and has {to}: {records}, {given_up}; {rows} {wait} for QuestDB{gaps}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_in_the_configuration() {
        assert_eq!(size("512MiB").unwrap(), Bytes::mib(512));
        assert_eq!(size("1048576").unwrap(), Bytes::mib(1));
        assert!(size("large").unwrap_err().to_string().contains("256MiB"));
    }

    #[test]
    fn a_size_that_is_written_down_and_differs_is_named_with_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("forebay.toml");
        let hint_with = |text: &str| {
            std::fs::write(&file, text).unwrap();
            hint(&config::load_with(Some(&file), std::iter::empty()).unwrap(), 1 << 30)
        };
        assert_eq!(hint_with(""), None, "none is written down");
        assert_eq!(hint_with("[ring]\nsize = \"1GiB\""), None);
        let told = hint_with("[ring]\nsize = \"512MiB\"").unwrap();
        assert!(told.contains("forebay.toml:2: ring.size is 512MiB: set it to \"1GiB\""), "{told}");
    }

    #[test]
    fn what_was_done_is_told_in_a_sentence() {
        let mut status = ResizeStatus {
            from_bytes: 1 << 20,
            to_bytes: 2 << 20,
            records: 1_200,
            given_up: 0,
            pending_rows: 1,
            ..ResizeStatus::default()
        };
        let text = render(&status);
        assert_eq!(
            text,
            "the ring had 1MiB and has 2MiB: 1,200 records, all of its history is there; 1 row waits for QuestDB\n"
        );
        status.given_up = 1_000;
        assert!(render(&status).contains("1,000 old records did not fit"));
        status.to_bytes = status.from_bytes;
        assert_eq!(render(&status), "the ring has 1MiB already\n");
    }
}
