//! `data_format = "value"`: the payload is one value.

use crate::telegraf::{
    draft::{Draft, Format},
    jq,
    remark::Kind,
    section::Section,
};

/// Sets its keys.
pub fn apply(section: &mut Section, draft: &mut Draft) {
    draft.format = Format::Plain;
    draft.field = section.text("value_field_name").filter(|name| !name.is_empty() && name != "value");
    let place = section.place_of("data_type");
    let is_named = section.has("data_type");
    let word = section.text("data_type").unwrap_or_default();
    let kind = match word.as_str() {
        "" | "int" | "integer" => "long",
        "float" | "long" => "double",
        "str" | "string" => "string",
        "bool" | "boolean" => "boolean",
        "auto_float" => {
            return;
        }
        "auto_integer" => {
            let what = "a whole number makes a DOUBLE column, since text may come as well; fields = { value = \"long\" } \
                        makes a LONG one, and sets text aside";
            section.remark(Kind::Changed, place, "fields", what);
            return;
        }
        "base64" => {
            draft.jq = Some(format!("{{{}: @base64}}", jq::text(&draft.field_name())));
            let what = "a jq program encodes the payload; one that is no UTF-8 is set aside";
            section.remark(Kind::Changed, place, "jq", what);
            return;
        }
        other => {
            let what = format!("Telegraf knows no data_type {other:?}; forebay tells by the payload what it is");
            section.remark(Kind::NoCounterpart, place, "fields", what);
            return;
        }
    };
    if !is_named {
        let what = "without data_type Telegraf takes whole numbers alone, and so does this source; write \"double\" \
                    where others come";
        section.remark(Kind::Note, place, "fields", what);
    }
    draft.fields.insert(draft.field_name(), kind);
}
