//! The rows of a record read in one pass, with names as bytes: for a reader that knows most names already.
//!
//! [`super::Rows`] looks at a whole row before it gives it out. Here a row's parts come one after the other, and what does not read
//! shows when its turn has come: only for readers that can undo what they made of the parts before it.

use super::{Cursor, EntryError, FLAG_REPLACED_SEVERAL, ValueRef, read_flags};
use crate::point::Timestamp;

/// The rows of one record, read part by part.
#[derive(Debug)]
pub struct RawRows<'a> {
    /// Name of the table that all of them belong to.
    pub table: &'a [u8],
    cursor: Cursor<'a>,
}

/// The beginning of a row: its time and its symbols. Its fields come next out of [`RawRows::field`].
#[derive(Debug)]
pub struct RawRow<'a> {
    /// Event time.
    pub time: Timestamp,
    /// Whether the time came from the device.
    pub device_time: bool,
    /// How many rows it took the place of.
    pub replaced: u16,
    /// How many fields follow.
    pub fields: u16,
    /// The symbols' own encoded bytes, as of [`super::RowRef::symbol_bytes`].
    pub symbol_bytes: &'a [u8],
}

impl<'a> RawRows<'a> {
    /// Reads the head of a rows body.
    pub fn decode(body: &'a [u8]) -> Result<Self, EntryError> {
        let mut cursor = Cursor::new(body);
        let table = cursor.name_bytes()?;
        Ok(Self { table, cursor })
    }

    /// The next row, when all fields of the one before have been taken.
    pub fn row(&mut self) -> Result<Option<RawRow<'a>>, EntryError> {
        if self.cursor.is_empty() {
            return Ok(None);
        }
        let cursor = &mut self.cursor;
        let time = Timestamp(i64::from_le_bytes(cursor.array("row time")?));
        let flags = cursor.u8("row flags")?;
        let symbols = cursor.u8("symbol count")?;
        let fields = cursor.u16("field count")?;
        let (device_time, mut notes) = read_flags(flags);
        if flags & FLAG_REPLACED_SEVERAL != 0 {
            notes.replaced = cursor.u16("count of replaced rows")?;
        }
        let start = cursor.at;
        for _ in 0..symbols {
            cursor.symbol_bytes()?;
        }
        let symbol_bytes = &cursor.bytes[start..cursor.at];
        Ok(Some(RawRow { time, device_time, replaced: notes.replaced, fields, symbol_bytes }))
    }

    /// How many bytes of the body have been read.
    pub fn at(&self) -> usize {
        self.cursor.at
    }

    /// Steps over all the fields of a row.
    pub fn pass_fields(&mut self, row: &RawRow<'_>) -> Result<(), EntryError> {
        (0..row.fields).try_for_each(|_| self.field().map(drop))
    }

    /// Name and value of the next field of a row.
    #[inline]
    pub fn field(&mut self) -> Result<(&'a [u8], ValueRef<'a>), EntryError> {
        let name = self.cursor.name_bytes()?;
        Ok((name, self.cursor.value()?))
    }
}

impl<'a> RawRow<'a> {
    /// Names and values of the symbols.
    pub fn symbols(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut cursor = Cursor::new(self.symbol_bytes);
        std::iter::from_fn(move || if cursor.is_empty() { None } else { cursor.symbol_bytes().ok() })
    }
}

impl<'a> Cursor<'a> {
    #[inline]
    fn name_bytes(&mut self) -> Result<&'a [u8], EntryError> {
        let len = self.u8("name length")?;
        self.take(usize::from(len), "name")
    }

    #[inline]
    fn symbol_bytes(&mut self) -> Result<(&'a [u8], &'a [u8]), EntryError> {
        let name = self.name_bytes()?;
        let len = self.u16("symbol length")?;
        Ok((name, self.take(usize::from(len), "symbol value")?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{RowRef, Rows},
        *,
    };

    /// What [`Rows`] gives and what [`RawRows`] gives, each up to the first row that does not read.
    type Read = Vec<(Timestamp, (bool, u16), Vec<(String, String)>, Vec<(String, String)>)>;

    fn text(bytes: &[u8]) -> Option<String> {
        std::str::from_utf8(bytes).ok().map(str::to_owned)
    }

    fn whole(body: &[u8]) -> Option<Read> {
        let shown = |row: RowRef<'_>| {
            let symbols = row.symbols().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let fields = row.fields().map(|(name, value)| (name.to_owned(), format!("{value:?}"))).collect();
            (row.time, (row.device_time, row.notes.replaced), symbols, fields)
        };
        Rows::decode(body).ok()?.map(|row| row.ok().map(shown)).collect()
    }

    fn by_parts(body: &[u8]) -> Option<Read> {
        let (mut rows, mut read) = (RawRows::decode(body).ok()?, Vec::new());
        text(rows.table)?;
        while let Some(row) = rows.row().ok()? {
            let symbols =
                row.symbols().map(|(name, value)| Some((text(name)?, text(value)?))).collect::<Option<_>>()?;
            let mut fields = Vec::new();
            for _ in 0..row.fields {
                let (name, value) = rows.field().ok()?;
                fields.push((text(name)?, format!("{value:?}")));
            }
            read.push((row.time, (row.device_time, row.replaced), symbols, fields));
        }
        Some(read)
    }

    proptest! {
        #[test]
        fn both_ways_read_the_same(
            rows in prop::collection::vec(super::super::tests::row(), 0..4), flip in any::<prop::sample::Index>(), with in 0u8..4,
        ) {
            let mut body = Vec::new();
            super::super::encode_rows("sensors", &rows, &mut body).unwrap();
            let at = flip.index(body.len());
            body[at] ^= with;
            prop_assert_eq!(by_parts(&body), whole(&body));
        }

        #[test]
        fn a_row_reads_by_itself_from_its_own_bytes(rows in prop::collection::vec(super::super::tests::row(), 1..4)) {
            let mut body = Vec::new();
            super::super::encode_rows("sensors", &rows, &mut body).unwrap();
            let mut parts = RawRows::decode(&body).unwrap();
            for row in &rows {
                let start = parts.at();
                let raw = parts.row().unwrap().unwrap();
                parts.pass_fields(&raw).unwrap();
                prop_assert_eq!(&RowRef::of(&body[start..parts.at()]).unwrap().to_row(), row);
            }
            prop_assert_eq!(parts.at(), body.len());
        }

        #[test]
        fn both_ways_read_the_same_of_any_bytes(body in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(by_parts(&body), whole(&body));
        }
    }
}
