//! `[mqtt]`.

use std::time::Duration;

use super::Findings;
use crate::{
    mqtt::url::secret_in_query,
    settings::{Bytes, Mqtt, MqttTls},
};

/// Longest client identifier in bytes (an MQTT string, MQTT 5 section 1.5.4).
const MAX_CLIENT_ID_BYTES: usize = 65_535;

pub(super) fn check(mqtt: &Mqtt, findings: &mut Findings) {
    let tls = check_url(&mqtt.url, findings);
    if mqtt.client_id.is_empty() || mqtt.client_id.len() > MAX_CLIENT_ID_BYTES {
        findings
            .problem("mqtt.client_id", "the session needs a name of its own; write one such as \"forebay-gateway-7\"");
    }
    if !matches!(mqtt.protocol, 4 | 5) {
        findings.problem(
            "mqtt.protocol",
            format!("{} is no version forebay speaks; write 5, or 4 for 3.1.1", mqtt.protocol),
        );
    }
    check_credentials(mqtt, findings);
    check_session(mqtt, findings);
    findings.range("mqtt.receive_maximum", mqtt.receive_maximum, 1, u16::MAX);
    findings.span("mqtt.keep_alive", mqtt.keep_alive, Duration::from_secs(5), Duration::from_secs(65_535));
    findings.range("mqtt.max_payload", mqtt.max_payload, Bytes::kib(1), Bytes::mib(255));
    check_tls(&mqtt.tls, tls, findings);
}

/// Checks the URL; tells whether it asks for TLS. No part of it is quoted, since it may hold a password by mistake.
fn check_url(url: &str, findings: &mut Findings) -> Option<bool> {
    const KEY: &str = "mqtt.url";
    let Some((scheme, rest)) = url.split_once("://") else {
        findings.problem(KEY, "it has no scheme; write one such as \"mqtt://broker:1883\"");
        return None;
    };
    if scheme == "unix" {
        if !rest.starts_with('/') || rest.len() < 2 {
            findings.problem(KEY, "a Unix socket needs an absolute path, as in \"unix:///run/mosquitto.sock\"");
        }
        return Some(false);
    }
    let tls = match scheme {
        "mqtt" | "ws" => false,
        "mqtts" | "wss" => true,
        _ => {
            findings.problem(KEY, "its scheme is none of mqtt, mqtts, ws, wss, unix");
            return None;
        }
    };
    if let Some(name) = secret_in_query(url) {
        let what = format!("its query holds a secret ({name}); set mqtt.username, and mqtt.password_file to a file");
        findings.problem(KEY, what);
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains('@') {
        findings.problem(KEY, "it holds a user name or password; set mqtt.username, and mqtt.password_file to a file");
    } else if !is_host_and_port(authority) {
        findings.problem(KEY, "it needs a host and may have a port from 1 to 65535, as in \"mqtt://broker:1883\"");
    }
    if scheme.starts_with("mqtt") && !path.is_empty() {
        findings.problem(KEY, "only ws:// and wss:// have a path; remove it");
    }
    Some(tls)
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
pub(super) fn is_host_and_port(authority: &str) -> bool {
    let is_port =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    if let Some(rest) = authority.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        return address.parse::<std::net::Ipv6Addr>().is_ok()
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = authority.split_once(':').unwrap_or((authority, "1"));
    let valid = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    !host.is_empty() && host.chars().all(valid) && is_port(port)
}

fn check_credentials(mqtt: &Mqtt, findings: &mut Findings) {
    match (&mqtt.username, &mqtt.password_file) {
        (Some(_), None) => {
            findings.problem("mqtt.username", "it has no password; set mqtt.password_file to a file with it");
        }
        (None, Some(_)) => findings.problem("mqtt.password_file", "it has no user name; set mqtt.username"),
        _ => {}
    }
}

fn check_session(mqtt: &Mqtt, findings: &mut Findings) {
    const KEY: &str = "mqtt.session_expiry";
    findings.span(KEY, mqtt.session_expiry, Duration::ZERO, Duration::from_secs(u64::from(u32::MAX)));
    if mqtt.protocol == 4 && mqtt.session_expiry != Mqtt::default().session_expiry {
        findings.warn(KEY, "MQTT 3.1.1 has no session expiry: the broker decides; use protocol = 5");
    }
    if mqtt.protocol == 5 && mqtt.session_expiry < Duration::from_mins(1) {
        findings.warn(
            KEY,
            "the broker forgets the session, and messages with it, while forebay restarts; use a day or more",
        );
    }
}

fn check_tls(tls: &MqttTls, wanted: Option<bool>, findings: &mut Findings) {
    match (&tls.cert_file, &tls.key_file) {
        (Some(_), None) => findings.problem("mqtt.tls.cert_file", "it has no key; set mqtt.tls.key_file"),
        (None, Some(_)) => findings.problem("mqtt.tls.key_file", "it has no certificate; set mqtt.tls.cert_file"),
        _ => {}
    }
    if wanted == Some(false) && *tls != MqttTls::default() {
        findings.problem("mqtt.tls", "mqtt.url asks for no TLS; use mqtts:// or wss://, or remove [mqtt.tls]");
    }
}
