//! Rows that were not found as expected, until they are explained or reported.

use std::collections::{BTreeMap, HashMap};

use super::{Item, compare::Key, tables::View};
use crate::{entry::Rows, marks::Mark, names, ring::Record};

/// Most suspects at a time, and bytes of their rows.
const MAX_SUSPECTS: usize = 10_000;
const MAX_BYTES: usize = 8 << 20;

/// Those at a time. Bounded: when it is full it has to be cleared.
#[derive(Debug, Default)]
pub struct Suspects {
    by_table: BTreeMap<String, Vec<Item>>,
    count: usize,
    bytes: usize,
    /// A place that none of them is before.
    from: Option<Mark>,
}

impl Suspects {
    /// Adds one of a table (its folded name) that is not before `from`.
    pub fn add(&mut self, table: &str, item: Item, from: Mark) {
        self.count += 1;
        self.bytes += item.body.len();
        self.from = Some(self.from.map_or(from, |first| first.min(from)));
        self.by_table.entry(table.to_owned()).or_default().push(item);
    }

    /// Whether it is time to clear them.
    pub fn is_full(&self) -> bool {
        self.count >= MAX_SUSPECTS || self.bytes >= MAX_BYTES
    }

    /// Where to read on from for what explains them; none when there is none to explain.
    pub fn from(&self) -> Option<Mark> {
        self.from
    }

    /// Makes them ready to be explained.
    pub fn into_explanation(self, views: &HashMap<String, View>) -> Explanation<'_> {
        let tables = self.by_table.into_iter().filter_map(|(table, items)| {
            let view = views.get(&table)?;
            let mut keys: HashMap<Key, Vec<usize>> = HashMap::new();
            for (number, item) in items.iter().enumerate().filter(|_| view.dedups()) {
                keys.entry(item.key(view)?).or_default().push(number);
            }
            Some((table, Accused { view, keys, items: items.into_iter().map(Some).collect() }))
        });
        Explanation { tables: tables.collect() }
    }
}

struct Accused<'v> {
    view: &'v View,
    /// Numbers of the rows by their keys; empty without deduplication, where no row explains another.
    keys: HashMap<Key, Vec<usize>>,
    items: Vec<Option<Item>>,
}

/// Suspects while the ring is read on.
pub struct Explanation<'v> {
    tables: BTreeMap<String, Accused<'v>>,
}

impl Explanation<'_> {
    /// Drops those that a later row of the same key in this record explains; returns how many.
    pub fn take(&mut self, record: &Record<'_>) -> u64 {
        let Ok(rows) = Rows::decode(record.body) else { return 0 };
        let Some(accused) = self.tables.get_mut(&*names::folded(rows.table)) else { return 0 };
        if accused.keys.is_empty() {
            return 0;
        }
        let mut explained = 0;
        for (index, row) in rows.flatten().enumerate() {
            let key = Key::of(&row, accused.view.keys.iter().map(String::as_str));
            let Some(numbers) = accused.keys.get(&key) else { continue };
            for number in numbers {
                let is_earlier = |item: &mut Item| (item.seq, item.row) < (record.seq, index as u16);
                explained += u64::from(accused.items[*number].take_if(is_earlier).is_some());
            }
        }
        explained
    }

    /// Those that nothing has explained, by table.
    pub fn left(self) -> Vec<(String, Vec<Item>)> {
        let left =
            self.tables.into_iter().map(|(table, accused)| (table, accused.items.into_iter().flatten().collect()));
        left.filter(|(_, items): &(String, Vec<Item>)| !items.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{
        entry::encode_rows,
        marks::{Pos, Seq},
        point::{Received, Row, Timestamp},
        questdb::sql::{ColumnInfo, TableInfo},
        ring::Kind,
        tally::SourceId,
    };

    fn view() -> View {
        let column = |name: &str, kind: &str| ColumnInfo {
            name: name.into(),
            kind: kind.into(),
            designated: name == "ts",
            key: true,
        };
        let columns = vec![column("ts", "TIMESTAMP"), column("device", "SYMBOL")];
        View {
            info: Some(TableInfo { name: "t".into(), wal: true, dedup: true, columns, ..TableInfo::default() }),
            keys: vec!["device".into()],
            fields: HashSet::new(),
            kept_from_us: i64::MIN,
            warning: None,
        }
    }

    fn body(device: &str) -> Vec<u8> {
        let time = Some(Timestamp(1_000));
        let row = Row { time, device_time: true, symbols: vec![("device".into(), device.into())], ..Row::default() };
        let mut body = Vec::new();
        encode_rows("t", &[row], &mut body).unwrap();
        body
    }

    /// How many suspects a record explains, with one suspect of device `a` in record 5.
    fn explained_by(seq: u64, device: &str) -> u64 {
        let views = HashMap::from([("t".to_owned(), view())]);
        let (suspect, other) = (body("a"), body(device));
        let mut suspects = Suspects::default();
        suspects.add("t", Item { seq: Seq(5), row: 0, body: suspect.into() }, Mark { pos: Pos(0), seq: Seq(1) });
        let mut explanation = suspects.into_explanation(&views);
        let mark = Mark { pos: Pos(0), seq: Seq(seq) };
        let received = Received::default();
        let (kind, table_hash) = (Kind::Rows, 1);
        let record = Record {
            seq: Seq(seq),
            mark,
            end: mark,
            kind,
            last: true,
            table_hash,
            rows: 1,
            received,
            source: SourceId::NONE,
            letter: None,
            boot: None,
            released: None,
            body: &other,
        };
        let explained = explanation.take(&record);
        assert_eq!(explanation.left().len() as u64, 1 - explained);
        explained
    }

    #[test]
    fn only_a_later_row_of_the_same_key_explains_a_suspect() {
        assert_eq!(
            [explained_by(6, "a"), explained_by(5, "a"), explained_by(4, "a"), explained_by(6, "b")],
            [1, 0, 0, 0]
        );
    }
}
