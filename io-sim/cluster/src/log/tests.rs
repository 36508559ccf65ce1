//! Logs against a model that is too simple to be wrong: a list of records.

use std::time::Duration;

use bytes::Bytes;
use evenkeel_core::model::{LeaderEpoch, Offset, WallTime};
use evenkeel_core::ports::OutgoingRecord;
use evenkeel_core::records::{BatchOptions, Batches, StoredBatch, decode, encode};
use proptest::prelude::*;

use super::compact::Compaction;
use super::{Log, Roll};

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
    let mut bytes = encode(records, BatchOptions::default()).unwrap();
    let batch = StoredBatch::split_first(&mut bytes).unwrap().placed(log.end(), LeaderEpoch(epoch), None);
    log.append(batch, ROLL);
    log.check();
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
    let settings = Compaction { min_dirty_thousandths: 500, keep_tombstones: Duration::from_secs(60) };
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

    // Tombstones go later, when what is new again makes it worth while.
    for nth in 0..20_i64 {
        append(&mut log, 0, &[record(Some("filler"), Some("v"), nth)]);
    }
    log.compact(WallTime::from_millis(100_000), log.end(), settings);
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
