//! Whether the daemon's user could use the files that the configuration names. `forebay check` is
//! run by root or by an operator, who may read other files than the daemon.

use std::path::{Path, PathBuf};

use super::{
    Loaded, Problem,
    places::{is_credential, read_files},
};
use crate::{
    files::access::{Wish, other::Account},
    settings::Settings,
};

/// The daemon's user where nothing tells of another one: that of the packaged unit.
const USUAL_USER: &str = "forebay";

/// For whom the files were judged, and what that user could not use.
#[derive(Debug)]
pub struct Permitted {
    /// The user's name.
    pub user: String,
    /// Why this user.
    pub because: String,
    /// What is refused to them.
    pub problems: Vec<Problem>,
}

/// Judges the files for the daemon's user: `named`, else the owner of the ring's directory, else
/// `forebay`. None where there is no such user. The error is that `named` is no user.
pub fn look(loaded: &Loaded, named: Option<&str>) -> Result<Option<Permitted>, String> {
    let directory = loaded.settings.ring.path.parent().unwrap_or(Path::new("/"));
    let (account, because) = if let Some(name) = named {
        (Account::named(name).ok_or_else(|| format!("--as {name}: there is no such user"))?, "--as".to_owned())
    } else if let Some(owner) = Account::owner_of(directory) {
        (owner, format!("the owner of {}", directory.display()))
    } else if let Some(usual) = Account::named(USUAL_USER) {
        (usual, "the usual user; --as names another".to_owned())
    } else {
        return Ok(None);
    };
    let refused = |(key, path, wish): (&str, PathBuf, Wish)| {
        let what = account.refusal(&path, wish)?;
        Some(Problem::new(key, what).locate(&loaded.origins))
    };
    let problems = wanted(loaded).into_iter().filter(|(_, path, _)| !is_credential(path)).filter_map(refused);
    Ok(Some(Permitted { problems: problems.collect(), user: account.name().to_owned(), because }))
}

/// What the daemon needs, each by its key; the configuration's own files have none.
fn wanted(loaded: &Loaded) -> Vec<(&'static str, PathBuf, Wish)> {
    let settings: &Settings = &loaded.settings;
    let mut wanted: Vec<_> = loaded.files.iter().map(|file| ("", file.clone(), Wish::Read)).collect();
    if let Some(fragments) = loaded.files.first().and_then(|file| file.parent()).map(|above| above.join("conf.d"))
        && fragments.is_dir()
    {
        wanted.push(("", fragments, Wish::List));
    }
    wanted.extend(read_files(settings).into_iter().map(|(key, path)| (key, path, Wish::Read)));
    wanted.extend(settings.mqtt.url.strip_prefix("unix://").map(|path| ("mqtt.url", path.into(), Wish::Connect)));
    let (ring, quarantine) = (&settings.ring.path, &settings.quarantine.path);
    for (key, path) in [("ring.path", ring), ("quarantine.path", quarantine)] {
        wanted.push((key, path.clone(), Wish::Change));
    }
    for (key, path) in
        [("ring.path", ring), ("quarantine.path", quarantine), ("control.socket", &settings.control.socket)]
    {
        // One that is not there yet is made by the service manager.
        wanted.extend(path.parent().filter(|above| above.is_dir()).map(|above| (key, above.to_owned(), Wish::Make)));
    }
    wanted
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn what_the_user_cannot_use_is_told_by_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let file = at("forebay.toml");
        let text = format!(
            "[source.a]\ntopic = \"a/{{x}}\"\ntable = \"a\"\n[mqtt]\nusername = \"x\"\npassword_file = {:?}\n[ring]\npath = {:?}\n\
             [quarantine]\npath = {:?}\n[control]\nsocket = {:?}\n[questdb]\nusername = \"x\"\npassword_file = \"/run/credentials/forebay.service/p\"\n",
            at("secret"),
            at("state/ring"),
            at("state/quarantine"),
            at("run/socket"),
        );
        fs::write(&file, text).unwrap();
        fs::create_dir(at("state")).unwrap();
        fs::write(at("secret"), "x").unwrap();
        let mode = |name: &str, mode| fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        mode("", 0o755);
        mode("forebay.toml", 0o644);
        mode("secret", 0o600);
        mode("state", 0o755);
        let loaded = crate::config::load_with(Some(&file), std::iter::empty()).unwrap();
        let refused = |user: &str| {
            let permitted = look(&loaded, Some(user)).unwrap().expect("a user");
            permitted.problems.into_iter().map(|problem| problem.key).collect::<Vec<_>>()
        };
        assert_eq!(refused("3999999999"), ["mqtt.password_file", "ring.path", "quarantine.path"]);
        mode("forebay.toml", 0o600);
        assert_eq!(refused("3999999999")[0], "", "the configuration itself");
        assert_eq!(refused("root"), [""; 0], "nothing is closed to root");
        assert_eq!(look(&loaded, Some("no such user")).unwrap_err(), "--as no such user: there is no such user");
    }
}
