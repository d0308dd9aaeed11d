//! Which column of a table a field's value goes to, and in what form. Pure.
//!
//! A column keeps the type that its first value gave it. A value that it cannot hold goes to a column beside it, its *sibling*:
//! `v_string`, `v_double`, `v_long` or `v_boolean`. So the first value locks nobody out, and no value is changed.

use std::net::Ipv4Addr;

use crate::entry::ValueRef;

/// What a column can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// true and false, and no null.
    Boolean,
    /// Whole numbers up to these bits.
    Whole(u32),
    /// A 64-bit float.
    Double,
    /// A 32-bit float.
    Float,
    /// Text.
    Text,
    /// Text of one character.
    Char,
    /// Text that is a UUID.
    Uuid,
    /// Text that is an address.
    Ipv4,
    /// Text that is a geohash of at least these bits.
    Geohash(u32),
    /// Decimal numbers of so many digits before the point, and behind it; also as text.
    Decimal(u32, u32),
    /// Nothing that is sent: a type that no value becomes.
    Nothing,
    /// The designated timestamp: a row's time, and nothing else.
    Time,
    /// What is not known here: QuestDB decides.
    Other,
}

impl Holds {
    /// What a column of QuestDB's type can hold.
    pub fn of(kind: &str) -> Self {
        match kind {
            "BOOLEAN" => Self::Boolean,
            "BYTE" => Self::Whole(8),
            "SHORT" => Self::Whole(16),
            "INT" => Self::Whole(32),
            "LONG" | "DATE" | "TIMESTAMP" | "TIMESTAMP_NS" => Self::Whole(64),
            "DOUBLE" => Self::Double,
            "FLOAT" => Self::Float,
            "VARCHAR" | "STRING" | "SYMBOL" => Self::Text,
            "CHAR" => Self::Char,
            "UUID" => Self::Uuid,
            "IPv4" => Self::Ipv4,
            "LONG256" | "BINARY" | "INTERVAL" => Self::Nothing,
            kind if kind.ends_with("[]") => Self::Nothing,
            kind => {
                let decimal = kind.strip_prefix("DECIMAL(").and_then(decimal_digits);
                let decimal = decimal.map(|(whole, fraction)| Self::Decimal(whole, fraction));
                let geohash = kind.strip_prefix("GEOHASH(").and_then(geohash_bits).map(Self::Geohash);
                decimal.or(geohash).unwrap_or(Self::Other)
            }
        }
    }

    /// Whether it is of a type that no first value makes, and that holds little.
    fn is_narrow(self) -> bool {
        use Holds::{Char, Decimal, Geohash, Ipv4, Nothing, Uuid};
        matches!(self, Char | Uuid | Ipv4 | Geohash(_) | Decimal(..) | Nothing)
    }

    /// Whether a narrow one holds that text as it is.
    fn holds_text(self, text: &str) -> bool {
        match self {
            Self::Char => text.encode_utf16().count() == 1,
            Self::Uuid => is_uuid(text),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Geohash(bits) => is_geohash(text, bits),
            Self::Decimal(whole, fraction) => is_decimal(text, whole, fraction),
            _ => false,
        }
    }

    /// Whether a narrow one holds that number.
    fn holds_number(self, number: &dyn ToString) -> bool {
        match self {
            Self::Decimal(whole, fraction) => is_decimal(&number.to_string(), whole, fraction),
            _ => false,
        }
    }
}

/// The bits of a geohash column, from what stands in the brackets of its type: characters of five bits, or bits.
fn geohash_bits(size: &str) -> Option<u32> {
    let size = size.strip_suffix(')')?;
    let characters = size.strip_suffix('c').and_then(|count| count.parse::<u32>().ok()).map(|count| count * 5);
    characters.or_else(|| size.strip_suffix('b')?.parse().ok())
}

/// Of other texts QuestDB makes null without a word.
fn is_geohash(text: &str, bits: u32) -> bool {
    const MAX_CHARACTERS: usize = 12;
    let is_digit =
        |c: char| matches!(c.to_ascii_lowercase(), '0'..='9' | 'b'..='h' | 'j' | 'k' | 'm' | 'n' | 'p'..='z');
    text.len() <= MAX_CHARACTERS && text.len() as u32 * 5 >= bits && text.chars().all(is_digit)
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The digits before and behind the point, from precision and scale as they stand in the brackets of a type.
fn decimal_digits(size: &str) -> Option<(u32, u32)> {
    let (precision, scale) = size.strip_suffix(')')?.split_once(',')?;
    let (precision, scale) = (precision.trim().parse::<u32>().ok()?, scale.trim().parse().ok()?);
    Some((precision.checked_sub(scale)?, scale))
}

fn is_decimal(text: &str, most_whole: u32, most_fraction: u32) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').map_or((unsigned, None), |(whole, rest)| (whole, Some(rest)));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number(whole)
        && fraction.is_none_or(is_number)
        && whole.trim_start_matches('0').len() <= most_whole as usize
        && fraction.is_none_or(|fraction| fraction.len() <= most_fraction as usize)
}

/// A value in the form in which it is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form<'a> {
    /// A `BOOLEAN`.
    Boolean(bool),
    /// A whole number.
    Whole(i64),
    /// A float.
    Double(f64),
    /// Text.
    Text(&'a str),
}

/// The form of a value, or a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FormKind {
    /// A symbol.
    Symbol,
    /// See [`Form`], like the others.
    Boolean,
    /// A whole number.
    Whole,
    /// A float.
    Double,
    /// Text.
    Text,
    /// What the column's type does not hold, as far as is known here, in whatever form.
    Unfit,
}

impl FormKind {
    /// What such values are called.
    pub fn words(self) -> &'static str {
        match self {
            Self::Symbol => "symbols",
            Self::Boolean => "booleans",
            Self::Whole => "whole numbers",
            Self::Double => "numbers",
            Self::Text => "text",
            Self::Unfit => "what its type does not hold",
        }
    }
}

impl Form<'_> {
    /// Which form it is.
    pub fn kind(self) -> FormKind {
        match self {
            Self::Boolean(_) => FormKind::Boolean,
            Self::Whole(_) => FormKind::Whole,
            Self::Double(_) => FormKind::Double,
            Self::Text(_) => FormKind::Text,
        }
    }

    /// What a column holds that the value makes.
    pub fn makes(self) -> Holds {
        match self {
            Self::Boolean(_) => Holds::Boolean,
            Self::Whole(_) => Holds::Whole(64),
            Self::Double(_) => Holds::Double,
            Self::Text(_) => Holds::Text,
        }
    }
}

/// A column beside another one, for values that the other cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sibling {
    /// Text.
    String,
    /// 64-bit floats.
    Double,
    /// Whole numbers.
    Long,
    /// Booleans, as 1 and 0 of a `LONG`: a `BOOLEAN` has no null.
    Boolean,
}

impl Sibling {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::String, Self::Double, Self::Long, Self::Boolean];

    /// What its name adds to that of the column.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::String => "_string",
            Self::Double => "_double",
            Self::Long => "_long",
            Self::Boolean => "_boolean",
        }
    }

    /// What it holds.
    pub fn holds(self) -> Holds {
        match self {
            Self::String => Holds::Text,
            Self::Double => Holds::Double,
            Self::Long | Self::Boolean => Holds::Whole(64),
        }
    }
}

/// Where a value goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place<'a> {
    /// The column beside its own one, if it is that.
    pub sibling: Option<Sibling>,
    /// The value as it is sent.
    pub form: Form<'a>,
    /// Whether the column holds it, as far as is known here. One of a type that somebody chose by hand may not, and has no column beside
    /// it: QuestDB judges.
    pub is_held: bool,
}

/// Where a value goes whose own column holds that; none while there is no such column.
pub fn place(own: Option<Holds>, value: ValueRef<'_>) -> Place<'_> {
    let in_own = |form| Place { sibling: None, form, is_held: true };
    let beside = |sibling, form| Place { sibling: Some(sibling), form, is_held: true };
    if let Some(narrow) = own.filter(|own| own.is_narrow()) {
        let (form, is_held) = match value {
            ValueRef::Bool(value) | ValueRef::Flag(value) => (Form::Whole(value.into()), false),
            ValueRef::Long(value) | ValueRef::Whole(value) => (Form::Whole(value), narrow.holds_number(&value)),
            ValueRef::Double(value) => (Form::Double(value), narrow.holds_number(&value)),
            ValueRef::Text(text) => (Form::Text(text), narrow.holds_text(text)),
        };
        return Place { sibling: None, form, is_held };
    }
    match (value, own) {
        (ValueRef::Bool(value), None | Some(Holds::Boolean | Holds::Other))
        | (ValueRef::Flag(value), Some(Holds::Boolean)) => in_own(Form::Boolean(value)),
        (ValueRef::Flag(value), None) | (ValueRef::Bool(value) | ValueRef::Flag(value), Some(Holds::Whole(_))) => {
            in_own(Form::Whole(value.into()))
        }
        (ValueRef::Bool(value) | ValueRef::Flag(value), _) => beside(Sibling::Boolean, Form::Whole(value.into())),

        (ValueRef::Long(value), None | Some(Holds::Other)) => in_own(Form::Whole(value)),
        (ValueRef::Long(value) | ValueRef::Whole(value), Some(Holds::Whole(bits))) if fits(value, bits) => {
            in_own(Form::Whole(value))
        }
        (ValueRef::Long(value), Some(Holds::Double)) if value as f64 as i128 == i128::from(value) => {
            in_own(Form::Double(value as f64))
        }
        (ValueRef::Long(value), Some(Holds::Float)) if value as f32 as i128 == i128::from(value) => {
            in_own(Form::Double(value as f64))
        }
        (ValueRef::Long(value) | ValueRef::Whole(value), _) => beside(Sibling::Long, Form::Whole(value)),

        (ValueRef::Double(value), None | Some(Holds::Double | Holds::Float | Holds::Other)) => {
            in_own(Form::Double(value))
        }
        (ValueRef::Double(value), Some(Holds::Whole(bits))) if is_whole(value, bits) => {
            in_own(Form::Whole(value as i64))
        }
        (ValueRef::Double(value), _) => beside(Sibling::Double, Form::Double(value)),

        (ValueRef::Text(text), None | Some(Holds::Text | Holds::Other)) => in_own(Form::Text(text)),
        (ValueRef::Text(text), _) => beside(Sibling::String, Form::Text(text)),
    }
}

/// Whether so many bits hold the number. The least of them is null to QuestDB where there are 32 or
/// more.
fn fits(value: i64, bits: u32) -> bool {
    let most = i64::MAX >> (64 - bits);
    let least = if bits >= 32 { -most } else { -most - 1 };
    (least..=most).contains(&value)
}

/// Whether so many bits hold the number, and a double holds every whole number of its size.
fn is_whole(value: f64, bits: u32) -> bool {
    const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
    value.fract() == 0.0 && value.abs() <= MAX_EXACT && fits(value as i64, bits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MORE_THAN_EXACT: i64 = 9_007_199_254_740_993;

    #[test]
    fn values_go_where_their_column_holds_them_and_beside_it_else() {
        use Form::{Boolean, Double, Text, Whole};
        use Sibling as S;
        let (value, text) = (ValueRef::Double(1.5), ValueRef::Text("x"));
        for (own, value, sibling, form) in [
            (None, value, None, Double(1.5)),
            (Some("DOUBLE"), value, None, Double(1.5)),
            (Some("FLOAT"), value, None, Double(1.5)),
            (Some("LONG"), value, Some(S::Double), Double(1.5)),
            (Some("VARCHAR"), value, Some(S::Double), Double(1.5)),
            (Some("BOOLEAN"), value, Some(S::Double), Double(1.5)),
            (Some("LONG"), ValueRef::Double(5.0), None, Whole(5)),
            (Some("SHORT"), ValueRef::Double(32_767.0), None, Whole(32_767)),
            (Some("SHORT"), ValueRef::Double(32_768.0), Some(S::Double), Double(32_768.0)),
            (None, ValueRef::Long(5), None, Whole(5)),
            (Some("DOUBLE"), ValueRef::Long(5), None, Double(5.0)),
            (Some("DOUBLE"), ValueRef::Long(MORE_THAN_EXACT), Some(S::Long), Whole(MORE_THAN_EXACT)),
            (Some("INT"), ValueRef::Long(1 << 31), Some(S::Long), Whole(1 << 31)),
            (Some("INT"), ValueRef::Long(i64::from(i32::MIN)), Some(S::Long), Whole(i64::from(i32::MIN))),
            (Some("BYTE"), ValueRef::Long(-128), None, Whole(-128)),
            (None, ValueRef::Whole(MORE_THAN_EXACT), Some(S::Long), Whole(MORE_THAN_EXACT)),
            (Some("DOUBLE"), ValueRef::Whole(MORE_THAN_EXACT), Some(S::Long), Whole(MORE_THAN_EXACT)),
            (Some("LONG"), ValueRef::Whole(MORE_THAN_EXACT), None, Whole(MORE_THAN_EXACT)),
            (None, text, None, Text("x")),
            (Some("SYMBOL"), text, None, Text("x")),
            (Some("DOUBLE"), text, Some(S::String), Text("x")),
            (Some("something new"), text, None, Text("x")),
            (Some("something new"), value, None, Double(1.5)),
            (None, ValueRef::Flag(true), None, Whole(1)),
            (Some("LONG"), ValueRef::Flag(false), None, Whole(0)),
            (Some("BOOLEAN"), ValueRef::Flag(true), None, Boolean(true)),
            (Some("DOUBLE"), ValueRef::Flag(true), Some(S::Boolean), Whole(1)),
            (Some("VARCHAR"), ValueRef::Flag(true), Some(S::Boolean), Whole(1)),
            (None, ValueRef::Bool(true), None, Boolean(true)),
            (Some("LONG"), ValueRef::Bool(true), None, Whole(1)),
            (Some("DOUBLE"), ValueRef::Bool(true), Some(S::Boolean), Whole(1)),
        ] {
            let expected = Place { sibling, form, is_held: true };
            assert_eq!(place(own.map(Holds::of), value), expected, "{value:?} into {own:?}");
        }
        let of_time = place(Some(Holds::Time), value);
        assert_eq!(of_time, Place { sibling: Some(S::Double), form: Double(1.5), is_held: true }, "the designated one");
    }

    #[test]
    fn columns_of_narrow_types_hold_what_questdb_takes_for_them() {
        for (kind, value, is_held) in [
            ("UUID", ValueRef::Text("x"), false),
            ("UUID", ValueRef::Double(1.5), false),
            ("LONG256", ValueRef::Text("0x1"), false),
            ("DOUBLE[]", ValueRef::Double(1.5), false),
            ("DECIMAL(3,2)", ValueRef::Double(1.5), true),
            ("DECIMAL(3,2)", ValueRef::Double(10.5), false),
            ("DECIMAL(3,2)", ValueRef::Double(-1.125), false),
            ("DECIMAL(3,2)", ValueRef::Long(-9), true),
            ("DECIMAL(3,2)", ValueRef::Long(10), false),
            ("DECIMAL(3,2)", ValueRef::Flag(true), false),
        ] {
            let found = place(Some(Holds::of(kind)), value);
            assert_eq!((found.sibling, found.is_held), (None, is_held), "{value:?} into {kind}");
        }
    }

    /// As QuestDB 9.3.4 takes text over HTTP.
    #[test]
    fn text_goes_to_columns_of_narrow_types_where_it_is_such() {
        const UUID: &str = "11111111-2222-3333-4444-55555555abCD";
        for (kind, good, bad) in [
            ("CHAR", &["x", "ü"][..], &["", "xy", "𝄞"][..]),
            ("UUID", &[UUID], &["", "x", "11111111-2222-3333-4444-55555555abCG", "11111111-2222-3333-4444"]),
            ("IPv4", &["1.2.3.4"], &["", "1.2.3", "1.2.3.256", "x"]),
            ("GEOHASH(4c)", &["u33d", "u33d8"], &["", "u33", "hello", "u33 d"]),
            ("GEOHASH(6b)", &["u3", "12"], &["", "u", "a1"]),
            ("DECIMAL(4,2)", &["12", "-1.50", "+3", "0099"], &["", ".", "1,5", "1.", "1e3", "100", "1.555"]),
            ("LONG256", &[], &["0x123"]),
            ("BINARY", &[], &["x"]),
        ] {
            for (texts, is_held) in [(good, true), (bad, false)] {
                for text in texts {
                    let found = place(Some(Holds::of(kind)), ValueRef::Text(text));
                    let expected = Place { sibling: None, form: Form::Text(text), is_held };
                    assert_eq!(found, expected, "{text:?} into {kind}");
                }
            }
        }
        for kind in ["CHAR", "UUID", "IPv4", "GEOHASH(4c)", "LONG256"] {
            assert!(!place(Some(Holds::of(kind)), ValueRef::Long(1)).is_held, "{kind}");
        }
    }

    proptest! {
        #[test]
        fn a_column_takes_again_what_made_it(number in any::<i64>(), float in -1e300..1e300, text in "\\PC{0,9}", flag in any::<bool>()) {
            for value in [ValueRef::Long(number), ValueRef::Double(float), ValueRef::Text(&text), ValueRef::Flag(flag), ValueRef::Bool(flag)] {
                let first = place(None, value);
                prop_assert_eq!(first.sibling, None);
                // The least of all numbers is QuestDB's null.
                if value != ValueRef::Long(i64::MIN) {
                    prop_assert_eq!(place(Some(first.form.makes()), value), first);
                }
            }
        }
    }
}
