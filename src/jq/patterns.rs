//! Regular expressions of jq: what `test`, `match`, `capture`, `scan`, `split`, `sub` and `gsub`
//! are made of. They take time in proportion to the text, whatever the expression.

use jaq_core::{
    Cv, Error, ValR,
    data::JustLut,
    native::{bome, v},
};
use jaq_json::{Map, Val};
use jaq_std::ValT as _;
use regex_bites::bytes::{Captures, Match, Regex, RegexBuilder};

use super::native::{Own, text, utf8};

/// The functions that jq's own definitions build upon: of an expression and flags.
pub(super) fn functions() -> Vec<Own> {
    vec![
        ("matches", v(2), |cv| bome(look(cv, false, true))),
        ("split_matches", v(2), |cv| bome(look(cv, true, true))),
        ("split_", v(2), |cv| bome(look(cv, true, false))),
    ]
}

/// Flags of an expression that are no part of how it is built.
#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    is_global: bool,
    skips_empty: bool,
}

/// An expression with its flags.
fn expression(pattern: &str, letters: &str) -> Result<(Regex, Flags), Error<Val>> {
    let (mut builder, mut flags) = (RegexBuilder::new(pattern), Flags::default());
    for letter in letters.chars() {
        match letter {
            'g' => flags.is_global = true,
            'n' => flags.skips_empty = true,
            'i' => _ = builder.case_insensitive(true),
            'x' => _ = builder.ignore_whitespace(true),
            's' => _ = builder.dot_matches_new_line(true),
            'm' => _ = builder.multi_line(true),
            'p' => _ = builder.multi_line(true).dot_matches_new_line(true),
            'l' => _ = builder.swap_greed(true),
            other => return Err(Error::str(format_args!("{other} is no flag of a regular expression"))),
        }
    }
    let wrong = |error| Error::str(format_args!("wrong regular expression `{pattern}`: {error}"));
    builder.build().map(|regex| (regex, flags)).map_err(wrong)
}

/// The pieces of a text between matches of an expression, the matches, or both in their order.
fn look(mut cv: Cv<'_, JustLut<Val>>, wants_pieces: bool, wants_matches: bool) -> ValR<Val> {
    let (letters, pattern) = (cv.0.pop_var(), cv.0.pop_var());
    let letters = if matches!(letters, Val::Null) { "" } else { utf8(&letters)? };
    let (regex, flags) = expression(utf8(&pattern)?, letters)?;
    let text = text(&cv.1)?;
    let (mut found, mut piece_start, mut counted) = (Vec::new(), 0, Counted::default());
    for captures in regex.captures_iter(text) {
        let Some(whole) = captures.get(0).filter(|whole| !(flags.skips_empty && whole.is_empty())) else { continue };
        if wants_pieces {
            found.push(cv.1.as_sub_str(&text[piece_start..whole.start()]));
            piece_start = whole.end();
        }
        if wants_matches {
            let offset = counted.until(text, whole.start());
            found.push(matched(&cv.1, text, &regex, &captures, (whole.start(), offset)));
        }
        if !flags.is_global {
            break;
        }
    }
    if wants_pieces {
        found.push(cv.1.as_sub_str(&text[piece_start..]));
    }
    Ok(found.into_iter().collect())
}

/// Characters of a text counted so far, and the bytes that they take.
#[derive(Debug, Default)]
struct Counted {
    bytes: usize,
    characters: usize,
}

impl Counted {
    /// How many characters come before a byte that is not before the last one asked for.
    fn until(&mut self, text: &[u8], byte: usize) -> usize {
        self.characters += characters(&text[self.bytes..byte]);
        self.bytes = byte;
        self.characters
    }
}

/// Characters of a text in UTF-8: each has one byte that continues none.
fn characters(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

/// A match and its groups, each as an object. The start of the match is given in bytes and in
/// characters.
fn matched(value: &Val, text: &[u8], regex: &Regex, captures: &Captures<'_>, start: (usize, usize)) -> Val {
    let offset = |group: &Match<'_>| start.1 + characters(&text[start.0..group.start()]);
    let groups = captures.iter().zip(regex.capture_names());
    groups.map(|(group, name)| object(value, group.map(|group| (offset(&group), group)), name)).collect()
}

/// A group: where it begins, how long it is, what it matched and its name. One that took no part in
/// the match has no text.
fn object(value: &Val, group: Option<(usize, Match<'_>)>, name: Option<&str>) -> Val {
    let (offset, length, string) = match group {
        Some((offset, group)) => {
            (offset as isize, characters(group.as_bytes()) as isize, value.as_sub_str(group.as_bytes()))
        }
        None => (-1, 0, Val::Null),
    };
    let mut members = Map::default();
    let mut set = |name: &str, value| members.insert(name.to_owned().into(), value);
    set("offset", offset.into());
    set("length", length.into());
    set("string", string);
    if let Some(name) = name {
        set("name", name.to_owned().into());
    }
    Val::obj(members)
}

#[cfg(test)]
mod tests {
    use crate::jq::program::tests::said as run;

    #[test]
    fn texts_are_tested_and_taken_apart() {
        let id = r#""Raum-12/Temp""#;
        assert_eq!(run(r#"test("^raum"), test("^raum"; "i")"#, id), "[false,true]");
        assert_eq!(
            run(r#"capture("(?<room>\\d+)/(?<kind>\\w+)(?<unit>°C)?")"#, id),
            r#"[{"room":"12","kind":"Temp","unit":null}]"#
        );
        assert_eq!(run(r#"[scan("[a-z]+")], [scan("(.)-(.)")]"#, id), r#"[["aum","emp"],[["m","1"]]]"#);
        assert_eq!(run(r#"(split("[-/]"; null) | length), test("m"; null)"#, id), "[3,true]");
        assert_eq!(run(r#"split("[-/]"; "")"#, id), r#"[["Raum","12","Temp"]]"#);
        assert_eq!(run(r#"sub("(?<a>m)"; "<\(.a)>"), gsub("[aeiou]"; "")"#, id), r#"["Rau<m>-12/Temp","Rm-12/Tmp"]"#);
    }

    #[test]
    fn places_are_counted_in_characters_whatever_the_order_of_groups() {
        assert_eq!(run(r#"match("(?:(a)|(b))+").captures | map(.offset)"#, r#""ääba""#), "[[3,2]]");
        assert_eq!(
            run(r#"match("ü(x)?"; "g")"#, r#""äüü""#),
            concat!(
                r#"[{"offset":1,"length":1,"string":"ü","captures":[{"offset":-1,"length":0,"string":null}]},"#,
                r#"{"offset":2,"length":1,"string":"ü","captures":[{"offset":-1,"length":0,"string":null}]}]"#
            )
        );
        assert_eq!(run(r#"[match(""; "g").offset], [match(""; "gn")]"#, r#""äb""#), "[[0,1,2],[]]");
    }

    #[test]
    fn wrong_expressions_are_errors() {
        assert!(
            run(r#"test("(")"#, "\"\"").contains("wrong regular expression `(`"),
            "{}",
            run(r#"test("(")"#, "\"\"")
        );
        assert!(run(r#"test("a"; "q")"#, "\"\"").contains("q is no flag of a regular expression"));
        assert!(run(r#"test("a")"#, "1").contains("cannot use 1 as string"));
    }
}
