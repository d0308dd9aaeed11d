//! Which sets of symbol names each table's series have: tells when a query names exactly one series.

use hashbrown::HashMap;

use super::key::Key;
use crate::point::Text;

/// Sets of symbol names in use, by table, with the number of series that have each.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    tables: HashMap<Text, Vec<Shape>, foldhash::quality::RandomState>,
}

#[derive(Debug)]
struct Shape {
    /// Sorted.
    names: Box<[Text]>,
    series: usize,
}

impl Shapes {
    pub fn add(&mut self, key: &Key) {
        if !self.tables.contains_key(&key.table) {
            self.tables.insert(key.table.clone(), Vec::new());
        }
        let Some(shapes) = self.tables.get_mut(&key.table) else { return };
        if let Some(shape) = shapes.iter_mut().find(|shape| shape.is_of(key)) {
            shape.series += 1;
        } else {
            shapes.push(Shape { names: key.symbols.iter().map(|(name, _)| name.clone()).collect(), series: 1 });
        }
    }

    pub fn remove(&mut self, key: &Key) {
        let Some(shapes) = self.tables.get_mut(&key.table) else { return };
        if let Some(at) = shapes.iter().position(|shape| shape.is_of(key)) {
            shapes[at].series -= 1;
            if shapes[at].series == 0 {
                shapes.swap_remove(at);
            }
        }
        if shapes.is_empty() {
            self.tables.remove(&key.table);
        }
    }

    /// What a query for these symbols of a table can find.
    pub fn reach(&self, table: &str, symbols: &[(Text, Text)]) -> Reach {
        let names = |name: &Text| symbols.iter().any(|(wanted, _)| wanted == name);
        let mut reach = Reach::Nothing;
        for shape in self.tables.get(table).into_iter().flatten() {
            let covered = symbols.iter().all(|(wanted, _)| shape.names.contains(wanted));
            if covered && shape.names.iter().all(names) {
                reach = Reach::One;
            } else if covered {
                return Reach::Many;
            }
        }
        reach
    }
}

impl Shape {
    fn is_of(&self, key: &Key) -> bool {
        self.names.iter().eq(key.symbols.iter().map(|(name, _)| name))
    }
}

/// How many series a query can find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// None has those symbols.
    Nothing,
    /// Only series with exactly those symbols: at most one.
    One,
    /// Some have more symbols than the query names.
    Many,
}
