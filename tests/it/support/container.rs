//! A machine that is booted for a test: systemd in a container on a throw-away copy of this one's
//! root (`tests/tools/systemd-boot`).

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    daemon::FOREBAY,
    scratch::{Scratch, scratch},
};

/// A file of this repository.
pub fn root(path: &str) -> String {
    format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
}

/// What a script in the container sees, and what it leaves.
pub struct Machine {
    dir: Scratch,
}

impl Machine {
    /// A machine whose share has QuestDB's program, pages of docs/ and the scripts of
    /// tests/tools/inside.
    pub fn new(pages: &[&str]) -> Self {
        let machine = Self { dir: scratch("machine") };
        fs::create_dir_all(machine.out()).expect("a directory");
        machine.share("target/tools/questdb.jar", "questdb.jar");
        for script in fs::read_dir(root("tests/tools/inside")).expect("the scripts") {
            let script = script.expect("a script").path();
            let name = script.file_name().and_then(|name| name.to_str()).expect("text");
            machine.share(&format!("tests/tools/inside/{name}"), name);
        }
        for page in pages {
            machine.share(&format!("docs/{page}.md"), &format!("{page}.md"));
        }
        machine
    }

    /// Puts a file of this repository, or one with its whole path, into the share.
    pub fn share(&self, from: &str, to: &str) {
        let (from, to) = (Path::new(&root("")).join(from), self.shared(to));
        fs::create_dir_all(to.parent().expect("a directory")).expect("a directory");
        fs::copy(&from, to).unwrap_or_else(|why| panic!("{}: {why}", from.display()));
    }

    /// Puts the program under test into the share, and what makes it a service.
    pub fn share_service(&self) {
        self.share(FOREBAY, "forebay");
        self.share("systemd/forebay.service", "forebay.service");
        self.share("systemd/forebay.sysusers", "forebay.sysusers");
        self.share("conf/forebay.toml", "forebay.toml");
    }

    /// Puts a package of the program under test into a directory of the share.
    pub fn share_package(&self, directory: &str, version: &str) {
        let to = self.shared(directory);
        fs::create_dir_all(&to).expect("a directory");
        let made = Command::new(root("tests/tools/package")).arg(&to).args([FOREBAY, version]).output();
        let made = made.expect("tests/tools/package can be run");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// Puts a tarball of the program under test into the share, as if it were a static one.
    pub fn share_tarball(&self) {
        let made = Command::new(root("packaging/tarball"))
            .args([self.shared(""), "x86_64-unknown-linux-musl".into(), FOREBAY.into()])
            .output();
        let made = made.expect("packaging/tarball can be run");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// Boots it and runs a script of tests/tools/inside in it, whose last line is ALL PASSED.
    #[track_caller]
    pub fn run(&self, script: &str) {
        self.share(&format!("tests/tools/inside/{script}"), "inside");
        let boot = Command::new(root("tests/tools/systemd-boot")).arg(self.shared("")).arg(self.out()).output();
        let output = boot.expect("systemd-boot can be run");
        let told = fs::read_to_string(self.out().join("log")).unwrap_or_default();
        assert!(
            output.status.success() && told.ends_with("ALL PASSED\n"),
            "{}\n{told}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        eprintln!("{told}");
    }

    /// Where the script in the container leaves files.
    pub fn out(&self) -> PathBuf {
        self.dir.join("out")
    }

    fn shared(&self, name: &str) -> PathBuf {
        self.dir.join("share").join(name)
    }
}

/// Only an explicit `FOREBAY_TEST_SYSTEMD=skip` skips.
pub fn skipped(test: &str) -> bool {
    let skip = std::env::var("FOREBAY_TEST_SYSTEMD").is_ok_and(|value| value == "skip");
    if skip {
        eprintln!("SKIPPED {test}: FOREBAY_TEST_SYSTEMD=skip is set");
    }
    skip
}
