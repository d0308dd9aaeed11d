//! How a member's value becomes a part of its row, by what its source says of it. Pure.

use super::{
    FaultKind, Unfit, check_symbol,
    members::{Members, Treatment},
    time::{TimeFault, TimeReader},
    value::{Factor, Scalar, clean_text},
};
use crate::{
    point::{MAX_FIELDS, MAX_SYMBOLS, Row, Text, Timestamp},
    settings::FieldType,
};

/// Fields a row has room for before it grows.
const USUAL_FIELDS: usize = 8;

/// Puts the value of the member at a path where it belongs; the error says what does not fit.
pub(super) fn put(row: &mut Row, members: &mut Members, path: &str, value: Scalar<'_>) -> Result<(), Unfit> {
    if members.tells() {
        let done = try_put(row, members, path, value);
        members.tell(path, value, done.as_ref().err());
        return done;
    }
    try_put(row, members, path, value)
}

#[inline]
fn try_put(row: &mut Row, members: &mut Members, path: &str, value: Scalar<'_>) -> Result<(), Unfit> {
    if members.is_null(value) {
        return Ok(());
    }
    match members.treatment(path) {
        Treatment::Leave => Ok(()),
        Treatment::Time(reader) => put_time(row, value, reader),
        Treatment::Symbol(column) => put_symbol(row, value, column),
        Treatment::Field { column, wanted, factor } => put_field(row, value, column, *wanted, *factor),
        Treatment::Unfit(..) if value.is_nothing() => Ok(()),
        Treatment::Unfit(kind, reason) => Err((*kind, reason.clone())),
    }
}

fn put_field(
    row: &mut Row,
    value: Scalar<'_>,
    column: &Text,
    wanted: Option<FieldType>,
    factor: Option<Factor>,
) -> Result<(), Unfit> {
    let scaled = match factor {
        Some(factor) => match value.scaled(factor).ok_or_else(|| not_scaled(value))? {
            scaled if scaled.is_nothing() && !value.is_nothing() => {
                return Err((FaultKind::Type, "scaled it is beyond what a double holds".into()));
            }
            scaled => scaled,
        },
        None => value,
    };
    let Some(value) = scaled.to_value(wanted).map_err(|reason| (FaultKind::Type, reason))? else { return Ok(()) };
    if row.fields.len() == MAX_FIELDS {
        return Err((FaultKind::Count, format!("the reading has more than {MAX_FIELDS} fields")));
    }
    if row.fields.is_empty() {
        row.fields.reserve(USUAL_FIELDS);
    }
    row.fields.push((column.clone(), value));
    Ok(())
}

fn not_scaled(value: Scalar<'_>) -> Unfit {
    (FaultKind::Type, format!("scale asks for a number, and it is {}", value.kind()))
}

fn put_time(row: &mut Row, value: Scalar<'_>, reader: &TimeReader) -> Result<(), Unfit> {
    if row.time.is_some() {
        return Err((FaultKind::Twice, "the timestamp appears twice".into()));
    }
    match reader.read(value) {
        Ok(time) => (row.time, row.device_time) = (Some(time), true),
        Err(TimeFault::Unusable(_)) => {}
        // Further in the future than anything; the limit of the future sets its row aside.
        Err(TimeFault::TooLate(_)) => (row.time, row.device_time) = (Some(Timestamp(i64::MAX)), true),
    }
    Ok(())
}

/// An empty symbol is an absent one, as in QuestDB.
fn put_symbol(row: &mut Row, value: Scalar<'_>, column: &Text) -> Result<(), Unfit> {
    let text = clean_text(&value.to_text());
    check_symbol(column, &text).map_err(|reason| (FaultKind::Length, reason))?;
    if row.symbols.len() == MAX_SYMBOLS {
        return Err((FaultKind::Count, format!("the reading has more than {MAX_SYMBOLS} symbols")));
    }
    if !text.is_empty() {
        row.symbols.push((column.clone(), text));
    }
    Ok(())
}
