//! The laws of producing, each over random runs of the [`world`](super::world), and over plain nonsense.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::world::{Fault, Id, PARTITIONS, World, config, ops};
use super::*;
use crate::model::{Offset, PartitionId, WallTime};
use crate::ports::TopicMetadata;

proptest! {
    #[test]
    fn every_ticket_finishes_exactly_once(seed: u64, ops in ops()) {
        let world = World::run(seed, ops);
        for (id, event) in world.events.iter().enumerate() {
            prop_assert_eq!(event.outcomes.len(), 1, "event {}: {:?}", id, event);
        }
        prop_assert_eq!(world.closed, 1);
        prop_assert_eq!(world.produce.room(), config().buffer_bytes);
    }

    #[test]
    fn ok_is_in_the_log(seed: u64, ops in ops()) {
        let world = World::run(seed, ops);
        for (id, event) in world.events.iter().enumerate() {
            for produced in event.outcomes.iter().flatten() {
                let place = usize::try_from(produced.offset.0).expect("not negative");
                prop_assert_eq!(world.log(&produced.at).get(place), Some(&(id as Id)));
            }
        }
    }

    #[test]
    fn a_definite_failure_is_in_no_log(seed: u64, ops in ops()) {
        let world = World::run(seed, ops);
        for (id, event) in world.events.iter().enumerate() {
            for failure in event.outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
                let place = world.first_occurrence(&event.topic, id as Id);
                prop_assert!(failure.is_unknown() || place.is_none(), "event {} at {:?}: {}", id, place, failure);
            }
        }
    }

    #[test]
    fn first_occurrences_of_a_key_keep_their_order(seed: u64, ops in ops()) {
        let world = World::run(seed, ops);
        let mut last = BTreeMap::new();
        for (id, event) in world.events.iter().enumerate() {
            let Some(key) = event.key else { continue };
            if event.outcomes.iter().all(Result::is_err) {
                continue;
            }
            let place = world.first_occurrence(&event.topic, id as Id).expect("acknowledged events are in the log");
            let before = last.insert((event.topic.clone(), key), (place, id));
            if let Some(((partition, earlier), before)) = before {
                prop_assert!(place.0 == partition && place.1 > earlier, "event {} before {}", id, before);
            }
        }
    }

    #[test]
    fn one_request_in_flight_a_partition(seed: u64, ops in ops()) {
        prop_assert_eq!(World::run(seed, ops).overlaps, 0);
    }

    #[test]
    fn batches_never_exceed_the_limit(seed: u64, ops in ops()) {
        for batch in World::run(seed, ops).batches {
            prop_assert!(batch.events == 1 || batch.bytes <= config().batch_bytes, "{:?}", batch);
            let limit = batch.told.map_or(config().unasked_bytes, |told| told as usize);
            prop_assert!(batch.bytes <= limit || (batch.untold && batch.events == 1), "{:?}", batch);
        }
    }

    #[test]
    fn no_event_waits_past_its_delivery_time_out_without_a_request(seed: u64, ops in ops()) {
        prop_assert_eq!(World::run(seed, ops).overdue, 0);
    }

    #[test]
    fn once_faults_stop_events_are_acknowledged(seed: u64, ops in ops()) {
        let world = World::run(seed, ops);
        for event in world.events.iter().rev().take(World::PROBES) {
            prop_assert!(event.outcomes.iter().all(Result::is_ok), "{:?}", event);
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_actions(seed: u64, ops in ops()) {
        let (one, other) = (World::run(seed, ops.clone()), World::run(seed, ops));
        prop_assert_eq!(format!("{one:?}"), format!("{other:?}"));
    }

    #[test]
    fn no_input_makes_it_panic_or_loop(seed: u64, nonsense in vec(nonsense(), 0..200)) {
        let mut produce = Produce::new(config(), Entropy::new(seed));
        for (now, input) in nonsense {
            let now = Time::from_millis(now);
            let events = match &input {
                Some(Input::Submit(events)) => events.len(),
                _ => 0,
            };
            match input {
                Some(input) => produce.handle(now, input),
                None => produce.tick(now),
            }
            // At most every event taken in so far is finished and every partition gets a request.
            let mut actions = 0;
            while produce.poll().is_some() {
                actions += 1;
                prop_assert!(actions < 5_000 + events, "does not stop");
            }
            if let Some(due) = produce.deadline() {
                produce.tick(due);
                while produce.poll().is_some() {}
                prop_assert!(produce.deadline().is_none_or(|next| next > due));
            }
        }
    }
}

/// Any input at any time, in no order, with ids that may or may not be out.
fn nonsense() -> impl Strategy<Value = (u64, Option<Input>)> {
    fn error() -> impl Strategy<Value = PortError> {
        prop_oneof![
            (-2i16..120).prop_map(|code| PortError::Refused(
                ErrorCode::from_code(code).unwrap_or(ErrorCode::Other(0))
            )),
            Just(PortError::Unknown { server: "s".into(), cause: "c".into() }),
            Just(PortError::Unreachable { server: "s".into(), cause: "c".into() }),
        ]
    }
    fn topic() -> impl Strategy<Value = TopicName> {
        (0..3).prop_map(|number| TopicName::new(format!("topic-{number}")).expect("a legal name"))
    }
    fn id() -> impl Strategy<Value = RequestId> {
        prop_oneof![9 => 0u64..40, 1 => any::<u64>()].prop_map(RequestId)
    }
    let partition = (prop_oneof![9 => 0i32..5, 1 => any::<i32>()], proptest::option::of(any::<i32>()))
        .prop_map(|(partition, leader)| PartitionMetadata {
            partition: PartitionId(partition),
            leader: leader.map(BrokerId),
            leader_epoch: None,
        });
    let partitions = prop_oneof![
        4 => vec(partition, 0..6).prop_map(Ok),
        1 => (1i16..90).prop_map(|code| Err(ErrorCode::from_code(code).expect("not zero"))),
    ];
    let topics =
        (topic(), partitions).prop_map(|(topic, partitions)| TopicMetadata { topic, id: None, partitions });
    let topics = vec(topics, 0..4);
    let record =
        (proptest::option::of(any::<u8>()), 0usize..3_000, any::<i64>()).prop_map(|(key, length, time)| {
            OutgoingRecord {
                key: key.map(|key| vec![key].into()),
                value: Some(vec![0u8; length].into()),
                headers: Vec::new(),
                timestamp: WallTime(time),
            }
        });
    let submission = (any::<u64>(), topic(), record).prop_map(|(call, topic, record)| Submission {
        ticket: Ticket { call, index: 0 },
        topic,
        record: Arc::new(record),
    });
    let input = prop_oneof![
        4 => vec(submission, 0..20).prop_map(Input::Submit),
        4 => (id(), topics, proptest::option::weighted(0.2, error())).prop_map(|(id, topics, error)| {
            let outcome = error.map_or(Ok(Metadata { brokers: Vec::new(), topics }), Err);
            Input::Described { id, outcome }
        }),
        2 => (id(), any::<u32>(), proptest::option::weighted(0.3, error())).prop_map(|(id, bytes, error)| {
            let outcome = error.map_or(Ok(ResourceLimits { max_message_bytes: bytes }), Err);
            Input::LimitsKnown { id, outcome }
        }),
        6 => (id(), any::<i64>(), proptest::option::weighted(0.6, error())).prop_map(|(id, base, error)| {
            let outcome = error.map_or(Ok(ProduceAnswer { base_offset: Offset(base) }), Err);
            Input::Sent { id, outcome }
        }),
    ];
    let step = prop_oneof![8 => input.prop_map(Some), 2 => Just(()).prop_map(|()| None)];
    (prop_oneof![0u64..1_000, 0u64..60_000], step)
}

#[test]
fn an_outage_costs_a_bounded_number_of_requests() {
    let mut world = World::new(3);
    world.submit(0, &[Some(1), Some(2), Some(3), None], 0, false);
    world.submit(1, &[Some(1), None], 0, false);
    let end = world.now + Duration::from_secs(60);
    while world.now < end {
        while world.answer_any(Fault::Unreachable) {}
        let next = world.produce.deadline().unwrap_or(end).min(end);
        world.submit(0, &[Some(1)], 0, false);
        world.advance(next.max(world.now + Duration::from_millis(10)));
    }
    // Without partitions there is one kind of request, repeated after half a second less a fifth.
    assert!(world.requests <= 60 * 5 / 2 + 10, "{} requests in a minute", world.requests);

    let mut world = World::new(3);
    world.submit(0, &[Some(1), Some(2), Some(3), None], 0, false);
    while world.answer_any(Fault::None) {}
    let (before, end) = (world.requests, world.now + Duration::from_secs(60));
    while world.now < end {
        world.submit(0, &[Some(1), Some(2), Some(3), None], 0, false);
        while world.answer_produce_only(Fault::Unreachable) {}
        world.advance(world.now + Duration::from_millis(10));
    }
    // A partition sends once a pause, and asks for its leader once in between.
    let bound = PARTITIONS * 2 * (60 * 5 / 2 + 10);
    assert!(world.requests - before <= bound, "{} requests in a minute", world.requests - before);
}

#[test]
fn random_runs_reach_the_rare_branches() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeMap::new();
    for seed in 0..400 {
        let ops = ops().new_tree(&mut runner).expect("operations can always be drawn").current();
        for (mark, count) in World::run(seed, ops).produce.marks().iter() {
            *seen.entry(mark).or_insert(0) += count;
        }
    }
    for mark in [
        "attempt of unknown fate",
        "batch halved to isolate a record",
        "batch refused",
        "batch too large",
        "event too big",
        "inaccessible topic given up",
        "limit asked again",
        "limit not told",
        "missing topic given up",
        "partition without a leader",
    ] {
        assert!(seen.contains_key(mark), "{mark:?} never happened, but {seen:?} did");
    }
}
