//! The simulated world behind the traits that lanes meet it by.

use std::{collections::VecDeque, time::Duration};

use super::{database::Line, world::Shared};
use crate::{
    flush::{
        outside::{Done, Link, May, NotStored, Vigil, Wait},
        sender::may_leave,
        shared,
    },
    marks::Pos,
    questdb::{
        Ask, RowBuffer, SqlError, WriteError,
        sql::{ColumnInfo, TableInfo},
    },
    ring::Ring,
    sync::lock,
};

/// Longest that a lane lets time pass in one go while others stand still.
const LONGEST: Duration = Duration::from_millis(500);

/// A lane's connection.
pub struct Wire {
    pub world: Shared,
    pub lane: usize,
    pub in_flight: Option<RowBuffer>,
    /// What has not left, and was not told of yet.
    pub unsent: VecDeque<RowBuffer>,
    /// What follows it.
    pub next: Option<(RowBuffer, May)>,
}

impl Link for Wire {
    fn connect(&mut self) -> Result<(), WriteError> {
        let is_up = lock(&self.world).is_up();
        if is_up { Ok(()) } else { Err(WriteError::Unreachable("refused".to_owned())) }
    }

    fn disconnect(&mut self) {
        assert!(self.in_flight.is_none(), "a request is in flight");
        lock(&self.world).connect_anew(self.lane);
    }

    fn set_request_timeout(&mut self, _: Duration) {}

    fn buffer(&self, _: usize) -> RowBuffer {
        RowBuffer::text()
    }

    fn speaks(&self, buffer: &RowBuffer) -> bool {
        buffer.is_text()
    }

    fn send(&mut self, buffer: RowBuffer) -> bool {
        let lines = buffer.as_text().lines().map(Line::read).collect();
        lock(&self.world).send(self.lane, lines);
        self.in_flight = Some(buffer);
        true
    }

    fn follow(&mut self, buffer: RowBuffer, may: May) -> bool {
        assert!(self.next.is_none() && self.unsent.len() <= 1, "a third one");
        if self.in_flight.is_some() {
            self.next = Some((buffer, may));
        } else {
            assert!(!self.unsent.is_empty(), "it follows nothing");
            self.unsent.push_back(buffer);
        }
        true
    }

    /// What follows leaves when the answer is taken, which is some time after it has come.
    fn wait(&mut self, at_most: Duration) -> Option<Done> {
        let Some(buffer) = self.in_flight.take() else {
            let buffer = self.unsent.pop_front().expect("there is something to wait for");
            return Some(Done { buffer, result: Err(NotStored::Unsent), took: Duration::ZERO });
        };
        let answer = lock(&self.world).wait(self.lane, at_most);
        let Some((result, took)) = answer else {
            self.in_flight = Some(buffer);
            return None;
        };
        if let Some((next, may)) = self.next.take() {
            if may_leave(Some(may), result.is_ok()) {
                self.send(next);
            } else {
                self.unsent.push_back(next);
            }
        }
        Some(Done { buffer, result: result.map_err(NotStored::Failed), took })
    }
}

/// The watch over the server.
pub struct Watch {
    pub world: Shared,
    /// Server and cuts when it was begun.
    pub begun: Option<(u64, u64)>,
}

impl Vigil for Watch {
    fn is_unbroken(&self) -> bool {
        let world = lock(&self.world);
        world.is_up() && self.begun == Some((world.server, world.cuts))
    }

    fn begin(&mut self) {
        let world = lock(&self.world);
        self.begun = world.is_up().then_some((world.server, world.cuts));
    }

    fn end(&mut self) {
        self.begun = None;
    }
}

/// Time that passes only where somebody waits.
pub struct Simulated {
    pub world: Shared,
}

impl Wait for Simulated {
    fn until_durable(&self, ring: &Ring, beyond: Pos, at_most: Duration) -> bool {
        let is_there = ring.marks().durable.pos > beyond;
        if !is_there {
            lock(&self.world).advance(at_most.min(LONGEST));
        }
        is_there
    }

    fn rest(&self, _: &shared::Shared, time: Duration) {
        lock(&self.world).advance(time.min(LONGEST));
    }
}

/// The questions.
pub struct Questions {
    pub world: Shared,
}

impl Ask for Questions {
    fn ping(&self, _: Duration) -> Result<(), SqlError> {
        lock(&self.world).ask()
    }

    fn started(&self) -> Result<Option<String>, SqlError> {
        lock(&self.world).ask_started().map(Some)
    }

    fn table_info(&self, table: &str) -> Result<Option<TableInfo>, SqlError> {
        let mut world = lock(&self.world);
        world.ask().map(|()| world.database.describe(table))
    }

    fn survey(&self, names: &[String]) -> Result<Vec<TableInfo>, SqlError> {
        let mut world = lock(&self.world);
        world.ask().map(|()| names.iter().filter_map(|name| world.database.describe(name)).collect())
    }

    fn columns_of(&self, tables: &[String]) -> Result<Option<Vec<Vec<ColumnInfo>>>, SqlError> {
        let mut world = lock(&self.world);
        let columns = |table: &String| world.database.describe(table).map(|info| info.columns);
        let found = tables.iter().map(columns).collect();
        world.ask().map(|()| found)
    }

    fn is_used(&self, table: &str, column: &str) -> Result<bool, SqlError> {
        let mut world = lock(&self.world);
        world.ask().map(|()| world.database.is_used(table, column))
    }

    fn is_applying(&self, _: &str) -> Result<bool, SqlError> {
        lock(&self.world).ask().map(|()| false)
    }

    fn change(&self, statement: &str) -> Result<(), SqlError> {
        let mut world = lock(&self.world);
        world.ask()?;
        let now = world.now();
        world.database.change(now, statement);
        world.tell(|| statement.to_owned());
        // The answer may be lost after all.
        world.ask()
    }
}
