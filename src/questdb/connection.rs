//! Where QuestDB is and how one proves to it who one is: shared by the writer and the SQL client.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use questdb::ingress::ProtocolVersion;
use thiserror::Error;

use crate::{
    files::read::{MAX_SECRET_BYTES, read_regular_text},
    settings,
};

/// Time for a request that `conf` sets no `request_timeout` for.
pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes a second that a request is given time for, as the client of QuestDB has it.
const DEFAULT_MIN_THROUGHPUT: u64 = 100 << 10;
/// Largest request, as the client of QuestDB has it.
const DEFAULT_MAX_REQUEST: u64 = 100 << 20;
const DEFAULT_PORT: &str = "9000";

/// Why no connection can be described.
#[derive(Debug, Error)]
pub enum ConnectionError {
    /// The configuration string is malformed.
    #[error("questdb.conf: {what}; write one like \"http::addr=127.0.0.1:9000;\"")]
    Conf {
        /// What is wrong. No part of the string is told, since it may be a secret.
        what: String,
    },
    /// A secret could not be read.
    #[error("questdb.{key}: cannot read {}: {source}", path.display())]
    Secret {
        /// The setting that names the file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// User name without password file or the other way round.
    #[error("questdb.username and questdb.password_file belong together; set both or neither")]
    HalfBasic,
}

/// What the secret files hold. Never printed.
#[derive(Clone, Default)]
pub struct Secrets {
    /// Password of basic authentication.
    pub password: Option<String>,
    /// Bearer token.
    pub token: Option<String>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(hidden)")
    }
}

impl Secrets {
    /// Reads the files the settings name; white space at their end is not part of the secret.
    pub fn read(settings: &settings::Questdb) -> Result<Self, ConnectionError> {
        Ok(Self {
            password: read_secret("password_file", settings.password_file.as_deref())?,
            token: read_secret("token_file", settings.token_file.as_deref())?,
        })
    }
}

fn read_secret(key: &'static str, path: Option<&Path>) -> Result<Option<String>, ConnectionError> {
    let Some(path) = path else { return Ok(None) };
    let read = read_regular_text(path, MAX_SECRET_BYTES);
    let text = read.map_err(|source| ConnectionError::Secret { key, path: path.to_owned(), source })?;
    Ok(Some(text.trim_end().to_owned()))
}

/// A described connection: nothing is open yet.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The questdb-rs configuration string, without secrets and without `request_timeout`.
    pub conf: String,
    /// `http://host:port` or `https://host:port`.
    pub base_url: String,
    /// Time for one request.
    pub request_timeout: Duration,
    /// A request that writes rows gets time for its bytes beside that: so many a second (`request_min_throughput`); 0 for none.
    pub min_throughput: u64,
    /// Largest request that writes rows (`max_buf_size`), in bytes.
    pub max_request_bytes: usize,
    /// Version of the line protocol (`protocol_version`): its number or `auto`.
    pub version: Option<String>,
    /// PEM file of certificates to trust (`tls_roots`); the built-in ones when absent.
    pub tls_roots: Option<PathBuf>,
    /// User name of basic authentication.
    pub username: Option<String>,
    /// Password or token.
    pub secrets: Secrets,
}

impl Connection {
    /// Describes the connection the settings ask for.
    pub fn new(settings: &settings::Questdb, secrets: Secrets) -> Result<Self, ConnectionError> {
        let fail = |what: &str| ConnectionError::Conf { what: what.to_owned() };
        let conf = questdb_confstr::parse_conf_str(&settings.conf).map_err(|e| fail(&e.to_string()))?;
        if !matches!(conf.service(), "http" | "https") {
            return Err(fail("only http:: and https:: are supported"));
        }
        let addr = conf.get("addr").ok_or_else(|| fail("addr is missing"))?;
        if addr.contains(',') {
            return Err(fail("one address is supported"));
        }
        let has_port = addr.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
        let addr = if has_port { addr.to_owned() } else { format!("{addr}:{DEFAULT_PORT}") };
        let millis = conf.get("request_timeout").map(str::parse::<u64>).transpose();
        let millis = millis.map_err(|_| fail("request_timeout is no number of milliseconds"))?;
        let number = |key: &str, default: u64| match conf.get(key).map(str::parse::<u64>) {
            None => Ok(default),
            Some(Ok(number)) => Ok(number),
            Some(Err(_)) => Err(fail(&format!("{key} is no number of bytes"))),
        };
        let min_throughput = number("request_min_throughput", DEFAULT_MIN_THROUGHPUT)?;
        let max_request_bytes = usize::try_from(number("max_buf_size", DEFAULT_MAX_REQUEST)?).unwrap_or(usize::MAX);
        if settings.username.is_some() != secrets.password.is_some() {
            return Err(ConnectionError::HalfBasic);
        }
        Ok(Self {
            base_url: format!("{}://{addr}", conf.service()),
            request_timeout: millis.map_or(DEFAULT_REQUEST_TIMEOUT, Duration::from_millis),
            min_throughput,
            max_request_bytes,
            version: conf.get("protocol_version").map(str::to_owned),
            tls_roots: conf.get("tls_roots").map(PathBuf::from),
            conf: without_timeout(&conf),
            username: settings.username.clone(),
            secrets,
        })
    }

    /// The version of the line protocol that the string sets; none where the server is to be asked.
    pub(super) fn protocol_version(&self) -> Option<ProtocolVersion> {
        match self.version.as_deref()? {
            "1" => Some(ProtocolVersion::V1),
            "2" => Some(ProtocolVersion::V2),
            "3" => Some(ProtocolVersion::V3),
            _ => None,
        }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        self.base_url.split_once("://").map_or(self.base_url.as_str(), |(_, address)| address)
    }

    /// The `Authorization` header's value, when there is authentication.
    pub fn authorization(&self) -> Option<String> {
        match (&self.username, &self.secrets.password, &self.secrets.token) {
            (Some(user), Some(password), _) => Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))),
            (_, _, Some(token)) => Some(format!("Bearer {token}")),
            _ => None,
        }
    }
}

/// The configuration string again, but for `request_timeout`: that is set anew now and then, which the client refuses where the string sets it.
fn without_timeout(conf: &questdb_confstr::ConfStr) -> String {
    let mut params: Vec<_> = conf.params().iter().filter(|(key, _)| *key != "request_timeout").collect();
    params.sort_unstable();
    let params: Vec<_> = params.iter().map(|(key, value)| format!("{key}={};", value.replace(';', ";;"))).collect();
    format!("{}::{}", conf.service(), params.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(conf: &str) -> Result<Connection, ConnectionError> {
        Connection::new(&settings::Questdb { conf: conf.into(), ..Default::default() }, Secrets::default())
    }

    #[test]
    fn conf_strings() {
        let connection = describe("https::addr=db.example;request_timeout=250;").unwrap();
        assert_eq!(connection.base_url, "https://db.example:9000");
        assert_eq!(connection.address(), "db.example:9000");
        assert_eq!(connection.request_timeout, Duration::from_millis(250));
        assert_eq!(connection.conf, "https::addr=db.example;");
        assert_eq!((connection.min_throughput, connection.max_request_bytes), (100 << 10, 100 << 20));
        assert!(connection.protocol_version().is_none());
        let set = describe("http::addr=h;request_min_throughput=0;max_buf_size=9;protocol_version=2;").unwrap();
        assert_eq!((set.min_throughput, set.max_request_bytes), (0, 9));
        assert_eq!(set.protocol_version(), Some(ProtocolVersion::V2));
        assert!(describe("http::addr=h;protocol_version=auto;").unwrap().protocol_version().is_none());
        let escaped = describe("http::addr=h:1;user_agent=a;;b;request_timeout=9;").unwrap();
        assert_eq!(escaped.conf, "http::addr=h:1;user_agent=a;;b;");
        assert_eq!(describe("http::addr=[::1]:9001;").unwrap().base_url, "http://[::1]:9001");
        for bad in
            ["tcp::addr=x:1;", "http::", "http", "http::addr=a:1;request_timeout=soon;", "http::addr=a;max_buf_size=x;"]
        {
            assert!(describe(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_stay_out_of_debug() {
        let secrets = Secrets { password: Some("hunter2".into()), token: None };
        let settings = settings::Questdb { username: Some("u".into()), ..Default::default() };
        let connection = Connection::new(&settings, secrets).unwrap();
        assert!(!format!("{connection:?}").contains("hunter2"));
        assert_eq!(connection.authorization().unwrap(), "Basic dTpodW50ZXIy");
    }
}
