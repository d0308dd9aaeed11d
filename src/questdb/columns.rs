//! What the columns of tables hold: as QuestDB describes them, and as rows will make them that are
//! on their way.

use std::collections::HashMap;

use super::{
    fit::{self, FormKind, Holds, Sibling},
    schema::Schema,
};
use crate::{entry::RowRef, moment::name_number, names};

/// Tables whose coming columns are known; forgotten beyond.
const MAX_TABLES: usize = 1_024;
/// Columns beside others that are told to the operator.
const MAX_TOLD: usize = 100;

/// Columns that rows make, or have made since their table was described; and the columns beside
/// others among them.
#[derive(Debug, Default)]
pub struct Coming {
    tables: HashMap<String, HashMap<u64, Holds, foldhash::fast::RandomState>, foldhash::fast::RandomState>,
    /// Table, column, and the name of the column beside it.
    siblings: Vec<(String, String, String)>,
}

impl Coming {
    /// Forgets what rows have made of a table, which is another one now.
    pub fn forget(&mut self, table: &str) {
        self.tables.retain(|name, _| !names::same(name, table));
        self.siblings.retain(|(name, ..)| !names::same(name, table));
    }

    /// In sentences, what goes to columns beside others.
    pub fn told(&self) -> impl Iterator<Item = String> + '_ {
        self.siblings.iter().map(|(table, column, sibling)| told(table, column, sibling))
    }
}

fn told(table: &str, column: &str, sibling: &str) -> String {
    format!(
        "values that column {column:?} of table {table:?} cannot hold go to {sibling:?}; declare the field's type in [source.NAME.fields] to have one column"
    )
}

/// The columns of all tables, as a lane sees them.
pub struct Columns<'a> {
    schema: &'a Schema,
    coming: &'a mut Coming,
    /// Most columns a table may get.
    most: usize,
}

impl<'a> Columns<'a> {
    /// The columns as the schema describes them and as they come. A table gets at most so many.
    pub fn new(schema: &'a Schema, coming: &'a mut Coming, most: usize) -> Self {
        Self { schema, coming, most }
    }

    /// A number that changes whenever what was said may no longer hold.
    pub fn generation(&self) -> u64 {
        self.schema.generation()
    }

    /// What a column holds; none while there is no such column.
    pub fn holds(&self, table: &str, column: &str) -> Option<Holds> {
        let described = self.schema.info(table).and_then(|info| {
            let found = info.columns.iter().find(|found| name_number(&found.name) == name_number(column));
            // A row's time goes there, and nothing else: QuestDB (9.3.4) fails on it with 500, for ever.
            found.map(|found| if found.designated { Holds::Time } else { Holds::of(&found.kind) })
        });
        described.or_else(|| self.coming.tables.get(table)?.get(&name_number(column)).copied())
    }

    /// The columns that a row's values go to, as their names' numbers, and the forms in which they do; those that it has taken over from
    /// another row come last.
    pub fn places(&self, table: &str, row: &RowRef<'_>) -> Vec<(u64, FormKind)> {
        let symbols = row.symbols().map(|(name, _)| (name_number(name), FormKind::Symbol));
        let fields = row.fields().map(|(name, value)| {
            let place = fit::place(self.holds(table, name), value);
            let beside = place.sibling.map(|sibling| name_number(&format!("{name}{}", sibling.suffix())));
            let form = if place.is_held { place.form.kind() } else { FormKind::Unfit };
            (beside.unwrap_or_else(|| name_number(name)), form)
        });
        symbols.chain(fields).collect()
    }

    /// Takes note that a row makes a column.
    pub fn makes(&mut self, table: &str, column: &str, holds: Holds) {
        if !self.coming.tables.contains_key(table) {
            if self.coming.tables.len() >= MAX_TABLES {
                self.coming.tables.clear();
            }
            self.coming.tables.insert(table.to_owned(), HashMap::default());
        }
        if let Some(columns) = self.coming.tables.get_mut(table) {
            columns.insert(name_number(column), holds);
        }
    }

    /// The name of the column beside another one, which is there, or may be made. The error says
    /// why it may not.
    pub fn sibling(&mut self, table: &str, column: &str, sibling: Sibling) -> Result<String, String> {
        let name = format!("{column}{}", sibling.suffix());
        match self.holds(table, &name) {
            Some(holds) if holds == sibling.holds() => {}
            Some(_) => {
                return Err(format!(
                    "column {column:?} of table {table:?} cannot hold its value, and neither can {name:?}"
                ));
            }
            None => {
                let described = self.schema.info(table).map_or(0, |info| info.columns.len());
                let coming = self.coming.tables.get(table).map_or(0, HashMap::len);
                if described + coming >= self.most {
                    return Err(format!(
                        "column {column:?} of table {table:?} cannot hold its value, and [limits] columns_per_table = {} allows no {name:?} \
                         beside it",
                        self.most
                    ));
                }
                self.makes(table, &name, sibling.holds());
            }
        }
        let siblings = &mut self.coming.siblings;
        let is_told = siblings.iter().any(|(of, _, told)| of == table && *told == name);
        if !is_told && siblings.len() < MAX_TOLD {
            tracing::warn!(table, "{}", told(table, column, &name));
            siblings.push((table.to_owned(), column.to_owned(), name.clone()));
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn columns_beside_others_are_made_once_within_the_limit_and_told() {
        let (schema, mut coming) = (Schema::new(None, Arc::new(SystemClock)), Coming::default());
        let mut columns = Columns::new(&schema, &mut coming, 3);
        assert_eq!(columns.holds("t", "v"), None);
        columns.makes("t", "v", Holds::Double);
        assert_eq!((columns.holds("t", "V"), columns.holds("u", "v")), (Some(Holds::Double), None));
        for _ in 0..2 {
            assert_eq!(columns.sibling("t", "v", Sibling::String).as_deref(), Ok("v_string"));
        }
        assert_eq!(columns.holds("t", "v_string"), Some(Holds::Text));
        columns.makes("t", "v_long", Holds::Text);
        let reason = columns.sibling("t", "v", Sibling::Long).unwrap_err();
        assert!(reason.ends_with("and neither can \"v_long\""), "{reason}");
        let reason = columns.sibling("t", "v", Sibling::Boolean).unwrap_err();
        assert!(reason.contains("columns_per_table = 3"), "{reason}");
        let told: Vec<String> = coming.told().collect();
        assert!(told.len() == 1 && told[0].contains("\"v_string\""), "{told:?}");
    }
}
