//! Processors, in the order in which Telegraf runs them: a file a plugin.

mod converter;
mod few;
mod rename;
mod strings;

use super::{
    draft::Draft,
    filters::{Filters, Passes},
    remark::{Kind, Remark},
    section::Section,
};

/// A processor of a configuration.
#[derive(Debug, Clone)]
pub struct Processor {
    name: String,
    order: i64,
    section: Section,
}

impl Processor {
    /// By its name and section.
    pub fn of(name: String, mut section: Section) -> Self {
        let order = section.int_at("order").map_or(0, |(_, order)| order);
        Self { name, order, section }
    }
}

/// Applies all to the sources. What is not of one source alone is given back.
pub fn apply(mut all: Vec<Processor>, drafts: &mut [Draft]) -> Vec<Remark> {
    // The sort keeps processors of one order as they stand in the files.
    all.sort_by_key(|processor| processor.order);
    let mut remarks = Vec::new();
    for Processor { name, mut section, .. } in all {
        let filters = Filters::of(&mut section);
        section.without(&["alias"]);
        if !is_known(&name) {
            remarks.push(Remark::new(Kind::NoCounterpart, section.place, without_counterpart(&name)));
            continue;
        }
        for draft in drafts.iter_mut() {
            match filters.passes(draft) {
                Passes::All => {
                    filters.modify(draft);
                    let mut own = section.clone();
                    one(&name, &mut own, draft);
                    draft.remarks.append(&mut own.remarks);
                }
                Passes::None(_) => {}
                Passes::Unknown(place) => {
                    let what =
                        "which rows the processor goes by depends on each message; it is left out for this source";
                    draft.say(Kind::NoCounterpart, &place, "", what);
                }
            }
        }
    }
    remarks
}

fn is_known(name: &str) -> bool {
    matches!(name, "converter" | "rename" | "strings" | "override" | "scale" | "pivot" | "printer")
}

fn one(name: &str, section: &mut Section, draft: &mut Draft) {
    match name {
        "converter" => converter::apply(section, draft),
        "rename" => rename::apply(section, draft),
        "strings" => strings::apply(section, draft),
        "override" => few::name(section, draft),
        "scale" => few::scale(section, draft),
        "pivot" => few::pivot(section, draft),
        _ => {}
    }
}

fn without_counterpart(name: &str) -> String {
    let hint = match name {
        "dedup" => "; forebay stores each reading, and QuestDB keeps one of equal time and symbols",
        "date" => "; QuestDB takes parts of a time in the query",
        "enum" | "regex" | "parser" | "template" | "starlark" | "split" | "unpivot" | "round" | "lookup" => {
            "; a jq program may do it"
        }
        "defaults" => "; coalesce() gives a default in the query",
        "tag_limit" => "; tagexclude or fewer symbols do it",
        "filter" => "; exclude, only and ignore leave things out",
        "topk" | "cumulative_sum" => "; QuestDB does it in the query",
        _ => "",
    };
    format!("forebay has nothing for the processor {name}{hint}")
}
