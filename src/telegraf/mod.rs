//! A Telegraf configuration as sources: what its inputs `mqtt_consumer` would be here. Pure: texts
//! come in, a fragment and remarks go out.

mod broker;
mod document;
mod draft;
mod environment;
mod filters;
mod finish;
mod formats;
mod gjson;
mod glob;
mod inline;
mod input;
mod jq;
mod keyed;
mod layout;
mod printer;
mod processors;
mod remark;
mod section;
mod split;
#[cfg(test)]
mod tests;
mod topics;

use std::{collections::HashMap, fmt::Write as _};

use thiserror::Error;

use self::{document::Value, input::Global, processors::Processor, remark::MAX_REMARKS, section::Section};
pub use self::{
    document::{DocumentError, MAX_FILE_BYTES},
    environment::Variables,
    remark::{Kind, Place, Remark},
};
use crate::observe::log::clip;

/// Most files of a configuration.
pub const MAX_FILES: usize = 1_000;
/// Most sections `inputs.mqtt_consumer`.
const MAX_INPUTS: usize = 1_000;
/// Most sections `processors.…`.
const MAX_PROCESSORS: usize = 1_000;
/// Most inputs of other kinds that are named.
const MAX_NAMED: usize = 10;

/// The parts of a Telegraf configuration.
const PARTS: [&str; 9] =
    ["agent", "global_tags", "tags", "inputs", "outputs", "processors", "aggregators", "secretstores", "plugins"];

/// What a configuration becomes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// A fragment for `conf.d`.
    pub sources: String,
    /// How many sources it has.
    pub count: usize,
    /// What is otherwise, in the order of the files; of very many those that weigh most.
    pub remarks: Vec<Remark>,
    /// Remarks beyond those.
    pub more_remarks: usize,
}

/// Why there is nothing to be imported.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ImportError {
    /// A file is no TOML.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// It is TOML of another kind.
    #[error(
        "{file}:1: this is no Telegraf configuration: none of the sections agent, inputs, outputs, processors is in it"
    )]
    Other {
        /// The file.
        file: String,
    },
    /// There is more than is looked at.
    #[error("{file}:{line}: there are more than {most} {what}; import them in parts")]
    TooMany {
        /// The file.
        file: String,
        /// The line.
        line: usize,
        /// The limit.
        most: usize,
        /// What there is too much of.
        what: &'static str,
    },
}

/// A file: its name and its text.
pub type File = (String, String);

/// What the files' inputs `mqtt_consumer` would be. `variables` looks up the environment, as
/// Telegraf does.
pub fn import(files: &[File], variables: Variables<'_>) -> Result<Imported, ImportError> {
    if let Some((file, _)) = files.get(MAX_FILES) {
        return Err(ImportError::TooMany { file: file.clone(), line: 1, most: MAX_FILES, what: "files" });
    }
    let mut parts = Parts::default();
    for (file, text) in files {
        parts.read(file, text, variables)?;
    }
    let Parts { inputs, processors, global, mut remarks } = parts;
    let mut drafts = Vec::new();
    let mut brokers: Vec<broker::Broker> = Vec::new();
    for section in inputs {
        let input = input::read(section, &global);
        remarks.extend(input.remarks);
        if let Some(first) = brokers.first().filter(|first| first.is_other(&input.broker)) {
            let what = format!(
                "forebay has one broker; the first input's is {}. A second forebay, or a bridge between the brokers, takes the others",
                first.servers.join(", ")
            );
            remarks.push(Remark::new(Kind::NoCounterpart, input.place.clone(), what));
        }
        brokers.push(input.broker);
        drafts.extend(input.drafts);
    }
    remarks.extend(processors::apply(processors, &mut drafts));
    let (sources, count) = input::print(drafts, brokers.first(), &mut remarks);
    remark::without_twins(&mut remarks);
    let numbers: HashMap<&str, usize> = files.iter().enumerate().map(|(at, (name, _))| (name.as_str(), at)).collect();
    remarks.sort_by_key(|remark| (numbers.get(remark.place.file.as_str()).copied(), remark.place.line));
    let more_remarks = remark::weightiest(&mut remarks, MAX_REMARKS);
    Ok(Imported { sources, count, remarks, more_remarks })
}

/// What the files have.
#[derive(Default)]
struct Parts {
    inputs: Vec<Section>,
    processors: Vec<Processor>,
    global: Global,
    remarks: Vec<Remark>,
}

impl Parts {
    fn read(&mut self, file: &str, text: &str, variables: Variables<'_>) -> Result<(), ImportError> {
        let mut missing = Vec::new();
        let entries = document::read(file, text, variables, &mut missing)?;
        if !entries.iter().any(|(name, item)| PARTS.contains(&name.as_str()) && is_table(&item.value)) {
            return Err(ImportError::Other { file: file.to_owned() });
        }
        for (line, name) in missing {
            let place = Place { file: file.to_owned(), line, path: clip(&name).into_owned() };
            let what = "this variable has no value here; set it for this command as it is set for Telegraf";
            self.remarks.push(Remark::new(Kind::Note, place, what));
        }
        let mut processors = Vec::new();
        for (name, item) in entries {
            let line = item.line;
            let Value::Table(entries) = item.value else { continue };
            let section = Section::new(file, name.clone(), line, entries);
            match name.as_str() {
                "agent" => self.global.agent(section),
                "global_tags" | "tags" => self.global.tags(section),
                "inputs" | "plugins" => self.inputs(section),
                "processors" => {
                    let all = section.plugins().into_iter();
                    processors
                        .extend(all.flat_map(|(name, list)| list.into_iter().map(move |one| (name.clone(), one))));
                }
                "aggregators" => self.without_counterpart(
                    section,
                    "aggregator",
                    "rows are stored as they come, and QuestDB aggregates them in the query (SAMPLE BY)",
                ),
                "outputs" => self.outputs(section),
                "secretstores" => self.without_counterpart(section, "secret store", "forebay reads secrets from files"),
                _ => {
                    let what = "this is no part of a Telegraf configuration that is known here; it is left out";
                    self.remarks.push(Remark::new(Kind::NoCounterpart, section.place, what));
                }
            }
        }
        processors.sort_by_key(|(_, section)| section.place.line);
        self.processors.extend(processors.into_iter().map(|(name, section)| Processor::of(name, section)));
        self.check(file)
    }

    fn check(&self, file: &str) -> Result<(), ImportError> {
        for (count, most, what) in [
            (self.inputs.len(), MAX_INPUTS, "sections inputs.mqtt_consumer"),
            (self.processors.len(), MAX_PROCESSORS, "processors"),
        ] {
            if count > most {
                return Err(ImportError::TooMany { file: file.to_owned(), line: 1, most, what });
            }
        }
        Ok(())
    }

    fn inputs(&mut self, section: Section) {
        let mut others = Vec::new();
        let place = section.place.clone();
        for (name, list) in section.plugins() {
            if name == "mqtt_consumer" {
                let from = self.inputs.len();
                self.inputs.extend(list.into_iter().enumerate().map(|(at, mut one)| {
                    one.place.path = format!("inputs.mqtt_consumer[{}]", from + at);
                    one
                }));
            } else {
                others.push(name);
            }
        }
        if !others.is_empty() {
            let mut names =
                others.iter().take(MAX_NAMED).map(|name| clip(name).into_owned()).collect::<Vec<_>>().join(", ");
            if others.len() > MAX_NAMED {
                // Writing into memory does not fail.
                let _ = write!(names, " and {} more", others.len() - MAX_NAMED);
            }
            let what = format!(
                "inputs of other kinds stay with Telegraf ({names}); its output influxdb_v2 can write to forebay's POST /write"
            );
            self.remarks.push(Remark::new(Kind::NoCounterpart, place, what));
        }
    }

    fn outputs(&mut self, section: Section) {
        let place = section.place.clone();
        let mut hint = String::new();
        for (name, list) in section.plugins() {
            let mut one = list.into_iter().next();
            let urls = one.as_mut().map(|one| [one.texts("urls"), one.texts("address")].concat()).unwrap_or_default();
            let url =
                urls.iter().find_map(|url| url.rsplit_once('@').map_or(Some(url.as_str()), |(_, host)| Some(host)));
            if let Some(url) = url.filter(|_| matches!(name.as_str(), "influxdb" | "influxdb_v2" | "questdb")) {
                let address = url.rsplit("://").next().unwrap_or_default().split(['/', '?']).next().unwrap_or_default();
                hint = format!(
                    " The output {name} goes to {}: where that is QuestDB, write [questdb] conf = \"http::addr={};\"",
                    clip(address),
                    clip(address)
                );
            }
        }
        let what = format!("outputs are not imported, and their filters neither: forebay writes to QuestDB.{hint}");
        self.remarks.push(Remark::new(Kind::Note, place, what));
    }

    fn without_counterpart(&mut self, section: Section, what: &str, instead: &str) {
        for (name, list) in section.plugins() {
            for one in list {
                let what = format!("forebay has nothing for the {what} {:?}: {instead}", clip(&name));
                self.remarks.push(Remark::new(Kind::NoCounterpart, one.place, what));
            }
        }
    }
}

fn is_table(value: &Value) -> bool {
    matches!(value, Value::Table(_))
}
