//! A field's value.

use super::{LineError, scan::Scanner};
use crate::{
    decode::{names::short, value::clean_text},
    point::Value,
};

/// Reads the value of the field called `name` at the cursor; none where it is a number that is
/// none.
pub(super) fn read(scan: &mut Scanner<'_>, name: &str) -> Result<Option<Value>, LineError> {
    let start = scan.clone();
    let fault = |reason: String| start.fault(format!("field {:?}: {reason}", short(name)));
    if scan.take(b'"') {
        let text = scan.quoted().ok_or_else(|| fault("its string has no closing quote".into()))?;
        if !(scan.at_end_of_line() || matches!(scan.peek(), Some(b' ' | b','))) {
            return Err(fault("its string goes on behind the closing quote; write a quote in it as \\\"".into()));
        }
        return Ok(Some(Value::Text(clean_text(&text))));
    }
    let value = scalar(scan.word()).map_err(fault)?;
    Ok(Some(value).filter(|value| !matches!(value, Value::Double(number) if !number.is_finite())))
}

fn scalar(word: &str) -> Result<Value, String> {
    match word {
        "t" | "T" | "true" | "True" | "TRUE" => return Ok(Value::Flag(true)),
        "f" | "F" | "false" | "False" | "FALSE" => return Ok(Value::Flag(false)),
        "" => return Err("it has no value".into()),
        _ => {}
    }
    if matches!(word.as_bytes()[0], b'0'..=b'9' | b'-' | b'+') {
        match word.as_bytes()[word.len() - 1] {
            b'i' | b'u' | b't' => return whole(word).map(Value::Long),
            // The unit of a time is that of QuestDB's TIMESTAMP.
            b'n' => return whole(word).map(|nanos| Value::Long(nanos.div_euclid(1_000))),
            _ => {}
        }
    }
    double(word).map(Value::Double)
}

/// A whole number in front of its one-letter suffix.
fn whole(word: &str) -> Result<i64, String> {
    let digits = &word[..word.len() - 1];
    digits.parse().map_err(|_| {
        let what = if digits.starts_with("0x") { "a LONG256, which is not taken" } else { "no 64-bit signed integer" };
        format!("{:?} is {what}", short(word))
    })
}

fn double(word: &str) -> Result<f64, String> {
    match word.parse::<f64>() {
        Ok(value) if value.is_infinite() && word.contains(|c: char| c.is_ascii_digit()) => {
            Err(format!("{:?} is beyond a 64-bit float", short(word)))
        }
        Ok(value) => Ok(value),
        Err(_) if word.starts_with('=') => {
            Err("it is binary, of QuestDB's protocol version 2 or 3; set protocol_version=1".into())
        }
        Err(_) => Err(format!("{:?} is no number, true or false; strings stand in double quotes", short(word))),
    }
}
