//! Another site, shown by a browser on the same machine, gets nothing from the listener and changes nothing.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    thread,
};

use super::{LIMIT, daemon};
use crate::support::{Mosquitto, QuestDb, Readings, browser::Browser, unique};

/// Serves one document to whoever asks, for as long as the tests run. Returns its port.
fn site(document: String) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let length = document.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
            );
            let _ = stream.write_all((head + &document).as_bytes());
        }
    });
    port
}

#[test]
fn another_site_can_only_link_to_the_page() {
    let (broker, questdb) = (Mosquitto::start(), QuestDb::prepared(None));
    let readings = Readings::new(unique("elsewhere"), 1);
    let (daemon, ours) = daemon(&broker, &questdb, &readings);
    let port = site(format!(
        "<!doctype html><link rel=icon href=data:,><a id=link href='{ours}/'>forebay</a><iframe src='{ours}/'></iframe>"
    ));
    let mut browser = Browser::start();
    // Another port of the same machine is another origin on the same site, the nearest there is.
    browser.open(&format!("http://127.0.0.1:{port}/"));
    browser.eventually(LIMIT, "document.readyState === 'complete'");
    let asked =
        |how: &str| format!("fetch('{ours}/v1/status', {how}).then((r) => r.type + ' ' + r.status, (e) => 'refused')");
    for how in
        ["{}", "{ mode: 'no-cors' }", "{ method: 'POST', body: '' }", "{ headers: { authorization: 'Token x' } }"]
    {
        assert_eq!(browser.eval(&asked(how)), "refused", "{how}");
    }
    for element in ["img", "script"] {
        let load = format!(
            "new Promise((done) => {{ const e = document.createElement('{element}'); e.onload = () => done('loaded');
               e.onerror = () => done('refused'); e.src = '{ours}/page/' + ({{ img: 'icon.svg', script: 'dom.js' }}).{element}; document.body.append(e); }})"
        );
        assert_eq!(browser.eval(&load), "refused", "{element}");
    }
    assert_eq!(
        browser.eval("(() => { try { return frames[0].document.body.id; } catch { return 'refused'; } })()"),
        "refused"
    );
    let events = format!(
        "new Promise((done) => {{ const e = new EventSource('{ours}/v1/watch'); e.onopen = () => done('open');
           e.onerror = () => {{ e.close(); done('refused'); }}; }})"
    );
    assert_eq!(browser.eval(&events), "refused");
    assert_eq!(daemon.status()["latest"]["watchers"], 0);

    // A browser keeps answers from other sites by itself; here they are not given in the first place.
    let answers = browser.answers(&ours);
    assert!(answers.len() >= 8 && answers.iter().all(|status| *status == 403), "{answers:?}");

    browser.eval("document.getElementById('link').click()");
    browser.eventually(LIMIT, "document.getElementById('link')?.textContent === 'live'");
    assert_eq!(browser.eval("location.origin").as_str(), Some(ours.as_str()));
}
