//! Whether the members that a source is configured for have been seen in its readings. A slip in
//! their names shows nowhere else: the time of receipt takes the place of a timestamp, and rows
//! without a symbol replace each other.

use crate::{
    decode::{Decoder, Named},
    names::same,
    point::Row,
};

/// Rows after which a member that was in none of them is told.
const ENOUGH_ROWS: u64 = 10;

/// What is still to be seen of a source.
#[derive(Debug)]
pub struct Seen {
    wanted: Vec<Named>,
    rows: u64,
}

impl Seen {
    /// Of a source with this decoder, before its first message.
    pub fn new(decoder: &Decoder) -> Self {
        Self { wanted: decoder.named_members(), rows: 0 }
    }

    /// Looks at the rows of a message, none of whose members was left out.
    pub fn look(&mut self, rows: &[Row]) {
        if self.wanted.is_empty() {
            return;
        }
        self.rows += rows.len() as u64;
        self.wanted.retain(|wanted| {
            let is_in = |row: &Row| match &wanted.symbol {
                Some(column) => row.symbols.iter().any(|(name, _)| same(name, column)),
                None => row.time.is_some(),
            };
            !rows.iter().any(is_in)
        });
    }

    /// Members that were in none of so many rows, as `timestamp.field "ts"`.
    pub fn missing(&self) -> Vec<String> {
        let wanted = self.wanted.iter().filter(|_| self.rows >= ENOUGH_ROWS);
        wanted.map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decode::{Decoded, Payload, Resolved},
        settings::Source,
    };

    #[test]
    fn a_member_is_missing_once_ten_rows_came_without_it_and_until_one_has_it() {
        let settings =
            "topic = \"a/{id}\"\ntable = \"t\"\nsymbols = [\"line\", \"cell\"]\ntimestamp = { field = \"ts\" }";
        let source: Source = toml::from_str(settings).expect("a source");
        let mut decoder = Decoder::new("s", &source).expect("a decoder");
        let mut seen = Seen::new(&decoder);
        let mut say = |payload: &str| {
            let mut out = Decoded::default();
            decoder.decode(&Payload::of(&Resolved::default(), payload.as_bytes()), &mut out).expect("decodes");
            seen.look(&out.rows);
            seen.missing()
        };
        for _ in 1..ENOUGH_ROWS {
            assert_eq!(say(r#"{"time":1780000000,"LINE":"a","v":1}"#), Vec::<String>::new());
        }
        assert_eq!(say(r#"{"v":1}"#), ["symbols \"cell\"", "timestamp.field \"ts\""]);
        assert_eq!(say(r#"{"v":1,"ts":1780000000}"#), ["symbols \"cell\""]);
        assert_eq!(say(r#"{"v":1,"cell":"c"}"#), Vec::<String>::new());
    }
}
