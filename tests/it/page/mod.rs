//! The page, in Chromium, before a daemon that works.

mod elsewhere;
mod set_aside;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::support::{
    Daemon, DaemonBuilder, Load, Mosquitto, QuestDb, Readings, browser::Browser, eventually, process::free_port, unique,
};

const LIMIT: Duration = Duration::from_secs(30);
const DEVICES: u64 = 40;
/// What a device may send to have a page run it.
const MARKUP: &str = "<img src=x onerror=\"window.owned=true\">";

/// Has what follows read from right to left.
const TURN: char = '\u{202e}';

/// A daemon with the page, and the page's address without its last slash.
fn daemon(broker: &Mosquitto, questdb: &QuestDb, readings: &Readings) -> (Daemon, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let daemon = DaemonBuilder::new()
        .servers(broker, questdb)
        .source(readings)
        .set("source.odd.topic", format!("{}-odd/{{room}}", readings.name))
        .set("source.odd.table", format!("{}_odd", readings.name))
        .set("source.odd.timestamp.field", "ts")
        .set("source.odd.timestamp.unit", "rfc3339")
        .set("source.odd.fields.level", "long")
        .set("control.listen", address.clone())
        .start();
    daemon.wait_subscribed();
    (daemon, format!("http://{address}"))
}

/// Devices that send markup: as a symbol, as a value, and as a number that ends in quarantine with
/// it in the reason.
fn publish_markup(broker: &Mosquitto, readings: &Readings) {
    let mut publisher = broker.publisher().expect("connects");
    let text = serde_json::Value::from(format!("{MARKUP} {TURN}turned")).to_string();
    // A slash would part the topic's levels.
    let topic = format!("{}-odd/{MARKUP}", readings.name);
    publisher
        .publish(&topic, format!("{{\"ts\":\"2026-03-01T12:00:00Z\",\"note\":{text}}}").as_bytes())
        .expect("published");
    publisher
        .publish(&topic, format!("{{\"ts\":\"2026-03-01T12:00:00Z\",\"level\":{text}}}").as_bytes())
        .expect("published");
    // Reasons name the member, and leave out its value.
    let name = serde_json::Value::from(format!("{MARKUP}{}", "x".repeat(127))).to_string();
    publisher.publish(&topic, format!("{{{name}:1}}").as_bytes()).expect("published");
    publisher.drain(LIMIT).expect("acknowledged");
}

fn picture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/screenshots").join(format!("{name}.png"))
}

/// The rows of the latest values that are shown.
const ROWS: &str = "document.querySelectorAll('#latest tbody tr').length";

#[test]
fn the_page_follows_the_daemon_in_either_light_on_any_screen_and_asks_nobody_else() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("page"), DEVICES);
    let (daemon, site) = daemon(&broker, questdb, &readings);
    publish_markup(&broker, &readings);
    let _load = Load::start(&readings, broker.port, 400);
    eventually(LIMIT, "rows are stored", || daemon.ledger("stored") > 400);

    let mut browser = Browser::start();
    browser.view(1280, 900, "light");
    browser.open(&format!("{site}/"));
    browser.eventually(LIMIT, "document.getElementById('link')?.textContent === 'live'");
    charts_move(&mut browser);
    markup_stays_text(&mut browser);
    let state = "[...document.querySelectorAll('.tile[data-state=good] .big')].map((e) => e.textContent).join()";
    browser.eventually(LIMIT, &format!("{state} === 'connected,ok'"));
    for (name, width, height, scheme) in [
        ("light", 1280, 900, "light"),
        ("dark", 1280, 900, "dark"),
        ("phone-light", 360, 740, "light"),
        ("phone-dark", 360, 740, "dark"),
        ("narrow", 320, 640, "light"),
    ] {
        browser.view(width, height, scheme);
        browser.eventually(
            LIMIT,
            &format!("innerWidth === {width} && matchMedia('(prefers-color-scheme: {scheme})').matches"),
        );
        let plots = "[...document.querySelectorAll('svg.plot')]";
        let redrawn =
            format!("{plots}.every((p) => p.viewBox.baseVal.width === Math.round(p.getBoundingClientRect().width))");
        browser.eventually(LIMIT, &redrawn);
        browser.screenshot(&picture(name));
        let width = browser.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(width, 0, "{name} scrolls sideways");
        assert_eq!(browser.eval(include_str!("contrast.js")), serde_json::json!([]), "{name}");
    }
    assert_eq!(browser.complaints(), [""; 0]);
    let elsewhere: Vec<_> = browser.requests().into_iter().filter(|url| !url.starts_with(&site)).collect();
    assert_eq!(elsewhere, [""; 0]);
}

/// Lines grow, the flushes caught become more, and each says in words what it shows.
fn charts_move(browser: &mut Browser) {
    browser.eventually(LIMIT, "document.querySelectorAll('#rate .line.a').length === 2");
    let line = "document.querySelector('#rate svg.plot .line.a').getAttribute('d')";
    let before = browser.eval(line);
    browser.eventually(LIMIT, &format!("{line} !== {before} && {line}.split('L').length > 4"));
    browser.eventually(LIMIT, "document.querySelectorAll('#batches svg.plot .dot').length > 3");
    browser.eventually(LIMIT, "document.querySelectorAll('#batches svg.plot .line.model').length > 0");
    browser.eventually(LIMIT, "document.querySelectorAll('#fill svg.plot .line').length === 2");
    for (chart, word) in [("rate", "rows a second"), ("batches", "the model says"), ("fill", "Ring fill: ")] {
        let says = format!("document.querySelector('#{chart} svg.plot').getAttribute('aria-label')");
        browser.eventually(LIMIT, &format!("{says}.includes('{word}')"));
    }
    browser.eval("document.querySelector('#rate details').open = true");
    browser.eventually(LIMIT, "/^[0-9,]+$/.test(document.querySelector('#rate tbody td:nth-child(2)')?.textContent)");
    browser.eval("document.querySelector('#rate details').open = false");
}

fn markup_stays_text(browser: &mut Browser) {
    let text = serde_json::Value::from(MARKUP).to_string();
    browser.eval(
        "document.getElementById('search').value = 'table='; document.getElementById('search').value = 'onerror'",
    );
    browser.eval("document.getElementById('search').dispatchEvent(new Event('input'))");
    browser.eventually(LIMIT, &format!("{ROWS} === 1"));
    let shown = format!("document.getElementById('latest').textContent.split({text}).length");
    assert_eq!(browser.eval(&shown), 3, "as a symbol and as a value");
    browser.eventually(LIMIT, "document.getElementById('reasons').textContent.includes('onerror')");
    assert_eq!(browser.eval("document.querySelectorAll('main img').length"), 0);
    assert_eq!(browser.eval("typeof window.owned"), "undefined");
    let shows = |text: &str| format!("document.body.textContent.includes({})", serde_json::Value::from(text));
    assert_eq!(browser.eval(&shows("\\u{202e}turned")), true, "it is shown as what it is");
    assert_eq!(browser.eval(&shows(&TURN.to_string())), false);
    browser.eval("document.getElementById('search').value = ''; document.getElementById('search').dispatchEvent(new Event('input'))");
    browser.eventually(LIMIT, &format!("{ROWS} === 25"));
}

#[test]
fn everything_can_be_reached_and_used_from_the_keyboard() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::shared());
    let readings = Readings::new(unique("keyboard"), DEVICES);
    let (_daemon, site) = daemon(&broker, questdb, &readings);
    readings.publish(&mut broker.publisher().expect("connects"), 0..3 * DEVICES);
    let mut browser = Browser::start();
    browser.view(1280, 900, "light");
    browser.open(&format!("{site}/"));
    browser.eventually(LIMIT, &format!("{ROWS} === 25"));

    let usable =
        "[...document.querySelectorAll('a, button, input, summary')].filter((e) => e.checkVisibility()).length";
    let wanted = browser.eval(usable).as_u64().expect("a number");
    browser.eval("window.seen = []");
    let mut reached = BTreeSet::new();
    for _ in 0..2 * wanted {
        browser.press("Tab");
        let at = browser.eval(
            "(() => { const e = document.activeElement; if (e === document.body) return null;
               if (!window.seen.includes(e)) window.seen.push(e);
               return [window.seen.indexOf(e), getComputedStyle(e).outlineStyle, e.getBoundingClientRect().left >= 0]; })()",
        );
        if let Some(number) = at[0].as_u64() {
            assert_eq!((&at[1], &at[2]), (&"solid".into(), &true.into()), "the focus is seen");
            reached.insert(number);
        }
    }
    assert_eq!(reached.len() as u64, wanted, "of all that can be used");

    browser.press("/");
    "dev-3".chars().for_each(|key| browser.press(&key.to_string()));
    browser.eventually(LIMIT, &format!("{ROWS} === 11"));
    browser.eventually(LIMIT, "document.getElementById('found').textContent === '11 of 40 series'");
    browser.press("Escape");
    browser.eventually(LIMIT, &format!("{ROWS} === 25"));
    for (typed, rows) in [("site=site-1 dev-1", 3), ("site-1 dev-1", 3), ("device=ev-3", 0), ("Dev-39 STORED", 1)] {
        typed.chars().for_each(|key| browser.press(&key.to_string()));
        browser.eventually(LIMIT, &format!("{ROWS} === {rows}"));
        browser.press("Escape");
        browser.eventually(LIMIT, &format!("{ROWS} === 25"));
    }
    browser.press("Tab");
    let first = "document.querySelector('#latest tbody tr').textContent";
    let ascending = browser.eval(first);
    browser.press("Enter");
    browser.eventually(LIMIT, &format!("{first} !== {ascending}"));
    assert_eq!(browser.eval("document.querySelector('#latest th').getAttribute('aria-sort')"), "descending");
    browser.press("p");
    browser.eventually(LIMIT, "document.getElementById('link').textContent === 'paused'");
    asks_nothing(&mut browser, &site);
    browser.press("p");
    browser.eventually(LIMIT, "document.getElementById('link').textContent === 'live'");
    browser.eval(
        "Object.defineProperty(document, 'hidden', { value: true }); document.dispatchEvent(new Event('visibilitychange'))",
    );
    asks_nothing(&mut browser, &site);
    assert_eq!(browser.complaints(), [""; 0]);
}

/// Watches the page for longer than any of its periods.
fn asks_nothing(browser: &mut Browser, site: &str) {
    browser.forget();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        assert_eq!(browser.requests(), [""; 0], "{site} is left alone");
    }
}

#[test]
fn a_daemon_that_goes_away_is_said_to_be_and_is_followed_again_when_it_is_back() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::prepared(None));
    let readings = Readings::new(unique("away"), 3);
    let (mut daemon, site) = daemon(&broker, &questdb, &readings);
    let mut browser = Browser::start();
    browser.view(1280, 900, "dark");
    browser.open(&format!("{site}/"));
    browser.eventually(LIMIT, "document.getElementById('link')?.textContent === 'live'");
    readings.publish(&mut broker.publisher().expect("connects"), 0..30);
    browser.eventually(LIMIT, "document.querySelector('.tile[data-state=bad] .big')?.textContent === 'unreachable'");
    browser.eventually(LIMIT, &format!("{ROWS} === 3"));
    browser.eventually(LIMIT, "document.getElementById('outage').checkVisibility()");
    let outage = "document.getElementById('outage').textContent";
    browser.eventually(
        LIMIT,
        &format!("{outage}.startsWith('QuestDB is unreachable. Nothing is lost: 30 rows wait in the ring')"),
    );
    let topic = format!("{}/site-0/device-0", readings.name);
    let mut publisher = broker.publisher().expect("connects");
    publisher.publish(&topic, b"rubbish").expect("publishes");
    publisher.drain(LIMIT).expect("the broker acknowledges");
    let set_aside = "[...document.querySelectorAll('.tile[data-state=warn]')].map((e) => e.textContent).join()";
    browser.eventually(LIMIT, &format!("{set_aside}.startsWith('Set aside1')"));
    browser.screenshot(&picture("outage"));

    daemon.kill9();
    browser.eventually(LIMIT, "document.getElementById('link').textContent === 'away'");
    browser.eventually(LIMIT, "document.getElementById('away').checkVisibility()");
    let said = browser.eval("document.getElementById('away').textContent");
    assert!(said.as_str().expect("text").contains("does not answer; trying again every"), "{said}");
    assert_eq!(browser.eval(ROWS), 3, "what was seen stays");
    browser.screenshot(&picture("away"));
    daemon.restart();
    browser.eventually(LIMIT, "document.getElementById('link').textContent === 'live'");
    assert_eq!(browser.eval("document.getElementById('away').checkVisibility()"), false);
    readings.publish(&mut broker.publisher().expect("connects"), 30..60);
    browser.eventually(LIMIT, "document.getElementById('latest').textContent.includes('seq 19')");
}
