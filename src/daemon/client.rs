//! Under which client id the broker knows this ring's session: a changed one leaves the old session at the broker.

use crate::ring::{Ring, StateKind, States};

/// Remembers the client id, and says so where it was another one.
pub(super) fn remember(ring: &Ring, client_id: &str) {
    let former: Vec<String> = ring.with_states(|states| others(states, client_id));
    for old in &former {
        tracing::warn!("{}", left_behind(old, client_id));
        // To remove an entry needs no room.
        let _ = ring.set_state(StateKind::CLIENT, old.as_bytes(), None);
    }
    if let Err(error) = ring.set_state(StateKind::CLIENT, client_id.as_bytes(), Some(&[])) {
        tracing::warn!(%error, "mqtt.client_id cannot be remembered");
    }
}

/// The client ids that are remembered, other than this one.
pub fn others(states: &States, client_id: &str) -> Vec<String> {
    let text = |(key, _): (&[u8], &[u8])| String::from_utf8(key.to_vec()).ok();
    states.all(StateKind::CLIENT).filter_map(text).filter(|old| old != client_id).collect()
}

/// What a changed client id means.
#[must_use]
pub fn left_behind(old: &str, new: &str) -> String {
    format!(
        "mqtt.client_id: the session at the broker has been {old:?} so far; under {new:?} it is another one, and the broker keeps the \
         old one with its subscriptions and with what waits in it: go back to {old:?} until nothing waits, or end it, as with \
         mosquitto_sub -i {old} -t x -E"
    )
}
