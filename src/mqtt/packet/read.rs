//! Reading: numbers, properties, and the answers of a broker.

use super::{Version, kind, reason};
use crate::mqtt::error::ConnectError;

/// Walks through bytes; every step is none behind their end.
pub(super) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.bytes(2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.bytes(4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes)
    }

    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// Bytes behind their length in two bytes: text, and binary data (sections 1.5.4 and 1.5.6).
    pub fn binary(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.bytes(length.into())
    }

    /// A variable byte integer (section 1.5.5).
    pub fn varint(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            value |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// The properties that stand here, and their bytes skipped; none where they do not fit.
    pub fn properties(&mut self) -> Option<Properties<'a>> {
        let length = self.varint()?;
        self.bytes(length).map(|bytes| Properties(Cursor(bytes)))
    }
}

/// The value of a property (section 2.2.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Property<'a> {
    Number(u32),
    Binary(&'a [u8]),
    /// A user property: name and value.
    Pair(&'a [u8], &'a [u8]),
}

/// Properties one by one, up to the first that cannot be read.
pub(super) struct Properties<'a>(Cursor<'a>);

impl<'a> Iterator for Properties<'a> {
    type Item = (u8, Property<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let of = &mut self.0;
        let id = of.u8()?;
        let value = match id {
            1 | 23 | 25 | 36 | 37 | 40 | 41 | 42 => Property::Number(of.u8()?.into()),
            19 | 33 | 34 | 35 => Property::Number(of.u16()?.into()),
            2 | 17 | 24 | 39 => Property::Number(of.u32()?),
            11 => Property::Number(of.varint()? as u32),
            3 | 8 | 9 | 18 | 21 | 22 | 26 | 28 | 31 => Property::Binary(of.binary()?),
            38 => Property::Pair(of.binary()?, of.binary()?),
            _ => return None,
        };
        Some((id, value))
    }
}

/// What a broker says of the connection that it has accepted (section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnAck {
    /// Whether it had kept the session.
    pub session_present: bool,
    /// The keep-alive that it wants, in seconds, where it wants another one. 0 asks for none.
    pub keep_alive_s: Option<u16>,
    /// Most messages of ours that may be unacknowledged, at least 1.
    pub receive_maximum: u16,
    /// Whether it knows subscription identifiers.
    pub has_ids: bool,
    /// For how many seconds it keeps the session of an absent client, where that is another time
    /// than was asked for.
    pub session_expiry_s: Option<u32>,
}

/// Reads a CONNACK; a refusal is an error.
pub fn connack(version: Version, body: &[u8]) -> Result<ConnAck, ConnectError> {
    let mut of = Cursor(body);
    let (Some(flags), Some(code)) = (of.u8(), of.u8()) else {
        return Err(ConnectError::Refused("its answer to CONNECT cannot be read".into()));
    };
    if code != 0 {
        return Err(reason::refusal(version, code));
    }
    let mut found = ConnAck {
        session_present: flags & 1 != 0,
        keep_alive_s: None,
        receive_maximum: u16::MAX,
        has_ids: version == Version::V5,
        session_expiry_s: None,
    };
    let properties = (version == Version::V5).then(|| of.properties()).flatten();
    for (id, value) in properties.into_iter().flatten() {
        let Property::Number(number) = value else { continue };
        match id {
            17 => found.session_expiry_s = Some(number),
            19 => found.keep_alive_s = u16::try_from(number).ok(),
            // 0 is against the rules (section 3.2.2.3.3). Taken at its word nothing could ever be published.
            33 => found.receive_maximum = (number as u16).max(1),
            41 => found.has_ids = number != 0,
            _ => {}
        }
    }
    Ok(found)
}

/// The packet id of an acknowledgement, and the bytes behind it.
pub fn packet_id(body: &[u8]) -> Option<(u16, &[u8])> {
    let mut of = Cursor(body);
    of.u16().map(|id| (id, of.0))
}

/// Reads a SUBACK or an UNSUBACK: its packet id, and a code for each filter. 3.1.1 sends no codes in an UNSUBACK.
pub fn acknowledged(version: Version, body: &[u8]) -> Option<(u16, Vec<u8>)> {
    let mut of = Cursor(body);
    let id = of.u16()?;
    if version == Version::V5 {
        of.properties()?;
    }
    Some((id, of.0.to_vec()))
}

/// What a DISCONNECT of the broker says (section 3.14).
pub fn disconnect(body: &[u8]) -> ConnectError {
    let mut of = Cursor(body);
    let code = of.u8().unwrap_or(0);
    let words = of.properties().into_iter().flatten().find_map(|(id, value)| match value {
        Property::Binary(text) if id == 31 => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    });
    reason::ended(code, words.as_deref())
}

/// A name for a packet's type, for people.
pub(super) fn name(first: u8) -> String {
    let known = match first >> 4 {
        kind::CONNECT => "CONNECT",
        kind::CONNACK => "CONNACK",
        kind::PUBLISH => "PUBLISH",
        kind::SUBSCRIBE => "SUBSCRIBE",
        kind::SUBACK => "SUBACK",
        kind::UNSUBSCRIBE => "UNSUBSCRIBE",
        kind::UNSUBACK => "UNSUBACK",
        kind::PINGREQ => "PINGREQ",
        kind::DISCONNECT => "DISCONNECT",
        other => return format!("packet of type {other}"),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_connack_tells_what_the_broker_grants() {
        // Receive maximum 0, a keep-alive of 0, no subscription identifiers, a session expiry, and
        // a reason string between them.
        let body = [1, 0, 19, 17, 0, 0, 1, 2, 33, 0, 0, 31, 0, 2, b'h', b'i', 19, 0, 0, 41, 0, 99];
        let expected = ConnAck {
            session_present: true,
            keep_alive_s: Some(0),
            receive_maximum: 1,
            has_ids: false,
            session_expiry_s: Some(258),
        };
        assert_eq!(connack(Version::V5, &body), Ok(expected));
        let plain = ConnAck {
            session_present: false,
            keep_alive_s: None,
            receive_maximum: u16::MAX,
            has_ids: false,
            session_expiry_s: None,
        };
        assert_eq!(connack(Version::V4, &[0, 0]), Ok(plain));
        assert_eq!(connack(Version::V5, &[0, 0]), Ok(ConnAck { has_ids: true, ..plain }), "the properties are missing");
        assert_eq!(connack(Version::V5, &[0, 0x87, 0]), Err(ConnectError::NotAuthorised));
        assert_eq!(connack(Version::V5, &[0, 1]), Err(ConnectError::Protocol), "a broker that speaks 3.1.1 alone");
        assert!(connack(Version::V4, &[0]).is_err());
    }

    #[test]
    fn answers_carry_their_packet_id_and_codes() {
        assert_eq!(acknowledged(Version::V4, &[1, 2, 1, 0x80]), Some((258, vec![1, 0x80])));
        assert_eq!(acknowledged(Version::V5, &[0, 9, 0, 0, 17]), Some((9, vec![0, 17])));
        assert_eq!(acknowledged(Version::V5, &[0, 9, 5, 0]), None, "the properties do not fit");
    }

    #[test]
    fn a_disconnect_says_why() {
        assert_eq!(disconnect(&[0x8E]), ConnectError::TakenOver);
        let words = disconnect(&[0x8B, 5, 31, 0, 2, b'b', b'y']).to_string();
        assert!(words.contains("shutting down (by)"), "{words}");
        assert!(matches!(disconnect(&[]), ConnectError::Lost(_)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..60)) {
            for version in [Version::V4, Version::V5] {
                let _ = (connack(version, &body), acknowledged(version, &body));
            }
            let _ = (disconnect(&body), packet_id(&body), name(body.first().copied().unwrap_or(0)));
        }
    }
}
