//! Where the quarantine is read: through the daemon, or from its files while no daemon runs.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};

use super::Terms;
use crate::{
    cli::{Exit, Failure, Global, out::say, query::escape},
    config,
    control::client::{Client, ClientError},
    files::{
        access::{self, Wish},
        read::open_regular,
    },
    flush::quarantine::{
        Cursor, Discarded, Id, Selection, discard, old_path, snapshot_of, take_out_of,
        view::{self, Form, Order, Page, show},
    },
};

/// How long the daemon may take for a request that is work: it looks through the ring, asks QuestDB, waits for a sync.
const PATIENCE: Duration = Duration::from_mins(2);

/// What a page is to hold.
#[derive(Debug, Clone, Default)]
pub struct Want {
    /// Which entries.
    pub terms: Terms,
    /// In which order.
    pub order: Order,
    /// How much of each.
    pub form: Form,
    /// At most how many.
    pub limit: Option<usize>,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// Whether the counts are wanted.
    pub summary: bool,
}

impl Want {
    fn query(&self) -> String {
        let mut terms = self.terms.clone();
        let order = if self.order == Order::Oldest { "oldest" } else { "newest" };
        terms.push(("order", order.to_owned()));
        let form = match self.form {
            Form::Brief => "brief",
            Form::Whole => "whole",
            Form::Line => "line",
        };
        terms.push(("form", form.to_owned()));
        terms.extend(self.limit.map(|limit| ("limit", limit.to_string())));
        terms.extend(self.cursor.clone().map(|cursor| ("cursor", cursor)));
        terms.push(("summary", self.summary.to_string()));
        query(&terms)
    }

    fn ask(&self) -> Result<view::Ask, Failure> {
        Ok(view::Ask {
            selection: selection(&self.terms)?,
            order: self.order,
            form: self.form,
            limit: self.limit,
            cursor: cursor(self.cursor.as_deref())?,
            summary: self.summary,
        })
    }
}

fn cursor(text: Option<&str>) -> Result<Option<Cursor>, Failure> {
    text.map(str::parse).transpose().map_err(|why| Failure::new(Exit::Usage, why))
}

/// Reads conditions as the daemon does; `all` is none.
pub fn selection(terms: &Terms) -> Result<Selection, Failure> {
    let mut selection = Selection::default();
    for (name, value) in terms.iter().filter(|(name, _)| *name != "all") {
        selection.set(name, value).map_err(|why| Failure::new(Exit::Usage, why))?;
    }
    Ok(selection)
}

/// The query part of a request, with its question mark.
pub fn query(terms: &Terms) -> String {
    let terms: Vec<String> = terms.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    format!("?{}", terms.join("&"))
}

/// The daemon, or the files.
pub enum Source {
    /// The running daemon.
    Daemon(Box<Client>),
    /// The files of a daemon that does not run.
    Files {
        /// The newer of the two.
        path: PathBuf,
        /// Size they may have together; none when it is not known.
        size_bytes: Option<u64>,
    },
}

impl Source {
    /// The daemon if one runs, else its files; `file` names others.
    pub async fn open(global: &Global, file: Option<&Path>) -> Result<Self, Failure> {
        if let Some(path) = file {
            if !path.exists() {
                return Err(Failure::new(Exit::NotFound, format!("there is no file {}", path.display())));
            }
            return Ok(Self::Files { path: path.to_owned(), size_bytes: None });
        }
        let absent = match Client::connect(&global.socket_path()?).await {
            Ok(client) => return Ok(Self::Daemon(Box::new(client.patient(PATIENCE)))),
            Err(absent @ (ClientError::Missing(_) | ClientError::Refused(_))) => absent,
            Err(error) => return Err(error.into()),
        };
        let settings = match config::load(global.config_file()) {
            Ok(loaded) => loaded.settings,
            Err(why) if global.config.is_some() => return Err(Failure::new(Exit::Usage, why)),
            // Without a configuration there is no telling where the files are.
            Err(_) => return Err(absent.into()),
        };
        let taken = [&settings.ring.path, &settings.quarantine.path].into_iter().find(|path| is_locked(path));
        if let Some(path) = taken {
            let path = path.display();
            let what = format!("a daemon has {path} open, but it cannot be asked: {absent}");
            return Err(Failure::new(Exit::Unreachable, what));
        }
        let path = settings.quarantine.path;
        say(&format!("no daemon runs; these are the files {}", path.display()));
        Ok(Self::Files { path, size_bytes: Some(settings.quarantine.size.0) })
    }

    /// The files that are read, where no daemon is asked.
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Daemon(_) => Vec::new(),
            Self::Files { path, .. } => vec![path.clone(), old_path(path)],
        }
    }

    /// A page of entries.
    pub async fn page(&mut self, want: &Want) -> Result<Page, Failure> {
        match self {
            Self::Daemon(client) => Ok(client.get_json(&format!("/v1/quarantine{}", want.query())).await?),
            Self::Files { path, size_bytes } => {
                let snapshot = files(path, want.cursor.is_none())?;
                let page = view::page(&snapshot, &want.ask()?);
                let mut page = page.map_err(|why| unread(path, &why))?;
                if let Some(summary) = &mut page.summary {
                    summary.size_bytes = *size_bytes;
                }
                Ok(page)
            }
        }
    }

    /// One entry whole.
    pub async fn entry(&mut self, id: Id) -> Result<serde_json::Map<String, serde_json::Value>, Failure> {
        match self {
            Self::Daemon(client) => Ok(client.get_json(&format!("/v1/quarantine/entry?id={id}")).await?),
            Self::Files { path, .. } => {
                let found = files(path, true)?.find(id).map_err(|why| unread(path, &why))?;
                let missing = || Failure::new(Exit::NotFound, format!("entry {id} is not in the quarantine"));
                Ok(show(&found.ok_or_else(missing)?.entry(), Form::Whole))
            }
        }
    }

    /// Takes a batch of entries out.
    pub async fn discard(&mut self, terms: &Terms, before: Option<&str>) -> Result<Discarded, Failure> {
        match self {
            Self::Daemon(client) => {
                let mut terms = terms.clone();
                terms.extend(before.map(|cursor| ("cursor", cursor.to_owned())));
                Ok(client.post_json(&format!("/v1/quarantine/drop{}", query(&terms))).await?)
            }
            Self::Files { path, .. } => {
                let (snapshot, selection) = (files(path, before.is_none())?, selection(terms)?);
                let taken = discard(&snapshot, &selection, cursor(before)?, &mut |named| take_out_of(path, named));
                taken.map_err(|why| unread(path, &why))
            }
        }
    }
}

fn files(path: &Path, complain: bool) -> Result<crate::flush::quarantine::Snapshot, Failure> {
    let mut complaints = Vec::new();
    let snapshot = snapshot_of(path, &mut complaints).map_err(|why| unread(path, &why))?;
    for complaint in complaints.iter().filter(|_| complain) {
        say(complaint);
    }
    Ok(snapshot)
}

fn unread(path: &Path, why: &std::io::Error) -> Failure {
    let mut what = format!("cannot read or write the quarantine {}: {why}", path.display());
    if why.kind() == ErrorKind::PermissionDenied {
        what = format!("{what}; {}", access::advice(path, Wish::Read));
    }
    Failure::new(Exit::Failed, what)
}

/// Whether a daemon has a file open.
fn is_locked(path: &Path) -> bool {
    let Ok((file, _)) = open_regular(path) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared).is_err()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_query_says_all_that_is_wanted() {
        let want = Want {
            terms: vec![("reason", "cast error".to_owned())],
            form: Form::Whole,
            limit: Some(5),
            cursor: Some("1-16".into()),
            ..Want::default()
        };
        let query = "?reason=cast%20error&order=newest&form=whole&limit=5&cursor=1-16&summary=false";
        assert_eq!(want.query(), query);
    }

    #[test]
    fn a_ring_that_a_daemon_holds_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring");
        assert!(!is_locked(&path));
        let held = File::create(&path).unwrap();
        assert!(!is_locked(&path));
        flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert!(is_locked(&path));
    }
}
