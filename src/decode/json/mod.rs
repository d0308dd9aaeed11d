//! JSON payloads. A document whose rows are itself, or the elements of its array, fills them as it
//! is parsed ([`stream`]); one whose rows stand elsewhere is read into a tree first ([`walk`]). A
//! source's jq program comes before either.

mod filler;
mod find;
mod place;
mod stream;
#[cfg(test)]
mod tests;
mod tree;
mod walk;

use super::{
    DecodeError, Decoded, Format, Mistakes, Payload, Problem,
    members::Members,
    repair::{readable, repair, trim},
    row::PerRow,
};
use crate::{
    jq::Jq,
    settings::{self, Source},
};

pub(super) use place::{is_without_rows, row_names};
use walk::Walk;

/// JSON of one source.
#[derive(Debug)]
pub(super) struct Json {
    members: Members,
    jq: Option<Jq>,
    /// Whether payloads are texts, which the program takes as they are.
    is_text: bool,
    /// Where rows stand, if that is anywhere but at the document's top.
    walk: Option<Walk>,
}

impl Json {
    /// By a source's settings.
    pub fn of(source: &Source, per_row: PerRow, mistakes: &mut Mistakes) -> Self {
        let walk = Walk::of(source, per_row).unwrap_or_else(|(key, what)| {
            mistakes.push((key, Problem::Name(what)));
            None
        });
        if let Some(Err(what)) = source.jq.as_deref().map(crate::jq::check) {
            mistakes.push(("jq", Problem::Name(what)));
        }
        let jq = source.jq.as_deref().map(Jq::new);
        let is_text = source.format == settings::Format::Plain;
        Self { members: Members::of(source), jq, is_text, walk }
    }

    fn read(&mut self, document: &[u8], payload: &Payload<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
        let error = match self.read_as(document, payload, out, false) {
            Ok(false) => return Ok(()),
            Ok(true) => None,
            Err(error) => Some(error),
        };
        // Where it cannot be repaired, the first error tells what the device wrote.
        let Some(repaired) = repair(document) else { return error.map_or(Ok(()), Err) };
        out.clear();
        self.members.explained();
        match (self.read_as(&repaired, payload, out, true), error) {
            (Ok(_), _) => Ok(()),
            (Err(error), None) | (Err(_), Some(error)) => Err(error),
        }
    }

    /// Whether a number may have been rounded.
    fn read_as(
        &mut self,
        document: &[u8],
        payload: &Payload<'_>,
        out: &mut Decoded,
        is_repaired: bool,
    ) -> Result<bool, DecodeError> {
        match &mut self.walk {
            None => stream::read(document, &mut self.members, out, is_repaired),
            Some(walk) => walk.read(document, &mut self.members, payload.topic, out, is_repaired),
        }
    }
}

impl Format for Json {
    fn decode(&mut self, payload: &Payload<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
        let document = trim(payload.bytes);
        let Some(jq) = &mut self.jq else { return self.read(document, payload, out) };
        let quoted = self.is_text.then(|| serde_json::Value::from(readable(document)).to_string().into_bytes());
        let document = quoted.as_deref().unwrap_or(document);
        let repaired = repair(document);
        let made = jq.run(repaired.as_deref().unwrap_or(document));
        let made = made.map_err(|error| DecodeError::new("payload", format!("jq: {error}")))?;
        // What is marked as broken is so in the program's outputs, too.
        let is_repaired = repaired.is_some() || self.is_text && std::str::from_utf8(payload.bytes).is_err();
        if is_repaired { self.read_as(&made, payload, out, true).map(drop) } else { self.read(&made, payload, out) }
    }

    fn members(&mut self) -> &mut Members {
        &mut self.members
    }
}
