//! Tiny hand-written histories for the checkers' own tests: one topic `orders` of one partition, one group `billing` with
//! one handler `charge`, processes 0.0 and 1.0.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::model::{Generation, Offset, OnFailure, Ordering, PartitionId, Time};

use super::{Judge, Law, Verdict};
use crate::history::{
    CallNo, Cut, End, EventNo, Facts, Fate, Flavour, GroupFacts, GroupNo, HandlerFacts, HandlerNo, Happening,
    History, KeyNo, Life, Nature, Place, RunEnd, RunNo, SendNo, Sent, ServiceFacts, ServiceNo, Share, Slack,
    TopicFacts, TopicNo, TxNo,
};

const GROUP: GroupNo = GroupNo(0);
const HANDLER: HandlerNo = HandlerNo(0);

#[derive(Clone)]
pub(super) struct Story {
    history: History,
    now: Time,
    runs: u64,
    end: i64,
    txs: u64,
    numbers: std::collections::BTreeMap<Option<u32>, u32>,
}

impl Story {
    pub(super) const PLACE: Place = Place { topic: TopicNo(0), partition: PartitionId(0) };

    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    /// Two records of two keys, and process 0.0 to handle them.
    pub(super) fn two_records() -> Self {
        let mut story = Self::new();
        story.sent_and_logged(0, Some(1), Nature::Good);
        story.sent_and_logged(1, Some(2), Nature::Good);
        story.assigned(1, 0);
        story
    }

    /// Both were handled and committed, and another one came to stand where the second was.
    pub(super) fn committed_and_cut() -> Self {
        let mut story = Self::two_records();
        story.handled(0, 0, RunEnd::Done);
        story.handled(0, 1, RunEnd::Done);
        story.committed(1, 0, 2, &[]);
        story.truncated(1);
        story.sent_and_logged(2, Some(2), Nature::Good);
        story
    }

    pub(super) fn exactly_once() -> Self {
        Self::with(|handler| handler.flavour = Flavour::ExactlyOnce)
    }

    pub(super) fn with(change: impl FnOnce(&mut HandlerFacts)) -> Self {
        let mut handler = HandlerFacts {
            name: "charge".into(),
            group: GROUP,
            topic: TopicNo(0),
            flavour: Flavour::Idempotent,
            ordering: Ordering::Key,
            concurrency: 2,
            batch: 1,
            retry: OnFailure::Block.default_retries(),
            on_failure: OnFailure::Block,
        };
        change(&mut handler);
        let facts = Facts {
            topics: vec![TopicFacts { name: "orders".into(), partitions: 1 }],
            groups: vec![GroupFacts {
                name: "billing".into(),
                concurrency: 20,
                session_timeout: Duration::from_secs(10),
            }],
            handlers: vec![handler],
            services: vec![ServiceFacts { name: "billing".into() }],
            metadata_is_cut: false,
            slack: Slack::default(),
        };
        let mut story = Self {
            history: History::new(Arc::new(facts)),
            now: Time::ZERO,
            runs: 0,
            end: 0,
            txs: 0,
            numbers: std::collections::BTreeMap::new(),
        };
        for process in 0..2 {
            let handlers = [HANDLER].into();
            story.record(Happening::LifeBegan { life: life(process), service: ServiceNo(0), handlers });
        }
        story
    }

    fn record(&mut self, happening: Happening) {
        self.history.record(self.now, happening);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    pub(super) fn sent(&mut self, event: u32, key: Option<u32>, nature: Nature) {
        let number = self.numbers.entry(key).or_default();
        let n = *number;
        *number += 1;
        let sent = Sent { event: EventNo(event), topic: TopicNo(0), key: key.map(KeyNo), n, nature };
        self.record(Happening::SendBegan { send: SendNo(event), life: life(0), events: [sent].into() });
    }

    pub(super) fn answered(&mut self, event: u32, fate: Fate) {
        self.record(Happening::SendEnded { send: SendNo(event), fates: [fate].into() });
    }

    pub(super) fn logged(&mut self, event: u32) {
        let offset = Offset(self.end);
        self.end += 1;
        self.record(Happening::Logged { place: Self::PLACE, offset, event: Some(EventNo(event)) });
    }

    pub(super) fn sent_and_logged(&mut self, event: u32, key: Option<u32>, nature: Nature) {
        self.sent(event, key, nature);
        self.logged(event);
    }

    pub(super) fn destroyed(&mut self, offsets: Range<i64>) {
        let offsets = Offset(offsets.start)..Offset(offsets.end);
        self.record(Happening::Destroyed { place: Self::PLACE, offsets });
    }

    /// The log now ends there.
    pub(super) fn truncated(&mut self, end: i64) {
        self.end = end;
        self.record(Happening::Truncated { place: Self::PLACE, end: Offset(end), why: Cut::Election });
    }

    pub(super) fn deleted(&mut self) {
        self.end = 0;
        self.record(Happening::Truncated { place: Self::PLACE, end: Offset::ZERO, why: Cut::Deletion });
    }

    /// The whole topic goes to one process.
    pub(super) fn assigned(&mut self, generation: i32, process: u16) {
        self.shares(generation, &[(process, &[Self::PLACE])]);
    }

    pub(super) fn shares(&mut self, generation: i32, shares: &[(u16, &[Place])]) {
        let shares =
            shares.iter().map(|(process, places)| Share { life: life(*process), places: places.to_vec() });
        let (group, generation) = (GROUP, Generation(generation));
        self.record(Happening::Assigned { group, generation, shares: shares.collect() });
    }

    /// The member has learnt in which generation it is.
    pub(super) fn joined(&mut self, generation: i32, process: u16) {
        let (group, generation) = (GROUP, Generation(generation));
        self.record(Happening::Joined { group, life: life(process), generation });
    }

    pub(super) fn served(&mut self, process: u16, offset: i64, settled: &[(i64, i64)]) {
        self.record(Happening::PositionServed {
            group: GROUP,
            place: Self::PLACE,
            life: life(process),
            offset: Some(Offset(offset)),
            settled: ranges(settled),
        });
    }

    pub(super) fn committed(&mut self, generation: i32, process: u16, offset: i64, settled: &[(i64, i64)]) {
        self.commit(generation, process, offset, settled, Duration::ZERO);
    }

    /// A commit that was on its way for so long.
    pub(super) fn committed_late(&mut self, generation: i32, process: u16, offset: i64, held_up: Duration) {
        self.commit(generation, process, offset, &[], held_up);
    }

    fn commit(
        &mut self,
        generation: i32,
        process: u16,
        offset: i64,
        settled: &[(i64, i64)],
        held_up: Duration,
    ) {
        let sent = Time::ZERO + self.now.since(Time::ZERO).saturating_sub(held_up);
        self.record(Happening::Committed {
            group: GROUP,
            place: Self::PLACE,
            life: life(process),
            generation: Generation(generation),
            offset: Offset(offset),
            settled: ranges(settled),
            outcome: Ok(()),
            sent,
        });
    }

    /// The event at `offset` is the one of that number.
    pub(super) fn begun(&mut self, process: u16, offset: i64) -> RunNo {
        let call = 1_000 + self.runs;
        self.begun_in_call(process, offset, call)
    }

    pub(super) fn begun_in_call(&mut self, process: u16, offset: i64, call: u64) -> RunNo {
        self.begin(process, offset, CallNo(call), 1)
    }

    fn begin(&mut self, process: u16, offset: i64, call: CallNo, attempt: u32) -> RunNo {
        let event = EventNo(u32::try_from(offset).expect("offsets of stories are small"));
        self.begin_with(process, offset, event, call, attempt)
    }

    /// An event that stands at an offset where another one was cut.
    pub(super) fn handled_instead(&mut self, process: u16, offset: i64, event: u32, end: RunEnd) {
        let call = CallNo(1_000 + self.runs);
        let run = self.begin_with(process, offset, EventNo(event), call, 1);
        self.ended(run, end);
    }

    fn begin_with(&mut self, process: u16, offset: i64, event: EventNo, call: CallNo, attempt: u32) -> RunNo {
        let run = RunNo(self.runs);
        self.runs += 1;
        self.record(Happening::RunBegan {
            run,
            call,
            life: life(process),
            handler: HANDLER,
            place: Self::PLACE,
            offset: Offset(offset),
            event,
            attempt,
        });
        run
    }

    pub(super) fn ended(&mut self, run: RunNo, end: RunEnd) {
        self.record(Happening::RunEnded { run, end });
    }

    pub(super) fn handled(&mut self, process: u16, offset: i64, end: RunEnd) {
        self.attempted(process, offset, 1, end);
    }

    pub(super) fn attempted(&mut self, process: u16, offset: i64, attempt: u32, end: RunEnd) {
        let call = CallNo(1_000 + self.runs);
        let run = self.begin(process, offset, call, attempt);
        self.ended(run, end);
    }

    pub(super) fn given_up(&mut self, process: u16, offset: i64, attempts: u32) {
        self.record(Happening::GivenUp {
            life: life(process),
            handler: HANDLER,
            place: Self::PLACE,
            offset: Offset(offset),
            attempts,
        });
    }

    pub(super) fn paused_and_resumed(&mut self, process: u16) {
        self.record(Happening::Paused { life: life(process) });
        self.record(Happening::Resumed { life: life(process) });
    }

    pub(super) fn stopped(&mut self, process: u16) {
        self.record(Happening::StopAsked { life: life(process) });
        self.record(Happening::LifeEnded { life: life(process), end: End::Stopped { clean: true } });
    }

    /// Somebody else set the position, or deleted it.
    pub(super) fn set_from_outside(&mut self, offset: Option<i64>) {
        let offset = offset.map(Offset);
        self.record(Happening::PositionSet { group: GROUP, place: Self::PLACE, offset });
    }

    /// A process goes on without its handler.
    pub(super) fn deployed_without(&mut self, process: u16) {
        let handlers = [].into();
        self.record(Happening::LifeBegan { life: life(process), service: ServiceNo(0), handlers });
    }

    pub(super) fn quiet(&mut self) {
        self.record(Happening::Quiet);
    }

    pub(super) fn tx(&mut self, claims: &[u32], effects: &[u32]) {
        let tx = TxNo(self.txs);
        self.txs += 1;
        let all = |events: &[u32]| events.iter().map(|event| (HANDLER, EventNo(*event))).collect();
        self.record(Happening::TxCommitted { tx, claims: all(claims), effects: all(effects) });
    }

    #[track_caller]
    pub(super) fn breaks(&self, law: Law, part: &str) {
        match self.judged(law).verdict(law) {
            Verdict::Broken(breach) => assert!(breach.story.contains(part), "{breach}"),
            other => panic!("{law}: {other:?}"),
        }
    }

    /// The law held, and was put to the test so many times. Other laws may be broken in so short a story.
    #[track_caller]
    pub(super) fn holds(&self, law: Law, times: u64) {
        assert_eq!(self.judged(law).verdict(law), Verdict::Held { times }, "{law}");
    }

    #[track_caller]
    pub(super) fn is_vacuous(&self, law: Law) {
        assert_eq!(self.judged(law).verdict(law), Verdict::Vacuous, "{law}");
    }

    /// Judged by nobody but who judges this law.
    fn judged(&self, law: Law) -> Judge {
        let mut judge = Judge::new(Arc::clone(&self.history.facts));
        let mut only = judge.checkers.clone();
        let mut judges = only.each().into_iter().filter(|checker| checker.laws().contains(&law));
        let checker = judges.next().expect("every law has a checker");
        for (at, happening) in &self.history.happenings {
            judge.ledger.see(*at, happening);
            if let Err(breach) = checker.see(&judge.ledger, *at, happening, &mut judge.tested) {
                judge.breach = Some((*at, breach));
                return judge;
            }
        }
        if let Err(breach) = checker.rest(&judge.ledger, &mut judge.tested) {
            judge.breach = Some((self.now, breach));
        }
        judge
    }
}

fn life(process: u16) -> Life {
    Life { process, nth: 0 }
}

fn ranges(runs: &[(i64, i64)]) -> Arc<[Range<Offset>]> {
    runs.iter().map(|run| Offset(run.0)..Offset(run.1)).collect()
}
