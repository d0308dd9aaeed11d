//! GJSON's paths (<https://github.com/tidwall/gjson/blob/master/SYNTAX.md>) as forebay's. Pure.

/// A path of names, and where it goes into each element of an array.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Each,
}

/// Where values stand: the rows, and the path that begins there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stand {
    /// `rows`, where the path goes through arrays.
    pub rows: Option<String>,
    /// The path from there on; empty where the row itself is meant.
    pub path: String,
}

impl GPath {
    /// Reads a path. The error says what is not known of it.
    pub fn parse(path: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        for part in parts(path)? {
            match part.as_str() {
                "@this" => {}
                "#" => steps.push(Step::Each),
                _ => steps.push(Step::Key(part)),
            }
        }
        if let (Some(Step::Each), true) = (steps.last(), steps.len() > 1) {
            return Err("# at the end counts elements".into());
        }
        if steps == [Step::Each] {
            return Err("# alone counts elements".into());
        }
        Ok(Self(steps))
    }

    /// Whether the path is the whole document.
    pub fn is_whole(&self) -> bool {
        self.0.is_empty()
    }

    /// The last name of the path.
    pub fn last(&self) -> &str {
        self.0
            .iter()
            .rev()
            .find_map(|step| if let Step::Key(key) = step { Some(key.as_str()) } else { None })
            .unwrap_or("")
    }

    /// The path as a way to rows: `a.b[].c`.
    pub fn as_rows(&self) -> String {
        rows(&self.0)
    }

    /// The path parted into the way to rows and a path in them.
    pub fn stand(&self) -> Stand {
        let inner = self.0.iter().rposition(|step| *step == Step::Each).map_or(0, |at| at + 1);
        let (outer, path) = self.0.split_at(inner);
        Stand { rows: (!outer.is_empty()).then(|| rows(outer)), path: rows(path) }
    }

    /// The path as jq writes it.
    pub fn as_jq(&self) -> String {
        let step = |step: &Step| match step {
            Step::Key(key) => match key.parse::<usize>() {
                Ok(_) => format!("(.[\"{key}\"]? // .[{key}]?)"),
                Err(_) => format!("[{}]?", super::jq::text(key)),
            },
            Step::Each => "[]?".to_owned(),
        };
        let mut program = String::from(".");
        for part in self.0.iter().map(step) {
            if part.starts_with('(') {
                program = if program == "." { part } else { format!("{program} | {part}") };
            } else {
                program.push_str(&part);
            }
        }
        program
    }
}

fn rows(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Each => text.push_str("[]"),
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
        }
    }
    text
}

/// The parts between the dots.
fn parts(path: &str) -> Result<Vec<String>, String> {
    let mut parts = vec![String::new()];
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            '.' | '|' => parts.push(String::new()),
            '\\' => push(&mut parts, chars.next().unwrap_or('\\')),
            '*' | '?' => return Err(format!("it has a wildcard ({c})")),
            '(' | ')' => return Err("it has a query, #(…)".into()),
            '{' | '[' => return Err("it makes a document of several paths".into()),
            '!' => return Err("it has a literal".into()),
            other => push(&mut parts, other),
        }
    }
    if let Some(modifier) = parts.iter().find(|part| part.starts_with('@') && *part != "@this") {
        return Err(format!("it has the modifier {modifier}"));
    }
    if parts.iter().any(String::is_empty) {
        return Err("it has an empty name".into());
    }
    Ok(parts)
}

fn push(parts: &mut [String], c: char) {
    if let Some(last) = parts.last_mut() {
        last.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stand(path: &str) -> (Option<String>, String) {
        let Stand { rows, path } = GPath::parse(path).expect("a path").stand();
        (rows, path)
    }

    #[test]
    fn paths_are_parted_into_rows_and_members() {
        assert_eq!(stand("a.b"), (None, "a.b".into()));
        assert_eq!(stand("a.#.b.c"), (Some("a[]".into()), "b.c".into()));
        assert_eq!(stand("a.#.b.#.c"), (Some("a[].b[]".into()), "c".into()));
        assert_eq!(stand("#.b"), (Some("[]".into()), "b".into()));
        assert_eq!(stand("@this"), (None, String::new()));
        assert_eq!(stand("a\\.b.0"), (None, "a.b.0".into()));
        let path = GPath::parse("a.#.b").expect("a path");
        assert_eq!(
            (path.as_rows().as_str(), path.last(), path.as_jq().as_str()),
            ("a[].b", "b", ".[\"a\"]?[]?[\"b\"]?")
        );
    }

    #[test]
    fn what_has_no_counterpart_is_told() {
        for (path, word) in [
            ("a.#", "counts"),
            ("a.*", "wildcard"),
            ("a.#(x==1).y", "query"),
            ("a.@reverse", "modifier"),
            ("a..b", "empty"),
            ("{a,b}", "several"),
        ] {
            assert!(GPath::parse(path).expect_err("no path").contains(word), "{path}");
        }
    }
}
