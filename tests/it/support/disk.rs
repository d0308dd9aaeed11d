//! Real file systems of a size of their own: full ones, read-only ones, and a disk that stops taking writes.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
};

use super::scratch::{Scratch, scratch};

/// A mounted file system; dropping it unmounts it.
pub struct Volume {
    at: PathBuf,
    image: Option<PathBuf>,
    _dir: Scratch,
}

impl Volume {
    /// An ext4 of so many MiB on a loop device, whose image is a sparse file.
    pub fn ext4(mebibytes: u64) -> Self {
        let dir = scratch("ext4");
        Self::on_image(dir.join("image"), dir, mebibytes)
    }

    /// A card of 1 GB, with a journal and blocks reserved for root as `mkfs.ext4` makes it by
    /// itself.
    pub fn card() -> Self {
        const BYTES: u64 = 1_000_000_000;
        let dir = scratch("card");
        Self::made(dir.join("image"), dir, BYTES, &["-q", "-E", "nodiscard"])
    }

    /// A file system in memory.
    fn tmpfs(mebibytes: u64) -> Self {
        let dir = scratch("tmpfs");
        let at = dir.to_owned();
        let options = format!("size={mebibytes}M,mode=777");
        as_root(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at));
        Self { at, image: None, _dir: dir }
    }

    fn on_image(image: PathBuf, dir: Scratch, mebibytes: u64) -> Self {
        // Without a journal the ring's own writes are all there is; without reserved blocks full is full, for root too.
        let options = ["-q", "-b", "4096", "-m", "0", "-O", "^has_journal", "-E", "nodiscard"];
        Self::made(image, dir, mebibytes << 20, &options)
    }

    fn made(image: PathBuf, dir: Scratch, bytes: u64, options: &[&str]) -> Self {
        let at = dir.join("mount");
        File::create(&image).and_then(|file| file.set_len(bytes)).expect("an image");
        fs::create_dir_all(&at).expect("a place to mount at");
        as_root(Command::new("mkfs.ext4").args(options).arg(&image));
        let volume = Self { at, image: Some(image), _dir: dir };
        volume.mount();
        as_root(Command::new("chmod").arg("777").arg(&volume.at));
        volume
    }

    /// Where it is mounted.
    pub fn at(&self) -> &Path {
        &self.at
    }

    fn mount(&self) {
        let image = self.image.as_ref().expect("an image");
        as_root(Command::new("mount").args(["-o", "loop"]).arg(image).arg(&self.at));
    }

    fn unmount(&self) {
        as_root(Command::new("umount").arg(&self.at));
    }

    /// Name of the device it is on.
    fn device(&self) -> String {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let at = self.at.display().to_string();
        let line = mounts.lines().find(|line| line.split(' ').nth(1) == Some(&at)).unwrap_or_default();
        line.split(' ').next().and_then(|device| device.strip_prefix("/dev/")).unwrap_or_default().to_owned()
    }

    /// The file in which the system keeps the length in KiB of the device's longest request.
    fn request_limit(&self) -> String {
        format!("/sys/block/{}/queue/max_sectors_kb", self.device())
    }

    /// Makes it read-only.
    pub fn set_read_only(&self) {
        as_root(Command::new("mount").args(["-o", "remount,ro"]).arg(&self.at));
    }

    /// Takes all the space there is left.
    pub fn fill(&self) {
        let mut filler = File::create(self.filler()).expect("a file that takes the space");
        // The last bytes of a block in smaller and smaller pieces.
        for piece in [1 << 16, 1 << 12, 1] {
            let bytes = vec![1; piece];
            loop {
                match filler.write(&bytes) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{}: {error}", self.at.display()),
                }
            }
        }
        // Allocation that is delayed has promised more than there is.
        let _ = filler.sync_all();
    }

    /// Gives back what [`Self::fill`] took.
    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("the filler goes");
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }

    /// Names of what is in it.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.at).expect("its directory").flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.retain(|name| name != "lost+found" && name != "filler");
        names
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily: whatever still has a file open there ends on its own.
        let _ = root_command(Command::new("umount").arg("-l").arg(&self.at)).status();
    }
}

/// An ext4 on a loop device whose image lies on a small file system in memory. While that one is full, blocks that were never
/// written cannot be: the device answers with an error when the system writes them out, as a dying disk does.
///
/// A loop device whose image takes only the first part of a request calls the request done (Linux 6.18), which is a disk that lies and
/// not one that fails. So a request has one block here, which is a page of the image and is taken whole or not at all.
pub struct FailingDisk {
    front: Volume,
    back: Volume,
    /// What the device's longest request was before, for the next who uses the device.
    request_kib: String,
}

/// Length of a request of one block.
const ONE_BLOCK_KIB: &str = "4";

impl FailingDisk {
    /// A healthy one.
    pub fn new() -> Self {
        const MEBIBYTES: u64 = 64;
        let back = Volume::tmpfs(MEBIBYTES);
        let front = Volume::on_image(back.at().join("image"), scratch("failing"), MEBIBYTES);
        let limit = front.request_limit();
        let request_kib = fs::read_to_string(&limit).expect("a loop device").trim().to_owned();
        write_as_root(&limit, ONE_BLOCK_KIB);
        Self { front, back, request_kib }
    }

    /// Where it is mounted.
    pub fn at(&self) -> &Path {
        self.front.at()
    }

    /// Has every block that holds zeros count as never written. Nothing may write meanwhile.
    pub fn forget_zeros(&self) {
        as_root(Command::new("sync").arg("-f").arg(self.at()));
        as_root(Command::new("fallocate").arg("--dig-holes").arg(self.back.at().join("image")));
    }

    /// From now on a write to a block that was never written fails.
    pub fn fail(&self) {
        self.back.fill();
    }

    /// From now on writes succeed again. What has failed stays unwritten.
    pub fn heal(&self) {
        self.back.free();
    }

    /// Has the system forget what it holds of the disk in memory: what is there afterwards was on the disk.
    pub fn forget_cache(&self, meanwhile: impl FnOnce(&Self)) {
        let limit = self.front.request_limit();
        self.front.unmount();
        write_as_root(&limit, &self.request_kib);
        meanwhile(self);
        self.front.mount();
        write_as_root(&self.front.request_limit(), ONE_BLOCK_KIB);
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        if !self.front.device().is_empty() {
            write_as_root(&self.front.request_limit(), &self.request_kib);
        }
    }
}

/// Unmounts whatever an earlier run left mounted below a directory.
pub fn unmount_below(dir: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut places: Vec<&str> = mounts.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    places.retain(|place| Path::new(place).starts_with(dir));
    for place in places.into_iter().rev() {
        let _ = root_command(Command::new("umount").args(["-l", place])).status();
    }
}

/// Removes what only root may; whether that went well.
pub fn remove_as_root(path: &Path) -> bool {
    root_command(Command::new("rm").arg("-rf").arg(path)).output().is_ok_and(|output| output.status.success())
}

/// The command as root, or with `sudo`.
pub fn root_command(command: &Command) -> Command {
    let mut rooted = if rustix::process::geteuid().is_root() {
        Command::new("env")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg("-n");
        sudo
    };
    // Where such programs are on machines whose users' paths lack it.
    rooted.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()));
    rooted.arg(command.get_program()).args(command.get_args());
    rooted
}

/// Writes a value into a file of the kernel's.
#[track_caller]
pub fn write_as_root(file: &str, value: &str) {
    as_root(Command::new("sh").args(["-c", &format!("echo {value} > {file}")]));
}

/// Runs a command as root.
///
/// # Panics
/// When it fails.
#[track_caller]
pub fn as_root(command: &Command) {
    let told = match root_command(command).output() {
        Ok(output) if output.status.success() => return,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    panic!(
        "{command:?}: {told}\nThis test mounts ext4 and tmpfs, or makes control groups: it needs root (or sudo without a password) and loop devices"
    );
}
