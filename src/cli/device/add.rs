//! `forebay device add`.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use clap::Args;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;

use super::FamilyArg;
use crate::{
    cli::{
        Exit, Failure, Global,
        out::{emit, say},
    },
    config::{self, Added, ConfigError, Loaded, validate::name_fault},
    devices::change::Changes,
    files::access::{Wish, advice},
};

/// Whoever runs the daemon reads it.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// Arguments of `device add`.
#[derive(Debug, Clone, Args)]
pub struct AddArgs {
    #[command(flatten)]
    family: FamilyArg,
    /// Topic pattern in place of the file's; may be given several times.
    #[arg(long = "topic", value_name = "PATTERN")]
    topics: Vec<String>,
    /// Table in place of the file's.
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
    /// Time zone of the devices, where their times tell none, such as Europe/Berlin or +01:00.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Name of the source and of the file [default: NAME].
    #[arg(long = "as", value_name = "SOURCE")]
    name: Option<String>,
    /// Print the file and where it would go; write nothing.
    #[arg(long)]
    dry_run: bool,
}

pub fn run(args: &AddArgs, global: &Global) -> Result<(), Failure> {
    let new = add(args, global)?;
    report(&new, args.dry_run, global.json)
}

/// A fragment, checked, and written unless that was not wanted.
#[derive(Debug)]
struct New {
    path: PathBuf,
    text: String,
    /// What the configuration newly warns of.
    warnings: Vec<String>,
}

fn add(args: &AddArgs, global: &Global) -> Result<New, Failure> {
    let family = args.family.find()?;
    let name = args.name.as_deref().unwrap_or(family.name);
    if let Some(fault) = name_fault(name) {
        return Err(Failure::new(Exit::Usage, format!("--as {name:?}: {fault}")));
    }
    let changes = Changes {
        topics: args.topics.clone(),
        table: args.table.clone(),
        zone: args.zone.clone(),
        name: args.name.clone(),
    };
    let text = family.changed(&changes).map_err(|error| Failure::new(Exit::Usage, error))?;
    let file = global.config_file().unwrap_or(Path::new(config::DEFAULT_FILE));
    let path = free_place(file, name)?;
    let warnings = check(file, Added { path: &path, text: &text })?;
    if !args.dry_run {
        write_new(&path, &text).map_err(|error| not_written(&path, &error))?;
    }
    Ok(New { path, text, warnings })
}

/// Where the file goes; a configuration is there, and no file of that name.
fn free_place(file: &Path, name: &str) -> Result<PathBuf, Failure> {
    let is_missing = fs::metadata(file).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    if is_missing {
        let what = "there is no such configuration file yet; forebay init makes one, --config names another";
        return Err(Failure::new(Exit::Usage, format!("{}: {what}", file.display())));
    }
    let path = config::fragments_of(file).join(format!("{name}.toml"));
    if fs::symlink_metadata(&path).is_ok() {
        return Err(Failure::new(Exit::Usage, in_the_way(&path)));
    }
    Ok(path)
}

fn in_the_way(path: &Path) -> String {
    format!(
        "{} is there already and is not replaced; edit it, remove it, or give the new one a name with --as",
        path.display()
    )
}

/// Checks the whole configuration with the fragment; what it newly warns of.
fn check(file: &Path, added: Added<'_>) -> Result<Vec<String>, Failure> {
    let not_valid = |error: ConfigError| {
        Failure::new(Exit::Usage, format!("{error}\nnot added: the configuration would not be valid with it"))
    };
    let Loaded { warnings, .. } = config::load_added(Some(file), added).map_err(not_valid)?;
    let before = config::load(Some(file)).map(|loaded| loaded.warnings).unwrap_or_default();
    let mut new: Vec<String> = warnings.into_iter().filter(|warning| !before.contains(warning)).collect();
    // Two patterns of a source may earn the same words.
    new.dedup();
    Ok(new)
}

/// Writes a new file: it has its name once it is whole and synced. Nothing is replaced.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    match fs::DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // A hidden file is no fragment.
    let mut hidden = OsString::from(".");
    hidden.push(path.file_name().unwrap_or_default());
    hidden.push(format!(".{}.new", std::process::id()));
    let temporary = directory.join(hidden);
    let written = write_whole(&temporary, text).and_then(|()| {
        renameat_with(CWD, &temporary, CWD, path, RenameFlags::NOREPLACE)?;
        File::open(directory)?.sync_all()
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    // Whatever the umask takes away.
    file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn not_written(path: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::new(Exit::Usage, in_the_way(path)),
        io::ErrorKind::PermissionDenied => {
            let directory = path.ancestors().skip(1).find(|above| above.exists()).unwrap_or(Path::new("."));
            let advice = advice(directory, Wish::Make);
            Failure::new(Exit::Failed, format!("{} cannot be written ({error}): {advice}", path.display()))
        }
        _ => Failure::new(Exit::Failed, format!("{} cannot be written ({error})", path.display())),
    }
}

/// The next command: the running daemon takes new sources in.
const NEXT: &str = "systemctl reload forebay";

fn report(new: &New, dry_run: bool, json: bool) -> Result<(), Failure> {
    let New { path, text, warnings } = new;
    if json {
        let next = (!dry_run).then_some(NEXT);
        let all = json!({ "path": path, "text": text, "written": !dry_run, "next": next, "warnings": warnings });
        return emit(&format!("{all:#}\n"));
    }
    for warning in warnings {
        say(&format!("warning: {warning}"));
    }
    if dry_run {
        say(&format!("{} would be written; nothing was", path.display()));
        return emit(text);
    }
    emit(&format!("{}\nnext: {NEXT}\n", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURATION: &str = "[source.a]\ntopic = \"a/{x}\"\ntable = \"a\"\n";

    struct Place(tempfile::TempDir);

    impl Place {
        fn with(text: &str) -> Self {
            let directory = tempfile::tempdir().expect("directory");
            fs::write(directory.path().join("forebay.toml"), text).expect("written");
            Self(directory)
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn fragments(&self) -> Vec<String> {
            let entries = fs::read_dir(self.at("conf.d")).map(Iterator::collect::<Result<Vec<_>, _>>);
            let entries = entries.unwrap_or(Ok(Vec::new())).expect("entries");
            let mut names: Vec<_> =
                entries.iter().map(|entry| entry.file_name().into_string().expect("a name")).collect();
            names.sort();
            names
        }

        fn add(&self, change: impl FnOnce(&mut AddArgs)) -> Result<New, (Exit, String)> {
            let mut args = AddArgs {
                family: FamilyArg { family: "tasmota".into() },
                topics: Vec::new(),
                table: None,
                zone: None,
                name: None,
                dry_run: false,
            };
            change(&mut args);
            let global = Global { config: Some(self.at("forebay.toml")), ..Global::default() };
            super::add(&args, &global).map_err(|failure| (failure.exit, failure.error.expect("an error").to_string()))
        }
    }

    #[test]
    fn the_file_is_written_whole_and_the_configuration_is_valid_with_it() {
        let place = Place::with(CONFIGURATION);
        place.add(|_| {}).expect("added");
        assert_eq!(place.fragments(), ["tasmota.toml"]);
        let path = place.at("conf.d/tasmota.toml");
        assert_eq!(fs::read_to_string(&path).expect("a file"), crate::devices::find("tasmota").expect("a family").text);
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, FILE_MODE);
        let loaded = config::load(Some(&place.at("forebay.toml"))).expect("valid");
        assert_eq!(loaded.settings.source.keys().collect::<Vec<_>>(), ["a", "tasmota"]);
        place
            .add(|args| {
                args.name = Some("garage".into());
                args.topics = vec!["garage/{device}/SENSOR".into()];
                args.table = Some("garage".into());
                args.zone = Some("Asia/Tokyo".into());
            })
            .expect("a second one");
        let loaded = config::load(Some(&place.at("forebay.toml"))).expect("valid");
        let garage = &loaded.settings.source["garage"];
        assert_eq!((garage.table_template(), garage.topic.iter().next()), ("garage", Some("garage/{device}/SENSOR")));
        assert_eq!(garage.timestamp.as_ref().and_then(|time| time.zone.as_deref()), Some("Asia/Tokyo"));
    }

    #[test]
    fn the_first_source_may_be_a_ready_made_one() {
        let place = Place::with("");
        place.add(|_| {}).expect("added");
        assert_eq!(place.fragments(), ["tasmota.toml"]);
    }

    #[test]
    fn what_the_configuration_newly_warns_of_is_told() {
        let place = Place::with(
            "[source.a]\ntopic = \"tele/#\"\ntable = \"a\"\n[source.b]\ntopic = \"tele/#\"\ntable = \"b\"\n",
        );
        let told = place.add(|_| {}).expect("added").warnings;
        assert!(!told.is_empty() && told.iter().all(|warning| warning.contains("source.tasmota")), "{told:?}");
    }

    #[test]
    fn nothing_is_replaced_and_nothing_is_written_that_is_not_valid() {
        let place = Place::with(&format!("{CONFIGURATION}[source.tasmota]\ntopic = \"t\"\ntable = \"t\"\n"));
        let (exit, told) = place.add(|_| {}).expect_err("a name twice");
        assert!(
            exit == Exit::Usage && told.contains("forebay.toml:4: source.tasmota: ") && told.contains("not added"),
            "{told}"
        );
        for (change, part) in [
            ((|args| args.topics = vec!["a/#/b".into()]) as fn(&mut AddArgs), "source.x.topic: topic pattern"),
            (|args| args.table = Some("{y}".into()), "source.x.table"),
            (|args| args.zone = Some("Europe/Atlantis".into()), "Atlantis"),
            (|args| args.name = Some("../x".into()), "--as \"../x\""),
            (|args| args.name = Some(String::new()), "--as \"\""),
        ] {
            let (exit, told) = place
                .add(|args| {
                    args.name = Some("x".into());
                    change(args);
                })
                .expect_err(part);
            assert!(exit == Exit::Usage && told.contains(part), "{part} is not in {told}");
        }
        place.add(|args| (args.name, args.dry_run) = (Some("x".into()), true)).expect("shown");
        assert_eq!(place.fragments(), [""; 0]);
        place.add(|args| args.name = Some("x".into())).expect("added");
        let (exit, told) = place.add(|args| args.name = Some("x".into())).expect_err("it is there");
        assert!(exit == Exit::Usage && told.contains("conf.d/x.toml is there already"), "{told}");
        assert_eq!(write_new(&place.at("conf.d/x.toml"), "").expect_err("there").kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(place.fragments(), ["x.toml"]);
    }

    #[test]
    fn without_a_configuration_it_is_told_how_to_make_one() {
        let place = Place::with("");
        fs::remove_file(place.at("forebay.toml")).expect("removed");
        let (exit, told) = place.add(|_| {}).expect_err("none");
        assert!(exit == Exit::Usage && told.contains("forebay init"), "{told}");
        assert!(!place.at("conf.d").exists());
    }

    #[test]
    fn an_unknown_name_is_told_with_the_nearest_one() {
        let place = Place::with(CONFIGURATION);
        let (exit, told) = place.add(|args| args.family.family = "tasmato".into()).expect_err("unknown");
        assert!(exit == Exit::NotFound && told.contains("did you mean tasmota?"), "{told}");
        let (_, told) = place.add(|args| args.family.family = "x".into()).expect_err("unknown");
        assert!(!told.contains("did you mean") && told.contains("device ls"), "{told}");
    }
}
