//! What numbers are multiplied by.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// How a number is scaled: `0.1`, or `{ factor = 0.1, offset = -40 }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Scale {
    /// It is multiplied.
    Factor(Number),
    /// It is multiplied, and then something is added.
    Linear(LinearScale),
}

/// A number is multiplied by `factor`, and `offset` is added.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearScale {
    /// What it is multiplied by.
    #[serde(default = "one")]
    pub factor: Number,
    /// What is added then.
    #[serde(default)]
    pub offset: Number,
}

/// A number, perhaps with a fraction, perhaps written as text.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Number(pub f64);

fn one() -> Number {
    Number(1.0)
}

impl Scale {
    /// Factor and offset.
    #[must_use]
    pub fn parts(self) -> (f64, f64) {
        match self {
            Self::Factor(Number(factor)) => (factor, 0.0),
            Self::Linear(LinearScale { factor: Number(factor), offset: Number(offset) }) => (factor, offset),
        }
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(Scaled)? {
            Scale::Factor(number) => Ok(number),
            Scale::Linear(_) => Err(D::Error::custom("a number is expected")),
        }
    }
}

impl<'de> Deserialize<'de> for Scale {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scaled)
    }
}

struct Scaled;

impl<'de> Visitor<'de> for Scaled {
    type Value = Scale;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number such as 0.1, or a table with factor and offset")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Scale, E> {
        Ok(Scale::Factor(Number(number)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Scale, E> {
        self.visit_f64(number as f64)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Scale, E> {
        self.visit_f64(number as f64)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Scale, E> {
        let number = text.trim().parse();
        number
            .map_err(|_| E::custom(format!("{text:?} is no number such as 0.1")))
            .and_then(|number| self.visit_f64(number))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Scale, A::Error> {
        LinearScale::deserialize(MapAccessDeserializer::new(map)).map(Scale::Linear)
    }
}
