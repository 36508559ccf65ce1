//! The task that owns the machine.
//!
//! Requests come in over one bounded channel; each brings its number and the sender of its answer with it. The task
//! takes what is there at once, drains the machine, and sleeps until the machine's deadline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use evenkeel_core::machine::Machine;
use evenkeel_core::model::{RequestId, Time};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::cluster::{Action, Cluster, Input};
use crate::message::{Answer, Origin, Request};

/// How many requests may wait for the task. Each connection has at most one in it.
const QUEUE: usize = 1_024;
/// How many of them are taken at once.
const AT_ONCE: usize = 128;

/// A handle on the task. It ends when the last handle is gone.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    commands: mpsc::Sender<Command>,
    /// The number of the next request.
    next: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Command {
    Ask { id: RequestId, origin: Origin, request: Request, reply: oneshot::Sender<Answer> },
    Tell { input: Input, done: oneshot::Sender<()> },
    Weigh { reply: oneshot::Sender<u64> },
}

/// A request that has been asked.
#[derive(Debug)]
pub(super) struct Asked {
    id: RequestId,
    answer: oneshot::Receiver<Answer>,
}

impl Asked {
    /// The answer; `None` if the broker hangs up. May be given up and called again.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        (&mut self.answer).await.ok()
    }
}

impl Owner {
    pub(super) fn start(cluster: Cluster) -> Self {
        let (commands, inbox) = mpsc::channel(QUEUE);
        tokio::spawn(run(cluster, inbox));
        Self { commands, next: Arc::default() }
    }

    /// Asks the cluster; `None` if it is gone.
    pub(super) async fn ask(&self, origin: Origin, request: Request) -> Option<Asked> {
        let id = RequestId(self.next.fetch_add(1, Ordering::Relaxed));
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Ask { id, origin, request, reply }).await.ok()?;
        Some(Asked { id, answer })
    }

    /// Nobody waits for the answer any more.
    pub(super) async fn forget(&self, Asked { id, .. }: Asked) {
        self.tell(Input::Cancel { id }).await;
    }

    /// Lets something happen, and waits until it has.
    pub(super) async fn tell(&self, input: Input) {
        let (done, happened) = oneshot::channel();
        if self.commands.send(Command::Tell { input, done }).await.is_ok() {
            // An error means that the cluster is gone.
            let _ = happened.await;
        }
    }

    pub(super) async fn retained_bytes(&self) -> u64 {
        let (reply, weight) = oneshot::channel();
        match self.commands.send(Command::Weigh { reply }).await {
            Ok(()) => weight.await.unwrap_or_default(),
            Err(_) => 0,
        }
    }
}

async fn run(mut cluster: Cluster, mut inbox: mpsc::Receiver<Command>) {
    let begun = Instant::now();
    let now = || Time::from_nanos(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let mut waiting: BTreeMap<RequestId, oneshot::Sender<Answer>> = BTreeMap::new();
    let mut commands = Vec::with_capacity(AT_ONCE);
    loop {
        let deadline = cluster.deadline();
        let wake = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(begun + (at - Time::ZERO)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            taken = inbox.recv_many(&mut commands, AT_ONCE) => if taken == 0 { return },
            () = wake => {}
        }
        if deadline.is_some_and(|at| at <= now()) {
            cluster.tick(now());
        }
        for command in commands.drain(..) {
            match command {
                Command::Ask { id, origin, request, reply } => {
                    waiting.insert(id, reply);
                    cluster.handle(now(), Input::Request { id, origin, request });
                }
                Command::Tell { input, done } => {
                    if let Input::Cancel { id } = &input {
                        waiting.remove(id);
                    }
                    cluster.handle(now(), input);
                    let _ = done.send(());
                }
                Command::Weigh { reply } => {
                    let _ = reply.send(cluster.retained_bytes());
                }
            }
        }
        while let Some(action) = cluster.poll() {
            match action {
                Action::Answer { id, answer } => {
                    if let Some(reply) = waiting.remove(&id) {
                        // A connection that is gone wants no answer.
                        let _ = reply.send(answer);
                    }
                }
                // The connection sees that no answer will come.
                Action::HangUp { id } => drop(waiting.remove(&id)),
            }
        }
    }
}
