//! The order of the house: a room (a folder or file right under src/) imports only rooms below it,
//! and files do not import each other in a circle. Read from the sources: `use` lines, and paths
//! that begin with `crate::` or `super::` wherever they stand. What is built for tests alone
//! (`#[cfg(test)]`) does not count.
//!
//! An arrow upward or a circle that cannot go yet stands in a list below. The lists may only
//! shrink: what no longer occurs must be taken out.

mod house {
    pub mod circle;
    pub mod source;
}

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use house::{
    circle,
    source::{Source, read},
};

/// The rooms from the bottom up. A file imports its own room and those before it.
const ORDER: [&str; 36] = [
    // The ground: plain data, and what knows nothing of forebay.
    "sync",
    "files",
    "shown",
    "seeded",
    "tally",
    "lanes",
    "names",
    "point",
    "marks",
    "moment",
    "entry",
    "lines",
    "clock",
    "since",
    "jq",
    "settings",
    // Measuring, which everything above does.
    "observe",
    // What rows come from, go through and go to.
    "decode",
    "devices",
    "limits",
    "questdb",
    "ring",
    "latest",
    "ingest",
    // In and out.
    "mqtt",
    "flush",
    "republish",
    "lookup",
    "requeue",
    "verify",
    // Configurations of others.
    "telegraf",
    // Loading of settings checks them by what reads them.
    "config",
    "discover",
    "control",
    "daemon",
    "cli",
];

/// Arrows that go up all the same: a file, and a room above its own.
const KNOWN_ARROWS: [(&str, &str); 0] = [];

/// Files that import each other in a circle. A folder's mod.rs may import what is in its folder;
/// that makes no circle.
const KNOWN_CIRCLES: [&[&str]; 4] = [
    &["control/attend.rs", "control/routes/mod.rs", "control/routes/write/mod.rs", "control/server.rs"],
    &["control/routes/latest.rs", "control/routes/openapi.rs"],
    &[
        "flush/answer.rs",
        "flush/batching.rs",
        "flush/lane.rs",
        "flush/outside.rs",
        "flush/replay.rs",
        "flush/shared.rs",
        "flush/status.rs",
        "flush/trouble.rs",
        "flush/wal_watch.rs",
    ],
    &["ring/log/mod.rs", "ring/reader.rs", "ring/recover.rs"],
];

/// The sources by file, without those built for tests alone, lib.rs and main.rs.
fn sources(texts: &BTreeMap<String, String>) -> Vec<Source> {
    let all: Vec<Source> = texts.iter().map(|(file, text)| read(file, text)).collect();
    let for_tests: BTreeSet<Vec<String>> = all.iter().flat_map(|source| source.test_modules.iter().cloned()).collect();
    let is_for_tests = |source: &Source| (1..=source.module.len()).any(|n| for_tests.contains(&source.module[..n]));
    all.into_iter().filter(|source| !source.module.is_empty() && !is_for_tests(source)).collect()
}

/// Every file under src/, by its path there.
fn texts_of(root: &Path) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let file = path.strip_prefix(root).expect("a file below").to_string_lossy().into_owned();
                texts.insert(file, fs::read_to_string(&path).expect("a source that reads"));
            }
        }
    }
    texts
}

/// What is wrong with the arrows between rooms.
fn arrows(sources: &[Source], order: &[&str], known: &[(&str, &str)]) -> Vec<String> {
    let height = |room: &str| order.iter().position(|each| *each == room);
    let mut wrong = BTreeSet::new();
    let mut met = BTreeSet::new();
    for source in sources {
        let Source { file, module, imports, .. } = source;
        let Some(own) = height(&module[0]) else {
            wrong.insert(format!("src/{file}: the room {} has no place in ORDER; give it one", module[0]));
            continue;
        };
        for import in imports {
            let Some(room) = import.first() else { continue };
            match height(room) {
                Some(other) if other <= own => {}
                Some(_) if known.contains(&(file, room)) => drop(met.insert((file.as_str(), room.as_str()))),
                Some(_) => {
                    let path = import.join("::");
                    wrong.insert(format!(
                        "src/{file} imports crate::{path}, and {room} stands above {}; move what it needs down, \
                         or the file up",
                        module[0]
                    ));
                }
                None => drop(wrong.insert(format!("src/{file} imports crate::{room}, which has no place in ORDER"))),
            }
        }
    }
    for room in order.iter().filter(|room| sources.iter().all(|source| source.module[0] != ***room)) {
        wrong.insert(format!("ORDER names {room}, which is not there; take it out"));
    }
    for (file, room) in known.iter().filter(|arrow| !met.contains(*arrow)) {
        wrong.insert(format!("src/{file} no longer imports {room}; take the arrow out of KNOWN_ARROWS"));
    }
    wrong.into_iter().collect()
}

/// What is wrong with the circles.
fn circles(sources: &[Source], known: &[&[&str]]) -> Vec<String> {
    let found = circle::all(sources);
    let listed: Vec<BTreeSet<&str>> = known.iter().map(|files| files.iter().copied().collect()).collect();
    let mut wrong = Vec::new();
    for circle in found.iter().filter(|circle| !listed.contains(circle)) {
        match listed.iter().find(|known| circle.is_subset(known)) {
            Some(_) => wrong.push(format!("a circle has shrunk; only these are left for KNOWN_CIRCLES: {circle:?}")),
            None => wrong.push(format!("these files import each other in a circle: {circle:?}")),
        }
    }
    for gone in listed.iter().filter(|known| !found.iter().any(|circle| circle.is_subset(known))) {
        wrong.push(format!("a circle is gone; take it out of KNOWN_CIRCLES: {gone:?}"));
    }
    wrong
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} (docs/ARCHITECTURE.md, \"The map\"):\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_room_imports_one_above_it() {
    let sources = sources(&texts_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")));
    assert_none(&arrows(&sources, &ORDER, &KNOWN_ARROWS));
}

#[test]
fn no_files_import_each_other_in_a_circle_that_is_not_listed() {
    let sources = sources(&texts_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")));
    assert_none(&circles(&sources, &KNOWN_CIRCLES));
}

/// A house of these files.
fn sources_of(files: &[(&str, &str)]) -> Vec<Source> {
    sources(&files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect())
}

/// What is wrong with a file of the lower of two rooms.
fn below(text: &str) -> Vec<String> {
    arrows(&sources_of(&[("low/a.rs", text), ("high.rs", "use crate::low::a;")]), &["low", "high"], &[])
}

#[test]
fn an_arrow_up_is_found_however_it_is_written() {
    for text in [
        "use crate::high::X;",
        "use crate::{low::b, high::{self, X as Y}};",
        "pub(crate) use super::super::high::X;",
        "fn f() -> crate::high::X { todo!() }",
        "fn f() { super::super::high::g('\"', \"{\"); }",
        "mod inner { use super::super::super::high::X; }",
        "#[cfg(not(test))]\nuse crate::high::X;",
        "#[openapi(paths(super::super::high::f))]\nstruct Api;",
        "#[cfg(test)]\nmod tests { fn f() { \"}\"; } }\nuse crate::high::X;",
    ] {
        let wrong = below(text);
        let is_told = wrong.iter().all(|line| line.starts_with("src/low/a.rs imports crate::high"));
        assert!(!wrong.is_empty() && is_told, "{text}: {wrong:?}");
    }
}

#[test]
fn tests_comments_and_texts_are_no_arrows() {
    for text in [
        "//! use crate::high::X;\n/* crate::high::X /* */ crate::high::X */ fn f() {}",
        "fn f() -> &'static str { \"crate::high::X\" }",
        "fn f() -> &'static str { r#\"use \"crate::high::X;\"# }",
        "#[cfg(test)]\nmod tests { use crate::high::X; fn f() { if true {} } }",
        "#[cfg(test)]\nuse crate::high::X;\npub(super) fn f() {}",
        "#[cfg(test)]\n#[allow(dead_code)]\npub fn f(x: [u8; 2]) -> crate::high::X { todo!() }",
        "use super::b; use self::c::X; use std::fmt; pub(crate) fn f() {}",
    ] {
        assert_eq!(below(text), [""; 0], "{text}");
    }
}

#[test]
fn a_file_built_for_tests_alone_does_not_count() {
    let files = [("low/mod.rs", "#[cfg(test)]\nmod a;"), ("low/a.rs", "use crate::high::X;"), ("high.rs", "")];
    assert_eq!(arrows(&sources_of(&files), &["low", "high"], &[]), [""; 0]);
}

#[test]
fn a_listed_arrow_may_stand_and_must_be_taken_out_once_it_is_gone() {
    let listed = [("low/a.rs", "high")];
    let there = sources_of(&[("low/a.rs", "use crate::high::X;"), ("high.rs", "")]);
    assert_eq!(arrows(&there, &["low", "high"], &listed), [""; 0]);
    let gone = sources_of(&[("low/a.rs", ""), ("high.rs", "")]);
    let wrong = arrows(&gone, &["low", "high"], &listed);
    assert!(wrong.len() == 1 && wrong[0].contains("take the arrow out"), "{wrong:?}");
}

#[test]
fn rooms_and_the_order_name_each_other() {
    let wrong = arrows(&sources_of(&[("new.rs", "")]), &["old"], &[]);
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(wrong[0].contains("ORDER names old") && wrong[1].contains("the room new has no place"), "{wrong:?}");
}

#[test]
fn a_circle_is_found_may_be_listed_and_must_be_taken_out_once_it_is_gone() {
    let round = sources_of(&[
        ("x/mod.rs", "pub mod a; pub mod b; pub mod c; pub use self::c::C;"),
        ("x/a.rs", "use super::b::B;"),
        ("x/b.rs", "use crate::x::a::A; use super::C;"),
        ("x/c.rs", ""),
    ]);
    let (two, three): (&[&str], &[&str]) = (&["x/a.rs", "x/b.rs"], &["x/a.rs", "x/b.rs", "x/c.rs"]);
    assert_eq!(circles(&round, &[two]), [""; 0]);
    for (known, said) in [(&[][..], "import each other"), (&[three][..], "has shrunk")] {
        let wrong = circles(&round, known);
        assert!(wrong.len() == 1 && wrong[0].contains(said), "{wrong:?}");
    }
    let straight = sources_of(&[("x/a.rs", "use super::b::B;"), ("x/b.rs", "")]);
    let wrong = circles(&straight, &[two]);
    assert!(wrong.len() == 1 && wrong[0].contains("is gone"), "{wrong:?}");
}
