//! A PUBLISH that was received (section 3.3).

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;

use super::{
    Frame, Version,
    read::{Cursor, Property},
};
use crate::point::{MAX_SYMBOL_BYTES, Text};

/// Most subscription identifiers that are read of a message.
const MAX_IDS: usize = 64;
/// Most user properties that are read of a message.
const MAX_USER_PROPERTIES: usize = 64;
/// Longest name and longest value of one that is read, in bytes.
const MAX_PROPERTY_BYTES: usize = MAX_SYMBOL_BYTES + 1;

/// How a message is to be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Its packet id.
    pub packet_id: u16,
    /// Whether it came at QoS 2, and so wants a PUBREC in place of a PUBACK. (QoS 2 is never asked for; a broker may send it all the
    /// same.)
    pub is_qos2: bool,
}

/// A received message. It borrows from the read buffer: copy what has to outlive its handling.
#[derive(Debug, Clone)]
pub struct Message {
    body: Bytes,
    topic: Range<usize>,
    payload_at: usize,
    /// Bytes that its payload had.
    payload_bytes: usize,
    retain: bool,
    ack: Option<Ack>,
    ids: Vec<u32>,
    user_properties: Vec<(Text, Text)>,
    fault: Option<&'static str>,
}

impl Message {
    /// Reads one. What cannot be read is told by [`Message::fault`]: it is acknowledged like any other where it can be, so that it
    /// does not come again for ever.
    pub fn read(version: Version, frame: Frame) -> Self {
        let Frame { first, body, whole_bytes } = frame;
        let bytes = body.clone();
        let (mut of, qos) = (Cursor(&bytes), first >> 1 & 3);
        let at = |of: &Cursor<'_>| bytes.len() - of.0.len();
        let mut fault = None;
        let topic = if let Some(topic) = of.binary() {
            at(&of) - topic.len()..at(&of)
        } else {
            fault = Some("the packet ends before its topic does");
            0..0
        };
        let mut packet_id = None;
        if qos > 0 && fault.is_none() {
            packet_id = of.u16();
            if packet_id.is_none() {
                fault = Some("the packet ends before its packet id does");
            }
        }
        let (mut ids, mut user_properties) = (Vec::new(), Vec::new());
        if version == Version::V5 && fault.is_none() {
            match of.properties() {
                Some(properties) => {
                    for (id, value) in properties {
                        match value {
                            Property::Number(number) if id == 11 && ids.len() < MAX_IDS => ids.push(number),
                            Property::Pair(name, value) if user_properties.len() < MAX_USER_PROPERTIES => {
                                user_properties.extend(user_property(name, value));
                            }
                            _ => {}
                        }
                    }
                }
                None => fault = Some("the packet ends before its properties do"),
            }
        }
        if fault.is_none() && std::str::from_utf8(&bytes[topic.clone()]).is_err() {
            fault = Some("its topic is no UTF-8");
        } else if fault.is_none() && topic.is_empty() {
            fault = Some("it has no topic");
        } else if fault.is_none() && qos == 3 {
            fault = Some("it has a QoS of 3, which there is not");
        }
        let payload_at = at(&of);
        let ack = packet_id.filter(|id| *id > 0 && qos < 3).map(|packet_id| Ack { packet_id, is_qos2: qos == 2 });
        let payload_bytes = whole_bytes.saturating_sub(payload_at);
        Self { body, topic, payload_at, payload_bytes, retain: first & 1 != 0, ack, ids, user_properties, fault }
    }

    /// The topic; what is no UTF-8 of it is made readable.
    pub fn topic(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body[self.topic.clone()])
    }

    /// The payload, or its beginning where it is too large to be kept.
    pub fn payload(&self) -> &[u8] {
        &self.body[self.payload_at..]
    }

    /// Bytes that the payload had.
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// Whether the broker had kept the message before the subscription was made.
    pub fn retain(&self) -> bool {
        self.retain
    }

    /// How to acknowledge it; not at all at QoS 0.
    pub fn ack(&self) -> Option<Ack> {
        self.ack
    }

    /// The identifiers of the subscriptions that it came for, as far as they have any.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Its user properties, in their order.
    pub fn user_properties(&self) -> &[(Text, Text)] {
        &self.user_properties
    }

    /// What is wrong with the packet.
    pub fn fault(&self) -> Option<&'static str> {
        self.fault
    }
}

/// A user property's name and value; none where they are no text. What is longer than any symbol is
/// cut, and so is refused as one.
fn user_property(name: &[u8], value: &[u8]) -> Option<(Text, Text)> {
    let text = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).ok()?;
        let end = text.floor_char_boundary(MAX_PROPERTY_BYTES);
        Some(Text::from(if end < text.len() { &text[..end] } else { text }))
    };
    Some((text(name)?, text(value)?))
}

#[cfg(test)]
impl Message {
    /// A message as a broker sends it; packet id 0 is QoS 0.
    pub fn example(topic: &str, packet_id: u16, payload: &[u8]) -> Self {
        Self::with_ids(topic, packet_id, payload, &[])
    }

    /// The same for subscriptions with these identifiers, each below 128.
    pub fn with_ids(topic: &str, packet_id: u16, payload: &[u8], ids: &[u8]) -> Self {
        let mut body = (topic.len() as u16).to_be_bytes().to_vec();
        body.extend_from_slice(topic.as_bytes());
        if packet_id > 0 {
            body.extend(packet_id.to_be_bytes());
        }
        body.push(2 * ids.len() as u8);
        body.extend(ids.iter().flat_map(|id| [11, *id]));
        body.extend_from_slice(payload);
        let frame =
            Frame { first: if packet_id > 0 { 0x32 } else { 0x30 }, whole_bytes: body.len(), body: body.into() };
        Self::read(Version::V5, frame)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(version: Version, first: u8, body: &[u8]) -> Message {
        Message::read(version, Frame { first, body: Bytes::copy_from_slice(body), whole_bytes: body.len() })
    }

    fn is_advised(fault: &str) -> bool {
        crate::flush::quarantine::advice::advice_for(fault).is_some()
    }

    #[test]
    fn a_message_is_read_with_what_it_came_for() {
        let message = read(Version::V5, 0x33, b"\0\x03a/b\0\x09\x08\x02\0\0\0\x05\x0B\xC8\x01hi");
        assert_eq!((message.topic().as_ref(), message.retain(), message.fault()), ("a/b", true, None));
        assert_eq!(message.ack(), Some(Ack { packet_id: 9, is_qos2: false }));
        assert_eq!((message.ids(), message.payload()), ([200].as_slice(), b"hi".as_slice()));
        let message = read(Version::V4, 0x34, b"\0\x01a\0\x01\0");
        assert_eq!((message.payload(), message.ack()), (&[0][..], Some(Ack { packet_id: 1, is_qos2: true })));
        assert_eq!(read(Version::V4, 0x30, b"\0\x01a").ack(), None);
    }

    #[test]
    fn what_is_wrong_with_a_packet_is_told_and_it_can_be_acknowledged() {
        let ack = Some(Ack { packet_id: 7, is_qos2: false });
        let cut = read(Version::V5, 0x32, b"\0\x01a\0\x07");
        assert_eq!((cut.ack(), cut.topic().as_ref()), (ack, "a"));
        assert!(cut.fault().is_some_and(|why| why.contains("properties") && is_advised(why)));
        for version in [Version::V4, Version::V5] {
            let message = read(version, 0x32, b"\0\x02\xFF\xFE\0\x07\0x");
            assert_eq!((message.ack(), message.topic().as_ref()), (ack, "\u{FFFD}\u{FFFD}"));
            assert!(message.fault().is_some_and(|why| why.contains("UTF-8") && is_advised(why)));
            for (first, body) in
                [(0x32, &b"\0"[..]), (0x32, b"\0\x05ab"), (0x32, b"\0\x01a\0"), (0x36, b"\0\x01a\0\x01\0")]
            {
                let message = read(version, first, body);
                assert!(message.fault().is_some_and(is_advised) && message.ack().is_none(), "{body:?}");
            }
            assert!(read(version, 0x32, b"\0\0\0\x07\0x").fault().is_some_and(is_advised), "no topic");
        }
    }

    #[test]
    fn so_many_identifiers_are_read() {
        let mut body = b"\0\x01a".to_vec();
        body.extend([0x8C, 1]);
        body.extend([11, 7].repeat(MAX_IDS + 6));
        assert_eq!(read(Version::V5, 0x30, &body).ids(), [7; MAX_IDS]);
    }

    #[test]
    fn user_properties_are_read_as_far_as_they_are_text() {
        let mut body = b"\0\x01a".to_vec();
        let pair = |name: &[u8], value: &[u8]| {
            let text = |text: &[u8]| [&(text.len() as u16).to_be_bytes(), text].concat();
            [&[38][..], &text(name), &text(value)].concat()
        };
        let all = [pair(b"unit", "°C".as_bytes()), pair(b"x", b"\xff"), pair(b"unit", b"K")].concat();
        body.push(all.len() as u8);
        body.extend(all);
        let message = read(Version::V5, 0x30, &body);
        assert_eq!(message.user_properties(), [("unit".into(), "°C".into()), ("unit".into(), "K".into())]);
        let mut body = b"\0\x01a".to_vec();
        let many = pair(b"n", b"v").repeat(MAX_USER_PROPERTIES + 3);
        body.extend([many.len() as u8 | 0x80, (many.len() >> 7) as u8]);
        body.extend(many);
        let message = read(Version::V5, 0x30, &body);
        assert_eq!((message.user_properties().len(), message.fault()), (MAX_USER_PROPERTIES, None));
        assert_eq!(
            user_property(b"n", "ä".repeat(4_000).as_bytes()).map(|(_, value)| value.len()),
            Some(MAX_PROPERTY_BYTES - 1)
        );
    }

    #[test]
    fn a_payload_that_was_cut_tells_how_long_it_was() {
        let frame = Frame { first: 0x32, body: Bytes::from_static(b"\0\x01a\0\x07\0xyz"), whole_bytes: 1_006 };
        let message = Message::read(Version::V5, frame);
        assert_eq!((message.payload(), message.payload_bytes(), message.fault()), (&b"xyz"[..], 1_000, None));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(first: u8, body in prop::collection::vec(any::<u8>(), 0..40), more in 0usize..10) {
            for version in [Version::V4, Version::V5] {
                let frame = Frame { first, body: Bytes::copy_from_slice(&body), whole_bytes: body.len() + more };
                let message = Message::read(version, frame);
                prop_assert!(message.payload_bytes() >= message.payload().len());
                let _ = message.topic();
            }
        }
    }
}
