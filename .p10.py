import re
def sub(path, pairs):
    s=open(path).read()
    for a,b in pairs:
        assert s.count(a)>=1,(path,a)
        s=s.replace(a,b,1)
    open(path,'w').write(s)
sub('tests/it/displaced.rs',[("""    assert_eq!(stage.ready(), 200);
    assert!(stage.daemon.log().contains("was written to its place again"), "{}", stage.daemon.log());
""","""    eventually(NOTICED, "it is told", || stage.daemon.log().contains("was written to its place again"));
    assert_eq!(stage.ready(), 200);
""")])
# files
sub('src/files/mod.rs',[("pub mod put_back;\n","pub mod put_back;\npub mod read;\n")])
sub('docs/ARCHITECTURE.md',[("whether a name still leads to an open one (place), putting one back\n","whether a name still leads to an open one (place), putting one back; reading a small\n                   one that may be anything (read)\n")])
# mmap kind_of
s=open('src/ring/mmap.rs').read()
a=s.index("fn kind_of(found"); b=s.index("/// What to do about it, where that can be told.")
s=s[:a]+s[b:]
s=s.replace("        Ok(found) if !found.is_file() => return Err(FileError::NotAFile(path.to_owned(), kind_of(&found))),\n        _ => {}","        Ok(found) => {\n            if let Some(kind) = other_than_file(&found) {\n                return Err(FileError::NotAFile(path.to_owned(), kind));\n            }\n        }\n        Err(_) => {}")
s=s.replace("unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt},","unix::fs::{FileExt, MetadataExt, OpenOptionsExt},")
s=s.replace("        put_back::put_back,\n    },\n    sync","        put_back::put_back,\n        read::other_than_file,\n    },\n    sync")
open('src/ring/mmap.rs','w').write(s)
# secrets
sub('src/config/secrets.rs',[
("use std::{\n    fmt,\n    fs::File,\n    io::{ErrorKind, Read},\n    os::unix::fs::PermissionsExt,\n    path::Path,\n};","use std::{fmt, io::ErrorKind, os::unix::fs::PermissionsExt, path::Path};"),
("use thiserror::Error;\n\n/// Largest secret file.\npub const MAX_SECRET_BYTES: usize = 64 << 10;\n","use thiserror::Error;\n\nuse crate::files::read::{MAX_SECRET_BYTES, open_regular, read_open};\n"),
("/// Reads a secret from a file: UTF-8,","/// Reads a secret from a regular file: UTF-8,"),
("""    let file = File::open(path).map_err(|error| SecretError {""","""    let (file, found) = open_regular(path).map_err(|error| SecretError {"""),
("""    let mode = file.metadata().map_err(|error| fault(error.to_string()))?.permissions().mode();
    let mut bytes = Vec::new();
    let limit = MAX_SECRET_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| fault(format!("cannot be read ({error})")))?;
    if bytes.len() > MAX_SECRET_BYTES {
        return Err(fault(format!("larger than {MAX_SECRET_BYTES} bytes; is it the right file?")));
    }
""","""    let mode = found.permissions().mode();
    let bytes = read_open(&file, MAX_SECRET_BYTES).map_err(|error| fault(format!("cannot be read ({error})")))?;
"""),
("&b\"x\".repeat(MAX_SECRET_BYTES + 1)","&b\"x\".repeat(MAX_SECRET_BYTES as usize + 1)"),
("&b\"x\".repeat(MAX_SECRET_BYTES), 0o600","&b\"x\".repeat(MAX_SECRET_BYTES as usize), 0o600"),
("        assert!(read_secret(Path::new(\"/nonexistent\")).is_err());","        assert!(read_secret(Path::new(\"/nonexistent\")).is_err());\n        let error = read_secret(Path::new(\"/dev/zero\")).expect_err(\"refused\").to_string();\n        assert!(error.contains(\"not a regular file\"), \"{error}\");"),
])
# mqtt login, tls
sub('src/mqtt/protocol.rs',[("std::fs::read_to_string(path).map_err(|why| {","read_regular_text(path, MAX_SECRET_BYTES).map_err(|why| {")])
s=open('src/mqtt/protocol.rs').read()
print(re.findall(r"use crate::[^;]*;",s))
sub('src/mqtt/tls.rs',[
("let secret = PrivateKeyDer::from_pem_file(key).map_err(|why| unreadable(\"mqtt.tls.key_file\", key, &why))?;",
 "let unreadable_key = |why: &dyn std::fmt::Display| unreadable(\"mqtt.tls.key_file\", key, why);\n            let pem = read_regular(key, MAX_SECRET_BYTES).map_err(|why| unreadable_key(&why))?;\n            let secret = PrivateKeyDer::from_pem_slice(&pem).map_err(|why| unreadable_key(&why))?;"),
("    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);","    let pem = read_regular(path, MAX_PEM_BYTES).map_err(|why| unreadable(key, path, &why))?;\n    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();"),
("use crate::settings::MqttTls;","use crate::{\n    files::read::{MAX_PEM_BYTES, MAX_SECRET_BYTES, read_regular},\n    settings::MqttTls,\n};"),
("Path::new(\"/nonexistent.pem\")]","Path::new(\"/nonexistent.pem\"), Path::new(\"/dev/zero\")]"),
])
sub('src/questdb/connection.rs',[
("""    let read = || {
        if fs::metadata(path)?.len() > MAX_SECRET_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than 64 KiB"));
        }
        fs::read_to_string(path)
    };
    let text = read().map_err(|source| ConnectionError::Secret { key, path: path.to_owned(), source })?;
""","""    let read = read_regular_text(path, MAX_SECRET_BYTES);
    let text = read.map_err(|source| ConnectionError::Secret { key, path: path.to_owned(), source })?;
"""),
("/// Largest secret file in bytes.\npub const MAX_SECRET_BYTES: u64 = 64 << 10;\n",""),
("use crate::settings;","use crate::{\n    files::read::{MAX_SECRET_BYTES, read_regular_text},\n    settings,\n};"),
])
sub('src/questdb/sql.rs',[("fs::read(path).map_err(|e|","read_regular(path, MAX_PEM_BYTES).map_err(|e|")])
sub('src/config/layers.rs',[
("""    let text = fs::metadata(path).and_then(|meta| {
        if meta.len() > MAX_FILE_BYTES {
            return Err(io::Error::other(format!("larger than {MAX_FILE_BYTES} bytes")));
        }
        fs::read_to_string(path)
    });
    match text {""","""    match read_regular_text(path, MAX_FILE_BYTES) {"""),
])
sub('src/config/mod.rs',[("mod layers;\n","mod layers;\npub mod places;\n")])
sub('src/config/validate/mod.rs',[("mod mqtt;\nmod questdb;","mod mqtt;\nmod paths;\nmod questdb;"),("    check_log(&settings.log, &mut findings);","    paths::check(settings, &mut findings);\n    check_log(&settings.log, &mut findings);")])
sub('src/config/validate/storage.rs',[("""    if settings.ring.path == settings.quarantine.path {
        findings.problem("quarantine.path", "it is the ring's file as well; name another");
    }
""","")])
# cli
sub('src/cli/mod.rs',[("mod status;\nmod top;","mod status;\nmod target;\nmod top;")])
s=open('src/cli/ring/text.rs').read()
a=s.index("/// Where lines go.\npub enum Target")
s=s[:a].rstrip()+"\n"
s=s.replace("//! Records as lines, and where the lines go.\n\nuse std::{\n    fs::File,\n    io::{self, Write},\n    os::unix::fs::MetadataExt,\n    path::{Path, PathBuf},\n};\n\n","//! Records as lines.\n\n")
s=s.replace("use super::{Exit, Failure, remark};","use super::{Failure, remark};")
s=s.replace("    cli::out,\n","    cli::{out, target::Target},\n")
open('src/cli/ring/text.rs','w').write(s)
sub('src/cli/ring/export.rs',[("    text::{Format, Lines, Target},","    text::{Format, Lines},"),("Target::open(&args.output, ring.path())?","Target::open(&args.output, &[ring.path()])?"),("    cli::out::count,","    cli::{out::count, target::Target},"),("An output file is written under a temporary name, synced and renamed.","An output file is written under a temporary name, synced and renamed; a pipe or a device is written to, and a link is followed.")])
sub('src/cli/ring/cat.rs',[("    text::{Format, Lines, Target},","    text::{Format, Lines},"),("use crate::{\n    entry::RowRef,","use crate::{\n    cli::target::Target,\n    entry::RowRef,")])
s=open('src/cli/quarantine/export.rs').read()
a=s.index("/// Standard output, or a file that gets its name once it is complete."); 
s=s[:a].rstrip()+"\n"
s=s.replace("use std::{\n    fs::{self, File, OpenOptions},\n    io::{self, Write},\n    os::unix::fs::OpenOptionsExt,\n    path::{Path, PathBuf},\n};","use std::path::PathBuf;")
s=s.replace("        Exit, Failure, Global, block_on,\n        out::{count, emit},\n","        Failure, Global, block_on,\n        out::count,\n        target::Target,\n")
s=s.replace("    let mut out = Output::open(args.output.as_deref())?;\n    let (written, left_out) = block_on(async {\n        let mut source = Source::open(global, args.file.as_deref()).await?;\n        write_all(&mut source, want, &mut out).await\n    })?;\n","""    let (written, left_out) = block_on(async {
        let mut source = Source::open(global, args.file.as_deref()).await?;
        let files = source.files();
        let files: Vec<_> = files.iter().map(PathBuf::as_path).collect();
        let mut out = Target::open(&args.output, &files)?;
        let counts = write_all(&mut source, want, &mut out).await?;
        out.finish()?;
        Ok(counts)
    })?;
""")
s=s.replace("    out.finish()?;\n    let left_out = match","    let left_out = match")
s=s.replace("out: &mut Output)","out: &mut Target)")
s=s.replace("""    /// Where to; standard output when absent.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,""","""    /// Where to write; "-" is standard output.
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,""")
s=s.replace("The file appears under its name once it is complete and synced.","The file appears under its name once it is complete and synced; a pipe or a device is written to, and a link is followed.")
open('src/cli/quarantine/export.rs','w').write(s)
sub('src/cli/quarantine/source.rs',[
("    /// A page of entries.\n    pub async fn page","""    /// The files that are read, where no daemon is asked.
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Daemon(_) => Vec::new(),
            Self::Files { path, .. } => vec![path.clone(), old_path(path)],
        }
    }

    /// A page of entries.
    pub async fn page"""),
("    let Ok(file) = File::open(path) else { return false };","    let Ok((file, _)) = open_regular(path) else { return false };"),
])
s=open('src/flush/quarantine/mod.rs').read()
s=s.replace("fn old_path(path: &Path) -> PathBuf {","/// The older file of a quarantine.\n#[must_use]\npub fn old_path(path: &Path) -> PathBuf {")
open('src/flush/quarantine/mod.rs','w').write(s)
s=open('src/flush/quarantine/format.rs').read()
i=s.index("const MAGIC"); print(s[i-200:i+40])
s=s.replace("const MAGIC: [u8; 8]","pub const MAGIC: [u8; 8]")
open('src/flush/quarantine/format.rs','w').write(s)
s=open('src/flush/quarantine/scan.rs').read()
a=s.index("pub fn open_to_read"); b=s.index("/// Looks at a file's header.")
s=s[:a]+'''pub fn open_to_read(path: &Path) -> io::Result<File> {
    let opened = open_regular(path).map(|(file, _)| file);
    opened.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => {
            let message = "it is a directory, a pipe or a device, not a file; move it away";
            io::Error::new(io::ErrorKind::InvalidInput, message)
        }
        _ => error,
    })
}

'''+s[b:]
s=s.replace("use std::{\n    fs::{self, File},","use std::{\n    fs::File,")
s=s.replace("use super::format::{self, Entry, HEADER_BYTES, MAX_ENTRY_BYTES, PREFIX_BYTES, Prefix};","use super::format::{self, Entry, HEADER_BYTES, MAX_ENTRY_BYTES, PREFIX_BYTES, Prefix};\nuse crate::files::read::open_regular;")
open('src/flush/quarantine/scan.rs','w').write(s)
# simulate ledger
s=open('src/cli/simulate.rs').read()
i=s.index("write_ledger"); print(s[i-400:i+200]); print(re.findall(r"(?s)pub enum SimulateError.*?\n}",s)[:1])
# check
sub('src/cli/check.rs',[("    token(&loaded)?;\n","    let problems = places::look(&loaded);\n    if !problems.is_empty() {\n        return Err(Failure::new(Exit::Usage, config::ConfigError { problems }));\n    }\n    token(&loaded)?;\n"),
("    config::{self, Loaded},","    config::{self, Loaded, places},"),
("/// The token of `control.token_file` is read too.","/// What stands where its files are wanted is looked at, and the token of `control.token_file` is read."),
])
sub('src/ring/inspect/file.rs',[("""        // Looked at by name first: opening a pipe would wait for its other end.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();""","""        let (file, found) = open_regular(path)?;
        let bytes = found.len();""")])
