//! Paths that must differ: what is written under a name must not be what another key names.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

use super::Findings;
use crate::{config::places::read_files, settings::Settings};

/// A file by the key that names it.
struct Named {
    key: &'static str,
    /// Which of its files it is, in words.
    what: &'static str,
    path: PathBuf,
    /// Whether it is made, replaced or moved.
    is_written: bool,
}

pub(super) fn check(settings: &Settings, findings: &mut Findings) {
    let named = all(settings);
    for (at, second) in named.iter().enumerate() {
        // Files that are read may be one file: a certificate and its key stand together often.
        let same = |first: &&Named| {
            (first.is_written || second.is_written) && first.key != second.key && is_same(first, second)
        };
        if let Some(first) = named[..at].iter().find(same) {
            let (own, other) = (second.what, first.what);
            findings
                .problem(second.key, format!("its {own} would be the {other} of {} as well; name another", first.key));
        }
    }
}

fn all(settings: &Settings) -> Vec<Named> {
    let beside = |path: &Path, end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let (ring, quarantine, socket) = (&settings.ring.path, &settings.quarantine.path, &settings.control.socket);
    let mut named: Vec<Named> = [
        ("ring.path", "file", ring.clone()),
        ("ring.path", "file in the making (.new)", beside(ring, ".new")),
        ("quarantine.path", "file", quarantine.clone()),
        ("quarantine.path", "older half (.old)", beside(quarantine, ".old")),
        ("quarantine.path", "file in the making (.new)", beside(quarantine, ".new")),
        ("control.socket", "socket", socket.clone()),
        ("control.socket", "socket in the making (.new)", beside(socket, ".new")),
    ]
    .map(|(key, what, path)| Named { key, what, path, is_written: true })
    .into();
    let broker = settings.mqtt.url.strip_prefix("unix://").map(|path| ("mqtt.url", PathBuf::from(path)));
    let read = read_files(settings).into_iter().chain(broker);
    named.extend(read.map(|(key, path)| Named { key, what: "file", path, is_written: false }));
    named
}

fn is_same(first: &Named, second: &Named) -> bool {
    let file = |named: &Named| fs::metadata(&named.path).ok().map(|found| (found.dev(), found.ino()));
    // Two names of one file, whatever they look like.
    let is_one_file = file(first).is_some_and(|it| Some(it) == file(second));
    is_one_file || place(&first.path) == place(&second.path)
}

/// Where a name leads as far as that can be told: a file need not be there yet, nor this user be let in.
fn place(path: &Path) -> PathBuf {
    if let Ok(real) = fs::canonicalize(path) {
        return real;
    }
    let directory = path.parent().and_then(|parent| fs::canonicalize(parent).ok());
    match (directory, path.file_name()) {
        (Some(directory), Some(name)) => directory.join(name),
        _ => cleaned(path),
    }
}

/// Without `.` and `..`.
fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir => {}
            part => clean.push(part),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(change: impl FnOnce(&mut Settings)) -> Vec<String> {
        let mut settings = Settings::default();
        change(&mut settings);
        let mut findings = Findings::default();
        check(&settings, &mut findings);
        findings.problems.into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn what_is_written_has_a_name_of_its_own() {
        assert_eq!(keys(|_| {}), [""; 0]);
        assert_eq!(keys(|all| all.quarantine.path = all.ring.path.clone())[0], "quarantine.path");
        assert_eq!(keys(|all| all.ring.path = "/run/forebay/../forebay/./forebay.sock".into())[0], "control.socket");
        assert_eq!(keys(|all| all.ring.path = "/var/lib/forebay/quarantine.old".into()), ["quarantine.path"]);
        assert_eq!(keys(|all| all.mqtt.password_file = Some("/var/lib/forebay/ring".into())), ["mqtt.password_file"]);
        assert_eq!(
            keys(|all| all.control.token_file = Some("/var/lib/forebay/quarantine.new".into())),
            ["control.token_file"]
        );
        assert_eq!(keys(|all| all.mqtt.url = "unix:///var/lib/forebay/ring".into()), ["mqtt.url"]);
        let conf = "https::addr=q:9000;tls_roots=/var/lib/forebay/ring;";
        assert_eq!(keys(|all| all.questdb.conf = conf.into()), ["questdb.conf: tls_roots"]);
    }

    #[test]
    fn what_is_only_read_may_be_one_file() {
        let both = Some(PathBuf::from("/etc/forebay/client.pem"));
        let change = |all: &mut Settings| {
            (all.mqtt.tls.cert_file, all.mqtt.tls.key_file) = (both.clone(), both.clone());
        };
        assert_eq!(keys(change), [""; 0]);
    }

    #[test]
    fn links_are_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (ring, link) = (directory.path().join("ring"), directory.path().join("link"));
        std::os::unix::fs::symlink(directory.path(), &link).unwrap();
        let to = |all: &mut Settings| (all.ring.path, all.quarantine.path) = (ring.clone(), link.join("ring"));
        assert_eq!(keys(to)[0], "quarantine.path", "neither is there");
        fs::write(&ring, "").unwrap();
        let hard = directory.path().join("hard");
        fs::hard_link(&ring, &hard).unwrap();
        assert_eq!(keys(|all| (all.ring.path, all.quarantine.path) = (ring.clone(), hard)), ["quarantine.path"]);
    }
}
