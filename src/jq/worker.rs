//! The process that runs a program: the daemon's handle of it, and what happens inside.
//!
//! A thread of the daemon's starts the process, writes documents to it and reads its answers, one
//! after the other. It lives as long as the process: the kernel ends a worker together with the
//! thread that started it, and not only with the daemon.

use std::{
    fs,
    io::{self, BufWriter, Read, Write},
    os::{fd::AsFd, unix::process::CommandExt, unix::process::ExitStatusExt},
    process::{Child, Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::AtomicBool,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use procfs::process::Process;
use rustix::process::{Signal, set_parent_process_death_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::{
    error::{JqError, cut},
    frame,
    limits::{LOOK_EVERY, MEMORY_LIMIT_BYTES, STACK_BYTES, START_LIMIT, TIME_LIMIT},
    program::Program,
};

/// Says how a worker's process is started.
pub(super) type Start = fn() -> Command;

/// This program, as a worker.
pub(super) fn forebay() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("forebay").arg("jq-worker");
    command
}

/// What a worker may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    /// To start and to compile its program.
    pub start: Duration,
    /// For a document.
    pub time: Duration,
    /// Resident.
    pub memory_bytes: u64,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { start: START_LIMIT, time: TIME_LIMIT, memory_bytes: MEMORY_LIMIT_BYTES }
    }
}

/// A worker that has compiled its program. Dropped, it is ended.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    /// None once nothing more is sent.
    documents: Option<SyncSender<Vec<u8>>>,
    answers: Receiver<Vec<u8>>,
    attendant: Option<JoinHandle<()>>,
    allowance: Allowance,
    /// Whether it has been seen with more than half of the memory that it may have.
    is_large: bool,
}

impl Worker {
    /// Starts a worker and waits until it has compiled the program.
    pub fn start(start: Start, program: &str, allowance: Allowance) -> Result<Self, JqError> {
        let not_started = |why: String| JqError::NotStarted(cut(&why));
        let (documents, to_send) = sync_channel(1);
        let (received, answers) = sync_channel(1);
        let (tell, told) = sync_channel(1);
        let attend = move || attend(start(), &tell, &to_send, &received);
        let attendant = thread::Builder::new().name("jq-attendant".to_owned()).spawn(attend);
        let attendant = attendant.map_err(|error| not_started(error.to_string()))?;
        let child = match told.recv() {
            Ok(Ok(child)) => child,
            Ok(Err(error)) => return Err(not_started(error.to_string())),
            Err(_) => return Err(not_started("its thread ended".to_owned())),
        };
        let attendant = Some(attendant);
        let mut worker = Self { child, documents: Some(documents), answers, attendant, allowance, is_large: false };
        match worker.ask(program.as_bytes(), allowance.start) {
            Ok(_) => Ok(worker),
            Err(JqError::TooSlow) => Err(not_started(format!("not ready after {} s", allowance.start.as_secs()))),
            Err(JqError::Failed(why)) => Err(not_started(why)),
            Err(JqError::Ended(how)) => Err(not_started(format!("it ended ({how})"))),
            Err(other) => Err(not_started(other.to_string())),
        }
    }

    /// Has the program run on a document. After an error that costs a worker, it is of no more use.
    pub fn run(&mut self, document: &[u8]) -> Result<Vec<u8>, JqError> {
        if document.len() > frame::MAX_FRAME_BYTES {
            return Err(JqError::failed("the document is too large for it"));
        }
        self.ask(document, self.allowance.time)
    }

    /// Whether it is alive and of moderate size.
    pub fn is_fit(&mut self) -> bool {
        // Memory that a program has given back is not always given back to the kernel.
        !self.is_large && matches!(self.child.try_wait(), Ok(None))
    }

    fn ask(&mut self, request: &[u8], limit: Duration) -> Result<Vec<u8>, JqError> {
        let deadline = Instant::now() + limit;
        // There is room for one: the last was taken before its answer came.
        let is_sent = self.documents.as_ref().is_some_and(|documents| documents.try_send(request.to_vec()).is_ok());
        if !is_sent {
            return Err(self.ended());
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.answers.recv_timeout(left.min(LOOK_EVERY)) {
                Ok(answer) => return frame::answer(answer).unwrap_or_else(|| Err(self.ended())),
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
                Err(RecvTimeoutError::Timeout) if left.is_zero() => return Err(JqError::TooSlow),
                Err(RecvTimeoutError::Timeout) => self.look()?,
            }
        }
    }

    /// Looks how much memory it has. What cannot be read does not count.
    fn look(&mut self) -> Result<(), JqError> {
        let sizes = Process::new(self.child.id().cast_signed()).and_then(|process| process.statm());
        let resident_bytes = sizes.map_or(0, |sizes| sizes.resident.saturating_mul(procfs::page_size()));
        self.is_large |= resident_bytes > self.allowance.memory_bytes / 2;
        if resident_bytes > self.allowance.memory_bytes { Err(JqError::TooMuchMemory) } else { Ok(()) }
    }

    /// How it ended. It is ended if it has not.
    fn ended(&mut self) -> JqError {
        // One that is ending already keeps its own reason.
        _ = self.child.kill();
        JqError::Ended(match self.child.wait() {
            Ok(status) => status.signal().map_or_else(|| status.to_string(), |signal| format!("signal {signal}")),
            Err(error) => error.to_string(),
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.documents = None;
        _ = self.child.kill();
        _ = self.child.wait();
        // With the process gone, its thread can neither read nor write, and ends.
        if let Some(attendant) = self.attendant.take() {
            _ = attendant.join();
        }
    }
}

/// What the thread of a worker does: starts the process, hands it over, and carries requests and
/// answers until either side is gone.
fn attend(
    mut command: Command,
    tell: &SyncSender<io::Result<Child>>,
    requests: &Receiver<Vec<u8>>,
    answers: &SyncSender<Vec<u8>>,
) {
    let command = command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    // A group of its own: an interrupt at the terminal is the daemon's, which still has messages.
    let mut child = match command.process_group(0).spawn() {
        Ok(child) => child,
        Err(error) => {
            _ = tell.send(Err(error));
            return;
        }
    };
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let (Some(input), Some(mut output)) = (input, output) else { return };
    let mut input = BufWriter::new(input);
    if tell.send(Ok(child)).is_err() {
        return;
    }
    for request in requests {
        if frame::send(&mut input, &[], &request).is_err() {
            return;
        }
        let Ok(Some(answer)) = frame::take(&mut output) else { return };
        if answers.send(answer).is_err() {
            return;
        }
    }
}

/// What `forebay jq-worker` does: takes a program and then documents from standard input, and
/// answers on standard output until there are no more. Nothing else may write there.
pub fn serve() -> ExitCode {
    _ = set_parent_process_death_signal(Some(Signal::KILL));
    // When memory is short, it is the first to go, and leaves nothing of it on the disk.
    _ = fs::write("/proc/self/oom_score_adj", "1000");
    _ = fs::write("/proc/self/coredump_filter", "0");
    // The daemon still has messages when its service is told to stop; its worker ends with it.
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
    }
    // Standard output as Rust has it looks for ends of lines in all that is written.
    let output = io::stdout().as_fd().try_clone_to_owned().map(fs::File::from);
    let work = move || output.and_then(|output| answer(&mut io::stdin().lock(), &mut BufWriter::new(output)));
    // What was checked compiles here, too, however deeply it is nested.
    let worked = thread::Builder::new().stack_size(STACK_BYTES).spawn(work).map(JoinHandle::join);
    match worked {
        Ok(Ok(Ok(()))) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Takes a program and then documents, and answers each.
fn answer(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    let Some(program) = frame::take(input)? else { return Ok(()) };
    let program = match Program::compile(&String::from_utf8_lossy(&program)) {
        Ok(program) => program,
        Err(why) => return frame::send_answer(output, &Err(JqError::Failed(why))),
    };
    frame::send_answer(output, &Ok(Vec::new()))?;
    while let Some(document) = frame::take(input)? {
        frame::send_answer(output, &program.run(&document))?;
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// This test program as a worker. It writes to its standard output by itself, so that the
    /// answers have another descriptor.
    pub fn this_test() -> Command {
        let own = std::env::current_exe().expect("this program");
        let mut command = Command::new("/bin/sh");
        // A worker has no environment: what the test looks at is set behind that.
        let script = format!("export {ACTS}=1; exec 3>&1 1>/dev/null; exec \"$0\" \"$@\"");
        command.args(["-c", &script]).arg(own);
        let path = module_path!().split_once("::").map_or("", |(_, path)| path);
        command.arg(format!("{path}::acts_as_a_worker")).args(["--exact", "--nocapture"]);
        command
    }

    impl Worker {
        /// Ends the process, as the kernel might.
        pub fn end(&mut self) {
            self.child.kill().expect("ended");
            self.child.wait().expect("waited for");
        }
    }

    /// Set where other tests start this program as a worker.
    const ACTS: &str = "FOREBAY_TEST_ACTS_AS_JQ_WORKER";

    #[test]
    fn acts_as_a_worker() {
        if std::env::var_os(ACTS).is_some() {
            let mut output = fs::File::options().write(true).open("/proc/self/fd/3").expect("where answers go");
            _ = answer(&mut io::stdin().lock(), &mut output);
            return;
        }
        let mut input = Vec::new();
        for frame in [&b".a"[..], b"{\"a\":1}", b"{"] {
            frame::send(&mut input, &[], frame).expect("memory");
        }
        let mut output = Vec::new();
        answer(&mut input.as_slice(), &mut output).expect("memory");
        let mut answers = output.as_slice();
        let mut next = || frame::take(&mut answers).expect("memory").and_then(frame::answer).expect("an answer");
        assert_eq!(next(), Ok(Vec::new()), "it is ready");
        assert_eq!(next(), Ok(b"[1]".to_vec()));
        assert!(matches!(next(), Err(JqError::NotJson(_))));
    }

    /// A worker that is ended soon, should it have to be.
    fn worker(program: &str) -> Worker {
        let time = Duration::from_millis(300);
        let start = Duration::from_secs(30);
        Worker::start(this_test, program, Allowance { start, time, memory_bytes: 96 << 20 }).expect("starts")
    }

    #[test]
    fn a_worker_answers_one_document_after_the_other() {
        let mut worker = worker("if .a then .a[] else error(\"no a\") end");
        assert_eq!(worker.run(b"{\"a\":[1,2]}"), Ok(b"[1,2]".to_vec()));
        assert_eq!(worker.run(b"{}"), Err(JqError::Failed("no a".into())));
        assert!(matches!(worker.run(b"{"), Err(JqError::NotJson(_))));
        let long = format!("{{\"a\":[\"{}\"]}}", "x".repeat(1 << 20));
        assert_eq!(worker.run(long.as_bytes()).map(|rows| rows.len()), Ok((1 << 20) + 4));
        assert_eq!(worker.run(b"{\"a\":[1]}"), Ok(b"[1]".to_vec()));
        assert_eq!(worker.run(format!("{{\"a\":{:?}}}", vec![7; 10_001]).as_bytes()), Err(JqError::TooManyRows));
        assert!(worker.is_fit());
        assert!(matches!(worker.run(&vec![0; frame::MAX_FRAME_BYTES + 1]), Err(JqError::Failed(_))));
    }

    #[test]
    fn a_program_without_an_end_is_ended() {
        for program in ["def f: f; f", "last(range(1e15))", "[limit(1; repeat(empty))]"] {
            assert_eq!(worker(program).run(b"0"), Err(JqError::TooSlow), "{program}");
        }
    }

    #[test]
    fn a_document_that_is_not_read_is_no_obstacle() {
        fn deaf() -> Command {
            let mut command = Command::new("/bin/sh");
            // The answer to the program, and nothing more.
            command.args(["-c", "printf '\\001\\000\\000\\000r'; exec sleep 1000"]);
            command
        }
        let time = Duration::from_millis(50);
        let allowance = Allowance { time, ..Allowance::default() };
        let mut worker = Worker::start(deaf, ".", allowance).expect("starts");
        assert_eq!(worker.run(&vec![b' '; 4 << 20]), Err(JqError::TooSlow));
    }

    #[test]
    fn a_program_that_takes_memory_is_ended() {
        for program in ["[range(1e12)]", "reduce range(1e12) as $i (\"\"; . + \"0123456789\")"] {
            let start = Duration::from_secs(30);
            let allowance = Allowance { start, time: start, memory_bytes: 64 << 20 };
            let mut worker = Worker::start(this_test, program, allowance).expect("starts");
            assert_eq!(worker.run(b"0"), Err(JqError::TooMuchMemory), "{program}");
            assert!(!worker.is_fit());
        }
    }

    #[test]
    fn a_program_that_calls_itself_ends_its_worker() {
        let mut worker = worker("def f: [f]; f");
        assert!(matches!(worker.run(b"0"), Err(JqError::Ended(how)) if how.starts_with("signal ")));
        assert!(!worker.is_fit());
        assert!(matches!(worker.run(b"0"), Err(JqError::Ended(_))));
    }

    #[test]
    fn a_worker_that_cannot_start_says_why() {
        let not_started = |start: Start, program: &str| match Worker::start(start, program, Allowance::default()) {
            Err(JqError::NotStarted(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(not_started(|| Command::new("/nowhere/forebay"), ".").contains("No such file"));
        assert_eq!(not_started(|| Command::new("/bin/false"), "."), "it ended (exit status: 1)");
        // It says what is no answer, and ends by itself or is ended.
        assert!(not_started(|| Command::new("/bin/date"), ".").starts_with("it ended ("));
        assert_eq!(not_started(this_test, ".a | foo"), "line 1, column 6: there is no filter foo");
    }

    #[test]
    fn nothing_is_left_of_a_worker() {
        let mut worker = worker("def f: f; if . then f else . end");
        let pid = worker.child.id().cast_signed();
        assert_eq!(worker.run(b"false"), Ok(b"[false]".to_vec()));
        assert!(Process::new(pid).is_ok());
        drop(worker);
        assert!(Process::new(pid).is_err());
    }
}
