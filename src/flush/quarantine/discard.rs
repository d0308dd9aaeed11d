//! Taking entries out for good, a batch at a time.

use std::io;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    id::Id,
    select::Selection,
    snapshot::{Cursor, Place, Snapshot},
};

/// Most entries a request takes out.
pub const MAX_DISCARDED: usize = 10_000;
/// Entries taken out between two chances for others to push.
const PER_HOLD: usize = 1_000;

/// Takes named entries out of where they are; how many were in.
pub type TakeOut<'a> = &'a mut dyn FnMut(&[(Place, Id)]) -> io::Result<u64>;

/// What was taken out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Discarded {
    /// Entries meant that the request could have come to, those of later requests included.
    pub matched: u64,
    /// Entries taken out.
    pub dropped: u64,
    /// Entries meant that are older than those of this request.
    pub remaining: u64,
    /// Where the next request goes on; none when nothing remains.
    pub cursor: Option<String>,
}

/// Takes the newest entries meant before a place out, at most [`MAX_DISCARDED`].
pub fn discard(
    snapshot: &Snapshot,
    selection: &Selection,
    before: Option<Cursor>,
    take_out: TakeOut<'_>,
) -> io::Result<Discarded> {
    let newest = snapshot.newest(selection, before, MAX_DISCARDED)?;
    let mut dropped = 0;
    for places in newest.places.chunks(PER_HOLD) {
        let mut named = Vec::with_capacity(places.len());
        for place in places {
            named.extend(snapshot.load(*place)?.map(|owned| (*place, Id::from(&owned.entry()))));
        }
        dropped += take_out(&named)?;
    }
    let last = newest.places.last().filter(|_| newest.more > 0);
    Ok(Discarded {
        matched: newest.places.len() as u64 + newest.more,
        dropped,
        remaining: newest.more,
        cursor: last.map(ToString::to_string),
    })
}
