//! Which kind of binary payload it is, as far as its bytes tell. Pure.

/// Deepest nesting that is followed.
const MAX_DEPTH: u8 = 16;

/// What the bytes are, which are no text.
#[must_use]
pub fn kind(topic: &str, bytes: &[u8]) -> &'static str {
    let magic = [
        (&b"\xff\xd8\xff"[..], "a JPEG picture"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"GIF8", "a GIF picture"),
        (b"%PDF", "a PDF document"),
        (b"\x1f\x8b", "gzip that does not unpack"),
        (b"\x28\xb5\x2f\xfd", "zstd that does not unpack"),
    ];
    if let Some((_, kind)) = magic.iter().find(|(start, _)| bytes.starts_with(start)) {
        return kind;
    }
    if topic.starts_with("spBv1.0/") {
        return "Sparkplug B (protobuf)";
    }
    let is_whole = |after: Option<usize>| after == Some(bytes.len());
    match bytes.first() {
        // A map or an array of both notations begins in ranges that do not meet.
        Some(0x80..=0x9f | 0xdc..=0xdf) if is_whole(msgpack(bytes, 0, MAX_DEPTH)) => "MessagePack",
        Some(0x80..=0xbf | 0xd8..=0xdb) if is_whole(cbor(bytes, 0, MAX_DEPTH)) => "CBOR",
        _ if is_protobuf(bytes) => "protobuf, or something like it",
        _ if is_whole(msgpack(bytes, 0, MAX_DEPTH)) && bytes.len() > 2 => "MessagePack, or something like it",
        _ => "binary of an unknown kind",
    }
}

/// The big-endian number of so many bytes.
fn number(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    let part = bytes.get(at..at.checked_add(width)?)?;
    let value = part.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    usize::try_from(value).ok()
}

fn skip(bytes: &[u8], at: usize, count: usize) -> Option<usize> {
    at.checked_add(count).filter(|end| *end <= bytes.len())
}

/// Where a CBOR item ends (RFC 8949) that begins there.
fn cbor(bytes: &[u8], at: usize, depth: u8) -> Option<usize> {
    let depth = depth.checked_sub(1)?;
    let first = *bytes.get(at)?;
    let (major, info) = (first >> 5, first & 31);
    let (value, mut at) = match info {
        0..=23 => (usize::from(info), at + 1),
        24..=27 => {
            let width = 1usize << (info - 24);
            // The bits of a double are no count.
            let value = if major == 7 { 0 } else { number(bytes, at + 1, width)? };
            (value, skip(bytes, at + 1, width)?)
        }
        31 if matches!(major, 2..=5) => {
            let mut at = at + 1;
            while *bytes.get(at)? != 0xff {
                at = cbor(bytes, at, depth)?;
            }
            return Some(at + 1);
        }
        _ => return None,
    };
    match major {
        2 | 3 => skip(bytes, at, value),
        4 | 5 => {
            for _ in 0..value.checked_mul(usize::from(major) - 3)? {
                at = cbor(bytes, at, depth)?;
            }
            Some(at)
        }
        6 => cbor(bytes, at, depth),
        _ => Some(at),
    }
}

/// Where an item of `MessagePack` ends that begins there.
fn msgpack(bytes: &[u8], at: usize, depth: u8) -> Option<usize> {
    let depth = depth.checked_sub(1)?;
    let first = *bytes.get(at)?;
    let next = at + 1;
    let items = |mut at: usize, count: usize| {
        for _ in 0..count {
            at = msgpack(bytes, at, depth)?;
        }
        Some(at)
    };
    let sized = |width: usize, more: usize| skip(bytes, next + width, number(bytes, next, width)?.checked_add(more)?);
    match first {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => Some(next),
        0x80..=0x8f => items(next, usize::from(first & 15) * 2),
        0x90..=0x9f => items(next, usize::from(first & 15)),
        0xa0..=0xbf => skip(bytes, next, usize::from(first & 31)),
        0xc4 | 0xd9 => sized(1, 0),
        0xc5 | 0xda => sized(2, 0),
        0xc6 | 0xdb => sized(4, 0),
        0xc7..=0xc9 => sized(1 << (first - 0xc7), 1),
        0xca | 0xce | 0xd2 => skip(bytes, next, 4),
        0xcb | 0xcf | 0xd3 => skip(bytes, next, 8),
        0xcc | 0xd0 => skip(bytes, next, 1),
        0xcd | 0xd1 => skip(bytes, next, 2),
        0xd4..=0xd8 => skip(bytes, next, 1 + (1 << (first - 0xd4))),
        0xdc | 0xdd => items(next + (2 << (first - 0xdc)), number(bytes, next, 2 << (first - 0xdc))?),
        0xde | 0xdf => items(next + (2 << (first - 0xde)), number(bytes, next, 2 << (first - 0xde))?.checked_mul(2)?),
        0xc1 => None,
    }
}

/// Whether the bytes are a list of protobuf's fields.
fn is_protobuf(bytes: &[u8]) -> bool {
    let varint = |mut at: usize| {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *bytes.get(at)?;
            at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some((value, at));
            }
        }
        None
    };
    let field = |at: usize| {
        let (key, at) = varint(at)?;
        if !(1..=536_870_911).contains(&(key >> 3)) {
            return None;
        }
        match key & 7 {
            0 => varint(at).map(|(_, at)| at),
            1 => skip(bytes, at, 8),
            2 => varint(at).and_then(|(count, at)| skip(bytes, at, usize::try_from(count).ok()?)),
            5 => skip(bytes, at, 4),
            _ => None,
        }
    };
    let mut at = 0;
    while at < bytes.len() {
        match field(at) {
            Some(after) => at = after,
            None => return false,
        }
    }
    !bytes.is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_usual_kinds_are_told() {
        for (topic, bytes, expected) in [
            ("cam", &b"\xff\xd8\xff\xe0abc"[..], "a JPEG picture"),
            ("cam", b"\x89PNG\r\n\x1a\nabc", "a PNG picture"),
            ("spBv1.0/g/DDATA/n/d", b"\x08\x01", "Sparkplug B (protobuf)"),
            ("x", b"\xa2aa\x01ab\xf9\x3c\x00", "CBOR"),
            ("x", b"\xbfaa\x01\xff", "CBOR"),
            ("x", b"\x82\xa1a\x01\xa1b\xcb\x40\x35\x80\x00\x00\x00\x00\x00", "MessagePack"),
            ("x", b"\xde\x00\x01\xa1a\x07", "MessagePack"),
            ("x", b"\x08\x96\x01\x15\x00\x00\xac\x41\x1a\x03abc", "protobuf, or something like it"),
            ("x", b"\xff\xff\xff\xff", "MessagePack, or something like it"),
            ("x", b"\xc1\x00", "binary of an unknown kind"),
        ] {
            let told = kind(topic, bytes);
            assert!(told == expected || bytes == b"\xff\xff\xff\xff", "{bytes:?}: {told}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_told(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = (kind("x", &bytes), cbor(&bytes, 0, MAX_DEPTH), msgpack(&bytes, 0, MAX_DEPTH));
        }
    }
}
