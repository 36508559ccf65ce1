//! How the faults of a plan strike a world of the whole library.

use std::sync::Arc;

use evenkeel_cluster::Input;
use evenkeel_core::model::{BrokerId, PartitionId};
use madsim::runtime::Handle;

use super::{Director, Role, STROKE, Todo};
use crate::database;
use crate::faults::Stroke;
use crate::history::{End, GroupNo, Happening, Place, ServiceNo, TopicFacts, TopicNo};
use crate::network::link::Link;
use crate::oversight::{Oversight, logs, positions, stale};

impl Director {
    pub(super) fn strike(&mut self, stroke: Stroke) {
        let now = self.shared.now();
        self.shared.lock().note(STROKE, stroke.family() as u64, 0, || stroke.to_string());
        let stroke = self.aimed(stroke);
        let (processes, brokers) = (self.processes.len() as u16, self.scenario.brokers);
        let process = |number: u16| number % processes;
        let broker = |number: u16| BrokerId(i32::from(number % brokers) + 1);
        match stroke {
            Stroke::Crash { process: number, down } => {
                let number = process(number);
                if self.processes[usize::from(number)].present.is_some() {
                    self.end(number, End::Crashed);
                    self.plan_at(now + down, Todo::Start(number));
                }
            }
            Stroke::Pause { process: number, lasting } => {
                let number = process(number);
                if let Some(present) = &mut self.processes[usize::from(number)].present
                    && !present.paused
                {
                    present.paused = true;
                    let life = present.life;
                    self.shared.lock().tell(Happening::Paused { life });
                    Handle::current().pause(present.node.id());
                    self.plan_at(now + lasting, Todo::Resume(life));
                }
            }
            Stroke::Stop { process: number, down } => {
                let process = &mut self.processes[usize::from(process(number))];
                process.down = down;
                if let Some(present) = &process.present {
                    present.ask_to_stop(&self.shared);
                }
            }
            Stroke::JumpClock { process: number, by_micros } => {
                let number = process(number);
                self.shared.lock().clocks.entry(number).or_default().jump(by_micros);
            }
            Stroke::DriftClock { process: number, ppm } => {
                self.shared.lock().clocks.entry(process(number)).or_default().drift(now, ppm);
            }
            Stroke::FreezeClock { process: number, lasting } => {
                self.shared.lock().clocks.entry(process(number)).or_default().freeze(now, now + lasting);
            }
            Stroke::StaleMetadata { broker: number, lasting } => {
                stale::begin(&mut *self.shared.lock(), broker(number), now + lasting);
            }
            Stroke::IsolateBroker { broker: number, lasting } => {
                self.shared.lock().network.links.isolate_broker(broker(number), now + lasting);
            }
            Stroke::IsolateProcess { process: number, lasting } => {
                self.shared.lock().network.links.isolate_process(process(number), now + lasting);
            }
            Stroke::Cut { process: number, broker: other, lasting } => {
                let link = Link { process: process(number), broker: broker(other) };
                self.shared.lock().network.links.cut(link, now + lasting);
            }
            Stroke::KillBroker { broker: number, down } => {
                let broker = broker(number);
                self.shared.lock().strike_cluster(Input::BrokerDied { broker });
                self.plan_at(now + down, Todo::StartBroker(broker));
            }
            Stroke::StallReplica { partition, broker: number, lasting } => {
                let (broker, place) = (broker(number), self.place(partition));
                logs::replicate(&mut *self.shared.lock(), broker, place, false);
                self.plan_at(now + lasting, Todo::Unstall(broker, place));
            }
            Stroke::MoveLeader { partition, to } => {
                let place = self.place(partition);
                let mut state = self.shared.lock();
                let (topic, partition) = (state.topic_name(place), place.partition);
                state.strike_cluster(Input::MoveLeader { topic, partition, to: broker(to) });
            }
            Stroke::ElectUnclean { partition, to, behind } => {
                let (broker, place) = (broker(to), self.place(partition));
                logs::replicate(&mut *self.shared.lock(), broker, place, false);
                self.plan_at(now + behind, Todo::ElectUnclean(broker, place));
            }
            Stroke::MoveCoordinator { group, to } => {
                let groups = &self.scenario.facts.groups;
                let group = Arc::clone(&groups[usize::from(group) % groups.len()].name);
                self.shared.lock().strike_cluster(Input::MoveCoordinator { group, to: broker(to) });
            }
            Stroke::Evict { group, member } => {
                let groups = &self.scenario.facts.groups;
                let group = Arc::clone(&groups[usize::from(group) % groups.len()].name);
                self.shared.lock().evict(&group, usize::from(member));
            }
            Stroke::RestartDatabase { down } => {
                self.shared.lock().strike_database(database::Input::Crash { lose: 0 });
                self.plan_at(now + down, Todo::StartDatabase);
            }
            Stroke::EmptyPool { lasting } => {
                let mut state = self.shared.lock();
                state.sessions.empty_until = state.sessions.empty_until.max(now + lasting);
            }
            Stroke::Recreate { partition, gone } => {
                let topic = self.place(partition).topic;
                if logs::delete_topic(&mut *self.shared.lock(), topic) {
                    self.plan_at(now + gone, Todo::CreateTopic(topic));
                }
            }
            Stroke::Trim { partition, keep } => {
                logs::trim(&mut *self.shared.lock(), self.place(partition), keep);
            }
            Stroke::Deploy { group, handlers, every } => {
                let group = self.group(group);
                let all = (0..).zip(&self.processes);
                let its = all.filter(|(_, process)| process.role == Role::Service(ServiceNo(group.0)));
                let its = its.map(|(number, _)| number);
                for (at, number) in self.rollouts.begin(now, group, handlers, every, its) {
                    self.plan_at(at, Todo::Deploy(number));
                }
            }
            Stroke::Grow { partition, by } => {
                let topic = self.place(partition).topic;
                logs::grow(&mut *self.shared.lock(), topic, by.into());
            }
            Stroke::ForgetPosition { group, partition } => {
                positions::forget(&mut *self.shared.lock(), self.group(group), self.place(partition));
            }
            Stroke::SetBack { group, partition, by } => {
                positions::set_back(&mut *self.shared.lock(), self.group(group), self.place(partition), by);
            }
            Stroke::SpoilMetadata { group, partition, how } => {
                positions::spoil(&mut *self.shared.lock(), self.group(group), self.place(partition), how);
            }
            // Nobody owns the partition.
            Stroke::CrashOwner { .. } | Stroke::PauseOwner { .. } => {}
        }
    }

    /// A process's turn in the last deploy of its group.
    pub(super) fn deploy(&mut self, number: u16) {
        let process = &mut self.processes[usize::from(number)];
        let Role::Service(service) = process.role else { return };
        process.deployed = self.rollouts.of_group(GroupNo(service.0));
        if let Some(present) = process.present.as_ref().filter(|p| p.deployed != process.deployed) {
            present.ask_to_stop(&self.shared);
        }
    }

    /// A stroke at an owner becomes one at a process.
    fn aimed(&self, stroke: Stroke) -> Stroke {
        let (Stroke::CrashOwner { partition, .. } | Stroke::PauseOwner { partition, .. }) = stroke else {
            return stroke;
        };
        match (stroke, self.shared.lock().truth.owner(self.place(partition))) {
            (Stroke::CrashOwner { down, .. }, Some(owner)) => Stroke::Crash { process: owner.process, down },
            (Stroke::PauseOwner { lasting, .. }, Some(owner)) => {
                Stroke::Pause { process: owner.process, lasting }
            }
            (stroke, _) => stroke,
        }
    }

    fn group(&self, number: u16) -> GroupNo {
        GroupNo(number % self.scenario.facts.groups.len() as u16)
    }

    /// A partition by its number over all topics.
    fn place(&self, number: u16) -> Place {
        let of_topic = |(topic, facts): (TopicNo, &TopicFacts)| {
            (0..facts.partitions as i32)
                .map(move |partition| Place { topic, partition: PartitionId(partition) })
        };
        let topics = (0..).map(TopicNo).zip(&self.scenario.facts.topics);
        let places: Vec<_> = topics.flat_map(of_topic).collect();
        places[usize::from(number) % places.len()]
    }
}
