//! What functions of this crate for jq programs have in common.

use jaq_core::{Error, RunPtr, data::JustLut, native::Filter};
use jaq_json::Val;
use jaq_std::ValT as _;

/// A function: its name, how many arguments it has, and what it does.
pub(super) type Own = Filter<RunPtr<JustLut<Val>>>;

/// The bytes of a text.
pub(super) fn text(value: &Val) -> Result<&[u8], Error<Val>> {
    value.as_utf8_bytes().ok_or_else(|| Error::typ(value.clone(), "string"))
}

/// A text that is UTF-8.
pub(super) fn utf8(value: &Val) -> Result<&str, Error<Val>> {
    std::str::from_utf8(text(value)?).map_err(Error::str)
}

/// A number as a double.
pub(super) fn double(value: &Val) -> Result<f64, Error<Val>> {
    value.as_f64().ok_or_else(|| Error::typ(value.clone(), "number"))
}
