//! Printing what becomes of each message, on a thread of its own: a terminal or a pipe may be slow.

use std::{
    collections::VecDeque,
    io, mem,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{
    queue::{Batch, Queue},
    words,
};
use crate::{
    cli::{
        Failure,
        out::{count, emit, plural, say, tame},
    },
    decode::topics::covers,
    ingest::{
        Incoming, NoRoute,
        preview::{Preview, Previewer},
    },
    mqtt::listener::Heard,
    point::{Received, Timestamp},
};

/// Messages shown in words in a second, so that a terminal keeps up.
const MAX_A_SECOND: u32 = 100;
/// Text gathered before it is written.
const MAX_TEXT_BYTES: usize = 64 * 1_024;
const SECOND: Duration = Duration::from_secs(1);

/// What is printed, and until when.
pub struct Printer {
    /// Tells what becomes of a message.
    pub previewer: Previewer,
    /// The one source that is gone by.
    pub only: Option<String>,
    /// A filter that topics have to match: a subscription may be wider.
    pub within: Option<String>,
    /// Messages after which it ends.
    pub count: Option<u64>,
    /// An object a message, not words.
    pub json: bool,
}

/// How the printing ended: whether something was set aside, or why no more can be printed.
pub type Printed = Result<bool, Failure>;

impl Printer {
    /// Prints what comes through the queue until it is closed, or enough has come. The thread ends
    /// with the process at the latest: a pipe that nobody reads may hold it up for ever.
    pub fn start(self, queue: Arc<Queue>) -> io::Result<oneshot::Receiver<Printed>> {
        let (sender, receiver) = oneshot::channel();
        let work = Work { printer: self, pace: Pace::default(), text: String::new(), is_first: true, set_aside: false };
        thread::Builder::new().name("printer".into()).spawn(move || {
            // Nobody waits for it any more where the command has ended.
            let _ = sender.send(work.run(&queue));
        })?;
        Ok(receiver)
    }
}

struct Work {
    printer: Printer,
    pace: Pace,
    /// What is to be written next.
    text: String,
    /// Whether nothing was shown yet.
    is_first: bool,
    set_aside: bool,
}

impl Work {
    fn run(mut self, queue: &Queue) -> Printed {
        loop {
            let Batch { messages, dropped, is_last } = queue.take(self.pace.due());
            let is_enough = self.print(messages)?;
            if !is_enough {
                self.tell_dropped(dropped);
            }
            let is_over = is_last || is_enough;
            let hidden = if is_over { self.pace.end() } else { self.pace.pass(Instant::now()) };
            self.tell_hidden(hidden);
            self.flush()?;
            if is_over {
                return Ok(self.set_aside);
            }
        }
    }

    /// Whether as many have come as are to be shown.
    fn print(&mut self, messages: VecDeque<(Heard, Received)>) -> Result<bool, Failure> {
        for (heard, received) in messages {
            if self.printer.within.as_ref().is_some_and(|within| !covers(within, &heard.topic)) {
                continue;
            }
            let preview = self.printer.preview(&heard, received);
            self.show(&heard, received, preview.as_ref());
            if let Some(left) = &mut self.printer.count {
                *left -= 1;
                if *left == 0 {
                    return Ok(true);
                }
            }
            if self.text.len() >= MAX_TEXT_BYTES {
                self.flush()?;
            }
        }
        Ok(false)
    }

    fn show(&mut self, heard: &Heard, received: Received, preview: Option<&Preview>) {
        // What no source takes is set aside by the daemon, not by the one source that is looked at.
        let is_anyones = self.printer.only.is_none();
        self.set_aside |= preview.map_or(is_anyones, |preview| !preview.set_aside.is_empty());
        if self.printer.json {
            let told = as_json(&heard.topic, preview, self.printer.only.as_deref());
            self.text.push_str(&told.to_string());
            self.text.push('\n');
            return;
        }
        let now = Instant::now();
        let hidden = self.pace.pass(now);
        self.tell_hidden(hidden);
        if self.pace.admits(now) {
            let lines = in_words(heard, received, preview, self.printer.only.as_deref());
            self.block(&lines);
        }
    }

    /// Messages that found no room; among objects they are told on standard error.
    fn tell_dropped(&mut self, dropped: u64) {
        if dropped == 0 {
            return;
        }
        let what = format!("… {} left out: they come faster than they can be printed", plural(dropped, "message"));
        if self.printer.json { say(&what) } else { self.block(&format!("{what}\n")) }
    }

    fn tell_hidden(&mut self, hidden: u64) {
        if hidden > 0 {
            self.block(&format!("… and {} more in this second\n", count(hidden)));
        }
    }

    /// Adds some lines, behind a blank one.
    fn block(&mut self, lines: &str) {
        if !mem::take(&mut self.is_first) {
            self.text.push('\n');
        }
        self.text.push_str(lines);
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.text.is_empty() { Ok(()) } else { emit(&mem::take(&mut self.text)) }
    }
}

impl Printer {
    fn preview(&mut self, heard: &Heard, received: Received) -> Option<Preview> {
        let Heard { topic, payload, payload_bytes, retain, user_properties, fault } = heard;
        match fault {
            Some(fault) => self.previewer.unreadable(topic, (*fault).to_owned()),
            None if *payload_bytes > payload.len() => self.previewer.oversized(topic, *payload_bytes),
            None => {
                let retain = *retain;
                let message = Incoming { topic, payload, retain, user_properties, received, ..Incoming::default() };
                self.previewer.preview(&message)
            }
        }
    }
}

/// The preview as an object, with the topic. Where no source takes it, the reason is the daemon's.
fn as_json(topic: &str, preview: Option<&Preview>, only: Option<&str>) -> Value {
    let nobodys = || {
        let set_aside = match only {
            None => json!([{ "reason": NoRoute::Unmatched.to_string() }]),
            Some(_) => json!([]),
        };
        json!({ "source": null, "rows": [], "set_aside": set_aside, "empty": false, "clears": false })
    };
    let mut told = preview.map_or_else(nobodys, Preview::as_json);
    told["topic"] = json!(topic);
    told
}

fn in_words(heard: &Heard, received: Received, preview: Option<&Preview>, only: Option<&str>) -> String {
    let retained = if heard.retain { "  retained" } else { "" };
    let head = format!("{}  {}{retained}\n", to_millis(received.wall), tame(&heard.topic));
    match (preview, only) {
        (Some(preview), _) => head + &words::of(preview),
        (None, None) => format!("{head}source: none\nset aside: {}\n", NoRoute::Unmatched),
        (None, Some(name)) => format!("{head}source: none; source.{name} does not take the topic\n"),
    }
}

/// The time to the millisecond.
fn to_millis(time: Timestamp) -> String {
    let shown = jiff::Timestamp::from_nanosecond(i128::from(time.0));
    shown.map_or_else(|_| time.to_string(), |shown| format!("{shown:.3}"))
}

/// How many messages are shown in a second; the others are counted.
#[derive(Debug, Default)]
struct Pace {
    /// When the second began.
    since: Option<Instant>,
    shown: u32,
    hidden: u64,
}

impl Pace {
    /// Whether one more may be shown; else it is counted.
    fn admits(&mut self, now: Instant) -> bool {
        self.since.get_or_insert(now);
        let may = self.shown < MAX_A_SECOND;
        self.shown += u32::from(may);
        self.hidden += u64::from(!may);
        may
    }

    /// Ends the second, if it is over: how many were not shown in it.
    fn pass(&mut self, now: Instant) -> u64 {
        if self.since.is_some_and(|since| now >= since + SECOND) { self.end() } else { 0 }
    }

    /// How many were not shown, which are told now.
    fn end(&mut self) -> u64 {
        mem::take(self).hidden
    }

    /// When there is something to be told.
    fn due(&self) -> Option<Instant> {
        self.since.filter(|_| self.hidden > 0).map(|since| since + SECOND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_shown_in_a_second_and_the_rest_is_counted() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        let shown = (0..MAX_A_SECOND + 312).filter(|_| pace.admits(start)).count();
        assert_eq!((shown, pace.due()), (MAX_A_SECOND as usize, Some(start + SECOND)));
        assert_eq!(pace.pass(start + SECOND / 2), 0, "the second is not over");
        assert_eq!(pace.pass(start + SECOND), 312);
        assert!(pace.admits(start + SECOND) && pace.due().is_none());
        assert_eq!(pace.end(), 0);
    }

    fn work(json: bool, count: Option<u64>) -> Work {
        let sources = "[source.s]\ntopic = \"a/{x}\"\ntable = \"t\"\nfields = { v = \"long\" }";
        let settings = toml::from_str(sources).expect("settings");
        let previewer = Previewer::new(&settings, None).expect("sound sources");
        let printer = Printer { previewer, only: None, within: Some("a/#".into()), count, json };
        Work { printer, pace: Pace::default(), text: String::new(), is_first: true, set_aside: false }
    }

    fn messages(of: &[(&str, &str)]) -> VecDeque<(Heard, Received)> {
        let received = Received { wall: Timestamp(1_772_366_400_123_456_789), since_boot_ns: 1 };
        let heard = |(topic, payload): &(&str, &str)| {
            let payload = payload.as_bytes().to_vec();
            (Heard { topic: (*topic).into(), payload_bytes: payload.len(), payload, ..Heard::default() }, received)
        };
        of.iter().map(heard).collect()
    }

    #[test]
    fn words_have_a_head_and_a_blank_line_between() {
        let mut work = work(false, None);
        assert!(!work.print(messages(&[("a/\u{1b}", r#"{"v":1}"#), ("b/1", "{}"), ("a/2", "")])).expect("printed"));
        let head = "2026-03-01T12:00:00.123Z  a/\\u{1b}\nsource: s\nrow: table t\n";
        assert!(work.text.starts_with(head), "{}", work.text);
        assert!(work.text.contains("v = 1\n\n2026-03-01T12:00:00.123Z  a/2\nsource: s\nclears: "), "{}", work.text);
        assert!(!work.text.contains("b/1") && !work.set_aside, "it is outside of the filter: {}", work.text);
        work.tell_dropped(1_000);
        assert!(work.text.ends_with("\n\n… 1,000 messages left out: they come faster than they can be printed\n"));
    }

    #[test]
    fn objects_have_the_topic_and_all_are_shown() {
        let mut work = work(true, Some(151));
        let many = vec![("a/1", r#"{"v":1}"#); 150];
        assert!(!work.print(messages(&many)).expect("printed"));
        assert!(work.print(messages(&[("a/b/c", "{}"), ("a/1", "{}")])).expect("printed"), "so many were asked for");
        let objects: Vec<Value> = work.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert!(objects.len() == 151 && objects[0]["topic"] == "a/1" && objects[0]["rows"][0]["fields"]["v"] == 1);
        let last = &objects[150];
        assert!(last["source"].is_null() && last["topic"] == "a/b/c" && work.set_aside, "{last}");
        assert_eq!(last["set_aside"][0]["reason"], NoRoute::Unmatched.to_string());
    }

    #[test]
    fn what_was_cut_or_is_broken_is_set_aside() {
        let mut work = work(false, None);
        let mut messages = messages(&[("a/1", ""), ("a/2", "")]);
        messages[0].0.payload_bytes = 9_999_999;
        messages[1].0.fault = Some("it has no topic");
        work.print(messages).expect("printed");
        assert!(work.text.contains("set aside: it has 9999999 bytes") && work.set_aside, "{}", work.text);
        assert!(work.text.contains("set aside: it has no topic"), "{}", work.text);
    }

    #[test]
    fn one_source_alone_sets_nothing_aside_that_it_does_not_take() {
        let mut work = work(false, None);
        work.printer.only = Some("s".into());
        work.print(messages(&[("a/b/c", "{}")])).expect("printed");
        assert!(work.text.contains("source: none; source.s does not take the topic") && !work.set_aside);
    }
}
