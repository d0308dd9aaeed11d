use std::time::Duration;

use super::{
    regimes::{FRESHNESS, Regime, all, compare, dynamic, lingers, peers, score, sizes},
    *,
};

#[test]
fn a_run_is_told_by_its_seed() {
    let scenario = Scenario {
        arrivals: Arrivals::Steady { rows_per_s: 1_000.0 },
        database: Database { loses: (0.1, 0.1), breaks: 0.01, ..Database::default() },
        sync_s: SYNC_S,
        sync_spread: 0.0,
        warm_up_rows: 0,
        seconds: 20.0,
        seed: 7,
    };
    let batch = settings::Batch::default();
    assert_eq!(run(&scenario, &batch), run(&scenario, &batch));
    assert_ne!(run(&scenario, &batch), run(&Scenario { seed: 8, ..scenario }, &batch));
}

#[test]
fn what_came_before_has_taught_the_model() {
    let scenario = Scenario {
        arrivals: Arrivals::Steady { rows_per_s: 1_000.0 },
        database: Database { fixed_s: 0.2, ..Database::default() },
        sync_s: SYNC_S,
        sync_spread: 0.0,
        warm_up_rows: 0,
        seconds: 6.0,
        seed: 7,
    };
    let (cold, warm) = (
        run(&scenario, &dynamic(SECOND).batch),
        run(&Scenario { warm_up_rows: 20, ..scenario }, &dynamic(SECOND).batch),
    );
    assert!(warm.p99_s < cold.p99_s, "{warm:?} {cold:?}");
    assert!(warm.arrived.abs_diff(cold.arrived) == 20, "{warm:?} {cold:?}");
}

const SECOND: Duration = Duration::from_secs(1);

/// Regimes that are quickly simulated; with a budget of a second some that take longer, too.
fn chosen(freshness: Duration) -> Vec<Regime> {
    let mut regimes = all(1, freshness);
    regimes.retain(|regime| {
        let long = freshness == SECOND && matches!(regime.arrivals, "steady" | "backlog");
        regime.scenario.seconds <= 600.0 || long
    });
    regimes
}

/// Where the objective is missed, and by how much.
const MISSED: [&str; 2] = [
    // 99 of 100 rows are stored within 1.008 s: a burst is late as a whole, which an even flow is
    // not.
    "1s, bursty × 50 ms away",
    // 1.27 times the transactions: the first few batches do not tell how seldom stalls are.
    "1s, steady × stalls",
];

#[test]
fn dynamic_meets_the_objective_in_all_regimes_but_two_and_no_fixed_setting_does() {
    let mut missed = Vec::new();
    for freshness in FRESHNESS {
        let regimes = chosen(freshness);
        let some: Vec<_> = sizes(freshness).into_iter().step_by(3).collect();
        let fixed = [lingers(freshness), some, peers()].concat();
        let (mut met, mut own_met) = (vec![0; fixed.len()], 0);
        for regime in &regimes {
            let others = compare(regime, &fixed);
            let own = run(&regime.scenario, &dynamic(freshness).batch);
            let told = score(&own, &others, freshness);
            let name = format!("{freshness:?}, {} × {}", regime.arrivals, regime.database);
            own_met += usize::from(told.is_met());
            if told.is_met() == MISSED.contains(&name.as_str()) {
                missed.push(format!("{name}: {told:?}, {own:?}"));
            }
            for (met, other) in met.iter_mut().zip(&others) {
                *met += usize::from(score(other, &others, freshness).is_met());
            }
        }
        let best = met.iter().max().expect("contenders");
        assert!(*best < own_met, "with {freshness:?} a fixed setting does as well: {met:?} of {}", regimes.len());
    }
    assert!(missed.is_empty(), "\n{}", missed.join("\n"));
}

#[test]
fn bursts_are_absorbed_without_overshoot() {
    for regime in
        all(1, SECOND).iter().filter(|regime| regime.arrivals == "bursty" && !regime.database.contains("lossy"))
    {
        let own = run(&regime.scenario, &dynamic(SECOND).batch);
        let stall_s = regime.scenario.database.stalls.map_or(0.0, |stalls| stalls.for_s);
        // Twice the fixed cost for the connection, and the target for the rows.
        let allowed_s = 2.0 * regime.scenario.database.fixed_s + 0.1 + stall_s + 0.05;
        assert!(own.longest_flush_s < allowed_s, "{}: {own:?}", regime.database);
    }
}

#[test]
fn the_model_foretells_what_the_noise_allows() {
    for regime in
        all(1, SECOND).iter().filter(|regime| regime.arrivals == "diurnal" && regime.database != "down for an hour")
    {
        let own = run(&regime.scenario, &dynamic(SECOND).batch);
        // Noise has a standard deviation of 0.1, so 0.08 is the mean error of one who knows the costs.
        assert!(own.prediction_error < 0.2, "{}: {own:?}", regime.database);
    }
}

#[test]
fn the_budget_is_used_up_and_held() {
    let scenario = Scenario {
        arrivals: Arrivals::Steady { rows_per_s: 2_000.0 },
        database: Database::default(),
        sync_s: SYNC_S,
        sync_spread: 0.0,
        warm_up_rows: 0,
        seconds: 300.0,
        seed: 3,
    };
    for freshness in FRESHNESS {
        let own = run(&scenario, &dynamic(freshness).batch);
        let budget_s = freshness.as_secs_f64();
        assert!(own.p99_s <= budget_s * 1.005, "{freshness:?}: {own:?}");
        // Rows that wait for a commit of the ring wait that much less for company.
        let company_s = budget_s - crate::ring::pace::LONGEST.as_secs_f64() / 2.0;
        assert!((own.transactions as f64) < 1.06 * scenario.seconds / company_s, "{freshness:?}: {own:?}");
    }
    // The former key, which says how long rows wait at least.
    let batch = settings::Batch { min_linger: Some(Duration::from_millis(300)), ..dynamic(FRESHNESS[0]).batch };
    let spared = run(&scenario, &batch);
    assert!(spared.transactions < 1_050, "{spared:?}");
    let batch = settings::Batch { max_linger: Some(Duration::from_millis(20)), ..dynamic(SECOND).batch };
    let longest_s = 0.02 + crate::ring::pace::LONGEST.as_secs_f64();
    let own = run(&scenario, &batch);
    assert!(own.p99_s < 1.05 * longest_s, "{own:?}");
}
