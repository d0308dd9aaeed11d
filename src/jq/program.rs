//! A compiled jq program, and what it makes of a document. It sees the document and the time, and
//! nothing else of the world: no environment, no files, no other documents.

use std::fmt;

use jaq_core::{
    Compiler, Ctx, Exn, Filter, Vars,
    data::JustLut,
    load::{self, Arena, File, Loader},
};
use jaq_json::Val;

use super::{
    document,
    error::JqError,
    functions,
    limits::{MAX_PROGRAM_BYTES, MAX_ROWS_PER_MESSAGE},
    rows::Rows,
};

/// What jq has and a program here has not, since it would look outside.
const OUTSIDE: [&str; 9] = [
    "env",
    "$ENV",
    "input",
    "inputs",
    "input_filename",
    "input_line_number",
    "localtime",
    "strflocaltime",
    "$__prog_args",
];
/// Longest part of a program that an error repeats, in characters.
const MAX_REPEATED: usize = 30;

/// A program, ready to run.
pub struct Program(Filter<JustLut<Val>>);

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").finish_non_exhaustive()
    }
}

impl Program {
    /// Compiles a program. The error says what is wrong with it, and where.
    pub fn compile(program: &str) -> Result<Self, String> {
        if program.len() > MAX_PROGRAM_BYTES {
            return Err(format!("it is longer than {} KiB", MAX_PROGRAM_BYTES >> 10));
        }
        let arena = Arena::default();
        let modules = Loader::new(functions::definitions())
            .load(&arena, File { code: program, path: () })
            .map_err(|errors| first(errors.into_iter().map(|(_, error)| unreadable(program, &error))))?;
        let compiled = Compiler::default().with_funs(functions::functions()).compile(modules);
        compiled.map(Self).map_err(|errors| {
            let undefined = errors.into_iter().flat_map(|(_, undefined)| undefined);
            first(undefined.map(|(name, what)| unknown(program, name, &what)))
        })
    }

    /// The outputs for a document, which is one JSON value, as one JSON array. Nothing but the
    /// number and the size of the outputs is limited here.
    pub fn run(&self, document: &[u8]) -> Result<Vec<u8>, JqError> {
        let input = document::value(document).map_err(JqError::NotJson)?;
        let context = Ctx::<JustLut<Val>>::new(&self.0.lut, Vars::new([]));
        let mut rows = Rows::default();
        for (count, output) in self.0.id.run((context, input)).enumerate() {
            let output = match output {
                Ok(output) => output,
                Err(exception) => match failure(exception) {
                    Some(error) => return Err(error),
                    None => break,
                },
            };
            if count >= MAX_ROWS_PER_MESSAGE {
                return Err(JqError::TooManyRows);
            }
            rows.push(&output)?;
        }
        rows.finish()
    }
}

/// Why a program ended early; none if it wanted to (`halt`).
fn failure(exception: Exn<'_, Val>) -> Option<JqError> {
    let halt = match exception.get_err() {
        Ok(error) => {
            return Some(match error.into_val() {
                Val::TStr(text) => JqError::failed(&String::from_utf8_lossy(&text)),
                other => JqError::failed(&other.to_string()),
            });
        }
        Err(other) => other.get_halt(),
    };
    match halt {
        Ok(0) => None,
        Ok(code) => Some(JqError::failed(&format!("it halted with exit code {code}"))),
        Err(_) => Some(JqError::failed("it left something that it was not in")),
    }
}

/// The first of several errors, which is the one to correct first.
fn first(mut errors: impl Iterator<Item = String>) -> String {
    errors.next().unwrap_or_else(|| "it cannot be compiled".to_owned())
}

/// Why a program cannot be read.
fn unreadable(program: &str, error: &load::Error<&str>) -> String {
    let expected = |expected: &str, found: &str| {
        let (place, found) = (place(program, found), repeated(found));
        format!("{place}: expected {expected}, found {found}")
    };
    match error {
        load::Error::Io(imports) => first(
            imports.iter().map(|(module, _)| format!("{}: there are no modules to load here", place(program, module))),
        ),
        load::Error::Lex(errors) => first(errors.iter().map(|(wanted, found)| expected(wanted.as_str(), found))),
        load::Error::Parse(errors) => first(errors.iter().map(|(wanted, found)| expected(wanted.as_str(), found))),
    }
}

/// What a program calls that is not there.
fn unknown(program: &str, name: &str, what: &jaq_core::compile::Undefined) -> String {
    let place = place(program, name);
    if OUTSIDE.contains(&name) {
        return format!("{place}: there is no {name} here; a program is given its document and nothing else");
    }
    match what {
        jaq_core::compile::Undefined::Filter(0) => format!("{place}: there is no filter {name}"),
        jaq_core::compile::Undefined::Filter(1) => format!("{place}: there is no filter {name} with 1 argument"),
        jaq_core::compile::Undefined::Filter(count) => {
            format!("{place}: there is no filter {name} with {count} arguments")
        }
        other => format!("{place}: there is no {} {name}", other.as_str()),
    }
}

/// The line and the column where a part of a program begins, counted from one.
fn place(program: &str, part: &str) -> String {
    let at = (part.as_ptr() as usize).checked_sub(program.as_ptr() as usize);
    let Some(before) = at.and_then(|at| program.get(..at)) else {
        return "in jq's own definitions".to_owned();
    };
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.matches('\n').count() + 1;
    format!("line {line}, column {}", before[line_start..].chars().count() + 1)
}

/// The beginning of what stands somewhere in a program.
fn repeated(found: &str) -> String {
    let line = found.trim_start().lines().next().unwrap_or_default();
    if line.is_empty() {
        return "the end".to_owned();
    }
    let start: String = line.chars().take(MAX_REPEATED).collect();
    let rest = if start.len() < line.len() { "…" } else { "" };
    format!("`{start}{rest}`")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::jq::limits::MAX_OUTPUT_BYTES;

    /// What a program makes of a document, or why not.
    pub fn said(program: &str, document: &str) -> String {
        let compiled = Program::compile(&listed(program)).unwrap_or_else(|why| panic!("{program}: {why}"));
        match compiled.run(document.as_bytes()) {
            Ok(rows) => String::from_utf8(rows).expect("UTF-8"),
            Err(error) => error.to_string(),
        }
    }

    fn run(program: &str, document: &str) -> Result<String, JqError> {
        let program = Program::compile(program).expect("compiles");
        program.run(document.as_bytes()).map(|rows| String::from_utf8(rows).expect("UTF-8"))
    }

    /// The program with all of its outputs in one list, which keeps lists among them.
    pub(in crate::jq) fn listed(program: &str) -> String {
        format!("[{program}]")
    }

    #[track_caller]
    fn gives(program: &str, document: &str, rows: &str) {
        assert_eq!(run(&listed(program), document), Ok(rows.to_owned()), "{program}");
    }

    #[test]
    fn documents_become_rows() {
        let document = r#"{"id":"a","values":[{"t":1,"v":2.50},{"t":2,"v":-3}]}"#;
        gives(
            ".id as $id | .values[] | {id: $id, v, ts: .t}",
            document,
            r#"[{"id":"a","v":2.50,"ts":1},{"id":"a","v":-3,"ts":2}]"#,
        );
        gives("to_entries[]", r#"{"b":1,"a":null}"#, r#"[{"key":"b","value":1},{"key":"a","value":null}]"#);
        gives("empty", "{}", "[]");
        gives(".", " [1,{\"a\":[]}]\n", r#"[[1,{"a":[]}]]"#);
        gives(
            r#"split(";") | {id: .[0], t: (.[1] | tonumber), j: (.[2] | fromjson | .x)}"#,
            r#""a;2.5;{\"x\":true}""#,
            r#"[{"id":"a","t":2.5,"j":true}]"#,
        );
        gives(
            "[.[] | select(.ok)] | group_by(.n) | map({n: .[0].n, sum: (map(.v) | add)})[]",
            r#"[{"ok":true,"n":1,"v":2},{"ok":false,"n":1,"v":4},{"ok":true,"n":1,"v":8}]"#,
            r#"[{"n":1,"sum":10}]"#,
        );
        assert_eq!(run("1, halt, 2", "null").as_deref(), Ok("[1]"));
    }

    #[test]
    fn numbers_keep_their_digits() {
        let numbers = concat!(
            "[9223372036854775807,-9223372036854775808,18446744073709551615,",
            "123456789012345678901234567890,0.1,1e300,1.10]"
        );
        gives(".", numbers, &format!("[{numbers}]"));
        gives(".[] + 1", "[9223372036854775807,18446744073709551615]", "[9223372036854775808,18446744073709551616]");
        gives(".[] * 1.0", "[0.1,0.30000000000000004,5e-324]", "[0.1,0.30000000000000004,5e-324]");
        gives(".a, (.a | tojson)", r#"{"a":1,"a":2}"#, r#"[2,"2"]"#);
        gives(r#"("+1.5", "007.5", "007") | tonumber"#, "null", "[1.5,7.5,7]");
        gives("nan, infinite, -infinite", "0", "[null,null,null]");
    }

    #[test]
    fn what_is_not_one_json_value_is_refused_with_its_place() {
        for (document, place) in [
            ("{\"a\":}", "line 1 column 6"),
            ("1 2", "line 1 column 3"),
            ("", "line 1 column 0"),
            ("[1] # x", "line 1 column 5"),
            ("{1:2}", "line 1 column 2"),
            (&"[".repeat(1 << 18), "column"),
            (&format!("{}{}", "[".repeat(129), "]".repeat(129)), "at byte 129"),
        ] {
            let error = run(".", document).expect_err("no JSON");
            assert!(matches!(&error, JqError::NotJson(why) if why.contains(place)), "{document:.20}: {error}");
        }
        let program = Program::compile(".").expect("compiles");
        assert!(matches!(program.run(b"\"\xff\""), Err(JqError::NotJson(_))));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(126), "]".repeat(126));
        gives(".", &deep, &format!("[{deep}]"));
        gives(".", r#""[[\"[{\\""#, r#"["[[\"[{\\"]"#);
    }

    #[test]
    fn a_program_that_fails_says_why() {
        for (program, why) in [
            ("error(\"no \" + .)", "no x"),
            ("error({a: 1})", "{\"a\":1}"),
            (".a", "cannot index \"x\" with \"a\""),
            ("{(1, 2 | tostring): 1} | halt_error", "it halted with exit code 5"),
            ("{(0): 1}", "the name of an object's member is 0, which is no text"),
            ("reduce range(200) as $i (.; [.])", "an output is nested deeper than 128 levels"),
            ("tobytes", "an output holds bytes (tobytes), which JSON has not"),
        ] {
            assert_eq!(run(program, "\"x\""), Err(JqError::Failed(why.to_owned())), "{program}");
        }
        let long = run("error(\"x\" * 1000)", "0").expect_err("fails").to_string();
        assert!(long.len() < 300, "{long}");
    }

    #[test]
    fn an_output_that_is_an_array_is_a_list_of_documents() {
        assert_eq!(run("[{v: 1}, {v: 2}], {v: 3}", "null").as_deref(), Ok(r#"[{"v":1},{"v":2},{"v":3}]"#));
        assert_eq!(run("[[1]], []", "null").as_deref(), Ok("[[1]]"));
    }

    #[test]
    fn outputs_are_limited() {
        assert!(run("range(10000)", "0").is_ok());
        assert_eq!(run("range(10001)", "0"), Err(JqError::TooManyRows));
        assert_eq!(run("range(1e12)", "0"), Err(JqError::TooManyRows));
        let text = |bytes: usize| run(&format!("\"x\" * {bytes}"), "0");
        assert_eq!(text(MAX_OUTPUT_BYTES - 4).map(|rows| rows.len()), Ok(MAX_OUTPUT_BYTES));
        assert_eq!(text(MAX_OUTPUT_BYTES - 3), Err(JqError::TooLarge));
    }

    #[test]
    fn a_program_that_is_wrong_is_refused_with_the_place() {
        for (program, why) in [
            ("", "line 1, column 1: expected term, found the end"),
            (".a |\n  | .b", "line 2, column 3: expected term, found `|`"),
            ("[.a, .b", "line 1, column 8: expected closing bracket, found the end"),
            ("\"ä\" & .a", "line 1, column 5: expected token, found `& .a`"),
            (".a | foo", "line 1, column 6: there is no filter foo"),
            (".a | map", "line 1, column 6: there is no filter map"),
            ("map(.; 1)", "line 1, column 1: there is no filter map with 2 arguments"),
            ("$x", "line 1, column 1: there is no variable $x"),
            ("import \"a\" as a; .", "line 1, column 9: there are no modules to load here"),
            ("env", "line 1, column 1: there is no env here; a program is given its document and nothing else"),
            ("$ENV.PATH", "line 1, column 1: there is no $ENV here; a program is given its document and nothing else"),
        ] {
            assert_eq!(Program::compile(program).err().as_deref(), Some(why), "{program}");
        }
        for outside in OUTSIDE {
            assert!(Program::compile(outside).is_err_and(|why| why.contains("nothing else")), "{outside}");
        }
        assert!(Program::compile(&" ".repeat(MAX_PROGRAM_BYTES + 1)).is_err_and(|why| why.contains("16 KiB")));
    }
}
