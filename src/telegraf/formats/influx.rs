//! `data_format = "influx"`: line protocol.

use crate::telegraf::{
    draft::{Draft, Format, Time},
    remark::Kind,
    section::Section,
};

/// Sets its keys.
pub fn apply(section: &mut Section, draft: &mut Draft) {
    draft.format = Format::Line;
    draft.table = "{measurement}".into();
    section.without(&["influx_parser_type"]);
    let Some((place, precision)) = section.text_at("influx_timestamp_precision") else { return };
    let unit = match precision.as_str() {
        "1ns" | "" => return,
        "1us" | "1µs" => "us",
        "1ms" => "ms",
        "1s" => "s",
        other => {
            let what = format!("{other:?} is no unit of a line's time; forebay tells it by its size");
            section.remark(Kind::NoCounterpart, place, "timestamp", what);
            return;
        }
    };
    draft.time = Some(Time { unit: unit.into(), ..Time::default() });
}
