//! Where the ring is written: a file system of its own on a loop device, whose counters count nothing else, or a directory
//! of the build on whatever device that is.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    device::Device,
    support::scratch::{Scratch, scratch},
};

const IMAGE_BYTES: u64 = 512 << 20;
const CHUNK_BYTES: usize = 1 << 20;

/// A directory and the device below it.
pub struct Place {
    /// Where to put files.
    pub directory: PathBuf,
    /// What is below.
    pub device: Device,
    /// Whether nobody else writes to the device.
    pub own: bool,
    image: Option<PathBuf>,
    // Removed once nothing is mounted there any more.
    _root: Scratch,
}

impl Place {
    /// A file system of its own if that can be had (as root), else a directory below the build directory.
    pub fn take() -> io::Result<Self> {
        match Self::mounted() {
            Ok(place) => Ok(place),
            Err(why) => {
                let root = scratch("wear");
                eprintln!(
                    "no file system of its own ({why}): the host's device is measured, other writers' bytes included"
                );
                Ok(Self {
                    directory: root.to_owned(),
                    device: Device::below(&root)?,
                    own: false,
                    image: None,
                    _root: root,
                })
            }
        }
    }

    fn mounted() -> io::Result<Self> {
        let root = scratch("wear");
        let (image, mount) = (root.join("image"), root.join("mount"));
        fs::create_dir_all(&mount)?;
        fill(&image)?;
        let blocks = ["-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"];
        run(Command::new("mkfs.ext4").args(blocks).arg(&image))?;
        let mut place =
            Self { directory: mount, device: Device::below(&root)?, own: true, image: Some(image), _root: root };
        place.mount()?;
        Ok(place)
    }

    fn mount(&mut self) -> io::Result<()> {
        let Some(image) = &self.image else { return Ok(()) };
        run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(image).arg(&self.directory))?;
        self.device = Device::below(&self.directory)?;
        Ok(())
    }

    /// Empties the page cache of what is here, as a reboot does. Nothing may be open; on the host's device it does nothing.
    pub fn remount(&mut self) -> io::Result<()> {
        if self.image.is_some() {
            run(Command::new("umount").arg(&self.directory))?;
            self.mount()?;
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.image.is_some() {
            let _ = Command::new("umount").arg(&self.directory).output();
        }
    }
}

/// Written in full, so that a write to the image later changes nothing but data below it.
fn fill(image: &Path) -> io::Result<()> {
    let mut file = File::create(image)?;
    let zeros = vec![0; CHUNK_BYTES];
    for _ in 0..IMAGE_BYTES / CHUNK_BYTES as u64 {
        file.write_all(&zeros)?;
    }
    file.sync_all()
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let program = command.get_program().to_string_lossy().into_owned();
    Err(io::Error::other(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}
