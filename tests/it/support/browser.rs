//! Chromium, driven over its debugging protocol (chromedevtools.github.io/devtools-protocol), and what it noticed meanwhile.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use super::{
    eventually_some, http,
    process::Guarded,
    scratch::{Scratch, scratch},
};

const START_LIMIT: Duration = Duration::from_secs(60);
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How long an event that was caused already may take to come.
const QUIET: Duration = Duration::from_millis(200);
/// Parts of Chromium that talk to others of their own accord.
const SILENT: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--metrics-recording-only",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-pings",
];

/// A browser with one tab.
pub struct Browser {
    _process: Guarded,
    _dir: Scratch,
    socket: WebSocket<TcpStream>,
    next: u64,
    /// Every event so far that says something went wrong, or that something was asked for.
    events: Vec<Value>,
}

impl Browser {
    /// A new browser that has never been anywhere, with an empty tab.
    pub fn start() -> Self {
        let dir = scratch("chromium");
        let process = Guarded::spawn(&program(), &dir.join("log"), |command| {
            let profile = format!("--user-data-dir={}", dir.join("profile").display());
            command.args(SILENT).arg(profile).args(["--remote-debugging-port=0", "about:blank"]).env("HOME", &*dir);
        });
        let port = eventually_some(START_LIMIT, "Chromium listens", || {
            let text = std::fs::read_to_string(dir.join("profile/DevToolsActivePort")).ok()?;
            text.lines().next()?.parse::<u16>().ok()
        });
        let target = eventually_some(START_LIMIT, "Chromium has a tab", || {
            let tabs = http::get(port, "/json/list", None).ok()?.json();
            let tab = tabs.as_array()?.iter().find(|tab| tab["type"] == "page")?;
            Some(tab["webSocketDebuggerUrl"].as_str()?.to_owned())
        });
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connects");
        let (socket, _) = tungstenite::client(target, stream).expect("a WebSocket");
        let mut browser = Self { _process: process, _dir: dir, socket, next: 0, events: Vec::new() };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// Calls a method of the protocol.
    ///
    /// # Panics
    /// When the browser says it is an error, or nothing.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.next += 1;
        let id = self.next;
        let request = json!({ "id": id, "method": method, "params": parameters });
        self.socket.send(Message::text(request.to_string())).expect("sent");
        let deadline = Instant::now() + ANSWER_LIMIT;
        loop {
            let message = self.receive(deadline).unwrap_or_else(|| panic!("no answer to {method}"));
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
        }
    }

    /// The next message; events are kept as well.
    fn receive(&mut self, deadline: Instant) -> Option<Value> {
        loop {
            let left = deadline.checked_duration_since(Instant::now())?.max(Duration::from_millis(1));
            self.socket.get_ref().set_read_timeout(Some(left)).expect("a timeout");
            let text = match self.socket.read() {
                Ok(Message::Text(text)) => text,
                Ok(_) => continue,
                Err(tungstenite::Error::Io(why))
                    if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return None;
                }
                Err(why) => panic!("the browser is gone: {why}"),
            };
            let message: Value = serde_json::from_str(&text).expect("JSON");
            if message["method"].is_string() {
                self.events.push(message.clone());
            }
            return Some(message);
        }
    }

    /// Goes to an address.
    pub fn open(&mut self, url: &str) {
        let went = self.call("Page.navigate", &json!({ "url": url }));
        assert!(went["errorText"].is_null(), "{url}: {went}");
    }

    /// The value of an expression in the page; a promise's value.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.call("Runtime.evaluate", &parameters);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true in the page.
    #[track_caller]
    pub fn eventually(&mut self, limit: Duration, expression: &str) {
        super::eventually(limit, expression, || self.eval(expression) == true);
    }

    /// Presses and lets go of a key, such as `Tab` or `a`.
    pub fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            _ => 0,
        };
        let text = match key {
            "Enter" => "\r",
            _ if key.chars().count() == 1 => key,
            _ => "",
        };
        let mut parameters = json!({ "type": "keyDown", "key": key, "windowsVirtualKeyCode": code });
        if !text.is_empty() {
            parameters["text"] = text.into();
        }
        self.call("Input.dispatchKeyEvent", &parameters);
        self.call("Input.dispatchKeyEvent", &json!({ "type": "keyUp", "key": key, "windowsVirtualKeyCode": code }));
    }

    /// Shows the page `width` by `height` pixels large, in a colour scheme: `light` or `dark`.
    pub fn view(&mut self, width: u32, height: u32, scheme: &str) {
        let phone = width < 600;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone });
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.call("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// A picture of what is in view, as a PNG file.
    pub fn screenshot(&mut self, path: &Path) {
        let picture = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        let bytes = base64_decode(picture["data"].as_str().expect("a picture"));
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(path, bytes).expect("written");
    }

    /// What went wrong so far: exceptions, errors and warnings of the console, violations of the content security policy.
    pub fn complaints(&mut self) -> Vec<String> {
        self.catch_up();
        let wrong = self.events.iter().filter(|event| match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => true,
            "Runtime.consoleAPICalled" => {
                ["error", "warning", "assert"].iter().any(|kind| event["params"]["type"] == *kind)
            }
            "Log.entryAdded" => ["error", "warning"].iter().any(|level| event["params"]["entry"]["level"] == *level),
            _ => false,
        });
        wrong.map(|event| event["params"].to_string()).collect()
    }

    /// Every address asked for so far.
    pub fn requests(&mut self) -> Vec<String> {
        self.catch_up();
        let sent = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.filter_map(|event| event["params"]["request"]["url"].as_str().map(str::to_owned)).collect()
    }

    /// Every status answered so far for addresses that begin with `site`.
    pub fn answers(&mut self, site: &str) -> Vec<u64> {
        self.catch_up();
        let parameters = |event: &Value, method: &str| (event["method"] == method).then(|| event["params"].clone());
        let asked = self.events.iter().filter_map(|event| parameters(event, "Network.requestWillBeSent"));
        let asked = asked.filter(|asked| asked["request"]["url"].as_str().is_some_and(|url| url.starts_with(site)));
        let ids: Vec<_> = asked.map(|asked| asked["requestId"].clone()).collect();
        let answers = self.events.iter().filter_map(|event| parameters(event, "Network.responseReceivedExtraInfo"));
        answers
            .filter(|answer| ids.contains(&answer["requestId"]))
            .filter_map(|answer| answer["statusCode"].as_u64())
            .collect()
    }

    /// Forgets what was noticed so far.
    pub fn forget(&mut self) {
        self.catch_up();
        self.events.clear();
    }

    fn catch_up(&mut self) {
        while self.receive(Instant::now() + QUIET).is_some() {}
    }
}

fn program() -> PathBuf {
    let places = ["/usr/bin/chromium", "/usr/local/bin/chromium"];
    let found = places.iter().map(PathBuf::from).find(|path| path.exists());
    found.expect("chromium is missing: run tests/tools/install-deps test")
}

/// RFC 4648, section 4.
fn base64_decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
}
