//! The header slots, one by one and together.

use std::io;

use serde::{Deserialize, Serialize};

use crate::ring::{
    headers::{self, FoundHeader},
    layout::{Header, SECTOR_BYTES, SLOT_BYTES, SlotError},
    media::Media,
};

/// How often a slot is read before it is called damaged: a running daemon may be writing it.
const LOOKS: usize = 3;

/// The header that counts, from the slots or, where both are lost, from the commits; or why there is none.
pub(super) fn find(media: &dyn Media) -> io::Result<Result<FoundHeader, SlotError>> {
    headers::find_header(media)
}

/// The state of a header slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Where in the file it lies.
    pub offset: u64,
    /// Whether it can be used.
    pub state: SlotState,
    /// Which write of the header it holds; the valid slot with the higher one is the truth.
    pub counter: Option<u64>,
}

/// Whether a slot can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlotState {
    /// It checks out.
    Valid,
    /// It was never written: only zeros.
    Empty,
    /// It does not check out.
    Damaged,
    /// It is of another format version.
    Version(u32),
}

/// Both slots.
pub fn slots(media: &dyn Media) -> io::Result<[Slot; 2]> {
    let (a, b) = (slot(media, 0)?, slot(media, SLOT_BYTES)?);
    // The second slot is first written by the first start: zeros are in order only beside the very first header.
    let begun = |other: &Slot| other.counter.is_some_and(|counter| counter > 1);
    let damaged_if = |slot: &Slot, wrong: bool| match slot.state {
        SlotState::Empty if wrong => Slot { state: SlotState::Damaged, ..slot.clone() },
        _ => slot.clone(),
    };
    Ok([damaged_if(&a, begun(&b)), damaged_if(&b, begun(&a))])
}

fn slot(media: &dyn Media, offset: u64) -> io::Result<Slot> {
    let mut sector = [0; SECTOR_BYTES as usize];
    let mut found = Slot { offset, state: SlotState::Damaged, counter: None };
    for _ in 0..LOOKS {
        media.load(offset, &mut sector)?;
        match Header::decode(&sector) {
            Ok(header) => return Ok(Slot { state: SlotState::Valid, counter: Some(header.counter), ..found }),
            Err(SlotError::Version(version)) => found.state = SlotState::Version(version),
            Err(SlotError::Damaged) if sector.iter().all(|byte| *byte == 0) => found.state = SlotState::Empty,
            Err(SlotError::Damaged) => found.state = SlotState::Damaged,
        }
    }
    Ok(found)
}
