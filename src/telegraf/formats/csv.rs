//! `data_format = "csv"`: rows of cells.

use crate::telegraf::{
    draft::{Draft, Format},
    remark::Kind,
    section::Section,
};

/// Most columns that may be skipped, as many as a row has.
const MAX_SKIPPED: i64 = 1_000;

/// Sets its keys.
pub fn apply(section: &mut Section, draft: &mut Draft) {
    draft.format = Format::Csv;
    let header = section.int_at("csv_header_row_count");
    let names = section.texts("csv_column_names");
    let types = section.texts_at("csv_column_types");
    columns(section, draft, names, header.as_ref().map_or(0, |(_, count)| *count));
    if let Some((place, types)) = types {
        if draft.columns.is_empty() {
            let what =
                "types go by names, and these columns are named by each payload; write fields = { NAME = \"long\" }";
            section.remark(Kind::NoCounterpart, place, "fields", what);
        } else {
            let skipped = draft.columns.iter().take_while(|name| name.is_empty()).count();
            let named: Vec<String> = draft.columns.iter().skip(skipped).cloned().collect();
            let typed = named.into_iter().zip(types).filter_map(|(name, word)| Some((name, super::kind(&word)?)));
            draft.fields.extend(typed);
        }
    }
    draft.delimiter = section.text("csv_delimiter").filter(|delimiter| !delimiter.is_empty() && delimiter != ",");
    draft.null_values = section.texts("csv_skip_values").into_iter().filter(|text| !text.is_empty()).collect();
    symbols(section, draft);
    if let Some(column) = section.text("csv_timestamp_column").filter(|column| !column.is_empty()) {
        let (format, zone) = (section.text_at("csv_timestamp_format"), section.text_at("csv_timezone"));
        draft.time = super::time(section, column.clone(), format, zone);
        draft.fields.remove(&column);
        if draft.time.is_none() {
            draft.fields.insert(column, "string");
        }
    }
    without_counterpart(section);
}

fn columns(section: &mut Section, draft: &mut Draft, names: Vec<String>, header_rows: i64) {
    let skipped = section.int_at("csv_skip_columns");
    if header_rows > 1 {
        let place = section.place.clone();
        let what = "a header of several lines is read as one line and rows; name the columns with columns = [\"…\"]";
        section.remark(Kind::NoCounterpart, place, "columns", what);
    }
    if header_rows == 1 && names.is_empty() {
        let place = section.place.clone();
        let what = "forebay takes the first line of each message for the names; Telegraf that of the first message \
                    alone, unless csv_reset_mode = \"always\". Where the others have none, write columns = [\"…\"]";
        section.remark(Kind::Changed, place, "columns", what);
    }
    if header_rows == 1 && !names.is_empty() {
        let place = section.place.clone();
        let what = "Telegraf passes over the first line of the first message; here a first line is passed over in each \
                    message where it has just these names";
        section.remark(Kind::Changed, place, "columns", what);
    }
    if let Some((place, count)) = skipped.filter(|(_, count)| *count > 0) {
        if names.is_empty() || count > MAX_SKIPPED {
            let what = "the first columns are not skipped; leave them out by their names with ignore = [\"…\"]";
            section.remark(Kind::NoCounterpart, place, "ignore", what);
        } else {
            draft.columns.extend((0..count).map(|_| String::new()));
        }
    }
    draft.columns.extend(names);
}

fn symbols(section: &mut Section, draft: &mut Draft) {
    draft.symbols = section.texts("csv_tag_columns");
    for column in &draft.symbols {
        draft.fields.remove(column);
    }
    let Some((place, column)) = section.text_at("csv_measurement_column") else { return };
    if !column.is_empty() && !draft.symbols.contains(&column) {
        draft.fields.remove(&column);
        draft.symbols.push(column.clone());
        let what = format!("a cell can't name the table: all rows go to one, and {column:?} is a symbol there");
        section.remark(Kind::Changed, place, "table", what);
    }
}

/// Options about lines that are no rows.
fn without_counterpart(section: &mut Section) {
    for (key, what) in [
        (
            "csv_skip_rows",
            "lines before the rows are taken for rows: one that has no number where one is wanted is set aside",
        ),
        (
            "csv_comment",
            "a line of a comment is taken for a row: one that has no number where one is wanted is set aside",
        ),
        ("csv_metadata_rows", "lines before the rows are taken for rows, and make no tags"),
    ] {
        let place = section.place_of(key);
        let is_set = match key {
            "csv_comment" => section.text(key).is_some_and(|text| !text.is_empty()),
            _ => section.int_at(key).is_some_and(|(_, count)| count > 0),
        };
        if is_set {
            let what = format!("{what}. With format = \"plain\" a jq program takes them apart: {LINES_BY_JQ}");
            section.remark(Kind::NoCounterpart, place, "format", what);
        }
    }
    section.without(&["csv_trim_space", "csv_skip_errors", "csv_reset_mode", "csv_tag_overwrite"]);
    section.without(&["csv_metadata_separators", "csv_metadata_trim_set", "csv_timestamp_format", "csv_timezone"]);
}

const LINES_BY_JQ: &str = "split(\"\\n\")[2:][] | select(startswith(\"#\") | not) | split(\",\") | {a: .[0], b: .[1]}";
