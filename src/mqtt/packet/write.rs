//! Writing: what a client sends.

use super::{Version, kind};

/// A CONNECT (section 3.1).
pub struct Connect<'a> {
    /// The version spoken.
    pub version: Version,
    /// Name of the session.
    pub client_id: &'a str,
    /// User name and password, each of at most 65,535 bytes.
    pub login: Option<(&'a str, &'a str)>,
    /// Seconds.
    pub keep_alive_s: u16,
    /// Start without a session, and leave none.
    pub clean: bool,
    /// Seconds that the broker keeps the session of an absent client (MQTT 5).
    pub session_expiry_s: u32,
    /// Most messages unacknowledged (MQTT 5).
    pub receive_maximum: u16,
    /// Largest packet taken (MQTT 5); any when absent.
    pub max_packet_bytes: Option<u32>,
}

/// A filter to subscribe to.
#[derive(Debug, Clone, Copy)]
pub struct Filter<'a> {
    /// The filter.
    pub filter: &'a str,
    /// Highest QoS wanted.
    pub qos: u8,
}

/// When retained messages are sent: 1, for subscriptions that are new (section 3.8.3.1).
const RETAINED_ONCE: u8 = 1 << 4;

/// Appends a CONNECT.
pub fn connect(out: &mut Vec<u8>, of: &Connect<'_>) {
    let mut body = Vec::new();
    string(&mut body, "MQTT");
    let login = if of.login.is_some() { 0xC0 } else { 0 };
    body.extend([of.version.level(), login | u8::from(of.clean) << 1]);
    body.extend(of.keep_alive_s.to_be_bytes());
    if of.version == Version::V5 {
        let mut properties = vec![17];
        properties.extend(if of.clean { 0 } else { of.session_expiry_s }.to_be_bytes());
        properties.push(33);
        properties.extend(of.receive_maximum.max(1).to_be_bytes());
        if let Some(most) = of.max_packet_bytes {
            properties.push(39);
            properties.extend(most.to_be_bytes());
        }
        varint(&mut body, properties.len());
        body.extend(properties);
    }
    string(&mut body, of.client_id);
    if let Some((user, password)) = of.login {
        string(&mut body, user);
        string(&mut body, password);
    }
    framed(out, kind::CONNECT << 4, &body);
}

/// Appends a SUBSCRIBE (section 3.8). The subscription identifier, with MQTT 5, comes back with every message of its filters.
pub fn subscribe<'a>(
    out: &mut Vec<u8>,
    version: Version,
    packet_id: u16,
    subscription_id: Option<u32>,
    filters: impl Iterator<Item = Filter<'a>>,
) {
    let mut body = packet_id.to_be_bytes().to_vec();
    if version == Version::V5 {
        let mut properties = Vec::new();
        if let Some(id) = subscription_id {
            properties.push(11);
            varint(&mut properties, id as usize);
        }
        varint(&mut body, properties.len());
        body.extend(properties);
    }
    for Filter { filter, qos } in filters {
        string(&mut body, filter);
        // Retained messages come once for each new subscription and not again with each reconnect; a broker that lost the
        // session makes a new one and sends them again, which is right: some may be new.
        body.push(if version == Version::V5 { qos | RETAINED_ONCE } else { qos });
    }
    framed(out, kind::SUBSCRIBE << 4 | 2, &body);
}

/// Appends an UNSUBSCRIBE (section 3.10).
pub fn unsubscribe<'a>(out: &mut Vec<u8>, version: Version, packet_id: u16, filters: impl Iterator<Item = &'a str>) {
    let mut body = packet_id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    filters.for_each(|filter| string(&mut body, filter));
    framed(out, kind::UNSUBSCRIBE << 4 | 2, &body);
}

/// Appends a retained PUBLISH at QoS 1 (section 3.3).
pub fn publish(out: &mut Vec<u8>, version: Version, packet_id: u16, topic: &str, payload: &[u8]) {
    let mut body = Vec::with_capacity(topic.len() + payload.len() + 5);
    string(&mut body, topic);
    body.extend(packet_id.to_be_bytes());
    if version == Version::V5 {
        body.push(0);
    }
    body.extend_from_slice(payload);
    framed(out, kind::PUBLISH << 4 | 0b0011, &body);
}

/// Appends a PUBACK.
pub fn puback(out: &mut Vec<u8>, packet_id: u16) {
    short(out, kind::PUBACK << 4, packet_id);
}

/// Appends a PUBREC.
pub fn pubrec(out: &mut Vec<u8>, packet_id: u16) {
    short(out, kind::PUBREC << 4, packet_id);
}

/// Appends a PUBCOMP.
pub fn pubcomp(out: &mut Vec<u8>, packet_id: u16) {
    short(out, kind::PUBCOMP << 4, packet_id);
}

/// Appends a PINGREQ.
pub fn ping(out: &mut Vec<u8>) {
    out.extend([kind::PINGREQ << 4, 0]);
}

fn short(out: &mut Vec<u8>, first: u8, packet_id: u16) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend([first, 2, high, low]);
}

fn framed(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    out.push(first);
    varint(out, body.len());
    out.extend_from_slice(body);
}

/// Text behind its length in two bytes; what is longer loses its end, which the settings do not allow.
fn string(out: &mut Vec<u8>, text: &str) {
    let bytes = &text.as_bytes()[..text.len().min(u16::MAX.into())];
    out.extend((bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let digit = (value % 128) as u8;
        value /= 128;
        out.push(if value > 0 { digit | 0x80 } else { digit });
        if value == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_says_what_its_version_can() {
        let connect = |version, login| {
            let of = Connect {
                version,
                client_id: "me",
                login,
                keep_alive_s: 30,
                clean: false,
                session_expiry_s: 258,
                receive_maximum: 7,
                max_packet_bytes: None,
            };
            let mut out = Vec::new();
            super::connect(&mut out, &of);
            out
        };
        assert_eq!(connect(Version::V4, None), b"\x10\x0E\0\x04MQTT\x04\0\0\x1E\0\x02me");
        let five = b"\x10\x1D\0\x04MQTT\x05\xC0\0\x1E\x08\x11\0\0\x01\x02\x21\0\x07\0\x02me\0\x01u\0\x01p";
        assert_eq!(connect(Version::V5, Some(("u", "p"))), five);
    }

    #[test]
    fn filters_carry_their_qos_and_identifier() {
        let filters = || [("a/#", 1), ("b", 0)].into_iter().map(|(filter, qos)| Filter { filter, qos });
        let mut out = Vec::new();
        subscribe(&mut out, Version::V5, 2, Some(200), filters());
        assert_eq!(out, b"\x82\x10\0\x02\x03\x0B\xC8\x01\0\x03a/#\x11\0\x01b\x10");
        out.clear();
        subscribe(&mut out, Version::V4, 2, Some(200), filters());
        assert_eq!(out, b"\x82\x0C\0\x02\0\x03a/#\x01\0\x01b\0");
        out.clear();
        unsubscribe(&mut out, Version::V5, 3, ["a"].into_iter());
        assert_eq!(out, b"\xA2\x06\0\x03\0\0\x01a");
    }
}
