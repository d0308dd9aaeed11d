//! A whole gateway as docs/gateway.md sets it up, and as docs/moving.md moves it: the pages' commands
//! are run on machines that are booted for it, with the real mosquitto, QuestDB, package and systemd.

use crate::support::{
    container::{Machine, skipped},
    heavy,
};

const VERSION: &str = "1.0.0";

#[test]
fn a_gateway_is_set_up_by_the_ten_commands_of_the_page() {
    if skipped("gateway::a_gateway_is_set_up_by_the_ten_commands_of_the_page") {
        return;
    }
    let _alone = heavy();
    let machine = Machine::new(&["gateway"]);
    machine.share_package("", VERSION);
    machine.run("gateway");
}

#[test]
fn a_gateway_moves_with_all_that_waits() {
    if skipped("gateway::a_gateway_moves_with_all_that_waits") {
        return;
    }
    let _alone = heavy();
    let pages = ["gateway", "moving"];
    let old = Machine::new(&pages);
    old.share_package("", VERSION);
    old.run("moving");
    let new = Machine::new(&pages);
    new.share_package("", VERSION);
    let packed = old.out().join("gateway.tar.gz");
    new.share(packed.to_str().expect("text"), "gateway.tar.gz");
    new.run("moving");
}
