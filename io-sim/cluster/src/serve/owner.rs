//! The task that owns the machine.
//!
//! Requests come in over one bounded channel; each brings its number and the sender of its answer with it. The task
//! takes what is there at once, drains the machine, and sleeps until the machine's deadline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use evenkeel_core::machine::Machine;
use evenkeel_core::model::{RequestId, Time, WallTime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::cluster::{Action, Cluster, Input};
use crate::message::{Answer, Origin, Request};

/// How many requests may wait for the task. Each connection has at most one in it.
const QUEUE: usize = 1_024;
/// By how much the wall clock may part from the one that deadlines go by, in microseconds, before the machine is told: it
/// does when it is set, and when the computer slept, during which only the wall clock went on.
const DRIFT: u64 = 100_000;
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
    pub(super) fn start(cluster: Cluster, wall: fn() -> WallTime) -> Self {
        let (commands, inbox) = mpsc::channel(QUEUE);
        tokio::spawn(run(cluster, inbox, wall));
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

async fn run(mut cluster: Cluster, mut inbox: mpsc::Receiver<Command>, wall: fn() -> WallTime) {
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
        let (now_here, wall) = (now(), wall());
        if cluster.wall_at(now_here).0.abs_diff(wall.0) > DRIFT {
            cluster.handle(now_here, Input::ClockSet { wall });
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI64;
    use std::time::Duration;

    use evenkeel_core::error::ErrorCode;
    use evenkeel_core::model::{BrokerId, PartitionId};
    use evenkeel_core::ports::OutgoingRecord;
    use evenkeel_core::records::{BatchOptions, encode};

    use super::*;
    use crate::cluster::ClusterConfig;
    use crate::message::{Acks, CreateTopicsRequest, NewTopic, OfTopic, ProducePartition, ProduceRequest};

    /// Microseconds.
    static WALL: AtomicI64 = AtomicI64::new(1_700_000_000_000_000);

    fn wall() -> WallTime {
        WallTime(WALL.load(Ordering::Relaxed))
    }

    async fn ask(owner: &Owner, request: Request) -> Answer {
        let origin = Origin { broker: BrokerId(1), client: "c".into(), host: "/h".into() };
        owner.ask(origin, request).await.unwrap().answer().await.unwrap()
    }

    /// Produces a record of this moment.
    async fn produce(owner: &Owner, timestamp: WallTime) -> Result<(), ErrorCode> {
        let record = OutgoingRecord { key: None, value: None, headers: Vec::new(), timestamp };
        let records = encode(&[record], BatchOptions::default()).unwrap();
        let partitions = vec![ProducePartition { partition: PartitionId(0), records }];
        let topics = vec![OfTopic { topic: "t".into(), partitions }];
        let (acks, timeout) = (Acks::All, Duration::from_secs(5));
        let request = ProduceRequest { acks, timeout, transactional_id: None, topics };
        let Answer::Produce(answer) = ask(owner, request.into()).await else { panic!("another answer") };
        let outcome = &answer.topics[0].partitions[0].outcome;
        outcome.as_ref().map(drop).map_err(|refusal| refusal.code)
    }

    #[tokio::test]
    async fn it_is_as_late_as_the_wall_clock_says_also_after_a_sleep() {
        let config = ClusterConfig { started: wall(), ..ClusterConfig::default() };
        let owner = Owner::start(Cluster::new(config, 1).unwrap(), wall);
        let (name, configs) = ("t".into(), Vec::new());
        let new =
            NewTopic { name, partitions: Some(1), replication: Some(1), assignment: Vec::new(), configs };
        ask(&owner, CreateTopicsRequest { topics: vec![new], validate_only: false }.into()).await;
        let tomorrow = WallTime(wall().0 + 86_400_000_000);
        assert_eq!(produce(&owner, wall()).await, Ok(()));
        assert_eq!(produce(&owner, tomorrow).await, Err(ErrorCode::InvalidTimestamp));
        WALL.store(tomorrow.0, Ordering::Relaxed);
        assert_eq!(produce(&owner, tomorrow).await, Ok(()));
    }
}
