//! Directories for the tests' files, and who removes them: a guard, when its test ends; a guardian (`tests/tools/guardian`), when
//! this process ends, however it ends; the next run, when the guardian was killed too.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    ops::Deref,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use super::{disk, unique};

/// How long a program that was killed may go on to make files.
const LIMIT: Duration = Duration::from_secs(10);
/// Most bytes of a file that a failed test keeps.
pub const KEPT_BYTES: u64 = 1 << 20;

/// A directory that is removed when this is dropped. A test that fails keeps its logs and configuration there, until the next run.
pub struct Scratch(PathBuf);

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !thread::panicking() {
            remove(&self.0);
        } else if keep_texts(&self.0) {
            // The guardian leaves what has been kept.
            let _ = fs::write(run().dir.join("failed"), "");
            eprintln!("logs and configuration: {}", self.0.display());
        }
    }
}

/// A new, empty directory below the build directory.
#[must_use = "the directory goes with it"]
pub fn scratch(stem: &str) -> Scratch {
    let dir = run().dir.join(unique(stem));
    fs::create_dir_all(&dir).expect("a scratch directory");
    Scratch(dir)
}

/// A directory for sockets: a Unix socket's path is limited to 107 bytes, which a deep build directory exceeds. It goes with the process.
pub fn sockets() -> &'static Path {
    &run().sockets
}

/// What this process has of its own.
struct Run {
    dir: PathBuf,
    sockets: PathBuf,
    /// The end of its standard input tells the guardian of this process's end.
    _guardian: Child,
}

const SOCKETS: &str = "forebay-it-";

fn run() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("servers");
        remove_leftovers(&root, "");
        remove_leftovers(&std::env::temp_dir(), SOCKETS);
        let id = std::process::id();
        let dir = root.join(id.to_string());
        let sockets = std::env::temp_dir().join(format!("{SOCKETS}{id}"));
        let guardian = guardian(&dir, &sockets);
        fs::create_dir_all(&dir).expect("a directory of this run");
        fs::create_dir_all(&sockets).expect("a directory for sockets");
        // As /tmp itself: some programs run as another user.
        fs::set_permissions(&sockets, fs::Permissions::from_mode(0o1777)).expect("its mode");
        Run { dir, sockets, _guardian: guardian }
    })
}

fn guardian(dir: &Path, sockets: &Path) -> Child {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/guardian");
    let mut command = Command::new(program);
    // In a process group of its own, so that Ctrl-C does not end it.
    command.arg(dir).arg(sockets).process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("tests/tools/guardian starts")
}

/// Removes what processes that are gone have left in `root`: entries named by a prefix and a process's id. What is named otherwise is
/// of an earlier version where there is no prefix, and not ours where there is one.
pub fn remove_leftovers(root: &Path, prefix: &str) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(id) = name.strip_prefix(prefix) else { continue };
        match id.parse::<u32>() {
            Ok(id) if Path::new(&format!("/proc/{id}")).exists() => continue,
            Err(_) if !prefix.is_empty() => continue,
            _ => {}
        }
        disk::unmount_below(&entry.path());
        let _ = fs::remove_dir_all(entry.path());
    }
}

/// Removes a directory, and says so when it can't be.
fn remove(dir: &Path) {
    let start = Instant::now();
    while let Err(why) = fs::remove_dir_all(dir) {
        // A killed program's children may still be at work, and what root made only root removes.
        if !dir.exists() || disk::remove_as_root(dir) {
            return;
        }
        assert!(start.elapsed() < LIMIT, "{} can't be removed: {why}", dir.display());
        thread::sleep(super::POLL_INTERVAL);
    }
}

/// Keeps the end of each text in a directory, and nothing else: no directory below it, no ring. False when there is none: then the
/// directory is gone.
pub fn keep_texts(dir: &Path) -> bool {
    let mut kept = false;
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = fs::remove_dir_all(&path).is_err() && disk::remove_as_root(&path);
        } else if entry.file_type().is_ok_and(|kind| kind.is_file()) && keep_end(&path).is_ok_and(|is_text| is_text) {
            kept = true;
        } else {
            let _ = fs::remove_file(&path);
        }
    }
    if !kept {
        let _ = fs::remove_dir(dir);
    }
    kept
}

/// Cuts a text to its end; false when the file is none.
fn keep_end(path: &Path) -> std::io::Result<bool> {
    let mut file = File::open(path)?;
    let mut start = Vec::new();
    (&file).take(4096).read_to_end(&mut start)?;
    if start.contains(&0) {
        return Ok(false);
    }
    let length = file.metadata()?.len();
    if length > KEPT_BYTES {
        let mut end = Vec::new();
        file.seek(SeekFrom::Start(length - KEPT_BYTES))?;
        file.take(KEPT_BYTES).read_to_end(&mut end)?;
        File::create(path)?.write_all(&end)?;
    }
    Ok(true)
}
