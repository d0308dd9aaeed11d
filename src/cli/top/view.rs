//! What is shown: the newest status, what came before it, and what the keys chose. Pure: times come as arguments.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde_json::Value;

use super::tally::Lively;
use crate::{cli::document::Document, ring::Ledger};

/// Points kept of each history: the widest terminals show no more.
const MAX_HISTORY: usize = 512;
/// Lanes whose history is kept; there are at most as many as `[batch] max_lanes` allows.
const MAX_LANES: usize = 64;

/// The newest points of something, the oldest first.
#[derive(Debug, Clone, Default)]
pub struct History(VecDeque<f64>);

impl History {
    fn push(&mut self, value: f64) {
        if self.0.len() == MAX_HISTORY {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }

    /// The newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = f64> {
        self.0.iter().rev().copied()
    }
}

/// How it stands with the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Not asked yet.
    Asking,
    /// It answers.
    Up,
    /// It does not, for this reason.
    Away(String),
}

/// Which list the arrow keys move in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Focus {
    /// The lanes.
    #[default]
    Lanes,
    /// The series.
    Series,
}

/// What a key leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Go on, and show what has changed.
    Show,
    /// Nothing has changed.
    Nothing,
    /// End.
    Quit,
}

/// A lane's past.
#[derive(Debug, Clone, Default)]
pub struct LaneHistory {
    /// Rows a batch.
    pub batch_rows: History,
    /// How long the last flush took, in milliseconds.
    pub last_ms: History,
}

/// Everything that is drawn.
#[derive(Debug)]
pub struct View {
    /// How it stands with the daemon.
    pub link: Link,
    /// Its last status; null before the first.
    pub status: Value,
    /// When that came.
    pub status_at: Duration,
    /// Now.
    pub now: Duration,
    /// Rates between the last two.
    pub rates: Rates,
    /// Messages taken in a second.
    pub messages: History,
    /// Rows stored a second.
    pub stored: History,
    /// Bytes that wait for the database.
    pub pending: History,
    /// Histories by lane.
    pub lanes: BTreeMap<u64, LaneHistory>,
    /// The liveliest series.
    pub lively: Vec<Lively>,
    /// Why there are none, if so.
    pub lively_note: Option<String>,
    /// Whether what is shown stands still.
    pub paused: bool,
    /// Which list the arrow keys move in.
    pub focus: Focus,
    /// The lane that is told more of, by its place in the list.
    pub lane: usize,
    /// Series that are scrolled past.
    pub skipped: usize,
}

/// What came and went a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Messages taken in.
    pub messages: f64,
    /// Rows taken in.
    pub rows: f64,
    /// Rows stored.
    pub stored: f64,
}

impl Default for View {
    fn default() -> Self {
        Self {
            link: Link::Asking,
            status: Value::Null,
            status_at: Duration::ZERO,
            now: Duration::ZERO,
            rates: Rates::default(),
            messages: History::default(),
            stored: History::default(),
            pending: History::default(),
            lanes: BTreeMap::new(),
            lively: Vec::new(),
            lively_note: None,
            paused: false,
            focus: Focus::default(),
            lane: 0,
            skipped: 0,
        }
    }
}

impl View {
    /// The status as a document.
    pub fn document(&self) -> Document<'_> {
        Document(&self.status)
    }

    /// What the daemon said. While paused it is ignored.
    pub fn told(&mut self, now: Duration, answer: Result<Value, String>) {
        if self.paused {
            return;
        }
        self.now = now;
        let status = match answer {
            Ok(status) => status,
            Err(why) => {
                self.link = Link::Away(why);
                return;
            }
        };
        self.rates = rates(&Document(&self.status), &Document(&status));
        self.messages.push(self.rates.messages);
        self.stored.push(self.rates.stored);
        let document = Document(&status);
        self.pending.push(document.number("/ring/pending_bytes"));
        let lanes: Vec<Document<'_>> = document.each("/flush/lanes").take(MAX_LANES).collect();
        let numbers: Vec<u64> = lanes.iter().map(|lane| lane.integer("/lane")).collect();
        self.lanes.retain(|number, _| numbers.contains(number));
        for lane in &lanes {
            let history = self.lanes.entry(lane.integer("/lane")).or_default();
            history.batch_rows.push(lane.number("/batch_rows"));
            history.last_ms.push(lane.number("/last_ms"));
        }
        self.lane = self.lane.min(lanes.len().saturating_sub(1));
        self.link = Link::Up;
        self.status = status;
        self.status_at = now;
    }

    /// What was found out about the series. While paused it is ignored.
    pub fn counted(&mut self, lively: Vec<Lively>, note: Option<String>) {
        if self.paused {
            return;
        }
        self.skipped = self.skipped.min(lively.len().saturating_sub(1));
        (self.lively, self.lively_note) = (lively, note);
    }

    /// A key.
    pub fn key(&mut self, key: KeyEvent) -> Step {
        if key.kind == KeyEventKind::Release {
            return Step::Nothing;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c' | 'd') if control => return Step::Quit,
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => return Step::Quit,
            KeyCode::Char('l') if control => {}
            KeyCode::Char('p' | 'P' | ' ') => self.paused = !self.paused,
            KeyCode::Tab | KeyCode::BackTab => {
                self.focus = if self.focus == Focus::Lanes { Focus::Series } else { Focus::Lanes };
            }
            KeyCode::Up | KeyCode::Char('k') => self.scroll(-1),
            KeyCode::Down | KeyCode::Char('j') => self.scroll(1),
            KeyCode::PageUp => self.scroll(-10),
            KeyCode::PageDown => self.scroll(10),
            KeyCode::Home => self.scroll(isize::MIN),
            KeyCode::End => self.scroll(isize::MAX),
            _ => return Step::Nothing,
        }
        Step::Show
    }

    fn scroll(&mut self, by: isize) {
        let (place, length) = match self.focus {
            Focus::Lanes => (&mut self.lane, self.lanes.len()),
            Focus::Series => (&mut self.skipped, self.lively.len()),
        };
        *place = place.saturating_add_signed(by).min(length.saturating_sub(1));
    }
}

/// The rates between two statuses of one run of the daemon; what the daemon says itself where there was none before.
fn rates(before: &Document<'_>, after: &Document<'_>) -> Rates {
    let ledger = |document: &Document<'_>| Ledger {
        messages: document.integer("/ledger/messages"),
        rows: document.integer("/ledger/rows"),
        stored: document.integer("/ledger/stored"),
        ..Ledger::default()
    };
    let span = after.number("/uptime_s") - before.number("/uptime_s");
    let same = !before.0.is_null() && before.integer("/pid") == after.integer("/pid") && span > 0.0;
    if !same {
        let said = |name| after.number(&format!("/rates/{name}"));
        return Rates { messages: said("messages_per_s"), rows: said("rows_per_s"), stored: said("stored_per_s") };
    }
    let (from, to) = (ledger(before), ledger(after));
    let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / span;
    Rates {
        messages: rate(from.messages, to.messages),
        rows: rate(from.rows, to.rows),
        stored: rate(from.stored, to.stored),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::top::tally::tests::view;

    fn status(pid: u32, uptime_s: f64, messages: u64) -> Value {
        json!({
            "pid": pid, "uptime_s": uptime_s,
            "ledger": { "messages": messages, "rows": 2 * messages, "stored": messages },
            "rates": { "messages_per_s": 7.0 },
            "flush": { "lanes": [{ "lane": 0, "batch_rows": messages }, { "lane": 3 }] },
        })
    }

    fn press(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    #[test]
    fn rates_are_of_one_run_of_the_daemon() {
        let mut view = View::default();
        let s = Duration::from_secs;
        view.told(s(1), Ok(status(1, 10.0, 100)));
        assert_eq!(view.rates, Rates { messages: 7.0, ..Rates::default() }, "the daemon's own at first");
        view.told(s(2), Ok(status(1, 12.0, 400)));
        assert_eq!(view.rates, Rates { messages: 150.0, rows: 300.0, stored: 150.0 });
        view.told(s(3), Err("gone".into()));
        assert_eq!(view.link, Link::Away("gone".into()));
        assert_eq!(view.document().integer("/ledger/messages"), 400, "the last is kept");
        view.told(s(9), Ok(status(2, 0.5, 450)));
        assert_eq!((view.link.clone(), view.rates.messages), (Link::Up, 7.0), "another run");
        assert_eq!(view.messages.newest_first().collect::<Vec<_>>(), [7.0, 150.0, 7.0]);
        assert_eq!(view.lanes[&0].batch_rows.newest_first().next(), Some(450.0));
    }

    #[test]
    fn histories_and_lanes_are_bounded() {
        let mut view = View::default();
        let lanes: Vec<Value> = (0..1_000).map(|lane| json!({ "lane": lane })).collect();
        for n in 0..2_000_u64 {
            view.told(Duration::from_secs(n), Ok(json!({ "flush": { "lanes": lanes[..(n % 1_000) as usize] } })));
        }
        assert_eq!((view.messages.0.len(), view.lanes.len()), (MAX_HISTORY, MAX_LANES));
        view.told(Duration::ZERO, Ok(json!({})));
        assert!(view.lanes.is_empty(), "lanes that are gone have no history");
    }

    #[test]
    fn keys_choose_pause_and_end() {
        let mut view = View::default();
        view.told(Duration::ZERO, Ok(status(1, 1.0, 1)));
        let lively =
            |device| Lively { series: super::super::tally::tests::view(device), per_s: 1.0, since: Duration::ZERO };
        view.counted(vec![lively("a"), lively("b"), lively("c")], None);
        assert_eq!(view.key(press(KeyCode::Down)), Step::Show);
        assert_eq!((view.lane, view.skipped), (1, 0));
        for _ in 0..9 {
            view.key(press(KeyCode::Char('j')));
        }
        assert_eq!(view.lane, 1, "there are two lanes");
        view.key(press(KeyCode::Tab));
        view.key(press(KeyCode::End));
        assert_eq!((view.focus, view.skipped), (Focus::Series, 2));
        view.key(press(KeyCode::Home));
        view.key(press(KeyCode::Up));
        assert_eq!(view.skipped, 0);
        view.key(press(KeyCode::Char('p')));
        view.told(Duration::from_secs(5), Ok(status(1, 5.0, 999)));
        view.counted(vec![], None);
        assert_eq!((view.document().integer("/ledger/messages"), view.lively.len()), (1, 3), "paused");
        view.key(press(KeyCode::Char('p')));
        assert!(!view.paused);
        assert_eq!(view.key(press(KeyCode::Char('z'))), Step::Nothing);
        for quit in
            [press(KeyCode::Char('q')), press(KeyCode::Esc), KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)]
        {
            assert_eq!(view.key(quit), Step::Quit);
        }
    }

    #[test]
    fn fewer_series_scroll_back() {
        let mut shown = View { skipped: 40, ..View::default() };
        shown.counted(vec![Lively { series: view("a"), per_s: 1.0, since: Duration::ZERO }], None);
        assert_eq!(shown.skipped, 0);
    }
}
