//! `forebay top`: the daemon at work, on one screen that follows it.

mod draw;
mod live;
mod poll;
pub(super) mod tally;
mod view;

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use clap::Args;
use ratatui::{buffer::Buffer, layout::Rect};

use self::{
    poll::{Poller, Watcher},
    view::View,
};
use super::{Exit, Failure, Global, block_on, out::emit};

/// Size of the picture where there is no terminal to ask (`COLUMNS` and `LINES` change it).
const COLUMNS: u16 = 110;
const LINES: u16 = 40;
/// The largest picture that is drawn.
const MAX_COLUMNS: u16 = 500;
const MAX_LINES: u16 = 200;
/// How long `--once` watches, so that it has rates to show.
const LOOK: Duration = Duration::from_secs(1);

/// Arguments of `top`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Keys: q, Esc or Ctrl-C ends; p pauses; the arrow keys choose a lane or move through the series, Tab changes between the two.

The daemon is asked once a second. While it is away the last picture stays, and says how old it is. Colours: NO_COLOR turns them off.

Batch, linger and the sentence under the lanes are what the batcher has decided and why; fixed and 1,000 rows are the model it \
decides by. The liveliest series come from a sample: at most 500 updates in two seconds are watched (on /v1/watch, where this \
counts as one watcher), so that looking costs the daemon little. Up to 250 updates a second the rates are exact, above that they \
are estimates. Readings that change no latest value, because they are late, are not counted.

Exit codes: 0 done, 4 the daemon is not reachable (--once; without it, top waits for the daemon)")]
pub struct TopArgs {
    /// Print the picture once, as text, after a second's look; also done when the output is no terminal.
    #[arg(long)]
    once: bool,
}

pub fn run(args: &TopArgs, global: &Global) -> Result<(), Failure> {
    if global.json {
        return Err(Failure::new(Exit::Usage, "top draws pictures; forebay --json status has the figures"));
    }
    let socket = global.socket_path()?;
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if args.once || !io::stdout().is_terminal() {
        let picture = block_on(once(Poller::new(&socket)))?;
        return emit(&picture);
    }
    block_on(live::run(Poller::new(&socket), colour))
}

/// One picture, from two statuses a moment apart.
async fn once(mut poller: Poller) -> Result<String, Failure> {
    let began = Instant::now();
    let mut view = View::default();
    view.told(began.elapsed(), Ok(poller.status().await?));
    let watcher = Watcher::start(poller.socket());
    tokio::time::sleep(LOOK).await;
    view.told(began.elapsed(), Ok(poller.status().await?));
    let (lively, note) = watcher.liveliest();
    view.counted(lively, note);
    let (columns, lines) = size();
    let mut buffer = Buffer::empty(Rect::new(0, 0, columns, lines));
    draw::draw(&view, buffer.area, &mut buffer);
    Ok(draw::text(&buffer))
}

fn size() -> (u16, u16) {
    let asked = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u16>().ok());
    let terminal = if io::stdout().is_terminal() { ratatui::crossterm::terminal::size().ok() } else { None };
    let (columns, lines) = terminal.unwrap_or((COLUMNS, LINES));
    let columns = asked("COLUMNS").unwrap_or(columns).clamp(1, MAX_COLUMNS);
    (columns, asked("LINES").unwrap_or(lines).clamp(1, MAX_LINES))
}
