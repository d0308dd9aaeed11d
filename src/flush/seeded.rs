//! Bugs that the simulation switches on one by one, to show that each would be found. Outside of unit tests there are none.

/// A mistake that costs rows or their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code, reason = "each is named where it would be made, and made in tests only"))]
pub enum Bug {
    /// Sends the first batch of what goes again, and then goes on where it had been.
    ResendFirstOnly,
    /// Takes a request without an answer for one that is never executed.
    NoLateRewind,
    /// Counts the grace from the failure, not from the database's next answer.
    GraceFromFailure,
    /// Forgets at a start that requests of the life before may still be executed.
    NoLateAtStart,
    /// Watches a server that has not said when it was started.
    VigilWithoutAnswer,
    /// Goes on at settled after a restart of the server, not at safe.
    RewindToSettled,
    /// Does not ask whether the server was restarted.
    NoVigil,
    /// Takes a rewind's course instead of uniting it with the one under way.
    CourseReplaced,
    /// Settles a batch when it is sent.
    SettleBeforeAnswer,
    /// Sends the second half of a refused batch before the first.
    SuccessorsFirst,
    /// Does not widen a table's keys before rows with a new symbol.
    NoBarrier,
    /// Lets rows become safe while they, or rows before them, are to be sent again.
    NothingHeld,
    /// Sends the request that is at hand although the server may be another.
    FollowWithoutLook,
    /// Does not look whether tables are the ones they were.
    NoLook,
    /// Sends nothing again to a table that was made again.
    ChangedForgotten,
}

impl Bug {
    /// All of them.
    #[cfg(test)]
    pub const ALL: [Self; 15] = [
        Self::ResendFirstOnly,
        Self::NoLateRewind,
        Self::GraceFromFailure,
        Self::NoLateAtStart,
        Self::VigilWithoutAnswer,
        Self::RewindToSettled,
        Self::NoVigil,
        Self::CourseReplaced,
        Self::SettleBeforeAnswer,
        Self::SuccessorsFirst,
        Self::NoBarrier,
        Self::NothingHeld,
        Self::FollowWithoutLook,
        Self::NoLook,
        Self::ChangedForgotten,
    ];
}

crate::seeded::switch!(Bug);
