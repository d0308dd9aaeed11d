//! What was heard, by topic, within limits. Pure.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{Hash, Hasher},
    time::Duration,
};

use crate::{mqtt::listener::Heard, point::Timestamp};

/// How much is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Topics; messages on others are counted.
    pub topics: usize,
    /// Longest topic in bytes; messages on longer ones are counted.
    pub topic_bytes: usize,
    /// Messages kept of a topic.
    pub kept: usize,
    /// Bytes of a payload that is kept.
    pub payload_bytes: usize,
    /// Bytes of all payloads that are kept.
    pub all_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { topics: 2_000, topic_bytes: 1_024, kept: 8, payload_bytes: 64 << 10, all_bytes: 8 << 20 }
    }
}

/// A message that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The payload.
    pub payload: Vec<u8>,
    /// When it came.
    pub received: Timestamp,
    /// Whether the broker had kept it from before.
    pub retain: bool,
    /// The payload without digits, hashed: messages that differ in numbers alone have one outline.
    outline: u64,
}

/// What was heard on a topic.
#[derive(Debug, Clone, Default)]
pub struct Topic {
    /// Messages.
    pub messages: u64,
    /// Messages that the broker had kept from before.
    pub retained: u64,
    /// Messages whose payload is larger than what is kept.
    pub oversized: u64,
    /// Messages whose packet is broken.
    pub faulty: u64,
    /// When the first and the last live one came.
    pub live: Option<(Timestamp, Timestamp)>,
    /// Distinct payloads, the oldest first.
    pub kept: VecDeque<Kept>,
}

impl Topic {
    /// Messages that came while it was listened, and were not kept by the broker before.
    #[must_use]
    pub fn live_messages(&self) -> u64 {
        self.messages.saturating_sub(self.retained)
    }
}

/// What was heard.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    limits: Limits,
    /// By topic.
    pub topics: BTreeMap<String, Topic>,
    /// All messages.
    pub messages: u64,
    /// Messages on topics beyond the limits.
    pub beyond: u64,
    /// When the first live message came, and the last.
    pub live: Option<(Timestamp, Timestamp)>,
    /// How long it was listened; none where only the messages tell it.
    pub listened: Option<Duration>,
    bytes: usize,
}

impl Notes {
    /// Nothing was heard yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// How long it was listened, as far as that is known.
    #[must_use]
    pub fn span(&self) -> Duration {
        let told = self.live.map_or(0, |(first, last)| last.0.saturating_sub(first.0).max(0));
        self.listened.unwrap_or(Duration::from_nanos(told.unsigned_abs()))
    }

    /// Bytes of payloads that are kept.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.bytes
    }

    /// Takes note of a message. What the broker says of itself (`$SYS`) is passed over.
    pub fn note(&mut self, heard: &Heard, received: Timestamp) {
        if heard.topic == "$SYS" || heard.topic.starts_with("$SYS/") {
            return;
        }
        self.messages += 1;
        let is_new = !self.topics.contains_key(&heard.topic);
        let has_room = self.topics.len() < self.limits.topics && heard.topic.len() <= self.limits.topic_bytes;
        if is_new && !has_room {
            self.beyond += 1;
            return;
        }
        if !heard.retain {
            let (first, _) = self.live.unwrap_or((received, received));
            self.live = Some((first, received));
        }
        let topic = self.topics.entry(heard.topic.clone()).or_default();
        topic.count(heard, received);
        if heard.fault.is_some() {
            topic.faulty += 1;
        } else if heard.payload_bytes > self.limits.payload_bytes || heard.payload.len() != heard.payload_bytes {
            topic.oversized += 1;
        } else {
            self.bytes = topic.keep(heard, received, &self.limits, self.bytes);
        }
    }
}

impl Topic {
    fn count(&mut self, heard: &Heard, received: Timestamp) {
        self.messages += 1;
        if heard.retain {
            self.retained += 1;
        } else {
            let (first, _) = self.live.unwrap_or((received, received));
            self.live = Some((first, received));
        }
    }

    /// Keeps the payload, in the place of an older one of the same outline, or of the oldest, where
    /// there are enough. Gives the bytes of all payloads then, which were `bytes` before.
    fn keep(&mut self, heard: &Heard, received: Timestamp, limits: &Limits, bytes: usize) -> usize {
        if let Some(known) = self.kept.iter_mut().find(|kept| kept.payload == heard.payload) {
            // A live message says more than one that the broker had kept.
            if known.retain || !heard.retain {
                (known.received, known.retain) = (received, heard.retain);
            }
            return bytes;
        }
        let outline = outline(&heard.payload);
        let is_full = self.kept.len() >= limits.kept;
        let alike = self.kept.iter().position(|kept| kept.outline == outline).unwrap_or(0);
        let replaced = if is_full { self.kept.get(alike).map_or(0, |kept| kept.payload.len()) } else { 0 };
        let after = bytes.saturating_sub(replaced) + heard.payload.len();
        if after > limits.all_bytes || limits.kept == 0 {
            return bytes;
        }
        if is_full {
            self.kept.remove(alike);
        }
        let payload = heard.payload.clone();
        self.kept.push_back(Kept { payload, received, retain: heard.retain, outline });
        after
    }
}

fn outline(payload: &[u8]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    for byte in payload.iter().filter(|byte| !matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+')) {
        byte.hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heard(topic: &str, payload: &[u8], retain: bool) -> Heard {
        let (topic, payload_bytes) = (topic.to_owned(), payload.len());
        Heard { topic, payload: payload.to_vec(), payload_bytes, retain, ..Heard::default() }
    }

    #[test]
    fn distinct_payloads_are_kept_and_the_oldest_of_an_outline_gives_way() {
        let mut notes = Notes::new(Limits { kept: 3, ..Limits::default() });
        for (at, payload) in ["ON", "1", "1", "2", "3", "4"].iter().enumerate() {
            notes.note(&heard("a", payload.as_bytes(), at == 0), Timestamp(at as i64));
        }
        let topic = &notes.topics["a"];
        let kept: Vec<_> = topic.kept.iter().map(|kept| String::from_utf8_lossy(&kept.payload)).collect();
        assert_eq!(kept, ["ON", "3", "4"]);
        assert_eq!((topic.messages, topic.retained, topic.live), (6, 1, Some((Timestamp(1), Timestamp(5)))));
        assert_eq!(notes.kept_bytes(), 4);
    }

    #[test]
    fn what_is_beyond_the_limits_is_counted() {
        let limits = Limits { topics: 2, topic_bytes: 3, payload_bytes: 4, all_bytes: 6, kept: 8 };
        let mut notes = Notes::new(limits);
        for (topic, payload) in
            [("a", "1"), ("b", "1234"), ("b", "5678"), ("c", "1"), ("long", "1"), ("a", "12345"), ("$SYS/x", "1")]
        {
            notes.note(&heard(topic, payload.as_bytes(), false), Timestamp(0));
        }
        assert_eq!((notes.messages, notes.beyond, notes.topics.len(), notes.kept_bytes()), (6, 2, 2, 5));
        assert_eq!((notes.topics["a"].oversized, notes.topics["b"].kept.len()), (1, 1));
    }

    proptest! {
        #[test]
        fn the_limits_hold(messages in prop::collection::vec(
            (0..9u8, prop::collection::vec(any::<u8>(), 0..12), any::<bool>()), 0..200)) {
            let limits = Limits { topics: 4, topic_bytes: 8, kept: 3, payload_bytes: 8, all_bytes: 40 };
            let mut notes = Notes::new(limits);
            for (topic, payload, retain) in &messages {
                notes.note(&heard(&format!("t/{topic}"), payload, *retain), Timestamp(1));
            }
            let sum = |of: fn(&Topic) -> u64| notes.topics.values().map(of).sum::<u64>();
            prop_assert!(notes.topics.len() <= 4 && notes.topics.values().all(|topic| topic.kept.len() <= 3));
            prop_assert_eq!(sum(|topic| topic.messages) + notes.beyond, messages.len() as u64);
            let bytes: usize = notes.topics.values().flat_map(|topic| &topic.kept).map(|kept| kept.payload.len()).sum();
            prop_assert!(bytes == notes.kept_bytes() && bytes <= 40);
        }
    }
}
