//! Faults that happen at a time, how they heal, and the ends of lives.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_cluster::Input;
use evenkeel_cluster::message::BrokerAddress;
use evenkeel_core::machine::Machine;
use evenkeel_core::model::{BrokerId, PartitionId};

use super::process::{Brain, Inlet, Role};
use super::world::{PATIENCE, Stage, Todo, World};
use crate::checkers::{Breach, Law};
use crate::faults::Stroke;
use crate::history::{End, GroupNo, Happening, Place, ServiceNo, TopicNo};
use crate::network::link::Link;
use crate::oversight::rest::Asking;
use crate::oversight::{Oversight, logs, positions, stale};
use crate::trace::Kind;

const STROKE: Kind = Kind::new("FAULT");
/// When a topic that could not be made is tried again.
const CREATE_AGAIN: Duration = Duration::from_millis(500);

/// How long after a look in vain the next one comes.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// Where a broker is said to be.
pub(super) fn address(broker: BrokerId) -> BrokerAddress {
    BrokerAddress { broker, host: "broker".into(), port: 9092 }
}

impl World {
    pub(super) fn strike(&mut self, stroke: Stroke) {
        self.cover(stroke.family());
        self.note(STROKE, stroke.family() as u64, 0, || stroke.to_string());
        let stroke = self.aimed(stroke);
        let now = self.now;
        let (processes, brokers) = (self.processes.len() as u16, self.setup.numbers.brokers as u16);
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
                if let Some(present) = &mut self.processes[usize::from(process(number))].present
                    && !present.paused
                {
                    present.paused = true;
                    let life = present.life;
                    self.tell(Happening::Paused { life });
                    self.plan_at(now + lasting, Todo::Resume(life));
                }
            }
            Stroke::Stop { process: number, down } => {
                let number = usize::from(process(number));
                self.processes[number].down = down;
                self.ask_to_stop(number);
            }
            Stroke::IsolateBroker { broker: number, lasting } => {
                self.network.links.isolate_broker(broker(number), now + lasting);
            }
            Stroke::IsolateProcess { process: number, lasting } => {
                self.network.links.isolate_process(process(number), now + lasting);
            }
            Stroke::Cut { process: number, broker: other, lasting } => {
                self.network
                    .links
                    .cut(Link { process: process(number), broker: broker(other) }, now + lasting);
            }
            Stroke::KillBroker { broker: number, down } => {
                let broker = broker(number);
                self.strike_cluster(Input::BrokerDied { broker });
                self.plan_at(now + down, Todo::StartBroker(broker));
            }
            Stroke::StallReplica { partition, broker: number, lasting } => {
                let (broker, place) = (broker(number), self.place(partition));
                logs::replicate(self, broker, place, false);
                self.plan_at(now + lasting, Todo::Unstall(broker, place));
            }
            Stroke::MoveLeader { partition, to } => {
                let place = self.place(partition);
                let (topic, partition) = (self.topic_name(place), place.partition);
                self.strike_cluster(Input::MoveLeader { topic, partition, to: broker(to) });
            }
            Stroke::ElectUnclean { partition, to, behind } => {
                let (broker, place) = (broker(to), self.place(partition));
                logs::replicate(self, broker, place, false);
                self.plan_at(now + behind, Todo::ElectUnclean(broker, place));
            }
            Stroke::Recreate { partition, gone } => {
                let topic = self.place(partition).topic;
                if logs::delete_topic(self, topic) {
                    self.plan_at(now + gone, Todo::CreateTopic(topic));
                }
            }
            Stroke::Trim { partition, keep } => {
                let place = self.place(partition);
                logs::trim(self, place, keep);
            }
            Stroke::MoveCoordinator { group, to } => {
                let group = self.group_name(group);
                self.strike_cluster(Input::MoveCoordinator { group, to: broker(to) });
            }
            Stroke::Evict { group, member } => {
                let group = self.group_name(group);
                self.evict(&group, usize::from(member));
            }
            Stroke::RestartDatabase { down } => {
                self.store.restart(now + down);
                self.wake_blocked();
            }
            Stroke::EmptyPool { lasting } => {
                self.store.empty_until = self.store.empty_until.max(now + lasting);
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
                logs::grow(self, topic, by.into());
            }
            Stroke::ForgetPosition { group, partition } => {
                let (group, place) = (self.group(group), self.place(partition));
                positions::forget(self, group, place);
            }
            Stroke::SetBack { group, partition, by } => {
                let (group, place) = (self.group(group), self.place(partition));
                positions::set_back(self, group, place, by);
            }
            Stroke::SpoilMetadata { group, partition, how } => {
                let (group, place) = (self.group(group), self.place(partition));
                positions::spoil(self, group, place, how);
            }
            Stroke::StaleMetadata { broker: number, lasting } => {
                stale::begin(self, broker(number), now + lasting);
            }
            // Nobody owns the partition.
            Stroke::CrashOwner { .. } | Stroke::PauseOwner { .. } => {}
            // Machines read no wall clock.
            Stroke::JumpClock { .. } | Stroke::DriftClock { .. } | Stroke::FreezeClock { .. } => {}
        }
    }

    /// A process's turn in the last deploy of its group.
    pub(super) fn deploy(&mut self, number: u16) {
        let place = usize::from(number);
        let Role::Service(service) = self.processes[place].role else { return };
        let process = &mut self.processes[place];
        process.deployed = self.rollouts.of_group(GroupNo(service.0));
        if process.present.as_ref().is_some_and(|present| present.deployed != process.deployed) {
            self.ask_to_stop(place);
        }
    }

    fn group(&self, number: u16) -> GroupNo {
        GroupNo(number % self.facts.groups.len() as u16)
    }

    fn group_name(&self, group: u16) -> Arc<str> {
        let groups = &self.facts.groups;
        Arc::clone(&groups[usize::from(group) % groups.len()].name)
    }

    /// A stroke at an owner becomes one at a process.
    fn aimed(&self, stroke: Stroke) -> Stroke {
        let (Stroke::CrashOwner { partition, .. } | Stroke::PauseOwner { partition, .. }) = stroke else {
            return stroke;
        };
        match (stroke, self.truth.owner(self.place(partition))) {
            (Stroke::CrashOwner { down, .. }, Some(owner)) => Stroke::Crash { process: owner.process, down },
            (Stroke::PauseOwner { lasting, .. }, Some(owner)) => {
                Stroke::Pause { process: owner.process, lasting }
            }
            (stroke, _) => stroke,
        }
    }

    /// A partition by its number over all topics.
    fn place(&self, number: u16) -> Place {
        let numbers = &self.setup.numbers;
        let number = u64::from(number) % (numbers.topics * numbers.partitions);
        let topic = TopicNo((number / numbers.partitions) as u16);
        Place { topic, partition: PartitionId((number % numbers.partitions) as i32) }
    }

    /// After how long all members have looked at the topics once more.
    fn looks(&self) -> Duration {
        Duration::from_millis(self.setup.numbers.watch) * 2 + CREATE_AGAIN
    }

    /// Makes a topic that was deleted anew, as soon as there are brokers enough.
    pub(super) fn create_topic(&mut self, topic: TopicNo) {
        if logs::create_topics(self, |wanted| wanted == topic) {
            self.unnoticed_until = self.now + self.looks();
        } else {
            self.plan_at(self.now + CREATE_AGAIN, Todo::CreateTopic(topic));
        }
    }

    pub(super) fn start_broker(&mut self, broker: BrokerId) {
        if !self.alive.contains(&broker) {
            self.strike_cluster(Input::BrokerStarted { address: address(broker) });
        }
    }

    /// A life ends, and with it whatever it had in memory and its connections.
    pub(super) fn end(&mut self, number: u16, end: End) {
        let Some(present) = self.processes[usize::from(number)].present.take() else { return };
        self.tell(Happening::LifeEnded { life: present.life, end });
        self.forget_all(present.life);
        self.work.forget(present.life);
        self.gather_brain(&present.brain);
        self.bury_calls(present.calls.into_values().collect(), present.life);
    }

    fn gather_brain(&mut self, brain: &Brain) {
        match brain {
            Brain::Member(member) => {
                self.gather("consumer", member.marks());
                self.gather("group", member.group().marks());
            }
            Brain::Produce(produce) => self.gather("produce", produce.marks()),
        }
    }

    pub(super) fn gather_all_marks(&mut self) {
        for number in 0..self.processes.len() {
            if let Some(present) = self.processes[number].present.clone() {
                self.gather_brain(&present.brain);
            }
        }
        let of_cluster = self.cluster.marks().clone();
        self.gather("cluster", &of_cluster);
    }

    /// A process has ended by itself.
    pub(super) fn exited(&mut self, process: usize, end: End) {
        let Some(life) = self.processes[process].present.as_ref().map(|present| present.life) else { return };
        let down = self.processes[process].down;
        let present = self.processes[process].present.as_ref();
        let met_faults = present.is_some_and(|present| {
            present.stops_outside || present.stopping_since.is_some_and(|since| since < self.healed_at)
        });
        let left = self.processes[process].present.as_ref().map_or_else(String::new, |present| {
            format!("{} calls run, cancelled or uncommitted: {}", present.calls.len(), present.untidy)
        });
        self.end(life.process, end);
        if self.stage != Stage::Stopping {
            return self.plan_at(self.now + down, Todo::Start(life.process));
        }
        if end == (End::Stopped { clean: false }) && !met_faults {
            let story = format!("{life} left work undone although nothing was wrong any more: {left}");
            self.break_law(Breach::new(Law::Liveness, story));
        } else if self.processes.iter().all(|process| process.present.is_none()) {
            self.rest();
        }
    }

    fn ask_to_stop(&mut self, process: usize) {
        if let Some(life) = self.processes[process].present.as_ref().map(|present| present.life) {
            self.tell(Happening::StopAsked { life });
            self.receive(life, Inlet::Stop);
        }
    }

    /// No more faults begin. Most heal now; some may stay until the rest is seen to do without.
    pub(super) fn fall_quiet(&mut self) {
        self.heal();
        if self.freeze() {
            self.stage = Stage::Frozen { until: self.now + PATIENCE };
            self.plan_at(self.now + LOOK, Todo::Look);
        } else {
            self.be_quiet();
        }
    }

    fn heal(&mut self) {
        self.network.links.heal();
        if stale::end_all(self) {
            self.unnoticed_until = self.unnoticed_until.max(self.now + self.looks());
        }
        self.store.down_until = self.store.down_until.min(self.now);
        self.store.empty_until = self.store.empty_until.min(self.now);
        for std::cmp::Reverse(due) in std::mem::take(&mut self.todo).into_sorted_vec().into_iter().rev() {
            match due.todo {
                Todo::Strike(_) => {}
                Todo::Start(process) => self.start(process),
                Todo::Resume(life) => self.resume(life),
                Todo::StartBroker(broker) => self.start_broker(broker),
                Todo::Unstall(broker, place) | Todo::ElectUnclean(broker, place) => {
                    logs::replicate(self, broker, place, true);
                }
                Todo::CreateTopic(topic) => self.create_topic(topic),
                Todo::Deploy(process) => self.deploy(process),
                Todo::Call(..)
                | Todo::Produce(_)
                | Todo::StopNow(_)
                | Todo::Abandon(_)
                | Todo::Haunt(_)
                | Todo::Quiet
                | Todo::Look => self.todo.push(std::cmp::Reverse(due)),
            }
        }
    }

    /// Whether all has come to rest.
    pub(super) fn look(&mut self) {
        let until = match self.stage {
            Stage::Quiet { until } => until,
            Stage::Frozen { until } => return self.look_at_core(until),
            Stage::Active | Stage::Stopping | Stage::Over => return,
        };
        let pending = self.pending(Asking::Whether);
        if pending.is_empty() {
            self.stage = Stage::Stopping;
            for process in 0..self.processes.len() {
                self.ask_to_stop(process);
            }
            return;
        }
        if self.now >= until {
            let pending = self.pending(Asking::What);
            // What is lost is told as such, not as something that is late.
            if let Err(breach) = self.judge.rest(self.now) {
                return self.break_law(breach);
            }
            let story = format!("not at rest {PATIENCE:?} after the last fault: {}", pending.join("; "));
            return self.break_law(Breach::new(Law::Liveness, story));
        }
        self.plan_at(self.now + LOOK, Todo::Look);
    }

    fn rest(&mut self) {
        #[cfg(debug_assertions)]
        self.cluster.check();
        if let Err(breach) = self.judge.rest(self.now) {
            return self.break_law(breach);
        }
        self.judge.put_to_test(Law::Liveness);
        self.stage = Stage::Over;
    }

    /// The processes that are to be members of each group.
    pub(super) fn members_of(&self, group: u16) -> usize {
        let is_member = |process: &&super::process::Process| matches!(process.role, Role::Service(service) if service.0 == group);
        self.processes.iter().filter(is_member).count()
    }
}
