//! One payload value and the type a source wants it to have.

use std::fmt::Write;

use super::names::short;
use crate::{
    point::{Text, Value},
    settings::FieldType,
};

/// A value as the payload writes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar<'a> {
    /// true or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number beyond `i64::MAX`.
    Big(u64),
    /// A number with a fraction or exponent, or beyond 64 bits.
    Float(f64),
    /// A string.
    Text(&'a str),
}

/// Whole doubles up to here are exact.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

impl Scalar<'_> {
    /// What it is, with its article, for errors.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Big(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a string",
        }
    }

    /// The value as text: a symbol, or a field of type string. Whole numbers keep every digit.
    #[must_use]
    pub fn to_text(self) -> Text {
        let mut text = Text::default();
        // Writing into memory does not fail.
        let _ = match self {
            Self::Bool(value) => write!(text, "{value}"),
            Self::Int(value) => write!(text, "{value}"),
            Self::Big(value) => write!(text, "{value}"),
            Self::Float(value) => write!(text, "{value}"),
            Self::Text(value) => return value.into(),
        };
        text
    }

    /// The field's value: numbers are doubles and the rest keeps its type, unless `wanted` says otherwise.
    ///
    /// The error says what does not fit.
    pub fn to_value(self, wanted: Option<FieldType>) -> Result<Value, String> {
        match (wanted, self) {
            (None | Some(FieldType::Double), Self::Int(value)) => Ok(Value::Double(value as f64)),
            (None | Some(FieldType::Double), Self::Big(value)) => Ok(Value::Double(value as f64)),
            (None | Some(FieldType::Double), Self::Float(value)) => Ok(Value::Double(value)),
            (None | Some(FieldType::Boolean), Self::Bool(value)) => Ok(Value::Bool(value)),
            (None, Self::Text(value)) => Ok(Value::Text(value.into())),
            (Some(FieldType::String), value) => Ok(Value::Text(value.to_text())),
            (Some(FieldType::Long), Self::Int(value)) => Ok(Value::Long(value)),
            (Some(FieldType::Long), Self::Float(value)) if value.fract() == 0.0 && value.abs() <= MAX_EXACT => {
                Ok(Value::Long(value as i64))
            }
            (Some(FieldType::Long), Self::Big(_) | Self::Float(_)) => {
                Err(format!("{} is no 64-bit integer, but the source wants type \"long\"", self.to_text()))
            }
            (Some(wanted), value) => Err(wrong_type(value, wanted)),
        }
    }
}

fn wrong_type(value: Scalar<'_>, wanted: FieldType) -> String {
    let name = match wanted {
        FieldType::Double => "double",
        FieldType::Long => "long",
        FieldType::Boolean => "boolean",
        FieldType::String => "string",
    };
    format!("{} is {}, but the source wants type {name:?}", short(&value.to_text()), value.kind())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_doubles_unless_asked_otherwise() {
        assert_eq!(Scalar::Int(3).to_value(None), Ok(Value::Double(3.0)));
        assert_eq!(Scalar::Int(i64::MAX).to_value(Some(FieldType::Long)), Ok(Value::Long(i64::MAX)));
        assert_eq!(Scalar::Float(5.0).to_value(Some(FieldType::Long)), Ok(Value::Long(5)));
        assert_eq!(Scalar::Int(7).to_value(Some(FieldType::String)), Ok(Value::Text("7".into())));
        assert_eq!(Scalar::Big(u64::MAX).to_text(), "18446744073709551615");
        for (value, wanted) in [
            (Scalar::Float(5.5), FieldType::Long),
            (Scalar::Float(1e17), FieldType::Long),
            (Scalar::Big(u64::MAX), FieldType::Long),
            (Scalar::Text("5"), FieldType::Double),
            (Scalar::Int(1), FieldType::Boolean),
            (Scalar::Bool(true), FieldType::Double),
        ] {
            assert!(value.to_value(Some(wanted)).is_err(), "{value:?} as {wanted:?}");
        }
    }

    proptest! {
        #[test]
        fn longs_are_exact(value in any::<i64>()) {
            prop_assert_eq!(Scalar::Int(value).to_value(Some(FieldType::Long)), Ok(Value::Long(value)));
        }
    }
}
