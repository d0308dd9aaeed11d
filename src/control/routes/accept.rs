//! Content negotiation (RFC 9110, section 12.5.1): JSON, CSV or plain text. Pure.

use axum::http::{HeaderMap, StatusCode, header};

use super::problem;
use crate::control::api::Problem;

/// Most alternatives of an `Accept` field that are looked at.
const MAX_ALTERNATIVES: usize = 64;

/// A form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `application/json`.
    Json,
    /// `text/csv`, one line a field (RFC 4180).
    Csv,
    /// `text/plain`, one line a field, its columns parted by tabs.
    Text,
}

/// By preference where the client has none.
const FORMS: [Form; 3] = [Form::Json, Form::Csv, Form::Text];

impl Form {
    /// The form that the request's `Accept` fields ask for; JSON when there is none.
    pub fn asked(headers: &HeaderMap) -> Result<Self, Problem> {
        let fields: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
        let asked = fields.join(",");
        if asked.trim().is_empty() {
            return Ok(Self::Json);
        }
        let quality = |form: &Self| (form.quality(&asked), *form);
        // The first of equals.
        let best = FORMS.iter().map(quality).reduce(|best, next| if next.0 > best.0 { next } else { best });
        best.filter(|(quality, _)| *quality > 0).map(|(_, form)| form).ok_or_else(|| {
            let detail = format!("none of the forms accepted is available: {}", crate::observe::log::clip(&asked));
            problem(StatusCode::NOT_ACCEPTABLE, detail, "accept application/json, text/csv or text/plain")
        })
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Text => "text/plain; charset=utf-8",
        }
    }

    fn essence(self) -> (&'static str, &'static str) {
        match self {
            Self::Json => ("application", "json"),
            Self::Csv => ("text", "csv"),
            Self::Text => ("text", "plain"),
        }
    }

    /// How much the client wants it, in thousandths: what the most specific range that covers it says.
    fn quality(self, accept: &str) -> u16 {
        let (kind, sub) = self.essence();
        let ranges = accept.split(',').take(MAX_ALTERNATIVES).filter_map(|alternative| {
            let mut parts = alternative.split(';').map(str::trim);
            let (range_kind, range_sub) = parts.next()?.split_once('/')?;
            let is = |asked: &str, have: &str| asked.eq_ignore_ascii_case(have);
            let specific = match () {
                () if is(range_kind, kind) && is(range_sub, sub) => 3,
                () if is(range_kind, kind) && range_sub == "*" => 2,
                () if range_kind == "*" && range_sub == "*" => 1,
                () => return None,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            let quality =
                weight.map_or(Some(1.0), |weight| weight.parse::<f32>().ok().filter(|q| (0.0..=1.0).contains(q)))?;
            Some((specific, (quality * 1_000.0).round() as u16))
        });
        ranges.max_by_key(|(specific, _)| *specific).map_or(0, |(_, quality)| quality)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(accept: &[&'static str]) -> Option<Form> {
        let mut headers = HeaderMap::new();
        for field in accept {
            headers.append(header::ACCEPT, field.parse().unwrap());
        }
        Form::asked(&headers).ok()
    }

    #[test]
    fn the_most_wanted_form_is_chosen() {
        for (accept, form) in [
            (&[][..], Some(Form::Json)),
            (&[""], Some(Form::Json)),
            (&["*/*"], Some(Form::Json)),
            (&["text/csv"], Some(Form::Csv)),
            (&["TEXT/Plain"], Some(Form::Text)),
            (&["text/*"], Some(Form::Csv)),
            (&["text/html, text/plain;q=0.5, */*;q=0.1"], Some(Form::Text)),
            (&["application/json;q=0, */*"], Some(Form::Csv)),
            (&["text/html", "text/csv"], Some(Form::Csv)),
            (&["text/csv;charset=utf-8;q=0.2, application/json;q=0.3"], Some(Form::Json)),
            (&["image/png"], None),
            (&["text/csv;q=0"], None),
            (&["text/csv;q=2"], None),
            (&["nonsense"], None),
        ] {
            assert_eq!(asked(accept), form, "{accept:?}");
        }
    }
}
