//! Payloads that are packed: gzip (RFC 1952), zlib (RFC 1950) and zstd (RFC 8878), told by their first
//! bytes. Pure.

use std::{
    borrow::Cow,
    io::{self, Read},
};

use flate2::{bufread::GzDecoder, read::ZlibDecoder};
use ruzstd::decoding::StreamingDecoder;

use super::DecodeError;

/// Most bytes that a payload may have once it is unpacked.
const MAX_UNPACKED: u64 = 4 << 20;
/// Most bytes that zstd may look back.
const MAX_WINDOW: u64 = 8 << 20;

/// Whether a payload begins as something that is packed: most do not.
#[inline]
pub(super) fn may_be_packed(payload: &[u8]) -> bool {
    matches!(payload, [0x1f, 0x8b, ..] | [0x28, 0xb5, ..] | [0x78, ..])
}

/// The payload unpacked, or as it is where it is not packed.
pub(super) fn unpack(payload: &[u8]) -> Result<Cow<'_, [u8]>, DecodeError> {
    let unpacked = match payload {
        [0x1f, 0x8b, 8, ..] => parts(payload, |rest, bytes| add(GzDecoder::new(rest), bytes)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => parts(payload, frame),
        // What begins like zlib may be text, and then does not unpack.
        [0x78, second, ..] if (0x7800 + u16::from(*second)) % 31 == 0 => match read(ZlibDecoder::new(payload)) {
            Err(Unpacked::Broken(_)) if second.is_ascii_graphic() => return Ok(Cow::Borrowed(payload)),
            unpacked => unpacked,
        },
        _ => return Ok(Cow::Borrowed(payload)),
    };
    unpacked.map(Cow::Owned).map_err(|why| {
        let reason = match why {
            Unpacked::Broken(why) => format!("it begins as what is packed does, and does not unpack: {why}"),
            Unpacked::TooLarge => format!("unpacked it has more than {MAX_UNPACKED} bytes"),
        };
        DecodeError::new("payload", reason)
    })
}

/// Why a payload does not unpack.
enum Unpacked {
    Broken(io::Error),
    TooLarge,
}

fn read(packed: impl Read) -> Result<Vec<u8>, Unpacked> {
    let mut bytes = Vec::new();
    add(packed, &mut bytes).map(|()| bytes)
}

fn add(packed: impl Read, bytes: &mut Vec<u8>) -> Result<(), Unpacked> {
    let room = MAX_UNPACKED.saturating_sub(bytes.len() as u64);
    packed.take(room + 1).read_to_end(bytes).map_err(Unpacked::Broken)?;
    if bytes.len() as u64 > MAX_UNPACKED { Err(Unpacked::TooLarge) } else { Ok(()) }
}

/// The parts of a payload one after the other: a gzip file may have several members (RFC 1952, section
/// 2.2), and what zstd packs several frames (RFC 8878, section 3). NULs and white space behind them
/// say nothing.
fn parts(payload: &[u8], one: impl Fn(&mut &[u8], &mut Vec<u8>) -> Result<(), Unpacked>) -> Result<Vec<u8>, Unpacked> {
    let (mut bytes, mut rest) = (Vec::new(), payload);
    while !rest.is_empty() {
        one(&mut rest, &mut bytes)?;
        let filling = rest.iter().take_while(|byte| **byte == 0 || byte.is_ascii_whitespace()).count();
        rest = &rest[filling..];
    }
    Ok(bytes)
}

fn frame(rest: &mut &[u8], bytes: &mut Vec<u8>) -> Result<(), Unpacked> {
    let frame = StreamingDecoder::new_with_max_window_size(rest, MAX_WINDOW);
    add(frame.map_err(|error| Unpacked::Broken(io::Error::other(error)))?, bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("packs")
    }

    #[test]
    fn what_is_packed_is_told_by_its_first_bytes() {
        let text = br#"{"temperature":21.5}"#;
        assert_eq!(*unpack(&gzip(text)).expect("gzip"), text[..]);
        for level in [0, 1, 6, 9] {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(level));
            encoder.write_all(text).expect("packs");
            assert_eq!(*unpack(&encoder.finish().expect("packs")).expect("zlib"), text[..], "level {level}");
        }
        for plain in [&text[..], b"", b"x^2", b"x", b"(", b"\x1f\x8b"] {
            assert_eq!(*unpack(plain).expect("as it is"), *plain);
        }
    }

    #[test]
    fn what_zstd_packs_is_unpacked() {
        // `printf '{"a":1}' | zstd`, twice.
        let frame = b"\x28\xb5\x2f\xfd\x04\x58\x39\x00\x00{\"a\":1}\x48\x8b\xfc\x32";
        let frames = [&frame[..], frame, b"\n"].concat();
        assert_eq!(*unpack(&frames).expect("zstd"), br#"{"a":1}{"a":1}"#[..]);
        assert!(unpack(&frame[..12]).expect_err("cut").reason.contains("does not unpack"));
    }

    #[test]
    fn a_file_of_several_members_is_one_text() {
        let packed = [gzip(b"a,1\n"), gzip(b"b,2\n"), b"\0\n".to_vec()].concat();
        assert_eq!(*unpack(&packed).expect("gzip"), b"a,1\nb,2\n"[..]);
        assert!(unpack(&[gzip(b"a"), b"more".to_vec()].concat()).is_err(), "what follows is no gzip");
    }

    #[test]
    fn what_does_not_unpack_or_is_too_large_is_told() {
        let mut cut = gzip(b"some text");
        cut.truncate(12);
        assert!(unpack(&cut).expect_err("cut").reason.contains("does not unpack"));
        assert!(unpack(b"x\x9c").expect_err("cut").reason.contains("does not unpack"), "no text begins so");
        let bomb = gzip(&vec![b' '; MAX_UNPACKED as usize + 1]);
        assert!(bomb.len() < 10_000 && unpack(&bomb).expect_err("too large").reason.contains("more than"));
    }
}
