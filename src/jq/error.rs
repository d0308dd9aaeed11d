//! Why a document gave no rows.

use std::time::Duration;

use super::limits::{MAX_OUTPUT_BYTES, MAX_ROWS_PER_MESSAGE, MEMORY_LIMIT_BYTES, TIME_LIMIT};

/// Longest text of the program's own in an error, in characters.
const MAX_SAID: usize = 200;

/// Why a jq program made no rows of a document.
///
/// The first four leave the program's worker as it is. The others cost it its life, or it had none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JqError {
    /// The document is no JSON, or nested too deeply: what is wrong, with the place.
    #[error("the document is not JSON: {0}")]
    NotJson(String),
    /// The program gave an error for this document: jq's own words, cut to a length.
    #[error("its jq program failed: {0}")]
    Failed(String),
    /// The program gave more rows than a message may have.
    #[error("its jq program made more than {MAX_ROWS_PER_MESSAGE} rows of one message")]
    TooManyRows,
    /// The rows together are too large.
    #[error("its jq program made more than {} MiB of one message", MAX_OUTPUT_BYTES >> 20)]
    TooLarge,
    /// The program was still at it at the end of its time.
    #[error("its jq program took longer than {} for one message; its worker was ended", seconds(TIME_LIMIT))]
    TooSlow,
    /// The program took too much memory.
    #[error(
        "its jq program took more than {} MiB of memory for one message; its worker was ended",
        MEMORY_LIMIT_BYTES >> 20
    )]
    TooMuchMemory,
    /// No worker could be started: why.
    #[error("the worker of its jq program cannot be started: {0}")]
    NotStarted(String),
    /// The worker ended by itself: how.
    #[error("the worker of its jq program ended ({0}), as one does whose program calls itself without end")]
    Ended(String),
    /// Its last workers ended one after the other.
    #[error("its jq program has ended its last {workers} workers; it is tried again in {}", seconds(*wait))]
    Refused {
        /// How many it has ended, one after the other.
        workers: u32,
        /// Until it is tried again.
        wait: Duration,
    },
}

impl JqError {
    /// What the program said itself, cut to a length.
    pub(super) fn failed(said: &str) -> Self {
        Self::Failed(cut(said))
    }

    /// Whether it cost the program's worker its life, or there was none.
    pub(super) fn costs_a_worker(&self) -> bool {
        matches!(self, Self::TooSlow | Self::TooMuchMemory | Self::NotStarted(_) | Self::Ended(_))
    }
}

/// The text, its beginning only where it is long, on one line.
pub(super) fn cut(text: &str) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut start: String = chars.by_ref().take(MAX_SAID).collect();
    if chars.next().is_some() {
        start.push('…');
    }
    start
}

/// A time in whole seconds, begun ones counted as whole.
fn seconds(time: Duration) -> String {
    let whole = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    format!("{whole} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_plain_sentences() {
        let refused = JqError::Refused { workers: 3, wait: Duration::from_millis(59_001) };
        for (error, said) in [
            (JqError::failed("a\nb"), "its jq program failed: a b"),
            (JqError::TooManyRows, "its jq program made more than 10000 rows of one message"),
            (JqError::TooLarge, "its jq program made more than 16 MiB of one message"),
            (JqError::TooSlow, "its jq program took longer than 1 s for one message; its worker was ended"),
            (
                JqError::TooMuchMemory,
                "its jq program took more than 64 MiB of memory for one message; its worker was ended",
            ),
            (refused, "its jq program has ended its last 3 workers; it is tried again in 60 s"),
        ] {
            assert_eq!(error.to_string(), said);
        }
    }

    #[test]
    fn what_a_program_says_is_cut() {
        assert_eq!(cut(&"ä".repeat(MAX_SAID)), "ä".repeat(MAX_SAID));
        assert_eq!(cut(&"ä".repeat(MAX_SAID + 1)), format!("{}…", "ä".repeat(MAX_SAID)));
    }
}
