//! Which column of a table a field's value goes to, and in what form. Pure.
//!
//! A column keeps the type that its first value gave it. A value that it cannot hold goes to a column beside it, its *sibling*:
//! `v_string`, `v_double`, `v_long` or `v_boolean`. So the first value locks nobody out, and no value is changed.

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
            _ => Self::Other,
        }
    }
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

impl Form<'_> {
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
}

/// Where a value goes whose own column holds that; none while there is no such column.
pub fn place(own: Option<Holds>, value: ValueRef<'_>) -> Place<'_> {
    let in_own = |form| Place { sibling: None, form };
    let beside = |sibling, form| Place { sibling: Some(sibling), form };
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
            (Some("UUID"), text, None, Text("x")),
            (None, ValueRef::Flag(true), None, Whole(1)),
            (Some("LONG"), ValueRef::Flag(false), None, Whole(0)),
            (Some("BOOLEAN"), ValueRef::Flag(true), None, Boolean(true)),
            (Some("DOUBLE"), ValueRef::Flag(true), Some(S::Boolean), Whole(1)),
            (Some("VARCHAR"), ValueRef::Flag(true), Some(S::Boolean), Whole(1)),
            (None, ValueRef::Bool(true), None, Boolean(true)),
            (Some("LONG"), ValueRef::Bool(true), None, Whole(1)),
            (Some("DOUBLE"), ValueRef::Bool(true), Some(S::Boolean), Whole(1)),
        ] {
            assert_eq!(place(own.map(Holds::of), value), Place { sibling, form }, "{value:?} into {own:?}");
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
