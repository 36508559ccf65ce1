//! Two runs of one plan that differ in one thing, and what must be alike in them all the same.
//!
//! No single run tells what an event would have come to if its neighbour had been harmless, or if nothing had gone
//! wrong: an event that comes late, or is given up, may well have had to. The same plan without the neighbour, or
//! without the faults, tells.
//!
//! | what differs | what is alike |
//! |---|---|
//! | events that cannot be handled can be; no faults | each other event's fate (C10), and but for the time that their calls took, when it comes (C7) |
//! | the same under faults that no handler sees | each other event's fate |
//! | there are no faults | what exactly-once handlers have written |
//!
//! Left out is what policies rightly hold up: events in the lane of one that cannot be handled. Faults that destroy
//! records are left out as well, for then the runs are about different records. Limits on what may be open are wide:
//! how an event that is kept open fills them is a setting, not a fault.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use evenkeel_core::model::{Offset, Ordering, Time};

use super::planted::Planted;
use super::{Plan, World};
use crate::checkers::{Breach, Law};
use crate::faults::plan::FaultPlan;
use crate::faults::{Destroys, Family};
use crate::history::{
    EventNo, Facts, Flavour, GroupNo, HandlerNo, Happening, History, KeyNo, Nature, Place, RunEnd, RunNo,
};
use crate::seed::Seed;
use crate::trace::Detail;

/// What an event may come later than in the other run whatever its neighbours do: order of arrival at brokers, fetches
/// that wait, claims.
const BASE: Duration = Duration::from_secs(2);
/// What a call of an event that cannot be handled takes beside its handler: claim, rollback, the machine's lag.
const AROUND: Duration = Duration::from_millis(150);

/// In what the two runs differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// Events that cannot be handled can be. Nothing else goes wrong.
    BadEvents,
    /// The same, while much goes wrong.
    BadEventsInStorms,
    /// What goes wrong does not.
    Faults,
}

impl Difference {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::BadEvents, Self::BadEventsInStorms, Self::Faults];

    /// Both plans of a seed.
    #[must_use]
    pub fn plans(self, seed: Seed) -> [Plan; 2] {
        let mut plan = Plan::draw(seed);
        let numbers = &mut plan.setup.numbers;
        numbers.bad = numbers.bad.max(5);
        numbers.window = 100_000;
        numbers.window_bytes = 1 << 26;
        numbers.outstanding = 100_000;
        numbers.concurrency = numbers.concurrency.max(4);
        if self == Self::BadEvents {
            // What stays out of reach comes late, and when depends on how long the core takes.
            (numbers.frozen_broker, numbers.frozen_process) = (0, 0);
        }
        let calm = FaultPlan { quiet_at: plan.faults.quiet_at, ..FaultPlan::none(seed) };
        // What a handler is owed that comes later depends on what was committed before it came.
        let takes_away =
            |family: Family| matches!(family.cost().destroys, Destroys::Records) || family == Family::Deploys;
        let is_seen_by_handlers = |family: Family| {
            matches!(family, Family::SlowHandlers | Family::FailingHandlers | Family::PanickingHandlers)
        };
        let is_kept = |family: Family| match self {
            Self::BadEvents => false,
            Self::BadEventsInStorms => !takes_away(family) && !is_seen_by_handlers(family),
            Self::Faults => !takes_away(family),
        };
        plan.faults.chances.retain(|chance, _| is_kept(chance.family()));
        plan.faults.strokes.retain(|(_, stroke)| is_kept(stroke.family()));
        let mut other = plan.clone();
        match self {
            Self::BadEvents | Self::BadEventsInStorms => other.setup.numbers.cured = 1,
            Self::Faults => other.faults = calm,
        }
        [plan, other]
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadEvents => "bad events",
            Self::BadEventsInStorms => "bad events in storms",
            Self::Faults => "faults",
        })
    }
}

/// What came of a pair of runs.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The seed.
    pub seed: Seed,
    /// In what they differ.
    pub difference: Difference,
    /// The law that was broken.
    pub breach: Option<Breach>,
    /// How many fates or effects were compared.
    pub compared: u64,
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, difference, compared, .. } = self;
        match &self.breach {
            None => write!(f, "seed {seed} with and without {difference}: {compared} alike"),
            Some(breach) => {
                writeln!(f, "seed {seed} with and without {difference} broke {breach}")?;
                write!(f, "to see it: make pairs SEED={seed}\nthe plan:\n{}", difference.plans(*seed)[0])
            }
        }
    }
}

/// Runs both plans of a seed and compares them. A law that is broken in one run is told as such.
#[must_use]
pub fn judge(seed: Seed, difference: Difference, bug: Option<Planted>) -> Pair {
    let mut pair = Pair { seed, difference, breach: None, compared: 0 };
    let mut told = Vec::new();
    for plan in difference.plans(seed) {
        let mut world = World::new(&plan.setup, &plan.faults, bug, Detail::Hashes).kept();
        world.run();
        if let Some((_, breach)) = world.breach {
            return Pair { breach: Some(breach), ..pair };
        }
        told.push(Outcomes::of(&world.history.unwrap_or_default()));
    }
    let [one, other] = &told[..] else { return pair };
    let outcome = match difference {
        Difference::BadEvents => one.fates_are_those_of(other, Some(BASE)),
        Difference::BadEventsInStorms => one.fates_are_those_of(other, None),
        Difference::Faults => one.has_written_what(other),
    };
    match outcome {
        Ok(compared) => pair.compared = compared,
        Err(breach) => pair.breach = Some(breach),
    }
    pair
}

/// What became of an event for a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Handled,
    GivenUp,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    key: Option<KeyNo>,
    is_bad: bool,
    /// Where it was written first.
    at: Option<(Place, Offset)>,
}

/// What a run came to, event by event.
#[derive(Debug, Clone, Default)]
struct Outcomes {
    facts: std::sync::Arc<Facts>,
    events: BTreeMap<EventNo, Seen>,
    written: BTreeMap<(Place, Offset), EventNo>,
    /// When it was over for each handler, and how.
    fates: BTreeMap<(HandlerNo, EventNo), (Time, Fate)>,
    effects: BTreeMap<(HandlerNo, EventNo), u32>,
    /// When calls with an event that cannot be handled began, and how long they took.
    bad_calls: Vec<(GroupNo, Time, Duration)>,
}

impl Outcomes {
    fn of(history: &History) -> Self {
        let mut told = Self { facts: std::sync::Arc::clone(&history.facts), ..Self::default() };
        let mut runs: BTreeMap<RunNo, (Time, HandlerNo, EventNo)> = BTreeMap::new();
        for (at, happening) in &history.happenings {
            let at = *at;
            match happening {
                Happening::SendBegan { events, .. } => {
                    for sent in events.iter() {
                        let is_bad = sent.nature != Nature::Good;
                        told.events.insert(sent.event, Seen { key: sent.key, is_bad, at: None });
                    }
                }
                Happening::Logged { place, offset, event: Some(event) } => {
                    told.written.insert((*place, *offset), *event);
                    if let Some(seen) = told.events.get_mut(event) {
                        seen.at.get_or_insert((*place, *offset));
                    }
                }
                Happening::RunBegan { run, handler, event, .. } => {
                    runs.insert(*run, (at, *handler, *event));
                }
                Happening::RunEnded { run, end } => {
                    let Some((began, handler, event)) = runs.remove(run) else { continue };
                    let of = told.facts.handler(handler);
                    if *end == RunEnd::Done && of.flavour == Flavour::Idempotent {
                        told.fates.entry((handler, event)).or_insert((at, Fate::Handled));
                    }
                    if told.is_bad(event) {
                        told.bad_calls.push((of.group, began, at.since(began)));
                    }
                }
                Happening::TxCommitted { claims, effects, .. } => {
                    for key in claims.iter() {
                        told.fates.entry(*key).or_insert((at, Fate::Handled));
                    }
                    for key in effects.iter() {
                        *told.effects.entry(*key).or_default() += 1;
                    }
                }
                Happening::GivenUp { handler, place, offset, .. } => {
                    if let Some(event) = told.written.get(&(*place, *offset)) {
                        told.fates.entry((*handler, *event)).or_insert((at, Fate::GivenUp));
                    }
                }
                _ => {}
            }
        }
        told
    }

    fn is_bad(&self, event: EventNo) -> bool {
        self.events.get(&event).is_some_and(|seen| seen.is_bad)
    }

    /// Whether a handler may rightly hold an event up: it is bad, or in a lane behind one that is.
    fn is_held_up(&self, handler: HandlerNo, event: EventNo) -> bool {
        let Some(Seen { key, is_bad, at: Some((place, offset)) }) = self.events.get(&event).copied() else {
            return true;
        };
        let shares_lane = |before: EventNo| match self.facts.handler(handler).ordering {
            Ordering::Partition => true,
            Ordering::Key => key.is_some() && self.events.get(&before).is_some_and(|seen| seen.key == key),
            Ordering::Unordered => false,
        };
        let mut before = self.written.range((place, Offset::ZERO)..(place, offset));
        is_bad || before.any(|(_, before)| self.is_bad(*before) && shares_lane(*before))
    }

    /// Each handler with each event of its topic that was written in both runs and that nothing rightly holds up.
    fn comparable<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (HandlerNo, EventNo)> + 'a {
        let written = self.events.iter().filter_map(|(event, seen)| Some((*event, seen.at?.0.topic)));
        written
            .filter(|(event, _)| other.events.get(event).is_some_and(|seen| seen.at.is_some()))
            .flat_map(move |(event, topic)| {
                let of_topic = self.facts.numbered_handlers().filter(move |(_, facts)| facts.topic == topic);
                of_topic.map(move |(handler, _)| (handler, event))
            })
            .filter(|(handler, event)| {
                !self.is_held_up(*handler, *event) && !other.is_held_up(*handler, *event)
            })
    }

    /// The time that calls with bad events took of a group's, until then.
    fn taken(&self, group: GroupNo, until: Time) -> Duration {
        let began = self.bad_calls.iter().filter(|(of, began, _)| *of == group && *began <= until);
        began.map(|(_, _, took)| *took + AROUND).sum()
    }

    /// Whether each event came to the same as without bad ones, and no later than these account for.
    fn fates_are_those_of(&self, cured: &Self, base: Option<Duration>) -> Result<u64, Breach> {
        let mut compared = 0;
        for (handler, event) in self.comparable(cured) {
            compared += 1;
            let fate = |of: &Self| of.fates.get(&(handler, event)).copied();
            let name = self.facts.handler_name(handler);
            let breach = |story: String| Err(Breach::new(Law::Independence, story));
            match (fate(self), fate(cured)) {
                (Some((late, Fate::Handled)), Some((soon, Fate::Handled))) => {
                    let most = base.map(|base| base + self.taken(self.facts.handler(handler).group, late));
                    let later = late.since(soon);
                    if let Some(most) = most.filter(|most| later > *most) {
                        return breach(format!(
                            "event {event} came to {name} {later:.1?} later than without the events that cannot be \
                             handled, which account for {most:.1?}"
                        ));
                    }
                }
                (one, other) => {
                    let (one, other) = (one.map(|(_, fate)| fate), other.map(|(_, fate)| fate));
                    if one != other {
                        return breach(format!(
                            "for {name} event {event} is {one:?}, and {other:?} without the events that cannot be \
                             handled"
                        ));
                    }
                }
            }
        }
        Ok(compared)
    }

    /// Whether exactly-once handlers have written what they write when nothing goes wrong.
    fn has_written_what(&self, calm: &Self) -> Result<u64, Breach> {
        let mut compared = 0;
        for (handler, event) in self.comparable(calm) {
            let is_given_up = |of: &Self| matches!(of.fates.get(&(handler, event)), Some((_, Fate::GivenUp)));
            if self.facts.handler(handler).flavour != Flavour::ExactlyOnce
                || is_given_up(self)
                || is_given_up(calm)
            {
                continue;
            }
            compared += 1;
            let times = |of: &Self| of.effects.get(&(handler, event)).copied().unwrap_or_default();
            let (one, other) = (times(self), times(calm));
            if one != other {
                let law = if one < other { Law::AtLeastOnce } else { Law::AtMostOnce };
                let name = self.facts.handler_name(handler);
                let story = format!(
                    "{name} has written event {event} {one} times, and {other} times when nothing went wrong"
                );
                return Err(Breach::new(law, story));
            }
        }
        Ok(compared)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use evenkeel_core::model::{OnFailure, PartitionId};

    use super::*;
    use crate::history::{CallNo, GroupFacts, HandlerFacts, Life, SendNo, Sent, TopicFacts, TopicNo, TxNo};

    const PLACE: Place = Place { topic: TopicNo(0), partition: PartitionId(0) };
    const LIFE: Life = Life { process: 0, nth: 0 };
    const HANDLER: HandlerNo = HandlerNo(0);
    const SECOND: Duration = Duration::from_secs(1);

    /// One partition, one handler; each event at the offset of its number.
    struct Tale(History);

    impl Tale {
        fn new(flavour: Flavour, keys: &[u32], bad: &[u32]) -> Self {
            let handler = HandlerFacts {
                name: "charge".into(),
                group: GroupNo(0),
                topic: TopicNo(0),
                flavour,
                ordering: Ordering::Key,
                concurrency: 2,
                batch: 1,
                retry: OnFailure::Discard.default_retries(),
                on_failure: OnFailure::Discard,
            };
            let group = GroupFacts {
                name: "billing".into(),
                concurrency: 4,
                session_timeout: Duration::from_secs(10),
            };
            let facts = Facts {
                topics: vec![TopicFacts { name: "orders".into(), partitions: 1 }],
                groups: vec![group],
                handlers: vec![handler],
                ..Facts::default()
            };
            let mut tale = Self(History::new(Arc::new(facts)));
            for (n, key) in (0..).zip(keys) {
                let nature = if bad.contains(&n) { Nature::Poison } else { Nature::Good };
                let event = EventNo(n);
                let sent = Sent { event, topic: TopicNo(0), key: Some(KeyNo(*key)), n, nature };
                let sent = Happening::SendBegan { send: SendNo(n), life: LIFE, events: [sent].into() };
                tale.0.record(Time::ZERO, sent);
                let offset = Offset(n.into());
                tale.0.record(Time::ZERO, Happening::Logged { place: PLACE, offset, event: Some(event) });
            }
            tale
        }

        fn handled(mut self, event: u32, from: Duration, to: Duration, end: RunEnd) -> Self {
            let run = RunNo(self.0.happenings.len() as u64);
            let began = Happening::RunBegan {
                run,
                call: CallNo(run.0),
                life: LIFE,
                handler: HANDLER,
                place: PLACE,
                offset: Offset(event.into()),
                event: EventNo(event),
                attempt: 1,
            };
            self.0.record(Time::ZERO + from, began);
            self.0.record(Time::ZERO + to, Happening::RunEnded { run, end });
            self
        }

        fn given_up(mut self, event: u32, at: Duration) -> Self {
            let offset = Offset(event.into());
            let given_up =
                Happening::GivenUp { life: LIFE, handler: HANDLER, place: PLACE, offset, attempts: 1 };
            self.0.record(Time::ZERO + at, given_up);
            self
        }

        fn written(mut self, event: u32) -> Self {
            let keys: Arc<[_]> = [(HANDLER, EventNo(event))].into();
            let tx = TxNo(self.0.happenings.len() as u64);
            self.0.record(Time::MAX, Happening::TxCommitted { tx, claims: Arc::clone(&keys), effects: keys });
            self
        }

        fn outcomes(&self) -> Outcomes {
            Outcomes::of(&self.0)
        }
    }

    fn fates(tale: &Tale, cured: &Tale) -> Result<u64, String> {
        let base = Some(Duration::ZERO);
        tale.outcomes().fates_are_those_of(&cured.outcomes(), base).map_err(|breach| breach.to_string())
    }

    fn beside_a_bad_one() -> Tale {
        let tale = Tale::new(Flavour::Idempotent, &[1, 2, 1], &[0]);
        tale.handled(0, Duration::ZERO, SECOND, RunEnd::Failed)
    }

    fn cured() -> Tale {
        let mut tale = Tale::new(Flavour::Idempotent, &[1, 2, 1], &[]);
        for event in 0..3 {
            tale = tale.handled(event, Duration::ZERO, Duration::ZERO, RunEnd::Done);
        }
        tale
    }

    #[test]
    fn an_event_may_wait_as_long_as_calls_of_bad_ones_took_and_no_longer() {
        let at = |late: Duration| beside_a_bad_one().handled(1, late, late, RunEnd::Done);
        assert_eq!(
            fates(&at(SECOND + AROUND), &cured()),
            Ok(1),
            "the event behind the bad one is not judged"
        );
        let late = fates(&at(SECOND * 2), &cured()).expect_err("it came too late");
        assert!(late.contains("C7 independence: event e1 came to billing/charge 2.0s later"), "{late}");
    }

    #[test]
    fn an_event_that_is_given_up_beside_a_bad_one_is_found() {
        let changed = fates(&beside_a_bad_one().given_up(1, SECOND), &cured()).expect_err("its fate changed");
        assert!(changed.contains("event e1 is Some(GivenUp), and Some(Handled) without"), "{changed}");
        let open = fates(&beside_a_bad_one(), &cured()).expect_err("it is still open");
        assert!(open.contains("event e1 is None, and Some(Handled) without"), "{open}");
    }

    #[test]
    fn an_effect_that_faults_take_away_or_double_is_found() {
        let tale = |bad: &[u32]| Tale::new(Flavour::ExactlyOnce, &[1, 2], bad);
        let calm = tale(&[]).written(0).written(1);
        let written = |tale: Tale| tale.outcomes().has_written_what(&calm.outcomes());
        assert_eq!(written(tale(&[]).written(1).written(0)), Ok(2));
        assert_eq!(written(tale(&[0]).written(1)), Ok(1), "what cannot be handled is not judged");
        let lost = written(tale(&[]).written(0)).expect_err("one is missing");
        assert_eq!(lost.law, Law::AtLeastOnce);
        let twice = written(tale(&[]).written(0).written(1).written(1)).expect_err("one is doubled");
        assert_eq!(twice.law, Law::AtMostOnce);
        assert!(twice.story.contains("has written event e1 2 times, and 1 times"), "{twice}");
    }

    #[test]
    fn what_was_not_written_in_both_is_not_compared() {
        let nothing = Tale::new(Flavour::Idempotent, &[], &[]);
        assert_eq!(fates(&nothing, &cured()), Ok(0));
    }
}
