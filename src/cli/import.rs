//! `forebay import`: configurations of other programs as sources.

use std::{
    env,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Exit, Failure, Global, out};
use crate::{
    files::read::read_regular_text,
    telegraf::{self, Imported, Kind, MAX_FILE_BYTES, MAX_FILES, Remark},
};

const TELEGRAF_EXITS: &str = "\
Exit codes:
  0  sources were printed
  1  nothing in the files could be turned into a source
  2  a file cannot be read, is no TOML or no Telegraf configuration";

/// Arguments of `forebay import`.
#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Print the sources that the inputs `mqtt_consumer` of a Telegraf configuration would be.
    ///
    /// A fragment for conf.d goes to standard output. What forebay does otherwise, or not at all,
    /// stands in it as comments at the place that it concerns; a summary goes to standard error.
    /// Secrets are not printed. Variables such as ${SITE} are looked up in the environment, as
    /// Telegraf does.
    #[command(after_help = TELEGRAF_EXITS)]
    Telegraf(TelegrafArgs),
}

#[derive(Debug, Clone, Args)]
struct TelegrafArgs {
    /// Configuration files, and folders of *.conf files such as /etc/telegraf/telegraf.d.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Runs it.
pub fn run(args: &ImportArgs, global: &Global) -> Result<(), Failure> {
    let What::Telegraf(args) = &args.what;
    let files = read(&args.files)?;
    let imported = telegraf::import(&files, &|name| env::var(name).ok());
    let imported = imported.map_err(|error| Failure::new(Exit::Usage, error))?;
    let text = if global.json { as_json(&imported) } else { imported.sources.clone() };
    if global.json || imported.count > 0 {
        out::emit(&text)?;
    }
    if !global.json {
        out::say(&summary(&imported, files.len() > 1));
    }
    match imported.count {
        0 => Err(Failure::silent(Exit::Failed)),
        _ => Ok(()),
    }
}

/// The files' names and texts.
fn read(paths: &[PathBuf]) -> Result<Vec<telegraf::File>, Failure> {
    let usage =
        |path: &Path, what: &dyn std::fmt::Display| Failure::new(Exit::Usage, format!("{}: {what}", path.display()));
    let mut all = Vec::new();
    for path in paths {
        all.extend(if path.is_dir() { in_folder(path).map_err(|why| usage(path, &why))? } else { vec![path.clone()] });
        if all.len() > MAX_FILES {
            let what = format!("there are more than {MAX_FILES} files; import them in parts");
            return Err(usage(path, &what));
        }
    }
    if all.is_empty() {
        return Err(Failure::new(Exit::Usage, "there is no file whose name ends in .conf"));
    }
    let text = |path: &PathBuf| {
        let text = read_regular_text(path, MAX_FILE_BYTES as u64).map_err(|why| usage(path, &why))?;
        Ok((path.display().to_string(), text))
    };
    all.iter().map(text).collect()
}

/// The configurations in a folder, by their names. Of more than are allowed, one more is given.
fn in_folder(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let is_configuration = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "conf");
    let mut paths = Vec::new();
    for entry in folder.read_dir()? {
        paths.extend(Some(entry?.path()).filter(is_configuration));
        if paths.len() > MAX_FILES {
            break;
        }
    }
    paths.sort();
    Ok(paths)
}

fn as_json(imported: &Imported) -> String {
    let Imported { sources, remarks, more_remarks, .. } = imported;
    format!("{:#}\n", json!({ "sources": sources, "remarks": remarks, "more_remarks": more_remarks }))
}

/// What was done, and what is otherwise.
fn summary(imported: &Imported, has_files: bool) -> String {
    let mut text = match imported.count {
        0 => "nothing could be turned into a source".to_owned(),
        count => out::plural(count as u64, "source"),
    };
    let counted = [Kind::NoCounterpart, Kind::Changed, Kind::Note].map(|kind| {
        let count = imported.remarks.iter().filter(|remark| remark.kind == kind).count();
        (count > 0).then(|| format!("{count} × {}", kind.word()))
    });
    let counted: Vec<String> = counted.into_iter().flatten().collect();
    if !counted.is_empty() {
        text.extend(["; remarks: ", &counted.join(", ")]);
    }
    let line = |remark: &Remark| {
        let file = if has_files { format!("{}:", remark.place.file) } else { "line ".to_owned() };
        format!("\n  {}: {file}{} {}: {}", remark.kind.word(), remark.place.line, remark.place.path, remark.what)
    };
    text.extend(imported.remarks.iter().filter(|remark| remark.kind != Kind::Note).map(line));
    if imported.more_remarks > 0 {
        let more = imported.more_remarks;
        // Writing into memory does not fail.
        let _ = write!(text, "\n  and {more} more remarks; import fewer inputs at once to see them");
    }
    if imported.count > 0 {
        text.push_str("\nlook through the comments, save it as /etc/forebay/conf.d/telegraf.toml, then: forebay check");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn exit_of(name: &str, text: &str) -> (Exit, String) {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join(name), text).expect("written");
        exit_of_folder(directory.path())
    }

    fn exit_of_folder(folder: &Path) -> (Exit, String) {
        let args = ImportArgs { what: What::Telegraf(TelegrafArgs { files: vec![folder.to_owned()] }) };
        match run(&args, &Global::default()) {
            Ok(()) => (Exit::Ok, String::new()),
            Err(failure) => (failure.exit, failure.error.map(|error| error.to_string()).unwrap_or_default()),
        }
    }

    #[test]
    fn exit_codes_tell_what_came_of_it() {
        let input = "[[inputs.mqtt_consumer]]\ntopics = [\"a/+\"]\ndata_format = \"json\"\n";
        assert_eq!(exit_of("a.conf", input), (Exit::Ok, String::new()));
        assert_eq!(exit_of("a.conf", "[[inputs.cpu]]\n"), (Exit::Failed, String::new()));
        let (exit, error) = exit_of("a.conf", "[agent]\n\nx = = 1\n");
        assert!(exit == Exit::Usage && error.contains("a.conf:3: this is no TOML"), "{error}");
        let (exit, error) = exit_of("a.conf", "[source.a]\ntopic = \"a\"\n");
        assert!(exit == Exit::Usage && error.contains("no Telegraf configuration"), "{error}");
        assert_eq!(exit_of("a.txt", "").0, Exit::Usage);
    }

    #[test]
    fn all_configurations_of_a_folder_are_read_or_none_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: String| fs::write(directory.path().join(name), "[agent]\n").expect("written");
        (0..MAX_FILES + 100).for_each(|number| write(format!("{number}.bak")));
        (0..MAX_FILES).for_each(|number| write(format!("{number}.conf")));
        assert_eq!(in_folder(directory.path()).expect("a folder").len(), MAX_FILES);
        assert_eq!(exit_of_folder(directory.path()), (Exit::Failed, String::new()));
        write("more.conf".into());
        let (exit, error) = exit_of_folder(directory.path());
        assert!(
            exit == Exit::Usage && error.contains("there are more than 1000 files; import them in parts"),
            "{error}"
        );
    }

    #[test]
    fn remarks_beyond_the_limit_are_counted() {
        let inputs: Vec<String> = (0..30_000).map(|number| format!("[[aggregators.a{number}]]")).collect();
        let inputs = inputs.join("\n");
        let text = format!("[[inputs.mqtt_consumer]]\ntopics = [\"a/+\"]\ndata_format = \"json\"\n{inputs}");
        let imported = telegraf::import(&[("f".into(), text)], &|_| None).expect("imported");
        let more = imported.more_remarks;
        assert!(more >= 29_000 && imported.remarks.len() == 1_000, "{more}");
        assert!(imported.sources.lines().count() < 4_000 && imported.sources.contains(" more remarks, which are not"));
        let told = format!("\n  and {more} more remarks; ");
        let summary = summary(&imported, false);
        assert!(summary.contains(&told), "{summary}");
        let json: serde_json::Value = serde_json::from_str(&as_json(&imported)).expect("JSON");
        assert_eq!(json["more_remarks"], more);
    }

    #[test]
    fn the_summary_counts_by_kind() {
        let text = "[[inputs.mqtt_consumer]]\ntopics = [\"a/+\"]\ndata_format = \"json\"\n[[aggregators.minmax]]\n";
        let imported = telegraf::import(&[("f".into(), text.into())], &|_| None).expect("imported");
        let summary = summary(&imported, false);
        assert!(summary.starts_with("1 source; remarks: 1 × no counterpart, "), "{summary}");
        assert!(summary.contains("no counterpart: line 4 aggregators.minmax[0]: "), "{summary}");
    }
}
