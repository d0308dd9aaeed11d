//! One payload value and the type a source wants it to have.

use std::fmt::Write;

use super::names::short;
use crate::{
    point::{Text, Value},
    settings::{FieldType, Scale},
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

/// Longest unit behind a number, as in `21.5 °C`, in characters.
const MAX_UNIT_CHARS: usize = 16;
/// Whole doubles below this are exact: it may be a larger number that was rounded.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// What a number is multiplied by, and what is added to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Factor {
    times: f64,
    /// The whole number that it is the inverse of, if it is: 3 / 10 is 0.3, and 3 × 0.1 is not.
    inverse: Option<f64>,
    offset: f64,
}

impl Factor {
    /// As configured.
    #[must_use]
    pub fn of(scale: Scale) -> Self {
        let (factor, offset) = scale.parts();
        let inverse = factor.recip().round();
        let is_inverse = inverse.is_finite() && inverse.recip().to_bits() == factor.to_bits();
        Self { times: factor, inverse: is_inverse.then_some(inverse), offset }
    }

    fn apply(self, number: f64) -> f64 {
        let scaled = self.inverse.map_or_else(|| number * self.times, |inverse| number / inverse);
        scaled + self.offset
    }
}

impl<'a> Scalar<'a> {
    /// A field's value, as a payload would write it.
    #[must_use]
    pub fn of(value: &'a Value) -> Self {
        match value {
            Value::Bool(value) | Value::Flag(value) => Self::Bool(*value),
            Value::Long(value) | Value::Whole(value) => Self::Int(*value),
            Value::Double(value) => Self::Float(*value),
            Value::Text(value) => Self::Text(value),
        }
    }
}

impl Scalar<'_> {
    /// The number scaled; text that begins with a number is one. None where it is no number. What
    /// says nothing stays so.
    #[must_use]
    pub fn scaled(self, factor: Factor) -> Option<Self> {
        if self.is_nothing() {
            return Some(self);
        }
        self.to_double().map(|number| Scalar::Float(factor.apply(number)))
    }

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

    /// The field's value; none where the payload says nothing. Numbers are doubles and the rest
    /// keeps its type, unless `wanted` says otherwise: then text is read as what is wanted, where
    /// it can be.
    ///
    /// The error says what does not fit.
    pub fn to_value(self, wanted: Option<FieldType>) -> Result<Option<Value>, String> {
        if self.is_nothing() {
            return Ok(None);
        }
        let fault = || wrong_type(self, wanted.unwrap_or(FieldType::String));
        let value = match (wanted, self) {
            (None, Self::Bool(value)) => Value::Flag(value),
            (None, Self::Int(value)) if !is_exact(value) => Value::Whole(value),
            // No column of whole numbers holds it; as text it keeps every digit.
            (None, Self::Big(_)) => Value::Text(self.to_text()),
            (None, Self::Int(value)) => Value::Double(value as f64),
            (None, Self::Float(value)) => Value::Double(value),
            (None, Self::Text(value)) => Value::Text(clean_text(value)),
            (Some(FieldType::String), _) => Value::Text(clean_text(&self.to_text())),
            (Some(FieldType::Double), _) => Value::Double(self.to_double().ok_or_else(fault)?),
            (Some(FieldType::Long), _) => Value::Long(self.to_long().ok_or_else(fault)?),
            (Some(FieldType::Boolean), _) => Value::Bool(self.to_boolean().ok_or_else(fault)?),
        };
        Ok(Some(value))
    }

    /// Whether it says nothing: empty text, or a number that is none, also where it is written as
    /// text.
    pub fn is_nothing(self) -> bool {
        match self {
            Self::Text(text) => {
                let word = text.strip_prefix(['-', '+']).unwrap_or(text);
                text.is_empty() || word.eq_ignore_ascii_case("nan") || word.eq_ignore_ascii_case("infinity")
            }
            Self::Float(value) => !value.is_finite(),
            Self::Bool(_) | Self::Int(_) | Self::Big(_) => false,
        }
    }

    fn to_double(self) -> Option<f64> {
        match self {
            Self::Bool(_) => None,
            Self::Int(value) => Some(value as f64),
            Self::Big(value) => Some(value as f64),
            Self::Float(value) => Some(value),
            Self::Text(text) => number(text)?.parse().ok().filter(|value: &f64| value.is_finite()),
        }
    }

    fn to_long(self) -> Option<i64> {
        let whole = |value: f64| (value.fract() == 0.0 && value.abs() < MAX_EXACT).then_some(value as i64);
        match self {
            Self::Bool(value) => Some(value.into()),
            Self::Int(value) => Some(value),
            Self::Big(_) => None,
            Self::Float(value) => whole(value),
            Self::Text(text) => {
                let Some(digits) = number(text) else { return self.to_boolean().map(i64::from) };
                digits.parse().ok().or_else(|| whole(digits.parse().ok()?))
            }
        }
    }

    fn to_boolean(self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(value),
            Self::Int(0) | Self::Float(0.0) => Some(false),
            Self::Int(1) | Self::Float(1.0) => Some(true),
            Self::Int(_) | Self::Big(_) | Self::Float(_) => None,
            Self::Text(text) => {
                let text = text.trim();
                let is_one_of = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
                match (is_one_of(["true", "on", "yes", "1"]), is_one_of(["false", "off", "no", "0"])) {
                    (true, _) => Some(true),
                    (_, true) => Some(false),
                    _ => None,
                }
            }
        }
    }
}

/// Whether a double holds the number exactly.
fn is_exact(value: i64) -> bool {
    value as f64 as i128 == i128::from(value)
}

/// The number that text begins with, with a point for its decimal comma: `21.5` of `21,5`,
/// `"21.5"`, `21.5 °C` and `45%`. None where it begins with none, or goes on with more digits.
fn number(text: &str) -> Option<String> {
    let text = text.trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).trim();
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '+' | '-');
    let mut end = text.find(|c: char| !is_part(c)).unwrap_or(text.len());
    // An exponent belongs to the number where digits follow it.
    if let Some(rest) = text[end..].strip_prefix(['e', 'E']) {
        let digits = rest.strip_prefix(['+', '-']).unwrap_or(rest);
        let count = digits.bytes().take_while(u8::is_ascii_digit).count();
        if count > 0 {
            end = text.len() - digits.len() + count;
        }
    }
    let (number, unit) = text.split_at(end);
    let is_unit = !unit.contains(|c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | ';' | ':'))
        && unit.chars().count() <= MAX_UNIT_CHARS;
    let has_digits = number.bytes().any(|byte| byte.is_ascii_digit());
    (has_digits && is_unit && number.matches([',', '.']).count() <= 1).then(|| number.replace(',', "."))
}

/// Text that QuestDB can give back: NUL, which makes its answers unreadable, becomes U+FFFD.
pub(super) fn clean_text(text: &str) -> Text {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
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

    fn value(scalar: Scalar<'_>, wanted: Option<FieldType>) -> Option<Value> {
        scalar.to_value(wanted).unwrap_or_else(|why| panic!("{scalar:?}: {why}"))
    }

    #[test]
    fn numbers_are_doubles_unless_asked_otherwise() {
        assert_eq!(value(Scalar::Int(3), None), Some(Value::Double(3.0)));
        assert_eq!(value(Scalar::Int(i64::MAX), Some(FieldType::Long)), Some(Value::Long(i64::MAX)));
        assert_eq!(value(Scalar::Float(5.0), Some(FieldType::Long)), Some(Value::Long(5)));
        assert_eq!(value(Scalar::Int(7), Some(FieldType::String)), Some(Value::Text("7".into())));
        assert_eq!(Scalar::Big(u64::MAX).to_text(), "18446744073709551615");
        for (scalar, wanted) in [
            (Scalar::Float(5.5), FieldType::Long),
            (Scalar::Float(1e17), FieldType::Long),
            (Scalar::Big(u64::MAX), FieldType::Long),
            (Scalar::Text("87.5"), FieldType::Long),
            (Scalar::Text("0x1F"), FieldType::Double),
            (Scalar::Text("2026-03-01 12:00:00,21.5"), FieldType::Double),
            (Scalar::Text("21.5;40.2"), FieldType::Double),
            (Scalar::Text("1.234,5"), FieldType::Double),
            (Scalar::Text("-"), FieldType::Double),
            (Scalar::Text("ON"), FieldType::Double),
            (Scalar::Int(2), FieldType::Boolean),
            (Scalar::Text("maybe"), FieldType::Boolean),
            (Scalar::Bool(true), FieldType::Double),
        ] {
            assert!(scalar.to_value(Some(wanted)).is_err(), "{scalar:?} as {wanted:?}");
        }
    }

    #[test]
    fn declared_types_read_what_devices_write() {
        for text in ["21.5", "21,5", " 21.5 °C", "\"21.5\"", "21.5%", "2.15e1", "+21.5"] {
            assert_eq!(value(Scalar::Text(text), Some(FieldType::Double)), Some(Value::Double(21.5)), "{text}");
        }
        assert_eq!(value(Scalar::Text("007"), Some(FieldType::Double)), Some(Value::Double(7.0)));
        assert_eq!(value(Scalar::Text("45 %"), Some(FieldType::Long)), Some(Value::Long(45)));
        assert_eq!(
            value(Scalar::Text("9007199254740993"), Some(FieldType::Long)),
            Some(Value::Long(9_007_199_254_740_993))
        );
        for (text, expected) in [("ON", true), ("no", false), ("1", true), ("False", false)] {
            assert_eq!(value(Scalar::Text(text), Some(FieldType::Boolean)), Some(Value::Bool(expected)), "{text}");
        }
        assert_eq!(value(Scalar::Int(0), Some(FieldType::Boolean)), Some(Value::Bool(false)));
        assert_eq!(value(Scalar::Bool(true), Some(FieldType::Long)), Some(Value::Long(1)));
    }

    #[test]
    fn every_digit_of_a_whole_number_is_kept() {
        assert_eq!(value(Scalar::Int(9_007_199_254_740_992), None), Some(Value::Double(9_007_199_254_740_992.0)));
        assert_eq!(value(Scalar::Int(9_007_199_254_740_993), None), Some(Value::Whole(9_007_199_254_740_993)));
        assert_eq!(value(Scalar::Int(i64::MAX), None), Some(Value::Whole(i64::MAX)));
        assert_eq!(value(Scalar::Int(i64::MIN + 1), None), Some(Value::Whole(i64::MIN + 1)));
        assert_eq!(value(Scalar::Big(u64::MAX), None), Some(Value::Text("18446744073709551615".into())));
    }

    #[test]
    fn nothing_said_is_no_value_and_nul_does_not_pass() {
        assert_eq!(value(Scalar::Text(""), None), None);
        assert_eq!(value(Scalar::Text(""), Some(FieldType::String)), None);
        assert_eq!(value(Scalar::Text("-Infinity"), Some(FieldType::Double)), None);
        assert_eq!(value(Scalar::Float(f64::NAN), Some(FieldType::Long)), None);
        assert_eq!(value(Scalar::Text("a\0b"), None), Some(Value::Text("a\u{fffd}b".into())));
    }

    proptest! {
        #[test]
        fn longs_are_exact(number in any::<i64>()) {
            prop_assert_eq!(value(Scalar::Int(number), Some(FieldType::Long)), Some(Value::Long(number)));
            prop_assert_eq!(value(Scalar::Text(&number.to_string()), Some(FieldType::Long)), Some(Value::Long(number)));
        }

        #[test]
        fn any_text_is_handled(text in "\\PC{0,30}|[-+0-9.,eE%\" ]{0,20}") {
            for wanted in [FieldType::Double, FieldType::Long, FieldType::Boolean, FieldType::String] {
                let _ = Scalar::Text(&text).to_value(Some(wanted));
            }
        }
    }
}
