//! The small worlds that are tried: two members, four events, up to two faults.

use std::time::Duration;

use evenkeel_core::model::{Ordering, Time};

use super::super::Plan;
use super::super::setup::{Numbers, Setup};
use super::Scope;
use crate::faults::plan::FaultPlan;
use crate::faults::{Chance, Stroke};
use crate::history::Flavour;
use crate::seed::Seed;

/// When faults are over.
const QUIET: u64 = 2_500;
/// A search that is to end soon gives up after so many states.
const FEW: u64 = 2_000_000;
/// One that may take long.
const MANY: u64 = 50_000_000;
/// A process that died is started again after this.
const DOWN: Duration = Duration::from_secs(1);

/// What is tried with every change.
#[must_use]
pub fn quick() -> Vec<Scope> {
    vec![orders(1), every_order(), one_fault(0), lateness(0, 1)]
}

/// What takes minutes.
#[must_use]
pub fn large() -> Vec<Scope> {
    vec![orders(3), every_order(), one_fault(1), lateness(1, 1), two_faults()]
}

/// The usual order with so many things out of turn.
fn orders(swaps: u32) -> Scope {
    Scope { swaps: Some(swaps), ..calm("orders") }
}

/// Time goes on so many times although something could happen, and so many things are out of turn.
fn lateness(swaps: u32, late: u32) -> Scope {
    Scope { swaps: Some(swaps), late, ..calm("lateness") }
}

fn one_fault(swaps: u32) -> Scope {
    Scope { swaps: Some(swaps), faults: 1, ..faulty("one fault") }
}

fn two_faults() -> Scope {
    Scope { swaps: Some(0), faults: 2, ..faulty("two faults") }
}

fn faulty(name: &'static str) -> Scope {
    Scope {
        strokes: vec![
            Stroke::Crash { process: 0, down: DOWN },
            Stroke::Crash { process: 1, down: DOWN },
            Stroke::Stop { process: 0, down: DOWN },
            Stroke::Pause { process: 0, lasting: Duration::from_millis(6_500) },
            Stroke::Evict { group: 0, member: 0 },
            Stroke::RestartDatabase { down: Duration::from_millis(200) },
        ],
        chances: vec![
            Chance::ReplyLost,
            Chance::Reset,
            Chance::CommitApplied,
            Chance::AppendApplied,
            Chance::StatementLost,
            Chance::CommitLost,
            Chance::CommitReplyLost,
            Chance::HandlerFails,
            Chance::HandlerPanics,
        ],
        ..calm(name)
    }
}

fn calm(name: &'static str) -> Scope {
    let setup = setup(2, 4);
    let faults = FaultPlan { quiet_at: Time::from_millis(QUIET), ..FaultPlan::none(setup.seed) };
    Scope {
        name,
        plan: Plan { setup, faults },
        swaps: None,
        late: 0,
        faults: 0,
        strokes: Vec::new(),
        chances: Vec::new(),
        most_states: if name == "two faults" { MANY } else { FEW },
    }
}

/// Every order, of a world with one handler and two events.
fn every_order() -> Scope {
    let setup = setup(1, 2);
    let calm = calm("every order");
    Scope { plan: Plan { setup, ..calm.plan }, swaps: None, most_states: MANY, ..calm }
}

/// Two members, two partitions, events in two calls, and an exactly-once handler, with a plain one before it if there
/// are two: of the first seed that has such.
fn setup(handlers: u64, events: u64) -> Setup {
    let numbers = Numbers {
        partitions: 2,
        members: 2,
        handlers,
        events,
        per_send: events / 2,
        keys: 4,
        active: QUIET,
        rebalance_delay: 200,
        commit: 500,
        session: 6_000,
        rebalance: 4_000,
        drain: 1_000,
        ..Numbers::default()
    };
    let mut setups = (0..).map(|seed| Setup { seed: Seed(seed), numbers });
    setups.find(is_wanted).expect("there is no end of seeds")
}

fn is_wanted(setup: &Setup) -> bool {
    let facts = setup.facts();
    let flavours: Vec<_> = facts.handlers.iter().map(|handler| handler.flavour).collect();
    let ordered =
        facts.handlers.iter().all(|handler| handler.batch == 1 && handler.ordering == Ordering::Key);
    let sends = setup.sends().remove(0);
    let early = |at: Time| at > Time::from_millis(300) && at < Time::from_millis(1_300);
    let calls: Vec<_> = sends.iter().map(|send| send.events.len()).collect();
    let wanted = [Flavour::Idempotent, Flavour::ExactlyOnce];
    let each = setup.numbers.per_send as usize;
    wanted.ends_with(&flavours) && ordered && calls == [each, each] && sends.iter().all(|send| early(send.at))
}
