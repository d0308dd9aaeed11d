//! The shipped unit under the real systemd, booted in a container.

use std::{path::Path, process::Command};

use crate::support::{daemon::FOREBAY, heavy, scratch};

/// Most exposure `systemd-analyze security` may find, ×10.
const EXPOSURE_THRESHOLD: &str = "16";

fn root(path: &str) -> String {
    format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_unit_is_valid_and_hardened() {
    if skipped("the_unit_is_valid_and_hardened") {
        return;
    }
    // verify looks for the program at its installed path, so it is shown a copy that names the one that was built.
    let dir = scratch("unit");
    let unit = dir.join("forebay.service");
    let text = std::fs::read_to_string(root("systemd/forebay.service")).expect("the unit");
    std::fs::write(&unit, text.replace("/usr/bin/forebay", FOREBAY)).expect("a copy");
    analyze(&["verify", "--recursive-errors=no", "--man=no"], &unit);
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default();
    assert_eq!((value("LimitCORE"), value("MemoryMax")), ("0", "1G"), "no secrets in a core dump; a bound for memory");
    analyze(&["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_THRESHOLD], &unit);
}

fn analyze(arguments: &[&str], unit: &Path) {
    let output = Command::new("systemd-analyze").args(arguments).arg(unit).output().expect("systemd-analyze");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "systemd-analyze {arguments:?}:\n{text}");
    assert!(
        arguments[0] != "verify" || !text.contains("forebay.service:"),
        "systemd-analyze {arguments:?} complains:\n{text}"
    );
}

#[test]
fn the_unit_starts_reports_restarts_reloads_and_stops() {
    if skipped("the_unit_starts_reports_restarts_reloads_and_stops") {
        return;
    }
    let _alone = heavy();
    let dir = scratch("systemd");
    let (share, out) = (dir.join("share"), dir.join("out"));
    std::fs::create_dir_all(&share).expect("share");
    std::fs::create_dir_all(&out).expect("out");
    for (from, to) in [
        (FOREBAY.to_owned(), "forebay"),
        (root("systemd/forebay.service"), "forebay.service"),
        (root("systemd/forebay.sysusers"), "forebay.sysusers"),
        (root("conf/forebay.toml"), "forebay.toml"),
        (root("tests/tools/systemd-inside"), "inside"),
    ] {
        std::fs::copy(&from, share.join(to)).unwrap_or_else(|why| panic!("{from}: {why}"));
    }
    let output =
        Command::new(root("tests/tools/systemd-boot")).arg(&share).arg(&out).output().expect("systemd-boot can be run");
    let told = std::fs::read_to_string(out.join("log")).unwrap_or_default();
    assert!(
        output.status.success() && told.ends_with("ALL PASSED\n"),
        "{}\n{told}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Only an explicit `FOREBAY_TEST_SYSTEMD=skip` skips.
fn skipped(test: &str) -> bool {
    let skip = std::env::var("FOREBAY_TEST_SYSTEMD").is_ok_and(|value| value == "skip");
    if skip {
        eprintln!("SKIPPED systemd::{test}: FOREBAY_TEST_SYSTEMD=skip is set");
    }
    skip
}
