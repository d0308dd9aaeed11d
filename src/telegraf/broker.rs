//! The broker of an input: `[mqtt]` as a suggestion, since a fragment adds sources to a broker that
//! is configured already. Secrets are never printed.

use super::{
    remark::{Kind, Place},
    section::Section,
};
use crate::observe::log::clip;

/// Lines for `[mqtt]` and `[mqtt.tls]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Broker {
    /// Where it stands.
    pub servers: Vec<String>,
    /// Keys of `[mqtt]` and their values.
    pub mqtt: Vec<(&'static str, String)>,
    /// Keys of `[mqtt.tls]` and their values.
    pub tls: Vec<(&'static str, String)>,
}

/// Takes what is about the connection out of a section.
pub fn of(section: &mut Section) -> Broker {
    let mut broker = Broker::default();
    let tls = tls(section, &mut broker);
    servers(section, &mut broker, tls);
    login(section, &mut broker);
    if let Some(id) = section.text("client_id").filter(|id| !id.is_empty()) {
        broker.mqtt.push(("client_id", id));
    }
    section.without(&[
        "persistent_session",
        "connection_timeout",
        "max_reconnect_interval",
        "ping_timeout",
        "client_trace",
    ]);
    if let Some(keep_alive) = section.text("keepalive").filter(|span| is_span(span)) {
        broker.mqtt.push(("keep_alive", keep_alive));
    }
    if let Some((place, most)) = section.int_at("max_undelivered_messages") {
        broker.mqtt.push(("receive_maximum", most.to_string()));
        let what = "forebay acknowledges once a message is in the ring, not once it is in the database; this bounds \
                    what the broker sends ahead (receive_maximum)";
        section.remark(Kind::Changed, place, "", what);
    }
    broker
}

fn servers(section: &mut Section, broker: &mut Broker, has_tls: bool) {
    let (place, servers) = section.texts_at("servers").unwrap_or_else(|| (section.place.clone(), Vec::new()));
    let servers = if servers.is_empty() { vec!["tcp://127.0.0.1:1883".to_owned()] } else { servers };
    if servers.len() > 1 {
        let what =
            "forebay connects to one broker; the first is shown. Several addresses of one broker go behind one name";
        section.remark(Kind::NoCounterpart, place.clone(), "", what);
    }
    for server in &servers {
        let (url, had_secret) = url(server, has_tls);
        broker.servers.push(url);
        if had_secret {
            tell_secret(section, place.clone());
        }
    }
    broker.mqtt.extend(broker.servers.first().map(|url| ("url", url.clone())));
}

/// The address in forebay's words, and whether a login stood in it.
fn url(server: &str, has_tls: bool) -> (String, bool) {
    let (scheme, rest) = server.split_once("://").unwrap_or((if has_tls { "ssl" } else { "tcp" }, server));
    let scheme = match scheme {
        "ssl" | "tls" | "mqtts" | "mqtt+ssl" | "tcps" => "mqtts",
        "ws" | "wss" | "unix" => scheme,
        _ => "mqtt",
    };
    // What stands before the host, and in a query, may be secret.
    let (path, query) = rest.split_once('?').map_or((rest, false), |(path, _)| (path, true));
    let (host, login) = path.rsplit_once('@').map_or((path, false), |(_, host)| (host, true));
    (format!("{scheme}://{host}"), login || query)
}

fn tls(section: &mut Section, broker: &mut Broker) -> bool {
    for (option, key) in [("tls_ca", "ca_file"), ("tls_cert", "cert_file"), ("tls_key", "key_file")] {
        if let Some(path) = section.text(option).filter(|path| !path.is_empty()) {
            broker.tls.push((key, path));
        }
    }
    let mut has_tls = !broker.tls.is_empty();
    let place = section.place_of("insecure_skip_verify");
    if section.bool("insecure_skip_verify").unwrap_or_default() {
        has_tls = true;
        let what = "forebay always verifies the broker's certificate; put its authority into [mqtt.tls] ca_file";
        section.remark(Kind::NoCounterpart, place, "", what);
    }
    if section.text("tls_key_pwd").is_some() {
        let what = "forebay reads keys without a password; take it off with openssl, and protect the file";
        let place = section.place.clone();
        section.remark(Kind::NoCounterpart, place, "", what);
    }
    has_tls |= section.bool("tls_enable").unwrap_or_default();
    has_tls
}

fn login(section: &mut Section, broker: &mut Broker) {
    let is_stored = |text: &str| text.starts_with("@{") || text.starts_with('$');
    if let Some((place, name)) = section.text_at("username").filter(|(_, name)| !name.is_empty()) {
        if is_stored(&name) {
            let what = "the name comes from outside of the file; write it as [mqtt] username";
            section.remark(Kind::Note, place, "", what);
        } else {
            broker.mqtt.push(("username", name));
        }
    }
    if let Some((place, _)) = section.text_at("password").filter(|(_, secret)| !secret.is_empty()) {
        broker.mqtt.push(("password_file", "/etc/forebay/mqtt-password".into()));
        tell_secret(section, place);
    }
}

fn tell_secret(section: &mut Section, place: Place) {
    let what = "forebay reads secrets from files alone, and this command prints none: put the password into a file that \
                only forebay can read, and name it as [mqtt] password_file";
    section.remark(Kind::Changed, place, "", what);
}

/// Whether forebay reads it as a span, as Telegraf does.
fn is_span(text: &str) -> bool {
    humantime::parse_duration(text).is_ok()
}

impl Broker {
    /// Whether another input is connected to another broker.
    pub fn is_other(&self, other: &Self) -> bool {
        self.servers != other.servers
    }

    /// The settings as lines of comments.
    pub fn lines(&self) -> Vec<String> {
        let line = |(key, value): &(&str, String)| {
            let number = *key == "receive_maximum";
            let value = if number { value.clone() } else { toml::Value::from(value.clone()).to_string() };
            format!("{key} = {}", clip(&value))
        };
        let mut lines = vec!["[mqtt]".to_owned()];
        let mut order: Vec<_> = self.mqtt.clone();
        order.sort_by_key(|(key, _)| *key != "url");
        lines.extend(order.iter().map(line));
        if !self.tls.is_empty() {
            lines.push("[mqtt.tls]".into());
            lines.extend(self.tls.iter().map(line));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_forebays_and_without_secrets() {
        for (server, has_tls, expected) in [
            ("tcp://10.0.0.1:1883", false, ("mqtt://10.0.0.1:1883", false)),
            ("ssl://b:8883", true, ("mqtts://b:8883", false)),
            ("b:1883", false, ("mqtt://b:1883", false)),
            ("b:8883", true, ("mqtts://b:8883", false)),
            ("ws://b:9001/mqtt", false, ("ws://b:9001/mqtt", false)),
            ("tcp://me:secret@b:1883", false, ("mqtt://b:1883", true)),
            ("wss://b/mqtt?token=secret", false, ("wss://b/mqtt", true)),
        ] {
            assert_eq!(url(server, has_tls), (expected.0.to_owned(), expected.1), "{server}");
        }
    }
}
