//! JSON payloads: an object is a reading, an array of objects several.
//!
//! Members of nested objects and arrays are flattened: `{"a":{"b":1},"c":[2,3]}` has the fields `a_b`, `c_0` and `c_1`.
//! null means absent. The parser's events fill rows directly; no tree of values is built.

use std::fmt::{self, Write};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{
    DecodeError, Role, Roles, check_symbol,
    names::{column_fault, duplicate, short},
    time,
    value::Scalar,
};
use crate::point::{MAX_FIELDS, MAX_ROWS_PER_MESSAGE, Row, Text};

/// Deepest nesting of objects and arrays in one payload.
const MAX_DEPTH: usize = 32;
/// Fields a row has room for before it grows.
const USUAL_FIELDS: usize = 8;

/// Appends the payload's readings to `rows`; on an error some may have been appended already.
pub(super) fn decode(payload: &[u8], roles: &Roles, rows: &mut Vec<Row>) -> Result<(), DecodeError> {
    let before = rows.len();
    let mut filler = Filler {
        roles,
        rows,
        before,
        row: Row::default(),
        name: Text::default(),
        depth: 0,
        reason: None,
        trail: Vec::new(),
    };
    let mut parser = serde_json::Deserializer::from_slice(payload);
    let result = parser.deserialize_any(Top(&mut filler)).and_then(|()| parser.end());
    result.map_err(|error| filler.explain(&error))
}

/// What the visitors work on.
struct Filler<'a> {
    roles: &'a Roles,
    rows: &'a mut Vec<Row>,
    /// Rows there were before this message.
    before: usize,
    row: Row,
    /// The flattened name of the member being read.
    name: Text,
    depth: usize,
    /// Why a member was refused; the parser's own errors have none.
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

    /// Enters an object or array that is a member.
    fn descend<E: Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.fail(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        if let Some(role) = self.roles.of(&self.name) {
            let what = match role {
                Role::Time(_) => "timestamp",
                Role::Symbol => "symbol",
                Role::Field(_) => "typed field",
            };
            return Err(self.fail(format!("the source's {what} must be a single value, not an object or array")));
        }
        self.name.push('_');
        Ok(())
    }

    /// A member with a single value.
    fn put(&mut self, value: Scalar<'_>) -> Result<(), String> {
        let wanted = match self.roles.of_column(&self.name) {
            Some(Role::Time(unit)) => {
                if self.row.time.is_some() {
                    return Err("the timestamp appears twice".into());
                }
                self.row.time = Some(time::parse(value, unit)?);
                self.row.device_time = true;
                return Ok(());
            }
            Some(Role::Symbol) => return self.put_symbol(value),
            Some(Role::Field(wanted)) => Some(wanted),
            None => None,
        };
        if let Some(fault) = column_fault(&self.name) {
            return Err(fault);
        }
        if self.row.fields.len() == MAX_FIELDS {
            return Err(format!("the reading has more than {MAX_FIELDS} fields"));
        }
        if self.row.fields.is_empty() {
            self.row.fields.reserve(USUAL_FIELDS);
        }
        self.row.fields.push((self.name.clone(), value.to_value(wanted)?));
        Ok(())
    }

    /// An empty symbol is an absent one, as in QuestDB.
    fn put_symbol(&mut self, value: Scalar<'_>) -> Result<(), String> {
        let text = value.to_text();
        check_symbol(&self.name, &text)?;
        if self.row.symbols.iter().any(|(name, _)| *name == self.name) {
            return Err(format!("{:?} appears twice", short(&self.name)));
        }
        if !text.is_empty() {
            self.row.symbols.push((self.name.clone(), text));
        }
        Ok(())
    }

    /// Takes the finished reading over.
    fn end_row(&mut self) -> Result<(), String> {
        if self.row.fields.is_empty() {
            return Err("the reading has no field".into());
        }
        let symbols = self.row.symbols.iter().map(|(name, _)| name.as_str());
        let fields = self.row.fields.iter().map(|(name, _)| name.as_str());
        if let Some(name) = duplicate(symbols.chain(fields)) {
            let name = short(name);
            return Err(format!("{name:?} appears twice (after flattening; case does not count)"));
        }
        if self.rows.len() - self.before == MAX_ROWS_PER_MESSAGE {
            return Err(format!("more than {MAX_ROWS_PER_MESSAGE} readings in one message"));
        }
        self.rows.push(std::mem::take(&mut self.row));
        Ok(())
    }

    fn members<'de, A: MapAccess<'de>>(&mut self, mut map: A) -> Result<(), A::Error> {
        let base = self.name.len();
        while map.next_key_seed(Key(self))?.is_some() {
            let end = self.name.len();
            if end == base {
                return Err(self.fail("a member has an empty name".into()));
            }
            if let Err(error) = map.next_value_seed(Member(self)) {
                self.trail.push(format!(".{}", short(&self.name[base..end])));
                return Err(error);
            }
            self.name.truncate(base);
        }
        Ok(())
    }

    fn elements<'de, A: SeqAccess<'de>>(&mut self, mut seq: A) -> Result<(), A::Error> {
        let base = self.name.len();
        for index in 0.. {
            // Writing into memory does not fail.
            let _ = write!(self.name, "{index}");
            match seq.next_element_seed(Member(self)) {
                Ok(Some(())) => self.name.truncate(base),
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
struct Top<'f, 'a>(&'f mut Filler<'a>);

impl<'de> Visitor<'de> for Top<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array of objects (a bare value needs format = \"plain\")")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        Reading(self.0).visit_map(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for index in 0.. {
            match seq.next_element_seed(Reading(self.0)) {
                Ok(Some(())) => {}
                Ok(None) if index == 0 => return Err(self.0.fail("the array has no reading".into())),
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

impl<'de> DeserializeSeed<'de> for Reading<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

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
        self.0.name.push_str(name);
        Ok(())
    }
}

/// A member's value.
struct Member<'f, 'a>(&'f mut Filler<'a>);

impl Member<'_, '_> {
    fn put<E: Error>(self, value: Scalar<'_>) -> Result<(), E> {
        let put = self.0.put(value);
        self.0.check(put)
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

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.0.descend()?;
        self.0.members(map)?;
        self.0.depth -= 1;
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        self.0.descend()?;
        self.0.elements(seq)?;
        self.0.depth -= 1;
        Ok(())
    }
}
