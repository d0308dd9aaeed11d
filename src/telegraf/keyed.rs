//! Tables that a member of the payload names: a jq program puts the name around each row, and
//! `{key}` is the table. Pure.

use super::{
    draft::{Before, Draft, Format},
    jq,
};

/// Where the member stands that names the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameIn {
    /// In the document.
    Document,
    /// In the row.
    Row,
}

const OF_OTHER_FORMAT: &str = "a member of such a payload can't name the table; all rows go to one";
const NAMED_ALREADY: &str = "another member names the table already; all rows go by that one";
const OUT_OF_REACH: &str =
    "a member can't name the table where rows stand within several arrays, or reach out of them; all rows go to one";

impl Draft {
    /// Names the measurement, whatever the payload says of it.
    pub fn override_measurement(&mut self, name: &str) {
        if let Some(Before { jq, rows, depth }) = self.before_key.take() {
            (self.jq, self.rows) = (jq, rows);
            if depth > 0 {
                self.move_paths(&"^.".repeat(depth), "$.");
            }
        }
        self.set_measurement(name);
    }

    /// Has a member name the table. `name` is a program of what it stands in that gives the name,
    /// or nothing. The error says why that can't be.
    pub fn name_by_program(&mut self, name: &str, stands: NameIn) -> Result<(), &'static str> {
        if self.format != Format::Json {
            return Err(OF_OTHER_FORMAT);
        }
        if self.before_key.is_some() {
            return Err(NAMED_ALREADY);
        }
        let mut before = Before { jq: self.jq.clone(), rows: self.rows.clone(), depth: 0 };
        let mut steps: Vec<String> = self.jq.clone().into_iter().collect();
        let rows = match self.rows.clone() {
            None => "*".to_owned(),
            Some(rows) => {
                let names: Vec<&str> = rows.trim_end_matches("[]").split('.').collect();
                let is_simple = !names.iter().any(|name| name.contains("[]"));
                match stands {
                    NameIn::Document if is_simple => {
                        before.depth = names.len();
                        self.move_paths("$.", &"^.".repeat(before.depth));
                        format!("*.{rows}")
                    }
                    NameIn::Row if is_simple && !self.reaches_out() => {
                        let path = names.iter().map(|name| jq::text(name)).collect::<Vec<_>>().join("]?[");
                        steps.push(format!(".[{path}]? | values"));
                        "*".to_owned()
                    }
                    _ => return Err(OUT_OF_REACH),
                }
            }
        };
        if rows == "*" && self.reaches_out() {
            return Err(OUT_OF_REACH);
        }
        let by_default = jq::text(&self.table);
        steps.push("if type == \"array\" then .[] else . end".into());
        steps.push(format!("{{(({name} | values | scalars | tostring) // {by_default}): .}}"));
        self.jq = Some(steps.join(" | "));
        self.rows = Some(rows);
        self.table = "{key}".into();
        self.before_key = Some(before);
        Ok(())
    }

    fn paths_mut(&mut self) -> Vec<&mut String> {
        let only = self.only.iter_mut().map(|only| &mut only.pattern);
        let time = self.time.iter_mut().map(|time| &mut time.field);
        self.symbols.iter_mut().chain(only).chain(&mut self.ignore).chain(time).collect()
    }

    fn reaches_out(&self) -> bool {
        let only = self.only.iter().map(|only| &only.pattern);
        let time = self.time.iter().map(|time| &time.field);
        self.symbols.iter().chain(only).chain(time).any(|path| path.starts_with("$."))
    }

    /// Has paths begin in another way, since the top is another object.
    fn move_paths(&mut self, from: &str, to: &str) {
        let moved = |path: &str| match path.strip_prefix(from) {
            Some(rest) => format!("{to}{rest}"),
            None => path.to_owned(),
        };
        for path in self.paths_mut() {
            *path = moved(path);
        }
        self.fields = self.fields.iter().map(|(path, kind)| (moved(path), *kind)).collect();
        self.rename = self.rename.iter().map(|(path, name)| (moved(path), name.clone())).collect();
        self.scale = self.scale.iter().map(|(path, scale)| (moved(path), *scale)).collect();
    }
}
