//! What another user than the one who asks could do with a file, as far as modes tell.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{Accounts, Place, ROOT, SEARCH, User, Wish, first_refusal, id_in, places};

/// A user, with the groups that `passwd(5)` and `group(5)` give them.
#[derive(Debug)]
pub struct Account {
    user: User,
    name: String,
    accounts: Accounts,
}

impl Account {
    /// The user of this name or number; none where there is no such name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let accounts = Accounts::read();
        let id = id_in(&accounts.users, name).or_else(|| name.parse().ok())?;
        Some(Self::of(id, accounts))
    }

    /// The owner of a file, unless that is root, or the file cannot be looked at.
    #[must_use]
    pub fn owner_of(path: &Path) -> Option<Self> {
        let id = fs::metadata(path).ok()?.uid();
        (id != ROOT).then(|| Self::of(id, Accounts::read()))
    }

    fn of(id: u32, accounts: Accounts) -> Self {
        let groups = accounts.groups_of(id);
        let user = User { id, listed: groups.clone(), groups };
        Self { user, name: accounts.user_name(id), accounts }
    }

    /// Their number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.user.id
    }

    /// Their name, or their number where they have none here.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why they would not get what is wished, and what to do; none where nothing is known to refuse
    /// it. A file that is not there refuses nothing.
    #[must_use]
    pub fn refusal(&self, path: &Path, wish: Wish) -> Option<String> {
        // The directories that a link stands in have to let them through as well.
        let named = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let way = along(&named).into_iter().chain(places(path, wish)).collect::<Vec<_>>();
        first_refusal(&way, &self.user).map(|(place, _)| self.told(place, wish))
    }

    fn told(&self, place: &Place, wish: Wish) -> String {
        let (path, user) = (place.path.display(), &self.name);
        let (owner, group) = (self.accounts.user_name(place.user), self.accounts.group_name(place.group));
        let (may_not, remedy) = match place.need {
            SEARCH if wish == Wish::Read => (
                "go through it",
                format!(
                    "hand a secret over with LoadCredential= (see forebay.service); for any other file chmod o+x {path}"
                ),
            ),
            SEARCH => ("go through it", format!("chmod o+x {path}, or keep the file elsewhere")),
            need if need == Wish::Make as u32 => ("make files in it", format!("chown {user} {path}")),
            need if need == Wish::Change as u32 => ("read and write it", format!("chown {user} {path}")),
            need if need == Wish::Connect as u32 => ("connect to it", format!("make {user} a member of {group}")),
            need if need == Wish::List as u32 => ("list it", format!("chown {user} {path}, or chmod o+rx")),
            _ => {
                ("read it", format!("chown {user} {path}, or hand it over with LoadCredential= (see forebay.service)"))
            }
        };
        let mode = place.mode & 0o7777;
        format!(
            "{path} belongs to {owner} and group {group} (mode {mode:04o}), and user {user} may not {may_not}: {remedy}"
        )
    }
}

/// The directories above a file as it is named.
fn along(named: &Path) -> Vec<Place> {
    let above: PathBuf = named.parent().map(Path::to_owned).unwrap_or_default();
    let mut above = above.ancestors().map(Path::to_owned).collect::<Vec<_>>();
    above.reverse();
    let seen = above.into_iter().map_while(|path| fs::metadata(&path).ok().map(|meta| (path, meta)));
    let place = |(path, meta): (PathBuf, fs::Metadata)| Place {
        has_list: super::has_list(&path),
        mode: meta.mode(),
        user: meta.uid(),
        group: meta.gid(),
        need: SEARCH,
        path,
    };
    seen.map(place).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn forebay() -> Account {
        let users = "root:x:0:0::/:\nforebay:x:990:991::/:\n".to_owned();
        let groups = "root:x:0:\nforebay:x:991:\nssl-cert:x:110:forebay\n".to_owned();
        Account::of(990, Accounts { users, groups })
    }

    /// What is said of a file in a directory, both of root.
    fn told(directory: (u32, u32), file: (u32, u32), wish: Wish) -> String {
        let place = |path: &str, (mode, group): (u32, u32), need: u32| Place {
            path: path.into(),
            mode,
            user: ROOT,
            group,
            need,
            has_list: false,
        };
        let way = [place("/etc/forebay", directory, SEARCH), place("/etc/forebay/key", file, wish as u32)];
        let account = forebay();
        first_refusal(&way, &account.user).map_or("none".into(), |(place, _)| account.told(place, wish))
    }

    #[test]
    fn the_daemon_s_user_reads_by_its_own_class_of_the_mode() {
        let secret = told((0o755, 0), (0o100_600, 0), Wish::Read);
        assert_eq!(
            secret,
            "/etc/forebay/key belongs to root and group root (mode 0600), and user forebay may not read it: chown \
             forebay /etc/forebay/key, or hand it over with LoadCredential= (see forebay.service)"
        );
        assert_eq!(told((0o755, 0), (0o100_640, 991), Wish::Read), "none", "its first group");
        assert_eq!(told((0o755, 0), (0o100_640, 110), Wish::Read), "none", "a group that it has joined");
        assert_eq!(told((0o755, 0), (0o100_644, 0), Wish::Read), "none");
        assert!(told((0o755, 0), (0o100_604, 991), Wish::Read).contains("may not read it"), "its group's class counts");
    }

    #[test]
    fn each_directory_on_the_way_has_to_let_it_through() {
        for (mode, group) in [(0o700, 0), (0o750, 0), (0o704, 0), (0o705, 991)] {
            let told = told((mode, group), (0o100_644, 0), Wish::Read);
            assert!(told.starts_with("/etc/forebay belongs") && told.contains("may not go through it"), "{told}");
        }
        assert_eq!(told((0o750, 991), (0o100_644, 0), Wish::Read), "none");
    }

    #[test]
    fn what_is_written_needs_more_than_what_is_read() {
        assert!(told((0o755, 0), (0o100_644, 0), Wish::Change).contains("may not read and write it: chown"));
        assert_eq!(told((0o755, 0), (0o100_660, 991), Wish::Change), "none");
        assert!(told((0o755, 0), (0o40_755, 0), Wish::Make).contains("may not make files in it: chown"));
        assert!(told((0o755, 0), (0o40_772, 0), Wish::Make).contains("may not make"), "writing takes searching too");
        assert_eq!(told((0o755, 0), (0o40_770, 991), Wish::Make), "none");
        assert!(told((0o755, 0), (0o40_754, 0), Wish::List).contains("may not list it"));
    }

    #[test]
    fn the_directory_of_a_link_is_on_the_way_as_well() {
        let directory = tempfile::tempdir().unwrap();
        let (kept, closed) = (directory.path().join("kept"), directory.path().join("closed"));
        let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        open(directory.path(), 0o755);
        fs::create_dir(&closed).unwrap();
        fs::write(&kept, "").unwrap();
        open(&kept, 0o644);
        std::os::unix::fs::symlink(&kept, closed.join("link")).unwrap();
        open(&closed, 0o700);
        let nobody = Account::of(3_999_999_999, Accounts::default());
        assert_eq!(nobody.refusal(&kept, Wish::Read), None);
        let told = nobody.refusal(&closed.join("link"), Wish::Read).expect("it is refused");
        assert!(told.contains("closed belongs") && told.contains("user 3999999999"), "{told}");
        assert_eq!(
            nobody.refusal(&directory.path().join("none"), Wish::Read),
            None,
            "what is not there refuses nothing"
        );
        assert!(nobody.refusal(directory.path(), Wish::Make).is_some());
        assert!(Account::named("no such user").is_none() && Account::named("root").is_some());
    }
}
