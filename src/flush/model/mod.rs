//! What a flush costs: `fixed + per_row · rows + per_byte · bytes`, fitted to measured flushes (pure).
//!
//! A weighted least-squares line through the flushes that are remembered: the last few of each size class, so that a flow of
//! batches of one size, which says nothing about the cost of a row, leaves what is known of it as it was. Older ones count
//! less. Errors are weighed relative to the time itself, and those far off count less (a stalled flush moves the line
//! little); when [`WRONG_AFTER`] of the last [`WINDOW`] are far off, the line is wrong, and all before them is forgotten.

mod fit;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, time::Duration};

use self::fit::{Belief, Costs, Line, Point, fit};

/// Measurements far off, among the last [`WINDOW`], that show the line to be wrong.
const WRONG_AFTER: usize = 4;
/// See [`WRONG_AFTER`].
const WINDOW: usize = 6;
/// Flushes within which the model follows a change of regime, as far as their sizes tell the costs apart.
pub const FOLLOWS_WITHIN: usize = 8 * WINDOW;
/// Errors beyond so many usual ones are far off.
const FAR: f64 = 4.0;
/// Classes of sizes, by powers of two of their rows.
const CLASSES: usize = 18;
/// Flushes of a class that are remembered.
const REMEMBERED: usize = 8;
/// What is left of a measurement's weight after one more.
const FADE: f64 = 0.96;
/// Weight of a flush that paid for more than its rows.
const UNUSUAL_WEIGHT: f64 = 0.2;
/// Weight that a remembered measurement keeps, as long as its class has no newer ones.
const LEAST_WEIGHT: f64 = 0.03;
/// Least usual error, as a fraction of the time: what a quiet machine varies by.
const LEAST_ERROR: f64 = 0.05;
/// Most usual error.
const MOST_ERROR: f64 = 1.0;
/// Usual error before anything is measured, and after a change of regime.
const FIRST_ERROR: f64 = 0.2;
/// Step by which the usual error follows the errors.
const ERROR_STEP: f64 = 1.1;
/// Rounds of reweighing a fit: outliers are told by the line, which they help to draw.
const ROUNDS: usize = 2;
/// The same when the line is drawn anew.
const ROUNDS_ANEW: usize = 5;
/// Standard deviation over the median of absolute errors (of a normal distribution).
const DEVIATION: f64 = 1.4826;
/// What is believed before anything is measured (measured on loopback: about 1 ms and 0.7 µs a row).
const PRIOR: Costs = Costs([2e-3, 1e-6, 0.0]);
/// Bytes of a row before anything is measured.
const PRIOR_ROW_BYTES: f64 = 100.0;
/// The flush that the prior is stated for.
const PRIOR_FLUSH: Point = Point { x: [1.0, 1_000.0, 1_000.0 * PRIOR_ROW_BYTES], took_s: 3e-3 };
/// Weight of the newest flush in the bytes of a row.
const WIDTH_GAIN: f64 = 0.2;

/// A flush that was stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flushed {
    /// Its rows.
    pub rows: usize,
    /// Its bytes, as encoded.
    pub bytes: usize,
    /// From sending it to its answer.
    pub took: Duration,
}

/// A measurement that is remembered.
#[derive(Debug, Clone, Copy)]
struct Memory {
    point: Point,
    /// Its number.
    at: u64,
    /// What is left of its weight.
    weight: f64,
}

/// The fitted costs of a flush.
#[derive(Debug, Clone)]
pub struct Model {
    belief: Belief,
    line: Line,
    classes: [VecDeque<Memory>; CLASSES],
    row_bytes: f64,
    /// Median of the relative errors.
    usual_error: f64,
    last_error: f64,
    /// Whether each of the last measurements was far off.
    far: VecDeque<bool>,
    measurements: u64,
}

impl Default for Model {
    fn default() -> Self {
        let belief = Belief::around(PRIOR, PRIOR_FLUSH);
        Self {
            belief,
            line: Line::believed(&belief, FIRST_ERROR * DEVIATION),
            classes: Default::default(),
            row_bytes: PRIOR_ROW_BYTES,
            usual_error: FIRST_ERROR,
            last_error: 0.0,
            far: VecDeque::with_capacity(WINDOW),
            measurements: 0,
        }
    }
}

impl Model {
    /// Takes in a stored flush. One without rows says nothing.
    pub fn observe(&mut self, flush: Flushed) {
        if flush.rows == 0 {
            return;
        }
        self.measurements += 1;
        let point = self.take(flush);
        let expected = self.line.costs.at(point.x);
        self.last_error = (point.took_s - expected) / expected.max(1e-9);
        let error = (point.took_s - expected).abs() / point.took_s.min(expected).max(1e-6);
        let is_far = error > FAR * self.usual_error * DEVIATION;
        let is_first = self.classes.iter().all(VecDeque::is_empty);
        self.remember(point, 1.0);
        let mut rounds = ROUNDS;
        if let Some(kept) = if is_first { Some(1) } else { self.is_wrong(is_far) } {
            self.begin_anew(kept);
            rounds = ROUNDS_ANEW;
        } else {
            self.note_error(error);
        }
        self.draw(rounds);
    }

    /// Takes in a flush that paid for more than its rows (a new connection, a changed table): it counts little, and says nothing
    /// of errors.
    pub fn observe_unusual(&mut self, flush: Flushed) {
        if flush.rows == 0 {
            return;
        }
        self.measurements += 1;
        let point = self.take(flush);
        let is_first = self.classes.iter().all(VecDeque::is_empty);
        self.remember(point, UNUSUAL_WEIGHT);
        if is_first {
            self.begin_anew(1);
        }
        self.draw(ROUNDS);
    }

    fn take(&mut self, flush: Flushed) -> Point {
        let (rows, bytes) = (flush.rows as f64, flush.bytes as f64);
        self.row_bytes += WIDTH_GAIN * (bytes / rows - self.row_bytes);
        Point { x: [1.0, rows, bytes], took_s: flush.took.as_secs_f64().max(1e-6) }
    }

    fn remember(&mut self, point: Point, weight: f64) {
        for memory in self.classes.iter_mut().flatten() {
            memory.weight = (memory.weight * FADE).max(LEAST_WEIGHT.min(memory.weight));
        }
        let class = &mut self.classes[(point.x[1] as u64).ilog2().min(CLASSES as u32 - 1) as usize];
        if class.len() == REMEMBERED {
            class.pop_front();
        }
        class.push_back(Memory { point, at: self.measurements, weight });
    }

    fn draw(&mut self, rounds: usize) {
        let line = fit(&self.belief, &self.weighed(), self.line.costs, self.usual_error * DEVIATION, rounds);
        self.line = line;
    }

    fn weighed(&self) -> impl Iterator<Item = (&Point, f64)> + Clone {
        self.classes.iter().flatten().map(|memory| (&memory.point, memory.weight))
    }

    /// Takes note of whether a measurement was far off; when too many were, the number of those since the first.
    fn is_wrong(&mut self, is_far: bool) -> Option<usize> {
        if self.far.len() == WINDOW {
            self.far.pop_front();
        }
        self.far.push_back(is_far);
        let first = self.far.iter().position(|far| *far)?;
        (self.far.iter().filter(|far| **far).count() >= WRONG_AFTER).then(|| self.far.len() - first)
    }

    /// Forgets all but the last `kept` measurements. What changed is told from what made up most of the time.
    fn begin_anew(&mut self, kept: usize) {
        let since = self.measurements - kept as u64;
        for class in &mut self.classes {
            class.retain(|memory| memory.at > since);
        }
        let points: Vec<_> = self.classes.iter().flatten().map(|memory| memory.point).collect();
        let typical = |of: fn(&Point) -> f64| median(points.iter().map(of).collect());
        let x = [1.0, typical(|point| point.x[1]), typical(|point| point.x[2])];
        self.belief = Belief::around(self.line.costs, Point { x, took_s: typical(|point| point.took_s) });
        self.usual_error = FIRST_ERROR;
        self.line = Line::believed(&self.belief, FIRST_ERROR * DEVIATION);
        self.far.clear();
    }

    /// Moves the usual error a step towards the median of the errors: however large an outlier is, it moves it no further.
    fn note_error(&mut self, error: f64) {
        let moved = if error > self.usual_error { ERROR_STEP } else { 1.0 / ERROR_STEP };
        self.usual_error = (self.usual_error * moved).clamp(LEAST_ERROR / DEVIATION, MOST_ERROR / DEVIATION);
    }

    /// Cost of a flush apart from its rows, in seconds.
    pub fn fixed_s(&self) -> f64 {
        self.line.costs.0[0]
    }

    /// Cost of each row of the present size, in seconds.
    pub fn per_row_s(&self) -> f64 {
        self.line.costs.0[1] + self.line.costs.0[2] * self.row_bytes
    }

    /// What a row may well cost at most, in seconds: two standard deviations above [`Self::per_row_s`].
    pub fn per_row_high_s(&self) -> f64 {
        self.per_row_s() + 2.0 * self.line.row_deviation_s(self.row_bytes)
    }

    /// The part of [`Self::per_row_s`] that comes with a row's bytes, in seconds a byte.
    pub fn per_byte_s(&self) -> f64 {
        self.line.costs.0[2]
    }

    /// Time a flush of that many rows of the present size is expected to take.
    pub fn predict(&self, rows: usize) -> Duration {
        Duration::from_secs_f64(self.fixed_s() + self.per_row_s() * rows as f64)
    }

    /// Spread of the times about what is expected, as a fraction of it: about two in three flushes are within one of it,
    /// nineteen in twenty within two. Outliers count as one measurement each, however far off they are.
    pub fn spread(&self) -> f64 {
        self.usual_error * DEVIATION
    }

    /// How far the last flush was off, as a fraction of what was expected: 1 is twice the time.
    pub fn last_error(&self) -> f64 {
        self.last_error
    }

    /// Flushes taken in.
    pub fn measurements(&self) -> u64 {
        self.measurements
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
