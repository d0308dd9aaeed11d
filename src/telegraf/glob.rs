//! Telegraf's patterns of names: `*`, `?`, `[abc]`, `{one,two}`. Pure.

/// Longest list of alternatives that a pattern is written out into.
const MAX_ALTERNATIVES: usize = 64;
/// Longest name and pattern that are compared, in bytes.
const MAX_BYTES: usize = 1_024;

/// Whether a name stands for itself alone.
pub fn is_plain(pattern: &str) -> bool {
    !pattern.contains(['*', '?', '[', '{'])
}

/// Whether any of these patterns matches a name.
pub fn any(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

/// Whether a pattern matches a name.
pub fn matches(pattern: &str, name: &str) -> bool {
    if is_plain(pattern) {
        return pattern == name;
    }
    if name.len() > MAX_BYTES {
        return false;
    }
    let name: Vec<char> = name.chars().collect();
    alternatives(pattern).iter().any(|one| matches_one(&pieces(one), &name))
}

/// The pattern in words that `only` and `ignore` know: `*` and `?`. The second is whether it says
/// exactly the same.
pub fn translated(pattern: &str) -> (Vec<String>, bool) {
    let mut is_exact = true;
    let one = |pattern: &String| {
        pieces(pattern)
            .iter()
            .map(|piece| match piece {
                Piece::Any => '*',
                Piece::One => '?',
                Piece::Of { .. } => {
                    is_exact = false;
                    '?'
                }
                Piece::Is(c) => *c,
            })
            .collect::<String>()
    };
    let translated = alternatives(pattern).iter().map(one).collect();
    (translated, is_exact)
}

/// The pattern without braces, as so many patterns.
fn alternatives(pattern: &str) -> Vec<String> {
    let mut done: Vec<String> = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(pattern) = open.pop() {
        let braces = pattern.find('{').and_then(|begin| Some((begin, begin + pattern[begin..].find('}')?)));
        match braces {
            Some((begin, end)) if open.len() + done.len() < MAX_ALTERNATIVES => {
                let (before, after) = (&pattern[..begin], &pattern[end + 1..]);
                let inner = pattern[begin + 1..end].split(',');
                open.extend(inner.rev().map(|one| format!("{before}{one}{after}")));
            }
            _ => done.push(pattern),
        }
    }
    done
}

enum Piece {
    Any,
    One,
    Of { chars: Vec<(char, char)>, is_not: bool },
    Is(char),
}

fn pieces(pattern: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut chars = pattern.chars().take(MAX_BYTES).peekable();
    while let Some(c) = chars.next() {
        pieces.push(match c {
            '*' => Piece::Any,
            '?' => Piece::One,
            '\\' => Piece::Is(chars.next().unwrap_or('\\')),
            '[' => {
                let is_not = chars.next_if_eq(&'!').is_some();
                let inner: Vec<char> = chars.by_ref().take_while(|c| *c != ']').collect();
                Piece::Of { chars: ranges(&inner), is_not }
            }
            other => Piece::Is(other),
        });
    }
    pieces
}

fn ranges(inner: &[char]) -> Vec<(char, char)> {
    let mut ranges = Vec::new();
    let mut rest = inner;
    loop {
        rest = match rest {
            [from, '-', to, rest @ ..] => {
                ranges.push((*from, *to));
                rest
            }
            [one, rest @ ..] => {
                ranges.push((*one, *one));
                rest
            }
            [] => return ranges,
        };
    }
}

fn matches_one(pieces: &[Piece], name: &[char]) -> bool {
    // Where the pattern may go on, by characters of the name that are used up.
    let mut places = vec![false; name.len() + 1];
    places[0] = true;
    for piece in pieces {
        let mut next = vec![false; name.len() + 1];
        let mut is_open = false;
        for (at, slot) in next.iter_mut().enumerate() {
            is_open |= places[at];
            *slot = match piece {
                Piece::Any => is_open,
                _ => at > 0 && places[at - 1] && fits(piece, name[at - 1]),
            };
        }
        places = next;
    }
    places.last().is_some_and(|is_end| *is_end)
}

fn fits(piece: &Piece, c: char) -> bool {
    match piece {
        Piece::Any | Piece::One => true,
        Piece::Is(own) => *own == c,
        Piece::Of { chars, is_not } => chars.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *is_not,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_as_telegrafs_do() {
        for (pattern, name, expected) in [
            ("temp", "temp", true),
            ("temp", "temperature", false),
            ("temp*", "temperature", true),
            ("*_c", "temp_c", true),
            ("te?p", "temp", true),
            ("t[ae]mp", "temp", true),
            ("t[!ae]mp", "temp", false),
            ("t[a-f]mp", "temp", true),
            ("{temp,hum}*", "humidity", true),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        assert_eq!(translated("{a,b}*[xy]"), (vec!["a*?".to_owned(), "b*?".to_owned()], false));
        assert_eq!(translated("a?"), (vec!["a?".to_owned()], true));
    }

    proptest! {
        #[test]
        fn arbitrary_patterns_never_panic(pattern in "[a-c*?{},!\\[\\]\\\\-]{0,30}", name in "[a-c]{0,10}") {
            let _ = (matches(&pattern, &name), translated(&pattern));
        }
    }
}
