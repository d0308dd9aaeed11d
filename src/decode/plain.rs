//! Payloads that are one value: `21.5`, `true`, `open`.

use super::{
    DecodeError,
    fill::put,
    members::{Members, Treatment},
    repair::trim,
    value::Scalar,
};
use crate::{point::Row, settings::FieldType};

/// The payload as a row with the one field `name`; none where it says nothing.
///
/// Without a wanted type a number is a double, `true` and `false` are booleans, and anything else is a string.
pub(super) fn decode(payload: &[u8], members: &mut Members, name: &str) -> Result<Option<Row>, DecodeError> {
    let fault = |reason: String| DecodeError::new("payload", reason);
    let core = trim(payload);
    let text = std::str::from_utf8(core).map_err(|error| fault(format!("not UTF-8 ({error})")))?;
    if text.is_empty() || text == "null" {
        return Ok(None);
    }
    // The space around a string is part of it; around a number or boolean it is not.
    let whole = std::str::from_utf8(payload).map_or(text, |whole| whole.trim_matches(['\0', '\u{feff}']));
    let value = match members.treatment(name) {
        Treatment::Field { wanted: Some(FieldType::String), factor: None, .. } => Scalar::Text(whole),
        _ => classify(text).unwrap_or(Scalar::Text(whole)),
    };
    let mut row = Row::default();
    put(&mut row, members, name, value).map_err(|(_, reason)| fault(reason))?;
    Ok((!row.fields.is_empty()).then_some(row))
}

/// A boolean or number; `None` for other text.
fn classify(text: &str) -> Option<Scalar<'_>> {
    match text {
        "true" => return Some(Scalar::Bool(true)),
        "false" => return Some(Scalar::Bool(false)),
        _ => {}
    }
    if let Ok(value) = text.parse::<i64>() {
        return Some(Scalar::Int(value));
    }
    if let Ok(value) = text.parse::<u64>() {
        return Some(Scalar::Big(value));
    }
    let value = text.parse::<f64>().ok()?;
    // Digits beyond what a double holds are no number that says nothing.
    let is_too_large = value.is_infinite() && text.contains(|c: char| c.is_ascii_digit());
    (!is_too_large).then_some(Scalar::Float(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{point::Value, settings::Source};

    fn members(wanted: Option<FieldType>) -> Members {
        let mut source: Source = toml::from_str("topic = \"t\"\ntable = \"t\"").expect("a source");
        source.fields.extend(wanted.map(|wanted| ("value".to_owned(), wanted)));
        Members::of(&source)
    }

    fn value(payload: &str, wanted: Option<FieldType>) -> Result<Value, DecodeError> {
        decode(payload.as_bytes(), &mut members(wanted), "value").map(|row| row.expect("a value").fields.remove(0).1)
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
            assert_eq!(decode(payload.as_bytes(), &mut members(None), "value"), Ok(None), "{payload:?}");
        }
        assert_eq!(decode(b" \n", &mut members(Some(FieldType::String)), "value"), Ok(None));
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
        assert!(decode(b"\xff\xfe", &mut members(None), "value").is_err());
    }

    proptest! {
        #[test]
        fn finite_doubles_round_trip(number in any::<f64>().prop_filter("finite", |n| n.is_finite())) {
            prop_assert_eq!(value(&format!("{number:?}"), None), Ok(Value::Double(number)));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            for wanted in [None, Some(FieldType::Double), Some(FieldType::Long), Some(FieldType::String)] {
                let _ = decode(&bytes, &mut members(wanted), "value");
            }
        }
    }
}
