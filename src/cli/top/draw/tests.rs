//! The screen at many sizes, and in each state of the daemon.

use proptest::prelude::*;
use ratatui::{Terminal, backend::TestBackend};
use serde_json::{Value, json};

use super::*;
use crate::cli::top::tally::{Lively, tests::view as series};

fn status() -> Value {
    json!({
        "version": "1.2.3", "pid": 7, "uptime_s": 7_300.0, "acks_wait_for": "durable", "lag_s": 3.0,
        "broker": {
            "state": "connected", "unacknowledged": 12, "held": 3, "ack_latency_us": { "p50": 900, "p99": 4_000 },
        },
        "ring": {
            "fill": 0.5, "size_bytes": 64 << 20, "pending_bytes": 32 << 20, "on_full": "block",
            "commit_us": { "p50": 300, "p99": 2_000, "count": 1_234_567 },
        },
        "forecast": { "sentence": "full in 3.2 h at 512.0 kB/s" },
        "flush": {
            "database": "ok", "delivery": "exactly-once", "quarantine": { "entries": 5 },
            "lanes": [
                {
                    "lane": 0, "batch_rows": 5_000, "linger_ms": 12.0, "reason": "backlog: as large as still pays",
                    "fixed_ms": 1.5, "per_row_us": 0.7, "breaker": "closed", "last_rows": 4_321, "last_ms": 8.0, "flushes": 99,
                    "last_error": -0.12, "spread": 0.05,
                },
                { "lane": 1, "breaker": "open", "reason": "the breaker is open", "failures": 4 },
            ],
        },
        "latest": { "series": 1_000 },
        "ledger": { "messages": 10, "rows": 20, "stored": 10, "pending": 1_234 },
        "rates": { "messages_per_s": 1_500.4, "rows_per_s": 3_000.8, "stored_per_s": 12.3 },
    })
}

fn at_work() -> View {
    let mut view = View::default();
    view.told(Duration::from_secs(1), Ok(status()));
    view.counted(vec![Lively { series: series("dev-1"), per_s: 2.5, since: Duration::from_millis(40) }], None);
    view
}

fn screen(view: &View, columns: u16, lines: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    terminal.draw(|frame| draw(view, frame.area(), frame.buffer_mut())).unwrap();
    text(terminal.backend().buffer())
}

fn shows(screen: &str, parts: &[&str]) {
    for part in parts {
        assert!(screen.contains(part), "{part:?} in\n{screen}");
    }
}

#[test]
fn a_wide_screen_shows_everything() {
    let screen = screen(&at_work(), 120, 40);
    shows(
        &screen,
        &[
            "forebay 1.2.3  up 2.0 h  ● running",
            " Broker: connected ",
            "1,500 messages/s, 3,001 rows/s",
            "PUBACK p50 900 µs, p99 4 ms",
            "12 not acknowledged, 3 held back",
            " QuestDB: ok ",
            "12 rows/s stored",
            "1,234 rows wait, the oldest for 3.0 s",
            "exactly-once; 5 in quarantine",
            "███████████████░░░░░░░░░░░░░░",
            "50.0 % of 64.0 MiB; 32.0 MiB wait for QuestDB",
            "full in 3.2 h at 512.0 kB/s",
            "acknowledged once durable; 1,234,567 commits, p50 300 µs, p99 2 ms",
            "bytes waiting",
            "0    5,000     12 ms     4,321     8 ms       1.5 ms     700 µs     99          0       closed",
            "lane 0: backlog: as large as still pays; flushes spread by 5 %, the last was off by 12 %",
            " Liveliest of 1,000 series ",
            "sensors device=dev-1",
            "temperature=21.5",
            "q quit",
        ],
    );
    assert!(screen.lines().any(|line| line.contains("2.5") && line.contains("now")), "{screen}");
}

#[test]
fn the_usual_terminal_has_room_for_every_panel() {
    let screen = screen(&at_work(), 80, 24);
    shows(&screen, &["Broker", "QuestDB", "Ring", "Lanes", "backlog: as large", "Liveliest", "device=dev-1", "q quit"]);
    let widest = screen.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80) && screen.lines().count() <= 24, "{screen}");
}

#[test]
fn a_long_forecast_takes_two_lines_where_one_is_too_short() {
    let mut view = at_work();
    view.status["forecast"]["sentence"] =
        "full in 3 min at 363.7 kB/s; the backlog does not shrink; an outage of 3 min would fit".into();
    shows(&screen(&view, 80, 40), &["363.7 kB/s; the backlog does not shrink;", "│an outage of 3 min would fit"]);
    shows(&screen(&view, 120, 40), &["the backlog does not shrink; an outage of 3 min would fit"]);
}

#[test]
fn a_narrow_screen_has_the_broker_above_the_database() {
    let screen = screen(&at_work(), 50, 40);
    let line =
        |what: &str| screen.lines().position(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}\n{screen}"));
    assert!(line("Broker") < line("QuestDB") && line("QuestDB") < line("Ring"), "{screen}");
}

#[test]
fn a_low_screen_shows_what_is_most_telling() {
    let view = at_work();
    shows(&screen(&view, 80, 4), &["● running", "messages/s", "rows/s stored"]);
    shows(&screen(&view, 80, 8), &["messages/s", "50.0 %"]);
    shows(&screen(&view, 20, 2), &["forebay 1.2.3"]);
}

#[test]
fn the_lane_chosen_tells_its_reason() {
    let mut view = at_work();
    view.lane = 1;
    shows(&screen(&view, 110, 40), &["lane 1: the breaker is open"]);
}

#[test]
fn many_lanes_scroll() {
    let mut view = at_work();
    let lanes: Vec<Value> = (0..20).map(|lane| json!({ "lane": lane, "batch_rows": 7_000 + lane })).collect();
    view.status["flush"]["lanes"] = lanes.into();
    view.lane = 19;
    let screen = screen(&view, 110, 40);
    shows(&screen, &["7,019", "7,014"]);
    assert!(!screen.contains("7,013"), "{screen}");
}

#[test]
fn trouble_stands_out() {
    let mut view = at_work();
    view.status["warnings"] = json!(["one", "two", "three", "four"]);
    view.status["broker"]["error"] = "refused: bad password".into();
    view.status["ring"]["full"] = true.into();
    view.status["ring"]["poisoned"] = "a sync failed".into();
    view.status["ledger"]["dropped"] = 77.into();
    view.status["flush"]["wal"] = json!({ "suspended": 1, "tables": [{ "table": "sensors", "lag_s": 75.0 }] });
    let screen = screen(&view, 120, 40);
    shows(
        &screen,
        &[
            "! one",
            "! and 2 more",
            "refused: bad password",
            "FULL, on_full = block",
            "POISONED: a sync failed",
            "77 rows dropped",
        ],
    );
    shows(&screen, &["1 table SUSPENDED, applying sensors lags by 75.0 s"]);
}

#[test]
fn without_a_daemon_the_screen_says_so_and_goes_on_asking() {
    let mut view = View::default();
    shows(&screen(&view, 80, 24), &["asking the daemon"]);
    view.told(
        Duration::from_secs(1),
        Err("the daemon is not reachable: nobody listens on /run/forebay/forebay.sock".into()),
    );
    shows(&screen(&view, 60, 24), &["○ the daemon", "forebay.sock", "asked again every second"]);
}

#[test]
fn while_the_daemon_restarts_the_last_picture_stays_and_tells_its_age() {
    let mut view = at_work();
    view.told(Duration::from_secs(11), Err("gone".into()));
    shows(&screen(&view, 120, 40), &["○ gone", "this is of 10.0 s ago", "Broker: connected", "device=dev-1"]);
    let recovering = json!({ "version": "1.2.3", "pid": 8, "uptime_s": 0.5, "ring": null });
    view.told(Duration::from_secs(12), Ok(recovering));
    let screen = screen(&view, 120, 40);
    shows(&screen, &["● running", "being recovered"]);
    assert!(!screen.contains("ago"), "{screen}");
}

#[test]
fn paused_says_paused() {
    shows(&screen(&View { paused: true, ..at_work() }, 100, 24), &["PAUSED"]);
}

#[test]
fn long_and_hostile_names_stay_in_their_place() {
    let mut view = at_work();
    let mut hostile = series(&"ü\u{1b}[2J\u{202e}漢字".repeat(100));
    hostile.fields.insert("x".repeat(500), "\n\u{7}".into());
    view.lively = vec![Lively { series: hostile, per_s: f64::INFINITY, since: Duration::MAX }];
    view.status["broker"]["error"] = "e\u{1b}]0;title\u{7}".repeat(500).into();
    view.status["flush"]["lanes"][0]["reason"] = "\u{9b}31m\u{200b}".repeat(500).into();
    let screen = screen(&view, 80, 24);
    assert!(!screen.chars().any(|c| crate::shown::is_harmful(c) && c != '\n'), "{screen:?}");
    assert!(screen.lines().all(|line| Span::raw(line).width() <= 80), "{screen}");
}

#[test]
fn colours_can_be_left_out() {
    let area = Rect::new(0, 0, 100, 30);
    let mut buffer = Buffer::empty(area);
    draw(&at_work(), area, &mut buffer);
    let coloured =
        |buffer: &Buffer| buffer.content.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
    assert!(coloured(&buffer));
    without_colour(&mut buffer);
    assert!(!coloured(&buffer));
}

#[test]
fn advice_and_warnings_are_never_cut() {
    let mut view = at_work();
    let advice = "put right questdb.username, password_file or token_file, try with `forebay check --connect`, and restart forebay";
    let warning = "QuestDB has suspended table \"sensors\" (DISK FULL): mend the cause, then run: ALTER TABLE \"sensors\" RESUME WAL";
    view.status["flush"]["advice"] = advice.into();
    view.status["warnings"] = json!([warning]);
    for columns in [80, 100, 120] {
        let screen = screen(&view, columns, 40);
        let last = |text: &str| text.rsplit(' ').next().unwrap_or_default().to_owned();
        shows(&screen, &[&last(advice), &last(warning)]);
    }
}

proptest! {
    #[test]
    fn any_size_will_do(columns in 0_u16..260, lines in 0_u16..90, lanes in 0_usize..20, warnings in 0_usize..6) {
        let mut view = at_work();
        view.status["flush"]["lanes"] = vec![json!({ "lane": 0, "reason": "x" }); lanes].into();
        view.status["warnings"] = vec!["w"; warnings].into();
        let area = Rect::new(0, 0, columns, lines);
        let mut buffer = Buffer::empty(area);
        draw(&view, area, &mut buffer);
        prop_assert!(text(&buffer).lines().count() <= lines.max(1) as usize);
    }
}
