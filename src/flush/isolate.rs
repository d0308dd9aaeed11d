//! Which rows of a refused request are to blame (pure).
//!
//! QuestDB refuses a request as a whole. When it names the line, that row is taken out and the rest goes on; when it
//! does not, the request is halved until one row is left. A table of which nothing is accepted, also where rows from all
//! over the batch are tried one by one, has all its rows taken out, so that it cannot hold up the others.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use super::seeded::{Bug, is_on};

/// Rows of a table refused, with none accepted, after which rows from all over the batch are tried one by one.
pub const DOUBTFUL_AFTER: u32 = 32;
/// So many of those refused condemn the rest of the table's rows in the batch. One accepted is sent again in its turn,
/// so that an old row never overwrites a newer one.
pub const PROBES: usize = 8;
/// Requests shrink to no fewer rows while lines are being refused.
const LEAST_CHUNK: usize = 64;

/// How QuestDB answered a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Stored.
    Stored,
    /// Refused; the number of the offending line among the rows sent, from 1, when QuestDB named it.
    Refused {
        /// From 1.
        line: Option<usize>,
    },
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send the rows of this range that are not taken out.
    Send(Range<usize>),
    /// All rows are stored or taken out.
    Done,
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    refused: u32,
    accepted: bool,
}

/// The search within one batch. Rows are numbered from 0 in the order of the batch.
#[derive(Debug)]
pub struct Isolation {
    tables: Vec<u32>,
    out: Vec<bool>,
    ranges: Vec<Range<usize>>,
    tallies: HashMap<u32, Tally>,
    chunk: usize,
    /// Rows of a doubtful table to be tried by themselves, the next one last.
    probes: Vec<usize>,
    /// Tables that are doubtful from the start.
    suspects: Vec<u32>,
    condemned: HashSet<u32>,
}

impl Isolation {
    /// Starts with a batch of which each row's table is given as a number. Of tables that are suspected to refuse everything a few rows are
    /// tried before anything else.
    pub fn new(tables: Vec<u32>, suspects: &HashSet<u32>) -> Self {
        let rows = tables.len();
        Self {
            out: vec![false; rows],
            ranges: std::iter::once(0..rows).collect(),
            tallies: HashMap::new(),
            chunk: rows.max(1),
            probes: Vec::new(),
            suspects: suspects.iter().copied().collect(),
            condemned: HashSet::new(),
            tables,
        }
    }

    /// Whether a row is taken out.
    pub fn is_out(&self, row: usize) -> bool {
        self.out[row]
    }

    /// What to send now. Asked again without an answer in between, it says the same.
    pub fn step(&mut self) -> Step {
        while self.probes.is_empty()
            && let Some(table) = self.suspects.pop()
        {
            self.probe(table);
        }
        if let Some(&row) = self.probes.last() {
            return Step::Send(row..row + 1);
        }
        while let Some(range) = self.ranges.last().cloned() {
            if self.left(&range).next().is_none() {
                self.ranges.pop();
            } else if range.len() > self.chunk {
                self.split(range.start + self.chunk);
            } else {
                return Step::Send(range);
            }
        }
        Step::Done
    }

    fn left<'a>(&'a self, range: &Range<usize>) -> impl Iterator<Item = usize> + use<'a> {
        range.clone().filter(|row| !self.out[*row])
    }

    fn split(&mut self, at: usize) {
        if let Some(range) = self.ranges.pop() {
            self.ranges.extend([at..range.end, range.start..at]);
            if is_on(Bug::SuccessorsFirst) {
                let last = self.ranges.len() - 1;
                self.ranges.swap(last - 1, last);
            }
        }
    }

    /// Takes in the answer to what [`Self::step`] said to send; returns the rows that are taken out because of it.
    pub fn answer(&mut self, answer: Answer) -> Vec<usize> {
        if let Some(row) = self.probes.pop() {
            return self.probed(row, answer);
        }
        let Some(range) = self.ranges.last().cloned() else { return Vec::new() };
        match answer {
            Answer::Stored => {
                for row in self.left(&range).collect::<Vec<_>>() {
                    self.tallies.entry(self.tables[row]).or_default().accepted = true;
                }
                self.ranges.pop();
                self.chunk = self.chunk.saturating_mul(2);
                Vec::new()
            }
            Answer::Refused { line } => {
                let rows = self.left(&range).count();
                let named = line.and_then(|line| self.left(&range).nth(line.saturating_sub(1)));
                match named {
                    Some(row) => self.line_refused(&range, row),
                    None if rows == 1 => {
                        let row = self.left(&range).next().unwrap_or(range.start);
                        self.take_out(row)
                    }
                    None => {
                        let middle = self.left(&range).nth(rows / 2).unwrap_or(range.end);
                        self.split(middle);
                        Vec::new()
                    }
                }
            }
        }
    }

    /// Rows before the named one were read without complaint.
    fn line_refused(&mut self, range: &Range<usize>, row: usize) -> Vec<usize> {
        for before in self.left(&(range.start..row)).collect::<Vec<_>>() {
            self.tallies.entry(self.tables[before]).or_default().accepted = true;
        }
        self.chunk = (self.chunk.min(range.len()) * 3 / 4).max(LEAST_CHUNK);
        self.take_out(row)
    }

    fn take_out(&mut self, row: usize) -> Vec<usize> {
        let table = self.tables[row];
        self.out[row] = true;
        let tally = self.tallies.entry(table).or_default();
        tally.refused += 1;
        if tally.refused >= DOUBTFUL_AFTER && !tally.accepted {
            self.probe(table);
        }
        vec![row]
    }

    /// Has rows of a table tried by themselves, from the end towards the start, evenly.
    fn probe(&mut self, table: u32) {
        let left: Vec<_> = self.left_of(table).collect();
        let probes = PROBES.min(left.len());
        self.probes = (0..probes).map(|n| left[(n + 1) * left.len() / probes - 1]).collect();
        if left.is_empty() {
            self.condemned.insert(table);
        }
    }

    /// Tables of which nothing was accepted, so that all their rows are taken out.
    pub fn condemned(&self) -> &HashSet<u32> {
        &self.condemned
    }

    fn left_of(&self, table: u32) -> impl Iterator<Item = usize> {
        (0..self.tables.len()).filter(move |row| self.tables[*row] == table && !self.out[*row])
    }

    fn probed(&mut self, row: usize, answer: Answer) -> Vec<usize> {
        let table = self.tables[row];
        if answer == Answer::Stored {
            self.tallies.entry(table).or_default().accepted = true;
            self.probes.clear();
            return Vec::new();
        }
        self.out[row] = true;
        let mut taken = vec![row];
        if self.probes.is_empty() {
            self.condemned.insert(table);
            taken.extend(self.left_of(table));
            for row in &taken {
                self.out[*row] = true;
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Plays QuestDB: refuses a request that holds a bad row. Returns requests, rows taken out, and rows stored.
    fn play(tables: &[u32], bad: &HashSet<usize>, names_lines: bool) -> (usize, HashSet<usize>, HashSet<usize>) {
        let mut isolation = Isolation::new(tables.to_vec(), &HashSet::new());
        let (mut requests, mut out, mut stored) = (0, HashSet::new(), HashSet::new());
        while let Step::Send(range) = isolation.step() {
            requests += 1;
            let probing = !isolation.probes.is_empty();
            let sent: Vec<_> = range.filter(|row| !isolation.is_out(*row)).collect();
            let line = sent.iter().position(|row| bad.contains(row));
            let answer = if let Some(at) = line {
                Answer::Refused { line: names_lines.then_some(at + 1) }
            } else {
                // A probe is sent again in its turn.
                assert!(probing || sent.iter().all(|row| stored.insert(*row)), "a row was stored twice");
                Answer::Stored
            };
            for row in isolation.answer(answer) {
                assert!(out.insert(row));
            }
        }
        (requests, out, stored)
    }

    #[test]
    fn one_bad_row_costs_little() {
        let tables = vec![0; 50_000];
        for at in [0, 1, 25_000, 49_999] {
            let bad = HashSet::from([at]);
            let (requests, out, stored) = play(&tables, &bad, true);
            assert!(requests <= 3 && out == bad && stored.len() == 49_999, "{requests}");
            let (requests, out, _) = play(&tables, &bad, false);
            assert!(requests <= 2 * 16 + 2 && out == bad, "{requests}");
        }
    }

    #[test]
    fn a_hopeless_table_goes_at_once() {
        let tables: Vec<u32> = (0..10_000).map(|row| row % 2).collect();
        let bad: HashSet<_> = (0..10_000).filter(|row| row % 2 == 1).collect();
        for names_lines in [true, false] {
            let (requests, out, stored) = play(&tables, &bad, names_lines);
            assert!(requests < 400, "{requests}");
            assert_eq!((out, stored.len()), (bad.clone(), 5_000));
        }
    }

    #[test]
    fn a_table_known_to_refuse_everything_costs_a_handful_of_requests() {
        let tables: Vec<u32> = (0..10_000).map(|row| row % 2).collect();
        let mut isolation = Isolation::new(tables, &HashSet::from([1]));
        let (mut requests, mut out) = (0, 0);
        while let Step::Send(range) = isolation.step() {
            requests += 1;
            let bad = range.clone().any(|row| row % 2 == 1 && !isolation.is_out(row));
            let answer = if bad { Answer::Refused { line: None } } else { Answer::Stored };
            out += isolation.answer(answer).len();
        }
        assert_eq!((requests, out, isolation.condemned()), (PROBES + 1, 5_000, &HashSet::from([1])));
    }

    #[test]
    fn bad_rows_first_do_not_condemn_the_good_ones_behind_them() {
        for (bad_rows, good_rows) in [(32, 1), (32, 1_000), (40, 8), (200, 300), (1_000, 9_000)] {
            for other_tables in [1, 2] {
                let tables: Vec<u32> = (0..bad_rows + good_rows).map(|row| (row % other_tables) as u32).collect();
                let bad: HashSet<_> = (0..bad_rows).collect();
                for names_lines in [true, false] {
                    let (_, out, stored) = play(&tables, &bad, names_lines);
                    assert_eq!((&out, stored.len()), (&bad, good_rows));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn good_rows_among_many_bad_ones_are_stored(
            bad_first in 0usize..200, rows in prop::collection::vec(prop::bool::weighted(0.3), 0..300), names_lines: bool,
        ) {
            // The last row is good: the first probe finds it.
            let rows: Vec<bool> = std::iter::repeat_n(true, bad_first).chain(rows).chain([false]).collect();
            let bad: HashSet<_> = (0..rows.len()).filter(|row| rows[*row]).collect();
            let (_, out, stored) = play(&vec![0; rows.len()], &bad, names_lines);
            prop_assert_eq!(&out, &bad);
            prop_assert_eq!(stored.len(), rows.len() - bad.len());
        }

        #[test]
        fn good_rows_are_stored_once_and_bad_ones_taken_out(
            rows in prop::collection::vec((0u32..3, prop::bool::weighted(0.1)), 1..400), names_lines: bool,
        ) {
            let tables: Vec<_> = rows.iter().map(|(table, _)| *table).collect();
            let bad: HashSet<_> = rows.iter().enumerate().filter(|(_, (_, bad))| *bad).map(|(row, _)| row).collect();
            let (requests, out, stored) = play(&tables, &bad, names_lines);
            prop_assert!(bad.is_subset(&out));
            prop_assert_eq!(out.len() + stored.len(), rows.len());
            // However many are bad: the halving ends at single rows.
            prop_assert!(requests <= ((bad.len() + 1) * (2 * 9 + 2)).min(2 * rows.len() + 3 * PROBES));
        }
    }
}
