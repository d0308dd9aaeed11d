//! Sources for lines of cells (CSV). Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::{
    super::{
        columns,
        draft::{list, quoted},
        members::{Document, Layout, Rows},
        payload::Kind,
        placeholders::{named, sanitized},
        words,
    },
    Candidate, Subject, begin, set_fields, set_time, time_of,
};

/// A line of a message.
struct Line {
    /// The number of its topic.
    topic: usize,
    /// The number of its message, among those kept of the topic.
    message: usize,
    cells: Vec<String>,
}

impl Line {
    /// Whether it names the cells of the lines that follow it.
    fn is_head(&self) -> bool {
        let is_text = |cell: &String| !cell.is_empty() && !words::is_numeric(cell) && !words::is_time_text(cell);
        self.cells.iter().all(is_text)
    }
}

/// The sources for cells.
pub fn csv(subject: &Subject<'_>, delimiter: char, cells: usize) -> Vec<Candidate> {
    let lines = lines(subject, delimiter);
    let head = head(&lines);
    let values: Vec<&Line> = lines.iter().filter(|line| !line.is_head()).collect();
    let names = head.map_or_else(|| column_names(&values, cells), <[String]>::to_vec);
    let objects: Vec<Json> = values.iter().map(|line| object(&names, line)).collect();
    let rows = Rows::of(&documents(subject, &values, &objects), &Layout::default());
    let (time, said) = time_of(&rows, subject.zone);
    let kinds = kinds(&rows, time.as_ref().map(|time| time.path.as_str()));
    let named = named(&subject.group.levels, &BTreeMap::new(), &BTreeSet::new());
    let with = |types: bool, with_time: bool| {
        let mut draft = begin(subject, &named);
        draft.set("format", quoted("csv"), "");
        if delimiter != ',' {
            draft.set("delimiter", quoted(&delimiter.to_string()), "");
        }
        if head.is_none() {
            let why = "no line names the cells: give them their names here, \"\" leaves one out";
            draft.set("columns", list(&names), why);
        }
        let time = time.as_ref().filter(|_| with_time);
        if let Some(time) = time {
            set_time(&mut draft, time, None);
        }
        if types {
            set_fields(&mut draft, &kinds);
        }
        Candidate { draft, time: said.clone().filter(|_| with_time), collides: false, ..Candidate::default() }
    };
    vec![with(true, true), with(false, true), with(false, false)]
}

/// The lines of all messages that have cells.
fn lines(subject: &Subject<'_>, delimiter: char) -> Vec<Line> {
    let mut lines = Vec::new();
    for (topic, member) in subject.topics.iter().enumerate() {
        for (message, read) in member.reads.iter().enumerate().filter(|(_, read)| matches!(read.kind, Kind::Csv(_))) {
            for line in read.text.lines().filter(|line| !line.trim().is_empty()) {
                let cells = line.split(delimiter).map(|text| text.trim().trim_matches('"').to_owned()).collect();
                lines.push(Line { topic, message, cells });
            }
        }
    }
    lines
}

/// The names of the cells, where each message begins with a line that tells them.
fn head(lines: &[Line]) -> Option<&[String]> {
    let mut messages = lines.chunk_by(|one, other| (one.topic, one.message) == (other.topic, other.message)).peekable();
    let first = messages.peek()?.first()?;
    messages.all(|of| of.len() > 1 && of.first().is_some_and(Line::is_head)).then_some(&first.cells)
}

/// A line as a document would hold it.
fn object(names: &[String], line: &Line) -> Json {
    names.iter().zip(&line.cells).map(|(name, cell)| (name.clone(), Json::from(cell.as_str()))).collect()
}

/// Lines as documents, each with the time of receipt of its message.
fn documents<'a>(subject: &Subject<'_>, lines: &[&Line], objects: &'a [Json]) -> Vec<Document<'a>> {
    let document = |(line, json): (&&Line, &'a Json)| {
        let kept = subject.topics.get(line.topic)?.topic.kept.get(line.message)?;
        Some(Document { topic: line.topic, json, received: kept.received, is_live: !kept.retain })
    };
    lines.iter().zip(objects).filter_map(document).collect()
}

/// The types of cells that are numbers only once they are declared: those with a comma or a unit.
fn kinds(rows: &Rows, time: Option<&str>) -> BTreeMap<String, (&'static str, &'static str)> {
    let is_measure =
        |value: &Json| value.as_str().is_some_and(|text| words::plain(text) == Some(words::Plain::Measure));
    let kind = |path: &String| {
        let values: Vec<&Json> = rows.values(path).map(|(_, value)| value).collect();
        let is_needed = values.iter().any(|value| is_measure(value));
        is_needed.then(|| columns::kind(&values, path, true)).flatten().map(|kind| (path.clone(), kind))
    };
    rows.members.keys().filter(|path| time != Some(path.as_str())).filter_map(kind).collect()
}

/// Names for cells that have none.
fn column_names(lines: &[&Line], cells: usize) -> Vec<String> {
    let mut has_time = false;
    let mut names = Vec::with_capacity(cells);
    for at in 0..cells {
        let own: Vec<&String> =
            lines.iter().filter_map(|line| line.cells.get(at)).filter(|cell| !cell.is_empty()).collect();
        let is_epoch = |cell: &&String| cell.parse::<f64>().is_ok_and(|number| number >= 1e9) && cell.len() >= 10;
        let is_time = !own.is_empty()
            && (own.iter().all(|cell| words::is_time_text(cell)) || at == 0 && own.iter().all(is_epoch));
        let is_number = own.iter().all(|cell| words::is_numeric(cell));
        names.push(if is_time && !has_time {
            has_time = true;
            "time".to_owned()
        } else {
            sanitized(&format!("{}{}", if is_number { "value" } else { "text" }, at + 1))
        });
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(messages: &[&str]) -> Vec<Line> {
        let cells = |line: &str| line.split(',').map(str::to_owned).collect();
        let mut lines = Vec::new();
        for (message, text) in messages.iter().enumerate() {
            lines.extend(text.lines().map(|line| Line { topic: 0, message, cells: cells(line) }));
        }
        lines
    }

    #[test]
    fn a_head_stands_in_each_message() {
        let names = ["time".to_owned(), "temp".to_owned()];
        assert_eq!(head(&lines_of(&["time,temp\n1,2", "time,temp\n3,4\n5,6"])), Some(&names[..]));
        assert_eq!(head(&lines_of(&["time,temp\n1,2", "3,4"])), None);
        assert_eq!(head(&lines_of(&["time,temp"])), None);
        assert_eq!(head(&[]), None);
    }

    #[test]
    fn cells_without_a_head_get_names_by_what_they_hold() {
        let lines = lines_of(&["1772366400,21.5,on", "1772366460,,off"]);
        let names = column_names(&lines.iter().collect::<Vec<_>>(), 3);
        assert_eq!(names, ["time", "value2", "text3"]);
        assert_eq!(object(&names, &lines[0])["text3"], "on");
    }
}
