//! What stands between the loopback listener and the web. Any site that a browser on this machine shows can send requests here; the
//! browser says where they come from, and only those of this very page are answered.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::problem;
use crate::control::{api::Problem, page};

/// What a browser may do with any answer: nothing but what the page needs. No script runs but the page's files, nothing is loaded from
/// elsewhere, no site may frame, embed or keep a handle on it.
const RULES: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-embedder-policy", "require-corp"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

/// Refuses what comes from another site, and states the rules with every answer.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let mut response = match check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in RULES {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn check<B>(request: &axum::http::Request<B>) -> Result<(), Problem> {
    let headers = request.headers();
    let host = host(headers)?;
    // An absolute target takes the place of Host (RFC 9112, section 3.2.2), so both must be ours.
    for name in [Some(&host), request.uri().authority()].into_iter().flatten() {
        if !is_loopback(name) {
            // A site can have its own domain resolve to this machine (DNS rebinding); the name gives it away.
            let detail = format!("{:?} is no name of this machine's loopback", name.as_str());
            return Err(refused(detail, "use 127.0.0.1 or localhost"));
        }
    }
    if let Some(origin) = one(headers, &header::ORIGIN)?
        && !is_origin_of(origin, &host)
    {
        return Err(elsewhere(&format!("the request comes from {origin:?}")));
    }
    match one(headers, &HeaderName::from_static("sec-fetch-site"))? {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) if is_link_to_page(request) => Ok(()),
        Some(site) => Err(elsewhere(&format!("the request comes from another site ({site})"))),
    }
}

/// The one Host that a request must have.
fn host(headers: &HeaderMap) -> Result<Authority, Problem> {
    let host = one(headers, &header::HOST)?.and_then(|host| host.parse().ok());
    host.ok_or_else(|| refused("the request names no host", "send Host: 127.0.0.1"))
}

/// A header that may be there once.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(value)), None) => Ok(Some(value)),
        _ => Err(problem(StatusCode::BAD_REQUEST, format!("{name} is there twice or is no text"), "send it once")),
    }
}

/// By name or address, whatever the port: a tunnel may have given it another.
fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let by_name = host.eq_ignore_ascii_case("localhost");
    !authority.as_str().contains('@')
        && (by_name || address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()))
}

/// Whether a browser's origin (RFC 6454, section 7) is the page at this host. `null` is nobody's.
fn is_origin_of(origin: &str, host: &Authority) -> bool {
    let name = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    name.is_some_and(|name| name.eq_ignore_ascii_case(host.as_str()))
}

/// Following a link to the page shows it to the person and nothing to the site the link is on.
fn is_link_to_page<B>(request: &axum::http::Request<B>) -> bool {
    let says = |name, value| request.headers().get(HeaderName::from_static(name)).is_some_and(|said| said == value);
    request.method().is_safe()
        && request.uri().path() == page::PATH
        && says("sec-fetch-mode", "navigate")
        && says("sec-fetch-dest", "document")
}

fn elsewhere(detail: &str) -> Problem {
    refused(detail, "open forebay's own page, or ask with a program such as curl")
}

fn refused(detail: impl Into<String>, hint: &str) -> Problem {
    problem(StatusCode::FORBIDDEN, detail, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status with which a request is refused; 0 when it is not.
    fn refusal(target: &str, headers: &[(&str, &str)]) -> u16 {
        let builder = axum::http::Request::builder().uri(target);
        let request = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
        check(&request.body(()).unwrap()).map_or_else(|problem| problem.status, |()| 0)
    }

    #[test]
    fn only_loopback_names_pass() {
        for name in ["localhost", "LOCALHOST:8400", "127.0.0.1:8400", "127.9.9.9", "[::1]:8400", "[::1]"] {
            assert_eq!(refusal("/", &[("host", name)]), 0, "{name}");
        }
        for name in
            ["", "evil.example", "127.0.0.1.evil.example:80", "10.0.0.1", "[fe80::1]", "localhost@evil.example", "a b"]
        {
            assert_eq!(refusal("/", &[("host", name)]), 403, "{name}");
        }
        assert_eq!(refusal("/", &[]), 403);
        assert_eq!(refusal("/", &[("host", "localhost"), ("host", "localhost")]), 400);
        assert_eq!(refusal("http://evil.example/", &[("host", "localhost")]), 403);
    }

    #[test]
    fn only_the_page_itself_may_ask() {
        let from = |origin| refusal("/v1/status", &[("host", "localhost:8400"), ("origin", origin)]);
        assert_eq!((from("http://localhost:8400"), from("https://localhost:8400")), (0, 0));
        for origin in
            ["null", "", "http://localhost:3000", "http://127.0.0.1:8400", "http://evil.example", "localhost:8400"]
        {
            assert_eq!(from(origin), 403, "{origin}");
        }
        let sent = |site| refusal("/v1/status", &[("host", "localhost"), ("sec-fetch-site", site)]);
        assert_eq!((sent("same-origin"), sent("none"), sent("same-site"), sent("cross-site")), (0, 0, 403, 403));
    }

    #[test]
    fn a_link_may_lead_to_the_page_but_not_into_a_frame_or_to_data() {
        let follow = |target, mode, dest| {
            let fetch = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
            refusal(target, &[&[("host", "localhost")], &fetch[..]].concat())
        };
        assert_eq!(follow("/", "navigate", "document"), 0);
        assert_eq!(follow("/", "navigate", "iframe"), 403);
        assert_eq!(follow("/", "no-cors", "script"), 403);
        assert_eq!(follow("/v1/latest", "navigate", "document"), 403);
    }
}
