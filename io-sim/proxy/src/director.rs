//! The task that owns the [`Saboteur`]: it answers connections, and says when all of them are down or silent.

use std::collections::BTreeMap;

use evenkeel_cluster::faults::plan::Chance as _;
use evenkeel_cluster::faults::{Moment, Occasion};
use evenkeel_core::machine::{Machine, Marks};
use evenkeel_core::model::Time;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::LOG;
use super::decide::{Action, Fate, Matter, Saboteur};
use super::words::{DatabaseChance, DatabasePlan, DatabaseStroke};

/// How many connections may wait for the task.
const QUEUE: usize = 256;

/// How the way to the database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    Silent,
    Down,
}

/// What connections ask what is to become of them.
#[derive(Debug, Clone)]
pub(crate) struct Sabotage {
    commands: mpsc::Sender<Command>,
    way: watch::Receiver<Way>,
}

#[derive(Debug)]
enum Command {
    Judge { matter: Matter, reply: oneshot::Sender<Fate> },
    Tell { reply: oneshot::Sender<Marks> },
}

impl Sabotage {
    pub(crate) fn start(plan: DatabasePlan, tasks: &mut JoinSet<()>) -> Self {
        let (commands, inbox) = mpsc::channel(QUEUE);
        let (tell, way) = watch::channel(Way::Open);
        tasks.spawn(run(Saboteur::new(plan), inbox, tell));
        Self { commands, way }
    }

    /// What is to become of it. Nothing, if the task is gone.
    pub(crate) async fn judge(&self, matter: Matter) -> Fate {
        let (reply, fate) = oneshot::channel();
        match self.commands.send(Command::Judge { matter, reply }).await {
            Ok(()) => fate.await.unwrap_or_default(),
            Err(_) => Fate::default(),
        }
    }

    /// Waits until the way is like that; for ever, if the task is gone and it is not.
    pub(crate) async fn until(&self, wanted: impl Fn(Way) -> bool) {
        if self.way.clone().wait_for(|way| wanted(*way)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn is_down(&self) -> bool {
        *self.way.borrow() == Way::Down
    }

    /// How often each fault has struck.
    pub(crate) async fn struck(&self) -> BTreeMap<&'static str, u64> {
        let (reply, marks) = oneshot::channel();
        match self.commands.send(Command::Tell { reply }).await {
            Ok(()) => marks.await.unwrap_or_default().iter().collect(),
            Err(_) => BTreeMap::new(),
        }
    }
}

async fn run(mut saboteur: Saboteur, mut inbox: mpsc::Receiver<Command>, tell: watch::Sender<Way>) {
    let begun = Instant::now();
    let now = || Time::from_nanos(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
    // Strokes that have begun, by their places in the plan.
    let mut present: BTreeMap<usize, DatabaseStroke> = BTreeMap::new();
    let mut waiting: Option<oneshot::Sender<Fate>> = None;
    loop {
        let deadline = saboteur.deadline();
        let wake = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(begun + at.since(Time::ZERO)).await,
                None => std::future::pending().await,
            }
        };
        let command = tokio::select! {
            biased;
            () = wake => None,
            command = inbox.recv() => match command {
                Some(command) => Some(command),
                None => return,
            },
        };
        match command {
            None => saboteur.tick(now()),
            Some(Command::Judge { matter, reply }) => {
                waiting = Some(reply);
                saboteur.handle(now(), matter);
            }
            Some(Command::Tell { reply }) => {
                // Who asked may be gone.
                let _ = reply.send(saboteur.marks().clone());
            }
        }
        while let Some(action) = saboteur.poll() {
            match action {
                Action::Treat { fate, struck } => {
                    struck.into_iter().for_each(|occasion| note(now(), occasion));
                    if let Some(reply) = waiting.take() {
                        let _ = reply.send(fate);
                    }
                }
                Action::Strike(Moment::Begins(nth, stroke)) => {
                    tracing::info!(target: LOG, at = %now(), "{stroke}");
                    present.insert(nth, stroke);
                }
                Action::Strike(Moment::Ends(nth, stroke)) => {
                    tracing::info!(target: LOG, at = %now(), "over: {stroke}");
                    present.remove(&nth);
                }
            }
        }
        tell.send_if_modified(|way| std::mem::replace(way, of(&present)) != of(&present));
    }
}

fn of(present: &BTreeMap<usize, DatabaseStroke>) -> Way {
    let ways = present.values().map(|stroke| match stroke {
        DatabaseStroke::RestartDatabase { .. } => Way::Down,
        DatabaseStroke::IsolateDatabase { .. } => Way::Silent,
    });
    ways.fold(Way::Open, |worst, way| if worst == Way::Down || way == Way::Open { worst } else { way })
}

fn note(now: Time, Occasion { chance, entity, nth }: Occasion<DatabaseChance>) {
    tracing::info!(target: LOG, at = %now, "{} of {entity} nth {nth}", chance.name());
}
