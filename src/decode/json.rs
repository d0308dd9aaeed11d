//! JSON payloads: an object is a reading, an array of objects several.
//!
//! Members of nested objects and arrays are flattened: `{"a":{"b":1},"c":[2,3]}` has the fields
//! `a_b`, `c_0` and `c_1`, of the paths `a.b`, `c.0` and `c.1`. null means absent. The parser's
//! events fill rows directly; no tree of values is built. A member that cannot become part of its
//! row becomes a fault, and the rest goes on.

use std::fmt::{self, Write};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{
    DecodeError, FaultKind, Faults, drop_seconds,
    faults::Fault,
    fill::{Unfit, put},
    members::{Branch, Members},
    names::{duplicate, short},
    repair::{BROKEN, repair, trim},
    value::Scalar,
};
use crate::point::{MAX_ROWS_PER_MESSAGE, Row, Text};

/// Deepest nesting of objects and arrays in one payload.
const MAX_DEPTH: usize = 32;
/// Why a string, a name or a number is no good that the parser refuses.
const BROKEN_TEXT: &str = "it is not UTF-8, has an escape that is none, or is a number beyond what a double holds";

/// Appends the payload's readings to `rows`, and what of them is no good to `faults`; on an error
/// some may have been appended already.
pub(super) fn decode(
    payload: &[u8],
    members: &mut Members,
    rows: &mut Vec<Row>,
    faults: &mut Faults,
) -> Result<(), DecodeError> {
    let (payload, before) = (trim(payload), rows.len());
    let Err(error) = read(payload, members, rows, faults, false) else { return Ok(()) };
    match repair(payload) {
        Some(repaired) => {
            rows.truncate(before);
            faults.clear();
            // Where it cannot be repaired, the first error tells what the device wrote.
            read(&repaired, members, rows, faults, true).map_err(|_| error)
        }
        None => Err(error),
    }
}

fn read(
    payload: &[u8],
    members: &mut Members,
    rows: &mut Vec<Row>,
    faults: &mut Faults,
    repaired: bool,
) -> Result<(), DecodeError> {
    let before = rows.len();
    let mut filler = Filler {
        members,
        rows,
        faults,
        repaired,
        before,
        row: Row::default(),
        path: Text::default(),
        joints: Vec::new(),
        element: None,
        reason: None,
        trail: Vec::new(),
    };
    let mut parser = serde_json::Deserializer::from_slice(payload);
    let result = parser.deserialize_any(Top(&mut filler)).and_then(|()| parser.end());
    result.map_err(|error| filler.explain(&error))
}

/// What the visitors work on.
struct Filler<'a> {
    members: &'a mut Members,
    rows: &'a mut Vec<Row>,
    faults: &'a mut Faults,
    /// Whether broken strings are marked.
    repaired: bool,
    /// Rows there were before this message.
    before: usize,
    row: Row,
    /// The path of the member being read.
    path: Text,
    /// Where in the path an object or array was entered, and whether it is an array.
    joints: Vec<(usize, bool)>,
    /// The number of the element being read, where the document is an array.
    element: Option<usize>,
    /// Why the document was refused; the parser's own errors have none.
    reason: Option<String>,
    /// The steps to the place of an error, innermost first.
    trail: Vec<String>,
}

impl Filler<'_> {
    fn explain(&mut self, error: &serde_json::Error) -> DecodeError {
        let mut place = String::from("$");
        place.extend(self.trail.drain(..).rev());
        let reason = self.reason.take().unwrap_or_else(|| format!("invalid JSON: {error}"));
        DecodeError { place, reason }
    }

    fn fail<E: Error>(&mut self, reason: String) -> E {
        self.reason = Some(reason);
        E::custom("refused")
    }

    fn check<T, E: Error>(&mut self, result: Result<T, String>) -> Result<T, E> {
        result.map_err(|reason| self.fail(reason))
    }

    /// The place of the member being read, such as `$[3].temp.x`.
    fn place(&self) -> String {
        let mut place = self.element_place();
        let mut start = 0;
        let mut in_array = false;
        for (at, is_array) in self.joints.iter().copied().chain([(self.path.len(), false)]) {
            let part = &self.path[start.min(at)..at];
            let _ = if in_array { write!(place, "[{part}]") } else { write!(place, ".{}", short(part)) };
            (start, in_array) = (at + 1, is_array);
        }
        place
    }

    fn element_place(&self) -> String {
        self.element.map_or_else(|| "$".to_owned(), |element| format!("$[{element}]"))
    }

    /// Takes note that the member being read is left out.
    fn leave_out(&mut self, kind: FaultKind, reason: String) {
        let error = DecodeError { place: self.place(), reason };
        self.faults.member(self.rows.len() - self.before, &self.path, kind, error);
    }

    /// Whether an object or array that is a member is to be looked into.
    fn descends(&mut self) -> bool {
        if self.joints.len() == MAX_DEPTH {
            self.leave_out(FaultKind::Count, format!("nested deeper than {MAX_DEPTH} levels"));
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

    fn enter(&mut self, is_array: bool) {
        self.joints.push((self.path.len(), is_array));
        self.path.push('.');
    }

    /// A member with a single value.
    fn put(&mut self, value: Scalar<'_>) {
        if let Err((kind, reason)) = self.try_put(value) {
            self.leave_out(kind, reason);
        }
    }

    fn try_put(&mut self, value: Scalar<'_>) -> Result<(), Unfit> {
        if let Scalar::Text(text) = value
            && self.repaired
            && text.contains(BROKEN)
        {
            return Err((FaultKind::Text, BROKEN_TEXT.into()));
        }
        if self.repaired && self.path.contains(BROKEN) && !value.is_nothing() {
            return Err((FaultKind::Text, BROKEN_TEXT.into()));
        }
        put(&mut self.row, self.members, &self.path, value)
    }

    /// Takes the finished reading over; one without any value is none.
    fn end_row(&mut self) -> Result<(), String> {
        let mut row = std::mem::take(&mut self.row);
        let symbols = row.symbols.iter().map(|(name, _)| name.as_str());
        if duplicate(symbols.chain(row.fields.iter().map(|(name, _)| name.as_str()))).is_some() {
            let (number, place) = (self.rows.len() - self.before, self.element_place());
            drop_seconds(&mut row, |name, reason| {
                let error = DecodeError { place: place.clone(), reason };
                self.faults.member(number, name, FaultKind::Twice, error);
            });
        }
        if row.fields.is_empty() {
            self.faults.left_out(self.rows.len() - self.before);
            return Ok(());
        }
        if self.rows.len() - self.before == MAX_ROWS_PER_MESSAGE {
            return Err(format!("more than {MAX_ROWS_PER_MESSAGE} readings in one message"));
        }
        row.notes.untimed = row.time.is_none() && self.members.roles().tell_time();
        self.rows.push(row);
        Ok(())
    }

    fn members<'de, A: MapAccess<'de>>(&mut self, mut map: A) -> Result<(), A::Error> {
        let base = self.path.len();
        while map.next_key_seed(Key(self))?.is_some() {
            let end = self.path.len();
            if end == base {
                self.path.push('_');
            }
            if let Err(error) = map.next_value_seed(Member(self)) {
                self.trail.push(format!(".{}", short(&self.path[base..end])));
                return Err(error);
            }
            self.path.truncate(base);
        }
        Ok(())
    }

    fn elements<'de, A: SeqAccess<'de>>(&mut self, mut seq: A) -> Result<(), A::Error> {
        let base = self.path.len();
        for index in 0.. {
            // Writing into memory does not fail.
            let _ = write!(self.path, "{index}");
            match seq.next_element_seed(Member(self)) {
                Ok(Some(())) => self.path.truncate(base),
                Ok(None) => break,
                Err(error) => {
                    self.trail.push(format!("[{index}]"));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// An element of the document's array that is no reading.
    fn bad_element(&mut self, what: &str) {
        let reason = format!("it is {what}, and an object is expected");
        let error = DecodeError { place: self.element_place(), reason };
        self.faults.push(Fault { row: None, member: Text::default(), kind: FaultKind::Shape, error });
    }
}

/// The whole payload.
struct Top<'f, 'a>(&'f mut Filler<'a>);

impl<'de> Visitor<'de> for Top<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array of objects (a bare value needs format = \"plain\")")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        Reading(self.0).visit_map(map)
    }

    /// A document that says nothing.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for index in 0.. {
            self.0.element = Some(index);
            match seq.next_element_seed(Element(self.0)) {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(error) => {
                    self.0.trail.push(format!("[{index}]"));
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// One object that is a reading.
struct Reading<'f, 'a>(&'f mut Filler<'a>);

impl<'de> Visitor<'de> for Reading<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.0.members(map)?;
        let ended = self.0.end_row();
        self.0.check(ended)
    }
}

/// An element of the document's array.
struct Element<'f, 'a>(&'f mut Filler<'a>);

impl Element<'_, '_> {
    #[expect(clippy::unnecessary_wraps, reason = "a visitor's methods return it")]
    fn bad<E>(self, what: &str) -> Result<(), E> {
        self.0.bad_element(what);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Element<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        Reading(self.0).visit_map(map)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.bad("an array")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.bad("a boolean")
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.bad("a number")
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.bad("a number")
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.bad("a number")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.bad("a string")
    }
}

/// A member's name, appended to the name of what it is in.
struct Key<'f, 'a>(&'f mut Filler<'a>);

impl<'de> DeserializeSeed<'de> for Key<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<(), E> {
        self.0.path.push_str(name);
        Ok(())
    }
}

/// A member's value.
struct Member<'f, 'a>(&'f mut Filler<'a>);

impl Member<'_, '_> {
    #[expect(clippy::unnecessary_wraps, reason = "a visitor's methods return it")]
    fn put<E>(self, value: Scalar<'_>) -> Result<(), E> {
        self.0.put(value);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Member<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Member<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.put(Scalar::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.put(Scalar::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.put(i64::try_from(value).map_or(Scalar::Big(value), Scalar::Int))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.put(Scalar::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.put(Scalar::Text(value))
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if !self.0.descends() {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        self.0.enter(false);
        self.0.members(map)?;
        self.0.joints.pop();
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if !self.0.descends() {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        self.0.enter(true);
        self.0.elements(seq)?;
        self.0.joints.pop();
        Ok(())
    }
}
