//! A quiet phase in which some faults stay as they are: a broker that nobody reaches, a process that stands still.
//!
//! What does not need them is the healthy core: partitions and groups that other brokers lead, and the members that are
//! left. It must go on and come to rest while the rest stays broken. Where everything heals, what waits for something
//! that never comes is healed with it, and nobody learns of it. Afterwards all heals, as in any other run.

use std::time::Duration;

use evenkeel_core::model::BrokerId;

use super::process::Role;
use super::strike::LOOK;
use super::world::{PATIENCE, Stage, Todo, World};
use crate::checkers::{Breach, Law};
use crate::history::{Happening, Life};
use crate::oversight::rest::{self, Asking};

/// After how long a database gives up on a session that stands still in a transaction; the longest attempt is shorter.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(10);

impl World {
    /// The broker that stays out of reach.
    fn frozen_broker(&self) -> Option<BrokerId> {
        let numbers = &self.setup.numbers;
        let is_one_of_several = (1..=numbers.brokers).contains(&numbers.frozen_broker) && numbers.brokers > 1;
        is_one_of_several.then_some(BrokerId(numbers.frozen_broker as i32))
    }

    /// The member that goes on standing still, if others are left.
    fn frozen_member(&self) -> Option<Life> {
        let numbers = &self.setup.numbers;
        let process = self.processes.get(usize::try_from(numbers.frozen_process).ok()?.checked_sub(1)?)?;
        let is_member = matches!(process.role, Role::Service(_));
        process.present.as_ref().map(|present| present.life).filter(|_| is_member && numbers.members > 1)
    }

    /// Lets some faults be as they are. False if none is to be.
    pub(super) fn freeze(&mut self) -> bool {
        let member = self.frozen_member();
        if let Some(life) = member
            && let Some(present) = &mut self.processes[usize::from(life.process)].present
        {
            present.paused = true;
            let open: Vec<_> = present.calls.values().filter_map(|call| call.tx).collect();
            self.tell(Happening::Paused { life });
            for tx in open {
                self.plan_at(self.now + IDLE_IN_TRANSACTION, Todo::Abandon(tx));
            }
        }
        self.keep_out_of_reach();
        member.is_some() || self.frozen_broker().is_some()
    }

    /// Until shortly after the next look.
    fn keep_out_of_reach(&mut self) {
        if let Some(broker) = self.frozen_broker() {
            self.network.links.isolate_broker(broker, self.now + LOOK * 2);
        }
    }

    /// Whether the healthy core has come to rest.
    pub(super) fn look_at_core(&mut self, until: evenkeel_core::model::Time) {
        let pending = self.pending_in_core(Asking::Whether);
        if pending.is_empty() {
            self.judge.put_to_test(Law::Liveness);
            return self.thaw();
        }
        if self.now >= until {
            let pending = self.pending_in_core(Asking::What).join("; ");
            let story = format!("the healthy core is not at rest after {PATIENCE:?}: {pending}");
            return self.break_law(Breach::new(Law::Liveness, story));
        }
        self.keep_out_of_reach();
        self.plan_at(self.now + LOOK, Todo::Look);
    }

    fn pending_in_core(&mut self, asking: Asking) -> Vec<String> {
        if self.now < self.unnoticed_until {
            return vec!["a topic was made anew a moment ago".to_owned()];
        }
        let stands_still = |process: &super::process::Process, group: u16| {
            let is_member = matches!(process.role, Role::Service(service) if service.0 == group);
            is_member && process.present.as_ref().is_some_and(|present| present.paused)
        };
        let members: Vec<_> = (0..self.facts.groups.len() as u16)
            .map(|group| {
                let still = self.processes.iter().filter(|process| stands_still(process, group)).count();
                self.members_of(group) - still
            })
            .collect();
        let mut pending = Vec::new();
        rest::pending(self, &members, self.frozen_broker(), asking, &mut pending);
        pending
    }

    /// What was left as it was heals as well.
    fn thaw(&mut self) {
        self.network.links.heal();
        let paused = self.processes.iter().filter_map(|process| process.present.as_ref());
        let paused: Vec<_> = paused.filter(|present| present.paused).map(|present| present.life).collect();
        for life in paused {
            self.resume(life);
        }
        self.be_quiet();
    }

    /// From now on nothing is wrong any more.
    pub(super) fn be_quiet(&mut self) {
        self.healed_at = self.now;
        self.tell(Happening::Quiet);
        self.stage = Stage::Quiet { until: self.now + PATIENCE };
        self.plan_at(self.now + Duration::from_millis(200), Todo::Look);
    }
}

#[cfg(test)]
mod tests {
    use crate::seed::Seed;
    use crate::step::planted::Planted;
    use crate::step::{Plan, run, run_with};
    use crate::trace::Detail;

    fn frozen(seed: u64, broker: u64, process: u64) -> Plan {
        let mut plan = Plan::draw(Seed(seed));
        plan.setup.numbers.frozen_broker = broker;
        plan.setup.numbers.frozen_process = process;
        plan
    }

    #[test]
    fn a_core_that_waits_for_what_stays_broken_is_found_only_where_it_stays() {
        let bug = Some(Planted::OneBrokerHoldsAll);
        let seeds = 0..200;
        let breaks = |seed: &u64, broker| {
            let breach = run_with(&frozen(*seed, broker, 0), bug, Detail::Hashes).breach;
            breach.is_some_and(|(_, breach)| breach.story.contains("the healthy core is not at rest"))
        };
        let seed = seeds.clone().find(|seed| breaks(seed, 1)).expect("a seed shows it");
        assert!(!breaks(&seed, 0), "it heals with the rest");
        assert!(run(&frozen(seed, 1, 0), Detail::Hashes).is_clean(), "without the bug the core goes on");
    }

    #[test]
    fn what_is_to_stay_broken_and_is_not_there_changes_nothing() {
        for seed in 0..20 {
            let hash = |broker, process| run(&frozen(seed, broker, process), Detail::Hashes).trace.hash();
            assert_eq!(hash(0, 0), hash(99, 999), "seed {seed}");
        }
    }
}
