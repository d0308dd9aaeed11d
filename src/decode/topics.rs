//! How topic filters relate: which one takes all that another takes, and which two may take the same topic (MQTT 5, section 4.7). Pure.

/// Whether every topic that `narrow` matches is matched by `wide` as well.
#[must_use]
pub fn covers(wide: &str, narrow: &str) -> bool {
    if begins_with_wildcard(wide) && narrow.starts_with('$') {
        return false;
    }
    let mut levels = narrow.split('/');
    for wanted in wide.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            None | Some("#") => return false,
            Some(level) if wanted != "+" && wanted != level => return false,
            Some(_) => {}
        }
    }
    levels.next().is_none()
}

/// Whether some topic is matched by both.
#[must_use]
pub fn overlap(one: &str, other: &str) -> bool {
    if begins_with_wildcard(one) && other.starts_with('$') || begins_with_wildcard(other) && one.starts_with('$') {
        return false;
    }
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    loop {
        match (one.next(), other.next()) {
            // The rest may be no level at all.
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some(one), Some(other)) if one != "+" && other != "+" && one != other => return false,
            (Some(_), Some(_)) => {}
        }
    }
}

fn begins_with_wildcard(filter: &str) -> bool {
    filter.starts_with(['+', '#'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decode::pattern::Pattern;

    #[test]
    fn filters_relate_as_the_topics_they_match() {
        for (wide, narrow) in [
            ("#", "a/b"),
            ("#", "+/#"),
            ("a/#", "a"),
            ("a/#", "a/+/c"),
            ("a/+", "a/b"),
            ("a/b", "a/b"),
            ("$SYS/#", "$SYS/a"),
        ] {
            assert!(covers(wide, narrow) && overlap(wide, narrow) && overlap(narrow, wide), "{wide} {narrow}");
        }
        for (wide, narrow) in
            [("a/+", "a/#"), ("a/+", "a"), ("a/b", "a/+"), ("#", "$SYS/a"), ("+/a", "$SYS/a"), ("a/#", "b/#")]
        {
            assert!(!covers(wide, narrow), "{wide} {narrow}");
        }
        assert!(overlap("a/+/c", "a/b/+") && overlap("+/b/#", "a/#") && overlap("a/#", "+"));
        assert!(!overlap("a/+/c", "a/b") && !overlap("#", "$SYS/#") && !overlap("a/b/+", "a/c/#"));
    }

    fn filter() -> impl Strategy<Value = String> {
        let levels = prop::collection::vec(prop::sample::select(vec!["a", "b", "", "+", "$S"]), 1..4);
        (levels, any::<bool>())
            .prop_map(|(mut levels, has_rest)| {
                if has_rest {
                    levels.push("#");
                }
                levels.join("/")
            })
            .prop_filter("a filter has something", |filter| !filter.is_empty())
    }

    proptest! {
        #[test]
        fn no_topic_says_otherwise(
            one in filter(),
            other in filter(),
            topics in prop::collection::vec(prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "", "$S"]), 1..5), 1..20),
        ) {
            let parse = |filter: &str| Pattern::parse(filter).expect("a filter");
            let (first, second) = (parse(&one), parse(&other));
            for topic in topics {
                let topic = topic.join("/");
                let (by_first, by_second) = (first.captures(&topic).is_some(), second.captures(&topic).is_some());
                prop_assert!(!(covers(&one, &other) && by_second && !by_first), "{} {} {}", one, other, topic);
                prop_assert!(!by_first || !by_second || overlap(&one, &other), "{} {} {}", one, other, topic);
            }
            prop_assert!(!covers(&one, &other) || overlap(&one, &other));
        }
    }
}
