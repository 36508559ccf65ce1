//! Logs against a model that is too simple to be wrong: a list of records.

use std::time::Duration;

use bytes::Bytes;
use evenkeel_core::model::{LeaderEpoch, Offset, WallTime};
use evenkeel_core::ports::OutgoingRecord;
use evenkeel_core::records::{BatchOptions, Batches, Producer, ProducerState, StoredBatch, decode, encode};
use proptest::prelude::*;

use super::compact::Compaction;
use super::producers::Sequence;
use super::{Log, Roll};

/// Compacts whatever there is at once, and keeps tombstones for a minute.
const COMPACTION: Compaction = Compaction {
    min_dirty_thousandths: 0,
    keep_tombstones: Duration::from_secs(60),
    min_lag: Duration::ZERO,
    max_lag: Duration::MAX,
};

const ROLL: Roll = Roll { bytes: 400, age: Duration::from_secs(3_600) };

fn record(key: Option<&str>, value: Option<&str>, millis: i64) -> OutgoingRecord {
    OutgoingRecord {
        key: key.map(|key| Bytes::from(key.to_owned())),
        value: value.map(|value| Bytes::from(value.to_owned())),
        headers: Vec::new(),
        timestamp: WallTime::from_millis(millis),
    }
}

fn append(log: &mut Log, epoch: i32, records: &[OutgoingRecord]) {
    append_at(log, WallTime::default(), epoch, BatchOptions::default(), records);
}

fn append_at(log: &mut Log, now: WallTime, epoch: i32, options: BatchOptions, records: &[OutgoingRecord]) {
    let mut bytes = encode(records, options).unwrap();
    let batch = StoredBatch::split_first(&mut bytes).unwrap().placed(log.end(), LeaderEpoch(epoch), None);
    log.append(batch, ROLL, now);
    log.check();
}

fn at(millis: i64) -> WallTime {
    WallTime::from_millis(millis)
}

/// All that a reader finds from `from` on: offset, key, value.
fn contents(log: &Log, from: Offset, until: Offset) -> Vec<(i64, String, String)> {
    let bytes = log.read(from, until, usize::MAX, true).concat();
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or(b"null").to_vec()).unwrap();
    let decoded = decode(Batches { bytes: bytes.into(), aborted: Vec::new() }, from.max(log.start()));
    decoded.records().map(|r| (r.offset().0, text(r.key()), text(r.value()))).collect()
}

fn offsets(log: &Log) -> Vec<i64> {
    contents(log, log.start(), log.end()).into_iter().map(|(offset, ..)| offset).collect()
}

/// `batches` batches of `size` records, a second apart; keys repeat every four records.
fn filled(batches: i64, size: i64) -> Log {
    let mut log = Log::default();
    for nth in 0..batches {
        let records: Vec<_> = (0..size)
            .map(|i| record(Some(&format!("k{}", (nth * size + i) % 4)), Some("v"), 1_000 * nth))
            .collect();
        append(&mut log, 0, &records);
    }
    log
}

#[test]
fn the_first_batch_comes_whatever_its_size_and_then_only_what_fits() {
    let log = filled(3, 4);
    let size = log.read(Offset(0), Offset(4), usize::MAX, true)[0].len();
    for (from, until, max_bytes, at_least_one, expected) in [
        (0, 12, usize::MAX, false, 3),
        (0, 12, 2 * size, false, 2),
        (0, 12, 2 * size - 1, false, 1),
        (0, 12, size - 1, false, 0),
        (0, 12, 0, true, 1),
        // A batch comes whole or not at all, also at the high watermark.
        (0, 6, usize::MAX, true, 1),
        (0, 3, usize::MAX, true, 0),
        (6, 12, usize::MAX, true, 2),
        (12, 12, usize::MAX, true, 0),
    ] {
        let read = log.read(Offset(from), Offset(until), max_bytes, at_least_one);
        assert_eq!(read.len(), expected, "from {from} until {until}, {max_bytes} bytes, {at_least_one}");
    }
}

#[test]
fn offsets_are_found_by_time() {
    let mut log = Log::default();
    append(&mut log, 0, &[record(None, Some("a"), 100), record(None, Some("b"), 300)]);
    append(&mut log, 0, &[record(None, Some("c"), 200), record(None, Some("d"), 300)]);
    for (time, expected) in [(0, Some(0)), (100, Some(0)), (101, Some(1)), (300, Some(1)), (301, None)] {
        let found = log.first_at_or_after(WallTime::from_millis(time), log.end());
        assert_eq!(found.map(|found| found.offset.0), expected, "time {time}");
    }
    let latest = log.latest_by_time(log.end()).unwrap();
    assert_eq!((latest.offset.0, latest.timestamp.as_millis()), (1, 300));
    log.advance_start(Offset(2));
    assert_eq!(log.latest_by_time(log.end()).unwrap().offset.0, 3);
    assert_eq!(log.first_at_or_after(WallTime::from_millis(0), log.end()).unwrap().offset.0, 2);
}

#[test]
fn retention_takes_whole_segments_from_the_front() {
    let now = WallTime::from_millis(20_000);
    let full = filled(20, 4);
    let mut by_age = full.clone();
    by_age.retain(now, Some(Duration::from_secs(10)), None, full.end());
    by_age.check();
    // The last batch of the first segment that stays is at most ten seconds old.
    assert!(by_age.start() > Offset(30) && by_age.start() <= Offset(40), "{}", by_age.start());
    assert_eq!(offsets(&by_age)[0], by_age.start().0);

    let mut by_size = full.clone();
    by_size.retain(now, None, Some(1_000), full.end());
    by_size.check();
    assert!(by_size.bytes() >= 1_000 && by_size.bytes() < 1_000 + ROLL.bytes, "{}", by_size.bytes());

    let mut unreplicated = full.clone();
    unreplicated.retain(now, Some(Duration::ZERO), Some(0), Offset(10));
    assert!(unreplicated.start() <= Offset(10), "nothing goes that is not replicated");

    let mut all = full.clone();
    all.retain(now, Some(Duration::ZERO), None, full.end());
    assert_eq!((all.start(), all.end(), all.bytes()), (Offset(80), Offset(80), 0));
    append(&mut all, 1, &[record(None, Some("new"), 0)]);
    assert_eq!(offsets(&all), [80]);
}

#[test]
fn compaction_keeps_the_newest_of_each_key_in_closed_segments() {
    let mut log = Log::default();
    for nth in 0..12_i64 {
        let key = format!("k{}", nth % 3);
        append(&mut log, 0, &[record(Some(&key), Some("v"), nth), record(Some("gone"), None, nth)]);
    }
    let before = contents(&log, Offset(0), log.end());
    let active = log.segments.back().unwrap().base().0;
    let settings = Compaction { min_dirty_thousandths: 500, ..COMPACTION };
    log.compact(WallTime::from_millis(1_000), log.end(), settings);
    log.check();
    let newest = |until: i64| -> Vec<_> {
        let is_newest = |(at, key, _): &&(i64, String, String)| {
            *at >= until
                || !before.iter().any(|(later, other, _)| other == key && later > at && *later < until)
        };
        before.iter().filter(is_newest).cloned().collect()
    };
    assert_eq!(contents(&log, Offset(0), log.end()), newest(active));
    assert_eq!(log.end(), Offset(24), "offsets stay");

    // Tombstones go later, when what is new again makes it worth while; the last was not yet found the first time.
    for now in [2_000, 100_000] {
        for nth in 0..20_i64 {
            append(&mut log, 0, &[record(Some("filler"), Some("v"), nth)]);
        }
        log.compact(WallTime::from_millis(now), log.end(), settings);
    }
    let left = contents(&log, Offset(0), Offset(24));
    assert!(left.iter().all(|(_, key, _)| key != "gone"), "{left:?}");
    assert!(left.iter().any(|(_, key, _)| key == "k1"));
}

#[test]
fn a_cut_log_knows_only_what_is_left() {
    let mut log = filled(3, 4);
    append(&mut log, 5, &[record(None, Some("x"), 9_000)]);
    assert_eq!(log.last_epoch(), Some(LeaderEpoch(5)));
    log.truncate(Offset(6));
    log.check();
    // The batch that held offset 6 is gone as a whole.
    assert_eq!((log.end(), log.last_epoch()), (Offset(4), Some(LeaderEpoch(0))));
    assert_eq!(offsets(&log), [0, 1, 2, 3]);
    log.truncate(Offset(0));
    assert_eq!((log.end(), log.bytes(), log.last_epoch()), (Offset(0), 0, None));
}

#[test]
fn what_has_no_time_is_as_old_as_its_last_append() {
    let mut log = Log::default();
    for now in [1_000_000, 1_001_000, 1_002_000] {
        append_at(&mut log, at(now), 0, BatchOptions::default(), &[record(None, Some("v"), -1)]);
    }
    assert_eq!(log.segments.len(), 1, "without times it is rolled by how long it is written to");
    let minute = Some(Duration::from_secs(60));
    log.retain(at(1_062_000), minute, None, log.end());
    assert_eq!(offsets(&log), [0, 1, 2]);
    assert_eq!(log.oldest(log.end()), Some(at(1_002_000)), "where room is made they are not the oldest");
    append_at(&mut log, at(5_000_000), 0, BatchOptions::default(), &[record(None, Some("v"), -1)]);
    assert_eq!(log.segments.len(), 2);
    log.retain(at(5_000_000), minute, None, log.end());
    assert_eq!(offsets(&log), [3]);
}

/// A log whose first batch is this one; enough follows to close its segment. All came now and are of 1970.
fn closed_behind(now: WallTime, options: BatchOptions, first: &[OutgoingRecord]) -> Log {
    let mut log = Log::default();
    append_at(&mut log, now, 0, options, first);
    while log.segments.len() < 2 {
        append_at(&mut log, now, 0, BatchOptions::default(), &[record(Some("filler"), Some("v"), 0)]);
    }
    log
}

fn has(log: &Log, key: &str) -> bool {
    contents(log, log.start(), log.end()).iter().any(|(_, known, _)| known == key)
}

/// Closes the segment that is written to, so that there is something to compact.
fn close(log: &mut Log, now: WallTime) {
    let before = log.segments.len();
    while log.segments.len() == before {
        append_at(log, now, 0, BatchOptions::default(), &[record(Some("filler"), Some("v"), 0)]);
    }
}

#[test]
fn a_tombstone_stays_for_its_time_from_the_first_compaction_on() {
    let now = 1_700_000_000_000;
    let mut log = closed_behind(at(now), BatchOptions::default(), &[record(Some("k"), None, 0)]);
    log.compact(at(now), log.end(), COMPACTION);
    assert!(has(&log, "k"), "however old it was");
    let mut follower = Log::default();
    follower.copy_end_of(&log);
    for log in [&mut log, &mut follower] {
        close(log, at(now));
        log.compact(at(now + 59_999), log.end(), COMPACTION);
        assert!(has(log, "k"));
        close(log, at(now));
        log.compact(at(now + 60_000), log.end(), COMPACTION);
        assert!(!has(log, "k"), "a replica learns with the tombstone until when it stays");
    }
}

#[test]
fn nothing_is_compacted_that_is_too_new() {
    let lagging = Compaction { min_lag: Duration::from_secs(10), ..COMPACTION };
    let mut log = Log::default();
    for nth in 0..30 {
        append(&mut log, 0, &[record(Some("k"), Some("v"), 1_000 * nth)]);
    }
    let before = offsets(&log);
    log.compact(at(9_999), log.end(), lagging);
    assert_eq!(offsets(&log), before);
    log.compact(at(25_000), log.end(), lagging);
    let left = offsets(&log);
    assert!(left.len() < before.len() && left.ends_with(&before[16..]), "{left:?}");
}

#[test]
fn what_is_late_is_compacted_however_little_it_is() {
    let lazy = Compaction { min_dirty_thousandths: 1_000, ..COMPACTION };
    let mut log = filled(12, 4);
    let before = offsets(&log);
    log.compact(at(1_000_000), log.end(), lazy);
    assert_eq!(offsets(&log), before);
    let punctual = Compaction { max_lag: Duration::from_secs(10), ..lazy };
    // The first segment's time is zero, which Kafka takes for none.
    let late = log.segments[1].first_timestamp().unwrap().as_millis() + 10_000;
    log.compact(at(late), log.end(), punctual);
    assert_eq!(offsets(&log), before);
    log.compact(at(late + 1), log.end(), punctual);
    assert!(offsets(&log).len() < before.len());
}

#[test]
fn a_copy_of_a_compacted_log_knows_the_producers() {
    let numbered = |sequence| {
        let state = ProducerState { id: 7, epoch: 0, sequence };
        BatchOptions { producer: Producer::Idempotent(state), ..BatchOptions::default() }
    };
    let filler = [record(Some("filler"), Some("v"), 5), record(Some("filler"), Some("v"), 6)];
    let mut log = closed_behind(at(0), numbered(0), &filler);
    let size = log.bytes();
    log.compact(at(1_000), log.end(), COMPACTION);
    assert!(log.bytes() < size && !offsets(&log).contains(&0), "the batch is superseded");
    assert_eq!(log.latest_by_time(Offset(3)), None, "a batch without records has none of its time");
    let mut copy = Log::default();
    copy.copy_end_of(&log);
    copy.check();
    let again = |log: &Log| log.producers().judge(ProducerState { id: 7, epoch: 0, sequence: 0 }, 2);
    assert_eq!(again(&copy), Sequence::Duplicate(Offset(0), at(6)));
    copy.expire_producers(at(1_000), Duration::from_secs(60));
    assert_eq!(again(&copy), Sequence::Duplicate(Offset(0), at(6)), "its time is the one it had");

    // Once the producer goes on nothing is left of the batch.
    append_at(&mut log, at(0), 0, numbered(2), &filler);
    close(&mut log, at(0));
    log.compact(at(1_000), log.end(), COMPACTION);
    assert!(log.batches_from(Offset(0)).all(|batch| batch.base_offset() > Offset(0)));
}

#[test]
fn a_copy_begins_its_segments_where_the_other_does() {
    let mut leader = filled(9, 4);
    let mut follower = Log::default();
    let bounds = |log: &Log| log.segments.iter().map(|s| (s.base(), s.last_offset())).collect::<Vec<_>>();
    follower.copy_end_of(&leader);
    assert!(leader.segments.len() > 2);
    assert_eq!(bounds(&follower), bounds(&leader));
    for nth in 9..20 {
        append(&mut leader, 0, &[record(Some("k"), Some("v"), 1_000 * nth)]);
        follower.copy_end_of(&leader);
        follower.check();
        assert_eq!(bounds(&follower), bounds(&leader));
    }
    follower.truncate(Offset(14));
    follower.copy_end_of(&leader);
    assert_eq!(bounds(&follower), bounds(&leader));
    assert_eq!(follower.bytes(), leader.bytes());
}

#[derive(Debug, Clone)]
enum Step {
    Append(u8),
    AdvanceStart(u8),
    Truncate(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..6_u8).prop_map(Step::Append),
        1 => any::<u8>().prop_map(Step::AdvanceStart),
        1 => any::<u8>().prop_map(Step::Truncate),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn a_log_reads_as_a_list_of_records(steps in prop::collection::vec(step(), 1..60), from in 0..200_i64) {
        let mut log = Log::default();
        // Each batch's first offset, with how many records it has.
        let mut model: Vec<(i64, i64)> = Vec::new();
        let mut start = 0;
        for step in steps {
            let end = model.last().map_or(start, |(base, size)| base + size).max(start);
            match step {
                Step::Append(size) => {
                    append(&mut log, 0, &vec![record(Some("key"), Some("value"), end); usize::from(size)]);
                    model.push((end, i64::from(size)));
                }
                Step::AdvanceStart(share) => {
                    start += (end - start) * i64::from(share) / 255;
                    log.advance_start(Offset(start));
                    // A log that lost all its batches goes on where it ended.
                    if start == end { model.retain(|(base, _)| *base >= start); }
                }
                Step::Truncate(share) => {
                    let cut = start + (end - start) * i64::from(share) / 255;
                    log.truncate(Offset(cut));
                    model.retain(|(base, size)| base + size <= cut);
                    start = start.min(log.end().0);
                }
            }
            log.check();
            let expected: Vec<i64> = model
                .iter()
                .flat_map(|(base, size)| *base..base + size)
                .filter(|offset| *offset >= start)
                .collect();
            prop_assert_eq!(offsets(&log), expected);
        }
        let from = Offset(from.max(log.start().0));
        let read: Vec<_> = contents(&log, from, log.end()).into_iter().map(|(offset, ..)| offset).collect();
        let expected: Vec<_> = offsets(&log).into_iter().filter(|offset| *offset >= from.0).collect();
        prop_assert_eq!(read, expected);
    }
}
