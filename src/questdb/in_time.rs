//! Connections that end a request at its time. The library gives a read that begins at the time's
//! end or later a second of its own, so that an answer whose bytes come one by one would be read to
//! its last.

use ureq::{
    Error,
    unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport},
};

/// Makes such connections of others.
#[derive(Debug)]
pub struct InTime;

impl<T: Transport> Connector<T> for InTime {
    type Out = Timed<T>;

    fn connect(&self, _: &ConnectionDetails<'_>, connection: Option<T>) -> Result<Option<Timed<T>>, Error> {
        Ok(connection.map(Timed))
    }
}

/// A connection that neither reads nor writes when the time is over.
#[derive(Debug)]
pub struct Timed<T>(T);

impl<T: Transport> Transport for Timed<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        in_time(timeout)?;
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        in_time(timeout)?;
        self.0.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}

fn in_time(timeout: NextTimeout) -> Result<(), Error> {
    if timeout.after.is_zero() { Err(Error::Timeout(timeout.reason)) } else { Ok(()) }
}
