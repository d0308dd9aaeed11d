//! The shipped unit under the real systemd, booted in a container.

use std::{path::Path, process::Command};

use crate::support::{
    container::{Machine, root, skipped},
    daemon::FOREBAY,
    heavy, scratch,
};

/// Most exposure `systemd-analyze security` may find, ×10.
const EXPOSURE_THRESHOLD: &str = "14";

#[test]
fn the_unit_is_valid_and_hardened() {
    if skipped("systemd::the_unit_is_valid_and_hardened") {
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
fn the_unit_starts_restarts_reloads_and_stops() {
    inside("life");
}

#[test]
fn its_status_says_how_it_stands_from_the_start_to_the_stop() {
    inside("status");
}

#[test]
fn it_is_back_within_a_second_of_a_kill_and_tries_seldom_what_does_not_pass() {
    inside("restarts");
}

#[test]
fn it_starts_without_network_broker_database_and_time() {
    inside("bare");
}

#[test]
fn passwords_come_as_credentials() {
    inside("credentials");
}

#[test]
fn what_it_logs_is_read_back_from_the_journal_by_its_fields() {
    inside("journal");
}

#[test]
fn a_thread_of_the_intake_that_hangs_leads_to_a_restart_and_loses_nothing() {
    inside("hangs-intake");
}

#[test]
fn a_thread_of_the_way_to_questdb_that_hangs_leads_to_a_restart_and_loses_nothing() {
    inside("hangs-outflow");
}

#[test]
fn a_thread_that_looks_after_the_others_hangs_and_leads_to_a_restart() {
    inside("hangs-control");
}

#[test]
fn a_database_that_is_away_or_hangs_leads_to_no_restart() {
    inside("away-database");
}

#[test]
fn a_broker_that_is_away_or_hangs_leads_to_no_restart() {
    inside("away-broker");
}

/// Runs a script of tests/tools/inside in the booted container.
#[track_caller]
fn inside(script: &str) {
    if skipped(&format!("systemd::{script}")) {
        return;
    }
    let _alone = heavy();
    let machine = Machine::new(&[]);
    machine.share_service();
    machine.run(script);
}
