//! What the kernel says of its wall clock.

use rtime_clock::adjtime::{Timex, adjtimex};

/// The clock is not synchronised (`STA_UNSYNC`, adjtimex(2)).
const STA_UNSYNC: i32 = 0x40;
/// From this error on, in microseconds, the kernel itself takes the clock for not synchronised
/// (`NTP_PHASE_LIMIT`). Without a time service it stays there; with one that went away it gets
/// there within nine hours.
const MOST_ERROR_US: i64 = 16_000_000;

/// Whether some time service keeps the wall clock, whichever it is; none where the kernel does not
/// tell. A question needs no privilege.
pub fn is_synchronised() -> Option<bool> {
    let mut state = Timex::new();
    adjtimex(&mut state).ok()?;
    Some(is_kept(state.0.status, state.0.maxerror))
}

/// The same of the kernel's answer. chrony leaves the mark in place unless its configuration has
/// `rtcsync`, but says how large the clock's error is at most; nobody else does.
fn is_kept(status: i32, most_error_us: i64) -> bool {
    status & STA_UNSYNC == 0 || (1..MOST_ERROR_US).contains(&most_error_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_or_a_stated_error_tells_that_the_clock_is_kept() {
        assert!(is_kept(0x2001, 500_000), "ntpsec, timesyncd, chrony with rtcsync");
        assert!(is_kept(STA_UNSYNC | 1, 30_000), "chrony without rtcsync");
        assert!(!is_kept(STA_UNSYNC, MOST_ERROR_US), "since boot");
        assert!(!is_kept(STA_UNSYNC, 0), "nothing said");
    }

    #[test]
    fn the_kernel_of_this_machine_answers() {
        assert!(is_synchronised().is_some());
    }
}
