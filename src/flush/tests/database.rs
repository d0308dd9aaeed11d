//! A small stand-in for QuestDB over HTTP.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

/// What the stand-in does and has seen.
#[derive(Default)]
pub struct Seen {
    /// Bodies of the requests to `/write`.
    pub writes: Vec<String>,
    /// Refuses a body that contains this.
    pub refuse: Option<&'static str>,
    /// Whether statements that change tables are refused.
    pub refuse_changes: bool,
    /// Whether it has no answer to what rows there are.
    pub silent: bool,
}

pub struct Database {
    seen: Arc<Mutex<Seen>>,
    pub conf: String,
}

impl Database {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let conf = format!("http::addr=127.0.0.1:{};", listener.local_addr().unwrap().port());
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &seen));
            }
        });
        Self { seen, conf }
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Seen>) -> Option<()> {
    let mut out = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if reader.read_line(&mut first).ok()? == 0 {
            return None;
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let line = line.to_ascii_lowercase();
            if let Some(bytes) = line.strip_prefix("content-length:") {
                length = bytes.trim().parse().ok()?;
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let (status, answer) = answer_to(&first, &body, &mut seen.lock().unwrap());
        let length = answer.len();
        write!(
            out,
            "HTTP/1.1 {status} X\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {length}\r\n\r\n{answer}"
        )
        .ok()?;
    }
}

fn answer_to(request: &str, body: &[u8], seen: &mut Seen) -> (u16, String) {
    let (status, answer) = if request.contains("/write") {
        let body = String::from_utf8_lossy(body).into_owned();
        let refused = seen.refuse.is_some_and(|word| body.contains(word));
        seen.writes.push(body);
        if refused { (400, r#"{"code":"invalid","message":"no"}"#) } else { (204, "") }
    } else if request.contains("walEnabled") {
        // As of a version that does not tell which table it is.
        let columns = ["table_name", "walEnabled", "dedup"];
        return (200, dataset(request, &columns, |name, _| format!(r#"["{name}",true,true]"#)));
    } else if request.contains("sequencerTxn") && request.contains("suspended") && !request.contains("name%2C") {
        return (200, answer(&["writerTxn", "sequencerTxn", "suspended"], "[1,1,false]"));
    } else if request.contains("table_columns") {
        let columns = |_: &str, number| {
            format!(r#"["timestamp","TIMESTAMP",true,true,{number}],["device","SYMBOL",false,true,{number}]"#)
        };
        return (200, dataset(request, &["column", "type", "designated", "upsertKey", "0"], columns));
    } else if request.contains("ALTER") && !seen.refuse_changes {
        (200, r#"{"ddl":"OK"}"#)
    } else if request.contains("ALTER") {
        (400, r#"{"error":"[28] No space left on device","position":0}"#)
    } else if request.contains("DISTINCT") && !seen.silent {
        return (200, answer(&["timestamp", "device"], ""));
    } else if request.contains("pg_postmaster") {
        (400, r#"{"error":"unknown function name: pg_postmaster_start_time()","position":7}"#)
    } else if request.contains("/exec") {
        (400, r#"{"error":"unexpected token","position":0}"#)
    } else {
        (404, "")
    };
    (status, answer.to_owned())
}

/// An answer with what there is about each name that stands in a question.
fn dataset(request: &str, columns: &[&str], of: impl Fn(&str, usize) -> String) -> String {
    let request = request.replace("%27", "'");
    let names = request.split('\'').skip(1).step_by(2).enumerate();
    let rows: Vec<String> = names.map(|(number, name)| of(name, number)).collect();
    answer(columns, &rows.join(","))
}

fn answer(columns: &[&str], rows: &str) -> String {
    let columns: Vec<String> = columns.iter().map(|name| format!(r#"{{"name":"{name}"}}"#)).collect();
    format!(r#"{{"columns":[{}],"dataset":[{rows}]}}"#, columns.join(","))
}
