//! W1, W2, and C8 as far as waiting events go: what a process does in vain, and what it holds, stay within bounds.
//!
//! **In vain.** A failure is a question that was refused or not answered. Of one question to one place (a fetch from a
//! broker, a batch for a partition) so many may fail in a row as while waits still grow, and from then on one for each
//! longest wait that has passed since the first. Nothing but a success of the *same* question begins a new count: a wait
//! that something else begins anew, like a look at the cluster that worked, goes over the bound.
//!
//! **Held.** A process waits for no more answers than its machines may ask for at once, reads no further ahead of what
//! is open than its window, and has no more events of a handler open than its limit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_core::error::ErrorCode;
use evenkeel_core::machine::delivery::Outcome;
use evenkeel_core::machine::{consumer, group, member, produce};
use evenkeel_core::model::{BrokerId, Offset, Time, TopicPartition};
use evenkeel_core::ports::PortError;

use super::ask::Input;
use super::process::Role;
use super::world::World;
use crate::checkers::{Breach, Law};
use crate::history::{GroupNo, HandlerNo, Life, Place};
use crate::oversight::truth;
use crate::trace::digest_bytes;

/// So many failures in a row may come while waits grow from 50 ms to five seconds, or to one; and once more as much.
const GROWING: u32 = 16;
/// The longest wait for a server, less its jitter.
const LONGEST: Duration = Duration::from_secs(4);
/// The longest wait of a producer before it looks at the cluster again, less its jitter.
const LONGEST_LOOK: Duration = Duration::from_millis(800);
/// The bytes of a record that has nothing in it, as windows count them.
const LEAST_WEIGHT: u64 = 128;

/// The questions that are about the partitions of an assignment.
const OF_AN_ASSIGNMENT: [&str; 4] = ["fetch-offsets", "list-offsets", "fetch", "commit"];

/// A question of a process, and to whom it goes or what it is about.
type Errand = (Life, &'static str, u64);

/// Failures in a row.
#[derive(Debug, Clone, Copy)]
struct Vain {
    since: Time,
    times: u32,
}

/// See the [module](self).
#[derive(Debug, Clone, Default)]
pub(super) struct Work {
    vain: BTreeMap<Errand, Vain>,
    /// What runs or waits for another attempt.
    open: BTreeMap<(Life, HandlerNo), BTreeSet<(Place, Offset)>>,
    /// Below, all that a process has read is over.
    over: BTreeMap<(Life, Place), Offset>,
}

impl Work {
    /// A question was answered. False if it failed once too often.
    fn answered(&mut self, now: Time, errand: Errand, worked: bool, longest: Duration) -> Result<(), Vain> {
        if worked {
            self.vain.remove(&errand);
            return Ok(());
        }
        let vain = self.vain.entry(errand).or_insert(Vain { since: now, times: 0 });
        vain.times += 1;
        let waits = now.since(vain.since).as_micros() / longest.as_micros();
        if u128::from(vain.times) > u128::from(GROWING) + waits { Err(*vain) } else { Ok(()) }
    }

    /// A life is over, or its assignment: the next one knows nothing of what failed for partitions that it had.
    pub(super) fn let_go(&mut self, life: Life) {
        self.open.retain(|(of, _), _| *of != life);
        self.vain.retain(|(of, question, _), _| *of != life || !OF_AN_ASSIGNMENT.contains(question));
    }

    /// A life is over.
    pub(super) fn forget(&mut self, life: Life) {
        self.let_go(life);
        self.vain.retain(|(of, ..), _| *of != life);
    }

    /// The policy gave an event up.
    pub(super) fn given_up(&mut self, life: Life, handler: HandlerNo, place: Place, offset: Offset) {
        if let Some(open) = self.open.get_mut(&(life, handler)) {
            open.remove(&(place, offset));
        }
    }

    /// A call ended.
    pub(super) fn ended(
        &mut self,
        life: Life,
        handler: HandlerNo,
        events: &[(Place, Offset)],
        outcome: Outcome,
    ) {
        if matches!(outcome, Outcome::Done | Outcome::AlreadyDone | Outcome::Ignored)
            && let Some(open) = self.open.get_mut(&(life, handler))
        {
            for event in events {
                open.remove(event);
            }
        }
    }
}

/// Whether something came of an answer; nothing if it is neither here nor there.
fn worked<T>(outcome: &Result<T, PortError>) -> Option<bool> {
    match outcome {
        Ok(_) => Some(true),
        // Others join or leave, or an event cannot be sent as it is: the protocol goes on, or the next event.
        Err(PortError::Refused(
            ErrorCode::RebalanceInProgress
            | ErrorCode::MemberIdRequired
            | ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge,
        )) => None,
        Err(_) => Some(false),
    }
}

fn number(at: &TopicPartition) -> u64 {
    digest_bytes(at.topic.as_str().as_bytes()) ^ at.partition.0 as u64
}

/// What an answer says of each of its errands: what it is about, and whether it worked.
fn weighed(input: &Input, broker: BrokerId, about: u64) -> Vec<(u64, Option<bool>)> {
    let of_broker = broker.0 as u64;
    let parts = |whole: Option<bool>, parts: Vec<(u64, bool)>| {
        let parts = parts.into_iter().map(|(about, worked)| (about, Some(worked)));
        std::iter::once((of_broker, whole)).chain(parts).collect()
    };
    match input {
        Input::Member(member::Input::Group(input)) => {
            let outcome = match input {
                group::Input::CoordinatorFound { outcome, .. } => worked(outcome),
                group::Input::Joined { outcome: Err((error, _)), .. } => worked::<()>(&Err(error.clone())),
                group::Input::Joined { outcome: Ok(_), .. } => Some(true),
                group::Input::TopicsDescribed { outcome, .. } => worked(outcome),
                group::Input::Synced { outcome, .. } => worked(outcome),
                group::Input::HeartbeatDone { outcome, .. } => worked(outcome),
                _ => None,
            };
            // The leader of a group looks at the cluster beside the consumer that it is as well.
            vec![(u64::from(matches!(input, group::Input::TopicsDescribed { .. })), outcome)]
        }
        Input::Member(member::Input::Consumer(input)) => match input {
            consumer::Input::Committed { outcome, .. } => vec![(0, worked(outcome))],
            consumer::Input::Described { outcome, .. } => vec![(0, worked(outcome))],
            consumer::Input::CommitDone { outcome, .. } => {
                let all = outcome.as_ref().is_ok_and(|all| all.iter().all(Result::is_ok));
                vec![(0, worked(outcome).map(|worked| worked && all))]
            }
            consumer::Input::Listed { outcome, .. } => {
                let listed = outcome.iter().flatten().map(|one| (number(&one.at), one.outcome.is_ok()));
                parts(worked(outcome), listed.collect())
            }
            consumer::Input::Fetched { outcome, .. } => {
                let read = outcome.iter().flatten().map(|(at, read)| (number(at), read.is_ok()));
                parts(worked(outcome), read.collect())
            }
            _ => Vec::new(),
        },
        Input::Member(_) => Vec::new(),
        Input::Produce(produce::Input::Described { outcome, .. }) => vec![(0, worked(outcome))],
        Input::Produce(produce::Input::Sent { outcome, .. }) => vec![(about, worked(outcome))],
        Input::Produce(_) => Vec::new(),
    }
}

impl World {
    /// An answer came, or none: it is weighed before the machine learns of it. `about` is what the question was about.
    pub(super) fn weigh(
        &mut self,
        process: usize,
        name: &'static str,
        broker: BrokerId,
        about: u64,
        input: &Input,
    ) {
        let Some(life) = self.processes[process].present.as_ref().map(|present| present.life) else { return };
        // Members look at the cluster every so often, whatever came of it. Where all that waited has run out of time, a
        // producer begins anew for what is submitted then.
        let looks = name == "describe";
        let anew = Duration::from_millis(self.setup.numbers.delivery) / 8;
        let longest = match self.processes[process].role {
            Role::Producer(_) if looks => LONGEST_LOOK.min(anew),
            Role::Service(_) if looks => LONGEST.min(Duration::from_millis(self.setup.numbers.watch) / 2),
            Role::Producer(_) => LONGEST.min(anew),
            Role::Service(_) => LONGEST,
        };
        for (about, worked) in weighed(input, broker, about) {
            let Some(worked) = worked else { continue };
            self.judge.put_to_test(Law::Work);
            if let Err(vain) = self.work.answered(self.now, (life, name, about), worked, longest) {
                let (times, time) = (vain.times, self.now.since(vain.since));
                let story = format!("{life} asked {times} times in {time:.1?} in vain: {name}");
                return self.break_law(Breach::new(Law::Work, story));
            }
        }
    }

    /// A process asks for something while it waits for other answers.
    pub(super) fn waits_for_one_more(&mut self, life: Life) {
        let numbers = &self.setup.numbers;
        // One of each kind, late ones that nobody cares for any more, and those that each broker or partition has.
        let most = 12 + 3 * numbers.brokers + 2 * numbers.topics * numbers.partitions;
        let waits = self.questions(life).count() as u64;
        self.judge.put_to_test(Law::Memory);
        if waits > most {
            let story = format!("{life} waits for {waits} answers at once, {most} at most have a purpose");
            self.break_law(Breach::new(Law::Memory, story));
        }
    }

    /// A call begins: its events are open until it is over for them.
    pub(super) fn opened(&mut self, life: Life, handler: HandlerNo, events: &[(Place, Offset)]) {
        let open = self.work.open.entry((life, handler)).or_default();
        open.extend(events);
        let ledger = self.judge.ledger();
        // What a log has lost, its reader lets go of.
        let is_there = |(place, offset): &&(Place, Offset)| {
            let record = ledger.log(*place).and_then(|log| log.record(*offset));
            ledger.can_judge_handler(life, handler, *place) && record.is_some_and(|record| !record.destroyed)
        };
        let (open, most) = (open.iter().filter(is_there).count() as u64, self.setup.numbers.outstanding);
        if open > most {
            let name = self.facts.handler_name(handler);
            let story = format!("{life} has {open} events of {name} open, its limit is {most}");
            self.break_law(Breach::new(Law::Limits, story));
        }
    }

    /// A member asks for records from an offset on.
    pub(super) fn reads_on(&mut self, process: usize, at: &TopicPartition, offset: Offset) {
        let Role::Service(service) = self.processes[process].role else { return };
        let Some(place) = truth::place(&self.facts, at.topic.as_str(), at.partition) else { return };
        let group = GroupNo(service.0);
        let Some(life) = self.processes[process].present.as_ref().map(|present| present.life) else { return };
        let ledger = self.judge.ledger();
        if !ledger.can_judge(life, group, place) {
            return;
        }
        let Some(own) = ledger.process(life).map(|process| &process.handlers) else { return };
        let is_open =
            |nth: &i64| ledger.open_for(group, place, Offset(*nth)).any(|handler| own.contains(&handler));
        // What lies below all that it asked for it does not hold, be it over or passed over.
        let from = self.work.over.get(&(life, place)).map_or(offset, |over| offset.min(*over));
        let first = (from.0..offset.0).find(is_open).map_or(offset, Offset);
        let open = (first.0..offset.0).filter(is_open).count() as u64;
        self.work.over.insert((life, place), first);
        self.judge.put_to_test(Law::Memory);
        let numbers = &self.setup.numbers;
        if open > 0 && (open >= numbers.window || open * LEAST_WEIGHT >= numbers.window_bytes) {
            let story = format!(
                "process {process} reads on at {offset} of {at} with {open} records open, its window is {} records \
                 or {} bytes",
                numbers.window, numbers.window_bytes,
            );
            self.break_law(Breach::new(Law::Memory, story));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ERRAND: Errand = (Life { process: 0, nth: 0 }, "fetch", 1);

    fn fails(work: &mut Work, at: Duration) -> bool {
        work.answered(Time::ZERO + at, ERRAND, false, LONGEST).is_err()
    }

    #[test]
    fn waits_that_grow_stay_within_the_bound_and_waits_that_do_not_go_over_it() {
        let mut work = Work::default();
        let (mut at, mut wait) = (Duration::ZERO, Duration::from_millis(40));
        for _ in 0..200 {
            assert!(!fails(&mut work, at), "at {at:?}");
            at += wait;
            wait = (wait * 2).min(LONGEST);
        }
        let mut work = Work::default();
        let over = (0..200).position(|nth| fails(&mut work, Duration::from_millis(50) * nth));
        assert_eq!(over, Some(GROWING as usize));
    }

    #[test]
    fn an_assignment_begins_new_counts_for_its_partitions_and_for_nothing_else() {
        let mut work = Work::default();
        let join = (ERRAND.0, "join", 0);
        for _ in 0..GROWING {
            assert!(!fails(&mut work, Duration::ZERO));
            assert!(work.answered(Time::ZERO, join, false, LONGEST).is_ok());
        }
        work.let_go(ERRAND.0);
        assert!(!fails(&mut work, Duration::ZERO));
        assert!(work.answered(Time::ZERO, join, false, LONGEST).is_err());
    }

    #[test]
    fn only_a_success_of_the_same_question_begins_a_new_count() {
        let mut work = Work::default();
        let succeeds = |work: &mut Work, errand| work.answered(Time::ZERO, errand, true, LONGEST).is_ok();
        for _ in 0..GROWING {
            assert!(!fails(&mut work, Duration::ZERO));
            assert!(succeeds(&mut work, (ERRAND.0, "describe", 0)));
        }
        assert!(fails(&mut work.clone(), Duration::ZERO));
        assert!(succeeds(&mut work, ERRAND));
        assert!(!fails(&mut work, Duration::ZERO));
    }

    #[test]
    fn what_is_refused_for_its_size_or_asked_for_two_reasons_is_not_in_vain() {
        let refused = |code: ErrorCode| worked::<()>(&Err(code.into()));
        assert_eq!(refused(ErrorCode::MessageTooLarge), None);
        assert_eq!(refused(ErrorCode::RecordListTooLarge), None);
        assert_eq!(refused(ErrorCode::NotLeaderOrFollower), Some(false));
        let id = evenkeel_core::model::RequestId(1);
        let outcome = Err(ErrorCode::NotLeaderOrFollower.into());
        let of_group = group::Input::TopicsDescribed { id, outcome };
        let of_group = weighed(&Input::Member(member::Input::Group(of_group)), BrokerId(1), 0);
        let outcome = Err(ErrorCode::NotLeaderOrFollower.into());
        let of_consumer = consumer::Input::Described { id, outcome };
        let of_consumer = weighed(&Input::Member(member::Input::Consumer(of_consumer)), BrokerId(1), 0);
        assert_eq!((of_group, of_consumer), (vec![(1, Some(false))], vec![(0, Some(false))]));
    }
}
