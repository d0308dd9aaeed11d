//! How many bytes of the ring a row takes: its record, and its part of the commits, which end
//! sectors and pages. Pure.

use std::time::Duration;

use super::{
    layout::{CommitForm, commit_bytes, data_record_bytes, page_rest, worthwhile_end},
    pace,
};
use crate::settings::CommitSpacing;

/// Rows do not come evenly: commits seal these parts of the mean.
const SPREAD: [f64; 3] = [0.5, 1.0, 1.5];
/// Commits that are looked at: the positions they end at repeat themselves long before.
const COMMITS: usize = 9_999;

/// Bytes a row takes in the ring where so many come a second, one a message, each with a body of so
/// many bytes.
#[must_use]
pub fn bytes_per_row(body_bytes: usize, rows_per_s: f64, spacing: CommitSpacing) -> f64 {
    let record = data_record_bytes(body_bytes);
    let commit_body = CommitForm::Third(1).body_bytes();
    // A commit is made when there is something to commit.
    let within = |spacing: Duration| rows_per_s * spacing.as_secs_f64();
    let (mut at, mut rows, mut due) = (0u64, 0u64, 0.0f64);
    for spread in SPREAD.into_iter().cycle().take(COMMITS) {
        let rows_per_commit = match spacing {
            CommitSpacing::Fixed(spacing) => within(spacing),
            // As soon as a page's worth has come, between both bounds.
            CommitSpacing::Auto => {
                let room = worthwhile_end(at).saturating_sub(at + commit_bytes(at, commit_body));
                ((room / record) as f64 / spread).clamp(within(pace::LEAST), within(pace::LONGEST))
            }
        };
        due += (rows_per_commit * spread).max(1.0);
        let sealed = due as u64;
        due -= sealed as f64;
        let start = at;
        rows += sealed;
        at += sealed * record;
        at += commit_bytes(at, commit_body);
        at += page_rest(at, at - start);
    }
    at as f64 / rows as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_rows_pay_for_a_commit_each_and_many_share_one() {
        let spacing = Duration::from_millis(5);
        let of = |rate: f64| bytes_per_row(100, rate, CommitSpacing::Fixed(spacing));
        let record = data_record_bytes(100) as f64;
        assert!((of(0.1) - of(100.0)).abs() < 1e-9, "each has a commit of its own");
        assert!(of(100.0) >= 400.0 && of(100.0) <= 1_024.0, "{}", of(100.0));
        assert!(of(500.0) < of(100.0) && of(5_000.0) < of(500.0));
        assert!(of(1e6) < record * 1.4 && of(1e6) >= record, "{}", of(1e6));
    }
    #[test]
    fn the_default_costs_frequent_rows_little_more_than_their_records() {
        let record = data_record_bytes(100) as f64;
        let of = |rate: f64| bytes_per_row(100, rate, CommitSpacing::Auto);
        for rate in [500.0, 1_000.0, 2_000.0, 20_000.0] {
            assert!(of(rate) >= record && of(rate) <= 1.6 * record, "{rate} rows/s: {} of {record}", of(rate));
        }
        assert!(of(1.0) > 2.0 * record, "a commit each: {}", of(1.0));
    }
}
