//! MQTT packets as bytes, both versions, as far as a client needs them. Pure. Sections are those of MQTT 5.0 (OASIS), and of 3.1.1
//! where that is named.
//!
//! What a broker sends is read as leniently as it can be understood: a packet that is refused ends the connection, and a message
//! comes again on the next one, for ever.

mod publish;
mod read;
mod reader;
pub mod reason;
mod write;

pub use self::{
    publish::{Ack, Message},
    read::{ConnAck, acknowledged, connack, disconnect, packet_id},
    reader::{Frame, Reader},
    write::{Connect, Filter, connect, ping, puback, pubcomp, publish, pubrec, subscribe, unsubscribe},
};

/// Control packet types (section 2.1.2): the upper half of a packet's first byte.
pub mod kind {
    /// CONNECT.
    pub const CONNECT: u8 = 1;
    /// CONNACK.
    pub const CONNACK: u8 = 2;
    /// PUBLISH.
    pub const PUBLISH: u8 = 3;
    /// PUBACK.
    pub const PUBACK: u8 = 4;
    /// PUBREC.
    pub const PUBREC: u8 = 5;
    /// PUBREL.
    pub const PUBREL: u8 = 6;
    /// PUBCOMP.
    pub const PUBCOMP: u8 = 7;
    /// SUBSCRIBE.
    pub const SUBSCRIBE: u8 = 8;
    /// SUBACK.
    pub const SUBACK: u8 = 9;
    /// UNSUBSCRIBE.
    pub const UNSUBSCRIBE: u8 = 10;
    /// UNSUBACK.
    pub const UNSUBACK: u8 = 11;
    /// PINGREQ.
    pub const PINGREQ: u8 = 12;
    /// PINGRESP.
    pub const PINGRESP: u8 = 13;
    /// DISCONNECT.
    pub const DISCONNECT: u8 = 14;
}

/// Which MQTT is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1, protocol level 4.
    V4,
    /// 5.0.
    V5,
}

impl Version {
    /// The version of `mqtt.protocol`.
    #[must_use]
    pub fn of(protocol: u8) -> Self {
        if protocol == 4 { Self::V4 } else { Self::V5 }
    }

    /// The protocol level in CONNECT.
    #[must_use]
    pub fn level(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V5 => 5,
        }
    }
}
