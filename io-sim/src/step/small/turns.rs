//! What could happen next, where nothing but the order is open.

use std::cmp::Reverse;

use evenkeel_core::machine::Machine;
use evenkeel_core::model::Time;

use super::super::world::{Stage, World};
use crate::network::Turn;

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// A message arrives, or a connection comes about or breaks.
    Message(Turn),
    /// Something that was planned, by its number: a call goes on, a process starts.
    Planned(u64),
    /// Time goes on to the next timer.
    Time,
}

impl World {
    /// Whether faults may strike.
    pub(super) fn is_active(&self) -> bool {
        self.stage == Stage::Active && self.now < self.plan.quiet_at
    }

    /// What could happen next; what would if nobody meddled comes first, and time goes on last.
    pub(super) fn choices(&self) -> Vec<Choice> {
        let messages = self.network.turns(self.now).into_iter().map(Choice::Message);
        let due = self.todo.iter().filter(|Reverse(due)| due.at <= self.now);
        let mut planned: Vec<_> = due.map(|Reverse(due)| due.sequence).collect();
        planned.sort_unstable();
        messages.chain(planned.into_iter().map(Choice::Planned)).chain([Choice::Time]).collect()
    }

    /// Lets it happen, and all that follows at once.
    pub(super) fn choose(&mut self, choice: Choice) {
        if !self.has_an_end() {
            return;
        }
        match choice {
            Choice::Message(turn) => {
                if let Some(delivery) = self.network.arrive_in_turn(self.now, turn) {
                    self.deliver(delivery);
                }
            }
            Choice::Planned(number) => {
                let planned = std::mem::take(&mut self.todo).into_vec();
                let (chosen, others): (Vec<_>, Vec<_>) =
                    planned.into_iter().partition(|Reverse(due)| due.sequence == number);
                self.todo = others.into();
                for Reverse(due) in chosen {
                    self.perform_todo(due.todo);
                }
            }
            Choice::Time => match self.next_timer() {
                Some(at) => self.now = at,
                None => self.stand_still(),
            },
        }
        self.settle();
    }

    /// Lets happen what nobody chooses: timers that are due, and what processes want done.
    pub(super) fn settle(&mut self) {
        while self.has_an_end() {
            let is_due = |at: Option<Time>| at.is_some_and(|at| at <= self.now);
            if is_due(self.limits.first().map(|(at, _)| *at)) {
                self.time_out();
            } else if is_due(self.cluster_due) {
                self.cluster.tick(self.now);
                self.drain_cluster();
            } else if let Some(nth) = self.processes.iter().position(|process| is_due(process.wake())) {
                self.wake(nth);
            } else {
                return;
            }
        }
    }

    fn next_timer(&self) -> Option<Time> {
        let limit = self.limits.first().map(|(at, _)| *at);
        let planned = self.todo.iter().map(|Reverse(due)| due.at).filter(|at| *at > self.now).min();
        let processes = self.processes.iter().filter_map(super::super::process::Process::wake).min();
        let arrival = self.network.next_after(self.now);
        [limit, planned, processes, arrival, self.cluster_due].into_iter().flatten().min()
    }
}
