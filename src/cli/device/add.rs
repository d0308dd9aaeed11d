//! `forebay device add`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use jiff::tz::TimeZone;
use serde_json::json;

use super::FamilyArg;
use crate::{
    cli::{
        Exit, Failure, Global,
        fragment::{Fragment, check, config_file, in_the_way, next},
        out::{emit, say},
    },
    config::{self, validate::name_fault},
    devices::{change::Changes, zone_name},
};

/// How a file gets another name.
const OTHER_NAME: &str = ", or give the new one a name with --as";

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
    /// Time zone of the devices, where their times tell none, such as Europe/Berlin or +01:00
    /// [default: this machine's].
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
    let new = add(args, global, &TimeZone::system())?;
    report(&new, args.dry_run, global)
}

/// A fragment, checked, and written unless that was not wanted.
#[derive(Debug)]
struct New {
    path: PathBuf,
    text: String,
    /// The zone of times that tell none, where the devices send such.
    zone: Option<String>,
    /// What the configuration newly warns of.
    warnings: Vec<String>,
}

fn add(args: &AddArgs, global: &Global, machine: &TimeZone) -> Result<New, Failure> {
    let family = args.family.find()?;
    let name = args.name.as_deref().unwrap_or(family.name);
    if let Some(fault) = name_fault(name) {
        return Err(Failure::new(Exit::Usage, format!("--as {name:?}: {fault}")));
    }
    let zone = match &args.zone {
        None if family.has_zone() => {
            let unnamed = "the devices' times tell no zone, and this machine's zone has no name: name one with --zone";
            Some(zone_name(machine).ok_or_else(|| Failure::new(Exit::Usage, unnamed))?.to_owned())
        }
        named => named.clone(),
    };
    let changes =
        Changes { topics: args.topics.clone(), table: args.table.clone(), zone: zone.clone(), name: args.name.clone() };
    let text = family.changed(&changes).map_err(|error| Failure::new(Exit::Usage, error))?;
    let file = config_file(global)?;
    let path = free_place(&file, name)?;
    let fragment = Fragment { path, text };
    let warnings = check(&file, std::slice::from_ref(&fragment))?;
    if !args.dry_run {
        fragment.write(OTHER_NAME)?;
    }
    let Fragment { path, text } = fragment;
    Ok(New { path, text, zone, warnings })
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
        return Err(Failure::new(Exit::Usage, in_the_way(&path, OTHER_NAME)));
    }
    Ok(path)
}

fn report(new: &New, dry_run: bool, global: &Global) -> Result<(), Failure> {
    let New { path, text, zone, warnings } = new;
    let next = (!dry_run).then(|| next(global, false));
    if global.json {
        let all = json!({ "path": path, "text": text, "written": !dry_run, "next": next, "zone": zone, "warnings": warnings });
        return emit(&format!("{all:#}\n"));
    }
    if let Some(zone) = zone {
        say(&format!("times that tell no zone are read as local times of {zone}; --zone names another"));
    }
    for warning in warnings {
        say(&format!("warning: {warning}"));
    }
    let Some(next) = next else {
        say(&format!("{} would be written; nothing was", path.display()));
        return emit(text);
    };
    emit(&format!("{}\nnext: {next}\n", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cli::fragment::FILE_MODE;

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
            self.add_in(&TimeZone::get("Asia/Kolkata").expect("a zone"), change)
        }

        /// The same on a machine of that zone.
        fn add_in(&self, zone: &TimeZone, change: impl FnOnce(&mut AddArgs)) -> Result<New, (Exit, String)> {
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
            super::add(&args, &global, zone)
                .map_err(|failure| (failure.exit, failure.error.expect("an error").to_string()))
        }
    }

    #[test]
    fn the_file_is_written_whole_and_the_configuration_is_valid_with_it() {
        let place = Place::with(CONFIGURATION);
        place.add(|_| {}).expect("added");
        assert_eq!(place.fragments(), ["tasmota.toml"]);
        let path = place.at("conf.d/tasmota.toml");
        let family = crate::devices::find("tasmota").expect("a family");
        let changes = Changes { zone: Some("Asia/Kolkata".into()), ..Changes::default() };
        let wanted = family.changed(&changes).expect("text");
        assert_eq!(fs::read_to_string(&path).expect("a file"), wanted);
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
    fn times_without_a_zone_are_this_machine_s_where_none_is_named() {
        let place = Place::with(CONFIGURATION);
        let zone_in = |zone: &TimeZone, name: &str| {
            let new = place.add_in(zone, |args| (args.name, args.dry_run) = (Some(name.into()), true));
            new.map(|new| (new.text.contains(&format!("zone = \"{}\"", new.zone.clone().expect("a zone"))), new.zone))
        };
        let kolkata = TimeZone::get("Asia/Kolkata").expect("a zone");
        assert_eq!(zone_in(&kolkata, "a1").expect("shown"), (true, Some("Asia/Kolkata".into())));
        assert_eq!(zone_in(&TimeZone::unknown(), "a2").expect("shown"), (true, Some("UTC".into())));
        let (exit, told) = zone_in(&TimeZone::fixed(jiff::tz::offset(1)), "a3").expect_err("no name");
        assert!(exit == Exit::Usage && told.contains("name one with --zone"), "{told}");
        let without = place.add(|args| args.family.family = "shelly".into()).expect("added");
        assert_eq!(without.zone, None);
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
