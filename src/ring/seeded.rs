//! Bugs that the crash tests switch on one by one, to show that each would be found. Outside of unit tests there are none.

/// A mistake that costs or invents data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code, reason = "each is named where it would be made, and made in tests only"))]
pub enum Bug {
    /// Acknowledges a commit before its sync.
    AckBeforeSync,
    /// Takes a sync that failed for one that succeeded.
    IgnoreFailedSync,
    /// Says in the header that what is only appended is durable.
    HeaderBeforeData,
    /// Frees space before the header with the new tail is synced.
    FreeBeforeTail,
    /// Leaves the ring's id out of the checksum.
    NoRingId,
    /// Takes records of any open generation.
    NoGeneration,
    /// Builds on what recovery found without making it durable.
    TrustUnsyncedEnd,
    /// Ends the scan at the first record that does not check out.
    EndAtDamage,
    /// Ends a commit where its body ends, within a sector.
    UnalignedCommit,
    /// Lets the head run one sector into what the tail still holds.
    WrapOffByOne,
    /// Keeps the beginning of a message whose end is missing.
    KeepCutMessage,
    /// Settles one record more than a lane has a fate for.
    SettleOneMore,
    /// Writes every header into the same slot.
    OneSlot,
    /// Seals a commit with what is durable after it, not before it.
    DurableAhead,
    /// Acknowledges a refused message before the header that counts it is synced.
    AckRefusedBeforeSync,
    /// Moves the tail past state that is nowhere else.
    StateLeftBehind,
    /// Moves the tail past held rows whose release is not durable.
    HeldLeftBehind,
    /// Acknowledges a message without a record before the commit that counts it is synced.
    AckNoteBeforeSync,
    /// Forgets what rows behind the last commit add to the counts of their source.
    UnsealedNotCounted,
}

crate::seeded::switch!(Bug);
