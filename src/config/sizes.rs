//! Default sizes that depend on the machine (pure): a ring, a quarantine and a memory for latest
//! values that are not set fit into the room there is. [`super::machine`] looks at it.
//!
//! | key | by default at most | and at least |
//! |---|---|---|
//! | `ring.size` | an eighth of the room that is free where its file will be | 16 × `mqtt.max_payload`, 1 MiB |
//! | `quarantine.size` | a 128th of the same where its own files will be | 4 × `mqtt.max_payload`, 1 MiB |
//! | `latest.max_bytes` | an eighth of the memory | 1 MiB |
//! | `latest.history_bytes` | a 32nd of the memory | 1 MiB |
//! | `batch.max_buffered` | a 16th of the memory | 4 MiB |
//!
//! In whole MiB, and never more than the usual defaults. Files that are there keep the size they
//! have. What is set is taken as it is, and what the machine does not tell changes nothing.

use std::{fmt, path::PathBuf};

use super::validate::{
    questdb::MIN_BUFFERED,
    storage::{MESSAGES_PER_QUARANTINE, MESSAGES_PER_RING, MIN_FILE, MIN_LATEST},
};
use crate::settings::{Bytes, Settings};

/// The ring gets this part of the free room.
const RING_PART: u64 = 8;
/// The quarantine this one: a sixteenth of the ring's.
const QUARANTINE_PART: u64 = 128;
/// Latest values get this part of the memory.
const LATEST_PART: u64 = 8;
/// Their remembered moments this one.
const HISTORY_PART: u64 = 32;
/// Rows on the way to the database this one.
const BUFFERED_PART: u64 = 16;
const MIB: u64 = 1 << 20;

/// What of the machine decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// Where the ring is.
    pub ring: Site,
    /// Where the quarantine is.
    pub quarantine: Site,
    /// Memory that this process may have; none where nothing tells.
    pub memory: Option<Bytes>,
}

/// The place of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Site {
    /// The file.
    pub file: Existing,
    /// The room for it; none where nothing tells.
    pub room: Option<Room>,
}

/// A file that is there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Existing {
    /// It cannot be told.
    #[default]
    Unknown,
    /// There is none, or nothing that is one: one will be created.
    None,
    /// It has this size.
    Sized(Bytes),
    /// It has at least this size: it does not tell more.
    AtLeast(Bytes),
}

/// Room on a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// A directory of it.
    pub directory: PathBuf,
    /// What a program that is not root may still take.
    pub free: Bytes,
}

/// A default that is another than the usual one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The key's path.
    pub key: &'static str,
    /// What it is here.
    pub value: Bytes,
    /// What it is where there is room.
    pub usual: Bytes,
    /// Why.
    pub because: Because,
}

/// Why a default is another than the usual one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// The file has this size.
    Existing,
    /// There is no more room.
    Room(Room),
    /// There is no more memory.
    Memory(Bytes),
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Existing => f.write_str("the file is there and keeps its size"),
            Self::Room(Room { directory, free }) => {
                write!(f, "{} has {} MiB free", directory.display(), free.0 / MIB)
            }
            Self::Memory(memory) => write!(f, "there are {} MiB of memory", memory.0 / MIB),
        }
    }
}

/// What becomes of the defaults on this machine. `is_set` says of a key whether the operator has
/// set it.
pub fn choose(settings: &Settings, is_set: &dyn Fn(&str) -> bool, machine: &Machine) -> Vec<Chosen> {
    let usual = Settings::default();
    let payloads = |number: u64| MIN_FILE.max(Bytes(settings.mqtt.max_payload.0.saturating_mul(number)));
    let of_memory = |part, least, usual| {
        let memory = machine.memory?;
        Some((share(memory, part, least, usual), Because::Memory(memory)))
    };
    let (ring, quarantine) = (payloads(MESSAGES_PER_RING), payloads(MESSAGES_PER_QUARANTINE));
    let (latest, batch) = (&usual.latest, &usual.batch);
    let all = [
        ("ring.size", usual.ring.size, of_file(&machine.ring, RING_PART, ring, usual.ring.size)),
        (
            "quarantine.size",
            usual.quarantine.size,
            of_file(&machine.quarantine, QUARANTINE_PART, quarantine, usual.quarantine.size),
        ),
        ("latest.max_bytes", latest.max_bytes, of_memory(LATEST_PART, MIN_LATEST, latest.max_bytes)),
        ("latest.history_bytes", latest.history_bytes, of_memory(HISTORY_PART, MIN_LATEST, latest.history_bytes)),
        ("batch.max_buffered", batch.max_buffered, of_memory(BUFFERED_PART, MIN_BUFFERED, batch.max_buffered)),
    ];
    let chosen = |(key, usual, found): (&'static str, Bytes, Option<(Bytes, Because)>)| {
        let (value, because) = found.filter(|(value, _)| *value != usual && !is_set(key))?;
        Some(Chosen { key, value, usual, because })
    };
    all.into_iter().filter_map(chosen).collect()
}

/// Puts what was chosen into the settings.
pub fn apply<'a>(settings: &mut Settings, chosen: impl IntoIterator<Item = &'a Chosen>) {
    for Chosen { key, value, .. } in chosen {
        if let Some(size) = place(settings, key) {
            *size = *value;
        }
    }
}

/// The setting of a key.
fn place<'a>(settings: &'a mut Settings, key: &str) -> Option<&'a mut Bytes> {
    Some(match key {
        "ring.size" => &mut settings.ring.size,
        "quarantine.size" => &mut settings.quarantine.size,
        "latest.max_bytes" => &mut settings.latest.max_bytes,
        "latest.history_bytes" => &mut settings.latest.history_bytes,
        "batch.max_buffered" => &mut settings.batch.max_buffered,
        _ => return None,
    })
}

/// What is to be said of defaults that are smaller than usual: one line for each reason. Files that
/// keep their size are no news.
#[must_use]
pub fn told(chosen: &[Chosen]) -> Vec<String> {
    let mut lines: Vec<(&Because, Vec<String>)> = Vec::new();
    for Chosen { key, value, usual, because } in chosen.iter().filter(|chosen| chosen.because != Because::Existing) {
        let one = format!("{key} is {value} instead of {usual}");
        match lines.iter_mut().find(|(reason, _)| *reason == because) {
            Some((_, all)) => all.push(one),
            None => lines.push((because, vec![one])),
        }
    }
    let line = |(because, all): (&Because, Vec<String>)| {
        format!("{because}: {}; what is set is taken as it is", all.join(", "))
    };
    lines.into_iter().map(line).collect()
}

/// What a file gets; none where nothing tells.
fn of_file(site: &Site, part: u64, least: Bytes, usual: Bytes) -> Option<(Bytes, Because)> {
    let by_room = || {
        let room = site.room.clone()?;
        Some((share(room.free, part, least, usual), Because::Room(room)))
    };
    match site.file {
        Existing::Unknown => None,
        Existing::None => by_room(),
        Existing::Sized(size) => Some((size, Because::Existing)),
        Existing::AtLeast(size) => {
            by_room().filter(|(by_room, _)| *by_room >= size).or(Some((size, Because::Existing)))
        }
    }
}

/// A part of what there is, in whole MiB and within the limits. The usual size is the upper one,
/// also where it is less than the least: that the usual size is too small is for the check of the
/// settings to say.
fn share(of: Bytes, part: u64, least: Bytes, usual: Bytes) -> Bytes {
    Bytes(of.0 / part / MIB * MIB).clamp(least.min(usual), usual)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEYS: [&str; 5] =
        ["ring.size", "quarantine.size", "latest.max_bytes", "latest.history_bytes", "batch.max_buffered"];

    fn free(mib: u64) -> Site {
        let room = Room { directory: "/var/lib/forebay".into(), free: Bytes::mib(mib) };
        Site { file: Existing::None, room: Some(room) }
    }

    fn machine(free_mib: u64, memory_mib: u64) -> Machine {
        Machine { ring: free(free_mib), quarantine: free(free_mib), memory: Some(Bytes::mib(memory_mib)) }
    }

    fn sizes(settings: &Settings) -> [Bytes; 5] {
        let mut settings = settings.clone();
        KEYS.map(|key| *place(&mut settings, key).expect("a size"))
    }

    /// The sizes on a machine where nothing is set.
    fn sizes_on(machine: &Machine) -> [u64; 5] {
        let mut settings = Settings::default();
        let chosen = choose(&settings, &|_| false, machine);
        apply(&mut settings, &chosen);
        sizes(&settings).map(|size| size.0 / MIB)
    }

    #[test]
    fn a_large_machine_gets_the_usual_sizes_and_small_ones_get_less() {
        let usual = sizes(&Settings::default()).map(|size| size.0 / MIB);
        for (free_mib, memory_mib, wanted) in [
            (2_048, 768, usual),
            (1_000_000, 1_000_000, usual),
            (2_047, 255, [255, 15, 31, 7, 15]),
            (600, 64, [75, 4, 8, 2, 4]),
            (100, 8, [12, 1, 1, 1, 4]),
            (0, 0, [4, 1, 1, 1, 4]),
        ] {
            assert_eq!(sizes_on(&machine(free_mib, memory_mib)), wanted, "{free_mib} MiB, {memory_mib} MiB");
        }
        assert_eq!(sizes_on(&Machine::default()), usual, "nothing tells");
    }

    #[test]
    fn a_file_that_is_there_keeps_its_size() {
        let mut machine = machine(600, 1_024);
        (machine.ring.file, machine.quarantine.file) =
            (Existing::Sized(Bytes::mib(9)), Existing::Sized(Bytes::mib(32)));
        assert_eq!(sizes_on(&machine)[..2], [9, 32]);
        machine.quarantine.file = Existing::AtLeast(Bytes::mib(3));
        assert_eq!(sizes_on(&machine)[1], 4, "there is room for more");
        machine.quarantine.file = Existing::AtLeast(Bytes::mib(6));
        assert_eq!(sizes_on(&machine)[1], 6, "what is in it stays");
        (machine.ring.file, machine.ring.room) = (Existing::Unknown, free(8).room);
        assert_eq!(sizes_on(&machine)[0], 256, "it may be there");
    }

    #[test]
    fn what_is_chosen_is_told_with_its_reason_in_a_line_each() {
        let mut machine = machine(600, 64);
        let chosen = choose(&Settings::default(), &|key| key == "batch.max_buffered", &machine);
        assert_eq!(
            told(&chosen),
            [
                "/var/lib/forebay has 600 MiB free: ring.size is 75MiB instead of 256MiB, quarantine.size is 4MiB instead of 16MiB; \
                 what is set is taken as it is",
                "there are 64 MiB of memory: latest.max_bytes is 8MiB instead of 96MiB, latest.history_bytes is 2MiB instead of 24MiB; \
                 what is set is taken as it is",
            ]
        );
        (machine.ring.file, machine.memory) = (Existing::Sized(Bytes::mib(75)), None);
        let lines = told(&choose(&Settings::default(), &|_| false, &machine));
        assert!(
            lines.len() == 1 && !lines[0].contains("ring.size"),
            "a file that keeps its size is no news: {lines:?}"
        );
    }

    #[test]
    fn a_usual_size_that_is_too_small_is_left_for_the_check_of_the_settings() {
        let mut settings = Settings::default();
        settings.mqtt.max_payload = Bytes::mib(64);
        assert!(choose(&settings, &|_| false, &machine(8, 1_024)).is_empty());
    }

    fn existing() -> impl Strategy<Value = Existing> {
        prop_oneof![
            Just(Existing::Unknown),
            Just(Existing::None),
            (MIN_FILE.0..1 << 42).prop_map(|bytes| Existing::Sized(Bytes(bytes))),
            (MIN_FILE.0..1 << 42).prop_map(|bytes| Existing::AtLeast(Bytes(bytes))),
        ]
    }

    fn site() -> impl Strategy<Value = Site> {
        let room = prop::option::of(any::<u64>().prop_map(|free| Room { directory: "/d".into(), free: Bytes(free) }));
        (existing(), room).prop_map(|(file, room)| Site { file, room })
    }

    proptest! {
        #[test]
        fn what_is_chosen_is_within_the_limits_and_what_is_set_stays(
            (ring, quarantine) in (site(), site()),
            memory in prop::option::of(any::<u64>().prop_map(Bytes)),
            set in prop::collection::vec(any::<bool>(), KEYS.len()),
            payload in 1024_u64..1 << 30,
        ) {
            let mut settings = Settings::default();
            settings.mqtt.max_payload = Bytes(payload);
            let before = sizes(&settings);
            let machine = Machine { ring, quarantine, memory };
            let is_set = |key: &str| KEYS.iter().zip(&set).any(|(own, set)| *own == key && *set);
            let chosen = choose(&settings, &is_set, &machine);
            apply(&mut settings, &chosen);
            let files = [&machine.ring, &machine.quarantine].map(|site| site.file);
            for (number, (key, (size, usual))) in KEYS.iter().zip(sizes(&settings).into_iter().zip(before)).enumerate() {
                if is_set(key) {
                    prop_assert_eq!(size, usual, "{} is set", key);
                    continue;
                }
                match files.get(number) {
                    Some(Existing::Sized(own)) => prop_assert_eq!(size, *own, "{} keeps its size", key),
                    Some(Existing::AtLeast(own)) => prop_assert!(size >= *own, "{}", key),
                    _ => prop_assert!(size <= usual, "{}: {} of {}", key, size, usual),
                }
                let least = match number {
                    0 => Bytes(payload * MESSAGES_PER_RING).max(MIN_FILE),
                    1 => Bytes(payload * MESSAGES_PER_QUARANTINE).max(MIN_FILE),
                    4 => MIN_BUFFERED,
                    _ => MIN_LATEST,
                };
                let keeps = matches!(files.get(number), Some(Existing::Sized(_) | Existing::AtLeast(_)));
                prop_assert!(keeps || size >= least.min(usual), "{}: {}, {} at least", key, size, least);
            }
        }

        #[test]
        fn more_room_never_makes_anything_smaller(less in (0_u64..1 << 20, 0_u64..1 << 20), more in (0_u64..1 << 20, 0_u64..1 << 20)) {
            let small = sizes_on(&machine(less.0, less.1));
            let large = sizes_on(&machine(less.0 + more.0, less.1 + more.1));
            prop_assert!(small.iter().zip(&large).all(|(small, large)| small <= large), "{:?} {:?}", small, large);
        }
    }
}
