//! What `make install` puts in place of the program: stripped, with its debug symbols kept where
//! gdb finds them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{daemon::FOREBAY, scratch};

/// Most bytes of the installed program, as it is built for use (`make size`).
#[cfg(not(debug_assertions))]
const MOST_BYTES: u64 = 10_000_000;

fn make(target: &str, prefix: &str, destination: &Path) {
    let run = Command::new("make")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["--no-print-directory", target, &format!("PREFIX={prefix}")])
        .args([format!("BINARY={FOREBAY}"), format!("PROGRAM={FOREBAY}"), format!("DESTDIR={}", destination.display())])
        .output()
        .expect("make runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

fn readelf(option: &str, file: &Path) -> String {
    let output = Command::new("readelf").args([option, "--wide"]).arg(file).output().expect("readelf runs");
    assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn build_id(file: &Path) -> String {
    let notes = readelf("--notes", file);
    let id = notes.lines().find_map(|line| Some(line.split_once("Build ID: ")?.1.trim()));
    id.unwrap_or_else(|| panic!("{} has no build id: {notes}", file.display())).to_owned()
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory").flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn the_installed_program_is_stripped_and_its_debug_symbols_are_kept_aside() {
    for (prefix, symbols) in
        [("/usr", "usr/lib/debug/usr/bin/forebay.debug"), ("/usr/local", "usr/local/bin/.debug/forebay.debug")]
    {
        let dir = scratch("install");
        make("install-program", prefix, &dir);
        let program = dir.join(&prefix[1..]).join("bin/forebay");
        let symbols = dir.join(symbols);
        let version = Command::new(&program).arg("version").output().expect("it runs");
        assert!(version.status.success() && version.stdout.starts_with(b"forebay "));

        let sections = readelf("--sections", &program);
        assert!(!sections.contains(".debug_info") && !sections.contains(".debug_line"), "{sections}");
        assert!(!sections.contains(".symtab"), "{sections}");
        assert!(sections.contains(".gnu_debuglink"), "{sections}");
        let sections = readelf("--sections", &symbols);
        assert!(sections.contains(".debug_line") && sections.contains(".symtab"), "{sections}");
        assert_eq!(build_id(&program), build_id(&symbols));
        #[cfg(not(debug_assertions))]
        {
            let bytes = fs::metadata(&program).expect("it is there").len();
            assert!(bytes < MOST_BYTES, "the program has {bytes} bytes, at most {MOST_BYTES} are meant");
        }

        make("install-extras", prefix, &dir);
        let devices = dir.join(&prefix[1..]).join("share/forebay/devices");
        let names = |directory: &Path| {
            let names = files(directory).into_iter().map(|file| file.file_name().expect("a name").to_owned());
            names.collect::<std::collections::BTreeSet<_>>()
        };
        let ready_made = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/devices");
        assert_eq!(names(&devices), names(&ready_made), "the ready-made sources");

        make("uninstall", prefix, &dir);
        assert_eq!(files(&dir), Vec::<PathBuf>::new(), "nothing stays");
    }
}
