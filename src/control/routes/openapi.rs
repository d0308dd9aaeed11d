//! `GET /v1/openapi.json`: this interface as an `OpenAPI` 3.1 document, generated from the routes' own types and comments.

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use utoipa::{
    IntoParams, OpenApi,
    openapi::{
        ObjectBuilder, RefOr, Required, Type,
        path::{Parameter, ParameterBuilder, ParameterIn, ParameterStyle},
    },
};

/// What can be asked of the daemon on this machine, over its Unix socket; what only reads also over `[control] listen`.
#[derive(OpenApi)]
#[openapi(
    info(title = "forebay", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    servers((url = "http://forebay", description = "over the Unix socket"), (url = "http://127.0.0.1:8400", description = "[control] listen")),
    paths(
        super::latest::latest,
        super::latest::watch,
        super::status,
        super::ring::info,
        super::scrape::metrics,
        super::health,
        super::ready,
        document,
    )
)]
struct Document;

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "state", responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value, content_type = "application/json")))]
pub(super) async fn document() -> Response {
    match Document::openapi().to_json() {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => {
            let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
            super::problem(status, error.to_string(), "report this as a bug").into_response()
        }
    }
}

/// Parameters of `/v1/latest`.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes what query.rs reads")]
pub(super) struct LatestParameters {
    /// A table; every one when absent.
    #[param(example = "sensors")]
    table: Option<String>,
    /// Only these fields, parted by commas; may be given several times.
    #[param(example = "temperature")]
    field: Option<String>,
    /// Only values whose event time is then or later: RFC 3339, or a span back from now such as `10m`.
    #[param(example = "10m")]
    after: Option<String>,
    /// Only values whose event time is earlier.
    #[param(example = "2026-03-01T12:00:00Z")]
    before: Option<String>,
    /// Only stale series, or only fresh ones.
    stale: Option<bool>,
    /// Only series that a later record has changed: the `seq` of an earlier answer. With nothing new the list is empty.
    since: Option<u64>,
    /// Most series.
    #[param(minimum = 1, maximum = 2000)]
    limit: Option<u32>,
    /// Where to go on: the `next` of an earlier answer.
    cursor: Option<String>,
    /// `memory`: QuestDB is not asked. `questdb`: it is asked in any case (needs a table). `any`: when memory has nothing that matches.
    #[param(inline)]
    source: Option<SourceWord>,
    /// Waits until the values found have come so far. `stored`: QuestDB shows them in queries.
    #[param(inline)]
    min_state: Option<crate::ring::State>,
    /// How long that may take, such as `500ms`; 5 s when absent, 30 s at most. After that: 504.
    #[param(example = "2s")]
    wait: Option<String>,
}

/// Parameters of `/v1/watch`.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes what query.rs reads")]
pub(super) struct WatchParameters {
    /// A table; every one when absent.
    table: Option<String>,
    /// Only changes of these fields, parted by commas; may be given several times.
    field: Option<String>,
    /// Tells first what holds now.
    snapshot: Option<bool>,
}

#[derive(utoipa::ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code, reason = "it describes what query.rs reads")]
enum SourceWord {
    Any,
    Memory,
    Questdb,
}

/// Every other parameter is a symbol and the value it must have.
pub(super) struct SymbolParameters;

impl IntoParams for SymbolParameters {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let symbols = ObjectBuilder::new()
            .additional_properties(Some(RefOr::T(text.build().into())))
            .examples([serde_json::json!({ "device": "dev-1" })]);
        let parameter = ParameterBuilder::new()
            .name("symbols")
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .style(Some(ParameterStyle::Form))
            .explode(Some(true))
            .description(Some(
                "Symbols and the values they must have, each a parameter: device=dev-1. One that is called like a parameter of another \
                 meaning is written symbol.NAME.",
            ))
            .schema(Some(symbols));
        vec![parameter.build()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_that_reads_is_described() {
        let document = serde_json::to_value(Document::openapi()).unwrap();
        let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
        for path in ["/v1/latest", "/v1/watch", "/v1/status", "/v1/ring", "/metrics", "/healthz", "/readyz"] {
            assert!(paths.iter().any(|have| *have == path), "{path} in {paths:?}");
        }
        let parameters = document["paths"]["/v1/latest"]["get"]["parameters"].as_array().unwrap();
        let names: Vec<&str> = parameters.iter().filter_map(|parameter| parameter["name"].as_str()).collect();
        for name in [
            "table",
            "field",
            "after",
            "before",
            "stale",
            "since",
            "limit",
            "cursor",
            "source",
            "min_state",
            "wait",
            "symbols",
        ] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        for (path, route) in document["paths"].as_object().unwrap() {
            for (status, response) in route["get"]["responses"].as_object().unwrap() {
                assert!(
                    response["description"].is_string(),
                    "{path} {status} has no description, which OpenAPI asks for"
                );
            }
        }
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }
}
