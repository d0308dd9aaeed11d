//! Why a file may not be opened, and what its user can do about it: what the modes of the file and
//! of the directories above it say (`path_resolution(7)`).

pub mod other;

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What is wanted of a file, as a bit of its mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To read it.
    Read = 4,
    /// To connect to it, which takes the right to write (`unix(7)`).
    Connect = 2,
    /// To read it and write to it.
    Change = 6,
    /// To list what is in the directory.
    List = 5,
    /// To make, rename and remove files in the directory.
    Make = 3,
}

impl Wish {
    fn is_of_directory(self) -> bool {
        matches!(self, Self::List | Self::Make)
    }
}

/// The right to reach what is in a directory.
const SEARCH: u32 = 1;
/// What `usermod` must never be advised for.
const ROOT: u32 = 0;

/// What to do about a file that may not be opened, for the end of a message.
#[must_use]
pub fn advice(path: &Path, wish: Wish) -> String {
    let accounts = Accounts::read();
    let user = User::running(&accounts);
    match first_refusal(&places(path, wish), &user) {
        Some((place, why)) => told(place, why, &accounts),
        None => "the file modes would let you: an access list, or a security module such as AppArmor or SELinux, refuses it; use sudo"
            .to_owned(),
    }
}

/// A file or a directory on the way to it.
#[derive(Debug, Clone)]
struct Place {
    path: PathBuf,
    mode: u32,
    user: u32,
    group: u32,
    /// The right that is needed there, as the lowest three bits of a mode.
    need: u32,
    /// Whether it has an access list (`acl(5)`), which says more than the mode.
    has_list: bool,
}

/// Who runs the command.
#[derive(Debug, Clone, Default)]
struct User {
    id: u32,
    /// Groups that the process has.
    groups: Vec<u32>,
    /// Groups that the next login will have.
    listed: Vec<u32>,
}

/// Why a place refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// Its group may, and the user is none of it.
    NoMember,
    /// Its group may, and the user has become a member since the login.
    OldLogin,
    /// Joining its group would not help.
    Closed,
}

/// The directories from the root on, and the file; as far as one can look.
fn places(path: &Path, wish: Wish) -> Vec<Place> {
    let whole = fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned());
    let mut ancestors: Vec<&Path> = whole.ancestors().collect();
    ancestors.reverse();
    let seen = ancestors.into_iter().map_while(|path| fs::metadata(path).ok().map(|meta| (path, meta)));
    let is_end = |path: &Path, meta: &fs::Metadata| !meta.is_dir() || wish.is_of_directory() && path == whole;
    let place = |(path, meta): (&Path, fs::Metadata)| Place {
        path: path.to_owned(),
        mode: meta.mode(),
        user: meta.uid(),
        group: meta.gid(),
        need: if is_end(path, &meta) { wish as u32 } else { SEARCH },
        has_list: has_list(path),
    };
    seen.map(place).collect()
}

fn has_list(path: &Path) -> bool {
    // With no room for it the kernel tells its size.
    rustix::fs::getxattr(path, "system.posix_acl_access", &mut [0_u8; 0]).is_ok()
}

/// The first place on the way that refuses. One class of the mode's bits counts: the owner's, else
/// the group's, else the others'.
fn first_refusal<'p>(places: &'p [Place], user: &User) -> Option<(&'p Place, Refusal)> {
    if user.id == ROOT {
        return None;
    }
    places.iter().filter(|place| !place.has_list).find_map(|place| {
        let [others, group, owner] = [0, 3, 6].map(|shift| place.mode >> shift & place.need == place.need);
        let why = match () {
            () if user.id == place.user => (!owner).then_some(Refusal::Closed),
            () if user.groups.contains(&place.group) => (!group).then_some(Refusal::Closed),
            () if others => None,
            () if !group || place.group == ROOT => Some(Refusal::Closed),
            () if user.listed.contains(&place.group) => Some(Refusal::OldLogin),
            () => Some(Refusal::NoMember),
        };
        why.map(|why| (place, why))
    })
}

fn told(place: &Place, why: Refusal, accounts: &Accounts) -> String {
    let (path, group) = (place.path.display(), accounts.group_name(place.group));
    match why {
        Refusal::NoMember => format!(
            "{path} is for the group {group}: join it with sudo usermod -aG {group} $USER and log in again, or use sudo"
        ),
        Refusal::OldLogin => format!(
            "{path} is for the group {group}, which you have joined since you logged in: log in again (newgrp {group} does for one \
             shell), or use sudo"
        ),
        Refusal::Closed => {
            let owner = accounts.user_name(place.user);
            format!("{path} belongs to {owner} and is closed to you (mode {:04o}); use sudo", place.mode & 0o7777)
        }
    }
}

impl User {
    fn running(accounts: &Accounts) -> Self {
        let id = rustix::process::geteuid().as_raw();
        let mut groups = vec![rustix::process::getegid().as_raw()];
        groups.extend(rustix::process::getgroups().unwrap_or_default().iter().map(|group| group.as_raw()));
        Self { id, groups, listed: accounts.groups_of(id) }
    }
}

/// `passwd(5)` and `group(5)`. Accounts from elsewhere (LDAP) have numbers here, and no names.
#[derive(Debug, Default)]
struct Accounts {
    users: String,
    groups: String,
}

impl Accounts {
    fn read() -> Self {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        Self { users: text("/etc/passwd"), groups: text(GROUPS) }
    }

    fn user_name(&self, id: u32) -> String {
        name_of(&self.users, id).map_or_else(|| id.to_string(), str::to_owned)
    }

    fn group_name(&self, id: u32) -> String {
        name_of(&self.groups, id).map_or_else(|| id.to_string(), str::to_owned)
    }

    fn groups_of(&self, user: u32) -> Vec<u32> {
        let Some(name) = name_of(&self.users, user) else { return Vec::new() };
        let own = entries(&self.users).filter(|entry| entry.name == name).filter_map(|entry| entry.next.parse().ok());
        let members = |entry: &Entry| entry.next.split(',').any(|member| member == name);
        let joined = entries(&self.groups).filter(members).map(|entry| entry.id);
        own.chain(joined).collect()
    }
}

const GROUPS: &str = "/etc/group";

/// A line of either table: a name, a password, an id, and what follows it.
struct Entry<'t> {
    name: &'t str,
    id: u32,
    /// Of a user the first group's id, of a group its members.
    next: &'t str,
}

fn entries(table: &str) -> impl Iterator<Item = Entry<'_>> {
    table.lines().filter_map(|line| {
        let mut columns = line.split(':');
        let (name, _, id) = (columns.next()?, columns.next()?, columns.next()?.parse().ok()?);
        Some(Entry { name, id, next: columns.next().unwrap_or_default() })
    })
}

fn name_of(table: &str, id: u32) -> Option<&str> {
    entries(table).find(|entry| entry.id == id).map(|entry| entry.name)
}

/// A group's id, by name or as a number; none when there is no such group.
#[must_use]
pub fn group_id(name: &str) -> Option<u32> {
    let table = fs::read_to_string(GROUPS).unwrap_or_default();
    name.parse().ok().or_else(|| id_in(&table, name))
}

fn id_in(table: &str, name: &str) -> Option<u32> {
    entries(table).find(|entry| entry.name == name).map(|entry| entry.id)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const USERS: &str =
        "root:x:0:0:root:/root:/bin/sh\nforebay:x:990:991::/:\nann:x:1000:1000:Ann:/home/ann:/bin/sh\nbroken\n";
    const TABLE: &str = "root:x:0:\nforebay:x:991:bob,ann\nann:x:1000:\nbroken\nwheel:x:10:annabel\n";

    fn accounts() -> Accounts {
        Accounts { users: USERS.into(), groups: TABLE.into() }
    }

    fn place(path: &str, mode: u32, group: u32, need: u32) -> Place {
        Place { path: path.into(), mode, user: 990, group, need, has_list: false }
    }

    fn advised(places: &[Place], user: &User) -> String {
        first_refusal(places, user).map_or("none".into(), |(place, why)| told(place, why, &accounts()))
    }

    #[test]
    fn accounts_are_read() {
        assert_eq!((id_in(TABLE, "forebay"), id_in(TABLE, "broken"), id_in(TABLE, "")), (Some(991), None, None));
        assert_eq!((accounts().groups_of(1000), accounts().groups_of(7)), (vec![1000, 991], vec![]));
        assert_eq!((accounts().group_name(991), accounts().group_name(5)), ("forebay".into(), "5".into()));
        assert_eq!(group_id("991"), Some(991));
    }

    #[test]
    fn only_who_is_no_member_is_told_to_join() {
        let socket =
            [place("/run", 0o755, 0, SEARCH), place("/run/forebay.sock", 0o140_660, 991, Wish::Connect as u32)];
        let user = |groups: &[u32], listed: &[u32]| User { id: 1000, groups: groups.into(), listed: listed.into() };
        let told = advised(&socket, &user(&[1000], &[1000]));
        assert_eq!(
            told,
            "/run/forebay.sock is for the group forebay: join it with sudo usermod -aG forebay $USER and log in again, or use sudo"
        );
        let told = advised(&socket, &user(&[1000], &[1000, 991]));
        assert!(told.contains("joined since you logged in: log in again (newgrp forebay"), "{told}");
        assert_eq!(advised(&socket, &user(&[1000, 991], &[1000, 991])), "none", "a member may");
        assert_eq!(advised(&socket, &User { id: ROOT, ..User::default() }), "none");
    }

    #[test]
    fn a_group_that_may_not_either_is_not_to_be_joined() {
        let user = User { id: 1000, groups: vec![1000, 991], listed: vec![1000, 991] };
        let told = |directory: u32, mode: u32, group: u32| {
            let places = [place("/d", directory, group, SEARCH), place("/d/ring", mode, group, Wish::Read as u32)];
            advised(&places, &user)
        };
        assert_eq!(told(0o40_700, 0o640, 991), "/d belongs to forebay and is closed to you (mode 0700); use sudo");
        assert_eq!(told(0o755, 0o600, 991), "/d/ring belongs to forebay and is closed to you (mode 0600); use sudo");
        assert!(told(0o755, 0o600, 7).contains("use sudo") && !told(0o755, 0o600, 7).contains("usermod"));
        assert!(!told(0o755, 0o640, ROOT).contains("usermod"), "nobody is told to join root");
        assert!(told(0o755, 0o640, 7).contains("usermod -aG 7 "), "a group without a name");
        assert!(told(0o755, 0o604, 991).contains("closed to you"), "a member's class is the group's");
        let owner = User { id: 990, groups: vec![991], listed: vec![] };
        let own = [place("/d", 0o067, 991, SEARCH)];
        assert!(advised(&own, &owner).contains("mode 0067"), "the owner's class is its own");
    }

    #[test]
    fn the_way_is_looked_at_from_the_root_on() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
        let places = places(&file, Wish::Read);
        assert_eq!((places[0].path.as_path(), places[0].need), (Path::new("/"), SEARCH));
        let last = places.last().unwrap();
        assert_eq!((last.mode & 0o777, last.need, last.path.file_name()), (0o604, 4, file.file_name()));
        let gone = super::places(&directory.path().join("none/file"), Wish::Connect);
        assert_eq!(gone.len() + 1, places.len());
    }
}
