//! A request's body: read within limits of size, time and memory, and decompressed within the same size.

use std::{borrow::Cow, io::Read, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use flate2::bufread::MultiGzDecoder;
use http_body_util::BodyExt;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};

use super::{MAX_BODY_BYTES, Writes, answer::Refusal};

/// How long what is left of a refused body is read, so that the client gets to read the answer.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// How much of it.
const DRAIN_BYTES: usize = 4 * MAX_BODY_BYTES;

/// A body in memory.
pub(super) struct Taken {
    bytes: Vec<u8>,
    gzip: bool,
    /// The memory it counts for.
    held: Option<OwnedSemaphorePermit>,
}

impl Taken {
    /// The body, decompressed where need be. That is done anew each time: what it takes is not counted, and so not kept while others wait.
    pub fn plain(&self) -> Result<Cow<'_, [u8]>, Refusal> {
        if self.gzip { gunzip(&self.bytes).map(Cow::Owned) } else { Ok(Cow::Borrowed(&self.bytes)) }
    }
}

fn gunzip(bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut plain = Vec::new();
    let read = MultiGzDecoder::new(bytes).take(MAX_BODY_BYTES as u64 + 1).read_to_end(&mut plain);
    match read {
        Err(why) => Err(Refusal::bad(format!("the body is no gzip, which its Content-Encoding says: {why}"))),
        Ok(_) if plain.len() > MAX_BODY_BYTES => Err(Refusal::too_large()),
        Ok(_) => Ok(plain),
    }
}

/// Reads a body.
pub(super) async fn take(writes: &Writes, mut body: Body, headers: &HeaderMap, gzip: bool) -> Result<Taken, Refusal> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|declared| declared > MAX_BODY_BYTES as u64) {
        drain(body, headers).await;
        return Err(Refusal::too_large());
    }
    let deadline = Instant::now() + writes.body_timeout;
    let mut taken = Taken { bytes: Vec::new(), gzip, held: None };
    loop {
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| Refusal::slow())?;
        let Some(frame) = frame else { return Ok(taken) };
        let frame = frame.map_err(|why| Refusal::bad(format!("the body breaks off: {why}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if let Err(refusal) = hold(writes, &mut taken, &data) {
            // What is held so far is given back before the rest is waited for.
            drop(taken);
            drain(body, headers).await;
            return Err(refusal);
        }
    }
}

/// Adds to a body what has come, as far as there is memory for it.
fn hold(writes: &Writes, taken: &mut Taken, data: &Bytes) -> Result<(), Refusal> {
    if taken.bytes.len() + data.len() > MAX_BODY_BYTES {
        return Err(Refusal::too_large());
    }
    let permit = Arc::clone(&writes.held).try_acquire_many_owned(data.len() as u32);
    let permit = permit.map_err(|_| Refusal::busy())?;
    match &mut taken.held {
        Some(held) => held.merge(permit),
        none => *none = Some(permit),
    }
    taken.bytes.extend_from_slice(data);
    Ok(())
}

/// Reads what a client is still sending and forgets it: one that is cut off in the middle does not get to see why.
pub(super) async fn drain(mut body: Body, headers: &HeaderMap) {
    if headers.contains_key(header::EXPECT) {
        // It waits to be told to send (RFC 9110, 10.1.1), and is told not to.
        return;
    }
    let deadline = Instant::now() + DRAIN_TIMEOUT;
    let mut left = DRAIN_BYTES;
    while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
