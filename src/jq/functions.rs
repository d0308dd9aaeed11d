//! What a program may call: what jq defines in its own language, and functions beside it. jaq's own
//! set of functions comes whole or not at all, with a second library for times, one for mathematics
//! and one for searching; here it is its small set and what rows of readings need besides.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use jaq_core::{
    Error, ValR,
    data::JustLut,
    load::{self, parse::Def},
    native::{Fun, bome, run, v},
};
use jaq_json::{Num, Val, read};

use super::{
    dates, document,
    native::{Own, double, text},
    patterns,
};

/// What jq defines in its own language and this program lacks the functions for, or has better.
const LEFT_OUT: [&str; 10] =
    ["@html", "@htmld", "@uri", "@urid", "drem", "gamma", "logb", "nexttoward", "significand", "tonumber"];
/// What jq defines in its own language and jaq has not, or has otherwise: there, an entry has no
/// other names for its key and its value, and a null between texts is the word.
const MISSING: &str = r#"
def from_entries: reduce .[] as $x ({}; . + {
  ($x | if .key != null then .key else .k // .name // .Name // .K // .Key end | if isstring then . else tojson end):
  ($x | if has("value") then .value elif has("v") then .v else .Value end)
});
def join($by): reduce .[] as $x (null;
  (if . == null then "" else . + $by end) + ($x | if . == null then "" elif isstring then . else tojson end)
) // "";
def toarray: if isarray then . else [.] end;
def trimstr($part): ltrimstr($part) | rtrimstr($part);
def leaf_paths: paths(scalars);
def IN(values): any(values == .; .);
def IN(of; values): any(of == values; .);
def INDEX(of; name): reduce of as $row ({}; .[$row | name | tostring] = $row);
def INDEX(name): INDEX(.[]; name);
"#;
/// Base64 with or without its padding, as jq reads it.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What jq defines in its own language, as far as it works here.
pub(super) fn definitions() -> impl Iterator<Item = Def<&'static str>> {
    let all = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let missing = load::parse(MISSING, |parser| parser.defs()).into_iter().flatten();
    all.filter(|definition| !LEFT_OUT.contains(&definition.name)).chain(missing)
}

/// Functions that are not in jq's own language.
pub(super) fn functions() -> impl Iterator<Item = Fun<JustLut<Val>>> {
    let own = own().into_iter().chain(dates::functions()).chain(patterns::functions()).chain(maths());
    let all =
        jaq_core::funs().chain(jaq_std::base_funs()).chain(jaq_json::funs().filter(|(name, ..)| *name != "fromjson"));
    all.chain(own.map(run::<JustLut<Val>>))
}

fn own() -> Vec<Own> {
    vec![
        // A worker has nowhere to tell anything.
        ("debug_empty", v(0), |_| Box::new(std::iter::empty())),
        ("stderr_empty", v(0), |_| Box::new(std::iter::empty())),
        ("now", v(0), |_| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            bome(Ok(since.as_secs_f64().into()))
        }),
        ("fromjson", v(0), |cv| bome(from_json(&cv.1))),
        ("tonumber", v(0), |cv| bome(to_number(&cv.1))),
        ("encode_base64", v(0), |cv| bome(text(&cv.1).map(|text| STANDARD.encode(text).into()))),
        ("decode_base64", v(0), |cv| {
            let decoded = |text| LENIENT.decode(text).map(Val::utf8_str).map_err(Error::str);
            bome(text(&cv.1).and_then(decoded))
        }),
    ]
}

/// Text read as one JSON value. jaq would read one that is nested without end until its stack is
/// full, and more than JSON.
fn from_json(value: &Val) -> ValR<Val> {
    document::value(text(value)?).map_err(|why| Error::str(format_args!("fromjson: {why}")))
}

/// A number, or text that is one, with white space around it or without.
fn to_number(value: &Val) -> ValR<Val> {
    if matches!(value, Val::Num(_)) {
        return Ok(value.clone());
    }
    let number = read::parse_single_num(text(value)?.trim_ascii());
    let finite = number.filter(|number| !matches!(number, Num::Float(_))).map(Val::Num);
    finite.ok_or_else(|| Error::typ(value.clone(), "number"))
}

/// A function of a number, by the name that it has in Rust or another.
macro_rules! of_one {
    ($name:ident) => {
        of_one!($name, $name)
    };
    ($name:ident, $function:ident) => {
        (stringify!($name), v(0), |cv| bome(double(&cv.1).map(|x| x.$function().into())))
    };
}

/// A function of two numbers that are arguments.
macro_rules! of_two {
    ($name:ident, $function:expr) => {
        (stringify!($name), v(2), |mut cv| {
            let (y, x) = (cv.0.pop_var(), cv.0.pop_var());
            bome(of_two(&x, &y, $function))
        })
    };
}

fn of_two(x: &Val, y: &Val, function: fn(f64, f64) -> f64) -> ValR<Val> {
    Ok(function(double(x)?, double(y)?).into())
}

fn maths() -> Vec<Own> {
    vec![
        of_one!(acos),
        of_one!(acosh),
        of_one!(asin),
        of_one!(asinh),
        of_one!(atan),
        of_one!(atanh),
        of_one!(cbrt),
        of_one!(cos),
        of_one!(cosh),
        of_one!(exp),
        of_one!(exp2),
        of_one!(expm1, exp_m1),
        of_one!(fabs, abs),
        of_one!(log, ln),
        of_one!(log10),
        of_one!(log1p, ln_1p),
        of_one!(log2),
        of_one!(nearbyint, round_ties_even),
        of_one!(rint, round_ties_even),
        of_one!(sin),
        of_one!(sinh),
        of_one!(sqrt),
        of_one!(tan),
        of_one!(tanh),
        of_one!(trunc),
        ("exp10", v(0), |cv| bome(double(&cv.1).map(|x| 10_f64.powf(x).into()))),
        of_two!(atan2, f64::atan2),
        of_two!(copysign, f64::copysign),
        of_two!(fmax, f64::max),
        of_two!(fmin, f64::min),
        of_two!(fmod, |x, y| x % y),
        of_two!(hypot, f64::hypot),
        of_two!(ldexp, |x, y| x * y.exp2()),
        of_two!(pow, f64::powf),
    ]
}

#[cfg(test)]
mod tests {
    use crate::jq::program::tests::said as run;

    #[test]
    fn base64_is_read_with_and_without_padding() {
        assert_eq!(run("@base64, (@base64 | @base64d)", r#""Zoë""#), r#"["Wm/Dqw==","Zoë"]"#);
        assert_eq!(run("@base64d", r#""Wm/Dqw""#), r#"["Zoë"]"#);
        assert_eq!(run("@base64d", r#""_""#), "its jq program failed: Invalid symbol 95, offset 0.");
        assert_eq!(run("@base64d | tobytes | [.[range(3)]]", r#""Af8A""#), "[[1,255,0]]");
        assert_eq!(run("@base64d", r#""Af8A""#), "[\"\\u0001\u{fffd}\\u0000\"]");
    }

    #[test]
    fn text_is_read_as_numbers_and_as_json() {
        let number = |text: &str| run("tonumber", &format!("{text:?}"));
        for (text, rows) in [
            ("1", "[1]"),
            (" -2.50\n", "[-2.50]"),
            ("1e3", "[1e3]"),
            ("12345678901234567890", "[12345678901234567890]"),
        ] {
            assert_eq!(number(text), rows);
        }
        for text in ["", "x", "1,2", "1 2", "0x10", "NaN", "Infinity", "-", "1.", ".5", "null", "[1]"] {
            assert_eq!(number(text), format!("its jq program failed: cannot use {text:?} as number"));
        }
        assert_eq!(run("tonumber, (tostring | tonumber)", "7"), "[7,7]");
        assert_eq!(run("fromjson | .a", r#""{\"a\":[1]}""#), "[[1]]");
        let wrong = |text: &str| run("fromjson", &format!("{text:?}"));
        assert_eq!(wrong("1 2"), "its jq program failed: fromjson: trailing characters at line 1 column 3");
        assert_eq!(
            wrong(&"[".repeat(1 << 18)),
            "its jq program failed: fromjson: EOF while parsing a list at line 1 column 262144"
        );
        assert_eq!(run("tonumber", &format!("{:?}", "[".repeat(1 << 18))).len(), 226);
        assert_eq!(run("toboolean", "\"true\""), "[true]");
    }

    #[test]
    fn numbers_are_reckoned_with() {
        assert_eq!(
            run("pow(2; 10), (9 | sqrt), (2.5 | rint), (100 | log10), (-1.5 | fabs)", "0"),
            "[1024.0,3.0,2.0,2.0,1.5]"
        );
        assert_eq!(run("fmin(1; 2), hypot(3; 4), fmod(7; 4), (2 | exp10), pow10", "3"), "[1.0,5.0,3.0,100.0,1000.0]");
        assert_eq!(
            run("(1.6 | floor, ceil, round, trunc), (7 / 2), (10 / 5), (7 % 4), (-3 | abs)", "0"),
            "[1,2,2,1.0,3.5,2.0,3,3]"
        );
        assert_eq!(run("sqrt", "\"x\""), "its jq program failed: cannot use \"x\" as number");
    }

    #[test]
    fn what_jaq_has_not_is_there() {
        assert_eq!(run("[.[] | toarray], IN(.[]; 2), (.[0] | IN(2, 1))", "[1,[2]]"), "[[[1],[2]],false,true]");
        assert_eq!(run("INDEX(.id), INDEX(.[]; .id).b.v", r#"[{"id":"b","v":1}]"#), r#"[{"b":{"id":"b","v":1}},1]"#);
        let entries = r#"[{"k":"a","v":1},{"name":"b","value":null},{"key":1,"value":2}]"#;
        assert_eq!(run("from_entries", entries), r#"[{"a":1,"b":null,"1":2}]"#);
        assert_eq!(run("with_entries(.value += 1)", r#"{"a":1}"#), r#"[{"a":2}]"#);
        assert_eq!(run("join(\",\"), ([] | join(\",\"))", r#"[1,null,"a"]"#), r#"["1,,a",""]"#);
        assert_eq!(run("[leaf_paths], (.a | trimstr(\"x\"))", r#"{"a":"xbx"}"#), r#"[[["a"]],"b"]"#);
    }

    #[test]
    fn nothing_comes_of_what_tells_others() {
        assert_eq!(run("debug, stderr, debug(1)", "0"), "[0,0,0]");
        assert_eq!(run("now > 1.7e9", "0"), "[true]");
        assert_eq!(run("1, halt_error", "0"), "its jq program failed: it halted with exit code 5");
    }
}
