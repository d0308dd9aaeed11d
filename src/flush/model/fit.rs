//! The line itself: weighted least squares over the measurements that are remembered (pure).

/// Errors beyond so many usual ones count less.
const CLIP: f64 = 2.0;
/// Relative noise that a belief is weighed against. Not the usual error: while the line is wrong, that grows with it, and the
/// belief would hold it there.
const NOISE: f64 = 0.1;
/// How far a cost may be from what is believed at first, as a share of the whole time, beside a multiple of itself.
const FIRST_SHARES: [f64; 3] = [0.3, 0.3, 0.15];

/// A flush as the fit takes it: `[1, rows, bytes]`, and what it took.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    pub x: [f64; 3],
    pub took_s: f64,
}

/// What a flush costs: apart from its rows, each row, each byte, in seconds. None is negative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Costs(pub [f64; 3]);

impl Costs {
    /// The time expected at a point, in seconds.
    pub fn at(self, x: [f64; 3]) -> f64 {
        self.0.iter().zip(x).map(|(cost, x)| cost * x).sum()
    }

    /// Costs under which a flush takes that long, as near to these as can be in their logarithms: the cost that makes up most of
    /// the time is the one that changes most.
    pub fn leading_to(self, at: Point) -> Self {
        let now = self.at(at.x).max(1e-9);
        let ratio = (at.took_s / now).max(1e-9);
        let moved = |cost: f64, x: f64| cost * ratio.powf((cost * x / now).min(1.0));
        let [fixed, row, byte] = self.0;
        let (row_then, byte_then) = (moved(row, at.x[1]), moved(byte, at.x[2]));
        let rest = at.took_s - row_then * at.x[1] - byte_then * at.x[2];
        Self(if rest >= 0.0 { [rest, row_then, byte_then] } else { [fixed, row, byte].map(|cost| cost * ratio) })
    }
}

/// What is believed without the measurements: costs, and how far off each may be.
#[derive(Debug, Clone, Copy)]
pub struct Belief {
    costs: Costs,
    deviations: [f64; 3],
}

impl Belief {
    /// Costs that lead to a typical flush.
    pub fn around(costs: Costs, typical: Point) -> Self {
        let costs = costs.leading_to(typical);
        let mut deviations = [0.0; 3];
        for at in 0..3 {
            let whole = typical.took_s / typical.x[at].max(1.0);
            deviations[at] = (costs.0[at] + FIRST_SHARES[at] * whole).max(1e-12);
        }
        Self { costs, deviations }
    }
}

type Matrix = [[f64; 3]; 3];

/// A line and how well it is known.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// The costs.
    pub costs: Costs,
    /// Inverse of the costs' covariance, in units of the relative noise's square.
    normal: Matrix,
    usual: f64,
}

impl Line {
    /// What is believed, as a line.
    pub fn believed(belief: &Belief, usual: f64) -> Self {
        let mut normal = [[0.0; 3]; 3];
        for at in 0..3 {
            normal[at][at] = (NOISE / belief.deviations[at]).powi(2);
        }
        Self { costs: belief.costs, normal, usual }
    }

    /// Standard deviation of the cost of a row of so many bytes, in seconds.
    pub fn row_deviation_s(&self, row_bytes: f64) -> f64 {
        let direction = [0.0, 1.0, row_bytes];
        let solved = solve(self.normal, direction, [true; 3]);
        let variance = solved.map_or(0.0, |solved| solved.iter().zip(direction).map(|(a, b)| a * b).sum());
        self.usual * variance.max(0.0).sqrt()
    }
}

/// Draws the line through measurements, each with its weight, beginning at `from`. `usual` is the usual relative error.
pub fn fit<'a>(
    belief: &Belief,
    measured: impl Iterator<Item = (&'a Point, f64)> + Clone,
    from: Costs,
    usual: f64,
    rounds: usize,
) -> Line {
    let mut line = Line { costs: from, ..Line::believed(belief, usual) };
    for _ in 0..rounds {
        let costs = line.costs;
        let mut matrix = Line::believed(belief, usual).normal;
        let mut right = [0.0; 3];
        for at in 0..3 {
            right[at] = matrix[at][at] * belief.costs.0[at];
        }
        for (point, weight) in measured.clone() {
            let expected = costs.at(point.x);
            let scale = expected.max(point.took_s).max(1e-9);
            let off = (point.took_s - expected).abs() / scale / (CLIP * usual);
            let weight = weight / (scale * scale) / off.max(1.0);
            for row in 0..3 {
                right[row] += weight * point.x[row] * point.took_s;
                for column in 0..3 {
                    matrix[row][column] += weight * point.x[row] * point.x[column];
                }
            }
        }
        match solve_above_zero(matrix, right) {
            Some(solved) => line = Line { costs: solved, normal: matrix, usual },
            None => break,
        }
    }
    line
}

/// Solves for costs of which none is negative: one that would be is none, and the others make up for it.
fn solve_above_zero(matrix: Matrix, right: [f64; 3]) -> Option<Costs> {
    let mut used = [true; 3];
    loop {
        let solved = solve(matrix, right, used)?;
        let lowest = (0..3).filter(|at| used[*at] && solved[*at] < 0.0).min_by(|a, b| {
            // In units of the diagonal, so that seconds a row compare with seconds.
            let [a, b] = [a, b].map(|at| solved[*at] * matrix[*at][*at].sqrt());
            a.total_cmp(&b)
        });
        match lowest {
            Some(at) => used[at] = false,
            None => return Some(Costs(solved)),
        }
    }
}

/// Gauss–Jordan on the used unknowns, scaled to a diagonal of ones; none where they cannot be told apart at all.
fn solve(matrix: Matrix, right: [f64; 3], used: [bool; 3]) -> Option<[f64; 3]> {
    let scale: Vec<f64> = (0..3).map(|at| matrix[at][at].sqrt().recip()).collect();
    let mut rows = [[0.0; 4]; 3];
    for row in 0..3 {
        for column in 0..3 {
            let both = used[row] && used[column];
            rows[row][column] = if both {
                matrix[row][column] * scale[row] * scale[column]
            } else {
                f64::from(u8::from(row == column))
            };
        }
        rows[row][3] = if used[row] { right[row] * scale[row] } else { 0.0 };
    }
    for pivot in 0..3 {
        // Positive definite, so the diagonal serves.
        let by = rows[pivot][pivot];
        if !(by.is_finite() && by > 1e-14) {
            return None;
        }
        rows[pivot] = rows[pivot].map(|value| value / by);
        for row in (0..3).filter(|row| *row != pivot) {
            let times = rows[row][pivot];
            for column in 0..4 {
                rows[row][column] -= times * rows[pivot][column];
            }
        }
    }
    let solved = [0, 1, 2].map(|at| rows[at][3] * scale[at]);
    solved.iter().all(|value| value.is_finite()).then_some(solved)
}
