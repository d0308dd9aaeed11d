//! What a flush costs: `fixed + per_row · rows`, fitted to measured flushes (pure).
//!
//! A weighted least-squares line whose weights fade with each measurement, so that it follows a database whose speed
//! changes. A measurement far from the line counts only as far as the line's usual error allows, unless such
//! measurements keep coming: then the line is wrong, and forgets faster.

use std::time::Duration;

/// Weight left to a measurement after one more.
const FADE: f64 = 0.95;
/// The same while measurements keep disagreeing with the line on one side.
const FADE_WHEN_WRONG: f64 = 0.6;
/// Measurements in a row on one side, far off, that show the line to be wrong.
const WRONG_AFTER: u32 = 4;
/// Errors beyond so many usual ones are cut.
const CLIP: f64 = 3.0;
/// Least usual error, as a fraction of the measured time: what a quiet machine varies by.
const LEAST_ERROR: f64 = 0.05;
/// Step by which the usual error follows the errors.
const ERROR_STEP: f64 = 1.1;
/// The same while the line is wrong: so it follows a new regime in some flushes, and a run of outliers not far.
const ERROR_STEP_WHEN_WRONG: f64 = 1.5;
/// Most usual error, as a multiple of the mean time.
const MOST_ERROR: f64 = 1.0;
/// A cost of a row cannot be told from flushes whose sizes differ less than this (standard deviation over mean).
const LEAST_SPREAD: f64 = 0.05;
/// What is believed before anything is measured (measured on loopback: about 1 ms and 0.7 µs a row).
const PRIOR_FIXED_S: f64 = 2e-3;
const PRIOR_PER_ROW_S: f64 = 1e-6;
/// Weight of that belief, in measurements; it fades like one.
const PRIOR_WEIGHT: f64 = 1.0;
/// Sizes at which the belief stands for measurements.
const PRIOR_ROWS: [f64; 2] = [1.0, 1_000.0];

/// The fitted costs of a flush.
#[derive(Debug, Clone)]
pub struct Model {
    weight: f64,
    rows: f64,
    rows2: f64,
    time: f64,
    rows_time: f64,
    fixed_s: f64,
    per_row_s: f64,
    usual_error_s: f64,
    one_side: i32,
    measurements: u64,
}

impl Default for Model {
    fn default() -> Self {
        let mut model = Self {
            weight: 0.0,
            rows: 0.0,
            rows2: 0.0,
            time: 0.0,
            rows_time: 0.0,
            fixed_s: PRIOR_FIXED_S,
            per_row_s: PRIOR_PER_ROW_S,
            usual_error_s: 0.0,
            one_side: 0,
            measurements: 0,
        };
        for rows in PRIOR_ROWS {
            model.add(rows, PRIOR_FIXED_S + PRIOR_PER_ROW_S * rows, PRIOR_WEIGHT / 2.0);
        }
        model
    }
}

impl Model {
    /// Takes in a flush of `rows` rows that took `took`.
    pub fn observe(&mut self, rows: usize, took: Duration) {
        let rows = rows.max(1) as f64;
        let took = took.as_secs_f64();
        self.measurements += 1;
        let expected = self.predict_s(rows);
        let error = took - expected;
        let bound = CLIP * self.usual_error_s.max(LEAST_ERROR * took.min(expected)).max(1e-6);
        let trusted = if self.measurements <= 2 { took } else { expected + error.clamp(-bound, bound) };
        self.note_side(error, bound);
        let wrong = self.one_side.unsigned_abs() >= WRONG_AFTER;
        self.fade(if wrong { FADE_WHEN_WRONG } else { FADE });
        self.add(rows, trusted, 1.0);
        self.note_error(error.abs(), took.min(expected), if wrong { ERROR_STEP_WHEN_WRONG } else { ERROR_STEP });
        self.fit();
    }

    /// Moves the usual error a step towards the median of the errors: however large an outlier is, it moves it no further.
    fn note_error(&mut self, error: f64, time: f64, step: f64) {
        let least = (LEAST_ERROR * time).max(1e-6);
        let moved = if error > self.usual_error_s { step } else { 1.0 / step };
        self.usual_error_s = (self.usual_error_s * moved).min(MOST_ERROR * self.time / self.weight).max(least);
    }

    fn note_side(&mut self, error: f64, bound: f64) {
        let side = if error.abs() <= bound { 0 } else { error.signum() as i32 };
        self.one_side = match (side, self.one_side.signum()) {
            (0, _) => 0,
            (side, run) if side == run || run == 0 => self.one_side.saturating_add(side),
            (side, _) => side,
        };
    }

    fn fade(&mut self, by: f64) {
        for sum in [&mut self.weight, &mut self.rows, &mut self.rows2, &mut self.time, &mut self.rows_time] {
            *sum *= by;
        }
    }

    fn add(&mut self, rows: f64, time: f64, weight: f64) {
        self.weight += weight;
        self.rows += weight * rows;
        self.rows2 += weight * rows * rows;
        self.time += weight * time;
        self.rows_time += weight * rows * time;
    }

    /// Solves for the line; costs stay at or above zero, and a spread too small keeps the cost of a row as it was.
    fn fit(&mut self) {
        let (mean_rows, mean_time) = (self.rows / self.weight, self.time / self.weight);
        let variance = (self.rows2 / self.weight - mean_rows * mean_rows).max(0.0);
        let covariance = self.rows_time / self.weight - mean_rows * mean_time;
        let told_apart = variance.sqrt() > LEAST_SPREAD * mean_rows && variance > 0.0;
        let slope = if told_apart { covariance / variance } else { self.per_row_s };
        let slope = slope.clamp(0.0, mean_time / mean_rows);
        let fixed = mean_time - slope * mean_rows;
        if slope.is_finite() && fixed.is_finite() {
            self.per_row_s = slope;
            self.fixed_s = fixed.max(0.0);
        }
    }

    fn predict_s(&self, rows: f64) -> f64 {
        self.fixed_s + self.per_row_s * rows
    }

    /// Cost of a flush apart from its rows, in seconds.
    pub fn fixed_s(&self) -> f64 {
        self.fixed_s
    }

    /// Cost of each row, in seconds.
    pub fn per_row_s(&self) -> f64 {
        self.per_row_s
    }

    /// Time a flush of that many rows is expected to take.
    pub fn predict(&self, rows: usize) -> Duration {
        Duration::from_secs_f64(self.predict_s(rows as f64))
    }

    /// Flushes taken in.
    pub fn measurements(&self) -> u64 {
        self.measurements
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn feed(model: &mut Model, seed: u64, flushes: usize, fixed: f64, per_row: f64, outliers: bool) {
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..flushes {
            let rows = random.usize(1..5_000);
            let noise = 0.9 + 0.2 * random.f64();
            let slow = if outliers && random.u8(0..20) == 0 { 20.0 } else { 1.0 };
            model.observe(rows, Duration::from_secs_f64((fixed + per_row * rows as f64) * noise * slow));
        }
    }

    /// Noise is proportional, so a small flush is told no better than a share of the noise of the largest.
    fn assert_near(model: &Model, fixed: f64, per_row: f64, tolerance: f64) {
        let largest = fixed + per_row * 5_000.0;
        for rows in [200, 2_500, 5_000] {
            let truth = fixed + per_row * f64::from(rows);
            let told = model.predict(rows as usize).as_secs_f64();
            let allowed = tolerance * truth.max(0.2 * largest);
            assert!((told - truth).abs() < allowed, "{rows} rows: {told} instead of {truth}: {model:?}");
        }
    }

    proptest! {
        #[test]
        fn recovers_the_costs_from_noise(seed: u64, fixed_us in 300.0..50_000.0, row_ns in 200.0..20_000.0) {
            let (fixed, per_row) = (fixed_us * 1e-6, row_ns * 1e-9);
            let mut model = Model::default();
            feed(&mut model, seed, 300, fixed, per_row, false);
            assert_near(&model, fixed, per_row, 0.3);
        }

        #[test]
        fn outliers_do_not_carry_it_away(seed: u64) {
            let mut model = Model::default();
            feed(&mut model, seed, 300, 2e-3, 1e-6, true);
            assert_near(&model, 2e-3, 1e-6, 0.8);
        }

        #[test]
        fn follows_a_change(seed: u64) {
            let mut model = Model::default();
            feed(&mut model, seed, 200, 1e-3, 1e-6, false);
            feed(&mut model, seed ^ 1, 100, 40e-3, 1e-6, false);
            assert_near(&model, 40e-3, 1e-6, 0.3);
            feed(&mut model, seed ^ 2, 100, 1e-3, 30e-6, false);
            assert_near(&model, 1e-3, 30e-6, 0.3);
        }

        #[test]
        fn stays_finite_and_above_zero(flushes in prop::collection::vec((0usize..200_000, 0u64..100_000_000), 0..200)) {
            let mut model = Model::default();
            for (rows, micros) in flushes {
                model.observe(rows, Duration::from_micros(micros));
                prop_assert!(model.fixed_s().is_finite() && model.fixed_s() >= 0.0);
                prop_assert!(model.per_row_s().is_finite() && model.per_row_s() >= 0.0);
            }
        }
    }
}
