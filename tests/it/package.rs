//! What the .deb has, and what its scripts refuse. Installing it for real is tested where a whole
//! system boots.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::support::{daemon::FOREBAY, scratch};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).current_dir(ROOT).args(arguments).output().expect("it runs");
    assert!(output.status.success(), "{program} {arguments:?}: {}", told(&output));
    String::from_utf8(output.stdout).expect("text")
}

/// A .deb of the program under test.
fn package(dir: &Path) -> PathBuf {
    let dir = dir.to_str().expect("a path");
    let printed = run("tests/tools/package", &[dir, FOREBAY]);
    PathBuf::from(printed.lines().last().expect("its path"))
}

/// Mode, owner and group of each file and directory, by path.
fn contents(package: &Path) -> BTreeMap<String, (String, String)> {
    let listing = run("dpkg-deb", &["--contents", package.to_str().expect("a path")]);
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let (mode, owner) = (words.next().expect("a mode"), words.next().expect("an owner"));
        let path = words.nth(3).expect("a path").trim_start_matches('.');
        (path.to_owned(), (mode.to_owned(), owner.to_owned()))
    };
    listing.lines().map(line).collect()
}

#[test]
fn the_package_has_what_is_installed_and_keeps_what_is_configured() {
    let dir = scratch("package");
    let package = package(&dir);
    let contents = contents(&package);
    for (path, mode) in [
        ("/usr/bin/forebay", "-rwxr-xr-x"),
        ("/usr/lib/systemd/system/forebay.service", "-rw-r--r--"),
        ("/usr/lib/sysusers.d/forebay.conf", "-rw-r--r--"),
        ("/usr/lib/tmpfiles.d/forebay.conf", "-rw-r--r--"),
        ("/etc/forebay/forebay.toml", "-rw-r--r--"),
        ("/etc/forebay/conf.d/README", "-rw-r--r--"),
        ("/usr/share/man/man1/forebay.1.gz", "-rw-r--r--"),
        ("/usr/share/man/man1/forebay-ring-verify.1.gz", "-rw-r--r--"),
        ("/usr/share/bash-completion/completions/forebay", "-rw-r--r--"),
        ("/usr/share/zsh/vendor-completions/_forebay", "-rw-r--r--"),
        ("/usr/share/fish/vendor_completions.d/forebay.fish", "-rw-r--r--"),
        ("/usr/share/forebay/forebay.rules.yml", "-rw-r--r--"),
        ("/usr/share/forebay/forebay.json", "-rw-r--r--"),
        ("/usr/share/forebay/devices/shelly.toml", "-rw-r--r--"),
        ("/usr/share/doc/forebay/forebay.toml", "-rw-r--r--"),
        ("/usr/share/doc/forebay/README.md", "-rw-r--r--"),
        ("/usr/share/doc/forebay/docs/sources.md", "-rw-r--r--"),
        ("/usr/share/doc/forebay/copyright", "-rw-r--r--"),
        ("/usr/share/doc/forebay/changelog.gz", "-rw-r--r--"),
        ("/usr/share/doc/forebay/THIRD-PARTY.gz", "-rw-r--r--"),
    ] {
        let found = contents.get(path).unwrap_or_else(|| panic!("{path} is not in {contents:?}"));
        assert_eq!(found, &(mode.to_owned(), "0/0".to_owned()), "{path}");
    }
    for path in contents.keys() {
        assert!(!path.starts_with("/var") && !path.starts_with("/run"), "{path} is made where it runs");
        assert!(!path.contains("/debug/"), "{path} is another package's");
    }

    let root = dir.join("root");
    let (from, to) = (package.to_str().expect("a path"), root.to_str().expect("a path"));
    run("dpkg-deb", &["--raw-extract", from, to]);
    assert_eq!(run("find", &[to, "-type", "f", "-empty"]), "", "files without anything in them");
    let conffiles = fs::read_to_string(root.join("DEBIAN/conffiles")).expect("a list");
    let mut conffiles: Vec<&str> = conffiles.lines().collect();
    conffiles.sort_unstable();
    assert_eq!(conffiles, ["/etc/forebay/conf.d/README", "/etc/forebay/forebay.toml"]);
    let file = |below: &Path, path: &str| fs::read_to_string(below.join(path)).unwrap_or_else(|_| panic!("{path}"));
    assert_eq!(file(&root, "etc/forebay/forebay.toml"), file(Path::new(ROOT), "conf/installed.toml"));
    assert_eq!(
        file(&root, "usr/lib/systemd/system/forebay.service"),
        file(Path::new(ROOT), "systemd/forebay.service"),
        "the unit is the one that is tested"
    );
    let control = file(&root, "DEBIAN/control");
    for line in ["Package: forebay", &format!("Version: {VERSION}"), "Architecture: amd64"] {
        assert!(control.lines().any(|each| each == line), "{line} in {control}");
    }
    assert!(control.contains("\nDepends: libc6 (>= 2.36), "), "{control}");
    for script in ["preinst", "prerm", "postinst", "postrm"] {
        let path = root.join("DEBIAN").join(script);
        assert_eq!(fs::metadata(&path).expect("a script").permissions().mode() & 0o777, 0o755, "{script}");
        run("sh", &["-n", path.to_str().expect("a path")]);
        let text = fs::read_to_string(&path).expect("text");
        assert_eq!(
            text,
            file(Path::new(ROOT), &format!("packaging/debian/{script}")),
            "the script is the one that is tested"
        );
    }
    let postinst = file(&root, "DEBIAN/postinst");
    let part = |part: &str| postinst.find(part).unwrap_or_else(|| panic!("{part} in {postinst}"));
    assert!(part("systemd-sysusers") < part("systemd-tmpfiles"), "the user, then its directory");
    assert!(part("systemd-tmpfiles") < part("deb-systemd-invoke"), "then the daemon");
}

#[test]
fn the_same_program_gives_the_same_package() {
    let dir = scratch("package");
    let [one, two] = ["one", "two"].map(|name| fs::read(package(&dir.join(name))).expect("a package"));
    assert!(one == two, "{} and {} bytes, or other ones", one.len(), two.len());
}

/// Runs a script of the package for another root, as `dpkg --root` does, so that it touches nothing
/// of this machine. Programs by the names of `stand_ins` do what is said there.
fn script(name: &str, root: &Path, stand_ins: &[(&str, &str)], arguments: &[&str]) -> Output {
    let dir = scratch("script");
    for (program, does) in stand_ins {
        let program = dir.join(program);
        fs::write(&program, format!("#!/bin/sh\n{does}\n")).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("made executable");
    }
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").expect("a path"));
    let script = Path::new(ROOT).join("packaging/debian").join(name);
    let mut command = Command::new("sh");
    command.arg(script).args(arguments).env("PATH", path).env("DPKG_ROOT", root);
    command.output().expect("sh runs")
}

#[test]
fn an_older_package_is_refused_before_it_is_unpacked() {
    let root = scratch("root");
    let script = |name: &str, installed: &str, arguments: &[&str]| {
        let query = format!("printf {installed}");
        script(name, &root, &[("dpkg-query", query.as_str())], arguments)
    };
    let refused = |name, installed, arguments: &[&str], part: &str| {
        let output = script(name, installed, arguments);
        let told = told(&output);
        assert!(!output.status.success() && told.contains(part), "{name} {arguments:?}: {told}");
    };
    let accepted = |name, installed, arguments: &[&str]| {
        let output = script(name, installed, arguments);
        assert!(output.status.success() && told(&output).is_empty(), "{name} {arguments:?}: {}", told(&output));
    };
    // The installed one's script, then the other's where that one has none or has failed.
    refused("prerm", "0.2.0", &["upgrade", "0.1.0"], "0.1.0 does not replace the newer 0.2.0");
    refused("prerm", "0.2.0", &["upgrade", "0.2.0~rc1"], "nothing has been changed");
    refused("prerm", "0.3.0", &["failed-upgrade", "0.3.0", "0.2.0"], "0.2.0 is older than the installed 0.3.0");
    refused("preinst", "0.3.0", &["upgrade", "0.3.0", "0.2.0"], "0.2.0 does not replace the newer 0.3.0");
    accepted("prerm", "0.2.0", &["upgrade", "0.2.0"]);
    accepted("prerm", "0.2.0", &["upgrade", "0.10.0"]);
    accepted("prerm", "0.2.0", &["remove"]);
    accepted("prerm", "0.1.0", &["failed-upgrade", "0.1.0", "0.2.0"]);
    accepted("preinst", "0.2.0", &["install"]);
    accepted("preinst", "0.2.0", &["install", "0.1.0", "0.2.0"]);
    accepted("preinst", "0.2.0", &["upgrade", "0.1.0", "0.2.0"]);
    accepted("preinst", "0.2.0", &["upgrade", "0.2.0", "0.2.0"]);
    // A refusal has stopped nothing, so there is nothing to start.
    accepted("postinst", "0.2.0", &["abort-upgrade", "0.1.0"]);
}

/// What a program stands in for that a script calls: it says so on standard output.
const SAYS: &str = "echo \"called: ${0##*/} $*\"";
const SYSTEMD: [(&str, &str); 5] = [
    ("systemctl", SAYS),
    ("deb-systemd-invoke", SAYS),
    ("deb-systemd-helper", SAYS),
    ("systemd-sysusers", SAYS),
    ("systemd-tmpfiles", "echo \"called: systemd-tmpfiles $*\" >&2"),
];

/// What a script of the package says that ends well.
fn done(name: &str, root: &Path, arguments: &[&str]) -> String {
    done_where(name, root, &[], arguments)
}

/// The same, with more programs that others stand in for.
fn done_where(name: &str, root: &Path, stand_ins: &[(&str, &str)], arguments: &[&str]) -> String {
    let output = script(name, root, &[&SYSTEMD[..], stand_ins].concat(), arguments);
    let told = told(&output);
    assert!(output.status.success(), "{name} {arguments:?}: {told}");
    told
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    fs::write(path, text).expect("written");
}

#[test]
fn another_root_is_configured_without_this_machines_service() {
    let root = scratch("root");
    let told = done("postinst", &root, &["configure", ""]);
    let of_root = format!("--root={}", root.display());
    for called in ["systemd-sysusers", "systemd-tmpfiles"] {
        assert!(told.contains(&format!("called: {called} {of_root} ")), "{called}: {told}");
    }
    for script in [["postinst", "configure"], ["prerm", "remove"], ["postrm", "remove"], ["postrm", "purge"]] {
        let told = done(script[0], &root, &script[1..]);
        assert!(
            !told.contains("called: systemctl") && !told.contains("called: deb-systemd-invoke"),
            "{script:?}: {told}"
        );
    }
}

#[test]
fn only_a_unit_of_another_installation_is_said_to_go_first() {
    let unit = "etc/systemd/system/forebay.service";
    let root = scratch("root");
    write(&root, unit, "[Service]\n");
    let told = done("postinst", &root, &["configure", ""]);
    assert!(
        told.contains("forebay.service goes before this package's unit") && told.contains("make uninstall"),
        "{told}"
    );
    fs::remove_file(root.join(unit)).expect("removed");
    symlink("/dev/null", root.join(unit)).expect("a mask");
    let told = done("postinst", &root, &["configure", ""]);
    assert!(!told.contains("goes before"), "{told}");
}

#[test]
fn a_purge_removes_the_configuration_and_says_what_stays() {
    let root = scratch("root");
    let empty = || fs::create_dir_all(root.join("var/lib/forebay")).expect("a directory");
    write(&root, "etc/forebay/secrets/mqtt-password", "secret");
    empty();
    assert!(!done("postrm", &root, &["purge"]).contains("forebay: "), "nothing stays");
    assert!(!root.join("etc/forebay").exists() && !root.join("var/lib/forebay").exists());

    // A mount point can't be removed.
    empty();
    let told = done_where("postrm", &root, &[("rmdir", "exit 1")], &["purge"]);
    assert!(!told.contains("stays"), "{told}");
    write(&root, "etc/forebay/forebay.toml", "");
    let told = done_where("postrm", &root, &[("rm", "echo rm: busy >&2; exit 1")], &["purge"]);
    assert!(told.contains("what is named above stays"), "{told}");

    write(&root, "var/lib/forebay/ring/0", "");
    write(&root, "etc/systemd/system/forebay.service.d/override.conf", "[Service]\n");
    let told = done("postrm", &root, &["purge"]);
    for stays in ["/var/lib/forebay stays", "/etc/systemd/system/forebay.service.d stays"] {
        assert!(told.contains(stays), "{stays}: {told}");
    }

    write(&root, "mnt/forebay/secrets/mqtt-password", "secret");
    symlink("../mnt/forebay", root.join("etc/forebay")).expect("a link");
    let told = done("postrm", &root, &["purge"]);
    assert!(told.contains("/etc/forebay stays: it is a link to ../mnt/forebay"), "{told}");
    assert!(root.join("mnt/forebay/secrets/mqtt-password").exists());
}

#[test]
fn rings_and_quarantines_elsewhere_are_named() {
    let root = scratch("root");
    let main = "ring.path = '/mnt/dotted'\n[control]\nsocket = '/mnt/socket'\npath = '/mnt/other'\n\
        [ring] # the card\n  path='/mnt/ring'\n# path = '/mnt/comment'\n[ring.x]\npath = '/mnt/below'\n";
    write(&root, "etc/forebay/forebay.toml", main);
    write(&root, "etc/forebay/conf.d/aside.toml", "[quarantine]\npath = \"/mnt/aside\" # here\n");
    write(
        &root,
        "etc/forebay/conf.d/usual.toml",
        "[quarantine]\npath = \"/var/lib/forebay/quarantine\"\n[ring]\npath = \"/mnt/gone\"\n",
    );
    for name in ["dotted", "socket", "other", "ring", "comment", "below", "aside"] {
        fs::create_dir_all(root.join("mnt").join(name)).expect("a directory");
    }
    // dpkg removes forebay.toml between the two.
    let named = |of: &str| {
        let told = done("postrm", &root, &[of]);
        let named = told.lines().filter_map(|line| line.strip_prefix("forebay: /mnt/")?.split_once(" stays: "));
        named.map(|(path, _)| path.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(named("remove"), ["aside", "dotted", "ring"]);
    fs::remove_file(root.join("etc/forebay/forebay.toml")).expect("removed");
    assert_eq!(named("purge"), ["aside"]);
}

#[test]
fn a_purge_keeps_the_configuration_of_another_installation() {
    for other in ["usr/local/bin/forebay", "etc/systemd/system/forebay.service"] {
        let root = scratch("root");
        let configuration = root.join("etc/forebay/forebay.toml");
        write(&root, other, "");
        write(&root, "etc/forebay/forebay.toml", "edited");
        done("postrm", &root, &["remove"]);
        // As dpkg does.
        fs::remove_file(&configuration).expect("removed");
        let told = done("postrm", &root, &["purge"]);
        assert!(told.contains(&format!("/etc/forebay stays: /{other} is not this package's")), "{told}");
        assert_eq!(fs::read_to_string(&configuration).expect("it is there"), "edited");
    }
}

#[test]
fn make_install_replaces_a_mask_and_does_not_write_through_it() {
    let root = scratch("root");
    let unit = root.join("etc/systemd/system/forebay.service");
    write(&root, "null", "");
    fs::create_dir_all(unit.parent().expect("a directory")).expect("a directory");
    symlink(root.join("null"), &unit).expect("a mask");
    let destination = format!("DESTDIR={}", root.display());
    run("make", &["--no-print-directory", "--silent", "install-service", &destination]);
    assert!(!fs::symlink_metadata(&unit).expect("a unit").is_symlink(), "the mask is there");
    assert!(fs::read_to_string(&unit).expect("a unit").contains("/usr/local/bin/forebay"));
    assert_eq!(fs::read_to_string(root.join("null")).expect("a file"), "", "it is written through the mask");
    run("make", &["--no-print-directory", "--silent", "uninstall", &destination]);
    for directory in ["lib/sysusers.d", "lib/tmpfiles.d"] {
        assert!(!root.join("usr/local").join(directory).exists(), "{directory} stays");
    }
}

#[test]
fn what_is_linked_in_is_named_with_its_licence() {
    let told = run("packaging/linked", &["check"]);
    assert!(told.contains("names all"), "{told}");
}

#[test]
fn the_changelog_has_this_version() {
    let changelog = fs::read_to_string(Path::new(ROOT).join("CHANGELOG.md")).expect("a changelog");
    let newest = changelog.lines().find(|line| line.starts_with("## ")).expect("a version");
    assert!(newest.starts_with(&format!("## [{VERSION}]")), "{newest}");
    let debians = run("packaging/changelog", &[VERSION]);
    assert!(debians.starts_with(&format!("forebay ({VERSION}) unstable; urgency=medium\n")), "{debians}");
    assert!(debians.lines().all(|line| line.chars().count() <= 90), "{debians}");
}

#[test]
fn the_version_names_commit_target_and_formats() {
    for argument in ["version", "--version"] {
        let told = run(FOREBAY, &[argument]);
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines[0], format!("forebay {VERSION}"));
        for (line, name) in lines[1..].iter().zip(["commit: ", "target: ", "format, ring: ", "format, quarantine: "]) {
            assert!(line.starts_with(name), "{name} in {told}");
        }
        assert_eq!(lines.len(), 5, "{told}");
    }
    assert_eq!(run(FOREBAY, &["-V"]), format!("forebay {VERSION}\n"));
    let told: serde_json::Value = serde_json::from_str(&run(FOREBAY, &["version", "--json"])).expect("JSON");
    assert_eq!(told["version"], VERSION);
    assert_eq!(told["ring_format"], 4);
}

#[test]
fn the_tarballs_script_is_sound() {
    run("sh", &["-n", "packaging/install"]);
}
