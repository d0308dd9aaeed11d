//! Looks at what of the machine decides about sizes that are not set ([`super::sizes`]): free room,
//! files that are there, memory. What cannot be looked at is left out.

use std::{
    fs, io,
    path::{Component, Path},
};

use procfs::{Current, Meminfo, process::Process};

use super::sizes::{Existing, Machine, Room, Site};
use crate::{
    files::place::disk,
    flush::quarantine::{Extent, extent},
    ring::inspect::{InspectError, RingFile},
    settings::{Bytes, Settings},
};

/// Where control groups are found, as systemd mounts them: the file with the limit, and the
/// controller's name where it has a tree of its own (version 1).
const LIMITS: [(&str, &str, Option<&str>); 2] =
    [("/sys/fs/cgroup", "memory.max", None), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", Some("memory"))];

/// Looks at everything that the settings leave open.
pub fn look(settings: &Settings) -> Machine {
    let (ring, quarantine) = (settings.ring.path.as_path(), settings.quarantine.path.as_path());
    Machine {
        ring: Site { file: ring_at(ring), room: room_at(ring) },
        quarantine: Site { file: quarantine_at(quarantine), room: room_at(quarantine) },
        memory: memory(),
    }
}

/// The ring that is there. What is none will be moved aside, and one created.
fn ring_at(path: &Path) -> Existing {
    match RingFile::open(path) {
        Ok(file) => Existing::Sized(Bytes(file.expected_bytes())),
        Err(InspectError::NoHeader { .. }) => Existing::None,
        Err(InspectError::Io { source, .. }) if is_free(path, &source) => Existing::None,
        Err(_) => Existing::Unknown,
    }
}

/// The quarantine that is there.
fn quarantine_at(path: &Path) -> Existing {
    match extent(path) {
        Ok(Extent::None) => Existing::None,
        Ok(Extent::Reserved(bytes)) => Existing::Sized(Bytes(bytes)),
        Ok(Extent::AtLeast(bytes)) => Existing::AtLeast(Bytes(bytes)),
        Err(_) => Existing::Unknown,
    }
}

/// Whether nothing has the name, not even a link that leads nowhere.
fn is_free(path: &Path, error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err()
}

/// Room where a file is or will be. Directories that are not there yet will be made on the file
/// system of the nearest one above.
fn room_at(path: &Path) -> Option<Room> {
    let above = path.ancestors().skip(1).find(|above| above.is_dir())?;
    Some(Room { directory: above.to_owned(), free: Bytes(disk(above)?.free_bytes) })
}

/// The machine's memory, or what the limits of this process's control groups leave of it.
fn memory() -> Option<Bytes> {
    let machine = Meminfo::current().ok().map(|info| info.mem_total);
    machine.into_iter().chain(group_limits()).min().map(Bytes)
}

fn group_limits() -> Vec<u64> {
    let Ok(groups) = Process::myself().and_then(|own| own.cgroups()) else { return Vec::new() };
    let mut limits = Vec::new();
    for (root, file, controller) in LIMITS {
        let is_meant = |controllers: &[String]| match controller {
            Some(name) => controllers.iter().any(|own| own == name),
            None => controllers.iter().all(String::is_empty),
        };
        for group in groups.0.iter().filter(|group| is_meant(&group.controllers)) {
            limits.extend(limits_up(Path::new(root), &group.pathname, file));
        }
    }
    limits
}

/// The limits of a group and of all above it. ("max", and a group that is not visible from here,
/// are no limits.)
fn limits_up(root: &Path, group: &str, file: &str) -> Vec<u64> {
    let inside = group.trim_start_matches('/');
    let is_plain = Path::new(inside).components().all(|step| matches!(step, Component::Normal(_)));
    let own = if is_plain { root.join(inside) } else { root.to_owned() };
    let limit = |group: &Path| fs::read_to_string(group.join(file)).ok()?.trim().parse().ok();
    own.ancestors().take_while(|group| group.starts_with(root)).filter_map(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_s_limit_is_that_of_the_narrowest_above_it() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        let put = |group: &str, text: &str| {
            fs::create_dir_all(root.join(group)).unwrap();
            fs::write(root.join(group).join("memory.max"), text).unwrap();
        };
        put("a/b/c", "max\n");
        put("a/b", "67108864\n");
        put("a", "1073741824\n");
        put("other", "4096\n");
        fs::write(directory.path().join("memory.max"), "1\n").unwrap();
        let limits = |group: &str| limits_up(&root, group, "memory.max");
        assert_eq!(limits("/a/b/c"), [67_108_864, 1_073_741_824]);
        assert_eq!(limits("/a/b/not-visible"), [67_108_864, 1_073_741_824]);
        assert!(limits("/").is_empty() && limits("/../other").is_empty() && limits("").is_empty());
    }

    #[test]
    fn a_machine_tells_its_memory_and_room_and_a_bad_place_tells_nothing() {
        assert!(memory().is_some_and(|memory| memory > Bytes::mib(16)), "{:?}", memory());
        let directory = tempfile::tempdir().unwrap();
        let room = room_at(&directory.path().join("ring")).expect("told");
        assert_eq!(room.directory, directory.path());
        let above = room_at(&directory.path().join("none/yet/ring")).expect("told");
        assert_eq!(above.directory, directory.path());
        assert_eq!((room_at(Path::new("ring")), room_at(Path::new("/"))), (None, None));
    }

    #[test]
    fn a_ring_that_is_there_tells_its_size_and_whatever_else_has_its_name_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring");
        assert_eq!(ring_at(&path), Existing::None);
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        assert_eq!(ring_at(&path), Existing::Unknown, "the daemon will say what is wrong");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(ring_at(&path), Existing::Unknown);
        fs::remove_dir(&path).unwrap();
        fs::write(&path, [7; 9_000]).unwrap();
        assert_eq!(ring_at(&path), Existing::None, "it is moved aside");
    }
}
