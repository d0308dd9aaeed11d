//! The broker and the database: which, and whether they let forebay in.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use super::{
    InitArgs,
    address::Server,
    ask::Answers,
    password::{self, Typed, USER},
    sources::free_name,
};
use crate::{
    cli::{
        Exit, Failure, block_on,
        connect::{self, NotLetIn},
        fragment::Fragment,
        out::say,
    },
    config::{Loaded, Origins},
    mqtt::{self, ConnectError, url},
    settings::{Mqtt, Questdb, Settings},
};

/// The name of the connections' file, without its end.
const NAME: &str = "10-connections";

/// What was found, in words of the settings.
pub struct Connections {
    /// `[mqtt]`, with what was answered.
    pub mqtt: Mqtt,
    /// `[questdb]`, likewise.
    pub questdb: Questdb,
    broker_password: Option<Typed>,
    database_password: Option<Typed>,
}

/// Asks for both and tries them. `directory` is that of the configuration.
pub fn ask(
    args: &InitArgs,
    settings: &Settings,
    directory: &Path,
    answers: &mut Answers,
) -> Result<Connections, Failure> {
    let (mqtt, broker_password) = broker(args, &settings.mqtt, directory, answers)?;
    let taken = broker_password.as_ref().map(|typed| typed.path.as_path());
    let (questdb, database_password) = database(args, &settings.questdb, directory, taken, answers)?;
    Ok(Connections { mqtt, questdb, broker_password, database_password })
}

/// A key of the connections.
struct Key {
    section: &'static str,
    name: &'static str,
    before: Option<String>,
    after: Option<String>,
}

impl Connections {
    /// `[mqtt]` for a connection before anything is written.
    pub fn mqtt_for_now(&self) -> Mqtt {
        let password_file = for_now(self.mqtt.password_file.as_ref(), self.broker_password.as_ref());
        Mqtt { password_file, ..self.mqtt.clone() }
    }

    /// Passwords that were typed.
    pub fn typed(&self) -> impl Iterator<Item = &Typed> {
        self.broker_password.iter().chain(&self.database_password)
    }

    /// The fragment with what differs from the settings in force; none where nothing does. What is
    /// configured stays as it is: the failure says where it is to be changed.
    pub fn fragment(&self, loaded: &Loaded, fragments: &Path) -> Result<Option<Fragment>, Failure> {
        let differing: Vec<Key> = self.differing(&loaded.settings);
        if let Some(what) = configured(&differing, &loaded.origins) {
            return Err(Failure::new(Exit::Usage, what));
        }
        let mut text = "# The broker and the database, as `forebay init` was told.\n".to_owned();
        let mut section = "";
        for Key { section: of, name, after, .. } in &differing {
            let Some(after) = after else { continue };
            // Writing into memory does not fail.
            if std::mem::replace(&mut section, of) != *of {
                let _ = writeln!(text, "\n[{of}]");
            }
            let _ = writeln!(text, "{name} = {}", toml::Value::from(after.as_str()));
        }
        Ok((!differing.is_empty()).then(|| Fragment { path: free_name(fragments, NAME), text }))
    }

    /// The keys that were answered otherwise than they are.
    fn differing(&self, settings: &Settings) -> Vec<Key> {
        let (mqtt, questdb) = (&settings.mqtt, &settings.questdb);
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let key = |section, name, before, after| Key { section, name, before, after };
        let keys = [
            key("mqtt", "url", Some(mqtt.url.clone()), Some(self.mqtt.url.clone())),
            key("mqtt", "username", mqtt.username.clone(), self.mqtt.username.clone()),
            key("mqtt", "password_file", path(&mqtt.password_file), path(&self.mqtt.password_file)),
            key("questdb", "conf", Some(questdb.conf.clone()), Some(self.questdb.conf.clone())),
            key("questdb", "username", questdb.username.clone(), self.questdb.username.clone()),
            key("questdb", "password_file", path(&questdb.password_file), path(&self.questdb.password_file)),
        ];
        keys.into_iter().filter(|key| key.after.is_some() && key.before != key.after).collect()
    }
}

/// That keys are configured otherwise, and where.
fn configured(differing: &[Key], origins: &Origins) -> Option<String> {
    let mut text = String::new();
    for Key { section, name, before, after } in differing {
        let Some(origin) = origins.get(&format!("{section}.{name}")) else { continue };
        let [before, after] = [before, after].map(|value| value.as_deref().unwrap_or_default());
        // Writing into memory does not fail.
        let _ = writeln!(text, "{origin}: {section}.{name} is {before:?}, and init was told {after:?}");
    }
    let what = "init does not change connections that are configured: edit them there, and run this again; nothing was written";
    (!text.is_empty()).then(|| text + what)
}

/// The file that a password is read from before anything is written.
fn for_now(path: Option<&PathBuf>, typed: Option<&Typed>) -> Option<PathBuf> {
    typed.map(Typed::in_memory).or_else(|| path.cloned())
}

/// An address that serves as a setting: the option's, or one that is typed. One that is `before` in
/// other words is that.
fn address(
    server: Server,
    question: &str,
    before: &str,
    mut given: Option<String>,
    answers: &mut Answers,
) -> Result<String, Failure> {
    loop {
        let text = match given.take() {
            Some(text) => text,
            None => answers.text(question, before)?,
        };
        let setting = server.setting(&text);
        match server.fault(&setting) {
            None if server.is_same(&setting, before) => return Ok(before.to_owned()),
            None => return Ok(setting),
            Some(fault) if answers.are_given() => say(&format!("{question}: {fault}")),
            Some(fault) => return Err(Failure::new(Exit::Usage, format!("{question}: {fault}"))),
        }
    }
}

fn broker(
    args: &InitArgs,
    before: &Mqtt,
    directory: &Path,
    answers: &mut Answers,
) -> Result<(Mqtt, Option<Typed>), Failure> {
    let mut mqtt = Mqtt {
        username: args.username.clone().or_else(|| before.username.clone()),
        password_file: args.password_file.clone().or_else(|| before.password_file.clone()),
        ..before.clone()
    };
    let (mut given, mut typed) = (args.broker.clone(), None);
    loop {
        mqtt.url = address(Server::Broker, "Broker", &mqtt.url, given.take(), answers)?;
        let tried = Mqtt { password_file: for_now(mqtt.password_file.as_ref(), typed.as_ref()), ..mqtt.clone() };
        let Err(why) = block_on(async { Ok(mqtt::probe(&tried, &[]).await) })? else {
            say(&format!("broker {}: connected and let in", url::shown(&mqtt.url)));
            return Ok((mqtt, typed));
        };
        let told = format!("broker {}: {why}", url::shown(&mqtt.url));
        if !answers.are_given() {
            let exit = if why.needs_hands() { Exit::Usage } else { Exit::Failed };
            return Err(Failure::new(exit, format!("{told}\nnothing was written")));
        }
        say(&told);
        if matches!(why, ConnectError::BadCredentials | ConnectError::NotAuthorised) {
            let name = answers.text("Broker's user name", mqtt.username.as_deref().unwrap_or(USER))?;
            let refused = if typed.is_none() { mqtt.password_file.as_deref() } else { None };
            let password = password::ask(&name, &directory.join("mqtt-password"), refused, None, answers)?;
            (mqtt.username, mqtt.password_file, typed) = (Some(name), Some(password.path), password.typed);
            given = Some(mqtt.url.clone());
        }
    }
}

fn database(
    args: &InitArgs,
    before: &Questdb,
    directory: &Path,
    taken: Option<&Path>,
    answers: &mut Answers,
) -> Result<(Questdb, Option<Typed>), Failure> {
    let mut questdb = Questdb {
        username: args.questdb_username.clone().or_else(|| before.username.clone()),
        password_file: args.questdb_password_file.clone().or_else(|| before.password_file.clone()),
        ..before.clone()
    };
    let (mut given, mut typed) = (args.questdb.clone(), None);
    loop {
        questdb.conf = address(Server::Database, "QuestDB", &questdb.conf, given.take(), answers)?;
        let tried =
            Questdb { password_file: for_now(questdb.password_file.as_ref(), typed.as_ref()), ..questdb.clone() };
        let Err(NotLetIn { exit, why, is_login }) = connect::try_database(&tried) else {
            say(&format!("database {}: connected and let in", questdb.conf));
            return Ok((questdb, typed));
        };
        say(&format!("database {}: {why}", questdb.conf));
        if exit == Exit::Usage && !answers.are_given() {
            return Err(Failure::new(exit, "the database refuses these settings; nothing was written"));
        }
        if is_login {
            let name = answers.text("QuestDB's user name", questdb.username.as_deref().unwrap_or("admin"))?;
            let refused = if typed.is_none() { questdb.password_file.as_deref() } else { None };
            let password = password::ask(&name, &directory.join("questdb-password"), refused, taken, answers)?;
            (questdb.username, questdb.password_file, typed) = (Some(name), Some(password.path), password.typed);
            given = Some(questdb.conf.clone());
        } else if exit != Exit::Usage
            && answers.agrees("Readings wait in the ring until it answers. Go on with it? (n: another address)")?
        {
            return Ok((questdb, typed));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config;

    /// A configuration directory with a file, and one of conf.d where `connections` says something.
    fn place(text: &str, connections: &str) -> (tempfile::TempDir, Loaded, Connections) {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("forebay.toml");
        fs::create_dir(directory.path().join("conf.d")).expect("made");
        fs::write(&file, text).expect("written");
        if !connections.is_empty() {
            fs::write(directory.path().join("conf.d/10-connections.toml"), connections).expect("written");
        }
        let loaded = config::load_with(Some(&file), std::iter::empty()).expect("valid");
        let Settings { mqtt, questdb, .. } = loaded.settings.clone();
        (directory, loaded, Connections { mqtt, questdb, broker_password: None, database_password: None })
    }

    #[test]
    fn the_fragment_has_what_differs() {
        let (directory, loaded, mut found) = place("", "");
        let fragments = directory.path().join("conf.d");
        assert_eq!(found.fragment(&loaded, &fragments).expect("sound"), None);
        found.mqtt.url = "mqtt://gate:1883".into();
        found.mqtt.username = Some("a \"b\"".into());
        found.questdb.password_file = Some("/etc/secret".into());
        let fragment = found.fragment(&loaded, &fragments).expect("sound").expect("differs");
        let expected = "# The broker and the database, as `forebay init` was told.\n\n[mqtt]\nurl = \"mqtt://gate:1883\"\nusername = 'a \
                        \"b\"'\n\n[questdb]\npassword_file = \"/etc/secret\"\n";
        assert_eq!((fragment.path, fragment.text.as_str()), (fragments.join("10-connections.toml"), expected));
    }

    #[test]
    fn what_is_configured_is_not_changed_and_the_rest_gets_a_file_of_its_own() {
        for (text, connections, file) in [
            ("", "[mqtt]\nurl = \"mqtt://gate\"\n", "10-connections.toml:2"),
            ("[mqtt]\nurl = \"mqtt://gate\"\n", "", "forebay.toml:2"),
        ] {
            let (directory, loaded, mut found) = place(text, connections);
            let fragments = directory.path().join("conf.d");
            found.questdb.conf = "http::addr=b:9000;".into();
            let fragment = found.fragment(&loaded, &fragments).expect("sound").expect("differs");
            assert!(!fragment.path.exists() && fragment.text.contains("http::addr=b:9000;"), "{fragment:?}");
            assert!(!fragment.text.contains("mqtt"), "{fragment:?}");
            found.mqtt.url = "mqtt://other".into();
            let failure = found.fragment(&loaded, &fragments).expect_err("configured");
            let told = failure.error.expect("an error").to_string();
            assert_eq!(failure.exit, Exit::Usage);
            let what = "mqtt.url is \"mqtt://gate\", and init was told \"mqtt://other\"";
            assert!(told.contains(file) && told.contains(what) && !told.contains("questdb"), "{told}");
        }
    }

    #[test]
    fn an_address_with_a_secret_is_asked_again_and_the_same_in_other_words_is_no_change() {
        let mut answers = Answers::from_text("mqtt://u:p@gate\ngate\n");
        let mut ask = |given: Option<&str>| {
            address(Server::Broker, "Broker", "mqtt://gate", given.map(str::to_owned), &mut answers).expect("answered")
        };
        assert_eq!((ask(None), ask(Some("mqtt://other"))), ("mqtt://gate".into(), "mqtt://other".into()));
    }
}
