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
    /// web sockets, the path for a Unix socket.
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
        if secret_in_query(url).is_some() {
            return Err(UrlError(
                "must not hold a password or a token in its query: use mqtt.username and mqtt.password_file",
            ));
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

/// The URL as it may be shown: without credentials, and without the values of its query and what is behind a `#`.
#[must_use]
pub fn shown(url: &str) -> String {
    let (before, more) = match url.find(['?', '#']) {
        Some(at) => url.split_at(at),
        None => (url, ""),
    };
    let mut text = match before.split_once("://") {
        Some((scheme, rest)) if scheme != "unix" => {
            let end = rest.find('/').unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            match authority.rsplit_once('@') {
                Some((_, host)) => format!("{scheme}://…@{host}{path}"),
                None => before.to_owned(),
            }
        }
        _ => before.to_owned(),
    };
    for part in more.split_inclusive(['?', '#', '&', ';']) {
        let (name, end) = match part.strip_suffix(['?', '#', '&', ';']) {
            Some(name) => (name, &part[name.len()..]),
            None => (part, ""),
        };
        match name.split_once('=') {
            Some((name, value)) if !value.is_empty() => text.extend([name, "=…", end]),
            // A value alone, such as a token.
            None if !name.is_empty() => text.extend(["…", end]),
            _ => text.extend([name, end]),
        }
    }
    text
}

/// The name of a parameter of a URL that is named like a secret, which belongs into a file.
#[must_use]
pub fn secret_in_query(url: &str) -> Option<String> {
    const PARTS: [&str; 7] = ["pass", "pwd", "secret", "token", "credential", "signature", "auth"];
    let query = &url[url.find(['?', '#'])?..];
    let is_secret = |name: &String| {
        let ends = |end: &str| name == end || name.ends_with(&format!("_{end}")) || name.ends_with(&format!("-{end}"));
        PARTS.iter().any(|part| name.contains(part)) || ends("key") || ends("sig") || name == "apikey"
    };
    let names = query.split(['?', '#', '&', ';']).filter_map(|part| part.split_once('=')).map(|(name, _)| name);
    names.map(|name| unescaped(name).to_lowercase()).find(is_secret)
}

/// Without percent-encoding (RFC 3986, section 2.1).
fn unescaped(text: &str) -> String {
    let (bytes, mut plain, mut at) = (text.as_bytes(), Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let hex = |at: usize| bytes.get(at).and_then(|digit| (*digit as char).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (byte, hex(at + 1), hex(at + 2)) {
            plain.push((high * 16 + low) as u8);
            at += 3;
        } else {
            plain.push(*byte);
            at += 1;
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
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
            ("wss://broker/mqtt?x=1&access_token=secret", "password_file"),
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

    #[test]
    fn secrets_are_found_in_a_query_and_never_shown() {
        for (url, name) in [
            ("wss://b/mqtt?password=p", Some("password")),
            ("wss://b/mqtt?a=1&pass%77ord=p", Some("password")),
            ("wss://b/mqtt?a=1;API_KEY=p", Some("api_key")),
            ("wss://b/mqtt#access_token=p", Some("access_token")),
            ("wss://b/mqtt?X-Amz-Signature=p", Some("x-amz-signature")),
            ("wss://b/mqtt?keyboard=de&x=1", None),
            ("mqtt://b:1883", None),
        ] {
            assert_eq!(secret_in_query(url).as_deref(), name, "{url}");
        }
        for (url, said) in [
            ("mqtt://b:1883", "mqtt://b:1883"),
            ("unix:///run/a@b", "unix:///run/a@b"),
            ("mqtt://me:p@b:1883", "mqtt://…@b:1883"),
            ("wss://b:9001/mqtt?x=p&y=&p#p", "wss://b:9001/mqtt?x=…&y=&…#…"),
        ] {
            assert_eq!(shown(url), said);
        }
    }

    proptest! {
        #[test]
        fn nothing_of_a_query_but_names_is_shown(path in "[a-z/]{0,9}", name in "[a-z]{0,5}", value in "[A-Z0-9%]{1,9}") {
            let text = shown(&format!("wss://b/{path}?{name}={value}"));
            prop_assert_eq!(text, format!("wss://b/{path}?{name}=…"));
        }

        #[test]
        fn no_text_panics(text in "\\PC*", tail in "(mqtt|ws|unix)://\\PC*") {
            let _ = BrokerUrl::parse(&text);
            let _ = BrokerUrl::parse(&tail);
            let _ = (shown(&text), shown(&tail), secret_in_query(&text), secret_in_query(&tail));
        }
    }
}
