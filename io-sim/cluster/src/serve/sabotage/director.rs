//! The task that owns the [`Saboteur`] and does what it says: it answers connections, and lays hands on the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::machine::{Machine, Marks};
use evenkeel_core::model::{BrokerId, Time};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::decide::{Action, Fate, Input, Matter, Saboteur};
use super::scene::{self, Aim, Replica, Scene};
use super::words::{BrokerChance, BrokerPlan, BrokerStroke};
use crate::cluster::Input as Event;
use crate::faults::plan::Chance as _;
use crate::faults::{Moment, Occasion};
use crate::message::{LeaveGroupRequest, LeavingMember};
use crate::serve::site::Site;
use crate::wire::Api;

/// How many connections may wait for the task.
const QUEUE: usize = 256;
/// How long to wait when a broker's port is taken as it comes back.
const RETRY: Duration = Duration::from_millis(100);

/// What connections ask what is to become of them.
#[derive(Debug, Clone)]
pub(in crate::serve) struct Sabotage {
    commands: mpsc::Sender<Command>,
    isolated: watch::Receiver<BTreeSet<BrokerId>>,
}

#[derive(Debug)]
enum Command {
    Judge { matter: Matter, reply: oneshot::Sender<Fate> },
    Tell { reply: oneshot::Sender<Marks> },
}

impl Sabotage {
    /// Starts the task for the brokers of a site; it ends with the set that it is in.
    pub(in crate::serve) fn start(plan: BrokerPlan, site: Arc<Mutex<Site>>, tasks: &mut JoinSet<()>) -> Self {
        let (commands, inbox) = mpsc::channel(QUEUE);
        let (isolate, isolated) = watch::channel(BTreeSet::new());
        let director = Director { site, isolate, undo: BTreeMap::new(), restarts: JoinSet::new() };
        tasks.spawn(director.run(Saboteur::new(plan), inbox));
        Self { commands, isolated }
    }

    /// What is to become of a request to a broker, or of a new connection. Nothing, if the task is gone.
    pub(in crate::serve) async fn judge(&self, broker: BrokerId, api: Option<Api>) -> Fate {
        let (reply, fate) = oneshot::channel();
        let matter = Matter { broker, api };
        match self.commands.send(Command::Judge { matter, reply }).await {
            Ok(()) => fate.await.unwrap_or_default(),
            Err(_) => Fate::default(),
        }
    }

    /// Waits until a broker is not isolated.
    pub(in crate::serve) async fn reachable(&self, broker: BrokerId) {
        // An error means that the task is gone: nobody isolates any more.
        let _ = self.isolated.clone().wait_for(|isolated| !isolated.contains(&broker)).await;
    }

    /// How often each fault has struck.
    pub(in crate::serve) async fn struck(&self) -> Marks {
        let (reply, marks) = oneshot::channel();
        match self.commands.send(Command::Tell { reply }).await {
            Ok(()) => marks.await.unwrap_or_default(),
            Err(_) => Marks::default(),
        }
    }
}

struct Director {
    site: Arc<Mutex<Site>>,
    isolate: watch::Sender<BTreeSet<BrokerId>>,
    /// What heals strokes that have begun, by their places in the plan.
    undo: BTreeMap<usize, Undo>,
    restarts: JoinSet<()>,
}

#[derive(PartialEq)]
enum Undo {
    Start(BrokerId),
    Join(BrokerId),
    Copy(Replica),
}

impl Director {
    async fn run(mut self, mut saboteur: Saboteur, mut inbox: mpsc::Receiver<Command>) {
        let begun = Instant::now();
        let now = || Time::from_nanos(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
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
                Some(_) = self.restarts.join_next() => continue,
                command = inbox.recv() => match command {
                    Some(command) => Some(command),
                    None => return,
                },
            };
            match command {
                None => saboteur.tick(now()),
                Some(Command::Judge { matter, reply }) => {
                    waiting = Some(reply);
                    saboteur.handle(now(), Input::Came(matter));
                }
                Some(Command::Tell { reply }) => {
                    // Who asked may be gone.
                    let _ = reply.send(saboteur.marks().clone());
                }
            }
            while let Some(action) = saboteur.poll() {
                match action {
                    Action::Treat { fate, struck } => {
                        for (occasion, matter) in struck {
                            tell(now(), occasion, matter);
                        }
                        if let Some(reply) = waiting.take() {
                            let _ = reply.send(fate);
                        }
                    }
                    Action::Strike(Moment::Begins(nth, stroke)) => {
                        let undo = self.begin(now(), stroke).await;
                        self.undo.extend(undo.map(|undo| (nth, undo)));
                    }
                    Action::Strike(Moment::Ends(nth, stroke)) => {
                        if let Some(undo) = self.undo.remove(&nth) {
                            tracing::info!(target: super::LOG, at = %now(), "over: {stroke}");
                            self.end(undo).await;
                        }
                    }
                }
            }
        }
    }

    /// Does it, and says how it is undone.
    async fn begin(&mut self, now: Time, stroke: BrokerStroke) -> Option<Undo> {
        let (owner, brokers, alive) = {
            let site = self.site.lock().await;
            (site.owner(), site.brokers(), site.alive())
        };
        let scene = Scene::look(&owner, brokers, &alive).await;
        let Some(aim) = scene.aim(stroke) else {
            tracing::info!(target: super::LOG, at = %now, "{stroke}: nothing is there that it could strike");
            return None;
        };
        tracing::info!(target: super::LOG, at = %now, "{stroke}: {aim}");
        match aim {
            Aim::Kill(broker) => {
                self.site.lock().await.kill(broker).await;
                Some(Undo::Start(broker))
            }
            Aim::Isolate(broker) => {
                self.isolate.send_modify(|isolated| {
                    isolated.insert(broker);
                });
                Some(Undo::Join(broker))
            }
            Aim::Stall(replica) => {
                owner.tell(replica.clone().copies(false)).await;
                Some(Undo::Copy(replica))
            }
            Aim::Lead(replica) => {
                owner.tell(replica.leads()).await;
                None
            }
            Aim::Coordinate { group, by } => {
                owner.tell(Event::MoveCoordinator { group, to: by }).await;
                None
            }
            Aim::Evict { group, coordinator, member } => {
                let members = vec![LeavingMember { member, instance: None }];
                // Whatever comes of it: the member may have left meanwhile.
                let _ = scene::ask(&owner, coordinator, LeaveGroupRequest { group, members }.into()).await;
                None
            }
        }
    }

    async fn end(&mut self, undo: Undo) {
        if self.undo.values().any(|later| *later == undo) {
            // Another stroke of the kind is not over yet.
            return;
        }
        match undo {
            Undo::Start(broker) => {
                let site = Arc::clone(&self.site);
                // Its port may have been taken meanwhile, and come free again.
                self.restarts.spawn(async move {
                    loop {
                        // Not in the loop's condition, where the lock would be held while it waits.
                        let outcome = site.lock().await.start(broker).await;
                        let Err(cause) = outcome else { break };
                        tracing::warn!(target: super::LOG, %broker, %cause, "not back yet");
                        tokio::time::sleep(RETRY).await;
                    }
                });
            }
            Undo::Join(broker) => self.isolate.send_modify(|isolated| {
                isolated.remove(&broker);
            }),
            Undo::Copy(replica) => {
                let owner = self.site.lock().await.owner();
                owner.tell(replica.copies(true)).await;
            }
        }
    }
}

fn tell(now: Time, Occasion { chance, entity, nth }: Occasion<BrokerChance>, matter: Matter) {
    let (name, broker) = (chance.name(), matter.broker);
    match matter.api {
        Some(api) => {
            tracing::info!(target: super::LOG, at = %now, "{name} of {entity} nth {nth}: {api:?} to broker {broker}");
        }
        None => {
            tracing::info!(target: super::LOG, at = %now, "{name} of {entity} nth {nth}: a connection to broker {broker}");
        }
    }
}
