//! Addresses as people write them: what the settings want of them, and what is wrong with one.

use crate::{
    cli::{Exit, Failure},
    config::validate,
    mqtt::url::BrokerUrl,
    settings::{Mqtt, Questdb, Settings},
};

const BROKER_PORT: u16 = 1_883;
const DATABASE_PORT: u16 = 9_000;

/// What an address leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// The broker.
    Broker,
    /// QuestDB.
    Database,
}

impl Server {
    /// What the settings want.
    pub fn setting(self, text: &str) -> String {
        match self {
            Self::Broker => broker_url(text),
            Self::Database => database_conf(text),
        }
    }

    /// What is wrong with a setting, as `check` says it; no part of it that may be a secret is in
    /// there.
    pub fn fault(self, setting: &str) -> Option<String> {
        let (mut settings, key) = (Settings::default(), self.key());
        match self {
            Self::Broker => settings.mqtt = Mqtt { url: setting.to_owned(), ..Mqtt::default() },
            Self::Database => settings.questdb = Questdb { conf: setting.to_owned(), ..Questdb::default() },
        }
        let of_key = validate::check(&settings).problems.into_iter().filter(|problem| problem.key == key);
        let faults: Vec<String> = of_key.map(|problem| problem.what).collect();
        (!faults.is_empty()).then(|| format!("{}; {}", faults.join("; "), self.where_credentials_go()))
    }

    /// Refuses what was given by an option, before anything is asked or tried.
    pub fn refuse_fault(self, given: Option<&str>) -> Result<(), Failure> {
        let option = match self {
            Self::Broker => "--broker",
            Self::Database => "--questdb",
        };
        match given.and_then(|text| self.fault(&self.setting(text))) {
            Some(fault) => Err(Failure::new(Exit::Usage, format!("{option}: {fault}"))),
            None => Ok(()),
        }
    }

    /// Whether two settings lead to the same server in the same way. The second may say more of
    /// how.
    pub fn is_same(self, given: &str, configured: &str) -> bool {
        match self {
            Self::Broker => match (BrokerUrl::parse(given), BrokerUrl::parse(configured)) {
                (Ok(given), Ok(configured)) => given == configured,
                _ => given == configured,
            },
            Self::Database => {
                let parse = questdb_confstr::parse_conf_str;
                let (Ok(given), Ok(configured)) = (parse(given), parse(configured)) else { return given == configured };
                given.service() == configured.service()
                    && given.params().iter().all(|(key, value)| configured.get(key) == Some(value))
            }
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Broker => "mqtt.url",
            Self::Database => "questdb.conf",
        }
    }

    fn where_credentials_go(self) -> &'static str {
        match self {
            Self::Broker => {
                "init takes a user name with --username, and the file with the password with --password-file"
            }
            Self::Database => {
                "init takes a user name with --questdb-username, and the file with the password with --questdb-password-file"
            }
        }
    }
}

/// A URL; a host alone, or one with a port, is one without TLS.
fn broker_url(text: &str) -> String {
    if text.contains("://") {
        return text.to_owned();
    }
    let has_port = text.rsplit_once(':').is_some_and(|(host, port)| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']'))
    });
    if has_port { format!("mqtt://{text}") } else { format!("mqtt://{text}:{BROKER_PORT}") }
}

/// A configuration string of QuestDB's clients; a host and port, or an address, becomes one.
fn database_conf(text: &str) -> String {
    if text.contains("::") && text.contains('=') {
        return text.to_owned();
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let address = rest.trim_end_matches('/');
    let address = if address.contains(':') { address.to_owned() } else { format!("{address}:{DATABASE_PORT}") };
    format!("{scheme}::addr={address};")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_people_write_becomes_what_the_settings_want() {
        for (text, url) in [
            ("mqtts://gate:8883", "mqtts://gate:8883"),
            ("gate", "mqtt://gate:1883"),
            ("192.0.2.7:1884", "mqtt://192.0.2.7:1884"),
            ("[::1]:1884", "mqtt://[::1]:1884"),
            ("[::1]", "mqtt://[::1]:1883"),
        ] {
            assert_eq!(Server::Broker.setting(text), url);
            assert_eq!(Server::Broker.fault(url), None);
        }
        for (text, conf) in [
            ("http::addr=a:9000;request_timeout=9000;", "http::addr=a:9000;request_timeout=9000;"),
            ("a:9001", "http::addr=a:9001;"),
            ("a", "http::addr=a:9000;"),
            ("https://a:9000/", "https::addr=a:9000;"),
        ] {
            assert_eq!(Server::Database.setting(text), conf);
            assert_eq!(Server::Database.fault(conf), None);
        }
    }

    #[test]
    fn a_secret_in_an_address_is_refused_and_never_shown() {
        let told = |server: Server, text: &str| {
            let failure = server.refuse_fault(Some(text)).expect_err(text);
            assert_eq!(failure.exit, Exit::Usage);
            let told = failure.error.expect("an error").to_string();
            assert!(!told.contains("SECRET"), "{told}");
            told
        };
        for text in [
            "mqtt://u:SECRET@h",
            "mqtts://SECRET@h:8883",
            "u:SECRET@h",
            "u:SECRET@h:1883",
            "wss://h/mqtt?token=SECRET",
            "h?password=SECRET",
            "h:1883?password=SECRET",
        ] {
            let told = told(Server::Broker, text);
            assert!(told.starts_with("--broker: ") && told.contains("--password-file"), "{told}");
        }
        for text in [
            "http::addr=h:9000;password=SECRET;",
            "http::addr=h:9000;username=u;password=SECRET",
            "http::addr=h:9000;token=SECRET;",
            "http::addr=u:SECRET@h:9000;",
            "http::addr=h:9000;password=a;SECRET=b;",
            "http://u:SECRET@h",
            "u:SECRET@h:9000",
            "https://h:9000/?password=SECRET",
        ] {
            let told = told(Server::Database, text);
            assert!(told.starts_with("--questdb: ") && told.contains("--questdb-password-file"), "{told}");
        }
        assert!(Server::Broker.refuse_fault(None).is_ok() && Server::Database.refuse_fault(None).is_ok());
    }

    #[test]
    fn one_server_may_be_written_in_several_ways() {
        assert!(Server::Broker.is_same("mqtt://gate:1883", "mqtt://gate"));
        assert!(!Server::Broker.is_same("mqtts://gate:1883", "mqtt://gate"));
        let configured = "https::addr=gate:9000;tls_ca=os_roots";
        assert!(Server::Database.is_same("https::addr=gate:9000;", configured));
        for other in ["http::addr=gate:9000;", "https::addr=gate:9001;", "https::addr=gate:9000;tls_ca=webpki_roots;"] {
            assert!(!Server::Database.is_same(other, configured), "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_secret_before_an_at_sign_is_never_shown(user in "[a-z]{0,3}", host in "[a-z]{1,3}(:[0-9]{1,4})?", scheme in "(mqtts?://|https?://|)") {
            for server in [Server::Broker, Server::Database] {
                let fault = server.fault(&server.setting(&format!("{scheme}{user}:SECRET@{host}")));
                prop_assert!(fault.is_some_and(|fault| !fault.contains("SECRET")));
            }
        }
    }
}
