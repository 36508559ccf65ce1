//! What a worker writes down: a file of lines for each life of a process, each line with the machine's time.
//!
//! A line is written by one call before what it tells of goes on, and outlives SIGKILL with the kernel's page cache. Only
//! the last line of a process that was killed may be torn, and is then left out.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use evenkeel_sim::history::RunEnd;
use serde::{Deserialize, Serialize};

use crate::Anyhow;

/// Nanoseconds since 1970, by the one clock of the machine.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// What a worker tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// A handler was handed an event.
    RunBegan { run: u64, call: u64, handler: u16, partition: i32, offset: i64, event: u32, attempt: u32 },
    /// It is done with it.
    RunEnded { run: u64, end: Ending },
    /// The library gave an event up.
    GivenUp { group: String, handler: String, partition: i32, offset: i64, attempts: u32 },
    /// The library found a bug in itself.
    Bug { what: String },
    /// The coordinator told what is committed.
    Served { group: String, partition: i32, offset: Option<i64>, metadata: String },
    /// A commit is about to be sent.
    CommitAsked { nth: u64, group: String, generation: i32, positions: Vec<Position> },
    /// It was answered, position by position.
    CommitAnswered { nth: u64, answers: Vec<Answer> },
    /// An assignment is about to be handed in or fetched.
    SyncAsked { nth: u64, group: String, generation: i32 },
    /// It was answered.
    SyncAnswered { nth: u64 },
    /// A request about its membership is about to be sent: nothing is judged by it, but it explains.
    MemberAsked { nth: u64, group: String, what: String },
    /// It was answered, or was not.
    MemberAnswered { nth: u64, outcome: String },
    /// The process has come to rest as it was asked to.
    Left { clean: bool },
}

/// One partition of a commit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) metadata: String,
}

/// What a coordinator answered to one position of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Taken,
    Refused,
    /// An error that does not say so: a coordinator that loses its group after it wrote a commit down answers that it is
    /// not the coordinator, and the commit may stay.
    Unsure,
}

/// How a run ended, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    Done,
    Failed,
    World,
    Panicked,
    Dropped,
}

impl From<Ending> for RunEnd {
    fn from(end: Ending) -> Self {
        match end {
            Ending::Done => Self::Done,
            Ending::Failed => Self::Failed,
            Ending::World => Self::World,
            Ending::Panicked => Self::Panicked,
            Ending::Dropped => Self::Dropped,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    at: u64,
    tells: Entry,
}

/// A journal that is being written.
#[derive(Debug)]
pub(crate) struct Journal(Mutex<(File, u64)>);

impl Journal {
    /// Begins one.
    pub(crate) fn begin(path: &Path) -> Result<Self, Anyhow> {
        Ok(Self(Mutex::new((OpenOptions::new().create_new(true).append(true).open(path)?, 0))))
    }

    /// Writes a line. Whoever cannot write must not go on, for nobody could judge what it did.
    pub(crate) fn tell(&self, tells: Entry) {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, last) = &mut *guard;
        // No two lines of a process have the same time.
        let at = now().max(*last + 1);
        *last = at;
        let written =
            serde_json::to_vec(&Line { at, tells }).map_err(std::io::Error::other).and_then(|mut line| {
                line.push(b'\n');
                file.write_all(&line)
            });
        if let Err(error) = written {
            eprintln!("the journal cannot be written: {error}");
            std::process::abort();
        }
    }
}

/// Reads a journal.
pub(crate) fn read(path: &Path) -> Result<Vec<(u64, Entry)>, Anyhow> {
    let text = std::fs::read_to_string(path)?;
    let mut entries = Vec::new();
    // What has no end of line is torn.
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let line: Line =
            serde_json::from_str(line).map_err(|error| format!("{}: {error}: {line}", path.display()))?;
        entries.push((line.at, line.tells));
    }
    Ok(entries)
}
