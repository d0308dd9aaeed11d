//! What a row gets that its place in the payload tells: its table, and symbols of its own. Pure.

use super::{Decoded, Resolved, check_symbol, table::TableTemplate, template::Template, value::clean_text};
use crate::{
    names::same,
    point::{Row, Text},
};

/// Most tables that one payload's rows belong to.
const MAX_TABLES: usize = 1_000;

/// What is made of what each row tells: `{key}`, `{measurement}`.
#[derive(Debug, Clone, Default)]
pub(super) struct PerRow {
    /// The table, where it is the row's.
    pub table: Option<TableTemplate>,
    /// Symbols with what the row tells.
    pub tags: Vec<(Text, Template)>,
    /// What the row tells that becomes a symbol of this name.
    pub keeps: Option<Text>,
}

impl PerRow {
    /// Gives a row its table and its symbols; `told` is what it tells. The error says why not.
    pub fn give<'a>(
        &'a self,
        row: &mut Row,
        topic: &'a Resolved,
        told: impl Fn(&str) -> Option<&'a str>,
        out: &mut Decoded,
    ) -> Result<(), String> {
        let value = |name: &str| topic.given(name).or_else(|| told(name));
        for (name, template) in &self.tags {
            let Ok(text) = template.fill(value) else { continue };
            add(row, name, &text)?;
        }
        if let Some(name) = &self.keeps
            && !topic.symbols.iter().any(|(known, _)| same(known, name))
            && let Some(text) = told(name)
        {
            add(row, name, text)?;
        }
        if let Some(template) = &self.table {
            row.table = out.table(template.render(value).map_err(|error| error.to_string())?)?;
        }
        Ok(())
    }
}

fn add(row: &mut Row, name: &Text, value: &str) -> Result<(), String> {
    check_symbol(name, value)?;
    if !value.is_empty() && !row.symbols.iter().any(|(known, _)| same(known, name)) {
        row.symbols.push((name.clone(), clean_text(value)));
    }
    Ok(())
}

impl Decoded {
    /// The number of a table.
    fn table(&mut self, name: Text) -> Result<u16, String> {
        if let Some(at) = self.tables.iter().rposition(|known| same(known, &name)) {
            return Ok(at as u16 + 1);
        }
        if self.tables.len() == MAX_TABLES {
            return Err(format!("more than {MAX_TABLES} tables in one message"));
        }
        self.tables.push(name);
        Ok(self.tables.len() as u16)
    }
}
