//! Talking to the service manager: `sd_notify(3)`. Everything is silent where `NOTIFY_SOCKET` is absent.

use std::time::Duration;

use sd_notify::NotifyState;

/// The service manager, if one listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct ServiceManager;

impl ServiceManager {
    /// Whether one listens.
    #[must_use]
    pub fn is_there(self) -> bool {
        std::env::var_os("NOTIFY_SOCKET").is_some()
    }

    /// `READY=1`: a reload is finished. The status stays.
    pub fn reloaded(self) {
        send(&[NotifyState::Ready]);
    }

    /// `READY=1`: start-up is finished.
    pub fn ready(self, status: &str) {
        send(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
    }

    /// `STATUS=`: the line that `systemctl status` shows.
    pub fn status(self, status: &str) {
        send(&[NotifyState::Status(&one_line(status))]);
    }

    /// `RELOADING=1` with `MONOTONIC_USEC`, which `Type=notify-reload` asks for; follow it with
    /// [`Self::reloaded`].
    pub fn reloading(self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => send(&[NotifyState::Reloading, now]),
            Err(_) => send(&[NotifyState::Reloading]),
        }
    }

    /// `STOPPING=1`, asking that the stop be given `within` before it is cut short.
    pub fn stopping(self, within: Duration, status: &str) {
        send(&[NotifyState::Stopping, extend(within), NotifyState::Status(&one_line(status))]);
    }

    /// `EXTEND_TIMEOUT_USEC=`: asks for `by` from now on, while starting (recovery) or stopping (draining).
    pub fn extend_timeout(self, by: Duration) {
        send(&[extend(by)]);
    }

    /// `WATCHDOG=1`: still alive. Call it only while [`super::heartbeat::Heartbeats::overdue`] names nobody.
    pub fn feed_watchdog(self) {
        send(&[NotifyState::Watchdog]);
    }

    /// The unit's `WatchdogSec=`: without being fed for so long the manager ends the process
    /// (`sd_watchdog_enabled(3)`). None when it is off or meant for another process.
    #[must_use]
    pub fn watchdog_time(self) -> Option<Duration> {
        let var = |name| std::env::var(name).ok();
        watchdog_time(var("WATCHDOG_USEC").as_deref(), var("WATCHDOG_PID").as_deref(), std::process::id())
    }
}

fn extend(by: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(by.as_micros()).unwrap_or(u32::MAX))
}

/// The protocol is line by line: a line break in a status would start a new assignment.
fn one_line(status: &str) -> String {
    status.replace(['\n', '\r'], " ")
}

fn watchdog_time(usec: Option<&str>, pid: Option<&str>, own_pid: u32) -> Option<Duration> {
    let micros: u64 = usec?.parse().ok().filter(|&micros| micros > 0)?;
    if pid.is_some_and(|pid| pid.parse() != Ok(own_pid)) {
        return None;
    }
    Some(Duration::from_micros(micros))
}

/// A manager that can't be told is no reason to stop working; it is said once a time at debug level.
fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager could not be notified (NOTIFY_SOCKET)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_s_time_is_the_unit_s() {
        assert_eq!(watchdog_time(Some("30000000"), None, 7), Some(Duration::from_secs(30)));
        assert_eq!(watchdog_time(Some("30000000"), Some("7"), 7), Some(Duration::from_secs(30)));
    }

    #[test]
    fn a_watchdog_that_is_off_or_another_process_s_is_left_alone() {
        for (usec, pid) in [
            (None, None),
            (Some("0"), None),
            (Some("soon"), None),
            (Some("-5"), None),
            (Some("30000000"), Some("8")),
            (Some("30000000"), Some("")),
        ] {
            assert_eq!(watchdog_time(usec, pid, 7), None, "{usec:?} {pid:?}");
        }
    }

    #[test]
    fn a_status_stays_one_assignment() {
        assert_eq!(one_line("a\nREADY=1\r"), "a READY=1 ");
    }

    #[test]
    fn a_very_long_stop_asks_for_the_most_the_protocol_can_say() {
        assert_eq!(extend(Duration::from_hours(2)).to_string(), format!("EXTEND_TIMEOUT_USEC={}", u32::MAX));
    }

    #[test]
    fn nothing_happens_without_a_manager() {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            ServiceManager.ready("ok");
            ServiceManager.reloading();
            ServiceManager.stopping(Duration::from_secs(1), "bye");
            ServiceManager.extend_timeout(Duration::from_secs(1));
            ServiceManager.feed_watchdog();
        }
    }
}
