//! `forebay device ls`.

use serde_json::{Value, json};

use crate::{
    cli::{
        Exit, Failure, Global,
        out::{columns, emit},
    },
    devices::{self, Family},
};

pub fn run(global: &Global) -> Result<(), Failure> {
    if global.json {
        let all = devices::all().iter().map(as_json).collect::<Result<Vec<_>, _>>()?;
        return emit(&format!("{:#}\n", Value::Array(all)));
    }
    let row = |family: &Family| [family.name.to_owned(), family.title().to_owned(), family.subject().to_owned()];
    let rows: Vec<_> = devices::all().iter().map(row).collect();
    emit(&columns(["NAME", "TITLE", "WHAT"], &rows))
}

/// A family as an object, with each source's topics and table.
pub fn as_json(family: &Family) -> Result<Value, Failure> {
    let sources = family.sources().map_err(|error| Failure::new(Exit::Failed, error))?;
    let source = |(name, source): (&String, &crate::settings::Source)| json!({ "name": name, "topics": source.topic.iter().collect::<Vec<_>>(), "table": source.table });
    let sources: Vec<_> = sources.iter().map(source).collect();
    Ok(json!({
        "name": family.name,
        "title": family.title(),
        "what": family.subject(),
        "about": family.about(),
        "sources": sources,
    }))
}
