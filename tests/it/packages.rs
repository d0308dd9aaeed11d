//! The life of the Debian package and of the tarball on a machine that is booted for it: installed,
//! upgraded under the running daemon, removed, installed over old state, an older one refused.

use crate::support::{
    container::{Machine, skipped},
    heavy,
};

#[test]
fn a_package_is_installed_upgraded_removed_and_purged_and_nothing_is_lost() {
    inside("package", |machine| {
        machine.share_package("old", "1.0.0");
        machine.share_package("new", "1.0.1");
    });
}

#[test]
fn a_tarball_is_installed_upgraded_and_removed_and_nothing_is_lost() {
    inside("tarball", Machine::share_tarball);
}

/// Runs a script in a machine that has what is shared with it.
fn inside(script: &str, share: impl FnOnce(&Machine)) {
    if skipped(&format!("packages::{script}")) {
        return;
    }
    let _alone = heavy();
    let machine = Machine::new(&["gateway"]);
    share(&machine);
    machine.run(script);
}
