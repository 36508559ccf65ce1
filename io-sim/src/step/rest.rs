//! Whether a run has come to rest: what is not, in words. Cheap questions come first, and one answer is enough unless a
//! person is to be told.

use super::process::Role;
use super::world::World;
use crate::oversight::rest::{self, Asking};

impl World {
    /// What is not at rest: all of it, or something if there is anything.
    pub(super) fn pending(&mut self, asking: Asking) -> Vec<String> {
        let mut pending = Vec::new();
        for nth in 0..self.processes.len() {
            let process = &self.processes[nth];
            let Some(present) = &process.present else {
                pending.push(format!("process {nth} is down"));
                continue;
            };
            if present.deployed != process.deployed {
                pending.push(format!("process {nth} has yet to stop to come again with other handlers"));
            }
            // Who has not been heard since cannot be sure of its partitions, and commits nothing when it stops.
            let heard = self.truth.was_well_since(present.life, self.healed_at);
            if matches!(process.role, Role::Service(_)) && !heard {
                pending.push(format!("{} has not heard from its coordinator since the quiet", present.life));
            }
            if let Role::Producer(producer) = process.role {
                let (done, of) = (self.produced[producer], self.sends[producer].len());
                if done < of || !present.sending.is_empty() {
                    pending.push(format!(
                        "producer {nth} is at {done} of {of} calls and waits for {}",
                        present.sending.len()
                    ));
                }
            }
        }
        let old = self.waiting_since_before(self.healed_at);
        if old > 0 {
            pending.push(format!("{old} requests of before the quiet are not answered"));
        }
        let old = self.calls_since_before(self.plan.quiet_at);
        if old > 0 {
            pending.push(format!("{old} calls of before the quiet are not over"));
        }
        let batches = self.network.batches_on_the_way();
        if batches > 0 {
            pending.push(format!("{batches} batches are on their way"));
        }
        if self.now < self.unnoticed_until {
            pending.push("a topic was made anew a moment ago".to_owned());
        }
        if !pending.is_empty() && asking == Asking::Whether {
            return pending;
        }
        let members: Vec<_> =
            (0..self.facts.groups.len()).map(|group| self.members_of(group as u16)).collect();
        rest::pending(self, &members, None, asking, &mut pending);
        pending
    }
}
