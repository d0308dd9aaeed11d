//! The state that outlives the tail, out of a file.

use super::{InspectError, RingFile, Seen};
use crate::ring::States;

impl RingFile {
    /// The state as the file tells it. `keep_on` is asked now and then whether to go on; none where it said no.
    pub fn states(&self, keep_on: &mut dyn FnMut() -> bool) -> Result<Option<States>, InspectError> {
        let mut states = States::new(usize::MAX);
        let mut walk = self.walk();
        while let Some(seen) = walk.next().map_err(|source| self.failed(source))? {
            if let Seen::Frame { at, state, .. } = &seen {
                if !keep_on() {
                    return Ok(None);
                }
                states.apply(state, at.pos.0);
            }
        }
        Ok(Some(states))
    }
}
