//! Rows from a document as it is parsed: an object is a reading, an array of objects several.
//!
//! Members of nested objects and arrays are flattened: `{"a":{"b":1},"c":[2,3]}` has the fields
//! `a_b`, `c_0` and `c_1`, of the paths `a.b`, `c.0` and `c.1`. null means absent. The parser's
//! events fill rows directly; no tree of values is built. A member that cannot become part of its
//! row becomes a fault, and the rest goes on.

use std::fmt::{self, Write};

use serde_json::error::Category;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::{DecodeError, Decoded, members::Members, names::short, value::Scalar};
use super::filler::{Filler, Step};

/// Appends the document's readings to `out`, and says whether a number may have been rounded; on an
/// error some may have been appended already.
pub(super) fn read(
    document: &[u8],
    members: &mut Members,
    out: &mut Decoded,
    is_repaired: bool,
) -> Result<bool, DecodeError> {
    let mut visit = Visit { filler: Filler::new(members, out, is_repaired), reason: None, trail: Vec::new() };
    let mut parser = serde_json::Deserializer::from_slice(document);
    let result = parser.deserialize_any(Top(&mut visit)).and_then(|()| parser.end());
    result.map(|()| visit.filler.is_rounded).map_err(|error| visit.explain(&error))
}

/// What a document is that has no members.
const BARE: &str =
    "it is a bare value, and an object or an array of objects is expected (a bare value needs format = \"plain\")";

/// What the visitors work on.
struct Visit<'a> {
    filler: Filler<'a>,
    /// Why the document was refused; the parser's own errors have none.
    reason: Option<String>,
    /// The steps to the place of an error, innermost first.
    trail: Vec<String>,
}

impl Visit<'_> {
    fn explain(&mut self, error: &serde_json::Error) -> DecodeError {
        let mut place = String::from("$");
        place.extend(self.trail.drain(..).rev());
        let reason = self.reason.take().unwrap_or_else(|| match error.classify() {
            Category::Data => BARE.to_owned(),
            _ => format!("invalid JSON: {error}"),
        });
        DecodeError { place, reason }
    }

    fn check<T, E: Error>(&mut self, result: Result<T, String>) -> Result<T, E> {
        result.map_err(|reason| {
            self.reason = Some(reason);
            E::custom("refused")
        })
    }

    fn members<'de, A: MapAccess<'de>>(&mut self, mut map: A) -> Result<(), A::Error> {
        let base = self.filler.path.len();
        while map.next_key_seed(Key(self))?.is_some() {
            let end = self.filler.path.len();
            if end == base {
                self.filler.path.push('_');
            }
            if let Err(error) = map.next_value_seed(Member(self)) {
                self.trail.push(format!(".{}", short(&self.filler.path[base..end])));
                return Err(error);
            }
            self.filler.path.truncate(base);
        }
        Ok(())
    }

    fn elements<'de, A: SeqAccess<'de>>(&mut self, mut seq: A) -> Result<(), A::Error> {
        let base = self.filler.path.len();
        for index in 0.. {
            // Writing into memory does not fail.
            let _ = write!(self.filler.path, "{index}");
            match seq.next_element_seed(Member(self)) {
                Ok(Some(())) => self.filler.path.truncate(base),
                Ok(None) => break,
                Err(error) => {
                    self.trail.push(format!("[{index}]"));
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// The whole payload.
struct Top<'f, 'a>(&'f mut Visit<'a>);

impl<'de> Visitor<'de> for Top<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(BARE)
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
            self.0.filler.steps.clear();
            self.0.filler.steps.push(Step::Index(index));
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
struct Reading<'f, 'a>(&'f mut Visit<'a>);

impl<'de> Visitor<'de> for Reading<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.0.members(map)?;
        let ended = self.0.filler.end_row();
        self.0.check(ended)
    }
}

/// An element of the document's array.
struct Element<'f, 'a>(&'f mut Visit<'a>);

impl Element<'_, '_> {
    #[expect(clippy::unnecessary_wraps, reason = "a visitor's methods return it")]
    fn bad<E>(self, what: &str) -> Result<(), E> {
        self.0.filler.bad_element(what);
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
struct Key<'f, 'a>(&'f mut Visit<'a>);

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
        self.0.filler.path.push_str(name);
        Ok(())
    }
}

/// A member's value.
struct Member<'f, 'a>(&'f mut Visit<'a>);

impl Member<'_, '_> {
    #[expect(clippy::unnecessary_wraps, reason = "a visitor's methods return it")]
    fn put<E>(self, value: Scalar<'_>) -> Result<(), E> {
        self.0.filler.put(value);
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
        if !self.0.filler.descends() {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        self.0.filler.enter(false);
        self.0.members(map)?;
        self.0.filler.joints.pop();
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if !self.0.filler.descends() {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        self.0.filler.enter(true);
        self.0.elements(seq)?;
        self.0.filler.joints.pop();
        Ok(())
    }
}
