//! A stand-in for what answers at QuestDB's address and is not QuestDB, or not always: a captive portal, a page of a proxy, another server.

use std::{
    io::{BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use super::{
    process::free_port,
    proxy::{connect, read_message},
};

/// What is said to a request.
#[derive(Debug, Clone)]
pub enum Said {
    /// What the server behind says; where there is none, the connection ends.
    Passed,
    /// A status and a body.
    Whole(u16, String),
    /// A status, and a body without an end.
    Endless(u16),
}

/// What is said, by the request's first line.
type Rule = Arc<dyn Fn(&str) -> Said + Send + Sync>;

/// A server.
pub struct Impostor {
    /// Where it listens on the loopback.
    pub port: u16,
    rule: Arc<Mutex<Rule>>,
}

impl Impostor {
    /// One that says this, before the server on that port.
    pub fn before(server: Option<u16>, rule: impl Fn(&str) -> Said + Send + Sync + 'static) -> Self {
        let port = free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Arc::new(rule)));
        let shared = Arc::clone(&rule);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let rule = Arc::clone(&shared);
                thread::spawn(move || serve(client, server, &rule));
            }
        });
        Self { port, rule }
    }

    /// Says something else from now on.
    pub fn say(&self, rule: impl Fn(&str) -> Said + Send + Sync + 'static) {
        *self.rule.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(rule);
    }

    /// Value of forebay's `questdb.conf`.
    pub fn conf(&self) -> String {
        format!("http::addr=127.0.0.1:{};", self.port)
    }
}

/// One client's requests; none once it has gone.
fn serve(client: TcpStream, server: Option<u16>, rule: &Mutex<Rule>) -> Option<()> {
    client.set_nodelay(true).ok()?;
    let mut to_client = client.try_clone().ok()?;
    let mut from_client = BufReader::new(client);
    loop {
        let request = read_message(&mut from_client)?;
        let line = String::from_utf8_lossy(request.split(|byte| *byte == b'\r').next()?).into_owned();
        let rule = Arc::clone(&*rule.lock().unwrap_or_else(PoisonError::into_inner));
        match rule(&line) {
            Said::Passed => {
                let mut to_server = connect(server?).ok()?;
                to_server.write_all(&request).ok()?;
                to_client.write_all(&read_message(&mut BufReader::new(to_server))?).ok()?;
            }
            Said::Whole(status, body) => {
                let length = if status == 204 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
                let answer = format!("HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\n{length}\r\n{body}");
                to_client.write_all(answer.as_bytes()).ok()?;
            }
            Said::Endless(status) => {
                let head = format!("HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\n\r\n");
                to_client.write_all(head.as_bytes()).ok()?;
                let spaces = vec![b' '; 1 << 20];
                loop {
                    to_client.write_all(&spaces).ok()?;
                }
            }
        }
    }
}
