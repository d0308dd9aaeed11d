//! Bytes off the socket to packets, in bounded memory: of a PUBLISH that is too large the beginning is kept, and the rest passes.
//! 3.1.1 has no way to tell a broker of a limit, and what MQTT 5 brokers keep to themselves for one nobody counts.

use bytes::{Buf, Bytes, BytesMut};

use super::{kind, read};
use crate::mqtt::error::ConnectError;

/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1_024;
/// Room for what stands before a payload: a topic and a packet id, and as much again for properties.
const HEAD_BYTES: usize = 128 * 1_024;
/// Largest packet of any other type: an answer to SUBSCRIBE has a byte for each filter, and texts.
const MAX_OTHER_BYTES: usize = 1 << 20;

/// A packet behind its fixed header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its first byte: type and flags.
    pub first: u8,
    /// Its bytes, or the first of them.
    pub body: Bytes,
    /// How many it had.
    pub whole_bytes: usize,
}

/// Cuts a stream of bytes into packets.
pub struct Reader {
    /// What has been read and is not yet a packet.
    buffer: BytesMut,
    /// Most bytes kept of a PUBLISH.
    keep: usize,
    passing: Option<Passing>,
}

/// A packet whose end passes by.
struct Passing {
    frame: Frame,
    left: usize,
}

impl Reader {
    /// One that keeps whole what has at most so many bytes of payload.
    pub fn new(max_payload: usize) -> Self {
        let keep = max_payload.saturating_add(HEAD_BYTES);
        Self { buffer: BytesMut::with_capacity(READ_BYTES), keep, passing: None }
    }

    /// Where to append what is read; it has room.
    pub fn space(&mut self) -> &mut BytesMut {
        self.buffer.reserve(READ_BYTES);
        &mut self.buffer
    }

    /// The next packet that is whole. After an error nothing more can be told from the stream.
    pub fn next(&mut self) -> Result<Option<Frame>, ConnectError> {
        if let Some(passing) = &mut self.passing {
            let gone = passing.left.min(self.buffer.len());
            self.buffer.advance(gone);
            passing.left -= gone;
            return Ok(if passing.left == 0 { self.passing.take().map(|passing| passing.frame) } else { None });
        }
        let Some((first, head_bytes, whole_bytes)) = header(&self.buffer)? else { return Ok(None) };
        let most = if first >> 4 == kind::PUBLISH { self.keep } else { MAX_OTHER_BYTES };
        if whole_bytes > most && first >> 4 != kind::PUBLISH {
            let what = read::name(first);
            return Err(ConnectError::Lost(format!("the broker sent a {what} of {whole_bytes} bytes")));
        }
        let kept = whole_bytes.min(most);
        if self.buffer.len() < head_bytes + kept {
            return Ok(None);
        }
        self.buffer.advance(head_bytes);
        let body = self.buffer.split_to(kept).freeze();
        if kept > READ_BYTES {
            // The memory of a large packet goes with it.
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        let frame = Frame { first, body, whole_bytes };
        if kept == whole_bytes {
            return Ok(Some(frame));
        }
        self.passing = Some(Passing { frame, left: whole_bytes - kept });
        self.next()
    }
}

/// First byte, bytes of the fixed header, and bytes behind it (section 2.1); none before all of it is there.
fn header(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>, ConnectError> {
    let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
    let mut length = read::Cursor(rest);
    match length.varint() {
        Some(whole) => Ok(Some((*first, 1 + rest.len() - length.0.len(), whole))),
        None if rest.len() < 4 => Ok(None),
        None => Err(ConnectError::Lost("what the broker sends is no MQTT: a packet has no length".into())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(first: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        let mut length = body.len();
        loop {
            let digit = (length % 128) as u8;
            length /= 128;
            out.push(if length > 0 { digit | 0x80 } else { digit });
            if length == 0 {
                break;
            }
        }
        out.extend_from_slice(body);
        out
    }

    /// Reads a stream in parts of so many bytes; the most that was buffered.
    fn read(reader: &mut Reader, stream: &[u8], part: usize) -> (Vec<Frame>, usize) {
        let (mut frames, mut most) = (Vec::new(), 0);
        for part in stream.chunks(part) {
            reader.space().extend_from_slice(part);
            while let Some(frame) = reader.next().expect("is MQTT") {
                frames.push(frame);
            }
            most = most.max(reader.buffer.len());
        }
        (frames, most)
    }

    #[test]
    fn a_publish_is_whole_up_to_the_limit_and_its_end_passes_above() {
        let limit = 1_000 + HEAD_BYTES;
        let just: Vec<u8> = (0..limit).map(|n| n as u8).collect();
        let large = vec![7; 40 * READ_BYTES];
        let stream = [packet(0x32, &just), packet(0x33, &large), packet(0xD0, &[])].concat();
        let (frames, most) = read(&mut Reader::new(1_000), &stream, READ_BYTES);
        let shown: Vec<_> = frames.iter().map(|of| (of.first, of.body.len(), of.whole_bytes)).collect();
        assert_eq!(shown, [(0x32, limit, limit), (0x33, limit, large.len()), (0xD0, 0, 0)]);
        assert_eq!(frames[0].body, just);
        assert!(most <= limit + READ_BYTES, "{most}");
    }

    #[test]
    fn other_packets_have_a_limit_of_their_own() {
        let mut reader = Reader::new(1 << 24);
        reader.space().extend_from_slice(&[0x90, 0x81, 0x80, 0x40]);
        assert!(reader.next().expect_err("too large").to_string().contains("SUBACK of 1048577 bytes"));
        let mut reader = Reader::new(1_000);
        reader.space().extend_from_slice(&[0x90, 0xFF, 0xFF, 0xFF]);
        assert_eq!(reader.next(), Ok(None), "the length goes on");
        reader.space().extend_from_slice(&[0xFF, 1]);
        assert!(reader.next().is_err(), "a length has at most four bytes");
    }

    proptest! {
        #[test]
        fn packets_come_out_as_they_went_in(
            bodies in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..400)), 0..12),
            part in 1usize..300,
        ) {
            let stream: Vec<u8> = bodies.iter().flat_map(|(first, body)| packet(*first, body)).collect();
            let (frames, _) = read(&mut Reader::new(1_000), &stream, part);
            let got: Vec<_> = frames.into_iter().map(|of| (of.first, of.body.to_vec())).collect();
            prop_assert_eq!(got, bodies);
        }
    }
}
