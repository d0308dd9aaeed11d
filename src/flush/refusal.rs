//! A batch that QuestDB refused: finds the rows to blame, sets them aside, sends the rest.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::Arc,
};

use super::{
    ages::Ages,
    answer::Trouble,
    batching::Span,
    isolate::{Answer, Isolation, Shapes, Step},
    lane::Lane,
    model::Flushed,
    outside::{Done, NotStored},
    refused::Fault,
};
use crate::{
    entry::{Rows, encode_rows},
    marks::Seq,
    moment::{moment, name_number},
    point::Row,
    questdb::{RowBuffer, WriteError, named_column},
    ring::{Kind, Record},
};

/// A row of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    seq: Seq,
    row: u16,
}

/// Rows to be set aside, by their number in the batch.
type Blamed = BTreeMap<usize, Arc<str>>;

/// The rows of a moment in the batch, by their numbers.
#[derive(Debug, Default)]
struct OfMoment {
    last: usize,
    /// The last one with its table, if it is to be spared.
    last_row: Option<(String, Row)>,
    /// Those that were refused for a value of another row.
    spared: Vec<usize>,
}

/// The rows of a batch.
#[derive(Debug, Default)]
struct Index {
    places: Vec<Place>,
    /// The table of each.
    tables: Vec<u32>,
    names: BTreeMap<u32, String>,
    shapes: Shapes,
    known: HashMap<Vec<Fault>, u32>,
}

impl Index {
    fn add(&mut self, record: &Record<'_>, row: u16, table: &str, values: Vec<Fault>) {
        self.places.push(Place { seq: record.seq, row });
        self.tables.push(record.table_hash);
        self.names.entry(record.table_hash).or_insert_with(|| table.to_owned());
        let shape = *self.known.entry(values).or_insert_with_key(|values| {
            self.shapes.values.push(values.clone());
            self.shapes.values.len() as u32 - 1
        });
        self.shapes.of_rows.push(shape);
    }
}

/// How a search ended.
#[derive(Debug)]
enum Searched {
    /// Every row has its fate.
    Through,
    /// The server has restarted meanwhile; the cursor is at what goes first now.
    Restarted,
}

impl Lane {
    /// Works off a refused batch, request by request. On trouble nothing of it counts as done: it is sent again later.
    pub(super) fn isolate(&mut self, span: Span, ages: Ages, message: &str) -> Result<(), Trouble> {
        let isolated = self.send_all_but_the_bad(span, message);
        if let Err(Trouble::Write(error)) = &isolated {
            self.note_unanswered(span, error);
        }
        if matches!(isolated, Ok(Searched::Restarted)) {
            return Ok(());
        }
        self.reader.seek(if isolated.is_ok() { span.end } else { span.start });
        isolated?;
        self.settle(span, ages)
    }

    fn send_all_but_the_bad(&mut self, span: Span, message: &str) -> Result<Searched, Trouble> {
        let Index { places, tables, names, shapes, .. } = self.index(span)?;
        tracing::debug!(
            lane = self.number,
            rows = places.len(),
            "QuestDB refuses a batch, looking for the row: {message}"
        );
        self.reconnect()?;
        let suspects = self.encoder.condemned.on_trial(span.start.pos, span.end.pos);
        let mut isolation = Isolation::new(tables, &suspects).with_shapes(shapes);
        let mut blamed = Blamed::new();
        let mut buffer = self.take_buffer();
        while let Step::Send(range) = isolation.step() {
            if self.shared.stopping().is_some_and(|left| left.is_zero()) {
                return Err(Trouble::Stopped);
            }
            if !self.is_same_server(span.start)? {
                return Ok(Searched::Restarted);
            }
            let sent = self.send_part(span, &places, &range, &isolation, &mut buffer);
            let (line, message) = match sent {
                Ok(()) => {
                    isolation.answer(Answer::Stored);
                    continue;
                }
                Err(Trouble::Write(WriteError::BadRow { line, message })) => (Some(line), message),
                Err(Trouble::Write(WriteError::Refused { message })) => (None, message),
                Err(trouble) => return Err(trouble),
            };
            let column = named_column(&message).map(name_number);
            note(&mut blamed, isolation.answer(Answer::Refused { line, column }), &message);
        }
        self.remember_refused(span, &isolation, &blamed, &names);
        self.spare_completed(span, &places, &mut blamed, &mut buffer)?;
        self.give_back(buffer);
        self.condemn(span, &isolation, &blamed, &places)?;
        self.encoder.condemned.acquit(&suspects.difference(isolation.condemned()).copied().collect());
        self.report();
        self.set_blamed_aside(span, &places, &blamed)?;
        Ok(Searched::Through)
    }

    /// Opens a new connection. QuestDB (9.3.4) goes on judging what an old one sends by the columns a table had when that connection
    /// first wrote to it, so after an `ALTER` only the refusals of a new one count.
    fn reconnect(&mut self) -> Result<(), Trouble> {
        self.heartbeat.waiting("a new connection to QuestDB", Some(self.request_timeout));
        self.link.disconnect();
        self.link.connect().map_err(Trouble::Write)
    }

    /// The rows that make up the batch.
    fn index(&mut self, span: Span) -> Result<Index, Trouble> {
        let mut found = Index::default();
        self.walk(span, &mut |lane, record| {
            let once_below = lane.reborn.once_below(record.table_hash, span.once_below);
            lane.encoder.each_row(record, once_below, &mut |encoder, table, index, row| {
                found.add(record, index, table, encoder.values(table, row));
                Ok(())
            })?;
            Ok(())
        })?;
        Ok(found)
    }

    /// Remembers columns that have refused every value of a form, so that the next batches need not find out; and how the tries in this
    /// one went.
    fn remember_refused(&mut self, span: Span, isolation: &Isolation, blamed: &Blamed, names: &BTreeMap<u32, String>) {
        let now = self.now();
        let refused = &mut self.encoder.refused;
        let mut found: Vec<((u32, Fault), usize)> =
            isolation.condemned_faults().iter().map(|(of, row)| (*of, *row)).collect();
        for (hash, fault) in refused.on_trial(span.start.pos, span.end.pos) {
            if isolation.condemned_faults().contains_key(&(hash, fault)) {
                continue;
            }
            let is_to_blame = |row: &usize| {
                let column = blamed.get(row).and_then(|reason| named_column(reason));
                column.map(name_number) == Some(fault.column)
            };
            match isolation.rows_with(hash, fault).find(is_to_blame) {
                Some(row) => found.push(((hash, fault), row)),
                None => refused.acquit(hash, fault),
            }
        }
        for ((hash, fault), row) in found {
            let (Some(reason), Some(table)) = (blamed.get(&row), names.get(&hash)) else { continue };
            let column = named_column(reason).unwrap_or_default();
            tracing::debug!(lane = self.number, table, column, "the column refuses {}: {reason}", fault.form.words());
            refused.remember(hash, fault, (table, column), reason, now);
        }
    }

    /// Sends the rows of a range that are not taken out.
    fn send_part(
        &mut self,
        span: Span,
        places: &[Place],
        range: &Range<usize>,
        isolation: &Isolation,
        buffer: &mut RowBuffer,
    ) -> Result<(), Trouble> {
        buffer.clear(usize::MAX);
        let mut next = 0;
        self.walk(span, &mut |lane, record| {
            if next >= range.end {
                return Ok(());
            }
            let once_below = lane.reborn.once_below(record.table_hash, span.once_below);
            lane.encoder.each_row(record, once_below, &mut |encoder, table, index, row| {
                let here = Place { seq: record.seq, row: index };
                if places.get(next) == Some(&here) {
                    if range.contains(&next) && !isolation.is_out(next) {
                        // A row that the buffer itself refuses was set aside when the batch was encoded.
                        let _ = buffer.add(table, row, &mut encoder.columns());
                    }
                    next += 1;
                }
                Ok(())
            })?;
            Ok(())
        })?;
        self.send_rows(buffer)
    }

    fn send_rows(&mut self, buffer: &mut RowBuffer) -> Result<(), Trouble> {
        let patience = self.patience(buffer.bytes());
        if buffer.is_empty() {
            return Ok(());
        }
        self.heartbeat.waiting("QuestDB's answer", Some(patience));
        self.sent_rows = buffer.rows();
        self.link.connect().map_err(Trouble::Write)?;
        if !self.link.send(std::mem::take(buffer)) {
            return Err(Trouble::Stopped);
        }
        let Done { buffer: sent, result, took } = self.await_answer()?;
        *buffer = sent;
        result.map_err(|why| match why {
            NotStored::Failed(error) => Trouble::Write(error),
            NotStored::Unsent => Trouble::Stopped,
        })?;
        let flushed = Flushed { rows: buffer.rows(), bytes: buffer.bytes(), took };
        let rows = flushed.rows;
        self.shared.report(self.number, |report| report.status.rows_sent += rows as u64);
        self.stored(flushed, None);
        Ok(())
    }

    /// Sends rows again that were refused for a value that they had only taken over from another
    /// row of their moment, without that value.
    ///
    /// Of a moment the last row holds what the others of it brought. Where that is stored, the
    /// others need not be; where it is to be spared itself, it is the one that is sent.
    fn spare_completed(
        &mut self,
        span: Span,
        places: &[Place],
        blamed: &mut Blamed,
        buffer: &mut RowBuffer,
    ) -> Result<(), Trouble> {
        let mut moments = self.moments_of_completed(span, places, blamed)?;
        moments.retain(|_, of| !of.spared.is_empty());
        for of in moments.into_values() {
            let is_stored = match of.last_row {
                Some((table, row)) => self.send_spared(&table, row, &blamed[&of.last], buffer)?,
                None => !blamed.contains_key(&of.last),
            };
            if is_stored {
                of.spared.iter().for_each(|index| drop(blamed.remove(index)));
            }
        }
        Ok(())
    }

    /// The moments of the batch's rows: which of their rows are to be spared.
    fn moments_of_completed(
        &mut self,
        span: Span,
        places: &[Place],
        blamed: &Blamed,
    ) -> Result<BTreeMap<u64, OfMoment>, Trouble> {
        let mut moments = BTreeMap::<u64, OfMoment>::new();
        let mut next = 0;
        self.walk(span, &mut |lane, record| {
            let once_below = lane.reborn.once_below(record.table_hash, span.once_below);
            lane.encoder.each_row(record, once_below, &mut |_, table, index, row| {
                if places.get(next) != Some(&Place { seq: record.seq, row: index }) {
                    return Ok(());
                }
                let of = moments.entry(moment(table, row.time, row.symbols())).or_default();
                (of.last, of.last_row) = (next, None);
                if let Some(reason) = blamed.get(&next) {
                    let row = row.to_row();
                    if faulty_completed(&row, reason).is_some() {
                        of.spared.push(next);
                        of.last_row = Some((table.to_owned(), row));
                    }
                }
                next += 1;
                Ok(())
            })?;
            Ok(())
        })?;
        Ok(moments)
    }

    /// Sends a row without the values that it has taken over and that QuestDB refuses; whether it
    /// is stored.
    fn send_spared(
        &mut self,
        table: &str,
        mut row: Row,
        reason: &str,
        buffer: &mut RowBuffer,
    ) -> Result<bool, Trouble> {
        let mut reason = reason.to_owned();
        while let Some(faulty) = faulty_completed(&row, &reason) {
            drop_fields(&mut row, &faulty);
            let mut body = Vec::new();
            let rows =
                encode_rows(table, std::slice::from_ref(&row), &mut body).ok().and_then(|()| Rows::decode(&body).ok());
            let Some(Ok(spared)) = rows.and_then(|mut rows| rows.next()) else { return Ok(false) };
            buffer.clear(usize::MAX);
            if buffer.add(table, &spared, &mut self.encoder.columns()).is_err() {
                return Ok(false);
            }
            match self.send_rows(buffer) {
                Ok(()) => return Ok(true),
                Err(Trouble::Write(WriteError::BadRow { message, .. } | WriteError::Refused { message })) => {
                    reason = message;
                }
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(false)
    }

    /// Remembers tables that have refused everything, so that the next batches need not find out.
    fn condemn(&mut self, span: Span, isolation: &Isolation, blamed: &Blamed, places: &[Place]) -> Result<(), Trouble> {
        let mut left = isolation.condemned().clone();
        if left.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let reasons: BTreeMap<Seq, &Arc<str>> =
            blamed.iter().map(|(index, reason)| (places[*index].seq, reason)).collect();
        self.walk(span, &mut |lane, record| {
            if let Some(reason) = reasons.get(&record.seq)
                && left.remove(&record.table_hash)
                && let Ok(rows) = Rows::decode(record.body)
            {
                tracing::debug!(lane = lane.number, table = rows.table, "the table refuses everything: {reason}");
                lane.encoder.condemned.condemn(record.table_hash, rows.table, reason, now);
            }
            Ok(())
        })
    }

    fn set_blamed_aside(&mut self, span: Span, places: &[Place], blamed: &Blamed) -> Result<(), Trouble> {
        let aside: BTreeMap<(Seq, u16), &Arc<str>> =
            blamed.iter().map(|(index, reason)| ((places[*index].seq, places[*index].row), reason)).collect();
        self.walk(span, &mut |lane, record| {
            for ((_, row), reason) in aside.range((record.seq, 0)..=(record.seq, u16::MAX)) {
                lane.encoder.set_aside(record, *row, reason)?;
            }
            Ok(())
        })?;
        tracing::debug!(lane = self.number, rows = aside.len(), "rows set aside in quarantine");
        Ok(())
    }

    /// Calls `each` with every rows record of the lane in the batch.
    fn walk(
        &mut self,
        span: Span,
        each: &mut dyn FnMut(&mut Self, &Record<'_>) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let mut reader = self.encoder.ring.reader(span.start);
        loop {
            // No further: a commit may stand between the last record of the batch and its end, and behind that a record of the next one.
            match reader.next_with(span.end.pos, |_, _| true) {
                Ok(Some(record)) => {
                    let own = self.lanes.of(record.table_hash) == self.number;
                    let (pos, hash) = (record.mark.pos, record.table_hash);
                    let is_skipped = self.course.skips(pos, hash) || self.reborn.skips(pos, hash);
                    if own && record.kind == Kind::Rows && !is_skipped {
                        each(self, &record)?;
                    }
                }
                Ok(None) => break,
                Err(error) => return Err(Trouble::Read(error)),
            }
        }
        Ok(())
    }
}

/// The places of the fields that a row has taken over and that a refusal is about: the column that
/// it names, or all of them where it names none of the row's. None where the row's own fields are
/// to blame, or nothing was taken over.
fn faulty_completed(row: &Row, reason: &str) -> Option<Vec<usize>> {
    let own = row.own_fields().len();
    let is_named = |name: &str| named_column(reason) == Some(name);
    match row.fields.iter().position(|(name, _)| is_named(name)) {
        Some(at) => (at >= own).then(|| vec![at]),
        None => (own < row.fields.len()).then(|| (own..row.fields.len()).collect()),
    }
}

fn drop_fields(row: &mut Row, places: &[usize]) {
    for at in places.iter().rev() {
        row.fields.remove(*at);
        row.completed -= 1;
    }
}

fn note(blamed: &mut Blamed, rows: Vec<usize>, message: &str) {
    let reason: Arc<str> = message.into();
    for row in rows {
        blamed.insert(row, Arc::clone(&reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::Value;

    #[test]
    fn what_a_row_has_taken_over_is_told_from_what_it_brought() {
        let field = |name: &str| (name.into(), Value::Double(1.0));
        let mut row = Row { fields: vec![field("a"), field("b"), field("c")], completed: 2, ..Row::default() };
        let refusal = |column: &str| format!("error in line 1: table: t, column: {column}; cast error");
        assert_eq!(faulty_completed(&row, &refusal("a")), None, "its own");
        assert_eq!(faulty_completed(&row, &refusal("c")), Some(vec![2]));
        assert_eq!(faulty_completed(&row, "no column is named"), Some(vec![1, 2]));
        drop_fields(&mut row, &[2]);
        assert_eq!((row.fields.len(), row.completed), (2, 1));
        drop_fields(&mut row, &[1]);
        assert_eq!(faulty_completed(&row, "no column is named"), None);
    }
}
