//! Buckets, organizations and the first set-up, which clients of `InfluxDB` 2 ask for or want to
//! make. forebay has none of them: it reads no such name, and makes the tables by itself. So one of
//! any name is there, and one that is to be made is there already. docs/write.md describes it.

use axum::{Json, extract::Request, http::Uri};
use serde::Serialize;
use utoipa::{IntoParams, IntoResponses, ToSchema};

use super::{
    answer::{Barred, Body, Refusal},
    body::drain,
    probes::{NAME, Parameters, named, parameters},
};

/// The id of the one bucket, and of its organization, in the form of `InfluxDB`'s.
const ID: &str = "0000000000000001";

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BucketLinks)]
pub(in crate::control::routes) struct Links {
    #[serde(rename = "self")]
    #[schema(value_type = String)]
    own: &'static str,
}

/// The answer of `GET /api/v2/buckets`.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::control::routes) struct Buckets {
    links: Links,
    buckets: Vec<Bucket>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::control::routes) struct Bucket {
    #[schema(value_type = String)]
    id: &'static str,
    #[serde(rename = "orgID")]
    #[schema(value_type = String)]
    org_id: &'static str,
    /// `user`.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: &'static str,
    /// The one asked for; else `forebay`.
    name: String,
    /// None: tables have their own.
    retention_rules: [String; 0],
}

/// What a request for buckets may say.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes what is read from the list of parameters")]
pub(in crate::control::routes) struct BucketParameters {
    /// The bucket that the client writes to: any.
    name: Option<String>,
    /// The list begins behind the one bucket, unless this is 0.
    offset: Option<String>,
    /// The list begins behind the one bucket.
    after: Option<String>,
}

/// The answers to who wants to make something, for the description of the interface.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "it describes what the handlers make")]
pub(in crate::control::routes) enum MakingAnswers {
    /// It is there already (`"code":"conflict"`); the message says why nothing has to be made.
    #[response(status = 422)]
    Conflict(Body),
    /// Nothing is taken in.
    #[response(status = 503)]
    Unavailable(Body),
}

/// The buckets that clients of `InfluxDB` 2 can write to: the one that they name, since any name
/// will do.
#[utoipa::path(
    get,
    path = "/api/v2/buckets",
    tag = "writing",
    params(BucketParameters),
    security((), ("token" = []), ("login" = []), ("parameter" = [])),
    responses(
        (status = 200, description = "As `InfluxDB` 2 lists them", body = Buckets, content_type = "application/json"),
        (status = 400, description = "The parameters cannot be read", body = Body, content_type = "application/json"),
        (status = 503, description = "Nothing is taken in", body = Body, content_type = "application/json"),
        Barred,
    )
)]
pub(in crate::control::routes) async fn buckets(uri: Uri) -> Result<Json<Buckets>, Refusal> {
    let parameters = parameters(&uri)?;
    let name = named(&parameters, "name").unwrap_or(NAME).to_owned();
    let bucket = Bucket { id: ID, org_id: ID, kind: "user", name, retention_rules: [] };
    let buckets = if is_behind(&parameters) { Vec::new() } else { vec![bucket] };
    Ok(Json(Buckets { links: Links { own: "/api/v2/buckets" }, buckets }))
}

/// Whether the part of a list that is asked for begins behind the one element.
fn is_behind(parameters: &Parameters) -> bool {
    named(parameters, "offset").is_some_and(|offset| offset != "0") || named(parameters, "after").is_some()
}

/// Makes no bucket: one of any name is there.
#[utoipa::path(
    post,
    path = "/api/v2/buckets",
    tag = "writing",
    request_body(content = serde_json::Value, content_type = "application/json", description = "It is not read"),
    security((), ("token" = []), ("login" = []), ("parameter" = [])),
    responses(MakingAnswers, Barred)
)]
pub(in crate::control::routes) async fn make_bucket(request: Request) -> Refusal {
    refused(request, "a bucket of any name exists already: write to it, and forebay makes the tables by itself").await
}

/// The answer of `GET /api/v2/orgs`.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::control::routes) struct Organizations {
    links: Links,
    orgs: Vec<Organization>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(in crate::control::routes) struct Organization {
    #[schema(value_type = String)]
    id: &'static str,
    /// The one asked for; else `forebay`.
    name: String,
}

/// What a request for organizations may say.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes what is read from the list of parameters")]
pub(in crate::control::routes) struct OrganizationParameters {
    /// The organization that the client writes to: any.
    org: Option<String>,
    /// The list begins behind the one organization, unless this is 0.
    offset: Option<String>,
}

/// The organizations that clients of `InfluxDB` 2 can write to: the one that they name.
#[utoipa::path(
    get,
    path = "/api/v2/orgs",
    tag = "writing",
    params(OrganizationParameters),
    security((), ("token" = []), ("login" = []), ("parameter" = [])),
    responses(
        (status = 200, description = "As `InfluxDB` 2 lists them", body = Organizations, content_type = "application/json"),
        (status = 400, description = "The parameters cannot be read", body = Body, content_type = "application/json"),
        (status = 503, description = "Nothing is taken in", body = Body, content_type = "application/json"),
        Barred,
    )
)]
pub(in crate::control::routes) async fn organizations(uri: Uri) -> Result<Json<Organizations>, Refusal> {
    let parameters = parameters(&uri)?;
    let organization = Organization { id: ID, name: named(&parameters, "org").unwrap_or(NAME).to_owned() };
    let orgs = if is_behind(&parameters) { Vec::new() } else { vec![organization] };
    Ok(Json(Organizations { links: Links { own: "/api/v2/orgs" }, orgs }))
}

/// Makes no organization: one of any name is there.
#[utoipa::path(
    post,
    path = "/api/v2/orgs",
    tag = "writing",
    request_body(content = serde_json::Value, content_type = "application/json", description = "It is not read"),
    security((), ("token" = []), ("login" = []), ("parameter" = [])),
    responses(MakingAnswers, Barred)
)]
pub(in crate::control::routes) async fn make_organization(request: Request) -> Refusal {
    refused(request, "an organization of any name exists already: write to it, and forebay makes the tables by itself")
        .await
}

/// The answer of `GET /api/v2/setup`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClientSetup)]
pub(in crate::control::routes) struct Setup {
    /// False: there is nothing to set up.
    allowed: bool,
}

/// Whether a client of `InfluxDB` 2 may set up the first user, organization and bucket: no.
#[utoipa::path(get, path = "/api/v2/setup", tag = "writing", responses(
    (status = 200, description = "As `InfluxDB` 2 answers it once it is set up", body = Setup, content_type = "application/json"),
))]
pub(in crate::control::routes) async fn setup() -> Json<Setup> {
    Json(Setup { allowed: false })
}

/// Sets up nothing.
#[utoipa::path(
    post,
    path = "/api/v2/setup",
    tag = "writing",
    request_body(content = serde_json::Value, content_type = "application/json", description = "It is not read"),
    responses(
        (status = 422, description = "There is nothing to set up (`\"code\":\"conflict\"`)", body = Body, content_type = "application/json"),
    )
)]
pub(in crate::control::routes) async fn set_up(request: Request) -> Refusal {
    refused(request, "onboarding has already been completed: the token is that of control.token_file in forebay.toml")
        .await
}

async fn refused(request: Request, why: &str) -> Refusal {
    let (parts, body) = request.into_parts();
    drain(body, &parts.headers).await;
    Refusal::conflict(why)
}
