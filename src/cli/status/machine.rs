//! What the daemon takes of the machine, and what is left of it.

use serde_json::Value;

use super::screen::Screen;
use crate::cli::{
    document::Document,
    out::{human_bytes, span},
};

pub(super) fn show(screen: &mut Screen, status: &Document<'_>) {
    screen.group("Machine");
    let up_s = status.number("/uptime_s");
    let version = status.text("/version").unwrap_or_default();
    screen.line("forebay", &format!("{version}, up {}, pid {}", span(up_s * 1e3), status.integer("/pid")));
    let machine = status.at("/machine");
    let memory = machine.known("/memory_bytes").map(|bytes| format!("{} of memory", human_bytes(bytes as u64)));
    let share = |cpu_s: f64| format!("{:.1} % of a processor since the start", 100.0 * cpu_s / up_s.max(0.001));
    let taken: Vec<String> = memory.into_iter().chain(machine.known("/cpu_s").map(share)).collect();
    if !taken.is_empty() {
        screen.more(&taken.join(", "));
    }
    let disk = machine.known("/ring_disk_free_bytes").zip(machine.known("/ring_disk_bytes"));
    if let Some((free, size)) = disk {
        let [free, size] = [free, size].map(|bytes| human_bytes(bytes as u64));
        screen.line("disk", &format!("{free} of {size} free where the ring is"));
    }
    // A daemon that says nothing of the clock is older.
    match status.0.pointer("/clock/trusted").and_then(Value::as_bool) {
        Some(true) => screen.line("clock", "taken to be right"),
        Some(false) => screen.line(
            "clock",
            "not known to be right: no time service keeps it so far; no reading is refused for its time",
        ),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Document, render};

    #[test]
    fn a_clock_in_doubt_is_told() {
        let of = |trusted: bool| render(&Document(&json!({ "clock": { "trusted": trusted } })), true);
        assert!(of(false).contains("clock       not known to be right"), "{}", of(false));
        assert!(of(true).contains("clock       taken to be right"), "{}", of(true));
        assert!(!render(&Document(&json!({})), true).contains("clock"));
    }

    #[test]
    fn what_is_taken_and_left_is_told() {
        let status = json!({
            "version": "9.9.9", "pid": 7, "uptime_s": 200.0,
            "machine": { "memory_bytes": 12_582_912, "cpu_s": 3.0, "ring_disk_free_bytes": 1_610_612_736, "ring_disk_bytes": 4_294_967_296_u64 },
        });
        let text = render(&Document(&status), false);
        for part in [
            "forebay     9.9.9, up 3 min, pid 7",
            "12.0 MiB of memory, 1.5 % of a processor since the start",
            "1.5 GiB of 4.0 GiB free where the ring is",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
