//! Which rows of a refused request are to blame (pure).
//!
//! QuestDB refuses a request as a whole. When it names the line, that row is taken out and the rest goes on; when it
//! does not, the request is halved until one row is left. A table of which nothing is accepted, also where rows from all
//! over the batch are tried one by one, has all its rows taken out, so that it cannot hold up the others. The same goes for a column that
//! refuses every value of a form: one request each would not keep up with a flow of which half is bad.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use super::{
    refused::Fault,
    seeded::{Bug, is_on},
};

/// Rows of a table refused, with none accepted, after which rows from all over the batch are tried one by one.
pub const DOUBTFUL_AFTER: u32 = 32;
/// So many of those refused condemn the rest of the table's rows in the batch. One accepted is sent again in its turn,
/// so that an old row never overwrites a newer one.
pub const PROBES: usize = 8;
/// The same for a column and the form of a value, which QuestDB names.
pub const FAULT_DOUBTFUL_AFTER: u32 = 2;
/// See [`PROBES`].
pub const FAULT_PROBES: usize = 4;
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
        /// The number of the column's name, when QuestDB named it.
        column: Option<u64>,
    },
}

/// What the rows of a batch are made of.
#[derive(Debug, Default)]
pub struct Shapes {
    /// Each row's shape, by number.
    pub of_rows: Vec<u32>,
    /// The values of a shape.
    pub values: Vec<Vec<Fault>>,
}

/// Rows that may have to be taken out together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Group {
    /// A table's.
    Table(u32),
    /// Those of a table with such a value.
    Fault(u32, Fault),
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
    shapes: Shapes,
    /// Refusals by column and form.
    faults: HashMap<(u32, Fault), u32>,
    /// Shapes of which a table has accepted a row.
    accepted: HashSet<(u32, u32)>,
    /// Rows of a doubtful group to be tried by themselves, the next one last.
    probes: Vec<usize>,
    /// The group, and whether each of them was refused for what makes it doubtful.
    probed: Option<(Group, bool)>,
    /// Tables that are doubtful from the start.
    suspects: Vec<u32>,
    condemned: HashSet<u32>,
    /// With a row that was refused for it.
    condemned_faults: HashMap<(u32, Fault), usize>,
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
            shapes: Shapes::default(),
            faults: HashMap::new(),
            accepted: HashSet::new(),
            probes: Vec::new(),
            probed: None,
            suspects: suspects.iter().copied().collect(),
            condemned: HashSet::new(),
            condemned_faults: HashMap::new(),
            tables,
        }
    }

    /// The same, knowing what the rows are made of.
    #[must_use]
    pub fn with_shapes(self, shapes: Shapes) -> Self {
        Self { shapes, ..self }
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
            self.probe(Group::Table(table), PROBES);
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
                    self.accept(row);
                }
                self.ranges.pop();
                self.chunk = self.chunk.saturating_mul(2);
                Vec::new()
            }
            Answer::Refused { line, column } => {
                let rows = self.left(&range).count();
                let named = line.and_then(|line| self.left(&range).nth(line.saturating_sub(1)));
                match named {
                    Some(row) => self.line_refused(&range, row, column),
                    None if rows == 1 => {
                        let row = self.left(&range).next().unwrap_or(range.start);
                        self.take_out(row, column)
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

    fn accept(&mut self, row: usize) {
        let table = self.tables[row];
        self.tallies.entry(table).or_default().accepted = true;
        if let Some(shape) = self.shapes.of_rows.get(row) {
            self.accepted.insert((table, *shape));
        }
    }

    /// Rows before the named one were read without complaint.
    fn line_refused(&mut self, range: &Range<usize>, row: usize, column: Option<u64>) -> Vec<usize> {
        for before in self.left(&(range.start..row)).collect::<Vec<_>>() {
            self.accept(before);
        }
        self.chunk = (self.chunk.min(range.len()) * 3 / 4).max(LEAST_CHUNK);
        self.take_out(row, column)
    }

    /// What a row was refused for.
    fn fault(&self, row: usize, column: Option<u64>) -> Option<Fault> {
        let values = self.shapes.values.get(*self.shapes.of_rows.get(row)? as usize)?;
        values.iter().find(|value| Some(value.column) == column).copied()
    }

    fn has_fault(&self, shape: u32, fault: Fault) -> bool {
        self.shapes.values.get(shape as usize).is_some_and(|values| values.contains(&fault))
    }

    fn take_out(&mut self, row: usize, column: Option<u64>) -> Vec<usize> {
        let table = self.tables[row];
        self.out[row] = true;
        let tally = self.tallies.entry(table).or_default();
        tally.refused += 1;
        let is_hopeless = tally.refused >= DOUBTFUL_AFTER && !tally.accepted;
        if let Some(fault) = self.fault(row, column) {
            let refused = self.faults.entry((table, fault)).or_default();
            *refused += 1;
            let is_doubtful = *refused >= FAULT_DOUBTFUL_AFTER;
            let is_accepted = |(of, shape): &(u32, u32)| *of == table && self.has_fault(*shape, fault);
            if is_doubtful && !self.accepted.iter().any(is_accepted) {
                self.probe(Group::Fault(table, fault), FAULT_PROBES);
                return vec![row];
            }
        }
        if is_hopeless {
            self.probe(Group::Table(table), PROBES);
        }
        vec![row]
    }

    /// Has rows of a group tried by themselves, from the end towards the start, evenly.
    fn probe(&mut self, group: Group, most: usize) {
        let left: Vec<_> = self.left_of(group).collect();
        let probes = most.min(left.len());
        self.probes = (0..probes).map(|n| left[(n + 1) * left.len() / probes - 1]).collect();
        self.probed = Some((group, true));
        if let Group::Table(table) = group
            && left.is_empty()
        {
            self.condemned.insert(table);
        }
    }

    /// Columns and forms of a table of which nothing was accepted, each with a row that was refused for it.
    pub fn condemned_faults(&self) -> &HashMap<(u32, Fault), usize> {
        &self.condemned_faults
    }

    /// Tables of which nothing was accepted, so that all their rows are taken out.
    pub fn condemned(&self) -> &HashSet<u32> {
        &self.condemned
    }

    /// The rows of a table with such a value, taken out or not.
    pub fn rows_with(&self, table: u32, fault: Fault) -> impl Iterator<Item = usize> {
        let has = move |row: &usize| self.shapes.of_rows.get(*row).is_some_and(|shape| self.has_fault(*shape, fault));
        (0..self.tables.len()).filter(move |row| self.tables[*row] == table && has(row))
    }

    fn left_of(&self, group: Group) -> impl Iterator<Item = usize> {
        let (table, fault) = match group {
            Group::Table(table) => (table, None),
            Group::Fault(table, fault) => (table, Some(fault)),
        };
        let has =
            move |row: usize, fault| self.shapes.of_rows.get(row).is_some_and(|shape| self.has_fault(*shape, fault));
        (0..self.tables.len()).filter(move |row| {
            self.tables[*row] == table && !self.out[*row] && fault.is_none_or(|fault| has(*row, fault))
        })
    }

    fn probed(&mut self, row: usize, answer: Answer) -> Vec<usize> {
        let Answer::Refused { column, .. } = answer else {
            self.accept(row);
            self.probes.clear();
            return Vec::new();
        };
        self.out[row] = true;
        let mut taken = vec![row];
        let Some((group, is_certain)) = &mut self.probed else { return taken };
        if let Group::Fault(_, fault) = group {
            // A row that is refused for something else says nothing of this.
            *is_certain &= column == Some(fault.column);
        }
        let (group, is_certain) = (*group, *is_certain);
        if self.probes.is_empty() && is_certain {
            match group {
                Group::Table(table) => drop(self.condemned.insert(table)),
                Group::Fault(table, fault) => drop(self.condemned_faults.insert((table, fault), row)),
            }
            taken.extend(self.left_of(group));
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
    use crate::questdb::fit::FormKind;

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
                Answer::Refused { line: names_lines.then_some(at + 1), column: None }
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
            let answer = if bad { Answer::Refused { line: None, column: None } } else { Answer::Stored };
            out += isolation.answer(answer).len();
        }
        assert_eq!((requests, out, isolation.condemned()), (PROBES + 1, 5_000, &HashSet::from([1])));
    }

    const TEXT: Fault = Fault { column: 7, form: FormKind::Text };
    const NUMBER: Fault = Fault { column: 7, form: FormKind::Double };

    /// Rows of one table: every `n`th is of text, and refused where `refused` says so. Requests, rows taken out, whether the form is
    /// condemned.
    fn play_forms(rows: usize, every: usize, refused: impl Fn(usize) -> bool) -> (usize, HashSet<usize>, bool) {
        let of_rows = (0..rows).map(|row| u32::from(row % every == 0)).collect();
        let shapes = Shapes { of_rows, values: vec![vec![NUMBER], vec![TEXT]] };
        let mut isolation = Isolation::new(vec![0; rows], &HashSet::new()).with_shapes(shapes);
        let (mut requests, mut out) = (0, HashSet::new());
        while let Step::Send(range) = isolation.step() {
            requests += 1;
            let mut sent = range.filter(|row| !isolation.is_out(*row));
            let at = sent.position(|row| row % every == 0 && refused(row));
            let answer = at.map_or(Answer::Stored, |at| Answer::Refused { line: Some(at + 1), column: Some(7) });
            out.extend(isolation.answer(answer));
        }
        (requests, out, isolation.condemned_faults().contains_key(&(0, TEXT)))
    }

    #[test]
    fn a_column_that_refuses_a_form_costs_a_handful_of_requests() {
        for (rows, every) in [(1_000, 2), (1_000, 20), (10_000, 2), (50, 10)] {
            let (requests, out, is_condemned) = play_forms(rows, every, |_| true);
            let bad: HashSet<_> = (0..rows).step_by(every).collect();
            assert!(requests <= 12 && is_condemned && out == bad, "{requests} for {rows}");
        }
    }

    #[test]
    fn a_column_that_takes_some_of_a_form_condemns_none() {
        // The good ones come last.
        for from in [20, 500, 990] {
            let (_, out, is_condemned) = play_forms(1_000, 2, |row| row < from);
            assert!(!is_condemned);
            assert_eq!(out, (0..from).step_by(2).collect());
        }
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
