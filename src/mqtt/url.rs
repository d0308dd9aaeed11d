//! The broker's address as it is written in `mqtt.url`.

/// How the broker is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain TCP.
    Mqtt,
    /// TLS over TCP.
    Mqtts,
    /// WebSocket.
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// A Unix socket.
    Unix,
}

impl Scheme {
    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }
}

/// A parsed `mqtt.url`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    /// How the broker is reached.
    pub scheme: Scheme,
    /// What the client library wants as its address: the host (an IPv6 address without brackets), the whole URL for
    /// WebSockets, the path for a Unix socket.
    pub address: String,
    /// TCP port; 0 for a Unix socket.
    pub port: u16,
}

/// What is wrong with `mqtt.url`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mqtt.url: {0}; write one like mqtt://broker.example:1883 (or mqtts://, ws://, wss://, unix:///path)")]
pub struct UrlError(pub &'static str);

impl BrokerUrl {
    /// Reads a URL; a missing port is the scheme's own (1883, 8883, 80, 443).
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(UrlError("has no scheme"))?;
        let (scheme, default_port) = match scheme {
            "mqtt" | "tcp" => (Scheme::Mqtt, 1883),
            "mqtts" | "ssl" => (Scheme::Mqtts, 8883),
            "ws" => (Scheme::Ws, 80),
            "wss" => (Scheme::Wss, 443),
            "unix" => (Scheme::Unix, 0),
            _ => return Err(UrlError("has an unknown scheme")),
        };
        if scheme == Scheme::Unix {
            let absolute = rest.starts_with('/') && rest.len() > 1;
            let address = rest.to_owned();
            return if absolute {
                Ok(Self { scheme, address, port: 0 })
            } else {
                Err(UrlError("needs an absolute path"))
            };
        }
        let (authority, path) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err(UrlError("must not hold credentials: use mqtt.username and mqtt.password_file"));
        }
        let (host, port) = host_and_port(authority, default_port)?;
        let websocket = matches!(scheme, Scheme::Ws | Scheme::Wss);
        if !websocket && !matches!(path, "" | "/") {
            return Err(UrlError("takes no path with this scheme"));
        }
        let address = match (websocket, scheme, host.contains(':')) {
            (false, ..) => host.to_owned(),
            (true, scheme, ipv6) => {
                let name = if scheme == Scheme::Wss { "wss" } else { "ws" };
                let host = if ipv6 { format!("[{host}]") } else { host.to_owned() };
                format!("{name}://{host}:{port}{}", if path.is_empty() { "/" } else { path })
            }
        };
        Ok(Self { scheme, address, port })
    }
}

/// Parts `host:port`, `[v6]:port` or a bare host.
fn host_and_port(authority: &str, default_port: u16) -> Result<(&str, u16), UrlError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) =
                rest.split_once(']').ok_or(UrlError("has an IPv6 address without its closing bracket"))?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(UrlError("has no IPv6 address between its brackets"));
            }
            let port = if after.is_empty() {
                None
            } else {
                Some(after.strip_prefix(':').ok_or(UrlError("has text after its bracket"))?)
            };
            (host, port)
        }
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    if host.is_empty() || !host.chars().all(legal) {
        return Err(UrlError("has no valid host name (internationalised names in their xn-- form)"));
    }
    match port.map(str::parse) {
        None => Ok((host, default_port)),
        Some(Ok(port)) if port > 0 => Ok((host, port)),
        Some(_) => Err(UrlError("has a port that is no number from 1 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(url: &str) -> (Scheme, String, u16) {
        let url = BrokerUrl::parse(url).expect("is valid");
        (url.scheme, url.address, url.port)
    }

    #[test]
    fn each_scheme_has_its_default_port() {
        assert_eq!(parsed("mqtt://broker"), (Scheme::Mqtt, "broker".into(), 1883));
        assert_eq!(parsed("mqtts://broker/"), (Scheme::Mqtts, "broker".into(), 8883));
        assert_eq!(parsed("ws://broker"), (Scheme::Ws, "ws://broker:80/".into(), 80));
        assert_eq!(parsed("wss://broker:9001/mqtt?x=1"), (Scheme::Wss, "wss://broker:9001/mqtt?x=1".into(), 9001));
        assert_eq!(parsed("unix:///run/mosquitto.sock"), (Scheme::Unix, "/run/mosquitto.sock".into(), 0));
    }

    #[test]
    fn ipv6_addresses_lose_their_brackets_where_the_library_wants_none() {
        assert_eq!(parsed("mqtt://[::1]:1884"), (Scheme::Mqtt, "::1".into(), 1884));
        assert_eq!(parsed("ws://[::1]"), (Scheme::Ws, "ws://[::1]:80/".into(), 80));
    }

    #[test]
    fn mistakes_are_named() {
        for (url, part) in [
            ("broker:1883", "no scheme"),
            ("http://broker", "unknown scheme"),
            ("mqtt://", "host name"),
            ("mqtt://broker:0", "port"),
            ("mqtt://broker:65536", "port"),
            ("mqtt://broker:", "port"),
            ("mqtt://user:secret@broker", "password_file"),
            ("mqtt://broker/path", "no path"),
            ("unix://relative", "absolute"),
            ("mqtt://[::1", "bracket"),
            ("mqtt://[x]:1", "IPv6"),
            ("mqtt://two words", "host name"),
        ] {
            let error = BrokerUrl::parse(url).expect_err(url).to_string();
            assert!(error.contains(part) && !error.contains("secret"), "{url}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*", tail in "(mqtt|ws|unix)://\\PC*") {
            let _ = BrokerUrl::parse(&text);
            let _ = BrokerUrl::parse(&tail);
        }
    }
}
