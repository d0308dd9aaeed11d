//! The page: a few hand-written files inside the program, served on the loopback listener. It asks `/v1/status` and `/v1/latest`
//! of the same listener and nothing of anybody else.

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

/// Where the page is.
pub(super) const PATH: &str = "/";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

struct File {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const INDEX: File = File { name: "index.html", kind: HTML, text: include_str!("index.html") };

/// What the page consists of besides, at `/page/NAME`.
const FILES: &[File] = &[
    File { name: "style.css", kind: CSS, text: include_str!("style.css") },
    File { name: "icon.svg", kind: SVG, text: include_str!("icon.svg") },
    File { name: "app.js", kind: SCRIPT, text: include_str!("app.js") },
    File { name: "charts.js", kind: SCRIPT, text: include_str!("charts.js") },
    File { name: "dom.js", kind: SCRIPT, text: include_str!("dom.js") },
    File { name: "feed.js", kind: SCRIPT, text: include_str!("feed.js") },
    File { name: "figures.js", kind: SCRIPT, text: include_str!("figures.js") },
    File { name: "history.js", kind: SCRIPT, text: include_str!("history.js") },
    File { name: "latest.js", kind: SCRIPT, text: include_str!("latest.js") },
    File { name: "plot.js", kind: SCRIPT, text: include_str!("plot.js") },
    File { name: "search.js", kind: SCRIPT, text: include_str!("search.js") },
    File { name: "state.js", kind: SCRIPT, text: include_str!("state.js") },
];

/// The page's routes. What they answer has no state.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route(PATH, get(index)).route("/page/{name}", get(file))
}

/// The page, on the loopback listener alone.
#[utoipa::path(get, path = "/", tag = "page", responses(
    (status = 200, description = "It", body = String, content_type = "text/html"),
    (status = 304, description = "The copy that the browser holds is still it"),
))]
pub(super) async fn index(headers: HeaderMap) -> Response {
    serve(&INDEX, &headers)
}

/// What the page consists of besides.
#[utoipa::path(get, path = "/page/{name}", tag = "page", params(("name" = String, Path, description = "A file's name")), responses(
    (status = 200, description = "The file", content((String = "text/css"), (String = "text/javascript"), (String = "image/svg+xml"))),
    (status = 304, description = "The copy that the browser holds is still it"),
    (status = 404, description = "There is no such file"),
))]
pub(super) async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match FILES.iter().find(|file| file.name == name) {
        Some(file) => serve(file, &headers),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The file, or that the browser's copy still holds: each load asks, so that an update of the daemon never meets an older page's files.
fn serve(file: &File, asked: &HeaderMap) -> Response {
    let tag = file.tag();
    let held = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|held| held.to_str().ok());
    let unchanged = held.flat_map(|held| held.split(',')).any(|held| held.trim().trim_start_matches("W/") == tag);
    let headers =
        [(header::ETAG, tag.as_str()), (header::CACHE_CONTROL, "no-cache"), (header::CONTENT_TYPE, file.kind)];
    if unchanged { (StatusCode::NOT_MODIFIED, headers).into_response() } else { (headers, file.text).into_response() }
}

impl File {
    /// An entity tag (RFC 9110, section 8.8.3): a checksum and the length.
    fn tag(&self) -> String {
        format!("\"{:08x}-{:x}\"", crc32c::crc32c(self.text.as_bytes()), self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a file names in quotes and begins with `prefix`.
    fn named<'t>(text: &'t str, prefix: &'t str) -> impl Iterator<Item = &'t str> {
        text.split(['"', '\'']).filter_map(move |part| part.strip_prefix(prefix))
    }

    #[test]
    fn every_file_is_named_by_another_and_every_name_is_a_file() {
        let all = || std::iter::once(&INDEX).chain(FILES);
        let mut names: Vec<_> = named(INDEX.text, "/page/").collect();
        names.extend(all().filter(|file| file.kind == SCRIPT).flat_map(|file| named(file.text, "./")));
        for name in &names {
            assert!(FILES.iter().any(|file| file.name == *name), "{name} is named and not served");
        }
        for file in FILES {
            assert!(names.contains(&file.name), "{} is served and never used", file.name);
        }
    }

    #[test]
    fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
        for file in std::iter::once(&INDEX).chain(FILES) {
            let text = file.text.replace("http://www.w3.org/2000/svg", "");
            for wrong in [
                "http:",
                "https:",
                "//cdn",
                "@import",
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
            ] {
                assert!(!text.contains(wrong), "{} has {wrong}", file.name);
            }
        }
        for wrong in ["<style", " style=", " onclick", " onload", "javascript:"] {
            assert!(!INDEX.text.contains(wrong), "{wrong}");
        }
        assert_eq!(
            INDEX.text.matches("<script").count(),
            INDEX.text.matches("<script type=\"module\" src=\"/page/").count()
        );
    }

    #[tokio::test]
    async fn a_copy_that_still_holds_is_not_sent_again() {
        let whole = index(HeaderMap::new()).await;
        assert_eq!(
            (whole.status(), &whole.headers()[header::CACHE_CONTROL]),
            (StatusCode::OK, &"no-cache".parse().unwrap())
        );
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, format!("\"old\", {}", INDEX.tag()).parse().unwrap());
        assert_eq!(index(headers.clone()).await.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(file(Path("style.css".into()), headers.clone()).await.status(), StatusCode::OK);
        assert_eq!(file(Path("../mod.rs".into()), headers).await.status(), StatusCode::NOT_FOUND);
    }
}
