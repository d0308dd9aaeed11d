//! A mosquitto of its own, on a free port, with its files in a scratch directory.

use std::{fmt::Write as _, path::Path, process::Command, time::Duration};

use rustix::process::Signal;

use super::{
    eventually,
    process::{Guarded, free_port},
    scratch::{Scratch, scratch},
    wire::Publisher,
};

/// A broker.
pub struct Mosquitto {
    /// MQTT port on the loopback.
    pub port: u16,
    /// MQTT over WebSocket, if asked for.
    pub websocket_port: Option<u16>,
    login: Option<(String, String)>,
    running: Option<Guarded>,
    // Removed once nothing runs in it any more.
    dir: Scratch,
}

/// What differs between brokers.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Keep sessions and queued messages across a clean restart.
    pub persistence: bool,
    /// Save them after every 500 changes too, so that a kill costs no more than the messages of a moment. Each time all of the queue is
    /// written: with a long one the broker does nothing else.
    pub autosave: bool,
    /// The only user, with its password; anyone may connect when absent.
    pub login: Option<(String, String)>,
    /// Listen for WebSockets too.
    pub websocket: bool,
    /// The highest QoS it grants.
    pub max_qos: Option<u8>,
}

impl Mosquitto {
    /// A broker that forgets everything when it stops, open to anyone.
    pub fn start() -> Self {
        Self::with(&Options::default())
    }

    /// A broker with `options`, started.
    pub fn with(options: &Options) -> Self {
        let dir = scratch("mosquitto");
        let port = free_port();
        let websocket_port = options.websocket.then(free_port);
        let mut text = format!(
            "user root\nlistener {port} 127.0.0.1\nmax_queued_messages 0\nmax_queued_bytes 0\nset_tcp_nodelay true\n\
             log_type error\nlog_type warning\nlog_type notice\npersistence {}\npersistence_location {}/\n",
            options.persistence,
            dir.display()
        );
        if options.autosave {
            text.push_str("autosave_on_changes true\nautosave_interval 500\n");
        }
        if let Some((user, password)) = &options.login {
            let passwords = dir.join("passwords");
            write_password(&passwords, user, password);
            let _ = writeln!(text, "allow_anonymous false\npassword_file {}", passwords.display());
        } else {
            text.push_str("allow_anonymous true\n");
        }
        if let Some(qos) = options.max_qos {
            let _ = writeln!(text, "max_qos {qos}");
        }
        if let Some(port) = websocket_port {
            let _ = writeln!(text, "listener {port} 127.0.0.1\nprotocol websockets");
        }
        std::fs::write(dir.join("mosquitto.conf"), text).expect("mosquitto.conf");
        let mut broker = Self { port, websocket_port, login: options.login.clone(), running: None, dir };
        broker.restart();
        broker
    }

    /// URL for forebay's `mqtt.url`.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Starts it (again) and waits until it accepts a client.
    pub fn restart(&mut self) {
        assert!(self.running.is_none(), "mosquitto runs already");
        let program = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto", "/usr/local/sbin/mosquitto"]
            .iter()
            .map(Path::new)
            .find(|path| path.exists())
            .expect("mosquitto is missing: run tests/tools/install-deps test");
        let conf = self.dir.join("mosquitto.conf");
        self.running = Some(Guarded::spawn(program, &self.dir.join("log"), |command| {
            command.arg("-c").arg(conf);
        }));
        eventually(Duration::from_secs(20), "mosquitto accepts a client", || self.publisher().is_ok());
    }

    /// Publishes texts at QoS 1, and waits until all are acknowledged.
    #[track_caller]
    pub fn publish(&self, messages: &[(&str, &str)]) {
        let mut publisher = self.publisher().expect("connects");
        for (topic, payload) in messages {
            publisher.publish(topic, payload.as_bytes()).expect("publishes");
        }
        publisher.drain(Duration::from_mins(1)).expect("the broker acknowledges");
    }

    /// A connection to publish over.
    pub fn publisher(&self) -> std::io::Result<Publisher> {
        Publisher::connect(self.port, self.login.as_ref().map(|(user, password)| (user.as_str(), password.as_str())))
    }

    /// Stops it in order: with persistence it saves its sessions and queues.
    pub fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.signal(Signal::TERM);
            running.wait(Duration::from_secs(20));
        }
    }

    /// Kills it; everything it held in memory is gone.
    pub fn kill9(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill9();
        }
    }
}

fn write_password(file: &Path, user: &str, password: &str) {
    let status = Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(file)
        .args([user, password])
        .status()
        .expect("mosquitto_passwd is missing: run tests/tools/install-deps test");
    assert!(status.success(), "mosquitto_passwd: {status}");
}
