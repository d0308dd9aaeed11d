//! What of a message could not become part of a row, while the rest did. Pure.

use std::fmt::Write;

use super::DecodeError;
use crate::point::Text;

/// Most faults of a message that are described; the others are counted.
const MAX_DESCRIBED: usize = 16;

/// The kind of a fault. Of each source, member and kind so many a day are kept as dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// A value that the member's declared type cannot hold.
    Type,
    /// A name that is too long.
    Name,
    /// A second member of one name.
    Twice,
    /// A value longer than allowed.
    Length,
    /// More members than a row may have, or deeper ones.
    Count,
    /// An object or array where a single value is wanted, or the other way round.
    Shape,
    /// A string or number that is written wrongly.
    Text,
    /// A time too far ahead of the clock.
    Future,
}

/// A member, or an element, that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The number of the row that lacks it, among the rows of the message; none where the row is
    /// left out.
    pub row: Option<usize>,
    /// The member.
    pub member: Text,
    /// What kind of fault it is.
    pub kind: FaultKind,
    /// Where it is, and why.
    pub error: DecodeError,
}

/// The faults of a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults {
    described: Vec<Fault>,
    count: u64,
}

impl Faults {
    /// Adds one.
    pub fn push(&mut self, fault: Fault) {
        self.count += 1;
        if self.described.len() < MAX_DESCRIBED {
            self.described.push(fault);
        }
    }

    /// Adds one about a member of a row.
    pub(super) fn member(&mut self, row: usize, member: &str, kind: FaultKind, error: DecodeError) {
        self.push(Fault { row: Some(row), member: member.into(), kind, error });
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.described.clear();
        self.count = 0;
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Those that are described.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.described.iter()
    }

    /// Forgets what is said of a row, which is gone.
    pub fn forget(&mut self, row: usize) {
        let before = self.described.len();
        self.described.retain(|fault| fault.row != Some(row));
        self.count -= (before - self.described.len()) as u64;
        self.left_out(row);
    }

    /// Takes it that a row is gone: faults of later rows are of the row before, by number.
    pub fn left_out(&mut self, row: usize) {
        for fault in &mut self.described {
            match &mut fault.row {
                Some(at) if *at == row => fault.row = None,
                Some(at) if *at > row => *at -= 1,
                _ => {}
            }
        }
    }

    /// Takes it that rows have other numbers.
    pub fn renumber(&mut self, number: impl Fn(usize) -> usize) {
        for row in self.described.iter_mut().filter_map(|fault| fault.row.as_mut()) {
            *row = number(*row);
        }
    }

    /// All of them in words.
    #[must_use]
    pub fn reason(&self) -> String {
        let mut reason = String::new();
        for fault in self.described.iter().take(3) {
            if !reason.is_empty() {
                reason.push_str("; ");
            }
            reason.push_str(&fault.error.to_string());
        }
        match self.count.saturating_sub(3) {
            0 => {}
            1 => reason.push_str("; and one more member"),
            more => drop(write!(reason, "; and {more} more members")),
        }
        reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(row: Option<usize>, member: &str) -> Fault {
        let error = DecodeError { place: format!("$.{member}"), reason: "bad".into() };
        Fault { row, member: member.into(), kind: FaultKind::Type, error }
    }

    #[test]
    fn the_first_are_told_and_the_others_counted() {
        let mut faults = Faults::default();
        for n in 0..MAX_DESCRIBED + 4 {
            faults.push(fault(Some(0), &format!("m{n}")));
        }
        assert_eq!((faults.iter().count(), faults.count()), (MAX_DESCRIBED, 20));
        assert_eq!(faults.reason(), "at $.m0: bad; at $.m1: bad; at $.m2: bad; and 17 more members");
        faults.clear();
        assert!(faults.is_empty() && faults.reason().is_empty());
    }

    #[test]
    fn faults_go_on_naming_their_rows_when_one_is_left_out() {
        let mut faults = Faults::default();
        for row in [Some(0), Some(1), Some(2), None] {
            faults.push(fault(row, "m"));
        }
        faults.left_out(1);
        assert_eq!(faults.iter().map(|fault| fault.row).collect::<Vec<_>>(), [Some(0), None, Some(1), None]);
    }
}
