//! The layers of the configuration: the file, conf.d/*.toml beside it in the order of their names, the environment.
//!
//! Each layer is a [`config::Source`] whose values know where they come from (file and line, or variable), so that every
//! error can say so. Values from the environment stay text: `config` turns text into numbers and booleans where a setting
//! wants one. Keys nobody knows are reported and left out.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use config::{Config, Map, Source, Value, ValueKind};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Problem,
    schema::{Node, hint, node},
};
use crate::files::read::read_regular_text;

/// Largest configuration file.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// What the environment's variables start with; the same mark separates the steps of a key.
const MARK: &str = "__";
const PREFIX: &str = "FOREBAY__";

/// Where each key was last set, by its path.
pub type Origins = BTreeMap<String, String>;

/// The merged layers.
#[derive(Debug)]
pub struct Merged {
    /// Every key that was set.
    pub values: Map<String, Value>,
    /// Where it was set.
    pub origins: Origins,
    /// The files read, in order.
    pub files: Vec<PathBuf>,
    /// What is wrong so far.
    pub problems: Vec<Problem>,
}

/// One layer.
#[derive(Debug, Clone, Default)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

/// A fragment that is not there yet, as if it were.
#[derive(Debug, Clone, Copy)]
pub struct Added<'a> {
    /// Where it will stand.
    pub path: &'a Path,
    /// What it will say.
    pub text: &'a str,
}

/// Reads `file`, the fragments beside it and some more, and `environment`.
pub fn merge(file: &Path, added: &[Added<'_>], environment: impl Iterator<Item = (OsString, OsString)>) -> Merged {
    let mut merged = Merged { values: Map::new(), origins: Origins::new(), files: Vec::new(), problems: Vec::new() };
    let mut layers: Vec<Layer> = Vec::new();
    let mut fragments = fragments(file, &mut merged.problems);
    fragments.extend(added.iter().filter(|added| added.path != file).map(|added| added.path.to_owned()));
    fragments.sort();
    fragments.dedup();
    for path in std::iter::once(file.to_owned()).chain(fragments) {
        let there = || read(&path, &mut merged.problems);
        let new = added.iter().find(|added| added.path == path);
        let text = new.map_or_else(there, |added| Some(added.text.to_owned()));
        if let Some(text) = text {
            layers.push(file_layer(&path, &text, &mut merged));
            merged.files.push(path);
        }
    }
    let mut variables: Vec<_> = environment.collect();
    variables.sort();
    for (name, value) in variables {
        layers.extend(variable_layer(&name, value, &layers, &mut merged));
    }
    let builder =
        layers.into_iter().fold(Config::builder(), config::ConfigBuilder::<config::builder::DefaultState>::add_source);
    match builder.build().map(|built| built.cache.into_table()) {
        Ok(Ok(values)) => merged.values = values,
        Ok(Err(error)) | Err(error) => merged.problems.push(Problem::new("", error.to_string())),
    }
    merged
}

/// Names that the layers so far have in the table at a path.
fn names_at<'a>(layers: &'a [Layer], path: &[String]) -> Vec<&'a String> {
    let below = |table: &'a Map<String, Value>, step: &String| match table.get(step).map(|value| &value.kind) {
        Some(ValueKind::Table(table)) => Some(table),
        _ => None,
    };
    let at = |layer: &'a Layer| path.iter().try_fold(&layer.0, below);
    layers.iter().filter_map(at).flat_map(|table| table.keys()).collect()
}

/// Where the fragments of a configuration file stand.
pub fn directory(file: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join("conf.d")
}

/// The fragments: *.toml in conf.d beside the file, hidden ones left out, in the order of their names.
fn fragments(file: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let directory = directory(file);
    let listing = fs::read_dir(&directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut paths: Vec<PathBuf> = match listing {
        Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            problems.push(Problem::new("", format!("cannot be listed ({error})")).at(directory.display()));
            return Vec::new();
        }
    };
    let hidden = |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "toml") && !hidden(path));
    paths.sort();
    paths
}

fn read(path: &Path, problems: &mut Vec<Problem>) -> Option<String> {
    match read_regular_text(path, MAX_FILE_BYTES) {
        Ok(text) => Some(text),
        Err(error) => {
            let remedy = match error.kind() {
                io::ErrorKind::NotFound => {
                    "; create it (forebay init does; /usr/share/doc/forebay/forebay.toml is an example) or name another with --config"
                }
                io::ErrorKind::PermissionDenied => "; let the user forebay runs as read it",
                _ => "",
            };
            problems.push(Problem::new("", format!("cannot be read ({error}){remedy}")).at(path.display()));
            None
        }
    }
}

fn file_layer(path: &Path, text: &str, merged: &mut Merged) -> Layer {
    let mut reader = FileReader { path, text, merged };
    match DeTable::parse(text) {
        Ok(table) => Layer(reader.table(&mut Vec::new(), table.into_inner())),
        Err(error) => {
            let origin = reader.origin(error.span().map_or(0, |span| span.start));
            let message = error.message().replace('\n', "; ");
            reader.merged.problems.push(Problem::new("", format!("no valid TOML: {message}")).at(origin));
            Layer::default()
        }
    }
}

/// Turns a parsed file into values that know their line.
struct FileReader<'a> {
    path: &'a Path,
    text: &'a str,
    merged: &'a mut Merged,
}

impl FileReader<'_> {
    fn origin(&self, offset: usize) -> String {
        let line = self.text.get(..offset).unwrap_or(self.text).matches('\n').count() + 1;
        format!("{}:{line}", self.path.display())
    }

    fn table(&mut self, path: &mut Vec<String>, table: DeTable<'_>) -> Map<String, Value> {
        let mut values = Map::new();
        for (key, value) in table {
            let origin = self.origin(key.span().start);
            let key = key.into_inner().into_owned();
            if let Some(problem) = unknown(path, &key) {
                self.merged.problems.push(problem.at(origin));
                continue;
            }
            path.push(key.clone());
            self.merged.origins.insert(path.join("."), origin.clone());
            let value = self.value(path, value, &origin);
            path.pop();
            values.insert(key, value);
        }
        values
    }

    fn value(&mut self, path: &mut Vec<String>, value: Spanned<DeValue<'_>>, origin: &String) -> Value {
        let text = |text: &str| Value::new(Some(origin), text);
        match value.into_inner() {
            DeValue::String(value) => text(&value),
            DeValue::Integer(value) => match i64::from_str_radix(value.as_str(), value.radix()) {
                Ok(number) => Value::new(Some(origin), number),
                Err(_) => text(value.as_str()),
            },
            // No setting is a fraction; as text it is refused where a whole number is wanted, instead of rounded.
            DeValue::Float(value) => text(value.as_str()),
            DeValue::Boolean(value) => Value::new(Some(origin), value),
            DeValue::Datetime(value) => text(&value.to_string()),
            DeValue::Array(list) => {
                let list: Vec<Value> = list.into_iter().map(|item| self.value(path, item, origin)).collect();
                Value::new(Some(origin), list)
            }
            DeValue::Table(table) => {
                let table = self.table(path, table);
                Value::new(Some(origin), table)
            }
        }
    }
}

fn unknown(path: &[String], key: &str) -> Option<Problem> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let Node::Keys(known) = node(&path) else { return None };
    if known.contains(&key) {
        return None;
    }
    let full = [path.as_slice(), &[key]].concat().join(".");
    Some(Problem::new(full, format!("there is no such key{}", hint(&path, key))))
}

/// The layer of one variable; `None` when it is not forebay's or means nothing (which is then a problem).
fn variable_layer(name: &OsString, value: OsString, layers: &[Layer], merged: &mut Merged) -> Option<Layer> {
    let ours = |name: &&str| name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
    let name = name.to_str().filter(ours)?;
    let origin = format!("environment variable {name}");
    let path = key_path(&name[PREFIX.len()..], layers);
    let dotted = path.join(".");
    let Ok(value) = value.into_string() else {
        merged.problems.push(Problem::new(dotted, "the value is not UTF-8".to_owned()).at(origin));
        return None;
    };
    for step in 0..path.len() {
        if let Some(problem) = unknown(&path[..step], &path[step]) {
            merged.problems.push(problem.at(origin));
            return None;
        }
    }
    let steps: Vec<&str> = path.iter().map(String::as_str).collect();
    if node(&steps) != Node::Leaf && !matches!(steps[..], ["source", _, "scale", _]) {
        let what = "this is a table; name one of its keys, as in FOREBAY__RING__SIZE".to_owned();
        merged.problems.push(Problem::new(dotted, what).at(origin));
        return None;
    }
    let leaf = if let [
        "source",
        _,
        "symbols" | "only" | "ignore" | "null_values" | "exclude" | "zip" | "columns" | "user_properties",
    ] = steps[..]
    {
        let list = value.split(',').map(str::trim).filter(|item| !item.is_empty());
        Value::new(Some(&origin), list.map(|item| Value::new(Some(&origin), item)).collect::<Vec<_>>())
    } else {
        Value::new(Some(&origin), value)
    };
    let (first, rest) = path.split_first()?;
    let nested =
        rest.iter().rev().fold(leaf, |value, key| Value::new(Some(&origin), Map::from_iter([(key.clone(), value)])));
    merged.origins.insert(dotted, origin);
    Some(Layer(Map::from_iter([(first.clone(), nested)])))
}

/// The key a variable names. Variables are written in capitals and have no dashes: keys are lower case. A name of the user's choosing is
/// the one in the layers before that is the same but for case and dashes; else it is as it is written, but for a source's all in capitals,
/// which is taken for one in lower case.
fn key_path(name: &str, layers: &[Layer]) -> Vec<String> {
    let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    let mut path: Vec<String> = Vec::new();
    for step in name.split(MARK) {
        let above: Vec<&str> = path.iter().map(String::as_str).collect();
        let key = if node(&above) == Node::AnyKeys {
            let known = names_at(layers, &path);
            let same = known.iter().find(|known| **known == step);
            match same.or_else(|| known.iter().find(|known| plain(known) == plain(step))) {
                Some(known) => (*known).clone(),
                None if above == ["source"] && !step.bytes().any(|byte| byte.is_ascii_lowercase()) => plain(step),
                None => step.to_owned(),
            }
        } else {
            step.to_ascii_lowercase()
        };
        path.push(key);
    }
    path
}
