//! What a fixed size costs in each regime, and where dynamic batches are.

use std::{path::Path, time::Duration};

use forebay::flush::simulator::{
    Outcome,
    regimes::{Regime, SIZES, all, compare, dynamic, sizes},
    run,
};
use plotters::prelude::*;

/// The default budget from arrival to stored.
const BUDGET: Duration = Duration::from_secs(1);
const WIDTH: u32 = 1_000;
const PANEL_HEIGHT: u32 = 220;
const COLUMNS: usize = 4;
const FIXED: RGBColor = RGBColor(0x80, 0x86, 0x8f);
const OWN: RGBColor = RGBColor(0x0b, 0x6e, 0x99);

/// Draws the plots that docs/batching.md shows.
pub fn draw(seed: u64, out: &Path) {
    let regimes = all(seed, BUDGET);
    let of = |arrivals: &str| -> Vec<&Regime> { regimes.iter().filter(|one| one.arrivals == arrivals).collect() };
    panels(&out.join("batcher-steady.svg"), "steady: p99 from arrival to stored, s", &of("steady"), |one| one.p99_s);
    panels(&out.join("batcher-bursty.svg"), "bursty: p99 from arrival to stored, s", &of("bursty"), |one| one.p99_s);
    panels(&out.join("batcher-backlog.svg"), "backlog of 1 M rows: rows/s", &of("backlog"), |one| one.rows_per_s);
}

fn panels(file: &Path, title: &str, regimes: &[&Regime], figure: fn(&Outcome) -> f64) {
    let rows = regimes.len().div_ceil(COLUMNS);
    let size = (WIDTH, 30 + PANEL_HEIGHT * rows as u32);
    let area = SVGBackend::new(file, size).into_drawing_area();
    area.fill(&WHITE).expect("an image");
    let text = ("sans-serif", 15).into_font();
    let area = area.titled(&format!("{title}, by fixed batch size (grey) and dynamic (blue)"), text).expect("a title");
    for (panel, regime) in area.split_evenly((rows, COLUMNS)).iter().zip(regimes) {
        let own = figure(&run(&regime.scenario, &dynamic(BUDGET).batch));
        let fixed: Vec<(f64, f64)> = SIZES
            .iter()
            .zip(compare(regime, &sizes(BUDGET)))
            .map(|(rows, one)| (*rows as f64, figure(&one).max(1e-3)))
            .collect();
        let lowest = fixed.iter().map(|point| point.1).fold(own, f64::min);
        let highest = fixed.iter().map(|point| point.1).fold(own, f64::max);
        let mut chart = ChartBuilder::on(panel)
            .margin(6)
            .caption(regime.database, ("sans-serif", 13))
            .x_label_area_size(22)
            .y_label_area_size(48)
            .build_cartesian_2d((1.0..100_000.0_f64).log_scale(), (lowest / 2.0..highest * 2.0).log_scale())
            .expect("axes");
        chart.configure_mesh().x_labels(4).y_labels(5).light_line_style(WHITE).draw().expect("a grid");
        chart.draw_series(LineSeries::new(fixed.iter().copied(), FIXED.stroke_width(2))).expect("a line");
        let across = [(1.0, own), (100_000.0, own)];
        chart.draw_series(LineSeries::new(across, OWN.stroke_width(2))).expect("a line");
    }
    area.present().expect("the image is written");
}
