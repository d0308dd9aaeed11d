//! Outputs of a program, written as one JSON array.

use jaq_json::{Num, Val};
use serde::de::IgnoredAny;

use super::{
    error::{JqError, cut},
    limits::{MAX_DEPTH, MAX_OUTPUT_BYTES},
};

/// The array as far as it is written.
#[derive(Debug, Default)]
pub(super) struct Rows(Vec<u8>);

impl Rows {
    /// Adds an output; one that is an array is a list of documents.
    pub fn push(&mut self, output: &Val) -> Result<(), JqError> {
        match output {
            Val::Arr(documents) => documents.iter().try_for_each(|document| self.document(document)),
            document => self.document(document),
        }
    }

    fn document(&mut self, document: &Val) -> Result<(), JqError> {
        self.0.push(if self.0.is_empty() { b'[' } else { b',' });
        self.value(document, 1)
    }

    /// The whole array.
    pub fn finish(mut self) -> Result<Vec<u8>, JqError> {
        self.0.extend_from_slice(if self.0.is_empty() { b"[]" } else { b"]" });
        if self.0.len() > MAX_OUTPUT_BYTES { Err(JqError::TooLarge) } else { Ok(self.0) }
    }

    fn value(&mut self, value: &Val, depth: usize) -> Result<(), JqError> {
        if self.0.len() > MAX_OUTPUT_BYTES {
            return Err(JqError::TooLarge);
        }
        match value {
            Val::Arr(_) | Val::Obj(_) if depth >= MAX_DEPTH => {
                return Err(JqError::failed(&format!("an output is nested deeper than {MAX_DEPTH} levels")));
            }
            Val::Null => self.0.extend_from_slice(b"null"),
            Val::Bool(is_true) => self.0.extend_from_slice(if *is_true { b"true" } else { b"false" }),
            Val::Num(number) => self.number(number),
            Val::TStr(text) => self.text(text)?,
            Val::BStr(_) => return Err(JqError::failed("an output holds bytes (tobytes), which JSON has not")),
            Val::Arr(items) => {
                self.0.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    self.comma(at);
                    self.value(item, depth + 1)?;
                }
                self.0.push(b']');
            }
            Val::Obj(members) => {
                self.0.push(b'{');
                for (at, (name, member)) in members.iter().enumerate() {
                    self.comma(at);
                    self.name(name)?;
                    self.value(member, depth + 1)?;
                }
                self.0.push(b'}');
            }
        }
        Ok(())
    }

    fn comma(&mut self, at: usize) {
        if at > 0 {
            self.0.push(b',');
        }
    }

    /// jaq takes any value for the name of a member.
    fn name(&mut self, name: &Val) -> Result<(), JqError> {
        let Val::TStr(text) = name else {
            let said = format!("the name of an object's member is {}, which is no text", cut(&name.to_string()));
            return Err(JqError::failed(&said));
        };
        self.text(text)?;
        self.0.push(b':');
        Ok(())
    }

    /// Text that is not UTF-8, as `@base64d` may give it, has replacement characters instead.
    fn text(&mut self, text: &[u8]) -> Result<(), JqError> {
        if self.0.len() + text.len() > MAX_OUTPUT_BYTES {
            return Err(JqError::TooLarge);
        }
        let written = serde_json::to_writer(&mut self.0, &String::from_utf8_lossy(text));
        written.map_err(|error| JqError::failed(&error.to_string()))
    }

    /// A number that JSON has not is null, as in jq for `nan`.
    fn number(&mut self, number: &Num) {
        let text = match number {
            Num::Float(double) if !double.is_finite() => "null".to_owned(),
            // Digits as they came, but for a sign or zeros before them that JSON has not.
            Num::Dec(digits) if serde_json::from_str::<IgnoredAny>(digits).is_err() => {
                Num::from_dec_str(digits).to_string()
            }
            other => other.to_string(),
        };
        self.0.extend_from_slice(text.as_bytes());
    }
}
