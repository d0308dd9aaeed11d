//! Payloads that are one value: `21.5`, `true`, `open`.

use super::{
    DecodeError, Decoded, Format, Payload,
    fill::put,
    members::Members,
    repair::{BROKEN, readable, trim},
    value::Scalar,
};
use crate::{
    names::same,
    point::{Row, Value},
    settings::{FieldType, Source},
};

/// Plain payloads of one source.
#[derive(Debug)]
pub(super) struct Plain {
    members: Members,
    /// Fields that are text, whatever they look like.
    texts: Vec<String>,
}

impl Plain {
    /// By a source's settings.
    pub fn of(source: &Source) -> Self {
        let texts = source.fields.iter().filter(|(_, kind)| **kind == FieldType::String);
        let texts = texts.map(|(name, _)| name.clone()).filter(|name| !source.scale.contains_key(name));
        Self { members: Members::of(source), texts: texts.collect() }
    }
}

impl Format for Plain {
    /// A row with the one field; none where it says nothing. Without a wanted type a number is a
    /// double, `true` and `false` are booleans, and anything else is a string.
    fn decode(&mut self, payload: &Payload<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
        let fault = |reason: String| DecodeError::new("payload", reason);
        let field = &payload.topic.field;
        let core = trim(payload.bytes);
        let text = &*readable(core);
        if text.is_empty() || text == "null" {
            return Ok(());
        }
        // The space around a string is part of it; around a number or boolean it is not.
        let whole = std::str::from_utf8(payload.bytes).map_or(text, |whole| whole.trim_matches(['\0', '\u{feff}']));
        let is_text = self.texts.iter().any(|name| same(name, field));
        let value = if is_text { None } else { classify(text) }.unwrap_or(Scalar::Text(whole));
        let mut row = Row::default();
        put(&mut row, &mut self.members, field, value).map_err(|(_, reason)| fault(reason))?;
        if let [(_, Value::Text(text))] = row.fields.as_slice()
            && text.contains(BROKEN)
        {
            return Err(fault("not UTF-8 (a number with its unit is read all the same)".into()));
        }
        out.rows.extend((!row.fields.is_empty()).then_some(row));
        Ok(())
    }

    fn members(&mut self) -> &mut Members {
        &mut self.members
    }
}

/// A boolean or number; `None` for other text.
#[inline]
pub(super) fn classify(text: &str) -> Option<Scalar<'_>> {
    if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
        return Some(Scalar::Bool(text.len() == "true".len()));
    }
    if let Ok(value) = text.parse::<i64>() {
        return Some(Scalar::Int(value));
    }
    if let Ok(value) = text.parse::<u64>() {
        return Some(Scalar::Big(value));
    }
    // As text every digit of a longer one stays.
    if text.trim_start_matches(['-', '+']).bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value = text.parse::<f64>().ok()?;
    // Digits beyond what a double holds are no number that says nothing.
    let is_too_large = value.is_infinite() && text.contains(|c: char| c.is_ascii_digit());
    (!is_too_large).then_some(Scalar::Float(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::Resolved, *};

    fn decoded(payload: &[u8], wanted: Option<FieldType>) -> Result<Option<Row>, DecodeError> {
        let mut source: Source = toml::from_str("topic = \"t\"\ntable = \"t\"").expect("a source");
        source.fields.extend(wanted.map(|wanted| ("value".to_owned(), wanted)));
        let mut out = Decoded::default();
        let topic = Resolved { field: "value".into(), ..Resolved::default() };
        Plain::of(&source).decode(&Payload::of(&topic, payload), &mut out)?;
        Ok(out.rows.pop())
    }

    fn value(payload: &str, wanted: Option<FieldType>) -> Result<Value, DecodeError> {
        decoded(payload.as_bytes(), wanted).map(|row| row.expect("a value").fields.remove(0).1)
    }

    #[test]
    fn the_payload_says_what_it_is() {
        assert_eq!(value("21.5", None), Ok(Value::Double(21.5)));
        assert_eq!(value(" 7\n", None), Ok(Value::Double(7.0)));
        assert_eq!(value("true", None), Ok(Value::Flag(true)));
        assert_eq!(value("open ", None), Ok(Value::Text("open ".into())));
        assert_eq!(value("1e3", Some(FieldType::Long)), Ok(Value::Long(1000)));
        assert_eq!(value("9223372036854775807", Some(FieldType::Long)), Ok(Value::Long(i64::MAX)));
        assert_eq!(value("21.5 \0\0", None), Ok(Value::Double(21.5)));
        assert_eq!(value("1e999", None), Ok(Value::Text("1e999".into())), "no column of numbers holds it");
        assert_eq!(value("007", Some(FieldType::String)), Ok(Value::Text("007".into())));
    }

    #[test]
    fn a_payload_may_say_nothing() {
        for payload in ["", " \n", "\0", "nan", "-inf", "NaN", "null", "Infinity"] {
            assert_eq!(decoded(payload.as_bytes(), None), Ok(None), "{payload:?}");
        }
        assert_eq!(decoded(b" \n", Some(FieldType::String)), Ok(None));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (payload, wanted) in [
            ("1e999", Some(FieldType::Double)),
            ("open", Some(FieldType::Double)),
            ("1.5", Some(FieldType::Long)),
            ("9223372036854775808", Some(FieldType::Long)),
            ("2", Some(FieldType::Boolean)),
        ] {
            assert!(value(payload, wanted).is_err(), "{payload:?} as {wanted:?}");
        }
        assert!(decoded(b"\xff\xfe", None).is_err());
    }

    proptest! {
        #[test]
        fn finite_doubles_round_trip(number in any::<f64>().prop_filter("finite", |n| n.is_finite())) {
            prop_assert_eq!(value(&format!("{number:?}"), None), Ok(Value::Double(number)));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            for wanted in [None, Some(FieldType::Double), Some(FieldType::Long), Some(FieldType::String)] {
                let _ = decoded(&bytes, wanted);
            }
        }
    }
}
