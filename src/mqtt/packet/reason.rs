//! Reason codes in words (section 2.4), and what they mean for the connection.

use super::Version;
use crate::mqtt::error::ConnectError;

/// The least code that says that something failed.
pub const FAILED: u8 = 0x80;

/// A code in words.
#[must_use]
pub fn words(code: u8) -> String {
    let known = match code {
        0 => "no reason",
        0x04 => "with the will",
        0x11 => "no subscription existed",
        0x80 => "refused without a reason",
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x83 => "an error of the broker's own",
        0x84 => "unsupported protocol version",
        0x85 => "client id not valid",
        0x86 => "bad user name or password",
        0x87 => "not authorised",
        0x88 => "the broker is unavailable",
        0x89 => "the broker is busy",
        0x8A => "banned",
        0x8B => "the broker is shutting down",
        0x8D => "keep-alive timeout",
        0x8E => "the session was taken over",
        0x8F => "topic filter not valid",
        0x90 => "topic name not valid",
        0x91 => "packet id in use",
        0x93 => "receive maximum exceeded",
        0x95 => "packet too large",
        0x96 => "message rate too high",
        0x97 => "quota exceeded",
        0x98 => "administrative action",
        0x99 => "payload format not valid",
        0x9B => "QoS not supported",
        0x9C => "use another server",
        0x9D => "the server has moved",
        0x9E => "shared subscriptions not supported",
        0x9F => "connection rate exceeded",
        0xA0 => "maximum connect time",
        0xA1 => "subscription identifiers not supported",
        0xA2 => "wildcard subscriptions not supported",
        _ => return format!("code {code:#04x}"),
    };
    known.to_owned()
}

/// What a refused CONNECT means.
pub(super) fn refusal(version: Version, code: u8) -> ConnectError {
    match code {
        // A broker that knows 3.1.1 alone answers in its own codes (3.1.1, section 3.2.2.3).
        1 | 0x84 => ConnectError::Protocol,
        2 | 0x85 => ConnectError::BadClientId,
        3 => ConnectError::Refused("the broker is unavailable".into()),
        4 | 0x86 | 0x8C => ConnectError::BadCredentials,
        5 | 0x87 | 0x8A => ConnectError::NotAuthorised,
        code if version == Version::V5 => ConnectError::Refused(words(code)),
        code => ConnectError::Refused(format!("code {code}")),
    }
}

/// Why the broker has ended the connection.
pub(super) fn ended(code: u8, text: Option<&str>) -> ConnectError {
    match code {
        0x8E => ConnectError::TakenOver,
        0x87 => ConnectError::NotAuthorised,
        code => {
            let text = text.map_or_else(String::new, |text| format!(" ({text})"));
            ConnectError::Lost(format!("the broker ended it: {}{text}", words(code)))
        }
    }
}
