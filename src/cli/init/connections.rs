//! The broker and the database: which, and whether they let forebay in.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
};

use super::{InitArgs, ask::Answers};
use crate::{
    cli::{
        Exit, Failure, block_on,
        connect::{self, NotLetIn},
        fragment::{Fragment, not_written, write_new},
        out::say,
    },
    files::access::other::Account,
    mqtt::{self, ConnectError, url},
    settings::{Mqtt, Questdb, Settings},
};

/// The file of the connections.
pub const FILE: &str = "10-connections.toml";
/// Who reads a password: its owner.
const SECRET_MODE: u32 = 0o600;
/// The packaged daemon's user.
const USER: &str = "forebay";
const BROKER_PORT: u16 = 1_883;

/// What was found, in words of the settings.
pub struct Connections {
    /// `[mqtt]`, with what was answered.
    pub mqtt: Mqtt,
    /// `[questdb]`, likewise.
    pub questdb: Questdb,
}

/// Asks for both and tries them. `directory` is that of the configuration.
pub fn ask(
    args: &InitArgs,
    settings: &Settings,
    directory: &Path,
    answers: &mut Answers,
) -> Result<Connections, Failure> {
    let mqtt = broker(args, &settings.mqtt, directory, answers)?;
    let questdb = database(args, &settings.questdb, directory, answers)?;
    Ok(Connections { mqtt, questdb })
}

impl Connections {
    /// The fragment with what differs from the settings in force; none where nothing does.
    pub fn fragment(&self, settings: &Settings, fragments: &Path) -> Option<Fragment> {
        let (mqtt, questdb) = (&settings.mqtt, &settings.questdb);
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let mut text = String::new();
        section(
            &mut text,
            "mqtt",
            &[
                ("url", Some(&mqtt.url), Some(self.mqtt.url.clone())),
                ("username", mqtt.username.as_ref(), self.mqtt.username.clone()),
                ("password_file", path(&mqtt.password_file).as_ref(), path(&self.mqtt.password_file)),
            ],
        );
        section(
            &mut text,
            "questdb",
            &[
                ("conf", Some(&questdb.conf), Some(self.questdb.conf.clone())),
                ("username", questdb.username.as_ref(), self.questdb.username.clone()),
                ("password_file", path(&questdb.password_file).as_ref(), path(&self.questdb.password_file)),
            ],
        );
        let text = format!("# The broker and the database, as `forebay init` was told.\n{text}");
        text.contains('[').then(|| Fragment { path: fragments.join(FILE), text })
    }
}

/// The keys of a section that differ.
fn section(text: &mut String, name: &str, keys: &[(&str, Option<&String>, Option<String>)]) {
    let mut is_begun = false;
    for (key, before, after) in keys {
        let Some(after) = after.as_ref().filter(|after| *before != Some(*after)) else { continue };
        // Writing into memory does not fail.
        if !std::mem::replace(&mut is_begun, true) {
            let _ = writeln!(text, "\n[{name}]");
        }
        let _ = writeln!(text, "{key} = {}", toml::Value::from(after.as_str()));
    }
}

fn broker(args: &InitArgs, mqtt: &Mqtt, directory: &Path, answers: &mut Answers) -> Result<Mqtt, Failure> {
    let mut mqtt = Mqtt {
        username: args.username.clone().or_else(|| mqtt.username.clone()),
        password_file: args.password_file.clone().or_else(|| mqtt.password_file.clone()),
        ..mqtt.clone()
    };
    let mut given = args.broker.clone();
    loop {
        let url = match given.take() {
            Some(url) => url,
            None => answers.text("Broker", &mqtt.url)?,
        };
        mqtt.url = broker_url(&url);
        let tried = match url::BrokerUrl::parse(&mqtt.url) {
            Ok(_) => block_on(async { Ok(mqtt::probe(&mqtt, &[]).await) })?.map(|_| ()),
            Err(why) => Err(ConnectError::from(why)),
        };
        let Err(why) = tried else {
            say(&format!("broker {}: connected and let in", url::shown(&mqtt.url)));
            return Ok(mqtt);
        };
        let told = format!("broker {}: {why}", url::shown(&mqtt.url));
        if !answers.are_given() {
            let exit = if why.needs_hands() { Exit::Usage } else { Exit::Failed };
            return Err(Failure::new(exit, format!("{told}\nnothing was written")));
        }
        say(&told);
        if matches!(why, ConnectError::BadCredentials | ConnectError::NotAuthorised) {
            let name = answers.text("Broker's user name", mqtt.username.as_deref().unwrap_or(USER))?;
            mqtt.password_file = Some(password(&name, &directory.join("mqtt-password"), args, answers)?);
            mqtt.username = Some(name);
            given = Some(mqtt.url.clone());
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

fn database(args: &InitArgs, questdb: &Questdb, directory: &Path, answers: &mut Answers) -> Result<Questdb, Failure> {
    let mut questdb = Questdb {
        username: args.questdb_username.clone().or_else(|| questdb.username.clone()),
        password_file: args.questdb_password_file.clone().or_else(|| questdb.password_file.clone()),
        ..questdb.clone()
    };
    let mut given = args.questdb.clone();
    loop {
        let text = match given.take() {
            Some(text) => text,
            None => answers.text("QuestDB", &questdb.conf)?,
        };
        questdb.conf = database_conf(&text);
        let Err(NotLetIn { exit, why, is_login }) = connect::try_database(&questdb) else {
            say(&format!("database {}: connected and let in", questdb.conf));
            return Ok(questdb);
        };
        say(&format!("database {}: {why}", questdb.conf));
        if exit == Exit::Usage && !answers.are_given() {
            return Err(Failure::new(exit, "the database refuses these settings; nothing was written"));
        }
        if is_login {
            let name = answers.text("QuestDB's user name", questdb.username.as_deref().unwrap_or("admin"))?;
            questdb.password_file = Some(password(&name, &directory.join("questdb-password"), args, answers)?);
            questdb.username = Some(name);
            given = Some(questdb.conf.clone());
        } else if exit != Exit::Usage
            && answers.agrees("Readings wait in the ring until it answers. Go on with this database")?
        {
            return Ok(questdb);
        }
    }
}

/// A configuration string of QuestDB's clients; a host and port, or an address, becomes one.
fn database_conf(text: &str) -> String {
    if text.contains("::") && text.contains('=') {
        return text.to_owned();
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let address = rest.trim_end_matches('/');
    let address = if address.contains(':') { address.to_owned() } else { format!("{address}:9000") };
    format!("{scheme}::addr={address};")
}

/// The file with a user's password: one that is there, or a new one with what is answered.
fn password(name: &str, usual: &Path, args: &InitArgs, answers: &mut Answers) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(answers.text(&format!("File with {name}'s password"), &usual.display().to_string())?);
    if path.exists() {
        return Ok(path);
    }
    if args.dry_run {
        let what =
            format!("{} is not there, and --dry-run writes nothing: write the password into it first", path.display());
        return Err(Failure::new(Exit::Usage, what));
    }
    let secret = answers.secret(&format!("{name}'s password (kept in {})", path.display()))?;
    write_new(&path, &format!("{secret}\n"), SECRET_MODE).map_err(|error| not_written(&path, &error, ""))?;
    hand_over(&path);
    say(&format!("wrote {}", path.display()));
    Ok(path)
}

/// Gives a secret to the daemon's user, where there is one. `check` tells where that user cannot read it.
fn hand_over(path: &Path) {
    let owner = Account::named(USER).map(|account| account.id());
    let is_root = rustix::process::geteuid().is_root();
    if let Some(owner) = owner.filter(|_| is_root)
        && let Err(why) = chown(path, Some(owner), None)
    {
        say(&format!("warning: {} can't be given to user {USER}: {why}", path.display()));
    }
    debug_assert!(fs::metadata(path).is_ok(), "it was written");
}

#[cfg(test)]
mod tests {
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
            assert_eq!(broker_url(text), url);
        }
        for (text, conf) in [
            ("http::addr=a:9000;username=x;", "http::addr=a:9000;username=x;"),
            ("a:9001", "http::addr=a:9001;"),
            ("a", "http::addr=a:9000;"),
            ("https://a:9000/", "https::addr=a:9000;"),
        ] {
            assert_eq!(database_conf(text), conf);
        }
    }

    #[test]
    fn the_fragment_has_what_differs() {
        let settings = Settings::default();
        let mut found = Connections { mqtt: settings.mqtt.clone(), questdb: settings.questdb.clone() };
        assert_eq!(found.fragment(&settings, Path::new("/c")), None);
        found.mqtt.url = "mqtt://gate:1883".into();
        found.mqtt.username = Some("a \"b\"".into());
        found.questdb.password_file = Some("/etc/secret".into());
        let fragment = found.fragment(&settings, Path::new("/c")).expect("differs");
        let expected = "# The broker and the database, as `forebay init` was told.\n\n[mqtt]\nurl = \"mqtt://gate:1883\"\nusername = 'a \
                        \"b\"'\n\n[questdb]\npassword_file = \"/etc/secret\"\n";
        assert_eq!((fragment.path.as_path(), fragment.text.as_str()), (Path::new("/c/10-connections.toml"), expected));
    }
}
