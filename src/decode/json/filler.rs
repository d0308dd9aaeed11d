//! The row in hand, and what is filled into it. Pure.

use std::fmt::Write;

use super::super::{
    DecodeError, Decoded, FaultKind, Unfit,
    faults::Fault,
    fill::put,
    members::{Branch, Members, is_outside},
    names::short,
    repair::BROKEN,
    value::Scalar,
};
use crate::point::{Row, Text};

/// Deepest nesting of objects and arrays in one payload.
const MAX_DEPTH: usize = 32;
/// Most bytes that the rows of one message take, roughly: what stands beside an array is in each of
/// its rows.
const MAX_ROWS_BYTES: usize = 16 << 20;
/// What a member takes beside its text.
const MEMBER_BYTES: usize = 64;
/// No column has a longer path.
const MAX_PATH_BYTES: usize = 1_024;
/// Why a string, a name or a number is no good that the parser refuses.
const BROKEN_TEXT: &str = "it is not UTF-8, has an escape that is none, or is a number beyond what a double holds";

/// From here on a number that the parser gives as a double may be a whole one that was rounded.
const ROUNDED_FROM: f64 = 9_223_372_036_854_775_808.0;

/// A step on the way from the document's top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// To a member.
    Name(Text),
    /// To an element.
    Index(usize),
}

/// Fills rows with members.
pub(super) struct Filler<'a> {
    pub members: &'a mut Members,
    pub out: &'a mut Decoded,
    /// Whether broken strings are marked.
    is_repaired: bool,
    /// Whether a number came that may have been rounded.
    pub is_rounded: bool,
    /// Bytes that the rows of the message take so far, roughly.
    bytes: usize,
    pub row: Row,
    /// The path of the member being read.
    pub path: Text,
    /// Where in the path an object or array was entered, and whether it is an array.
    pub joints: Vec<(usize, bool)>,
    /// The way to the row.
    pub steps: Vec<Step>,
}

impl<'a> Filler<'a> {
    /// Before the first row of a message.
    pub fn new(members: &'a mut Members, out: &'a mut Decoded, is_repaired: bool) -> Self {
        members.begin();
        Self {
            members,
            out,
            is_repaired,
            is_rounded: false,
            bytes: 0,
            row: Row::default(),
            path: Text::default(),
            joints: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// The number of the row in hand among those of the message.
    pub fn number(&self) -> usize {
        self.out.rows.len()
    }

    /// The place of the member being read, such as `$[3].temp.x`.
    fn place(&self) -> String {
        if is_outside(&self.path) {
            return self.path.to_string();
        }
        let mut place = self.row_place();
        if self.path.is_empty() {
            return place;
        }
        let mut start = 0;
        let mut in_array = false;
        for (at, is_array) in self.joints.iter().copied().chain([(self.path.len(), false)]) {
            let part = &self.path[start.min(at)..at];
            let _ = if in_array { write!(place, "[{part}]") } else { write!(place, ".{}", short(part)) };
            (start, in_array) = (at + 1, is_array);
        }
        place
    }

    /// The place of the row in hand, such as `$[3]`.
    pub fn row_place(&self) -> String {
        place_of(&self.steps)
    }

    /// Takes note that the member being read is left out.
    pub fn leave_out(&mut self, kind: FaultKind, reason: String) {
        let error = DecodeError { place: self.place(), reason };
        let number = self.number();
        let end = self.path.floor_char_boundary(MAX_PATH_BYTES);
        self.out.faults.member(number, &self.path[..end], kind, error);
    }

    /// Whether an object or array that is a member is to be looked into.
    pub fn descends(&mut self) -> bool {
        if self.joints.len() == MAX_DEPTH {
            self.leave_out(FaultKind::Count, format!("nested deeper than {MAX_DEPTH} levels"));
            return false;
        }
        if self.path.len() > MAX_PATH_BYTES {
            self.leave_out(FaultKind::Name, format!("its name has more than {MAX_PATH_BYTES} bytes"));
            return false;
        }
        let what = match self.members.branch(&self.path) {
            Branch::Enter => return true,
            Branch::Leave => return false,
            Branch::Unfit(what) => what,
        };
        self.leave_out(FaultKind::Shape, format!("the source's {what} must be a single value, not an object or array"));
        false
    }

    pub fn enter(&mut self, is_array: bool) {
        self.joints.push((self.path.len(), is_array));
        self.path.push('.');
    }

    /// A member with a single value.
    pub fn put(&mut self, value: Scalar<'_>) {
        self.bytes += MEMBER_BYTES + if let Scalar::Text(text) = value { text.len() } else { 0 };
        if self.bytes > MAX_ROWS_BYTES || self.members.are_compared_too_often() {
            return;
        }
        if let Err((kind, reason)) = self.try_put(value) {
            self.leave_out(kind, reason);
        }
    }

    fn try_put(&mut self, value: Scalar<'_>) -> Result<(), Unfit> {
        if let Scalar::Float(value) = value {
            self.is_rounded |= value.abs() >= ROUNDED_FROM && value.is_finite();
        }
        if let Scalar::Text(text) = value
            && self.is_repaired
            && text.contains(BROKEN)
        {
            return self.broken(value);
        }
        if self.is_repaired && self.path.contains(BROKEN) && !value.is_nothing() {
            return self.broken(value);
        }
        put(&mut self.row, self.members, &self.path, value)
    }

    fn broken(&mut self, value: Scalar<'_>) -> Result<(), Unfit> {
        let unfit = (FaultKind::Text, BROKEN_TEXT.to_owned());
        self.members.tell(&self.path, value, Some(&unfit));
        Err(unfit)
    }

    /// Takes the finished reading over; one without any value is none.
    pub fn end_row(&mut self) -> Result<(), String> {
        if self.members.are_compared_too_often() {
            return Err("it has too many members for the patterns of only and ignore".into());
        }
        if self.bytes > MAX_ROWS_BYTES {
            return Err(format!("its readings have more than {MAX_ROWS_BYTES} bytes together"));
        }
        let Self { out, steps, .. } = self;
        let tells_time = self.members.roles().tell_time();
        out.end(std::mem::take(&mut self.row), || place_of(steps), tells_time)
    }

    /// An element of the document's array that is no reading.
    pub fn bad_element(&mut self, what: &str) {
        let reason = format!("it is {what}, and an object is expected");
        let error = DecodeError { place: self.row_place(), reason };
        self.out.faults.push(Fault { row: None, member: Text::default(), kind: FaultKind::Shape, error });
    }
}

fn place_of(steps: &[Step]) -> String {
    let mut place = "$".to_owned();
    for step in steps {
        // Writing into memory does not fail.
        let _ = match step {
            Step::Name(name) => write!(place, ".{}", short(name)),
            Step::Index(index) => write!(place, "[{index}]"),
        };
    }
    place
}
