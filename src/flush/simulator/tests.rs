use super::{
    regimes::{all, compare, dynamic, peers, score, sizes},
    *,
};

#[test]
fn a_run_is_told_by_its_seed() {
    let scenario = Scenario {
        arrivals: Arrivals::Steady { rows_per_s: 1_000.0 },
        database: Database { loses: (0.1, 0.1), breaks: 0.01, ..Database::default() },
        seconds: 20.0,
        seed: 7,
    };
    let batch = settings::Batch::default();
    assert_eq!(run(&scenario, &batch), run(&scenario, &batch));
    assert_ne!(run(&scenario, &batch), run(&Scenario { seed: 8, ..scenario }, &batch));
}

#[test]
fn dynamic_is_near_the_best_fixed_size_in_every_regime() {
    let mut report = Vec::new();
    let mut is_fine = true;
    for regime in all(1) {
        let fixed: Vec<_> = compare(&regime, &[sizes(), peers()].concat());
        let own = run(&regime.scenario, &dynamic().batch);
        let score = score(&own, &fixed);
        let fine = if score.keeps_up { score.throughput >= 0.95 && score.p99 >= 1.0 / 1.15 } else { score.throughput >= 0.95 };
        is_fine &= fine;
        let name = format!("{} × {}", regime.arrivals, regime.database);
        let (rate, p99, flush) = (own.rows_per_s, own.p99_s, own.longest_flush_s);
        report.push(format!(
            "{} {name}: {:.3} of the best throughput, best p99 {:.3} of this; {rate:.0} rows/s, p99 {p99:.4} s, longest flush {flush:.2} s, off by {:.2}",
            if fine { "ok  " } else { "FAIL" }, score.throughput, score.p99, own.prediction_error
        ));
    }
    assert!(is_fine, "\n{}", report.join("\n"));
}
