//! What is wrong with a value, in words of the configuration: those of serde name types of the
//! program. Pure.

use super::schema;

/// What serde says of a value, as a person would say it.
pub fn reworded(message: &str) -> String {
    if let Some((type_name, given)) =
        message.strip_prefix("enum ").and_then(|rest| rest.split_once(" does not have variant constructor "))
    {
        return no_choice(type_name, &format!("{given:?}"), Some(given));
    }
    if let Some((type_name, _)) =
        message.strip_prefix("value of enum ").and_then(|rest| rest.split_once(" should be represented by"))
    {
        return no_choice(type_name, "this", None);
    }
    for words in ["invalid type: ", "invalid value: "] {
        if let Some((given, wanted)) = message.strip_prefix(words).and_then(|rest| rest.rsplit_once(", expected ")) {
            return misplaced(given, wanted);
        }
    }
    message.to_owned()
}

/// That one thing stands where another is wanted.
pub fn misplaced(given: &str, wanted: &str) -> String {
    format!("{} is expected here, not {}", self::wanted(wanted), self::given(given))
}

fn no_choice(type_name: &str, shown: &str, given: Option<&str>) -> String {
    let choices = schema::choices(type_name);
    let meant = given.and_then(|given| schema::nearest(given, choices));
    let meant = meant.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    let listed: Vec<String> = choices.iter().map(|choice| format!("{choice:?}")).collect();
    format!("{shown} is none of {}{meant}", listed.join(", "))
}

fn wanted(wanted: &str) -> String {
    let unsigned = ["u8", "u16", "u32", "u64", "usize"];
    let signed = ["i8", "i16", "i32", "i64", "i128", "isize", "an integer"];
    match wanted {
        "struct TimestampField" => "a table, such as { field = \"ts\", unit = \"ms\" },".to_owned(),
        other if other.starts_with("struct ") || other == "a map" => "a table of keys".to_owned(),
        "a sequence" => "a list, such as [\"a\", \"b\"],".to_owned(),
        "a string" | "string" | "str" => "text in quotes".to_owned(),
        "a boolean" | "bool" => "true or false".to_owned(),
        "f32" | "f64" | "a floating point" | "floating point" => "a number".to_owned(),
        other if unsigned.contains(&other) || other == "an unsigned integer" => "a whole number from 0 up".to_owned(),
        other if signed.contains(&other) => "a whole number".to_owned(),
        other => other.to_owned(),
    }
}

fn given(given: &str) -> String {
    let value = |words: &str| given.strip_prefix(words).and_then(|rest| rest.strip_suffix('`'));
    if let Some(text) = given.strip_prefix("string ") {
        return format!("the text {text}");
    }
    for words in ["integer `", "unsigned integer `", "signed integer `", "floating point `", "boolean `"] {
        if let Some(value) = value(words) {
            return value.to_owned();
        }
    }
    match given {
        "sequence" => "a list".to_owned(),
        "map" => "a table".to_owned(),
        "unit value" => "nothing".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_is_the_programs() {
        for (message, expected) in [
            (
                "invalid type: string \"ts\", expected struct TimestampField",
                "a table, such as { field = \"ts\", unit = \"ms\" }, is expected here, not the text \"ts\"",
            ),
            ("invalid type: integer `7`, expected a string", "text in quotes is expected here, not 7"),
            ("invalid value: integer `-1`, expected usize", "a whole number from 0 up is expected here, not -1"),
            (
                "invalid type: boolean `true`, expected a sequence",
                "a list, such as [\"a\", \"b\"], is expected here, not true",
            ),
            ("invalid type: sequence, expected a boolean", "true or false is expected here, not a list"),
            ("invalid type: map, expected f64", "a number is expected here, not a table"),
            (
                "enum OnFull does not have variant constructor blok",
                "\"blok\" is none of \"block\", \"drop-oldest\", \"drop-newest\"; did you mean \"block\"?",
            ),
            (
                "value of enum Format should be represented by either string or table with exactly one key",
                "this is none of \"json\", \"plain\", \"line\", \"csv\"",
            ),
            ("\"5\" is no duration", "\"5\" is no duration"),
        ] {
            assert_eq!(reworded(message), expected);
        }
    }
}
