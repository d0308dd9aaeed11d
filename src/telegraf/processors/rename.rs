//! `processors.rename`.

use crate::telegraf::{
    draft::{Draft, TagAt},
    remark::Kind,
    section::Section,
};

/// Renames measurement, tags and fields, one after the other.
pub fn apply(section: &mut Section, draft: &mut Draft) {
    for mut replace in section.tables("replace") {
        let place = replace.place.clone();
        let [measurement, tag, field, to] =
            ["measurement", "tag", "field", "dest"].map(|key| replace.text(key).unwrap_or_default());
        if to.is_empty() {
            continue;
        }
        if !measurement.is_empty() {
            match draft.measurement() {
                Some(name) if name == measurement => draft.set_measurement(&to),
                Some(_) => {}
                None => {
                    let what = format!(
                        "the table's name is told by each message: {measurement:?} can't be renamed; a source for its topics alone can have table = {to:?}"
                    );
                    draft.say(Kind::NoCounterpart, &place, "table", what);
                }
            }
        } else if !tag.is_empty() {
            if draft.tag(&tag) != TagAt::Unknown {
                draft.rename_tag(&tag, &to);
            }
        } else if !field.is_empty() {
            let is_known = draft.is_open() || draft.field_names().contains(&field);
            if is_known {
                draft.rename_field(&field, &to);
            }
        }
    }
}
