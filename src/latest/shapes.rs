//! Which sets of symbol names each table's series have: tells when a query names exactly one series.

use std::sync::{Arc, Mutex};

use hashbrown::HashMap;

use super::key::Key;
use crate::{names, point::Text, sync::lock};

/// Sets of symbol names in use, by table; all names folded.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    /// With the number of series that have each; for those who write.
    counted: Mutex<HashMap<Text, Vec<Shape>, foldhash::quality::RandomState>>,
    /// The same without the numbers, for those who read.
    read: papaya::HashMap<Text, Arc<[Names]>, foldhash::quality::RandomState>,
}

/// Names of symbols, sorted.
type Names = Arc<[Text]>;

#[derive(Debug)]
struct Shape {
    names: Names,
    series: usize,
}

impl Shapes {
    pub fn add(&self, key: &Key) {
        let mut counted = lock(&self.counted);
        let table = folded(&key.table);
        if !counted.contains_key(&table) {
            counted.insert(table.clone(), Vec::new());
        }
        let Some(shapes) = counted.get_mut(&table) else { return };
        if let Some(shape) = shapes.iter_mut().find(|shape| shape.is_of(key)) {
            shape.series += 1;
        } else {
            shapes.push(Shape { names: key.symbols.iter().map(|(name, _)| folded(name)).collect(), series: 1 });
            self.publish(&table, shapes);
        }
    }

    pub fn remove(&self, key: &Key) {
        let mut counted = lock(&self.counted);
        let table = folded(&key.table);
        let Some(shapes) = counted.get_mut(&table) else { return };
        let Some(at) = shapes.iter().position(|shape| shape.is_of(key)) else { return };
        shapes[at].series -= 1;
        if shapes[at].series > 0 {
            return;
        }
        shapes.swap_remove(at);
        self.publish(&table, shapes);
        if shapes.is_empty() {
            counted.remove(&table);
        }
    }

    /// Called with `counted` locked, so that the last word is the newest.
    fn publish(&self, table: &Text, shapes: &[Shape]) {
        let read = self.read.pin();
        if shapes.is_empty() {
            read.remove(table);
        } else {
            read.insert(table.clone(), shapes.iter().map(|shape| Arc::clone(&shape.names)).collect());
        }
    }

    /// What a query for these symbols of a table can find.
    pub fn reach(&self, table: &str, symbols: &[(Text, Text)]) -> Reach {
        let read = self.read.pin();
        let mut reach = Reach::Nothing;
        for shape in read.get(&*names::folded(table)).into_iter().flat_map(|shapes| shapes.iter()) {
            let covered = symbols.iter().all(|(wanted, _)| shape.iter().any(|name| names::same(name, wanted)));
            if covered && shape.len() == symbols.len() {
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
        let mut both = self.names.iter().zip(&key.symbols);
        self.names.len() == key.symbols.len() && both.all(|(own, (name, _))| names::same(own, name))
    }
}

fn folded(name: &Text) -> Text {
    names::folded(name).into()
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
