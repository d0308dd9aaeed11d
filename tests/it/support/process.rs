//! Child processes that never outlive the test.

use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU16, Ordering},
        mpsc::{Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::scratch;

type Spawn = (Command, Sender<std::io::Result<Child>>);

/// A child process; dropping it kills it.
pub struct Guarded {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Guarded {
    /// Starts `program`; its output goes to the file `log` (appended). The kernel kills it when this process ends, however
    /// it ends. What it puts into the directory for temporary files goes with this process, too.
    ///
    /// # Panics
    /// When it can't be started.
    pub fn spawn(program: &Path, log: &Path, configure: impl FnOnce(&mut Command)) -> Self {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let output = File::options().create(true).append(true).open(log).expect("log file");
        let mut command = Command::new("setpriv");
        command.arg("--pdeathsig=KILL").arg("--").arg(program).env("TMPDIR", scratch::sockets());
        configure(&mut command);
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("log file")).stderr(output);
        let child =
            spawn_from_lasting_thread(command).unwrap_or_else(|why| panic!("{name} could not be started: {why}"));
        Self { child, name, log: log.to_owned() }
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        // An error means it is gone already, which the caller finds by waiting for it.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// The exit status, once it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("wait")
    }

    /// Kills it with SIGKILL and waits for it.
    pub fn kill9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it has not within `limit`.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(start.elapsed() < limit, "{} still runs after {limit:?}\n{}", self.name, self.log_tail());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The last lines it wrote.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(40)..].join("\n");
        format!("--- end of {} ---\n{tail}\n---", self.log.display())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill9();
        if thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
    }
}

/// The kernel's parent-death signal is bound to the thread that forked, and a test's thread ends with the test. Servers
/// shared between tests live on, so everything is forked by one thread that stays.
fn spawn_from_lasting_thread(command: Command) -> std::io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Spawn>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, receiver) = channel::<Spawn>();
        thread::spawn(move || {
            for (mut command, reply) in receiver {
                let _ = reply.send(command.spawn());
            }
        });
        sender
    });
    let (reply, result) = channel();
    spawner.send((command, reply)).expect("the spawner stays");
    result.recv().expect("the spawner answers")
}

/// A free TCP port on the loopback, below the range that outgoing connections use, so that a server may be stopped and
/// find its port free again.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    let offset = (std::process::id().wrapping_mul(37) % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let port = FIRST + offset.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}
