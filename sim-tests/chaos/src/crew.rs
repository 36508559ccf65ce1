//! The workers: hired, killed, paused, dismissed. What happens to them is told to the foreman's book.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_sim::history::{End, HandlerNo, Happening, Life, ServiceNo};
use tokio::process::{Child, Command};

use crate::journal::{self, Entry};
use crate::servers::{Signal, send};
use crate::worker::Orders;
use crate::{Anyhow, Plant};

/// How long a worker that was asked to stop may take: longer than the library's own limit.
const STOPPING: Duration = Duration::from_secs(45);

/// What the foreman tells of the run, in the order of its clock.
#[derive(Debug, Clone, Default)]
pub(crate) struct Book(Arc<Mutex<Vec<(u64, Happening)>>>);

impl Book {
    /// Something is about to happen, or has just happened.
    pub(crate) fn tell(&self, happening: Happening) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = book.last().map_or(0, |(at, _)| *at);
        book.push((journal::now().max(last + 1), happening));
    }

    pub(crate) fn pages(&self) -> Vec<(u64, Happening)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One of the workers' places, with whoever has it.
pub(crate) struct Place {
    book: Book,
    folder: PathBuf,
    process: u16,
    kafka: String,
    database: String,
    plant: Option<Plant>,
    lives: u16,
    child: Option<Child>,
    /// How often a worker ended that nobody had asked to.
    pub(crate) gave_up: u64,
}

impl Place {
    pub(crate) fn new(
        book: Book,
        folder: &Path,
        process: u16,
        kafka: String,
        database: String,
        plant: Option<Plant>,
    ) -> Self {
        let folder = folder.to_owned();
        Self { book, folder, process, kafka, database, plant, lives: 0, child: None, gave_up: 0 }
    }

    fn life(&self) -> Life {
        Life { process: self.process, nth: self.lives.saturating_sub(1) }
    }

    fn journal(&self) -> PathBuf {
        self.folder.join(format!("{}.journal", self.life()))
    }

    /// The lives so far with their journals.
    pub(crate) fn journals(&self) -> Vec<(Life, PathBuf)> {
        let life = |nth| Life { process: self.process, nth };
        (0..self.lives).map(|nth| (life(nth), self.folder.join(format!("{}.journal", life(nth))))).collect()
    }

    /// Starts a worker where there is none.
    pub(crate) fn hire(&mut self) -> Result<(), Anyhow> {
        self.lives += 1;
        let life = self.life();
        let handlers: Arc<[HandlerNo]> = [0, 1, 2].map(HandlerNo).into();
        self.book.tell(Happening::LifeBegan { life, service: ServiceNo(1), handlers });
        let log = std::fs::File::create(self.folder.join(format!("{life}.log")))?;
        let child = Command::new(std::env::current_exe()?)
            .args(Orders::arguments(life, &self.kafka, &self.database, &self.journal(), self.plant))
            // Its handlers panic on purpose, and the first backtrace of an unoptimised build holds a thread for seconds.
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // Ctrl-C is for the foreman.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        self.child = Some(child);
        Ok(())
    }

    /// Replaces a worker that ended by itself. Answers whether there was one.
    pub(crate) fn look_after(&mut self) -> Result<bool, Anyhow> {
        let Some(child) = &mut self.child else { return Ok(false) };
        if child.try_wait()?.is_none() {
            return Ok(false);
        }
        self.gave_up += 1;
        self.book.tell(Happening::LifeEnded { life: self.life(), end: End::Crashed });
        self.hire()?;
        Ok(true)
    }

    /// Ends the worker with SIGKILL.
    pub(crate) async fn kill(&mut self) -> Result<(), Anyhow> {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
            self.book.tell(Happening::LifeEnded { life: self.life(), end: End::Crashed });
        }
        Ok(())
    }

    /// Has the worker stand still.
    pub(crate) async fn pause(&mut self) -> Result<(), Anyhow> {
        let Some(process) = self.child.as_ref().and_then(Child::id) else { return Ok(()) };
        send(Signal::Stop, &[process]).await?;
        self.book.tell(Happening::Paused { life: self.life() });
        Ok(())
    }

    /// Has it go on.
    pub(crate) async fn resume(&mut self) -> Result<(), Anyhow> {
        let Some(process) = self.child.as_ref().and_then(Child::id) else { return Ok(()) };
        self.book.tell(Happening::Resumed { life: self.life() });
        send(Signal::Continue, &[process]).await
    }

    /// Asks the worker to stop, and waits until it has. Answers whether it left nothing undone.
    pub(crate) async fn dismiss(&mut self) -> Result<bool, Anyhow> {
        let Some(mut child) = self.child.take() else { return Ok(true) };
        let life = self.life();
        self.book.tell(Happening::StopAsked { life });
        if let Some(process) = child.id() {
            send(Signal::Terminate, &[process]).await?;
        }
        let end = if let Ok(status) = tokio::time::timeout(STOPPING, child.wait()).await {
            let last = journal::read(&self.journal())?.pop();
            match last {
                Some((_, Entry::Left { clean })) if status?.success() => End::Stopped { clean },
                _ => End::Crashed,
            }
        } else {
            child.kill().await?;
            End::Crashed
        };
        self.book.tell(Happening::LifeEnded { life, end });
        Ok(end == End::Stopped { clean: true })
    }
}
