//! How many bytes of the ring a row takes: its record, and its part of the commits, which end
//! sectors and pages. Pure.

use std::time::Duration;

use super::layout::{CommitForm, commit_bytes, data_record_bytes, page_rest};

/// Rows do not come evenly: commits seal these parts of the mean.
const SPREAD: [f64; 3] = [0.5, 1.0, 1.5];
/// Commits that are looked at: the positions they end at repeat themselves long before.
const COMMITS: usize = 9_999;

/// Bytes a row takes in the ring where so many come a second, one a message, each with a body of so
/// many bytes, and commits are `spacing` apart.
#[must_use]
pub fn bytes_per_row(body_bytes: usize, rows_per_s: f64, spacing: Duration) -> f64 {
    let record = data_record_bytes(body_bytes);
    let commit_body = CommitForm::Third(1).body_bytes();
    // A commit is made when there is something to commit.
    let rows_per_commit = rows_per_s * spacing.as_secs_f64();
    let (mut at, mut rows, mut due) = (0u64, 0u64, 0.0f64);
    for spread in SPREAD.into_iter().cycle().take(COMMITS) {
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
        let of = |rate: f64| bytes_per_row(100, rate, spacing);
        let record = data_record_bytes(100) as f64;
        assert!((of(0.1) - of(100.0)).abs() < 1e-9, "each has a commit of its own");
        assert!(of(100.0) >= 400.0 && of(100.0) <= 1_024.0, "{}", of(100.0));
        assert!(of(500.0) < of(100.0) && of(5_000.0) < of(500.0));
        assert!(of(1e6) < record * 1.4 && of(1e6) >= record, "{}", of(1e6));
    }
}
