//! What the libraries cost by themselves: a bare axum and a bare hyper that answer the same bytes out of a map, on a runtime like the
//! daemon's. Neither has limits, time-outs or anything else that is forebay's.

use std::{
    collections::HashMap,
    convert::Infallible,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    Router,
    body::Bytes,
    extract::{RawQuery, State},
    http::{Response, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use http_body_util::Full;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};

use crate::{
    common::role::Role,
    peers::{Client, Forebay, Peer, client},
    support::scratch::{Scratch, scratch},
};

/// Bodies by the query that asks for them.
type Answers = Arc<HashMap<String, Bytes>>;

/// A role's server.
pub struct Bare {
    _role: Role,
    socket: PathBuf,
    requests: Vec<Vec<u8>>,
    _dir: Scratch,
}

impl Bare {
    /// Starts `axum` or `hyper` with the answers that the daemon gives.
    pub fn start(library: &str, series: u64, forebay: &Forebay) -> Self {
        let dir = scratch("bare");
        let (answers, socket) = (dir.join("answers"), dir.join("socket"));
        let line = |device| [forebay.query(device).as_bytes(), b" ", &forebay.value(device), b"\n"].concat();
        fs::write(&answers, (0..series).flat_map(line).collect::<Vec<u8>>()).expect("a file");
        let [answers, path] = [&answers, &socket].map(|path| path.to_string_lossy().into_owned());
        let role = Role::start(&[library.to_owned(), answers, path]);
        let requests = (0..series).map(|device| forebay.request(device)).collect();
        Self { _role: role, socket, requests, _dir: dir }
    }
}

impl Peer for Bare {
    fn connect(&self) -> Client {
        client(&self.socket, self.requests.clone())
    }
}

/// `role axum|hyper ANSWERS SOCKET`: prints `ready`, then serves.
pub fn run(arguments: &[String]) {
    let [library, answers, socket] = arguments else { panic!("role axum|hyper ANSWERS SOCKET") };
    let answers = read(Path::new(answers));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    // In a task, so that the worker serves and not this thread.
    let serve = async move |listener: UnixListener, library: String| match library.as_str() {
        "axum" => bare_axum(listener, answers).await,
        _ => bare_hyper(listener, answers).await,
    };
    let (library, socket) = (library.clone(), socket.clone());
    runtime.expect("a runtime").block_on(async {
        let listener = UnixListener::bind(socket).expect("a socket");
        println!("ready");
        tokio::spawn(serve(listener, library)).await.expect("it serves until it is killed");
    });
}

fn read(path: &Path) -> Answers {
    let lines = BufReader::new(fs::File::open(path).expect("the answers")).lines();
    let answer =
        |line: String| line.split_once(' ').map(|(query, body)| (query.to_owned(), Bytes::from(body.to_owned())));
    Arc::new(lines.filter_map(|line| answer(line.expect("text"))).collect())
}

async fn bare_axum(listener: UnixListener, answers: Answers) {
    async fn latest(State(answers): State<Answers>, RawQuery(query): RawQuery) -> axum::response::Response {
        match query.and_then(|query| answers.get(&query).cloned()) {
            Some(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }
    let router = Router::new().route("/v1/latest", get(latest)).with_state(answers);
    axum::serve(listener, router).await.expect("it serves");
}

async fn bare_hyper(listener: UnixListener, answers: Answers) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        tokio::spawn(bare_connection(stream, Arc::clone(&answers)));
    }
}

async fn bare_connection(stream: UnixStream, answers: Answers) {
    let latest = |request: Request<Incoming>| {
        let body = request.uri().query().and_then(|query| answers.get(query).cloned()).unwrap_or_default();
        let response = Response::builder().header(header::CONTENT_TYPE, "application/json").body(Full::new(body));
        async move { Ok::<_, Infallible>(response.expect("a response")) }
    };
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(latest)).await;
}
