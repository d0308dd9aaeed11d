//! `forebay check --connect`: would the broker and the database let the daemon in?

use std::{
    fmt::Display,
    io::{self, Write},
    sync::Arc,
};

use super::Exit;
use crate::{
    config::{Loaded, settings},
    mqtt,
    questdb::{Connection, ConnectionError, Secrets, Sql, SqlError},
};

/// Tries both, says on standard error how it went, and gives the exit code: [`Exit::Usage`] when the configuration has to
/// change, [`Exit::Failed`] when a server is away.
pub fn run(loaded: &Loaded) -> Exit {
    let settings = &loaded.settings;
    let broker = try_broker(&settings.mqtt);
    tell("broker", &settings.mqtt.url, &broker);
    let database = try_database(&settings.questdb);
    tell("database", &settings.questdb.conf, &database);
    let worse = [broker, database].into_iter().filter_map(Result::err).map(|refusal| refusal.exit);
    worse.max_by_key(|exit| *exit as u8).unwrap_or(Exit::Ok)
}

struct Refusal {
    exit: Exit,
    why: String,
}

impl Refusal {
    fn new(needs_hands: bool, why: &impl Display) -> Self {
        Self { exit: if needs_hands { Exit::Usage } else { Exit::Failed }, why: why.to_string() }
    }
}

impl From<ConnectionError> for Refusal {
    fn from(why: ConnectionError) -> Self {
        Self::new(true, &why)
    }
}

impl From<SqlError> for Refusal {
    fn from(why: SqlError) -> Self {
        Self::new(matches!(why, SqlError::Auth | SqlError::Setup(_)), &why)
    }
}

fn try_broker(settings: &settings::Mqtt) -> Result<(), Refusal> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| Refusal::new(false, &why))?;
    runtime.block_on(mqtt::probe(settings)).map_err(|why| Refusal::new(why.needs_hands(), &why))
}

fn try_database(settings: &settings::Questdb) -> Result<(), Refusal> {
    let connection = Connection::new(settings, Secrets::read(settings)?)?;
    Sql::new(Arc::new(connection))?.query("SELECT 1")?;
    Ok(())
}

fn tell(what: &str, address: &str, outcome: &Result<(), Refusal>) {
    let mut out = io::stderr().lock();
    // With standard error closed the exit code still tells.
    let _ = match outcome {
        Ok(()) => writeln!(out, "{what} {address}: connected"),
        Err(refusal) => writeln!(out, "{what} {address}: {}", refusal.why),
    };
}
