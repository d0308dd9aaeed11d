//! Circles of files that import each other.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

/// Files by the path of their module.
type Files<'a> = BTreeMap<&'a [String], &'a str>;

/// The files of every circle. A folder's mod.rs may import what is in its folder; that arrow makes
/// no circle.
pub fn all(sources: &[Source]) -> Vec<BTreeSet<&str>> {
    let files: Files<'_> = sources.iter().map(|source| (source.module.as_slice(), source.file.as_str())).collect();
    let arrows: BTreeMap<&str, BTreeSet<&str>> =
        sources.iter().map(|source| (source.file.as_str(), arrows_of(source, &files))).collect();
    let reach: BTreeMap<&str, BTreeSet<&str>> = arrows.keys().map(|file| (*file, reached(file, &arrows))).collect();
    let mut circles: Vec<BTreeSet<&str>> = Vec::new();
    for (file, reached) in &reach {
        if reached.contains(file) && !circles.iter().any(|circle| circle.contains(file)) {
            circles.push(reached.iter().copied().filter(|other| reach[other].contains(file)).collect());
        }
    }
    circles
}

/// The files that a file imports, without those in its own folder if it stands for the folder.
fn arrows_of<'a>(source: &Source, files: &Files<'a>) -> BTreeSet<&'a str> {
    let targets = source.imports.iter().filter_map(|import| {
        let mut prefixes = (1..=import.len()).rev().map(|length| &import[..length]);
        prefixes.find_map(|prefix| files.get_key_value(prefix))
    });
    targets.filter(|(module, _)| !module.starts_with(&source.module)).map(|(_, file)| *file).collect()
}

/// What a file imports, directly or through others.
fn reached<'a>(file: &str, arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> = arrows[file].iter().copied().collect();
    while let Some(other) = next.pop() {
        if reached.insert(other) {
            next.extend(&arrows[other]);
        }
    }
    reached
}
