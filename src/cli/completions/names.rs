//! Names from the running daemon: tables, symbols with their values, fields; and those of
//! ready-made files.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{ArgMatches, CommandFactory};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};

use crate::{
    cli::{Command, Global, block_on, query::escape},
    control::{
        api::{LatestAnswer, SeriesView},
        client::Client,
    },
    devices::{self, Family},
};

/// How long the daemon may take. Someone waits with a finger on the key; without an answer there are no names.
const DEADLINE: Duration = Duration::from_millis(200);
/// Candidates given at most.
const MAX_NAMES: usize = 500;

/// Completes a table, or `SYMBOL=VALUE`.
pub fn terms() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| offer(current, term_names))
}

/// Completes a table.
pub fn tables() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| offer(current, |_, _, series| table_names(series)))
}

/// Completes a field.
pub fn fields() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        offer(current, |_, _, series| series.iter().flat_map(|series| series.fields.keys().cloned()).collect())
    })
}

/// Completes the name of a ready-made file, with its title.
pub fn families() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let fits = |family: &&Family| current.to_str().is_some_and(|current| family.name.starts_with(current));
        let candidate = |family: &Family| CompletionCandidate::new(family.name).help(Some(family.title().into()));
        devices::all().iter().filter(fits).map(candidate).collect()
    })
}

fn offer(current: &OsStr, names: impl Fn(&str, &Asked, &[SeriesView]) -> BTreeSet<String>) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else { return Vec::new() };
    let asked = Asked::from_words(std::env::args_os().collect(), current);
    let series = asked.series().unwrap_or_default();
    let fitting =
        names(current, &asked, &series).into_iter().filter(|name| name.starts_with(current) && is_plain(name));
    fitting.take(MAX_NAMES).map(CompletionCandidate::new).collect()
}

/// Whether every shell takes the text for one word and nothing else. Devices choose symbols' values: `$(reboot)` must not get onto the
/// command line by a press of the tabulator.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "-._:/@%+=,".contains(c);
    !name.is_empty() && !name.starts_with(['-', '=']) && name.chars().all(plain)
}

/// What the command line says already.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    socket: Option<PathBuf>,
    config: Option<PathBuf>,
    table: Option<String>,
    /// A table, or symbols.
    terms: Vec<String>,
}

impl Asked {
    /// From the program's arguments, of which the command line being typed follows `--`, without the word being completed.
    fn from_words(arguments: Vec<OsString>, current: &str) -> Self {
        let mut words: Vec<OsString> = arguments.into_iter().skip_while(|word| word != "--").skip(1).collect();
        if words.last().is_some_and(|word| word == current) {
            words.pop();
        }
        let command = Command::command().ignore_errors(true).disable_help_flag(true).disable_version_flag(true);
        command.try_get_matches_from(words).map(|matches| Self::from_matches(&matches)).unwrap_or_default()
    }

    fn from_matches(matches: &ArgMatches) -> Self {
        let mut innermost = matches;
        while let Some((_, inner)) = innermost.subcommand() {
            innermost = inner;
        }
        let path = |name: &str| innermost.try_get_one::<PathBuf>(name).ok().flatten().cloned();
        let terms = innermost.try_get_many::<String>("terms").ok().flatten();
        Self {
            socket: path("socket"),
            config: path("config"),
            table: innermost.try_get_one::<String>("table").ok().flatten().cloned(),
            terms: terms.into_iter().flatten().cloned().collect(),
        }
    }

    /// The series that fit what is said already, as many as the daemon lists; none when it does not answer in time.
    fn series(&self) -> Option<Vec<SeriesView>> {
        let global = Global { socket: self.socket.clone(), config: self.config.clone(), json: false };
        let socket = global.socket_path().ok()?;
        let path = format!("/v1/latest{}", self.query());
        let asked = block_on(async { Ok(tokio::time::timeout(DEADLINE, ask(&socket, &path)).await.ok().flatten()) });
        asked.ok().flatten().map(|answer| answer.series)
    }

    fn query(&self) -> String {
        let part = |term: &String| match term.split_once('=') {
            Some((name, value)) => format!("symbol.{}={}", escape(name), escape(value)),
            None => format!("table={}", escape(term)),
        };
        let table = self.table.iter().map(|table| format!("table={}", escape(table)));
        let parts: Vec<String> = table.chain(self.terms.iter().map(part)).collect();
        if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
    }
}

async fn ask(socket: &Path, path: &str) -> Option<LatestAnswer> {
    Client::connect(socket).await.ok()?.get_json(path).await.ok()
}

fn table_names(series: &[SeriesView]) -> BTreeSet<String> {
    series.iter().map(|series| series.table.clone()).collect()
}

/// Tables, unless one is named already, and symbols that are not; behind a symbol's `=` its values.
fn term_names(current: &str, asked: &Asked, series: &[SeriesView]) -> BTreeSet<String> {
    let symbols = series.iter().flat_map(|series| &series.symbols);
    if let Some((wanted, _)) = current.split_once('=') {
        return symbols
            .filter(|(name, _)| crate::names::same(name, wanted))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
    }
    let named = |name: &str| {
        asked.terms.iter().any(|term| term.split_once('=').is_some_and(|(said, _)| crate::names::same(said, name)))
    };
    let mut names: BTreeSet<String> =
        symbols.filter(|(name, _)| !named(name)).map(|(name, _)| format!("{name}=")).collect();
    if asked.table.is_none() && asked.terms.iter().all(|term| term.contains('=')) {
        names.extend(table_names(series));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::tally::tests::view;

    fn asked(line: &[&str], current: &str) -> Asked {
        let words = ["forebay", "--"].iter().chain(line);
        Asked::from_words(words.map(OsString::from).collect(), current)
    }

    #[test]
    fn what_is_said_already_is_understood() {
        let said = asked(&["forebay", "--socket", "/s", "get", "sensors", "--field", "x", "site=a", "dev"], "dev");
        assert_eq!(said.socket.as_deref(), Some(Path::new("/s")));
        assert_eq!(said.terms, ["sensors", "site=a"]);
        assert_eq!(said.query(), "?table=sensors&symbol.site=a");
        assert_eq!(
            asked(&["forebay", "get", "--json", "--socket=/t", ""], "").socket.as_deref(),
            Some(Path::new("/t"))
        );
        assert_eq!(asked(&["forebay", "get", "--table", "sensors", "dev"], "dev").query(), "?table=sensors");
        assert_eq!(asked(&[], ""), Asked::default());
        assert_eq!(asked(&["forebay", "--config"], "").query(), "");
    }

    #[test]
    fn terms_are_tables_symbols_and_their_values() {
        let series = [view("dev-1"), view("dev-2")];
        let names = |current: &str, terms: &[&str]| -> Vec<String> {
            let terms = terms.iter().map(|term| (*term).to_owned()).collect();
            term_names(current, &Asked { terms, ..Asked::default() }, &series).into_iter().collect()
        };
        assert_eq!(names("", &[]), ["device=", "sensors"]);
        assert_eq!(names("", &["sensors"]), ["device="]);
        let with_table = Asked { table: Some("sensors".into()), ..Asked::default() };
        assert_eq!(term_names("", &with_table, &series).into_iter().collect::<Vec<_>>(), ["device="]);
        assert_eq!(names("", &["device=dev-1"]), ["sensors"]);
        assert_eq!(names("device=", &["sensors"]), ["device=dev-1", "device=dev-2"]);
        assert_eq!(names("site=", &[]), [""; 0]);
    }

    #[test]
    fn a_device_cannot_put_a_command_onto_the_line() {
        for plain in ["sensors", "device=dev-1", "device=", "site=Halle/3", "weiß=1"] {
            assert!(is_plain(plain), "{plain}");
        }
        for more in [
            "device=$(reboot)",
            "a b",
            "a;b",
            "`x`",
            "a*",
            "a\nb",
            "-rf",
            "",
            "a'b",
            "a\\b",
            "~root",
            "a\"b",
            "a|b",
            "a>b",
        ] {
            assert!(!is_plain(more), "{more}");
        }
    }
}
