//! What Telegraf's parsers make of a payload, as keys of a source: a file a parser.

mod csv;
mod influx;
mod json;
mod json_v2;
mod value;

use super::{
    draft::{Draft, Time},
    layout,
    remark::{Kind, Place},
    section::Section,
};

/// Sets the keys that a payload's format asks for. False where forebay does not read the format.
pub fn apply(section: &mut Section, draft: &mut Draft) -> bool {
    let place = section.place_of("data_format");
    let format = section.text("data_format").unwrap_or_else(|| "influx".into());
    match format.as_str() {
        "json" => json::apply(section, draft),
        "json_v2" => json_v2::apply(section, draft),
        "value" => value::apply(section, draft),
        "influx" => influx::apply(section, draft),
        "csv" => csv::apply(section, draft),
        other => {
            let hint = if other.starts_with("xpath_json") {
                "; write rows, symbols and fields by hand, or a jq program"
            } else if matches!(other, "grok" | "logfmt" | "xml" | "form_urlencoded" | "graphite") {
                "; with format = \"plain\" a jq program takes such a text apart"
            } else {
                ""
            };
            let what = format!("forebay does not read data_format = {other:?}{hint}");
            section.remark(Kind::NoCounterpart, place, "", what);
            return false;
        }
    }
    true
}

/// The type that forebay has for one of Telegraf's.
fn kind(word: &str) -> Option<&'static str> {
    match word {
        "int" | "integer" | "uint" | "unsigned" => Some("long"),
        "float" | "float64" => Some("double"),
        "string" => Some("string"),
        "bool" | "boolean" => Some("boolean"),
        _ => None,
    }
}

/// Where a time stands and how it is written; none where forebay can't read it.
fn time(
    section: &mut Section,
    field: String,
    format: Option<(Place, String)>,
    zone: Option<(Place, String)>,
) -> Option<Time> {
    let Some((place, format)) = format else {
        let place = section.place.clone();
        let what = format!("Telegraf refuses the time {field:?} without its format; here forebay tells it by itself");
        section.remark(Kind::Changed, place, "timestamp", what);
        return Some(Time { field, ..Time::default() });
    };
    let zone = zone.and_then(|(place, zone)| match zone.as_str() {
        "" | "UTC" => None,
        "Local" => {
            let what = "Telegraf takes the machine's zone (Local); write it as zone = \"Europe/Berlin\"";
            section.remark(Kind::NoCounterpart, place, "timestamp", what);
            None
        }
        _ => Some(zone),
    });
    match layout::of(&format) {
        Ok(layout) => {
            if let Some(what) = layout.what {
                section.remark(Kind::Changed, place, "timestamp", what);
            }
            let is_text = layout.unit == "rfc3339" || layout.unit.contains('%');
            Some(Time { field, unit: layout.unit, zone: zone.filter(|_| is_text) })
        }
        Err(what) => {
            section.remark(Kind::NoCounterpart, place, "timestamp", format!("{format:?}: {what}"));
            None
        }
    }
}
