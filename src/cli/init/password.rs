//! A password: in a file that is there, or typed. What is typed is kept in memory until all is
//! answered, and written then: a wrong one can be typed again.

use std::{
    fs::File,
    io::Write,
    os::{fd::AsRawFd, unix::fs::chown},
    path::{Path, PathBuf},
};

use rustix::fs::{MemfdFlags, memfd_create};

use super::ask::Answers;
use crate::{
    cli::{
        Exit, Failure,
        fragment::{absolute, not_written, write_new},
        out::say,
    },
    config::places::is_credential,
    files::access::{Wish, other::Account},
};

/// Who reads a password: its owner.
const MODE: u32 = 0o600;
/// The packaged daemon's user.
pub const USER: &str = "forebay";
/// Numbers that a file's name is tried with where the name is taken.
const MAX_NUMBER: usize = 100;

/// A password that was typed.
pub struct Typed {
    /// The file that it goes to.
    pub path: PathBuf,
    text: String,
    memory: File,
}

impl Typed {
    fn new(path: PathBuf, secret: &str) -> Result<Self, Failure> {
        let text = format!("{secret}\n");
        let kept = memfd_create("password", MemfdFlags::CLOEXEC).map_err(std::io::Error::from).and_then(|memory| {
            let mut memory = File::from(memory);
            memory.write_all(text.as_bytes()).map(|()| memory)
        });
        let memory = kept.map_err(|why| {
            let what = format!("the password cannot be kept in memory ({why}): write it into {} first", path.display());
            Failure::new(Exit::Failed, what)
        })?;
        Ok(Self { path, text, memory })
    }

    /// A file in memory that has it, as long as this is there (`proc_pid_fd(5)`).
    pub fn in_memory(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.memory.as_raw_fd()).into()
    }

    /// Writes it into its file, for the daemon's user.
    pub fn write(&self) -> Result<(), Failure> {
        let path = &self.path;
        write_new(path, &self.text, MODE).map_err(|error| not_written(path, &error, " and run this again"))?;
        hand_over(path);
        Ok(())
    }
}

/// Gives a secret to the daemon's user, where there is one. `check` tells where that user cannot
/// read it.
fn hand_over(path: &Path) {
    let owner = Account::named(USER).map(|account| account.id());
    let is_root = rustix::process::geteuid().is_root();
    if let Some(owner) = owner.filter(|_| is_root)
        && let Err(why) = chown(path, Some(owner), None)
    {
        say(&format!("warning: {} can't be given to user {USER}: {why}", path.display()));
    }
}

/// A user's password in its file.
pub struct Password {
    /// The file.
    pub path: PathBuf,
    /// What goes to it, where it is not there yet.
    pub typed: Option<Typed>,
}

/// Asks for the file with a user's password, and for the password where the file is not there.
/// `refused` is a file whose password does not serve, `taken` one that gets another password.
pub fn ask(
    name: &str,
    usual: &Path,
    refused: Option<&Path>,
    taken: Option<&Path>,
    answers: &mut Answers,
) -> Result<Password, Failure> {
    if let Some(refused) = refused {
        let what = "its password is refused, and the file is not replaced; name another file to type the password";
        say(&format!("{}: {what}", refused.display()));
    }
    let proposed = free(usual, |path| Some(path) == refused || Some(path) == taken);
    loop {
        let path = answers.text(&format!("File with {name}'s password"), &proposed.display().to_string())?;
        let path = absolute(Path::new(&path))?;
        if Some(path.as_path()) == taken {
            say(&format!("{}: it gets another password; name another file", path.display()));
        } else if path.exists() {
            if let Some(why) = refusal(&path) {
                say(&format!("warning: {why}"));
            }
            return Ok(Password { path, typed: None });
        } else {
            let secret = answers.secret(&format!("{name}'s password (it goes to {})", path.display()))?;
            return Ok(Password { typed: Some(Typed::new(path.clone(), &secret)?), path });
        }
    }
}

/// Why the daemon's user will not be able to read a file; what the service manager hands over is
/// there for that user.
fn refusal(path: &Path) -> Option<String> {
    Account::named(USER).filter(|_| !is_credential(path)).and_then(|account| account.refusal(path, Wish::Read))
}

/// The usual file, or one with a number where that is out of question.
fn free(usual: &Path, is_out: impl Fn(&Path) -> bool) -> PathBuf {
    if !is_out(usual) {
        return usual.to_owned();
    }
    let numbered = |number: usize| PathBuf::from(format!("{}-{number}", usual.display()));
    (2..MAX_NUMBER).map(numbered).find(|path| !is_out(path) && !path.exists()).unwrap_or_else(|| usual.to_owned())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::config::secrets::read_secret;

    #[test]
    fn what_is_typed_is_read_from_memory_and_written_last() {
        let directory = tempfile::tempdir().expect("a directory");
        let usual = directory.path().join("mqtt-password");
        let mut answers = Answers::from_text("\n wrong \n\nright\n");
        let mut asked = || ask("ann", &usual, None, None, &mut answers).expect("answered").typed.expect("typed");
        let read = |path: &Path| read_secret(path).expect("a secret").secret.expose().to_owned();
        let (first, second) = (asked(), asked());
        assert_eq!((read(&first.in_memory()).as_str(), read(&second.in_memory()).as_str()), (" wrong ", "right"));
        assert!(!usual.exists(), "nothing is written yet");
        drop(first);
        second.write().expect("written");
        assert_eq!(read(&usual), "right");
        assert_eq!(fs::metadata(&usual).expect("a file").permissions().mode() & 0o777, MODE);
        assert_eq!(second.write().expect_err("it is there").exit, Exit::Usage);
    }

    #[test]
    fn a_file_that_was_refused_is_not_proposed_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let usual = directory.path().join("mqtt-password");
        fs::write(&usual, "wrong\n").expect("written");
        let mut answers = Answers::from_text("\n\nright\n");
        let mut asked = |refused| ask("ann", &usual, refused, None, &mut answers).expect("answered");
        let first = asked(None);
        assert!(first.path == usual && first.typed.is_none());
        let second = asked(Some(first.path.as_path()));
        assert!(second.path == directory.path().join("mqtt-password-2") && second.typed.is_some());
    }

    #[test]
    fn a_file_gets_one_password() {
        let directory = tempfile::tempdir().expect("a directory");
        let usual = directory.path().join("p");
        let typed = usual.display().to_string();
        let text: &'static str = format!("{typed}\n{typed}-3\nright\n").leak();
        let asked = ask("ann", &usual, None, Some(&usual), &mut Answers::from_text(text)).expect("answered");
        assert_eq!(asked.path, directory.path().join("p-3"));
    }
}
