//! `GET /v1/openapi.json`: this interface as an `OpenAPI` 3.1 document, generated from the routes' own types and comments.
//!
//! What is served is the text in openapi.json. Code that makes it out of the types would be a
//! fifteenth of the program; the tests have it, and say when the text is another (`make openapi`
//! writes it anew).

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use utoipa::{
    IntoParams, Modify, OpenApi,
    openapi::{
        self, Content, ObjectBuilder, PathItem, Ref, RefOr, Required, ResponseBuilder, Server, ServerBuilder, Type,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn, ParameterStyle},
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
    },
};

use crate::control::page;

/// What can be asked of the daemon on this machine, over its Unix socket; what only reads, and writing with a token, also over
/// `[control] listen`.
#[derive(OpenApi)]
#[openapi(
    info(title = "forebay", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    paths(
        super::latest::latest,
        super::latest::watch,
        super::status,
        super::config::config,
        super::ring::info,
        super::scrape::metrics,
        super::health,
        super::ready,
        super::write::write,
        super::write::write_v2,
        super::write::ping,
        super::write::settings,
        super::write::probes::health,
        super::write::probes::query,
        super::write::probes::query_by_post,
        super::write::probes::ready,
        super::write::buckets::buckets,
        super::write::buckets::make_bucket,
        super::write::buckets::organizations,
        super::write::buckets::make_organization,
        super::write::buckets::setup,
        super::write::buckets::set_up,
        super::quarantine::list,
        super::quarantine::entry,
        super::quarantine::put_back,
        super::quarantine::discard,
        super::admin::flush,
        super::replay::replay,
        super::ring::resize,
        super::ring::resized,
        page::index,
        page::file,
        document,
    ),
    // Responses that are derived bring no schemas.
    components(schemas(super::write::Body, super::write::probes::Results)),
    modifiers(&Everywhere),
)]
struct Document;

/// The document as it is served.
const TEXT: &str = include_str!("openapi.json");

/// The document, made out of the routes.
#[cfg_attr(not(test), expect(dead_code, reason = "the text made of it is served"))]
pub(in crate::control) fn described() -> openapi::OpenApi {
    let mut document = Document::openapi();
    document.servers = Some(servers().into());
    document
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "state", responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value, content_type = "application/json")))]
pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], TEXT).into_response()
}

/// Which series: a table, and every parameter of another name is a symbol and the value it must have.
pub(super) struct SeriesParameters;

impl IntoParams for SeriesParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let symbols = ObjectBuilder::new()
            .additional_properties(Some(RefOr::T(text().build().into())))
            .examples([serde_json::json!({ "device": "dev-1" })]);
        let parameter =
            |name| ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query).required(Required::False);
        let table = parameter("table")
            .description(Some("A table; every one when absent."))
            .example(Some("sensors".into()))
            .schema(Some(text()));
        let symbols = parameter("symbols")
            .style(Some(ParameterStyle::Form))
            .explode(Some(true))
            .description(Some(
                "Symbols and the values they must have, each a parameter: device=dev-1. One that is called like a parameter of another \
                 meaning is written symbol.NAME.",
            ))
            .schema(Some(symbols));
        vec![table.build(), symbols.build()]
    }
}

const FROM_ELSEWHERE: &str =
    "Over `[control] listen`: the request comes from another site, or `Host` is no name of this machine's";
/// What any request about the quarantine may come to.
const OF_QUARANTINE: [(&str, &str); 3] = [
    ("400", "A parameter is wrong"),
    ("500", "The quarantine can't be read or written"),
    ("503", "Too many requests about the quarantine are worked on, or there is none yet"),
];

/// Says what no single route says: where each is served, how a writer shows its token, and what any of them may answer.
struct Everywhere;

impl Modify for Everywhere {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let schemes = [
            ("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer))),
            ("login", SecurityScheme::Http(Http::new(HttpAuthScheme::Basic))),
            ("parameter", SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::new("p")))),
        ];
        let components = document.components.get_or_insert_default();
        for (name, scheme) in schemes {
            components.add_security_scheme(name, scheme);
        }
        let [socket, listener] = servers();
        for (path, operation) in document.paths.paths.iter_mut().flat_map(operations) {
            let tag = operation.tags.iter().flatten().next().map_or("", String::as_str);
            let (servers, on_listener) = match tag {
                "quarantine" | "administration" | "configuration" => (Some(vec![socket.clone()]), false),
                "page" => (Some(vec![listener.clone()]), true),
                _ => (None, true),
            };
            operation.servers = servers;
            let of_others = on_listener.then_some(("403", FROM_ELSEWHERE));
            let of_users = (tag == "administration").then_some(("403", "Neither root nor the daemon's own user"));
            let of_quarantine = path.starts_with("/v1/quarantine").then_some(OF_QUARANTINE).into_iter().flatten();
            let refusals = of_others.into_iter().chain(of_users).chain(of_quarantine);
            for (status, description) in refusals.chain([("503", "Too many connections")]) {
                let response = || ResponseBuilder::new().description(description).build().into();
                let response = operation.responses.responses.entry(status.into()).or_insert_with(response);
                if let RefOr::T(response) = response {
                    let problem = || Content::new(Some(Ref::from_schema_name("Problem"))).into();
                    response.content.entry("application/problem+json".into()).or_insert_with(problem);
                }
            }
        }
    }
}

fn servers() -> [Server; 2] {
    let server = |url, what| ServerBuilder::new().url(url).description(Some(what)).build();
    [server("http://forebay", "over the Unix socket"), server("http://127.0.0.1:8400", "[control] listen")]
}

fn operations<'a>((path, item): (&'a String, &'a mut PathItem)) -> impl Iterator<Item = (&'a str, &'a mut Operation)> {
    [&mut item.get, &mut item.post].into_iter().filter_map(Option::as_mut).map(|operation| (path.as_str(), operation))
}

#[cfg(test)]
mod tests;
