//! `forebay check --connect`: would the broker and the database let forebay in?

use std::sync::Arc;

use super::{Exit, Failure, block_on, out};
use crate::{
    ingest::filters,
    mqtt::{self, Subscription},
    questdb::{Connection, Secrets, Sql, SqlError, WriteError, Writer},
    settings::{self, Settings},
};

/// Connects to both and says how it went on standard error; the failure names what refused. Refused credentials and
/// unusable settings are a matter of configuration (exit code 2), anything else is a failure (1).
pub fn try_all(settings: &Settings) -> Result<(), Failure> {
    let broker = try_broker(settings);
    let database = try_database(&settings.questdb);
    let worst = [&broker, &database].into_iter().filter_map(|tried| tried.as_ref().err()).map(|why| why.exit);
    let worst = worst.max_by_key(|exit| *exit as u8);
    say("broker", &mqtt::url::shown(&settings.mqtt.url), broker);
    say("database", &settings.questdb.conf, database);
    worst.map_or(Ok(()), |exit| Err(Failure::silent(exit)))
}

/// Why a connection does not serve.
#[derive(Debug)]
pub struct NotLetIn {
    /// Whether that is a matter of configuration.
    pub exit: Exit,
    /// Why, in words.
    pub why: String,
    /// Whether it is the user name or the password.
    pub is_login: bool,
}

impl NotLetIn {
    fn new(exit: Exit, why: &dyn std::fmt::Display) -> Self {
        Self { exit, why: why.to_string(), is_login: false }
    }
}

fn say(what: &str, place: &str, tried: Result<(), NotLetIn>) {
    match tried {
        Ok(()) => out::say(&format!("{what} {place}: connected and let in")),
        Err(NotLetIn { why, .. }) => out::say(&format!("{what} {place}: {why}")),
    }
}

/// A QoS below the one asked for, or a session kept for a shorter time, is a warning: what is asked
/// for comes.
fn try_broker(settings: &Settings) -> Result<(), NotLetIn> {
    let wanted = filters::wanted(&settings.source).map_err(|error| NotLetIn::new(Exit::Usage, &error))?;
    let subscriptions: Vec<Subscription> = wanted.into_iter().map(Subscription::from).collect();
    let probed = block_on(async { Ok(mqtt::probe(&settings.mqtt, &subscriptions).await) });
    let probed = probed.map_err(|_| NotLetIn::new(Exit::Failed, &"the async runtime cannot be started"))?;
    let found = probed.map_err(|error| {
        let exit = if error.needs_hands() { Exit::Usage } else { Exit::Failed };
        NotLetIn::new(exit, &error)
    })?;
    for lowered in &found.lowered {
        eprintln!("warning: {lowered}");
    }
    if let Some(shortened) = found.shortened {
        eprintln!("warning: {shortened}");
    }
    found.refused.map_or(Ok(()), |why| Err(NotLetIn::new(Exit::Failed, &why)))
}

/// The same of the database alone, without a word.
pub fn try_database(settings: &settings::Questdb) -> Result<(), NotLetIn> {
    let unusable = |error: &dyn std::fmt::Display| NotLetIn::new(Exit::Usage, error);
    let secrets = Secrets::read(settings).map_err(|error| unusable(&error))?;
    let connection = Connection::new(settings, secrets).map_err(|error| unusable(&error))?;
    let connection = Arc::new(connection);
    let sql = Sql::new(Arc::clone(&connection)).map_err(|error| unusable(&error))?;
    // What the daemon asks before it sends anything: whoever answers this is QuestDB, and lets forebay in.
    let refused = |error: SqlError| {
        let exit = if matches!(error, SqlError::Auth | SqlError::Setup(_)) { Exit::Usage } else { Exit::Failed };
        NotLetIn { is_login: matches!(error, SqlError::Auth), ..NotLetIn::new(exit, &error) }
    };
    if sql.started().map_err(refused)?.is_none() {
        let what =
            "connected, but QuestDB does not tell when it was started: rows would be stored, and none become safe";
        return Err(NotLetIn::new(Exit::Failed, &what));
    }
    Writer::new(connection).connect().map_err(|error| {
        let exit = if matches!(error, WriteError::Auth(_) | WriteError::Other(_)) { Exit::Usage } else { Exit::Failed };
        NotLetIn { is_login: matches!(error, WriteError::Auth(_)), ..NotLetIn::new(exit, &error) }
    })
}
