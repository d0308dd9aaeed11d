//! Variables of the environment in a Telegraf configuration: `$NAME`, `${NAME}`,
//! `${NAME:-default}`, `${NAME-default}`, `${NAME:?error}` and `${NAME?error}`.

/// Longest variable, with its braces' content.
const MAX_VARIABLE_BYTES: usize = 4_096;

/// Looks a variable up.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The text with its variables replaced. One that has no value stays as it stands, and is told.
pub fn replace(text: &str, variables: Variables<'_>, missing: &mut dyn FnMut(&str)) -> String {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        done.push_str(before);
        let Some(found) = Variable::at(from) else {
            done.push('$');
            rest = from.get(1..).unwrap_or_default();
            continue;
        };
        if let Some(value) = found.value(variables) {
            done.push_str(&value);
        } else {
            missing(found.name);
            done.push_str(found.whole);
        }
        rest = from.get(found.whole.len()..).unwrap_or_default();
    }
    done.push_str(rest);
    done
}

struct Variable<'a> {
    whole: &'a str,
    name: &'a str,
    /// What follows the name within braces.
    modifier: &'a str,
}

impl<'a> Variable<'a> {
    /// The variable that a text begins with.
    fn at(text: &'a str) -> Option<Self> {
        let after = text.strip_prefix('$')?;
        if let Some(inner) = after.strip_prefix('{') {
            let end = inner.bytes().take(MAX_VARIABLE_BYTES).position(|byte| byte == b'}')?;
            let content = &inner[..end];
            let name = name_of(content)?;
            let modifier = &content[name.len()..];
            let is_known = modifier.is_empty() || [":-", "-", ":?", "?"].iter().any(|sign| modifier.starts_with(sign));
            return is_known.then(|| Self { whole: &text[..end + 3], name, modifier });
        }
        let name = name_of(after)?;
        Some(Self { whole: &text[..=name.len()], name, modifier: "" })
    }

    fn value(&self, variables: Variables<'_>) -> Option<String> {
        let value = variables(self.name);
        let by_default = |sign: &str| self.modifier.strip_prefix(sign).map(str::to_owned);
        if let Some(default) = by_default(":-") {
            return value.filter(|value| !value.is_empty()).or(Some(default));
        }
        value.or_else(|| by_default("-"))
    }
}

/// The name that a text begins with.
fn name_of(text: &str) -> Option<&str> {
    let end = text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    let is_name = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    is_name.then(|| &text[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn replaced(text: &str) -> (String, Vec<String>) {
        let mut missing = Vec::new();
        let known = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let text = replace(text, &known, &mut |name| missing.push(name.to_owned()));
        (text, missing)
    }

    #[test]
    fn each_form_is_replaced() {
        for (text, expected) in [
            ("x/$A/y", "x/one/y"),
            ("${A}b", "oneb"),
            ("${B:-two}", "two"),
            ("${EMPTY:-two}", "two"),
            ("${EMPTY-two}", ""),
            ("${B-two}", "two"),
            ("${A:?no}", "one"),
            ("^${1}$", "^${1}$"),
            ("$", "$"),
            ("${A", "${A"),
        ] {
            assert_eq!(replaced(text), (expected.to_owned(), Vec::new()), "{text}");
        }
        assert_eq!(replaced("$B ${C:?no}"), ("$B ${C:?no}".to_owned(), vec!["B".to_owned(), "C".to_owned()]));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            let _ = replaced(&text);
        }
    }
}
