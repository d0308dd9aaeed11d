//! The document against the routers themselves: what either has, the other has.

use std::collections::BTreeSet;

use serde_json::Value;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    control::{
        Limits,
        routes::{Context, local, read_only},
        serve_tcp,
        server::MAX_LISTED,
        tests::{read_all, served},
    },
    flush::quarantine::view::MAX_PAGE_ENTRIES,
};

fn document() -> Value {
    serde_json::to_value(described()).unwrap()
}

/// The document as text: short, with a line for each path and schema, so that changes are seen.
fn text_of(document: &Value) -> String {
    let mut lines = document.to_string();
    for section in ["paths", "schemas", "securitySchemes"] {
        let members = document[section].as_object().or_else(|| document["components"][section].as_object());
        for (name, member) in members.unwrap_or_else(|| panic!("no {section}")) {
            let member = format!("{}:{member}", Value::from(name.as_str()));
            lines = lines.replacen(&member, &format!("\n{member}"), 1);
        }
    }
    lines + "\n"
}

#[test]
fn what_is_served_is_made_of_the_routes() {
    let made = text_of(&document());
    if std::env::var_os("FOREBAY_WRITE_OPENAPI").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/control/routes/openapi.json");
        return std::fs::write(path, made).unwrap();
    }
    assert!(made == TEXT, "openapi.json is not what the routes say: run `make openapi`, and look at what has changed");
    assert_eq!(serde_json::from_str::<Value>(TEXT).unwrap(), document());
}

/// Every operation: path, method and description of it.
fn operations_of(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        let item = item.as_object().unwrap().iter();
        item.map(move |(method, operation)| (path.clone(), method.to_uppercase(), operation.clone()))
    });
    operations.collect()
}

/// What the document says is served at this address.
fn described_at(document: &Value, server: &str) -> BTreeSet<(String, String)> {
    let here = |operation: &Value| {
        let servers = operation.get("servers").unwrap_or(&document["servers"]);
        servers.as_array().unwrap().iter().any(|have| have["url"] == server)
    };
    let operations = operations_of(document).into_iter().filter(|(.., operation)| here(operation));
    operations.map(|(path, method, _)| (path, method)).collect()
}

/// The paths that a router has, which only its `Debug` tells.
fn paths_of(router: &axum::Router) -> BTreeSet<String> {
    let told = format!("{router:?}");
    let (routes, _) = told.split_once("fallback_router: ").expect("two parts");
    let paths: BTreeSet<String> =
        routes.split('"').skip(1).step_by(2).filter(|text| text.starts_with('/')).map(str::to_owned).collect();
    assert!(paths.contains("/healthz"), "no paths in {told}");
    paths
}

/// A request with a method that no route takes: the answer says which it does.
fn brew(path: &str) -> String {
    let path = path.replace("{name}", "x");
    format!("BREW {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
}

fn allowed(answer: &str) -> Vec<String> {
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    let allow = answer.lines().find_map(|line| line.strip_prefix("allow: ")).unwrap_or_else(|| panic!("{answer}"));
    // Whoever takes GET takes HEAD.
    allow.split(',').map(str::trim).filter(|method| *method != "HEAD").map(str::to_owned).collect()
}

#[tokio::test]
async fn every_route_is_described_and_nothing_else() {
    let served = served(Limits::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_tcp(listener, served.app.clone(), served.stop.subscribe()));
    let document = document();

    let mut on_socket = BTreeSet::new();
    for path in paths_of(&local(Context::new(served.app.clone(), served.stop.subscribe()))) {
        let methods = allowed(&served.raw(brew(&path).as_bytes()).await);
        on_socket.extend(methods.into_iter().map(|method| (path.clone(), method)));
    }
    assert_eq!(on_socket, described_at(&document, "http://forebay"), "served on the socket, and described");

    let mut on_listener = BTreeSet::new();
    for path in paths_of(&read_only(Context::new(served.app.clone(), served.stop.subscribe()))) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(brew(&path).as_bytes()).await.unwrap();
        let methods = allowed(&read_all(&mut stream).await);
        on_listener.extend(methods.into_iter().map(|method| (path.clone(), method)));
    }
    assert_eq!(on_listener, described_at(&document, "http://127.0.0.1:8400"), "served on the listener, and described");
}

/// Names of an operation's parameters.
fn parameters(document: &Value, path: &str, method: &str) -> BTreeSet<String> {
    let parameters = document["paths"][path][method]["parameters"].as_array();
    let parameters = parameters.unwrap_or_else(|| panic!("{method} {path}"));
    parameters.iter().map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn parameters_have_the_names_by_which_they_are_read() {
    let document = document();
    let values = ["table", "field", "after", "before", "stale", "symbols"];
    let listing = ["since", "limit", "cursor", "source", "min_state", "wait"];
    assert_eq!(parameters(&document, "/v1/latest", "get"), names(&[&values[..], &listing].concat()));
    assert_eq!(parameters(&document, "/v1/watch", "get"), names(&[&values[..], &["snapshot"]].concat()));
    assert_eq!(parameters(&document, "/write", "post"), names(&["precision"]));
    assert_eq!(parameters(&document, "/v1/replay", "post"), names(&["since", "since_ms", "table"]));
}

#[test]
fn limits_are_those_in_force() {
    let document = document();
    for (path, most) in [("/v1/latest", MAX_LISTED), ("/v1/quarantine", MAX_PAGE_ENTRIES)] {
        let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap();
        let limit = parameters.iter().find(|parameter| parameter["name"] == "limit").unwrap();
        assert_eq!(limit["schema"]["maximum"].as_f64(), Some(most as f64), "{path}");
    }
}

/// Every `$ref` below a part of the document.
fn references<'d>(part: &'d Value, found: &mut BTreeSet<&'d str>) {
    match part {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(members) => members.iter().for_each(|member| references(member, found)),
        _ => {}
    }
}

#[test]
fn answers_have_schemas_and_descriptions_and_every_reference_leads_somewhere() {
    let document = document();
    for (path, method, operation) in operations_of(&document) {
        assert!(operation["summary"].is_string() || operation["description"].is_string(), "{method} {path}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let place = format!("{method} {path} {status}");
            assert!(response["description"].is_string(), "{place} has no description, which OpenAPI asks for");
            let json = response["content"]["application/json"].as_object();
            let said = json.is_none_or(|json| json["schema"]["$ref"].is_string() || json["schema"]["type"] == "object");
            assert!(said || path == "/v1/openapi.json", "{place}: {json:?}");
            let is_error = status.starts_with(['4', '5']) && !path.starts_with("/page/");
            assert!(!is_error || response["content"].is_object(), "{place} says nothing of its body");
        }
    }
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 30, "{found:?}");
    for reference in found {
        let place = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(place).is_some(), "{reference} leads nowhere");
    }
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_state_is_described_down_to_its_leaves() {
    let document = document();
    let member = |schema: &str, name: &str| &document["components"]["schemas"][schema]["properties"][name];
    for (schema, name, kind) in [
        ("Status", "lag_s", "number"),
        ("LaneStatus", "batch_rows", "integer"),
        ("RingStatus", "acks_wait_for", "string"),
        ("RingStatus", "gaps", "array"),
        ("RingInfo", "fill", "number"),
        ("RequeueReport", "requeued", "integer"),
        ("QuarantinePage", "moved_on", "boolean"),
    ] {
        assert_eq!(member(schema, name)["type"], kind, "{schema}.{name}");
    }
    assert!(member("FlushStatus", "stored_latency").is_null(), "what is not answered is not described");
}
