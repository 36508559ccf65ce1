//! Partitions of three replicas, and what their brokers' deaths do to what was acknowledged.

use std::time::Duration;

use bytes::Bytes;
use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{BrokerId, LeaderEpoch, Offset, Time, WallTime};
use evenkeel_core::ports::OutgoingRecord;
use evenkeel_core::records::{BatchOptions, Producer, ProducerState, encode};
use proptest::prelude::*;

use super::{Clock, Health, Partition, Written};
use crate::message::{ConfigChange, ProduceRefusal};
use crate::topics::config::{Settings, TopicConfig};

const BROKERS: [BrokerId; 3] = [BrokerId(1), BrokerId(2), BrokerId(3)];

fn settings(set: &[(&str, &str)]) -> Settings {
    let mut config = TopicConfig::default();
    for (name, value) in set {
        config.change(name, &ConfigChange::Set((*value).into())).unwrap();
    }
    config.settings()
}

fn clock(millis: u64) -> Clock {
    Clock { now: Time::from_millis(millis), wall: WallTime::from_millis(1_000_000 + millis as i64) }
}

fn record(key: Option<&'static str>, millis: i64) -> OutgoingRecord {
    OutgoingRecord {
        key: key.map(Bytes::from),
        value: Some(Bytes::from_static(b"value")),
        headers: Vec::new(),
        timestamp: WallTime::from_millis(millis),
    }
}

fn batch(count: usize) -> Bytes {
    encode(&vec![record(Some("k"), 1_000_000); count], BatchOptions::default()).unwrap()
}

fn partition() -> Partition {
    Partition::new(&BROKERS, |_| true)
}

fn append(partition: &mut Partition, count: usize) -> Result<Written, ProduceRefusal> {
    let written = partition.append(clock(0), &settings(&[]), batch(count), false);
    partition.check();
    written
}

#[test]
fn what_a_leader_refuses() {
    let damaged = {
        let mut bytes = batch(2).to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        Bytes::from(bytes)
    };
    let keyless = encode(&[record(Some("k"), 0), record(None, 0)], BatchOptions::default()).unwrap();
    let future = encode(&[record(Some("k"), 9_000_000)], BatchOptions::default()).unwrap();
    let state = ProducerState { id: 1, epoch: 0, sequence: 0 };
    let transactional = BatchOptions { producer: Producer::Transactional(state), ..BatchOptions::default() };
    let transactional = encode(&[record(Some("k"), 0)], transactional).unwrap();
    let elsewhere = [&9_i64.to_be_bytes()[..], &batch(1)[8..]].concat().into();
    let state = ProducerState { id: 1, epoch: 0, sequence: -1 };
    let unnumbered = BatchOptions { producer: Producer::Idempotent(state), ..BatchOptions::default() };
    let unnumbered = encode(&[record(Some("k"), 0)], unnumbered).unwrap();
    for (what, set, bytes, expected) in [
        ("nothing", vec![], Bytes::new(), ErrorCode::InvalidRecord),
        ("half a batch", vec![], batch(3).slice(..70), ErrorCode::InvalidRecord),
        ("a damaged batch", vec![], damaged, ErrorCode::CorruptMessage),
        ("two batches", vec![], [batch(1), batch(1)].concat().into(), ErrorCode::InvalidRecord),
        (
            "no key in a compacted topic",
            vec![("cleanup.policy", "compact")],
            keyless,
            ErrorCode::InvalidRecord,
        ),
        ("too large", vec![("max.message.bytes", "80")], batch(3), ErrorCode::MessageTooLarge),
        (
            "larger than a segment",
            vec![("internal.segment.bytes", "80")],
            batch(3),
            ErrorCode::RecordListTooLarge,
        ),
        ("from the future", vec![], future, ErrorCode::InvalidTimestamp),
        ("with offsets of its own", vec![], elsewhere, ErrorCode::InvalidRecord),
        ("of a producer without a number", vec![], unnumbered, ErrorCode::InvalidRecord),
        ("of a transaction", vec![], transactional, ErrorCode::InvalidRequest),
    ] {
        let mut partition = partition();
        let refusal = partition.append(clock(0), &settings(&set), bytes, true).unwrap_err();
        assert_eq!(refusal.code, expected, "{what}");
        assert_eq!(partition.log().unwrap().end(), Offset(0), "{what}");
    }
}

#[test]
fn a_topic_is_not_held_to_more_replicas_than_it_has() {
    let mut lone = Partition::new(&BROKERS[..1], |_| true);
    let strict = settings(&[("min.insync.replicas", "2")]);
    assert!(lone.append(clock(0), &strict, batch(1), true).is_ok());
}

#[test]
fn a_refusal_tells_the_log_start_once_the_log_was_looked_at() {
    let mut partition = partition();
    let log_start = |partition: &mut Partition, bytes, set: &[(&str, &str)]| {
        partition.append(clock(0), &settings(set), bytes, true).unwrap_err().log_start
    };
    let keyless = encode(&[record(None, 0)], BatchOptions::default()).unwrap();
    let compacted = [("cleanup.policy", "compact")];
    assert_eq!(log_start(&mut partition, keyless, &compacted), Some(Offset(0)));
    assert_eq!(log_start(&mut partition, batch(3), &[("max.message.bytes", "80")]), None);
    assert_eq!(log_start(&mut partition, Bytes::new(), &[]), None);
}

#[test]
fn a_batch_sent_twice_is_there_once() {
    let mut partition = partition();
    let numbered = |sequence| {
        let producer = Producer::Idempotent(ProducerState { id: 7, epoch: 0, sequence });
        encode(&vec![record(Some("k"), 0); 2], BatchOptions { producer, ..BatchOptions::default() }).unwrap()
    };
    let mut send = |sequence| {
        let written = partition.append(clock(0), &settings(&[]), numbered(sequence), true);
        written.map(|written| written.base_offset.0).map_err(|refusal| refusal.code)
    };
    assert_eq!([send(0), send(2), send(0), send(2), send(4)], [Ok(0), Ok(2), Ok(0), Ok(2), Ok(4)]);
    assert_eq!(send(9), Err(ErrorCode::OutOfOrderSequenceNumber));
    // A new leader has it from its log.
    partition.lose(Time::ZERO, BrokerId(1), false);
    let again = partition.append(clock(0), &settings(&[]), numbered(4), true).unwrap();
    assert_eq!((again.base_offset, partition.log().unwrap().end()), (Offset(4), Offset(6)));
}

#[test]
fn append_time_replaces_the_producers_times() {
    let mut partition = partition();
    let settings = settings(&[("message.timestamp.type", "LogAppendTime")]);
    let written = partition.append(clock(5), &settings, batch(2), true).unwrap();
    assert_eq!(written.append_time, Some(WallTime::from_millis(1_000_005)));
    let found = partition.log().unwrap().latest_by_time(Offset(2)).unwrap();
    assert_eq!((found.offset, found.timestamp.as_millis()), (Offset(0), 1_000_005));
}

#[test]
fn a_stalled_follower_holds_the_high_watermark_until_it_leaves_the_in_sync_set() {
    let mut partition = partition();
    let limit = Duration::from_secs(30);
    append(&mut partition, 2).unwrap();
    partition.stall(Time::ZERO, BrokerId(3), true);
    append(&mut partition, 3).unwrap();
    assert_eq!(partition.high_watermark(), Offset(2));
    assert_eq!(partition.behind_since(), Some(Time::ZERO));
    partition.drop_laggards(Time::from_millis(29_999), limit);
    assert_eq!(partition.high_watermark(), Offset(2));
    partition.drop_laggards(Time::from_millis(30_000), limit);
    assert_eq!((partition.high_watermark(), partition.in_sync()), (Offset(5), &BROKERS[..2]));
    assert_eq!(partition.behind_since(), None);
    partition.stall(Time::from_millis(40_000), BrokerId(3), false);
    assert_eq!(partition.in_sync(), BROKERS);
    partition.check();
    let needs_three = settings(&[("min.insync.replicas", "3")]);
    assert!(partition.append(clock(0), &needs_three, batch(1), true).is_ok());
    partition.lose(Time::ZERO, BrokerId(2), false);
    let refused = partition.append(clock(0), &needs_three, batch(1), true).unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotEnoughReplicas);
    assert!(partition.append(clock(0), &needs_three, batch(1), false).is_ok(), "acks=1 does not care");
}

#[test]
fn a_leader_cannot_be_stalled() {
    let mut partition = partition();
    append(&mut partition, 2).unwrap();
    let leader = partition.leader().unwrap();
    partition.stall(Time::ZERO, leader, true);
    assert_eq!(partition.delete_before(None), Ok(Offset(2)));
}

/// Broker 1 wrote two records in epoch 0 that all have, and three that only it has; broker 2 leads now.
fn ahead_of_all_others() -> Partition {
    let mut partition = partition();
    append(&mut partition, 2).unwrap();
    for follower in [BrokerId(2), BrokerId(3)] {
        partition.stall(Time::ZERO, follower, true);
    }
    append(&mut partition, 3).unwrap();
    partition.lose(Time::ZERO, BrokerId(1), false);
    partition
}

#[test]
fn whoever_comes_back_cuts_off_what_the_new_leader_does_not_have() {
    let mut partition = ahead_of_all_others();
    assert_eq!((partition.leader(), partition.epoch()), (Some(BrokerId(2)), LeaderEpoch(1)));
    assert_eq!(partition.log().unwrap().end(), Offset(2), "what was not acknowledged by all is lost");
    append(&mut partition, 4).unwrap();
    partition.regain(Time::ZERO, BrokerId(1), false);
    partition.stall(Time::ZERO, BrokerId(3), false);
    partition.check();
    assert_eq!(partition.in_sync().len(), 3);
    assert_eq!(partition.high_watermark(), Offset(6));
    let log = &partition.replica(BrokerId(1)).unwrap().log;
    assert_eq!((log.end(), log.last_epoch()), (Offset(6), Some(LeaderEpoch(1))));
    assert_eq!(log.epochs().end_of(LeaderEpoch(0), log.end()), Some((LeaderEpoch(0), Offset(2))));
}

#[test]
fn whoever_comes_back_has_the_rest_of_a_batch_whose_beginning_was_deleted() {
    let mut partition = partition();
    partition.lose(Time::ZERO, BrokerId(3), false);
    append(&mut partition, 4).unwrap();
    partition.delete_before(Some(Offset(2))).unwrap();
    partition.regain(Time::ZERO, BrokerId(3), false);
    partition.check();
    let log = &partition.replica(BrokerId(3)).unwrap().log;
    assert_eq!((log.start(), log.end()), (Offset(2), Offset(4)));
    assert_eq!(log.batches_from(Offset(2)).count(), 1);
}

#[test]
fn only_an_unclean_election_lets_a_stale_replica_lead() {
    for unclean in [false, true] {
        let mut partition = partition();
        partition.lose(Time::ZERO, BrokerId(2), false);
        partition.lose(Time::ZERO, BrokerId(3), false);
        append(&mut partition, 5).unwrap();
        partition.lose(Time::ZERO, BrokerId(1), unclean);
        assert_eq!(partition.leader(), None);
        partition.regain(Time::ZERO, BrokerId(2), unclean);
        assert_eq!(partition.leader(), unclean.then_some(BrokerId(2)));
        if unclean {
            assert_eq!(partition.high_watermark(), Offset(0), "acknowledged records are lost");
            append(&mut partition, 1).unwrap();
        }
        partition.regain(Time::ZERO, BrokerId(1), unclean);
        partition.check();
        let expected = if unclean { Offset(1) } else { Offset(5) };
        assert_eq!(partition.high_watermark(), expected);
        assert_eq!(partition.log().unwrap().end(), expected);
    }
}

/// Its latest epoch has no batch any more, so nothing of its log had to go, and its end of the epoch before is unknown. It
/// looked for where the logs part for ever.
#[test]
fn whoever_has_nothing_left_of_an_epoch_follows_a_leader_that_never_had_it() {
    let mut partition = ahead_of_all_others();
    partition.stall(Time::ZERO, BrokerId(3), false);
    append(&mut partition, 1).unwrap();
    partition.delete_before(None).unwrap();
    assert_eq!(partition.log().map(|log| (log.start(), log.end())), Some((Offset(3), Offset(3))));
    partition.lose(Time::ZERO, BrokerId(2), true);
    partition.lose(Time::ZERO, BrokerId(3), true);
    partition.regain(Time::ZERO, BrokerId(1), true);
    partition.regain(Time::ZERO, BrokerId(2), true);
    partition.check();
    let log = &partition.replica(BrokerId(2)).unwrap().log;
    assert_eq!((log.end(), log.last_epoch()), (Offset(5), Some(LeaderEpoch(0))));
    assert_eq!(log.batches_from(Offset(3)).count(), 1);
}

#[derive(Debug, Clone)]
enum Step {
    Append(bool),
    Lose(usize),
    Regain(usize),
    Stall(usize, bool),
    DropLaggards,
    Move(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<bool>().prop_map(Step::Append),
        1 => (0..3_usize).prop_map(Step::Lose),
        2 => (0..3_usize).prop_map(Step::Regain),
        2 => (0..3_usize, any::<bool>()).prop_map(|(broker, stalls)| Step::Stall(broker, stalls)),
        1 => Just(Step::DropLaggards),
        1 => (0..3_usize).prop_map(Step::Move),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn what_was_acknowledged_by_all_is_never_lost_and_never_changes(steps in prop::collection::vec(step(), 1..80)) {
        let mut partition = partition();
        // The batches that were under the high watermark once, by their first offsets.
        let mut acknowledged: Vec<(Offset, Bytes)> = Vec::new();
        let mut now = 0;
        for step in steps {
            now += 1_000;
            let at = Time::from_millis(now);
            match step {
                Step::Append(needs_all) => {
                    // Each batch differs from all others by its time.
                    let bytes = encode(&[record(Some("k"), now as i64)], BatchOptions::default()).unwrap();
                    let _refused_without_leader = partition.append(clock(now), &settings(&[]), bytes, needs_all);
                }
                Step::Lose(broker) => partition.lose(at, BROKERS[broker], false),
                Step::Regain(broker) if partition.replicas[broker].health == Health::Dead => {
                    partition.regain(at, BROKERS[broker], false);
                }
                Step::Regain(_) => {}
                Step::Stall(broker, stalls) if partition.leader() != Some(BROKERS[broker]) => {
                    partition.stall(at, BROKERS[broker], stalls);
                }
                Step::Stall(..) => {}
                Step::DropLaggards => partition.drop_laggards(at, Duration::from_secs(3)),
                Step::Move(broker) => partition.move_leader(at, BROKERS[broker]),
            }
            partition.check();
            let Some(log) = partition.log() else { continue };
            let committed: Vec<_> = log
                .batches_from(Offset(0))
                .filter(|batch| batch.last_offset() < partition.high_watermark())
                .map(|batch| (batch.base_offset(), batch.bytes().clone()))
                .collect();
            prop_assert!(committed.len() >= acknowledged.len(), "{committed:?}");
            prop_assert_eq!(&committed[..acknowledged.len()], &acknowledged[..]);
            acknowledged = committed;
        }
    }
}
