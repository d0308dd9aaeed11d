//! Which reasons are of one kind: they differ in a value, a number or a time alone. Pure.

/// Stands for what differs.
const ANY: char = '…';
/// Words behind a value that does not fit; the value says nothing of the kind.
const BEHIND_VALUES: [&str; 5] =
    [" is a string,", " is a number,", " is a boolean,", " is an object,", " is an array,"];
/// Words in front of a value that the parser quotes.
const BEFORE_VALUES: [&str; 3] =
    ["invalid type: string \"", "invalid type: floating point `", "invalid value: string \""];

/// The reason without what tells it from others of its kind; it names the member, not the value.
pub fn kind_of(reason: &str) -> String {
    // Several faults of one message are told by their first.
    let first = reason.split("; at ").next().unwrap_or(reason);
    without_numbers(&without_values(first))
}

fn without_values(reason: &str) -> String {
    for words in BEHIND_VALUES {
        // The value stands between the place, which ends with a colon, and the words.
        if let Some(at) = reason.find(words)
            && let Some(place) = reason[..at].find(": ")
        {
            return format!("{}: {ANY}{}", &reason[..place], &reason[at..]);
        }
    }
    for words in BEFORE_VALUES {
        if let Some(at) = reason.find(words) {
            let value = at + words.len();
            let mark = if words.ends_with('`') { '`' } else { '"' };
            // What is expected behind it may have quotes of its own.
            let behind = &reason[value..];
            let end = behind.rfind(&format!("{mark}, expected ")).or_else(|| behind.rfind(mark));
            let end = end.map_or(reason.len(), |end| value + end);
            return format!("{}{ANY}{}", &reason[..value], &reason[end..]);
        }
    }
    reason.to_owned()
}

/// Numbers and times are taken out where they stand alone: a name may end with a digit.
fn without_numbers(reason: &str) -> String {
    let mut out = String::with_capacity(reason.len());
    let mut rest = reason;
    while let Some(first) = rest.chars().next() {
        // UTF-8 is a word, and -8 a number.
        let mut before = out.chars().rev();
        let is_hyphened = out.ends_with('-') && before.nth(1).is_some_and(char::is_alphanumeric);
        let is_inside_word = is_hyphened || out.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
        if first.is_ascii_digit() && !is_inside_word {
            let is_part = |c: char| c.is_ascii_digit() || matches!(c, '.' | ':' | '-' | '+' | 'T' | 'Z' | 'e' | 'E');
            let number = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
            // A full stop or colon behind a number ends a sentence.
            let number = rest[..number].trim_end_matches(['.', ':', '-', '+']).len();
            let is_name = rest[number..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
            if is_name {
                out.push_str(&rest[..number]);
            } else {
                out.push(ANY);
            }
            rest = &rest[number..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_of_one_kind_and_member_are_one() {
        for (reasons, kind) in [
            (
                &[
                    "at $.battery: 87.5 is a number, but the source wants type \"long\"",
                    "at $.battery: -1e9 is a number, but the source wants type \"long\"",
                ][..],
                "at $.battery: … is a number, but the source wants type \"long\"",
            ),
            (
                &["at $.battery: full: 3 of 4 is a string, but the source wants type \"long\""],
                "at $.battery: … is a string, but the source wants type \"long\"",
            ),
            (
                &[
                    "at $[3].dew: it is a number, and an object is expected; at $[4]: it is a number, and an object is expected",
                ],
                "at $[…].dew: … is a number, and an object is expected",
            ),
            (
                &[
                    "at reading 2: its timestamp 2262-04-11T23:47:16.85Z is further ahead of the clock (2026-11-28T23:58:03.4Z) than [latest] max_future",
                    "at reading 7: its timestamp 2100-01-01T00:00:00Z is further ahead of the clock (2026-11-29T01:00:00Z) than [latest] max_future",
                ],
                "at reading …: its timestamp … is further ahead of the clock (…) than [latest] max_future",
            ),
            (
                &[
                    "at $: invalid JSON: expected `,` or `}` at line 1 column 9",
                    "at $: invalid JSON: expected `,` or `}` at line 12 column 70",
                ],
                "at $: invalid JSON: expected `,` or `}` at line … column …",
            ),
            (
                &[
                    "at $: invalid JSON: invalid type: string \"a\", expected an object (or format = \"plain\") at line 1 column 3",
                ],
                "at $: invalid JSON: invalid type: string \"…\", expected an object (or format = \"plain\") at line … column …",
            ),
            (
                &[
                    "at $: invalid JSON: invalid type: string \"{\\\"t\\\":19}\", expected an object at line 1 column 12",
                ],
                "at $: invalid JSON: invalid type: string \"…\", expected an object at line … column …",
            ),
        ] {
            for reason in reasons {
                assert_eq!(kind_of(reason), kind, "{reason}");
            }
        }
    }

    #[test]
    fn names_keep_their_digits() {
        let reason = "at $.co2: \"temp_2\" appears twice; 3d_x and DS18B20 are names, UTF-8 too";
        assert_eq!(kind_of(reason), reason);
    }
}
