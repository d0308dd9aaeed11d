//! Payloads that are one value: `21.5`, `true`, `open`.

use super::{DecodeError, value::Scalar};
use crate::{
    point::{Row, Text},
    settings::FieldType,
};

/// The payload as a row with the one field `name`.
///
/// Without a wanted type a number is a double, `true` and `false` are booleans, and anything else is a string.
pub(super) fn decode(payload: &[u8], name: &Text, wanted: Option<FieldType>) -> Result<Row, DecodeError> {
    let fault = |reason: String| DecodeError::new("payload", reason);
    let text = std::str::from_utf8(payload).map_err(|error| fault(format!("not UTF-8 ({error})")))?;
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(fault("it is empty; one value is expected".into()));
    }
    let value = match wanted {
        Some(FieldType::String) => Scalar::Text(text),
        _ => match classify(trimmed) {
            // The space around a string is part of it; around a number or boolean it is not.
            Some(value) => value.map_err(fault)?,
            None => Scalar::Text(text),
        },
    };
    let value = value.to_value(wanted).map_err(fault)?;
    Ok(Row { fields: vec![(name.clone(), value)], ..Row::default() })
}

/// A boolean or number; an error for a number QuestDB cannot hold; `None` for other text.
fn classify(text: &str) -> Option<Result<Scalar<'_>, String>> {
    match text {
        "true" => return Some(Ok(Scalar::Bool(true))),
        "false" => return Some(Ok(Scalar::Bool(false))),
        _ => {}
    }
    if let Ok(value) = text.parse::<i64>() {
        return Some(Ok(Scalar::Int(value)));
    }
    if let Ok(value) = text.parse::<u64>() {
        return Some(Ok(Scalar::Big(value)));
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Some(Ok(Scalar::Float(value))),
        Ok(_) => Some(Err("not a finite number; set the field's type to \"string\" to keep it as text".into())),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::point::Value;

    fn value(payload: &str, wanted: Option<FieldType>) -> Result<Value, DecodeError> {
        decode(payload.as_bytes(), &"value".into(), wanted).map(|mut row| row.fields.remove(0).1)
    }

    #[test]
    fn the_payload_says_what_it_is() {
        assert_eq!(value("21.5", None), Ok(Value::Double(21.5)));
        assert_eq!(value(" 7\n", None), Ok(Value::Double(7.0)));
        assert_eq!(value("true", None), Ok(Value::Bool(true)));
        assert_eq!(value("open ", None), Ok(Value::Text("open ".into())));
        assert_eq!(value("1e3", Some(FieldType::Long)), Ok(Value::Long(1000)));
        assert_eq!(value("9223372036854775807", Some(FieldType::Long)), Ok(Value::Long(i64::MAX)));
        assert_eq!(value("NaN", Some(FieldType::String)), Ok(Value::Text("NaN".into())));
        assert_eq!(value("007", Some(FieldType::String)), Ok(Value::Text("007".into())));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (payload, wanted) in [
            ("", None),
            (" \n", Some(FieldType::String)),
            ("nan", None),
            ("-inf", None),
            ("1e999", Some(FieldType::Double)),
            ("open", Some(FieldType::Double)),
            ("1.5", Some(FieldType::Long)),
            ("9223372036854775808", Some(FieldType::Long)),
            ("1", Some(FieldType::Boolean)),
        ] {
            assert!(value(payload, wanted).is_err(), "{payload:?} as {wanted:?}");
        }
        assert!(decode(b"\xff\xfe", &"value".into(), None).is_err());
    }

    proptest! {
        #[test]
        fn finite_doubles_round_trip(number in any::<f64>().prop_filter("finite", |n| n.is_finite())) {
            prop_assert_eq!(value(&format!("{number:?}"), None), Ok(Value::Double(number)));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            for wanted in [None, Some(FieldType::Double), Some(FieldType::Long), Some(FieldType::String)] {
                let _ = decode(&bytes, &"value".into(), wanted);
            }
        }
    }
}
