//! The tracker in tables, and its laws under any sequence of operations.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use proptest::prelude::*;

use super::naive::{Op, Pair};
use super::{
    Admission, Broken, CommitTracker, EpochStart, Fingerprint, MetadataLimit, Offset, SettledSet, Settlement,
    Snapshot, Ticket, Unreadable, epochs,
};
use crate::model::LeaderEpoch;

fn handlers() -> Fingerprint {
    Fingerprint::of(["charge"])
}

fn run(start: i64, end: i64) -> Range<Offset> {
    Offset(start)..Offset(end)
}

fn admit(tracker: &mut CommitTracker, offset: i64) -> Ticket {
    match tracker.admit(Offset(offset)) {
        Ok(Admission::New(ticket)) => ticket,
        other => panic!("{offset} was to be handed out: {other:?}"),
    }
}

fn accepted(tracker: &mut CommitTracker, limit: MetadataLimit) -> Option<Snapshot> {
    let snapshot = tracker.commit(limit, handlers(), &[]).expect("the tracker is sound")?;
    assert!(tracker.committed(snapshot.offset));
    Some(snapshot)
}

fn named(snapshot: &Snapshot) -> Vec<Range<Offset>> {
    let set = SettledSet::decode(&snapshot.metadata, snapshot.offset, handlers()).expect("it is our own");
    set.runs().to_vec()
}

#[test]
fn the_frontier_is_the_lowest_offset_that_is_not_settled() {
    let mut tracker = CommitTracker::new(Offset(3));
    let tickets: Vec<Ticket> = [3, 4, 7, 8, 12].map(|offset| admit(&mut tracker, offset)).into();
    let steps = [(1, 3), (2, 3), (0, 8), (4, 8), (3, 13)];
    for (index, frontier) in steps {
        assert_eq!(tracker.settle(tickets[index]), Ok(Settlement::Settled));
        tracker.check();
        assert_eq!(tracker.frontier(), Offset(frontier), "after settling number {index}");
    }
    assert_eq!((tracker.in_flight(), tracker.window()), (0, 0));
}

#[test]
fn gaps_count_as_settled_wherever_they_are() {
    let mut tracker = CommitTracker::new(Offset(10));
    let first = admit(&mut tracker, 15);
    assert_eq!(tracker.frontier(), Offset(15), "a gap at the start");
    let second = admit(&mut tracker, 20);
    assert_eq!(tracker.pass(Offset(30)), Ok(()));
    assert_eq!(tracker.settle(first), Ok(Settlement::Settled));
    assert_eq!(tracker.frontier(), Offset(20), "a gap within");
    assert_eq!(tracker.settle(second), Ok(Settlement::Settled));
    assert_eq!(tracker.frontier(), Offset(30), "a gap at the end");
    assert_eq!(tracker.pass(Offset(40)), Ok(()));
    assert_eq!(tracker.frontier(), Offset(40), "a gap and nothing else");
    assert_eq!(tracker.pass(Offset(35)), Ok(()));
    assert_eq!((tracker.frontier(), tracker.position()), (Offset(40), Offset(40)), "never back");
}

#[test]
fn what_does_not_fit_is_answered() {
    let mut tracker = CommitTracker::new(Offset(10));
    for below in [9, 0, -1, i64::MIN] {
        assert_eq!(tracker.admit(Offset(below)), Ok(Admission::Stale), "{below} lies below the start");
    }
    let ticket = admit(&mut tracker, 10);
    assert_eq!(tracker.admit(Offset(10)), Ok(Admission::Stale), "read twice");
    assert_eq!(tracker.settle(Ticket(ticket.0 + 1)), Ok(Settlement::Unknown));
    assert_eq!(tracker.settle(Ticket(u64::MAX)), Ok(Settlement::Unknown));
    let ahead = admit(&mut tracker, 11);
    assert_eq!(tracker.settle(ahead), Ok(Settlement::Settled));
    assert_eq!(tracker.settle(ahead), Ok(Settlement::Repeated), "still in the window");
    assert_eq!(tracker.settle(ticket), Ok(Settlement::Settled));
    assert_eq!(tracker.settle(ticket), Ok(Settlement::Repeated), "out of the window");
    assert_eq!(tracker.admit(Offset(i64::MAX)), Ok(Admission::Stale), "it has no successor");
    assert_eq!(tracker.frontier(), Offset(12));
    tracker.check();
}

#[test]
fn a_cut_log_takes_back_what_lay_beyond_its_end_and_nothing_else() {
    // Where it is cut; then the frontier, what is in flight, and what the next commit names.
    let cases = [
        (9, 9, 0, vec![]),
        (10, 10, 0, vec![]),
        (11, 10, 1, vec![]),
        (12, 10, 1, vec![run(11, 12)]),
        (13, 10, 2, vec![run(11, 12)]),
        (14, 10, 2, vec![run(11, 12), run(13, 14)]),
        (21, 10, 2, vec![run(11, 12), run(13, 14), run(20, 21)]),
        (99, 10, 2, vec![run(11, 12), run(13, 14), run(20, 30)]),
    ];
    for (end, frontier, in_flight, settled) in cases {
        let inherited = SettledSet::new(Offset(10), [run(20, 30)]);
        let mut tracker = CommitTracker::resume(Offset(10), &inherited);
        let tickets = [10, 11, 12, 13].map(|offset| admit(&mut tracker, offset));
        for ticket in [tickets[1], tickets[3]] {
            assert_eq!(tracker.settle(ticket), Ok(Settlement::Settled));
        }
        assert_eq!(tracker.cut(Offset(end)), Ok(()));
        tracker.check();
        assert_eq!((tracker.frontier(), tracker.in_flight()), (Offset(frontier), in_flight), "cut at {end}");
        assert_eq!(tracker.position(), Offset(end.min(14)));
        let snapshot = accepted(&mut tracker, MetadataLimit::DEFAULT).expect("a cut is to be committed");
        assert_eq!((snapshot.offset, named(&snapshot)), (Offset(frontier), settled), "cut at {end}");
        admit(&mut tracker, end.min(14));
        tracker.check();
    }
}

#[test]
fn a_commit_is_offered_until_it_is_accepted_and_then_not_again() {
    let mut tracker = CommitTracker::new(Offset(5));
    let limit = MetadataLimit::DEFAULT;
    let start = Snapshot { offset: Offset(5), metadata: "".into() };
    assert_eq!(tracker.commit(limit, handlers(), &[]), Ok(Some(start.clone())), "the resolved start");
    assert_eq!(tracker.commit(limit, handlers(), &[]), Ok(Some(start.clone())), "not accepted yet");
    assert!(!tracker.committed(Offset(4)), "an answer to something else");
    assert!(tracker.dirty());
    assert!(tracker.committed(Offset(5)));
    assert!(!tracker.committed(Offset(5)), "one answer is enough");
    assert!(!tracker.dirty());
    assert_eq!(tracker.commit(limit, handlers(), &[]), Ok(None));

    let (first, second) = (admit(&mut tracker, 5), admit(&mut tracker, 6));
    assert!(!tracker.dirty(), "handing out is no news for the group");
    assert_eq!(tracker.settle(second), Ok(Settlement::Settled));
    let snapshot = accepted(&mut tracker, limit).expect("the metadata has news");
    assert_eq!((snapshot.offset, named(&snapshot)), (Offset(5), vec![run(6, 7)]));

    let offered = tracker.commit(limit, handlers(), &[]);
    assert_eq!(offered, Ok(None));
    assert_eq!(tracker.settle(first), Ok(Settlement::Settled));
    let offered = tracker.commit(limit, handlers(), &[]);
    assert_eq!(offered, Ok(Some(Snapshot { offset: Offset(7), metadata: "".into() })));
    let third = admit(&mut tracker, 7);
    assert_eq!(tracker.settle(third), Ok(Settlement::Settled));
    assert!(tracker.committed(Offset(7)));
    assert!(tracker.dirty(), "what settled meanwhile is still to be committed");
}

#[test]
fn after_a_reconnect_the_frontier_is_committed_again() {
    let mut tracker = CommitTracker::resume(Offset(5), &SettledSet::empty(Offset(5)));
    assert_eq!(tracker.commit(MetadataLimit::DEFAULT, handlers(), &[]), Ok(None), "it is what the group has");
    tracker.recommit();
    let again = accepted(&mut tracker, MetadataLimit::DEFAULT).map(|snapshot| snapshot.offset);
    assert_eq!(again, Some(Offset(5)));
    assert_eq!(accepted(&mut tracker, MetadataLimit::DEFAULT), None);
}

#[test]
fn a_change_that_the_metadata_cannot_tell_is_not_committed() {
    let mut tracker = CommitTracker::new(Offset(0));
    let tickets: Vec<Ticket> = (0..3).map(|offset| admit(&mut tracker, offset)).collect();
    assert!(accepted(&mut tracker, MetadataLimit::NONE).is_some());
    assert_eq!(tracker.settle(tickets[1]), Ok(Settlement::Settled));
    assert!(tracker.dirty());
    assert_eq!(accepted(&mut tracker, MetadataLimit::NONE), None);
    assert!(!tracker.dirty(), "and it was looked at once");
    assert!(accepted(&mut tracker, MetadataLimit::DEFAULT).is_none(), "until something changes");
}

#[test]
fn a_resumed_set_skips_what_was_settled_and_survives_the_next_hand_over() {
    let set = SettledSet::new(Offset(10), [run(11, 13), run(15, 16), run(40, 50)]);
    let mut tracker = CommitTracker::resume(Offset(10), &set);
    assert!(!tracker.dirty());
    let ten = admit(&mut tracker, 10);
    for (offset, skipped) in [(11, true), (12, true), (13, false), (15, true), (16, false)] {
        let admission = tracker.admit(Offset(offset)).expect("the tracker is sound");
        assert_eq!(admission == Admission::AlreadySettled, skipped, "{offset}: {admission:?}");
        tracker.check();
    }
    assert_eq!((tracker.in_flight(), tracker.window()), (3, 6));
    assert_eq!(tracker.settle(ten), Ok(Settlement::Settled));
    assert_eq!(tracker.frontier(), Offset(13));
    let snapshot = accepted(&mut tracker, MetadataLimit::DEFAULT).expect("the frontier moved");
    assert_eq!(named(&snapshot), [run(15, 16), run(40, 50)], "read and unread alike");
}

#[test]
fn a_set_is_used_from_its_base_on_and_never_below() {
    let set = SettledSet::new(Offset(10), [run(11, 13), run(15, 17)]);
    let mut later = CommitTracker::resume(Offset(16), &set);
    assert!(later.dirty(), "the log has lost its beginning: the new start is to be committed");
    assert_eq!(later.admit(Offset(16)), Ok(Admission::AlreadySettled));
    assert_eq!((later.frontier(), later.window()), (Offset(17), 0));

    let mut rewound = CommitTracker::resume(Offset(9), &set);
    for offset in 9..17 {
        admit(&mut rewound, offset);
    }
}

#[test]
fn a_run_without_end_moves_nothing_by_itself() {
    let set = SettledSet::new(Offset(10), [run(11, i64::MAX)]);
    let mut tracker = CommitTracker::resume(Offset(10), &set);
    let first = admit(&mut tracker, 10);
    assert_eq!(tracker.admit(Offset(11)), Ok(Admission::AlreadySettled));
    assert_eq!(tracker.settle(first), Ok(Settlement::Settled));
    assert_eq!((tracker.frontier(), tracker.window()), (Offset(12), 0), "no further than was read");
    let snapshot = accepted(&mut tracker, MetadataLimit::DEFAULT).expect("the frontier moved");
    assert_eq!(named(&snapshot), [run(12, i64::MAX)]);
    tracker.check();
}

#[test]
fn one_blocked_event_keeps_a_million_settled_ones_in_one_run() {
    let mut tracker = CommitTracker::new(Offset::ZERO);
    let blocked = admit(&mut tracker, 0);
    for offset in 1..1_000_000 {
        let ticket = admit(&mut tracker, offset);
        assert_eq!(tracker.settle(ticket), Ok(Settlement::Settled));
    }
    let snapshot = accepted(&mut tracker, MetadataLimit::DEFAULT).expect("the start was never committed");
    assert_eq!((snapshot.offset, named(&snapshot)), (Offset::ZERO, vec![run(1, 1_000_000)]));
    assert!(snapshot.metadata.len() < 64, "{}", snapshot.metadata);
    assert_eq!(tracker.settle(blocked), Ok(Settlement::Settled));
    assert_eq!((tracker.frontier(), tracker.window()), (Offset(1_000_000), 0));
    tracker.check();
}

#[test]
fn the_cut_keeps_the_near_end() {
    let every_second = SettledSet::new(Offset(0), (0..100_000).map(|n| run(2 * n + 1, 2 * n + 2)));
    let mut limit = MetadataLimit::DEFAULT;
    let mut kept = Vec::new();
    while limit != MetadataLimit::NONE {
        let text = every_second.encode(handlers(), limit);
        assert!(text.len() <= limit.characters());
        let decoded = SettledSet::decode(&text, Offset(0), handlers()).expect("it is our own");
        assert!(every_second.runs().starts_with(decoded.runs()));
        kept.push(decoded.runs().len());
        limit = limit.halve();
    }
    assert_eq!(kept, [1520, 752, 368, 176, 80, 32, 8]);
    assert_eq!(&*every_second.encode(handlers(), limit), "");
}

#[test]
fn text_that_is_not_ours_is_told_apart() {
    let set = SettledSet::new(Offset(1_000), [run(1_001, 1_005), run(1_300, 90_000)]);
    let good = set.encode(handlers(), MetadataLimit::DEFAULT);
    assert_eq!(
        &*good, "4me6Kv/Xv+nZAAAAAAAAAAAAAAAAAAAAAPvQBwABBPsnAfx8WgEAbz5JGQ",
        "the format is stored by groups: a change needs a new version"
    );
    assert_eq!(SettledSet::decode(&good, Offset(1_000), handlers()), Ok(set));
    assert_eq!(SettledSet::decode("", Offset(1_000), handlers()), Ok(SettledSet::empty(Offset(1_000))));

    let bytes = STANDARD_NO_PAD.decode(&*good).expect("it is base64");
    let altered = |place: usize, to: u8| {
        let mut bytes = bytes.clone();
        bytes[place] = to;
        STANDARD_NO_PAD.encode(bytes)
    };
    let sealed = |tail: &[u8]| {
        let mut bytes = bytes[..29].to_vec();
        bytes.extend_from_slice(tail);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        STANDARD_NO_PAD.encode(bytes)
    };
    let mut huge = vec![253];
    huge.extend_from_slice(&u64::MAX.to_le_bytes());
    let huge = huge.as_slice();
    let cases = [
        ("someone's words".to_owned(), Unreadable::Foreign),
        ("{\"host\":\"a-1\"}".to_owned(), Unreadable::Foreign),
        ("deadbeef".to_owned(), Unreadable::Foreign),
        ("é".to_owned(), Unreadable::Foreign),
        (format!("{good}="), Unreadable::Foreign),
        (format!(" {good}"), Unreadable::Foreign),
        (altered(0, 0x01), Unreadable::Foreign),
        (altered(0, 0xE1), Unreadable::OtherVersion(1)),
        (altered(5, bytes[5] ^ 1), Unreadable::Damaged),
        (altered(bytes.len() - 1, !bytes[bytes.len() - 1]), Unreadable::Damaged),
        (STANDARD_NO_PAD.encode(&bytes[..1]), Unreadable::Damaged),
        (STANDARD_NO_PAD.encode(&bytes[..bytes.len() - 1]), Unreadable::Damaged),
        (sealed(&[1]), Unreadable::Damaged),
        (sealed(&[1, 0]), Unreadable::Damaged),
        (sealed(&[1, 1, 0, 1]), Unreadable::Damaged),
        (sealed(&[255, 1]), Unreadable::Damaged),
        (sealed(&[huge, &[1]].concat()), Unreadable::Damaged),
        (sealed(&[&[1], huge].concat()), Unreadable::Damaged),
    ];
    for (text, expected) in cases {
        assert_eq!(SettledSet::decode(&text, Offset(1_000), handlers()), Err(expected), "{text}");
    }
    let elsewhere = SettledSet::decode(&good, Offset(1_001), handlers());
    assert_eq!(
        elsewhere.unwrap_err().to_string(),
        "the commit's metadata was written for offset 1000, but the commit is at 1001"
    );
    let others = SettledSet::decode(&good, Offset(1_000), Fingerprint::of(["charge", "ship"]));
    assert_eq!(
        others.unwrap_err().to_string(),
        "the commit's metadata was written for the handler set d9e9bfd7ff2aba67, but the group now runs a2a703962b00ee14"
    );
}

fn starts(epochs: &[(i32, i64)]) -> Vec<EpochStart> {
    let start = |(epoch, from): &(i32, i64)| EpochStart { epoch: LeaderEpoch(*epoch), from: Offset(*from) };
    epochs.iter().map(start).collect()
}

#[test]
fn a_commit_carries_where_the_last_epochs_below_it_began_whoever_runs_the_next_handlers() {
    let mut tracker = CommitTracker::new(Offset(1_000));
    let read = starts(&[(2, 0), (3, 5), (4, 5), (5, 900), (7, 999), (8, 1_000)]);
    let snapshot = tracker.commit(MetadataLimit::DEFAULT, handlers(), &read).expect("it is sound");
    let text = snapshot.expect("the resolved start").metadata;
    assert_eq!(epochs(&text, Offset(1_000)), read[1..5]);
    assert_eq!(SettledSet::decode(&text, Offset(1_000), handlers()), Ok(SettledSet::empty(Offset(1_000))));
    assert_eq!(epochs(&text, Offset(1_001)), [], "it is another commit's");
    assert_eq!(epochs("hello", Offset(1_000)), []);
    let short = tracker.commit(
        MetadataLimit::new(64),
        handlers(),
        &starts(&[(1, 0), (2, 0), (3, 5), (1 << 30, 999)]),
    );
    let text = short.expect("it is sound").expect("the resolved start").metadata;
    assert!(text.len() <= 64);
    assert_eq!(
        epochs(&text, Offset(1_000)),
        starts(&[(2, 0), (3, 5), (1 << 30, 999)]),
        "the latest are kept"
    );
}

#[test]
fn epochs_that_cannot_be_are_damage() {
    let bytes = STANDARD_NO_PAD.decode(
        &*SettledSet::new(Offset(1_000), [run(1_001, 1_005)]).encode(handlers(), MetadataLimit::DEFAULT),
    );
    let header = bytes.expect("it is base64")[..28].to_vec();
    // A number of epochs, and of each twice the epoch and how far below it begins.
    let read = |tail: &[u8]| {
        let mut bytes = [&header, tail].concat();
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        let text = STANDARD_NO_PAD.encode(bytes);
        (SettledSet::decode(&text, Offset(1_000), handlers()).map(|_| ()), epochs(&text, Offset(1_000)))
    };
    assert_eq!(read(&[2, 14, 3, 10, 7]), (Ok(()), starts(&[(5, 993), (7, 997)])));
    assert_eq!(read(&[2, 14, 7, 10, 7]), (Ok(()), starts(&[(5, 993), (7, 993)])));
    let damaged: [(&str, &[u8]); 6] = [
        ("more than are carried", &[5, 18, 1, 16, 2, 14, 3, 12, 4, 10, 5]),
        ("fewer than are said", &[2, 14, 3]),
        ("the same epoch twice", &[2, 14, 3, 14, 7]),
        ("ascending", &[2, 10, 3, 14, 7]),
        ("an earlier one begins later", &[2, 14, 7, 10, 3]),
        ("one begins at the commit", &[1, 14, 0]),
    ];
    for (what, tail) in damaged {
        assert_eq!(read(tail), (Err(Unreadable::Damaged), Vec::new()), "{what}");
    }
}

#[test]
fn what_is_no_more_inherited_is_no_more_committed() {
    let set = SettledSet::new(Offset(5), [run(7, 9), run(12, 14), run(20, 22)]);
    let mut tracker = CommitTracker::resume(Offset(5), &set);
    assert_eq!(tracker.commit(MetadataLimit::DEFAULT, handlers(), &[]), Ok(None), "it is what is stored");
    tracker.disinherit(Offset(30));
    assert!(!tracker.dirty(), "nothing of it lies there");
    tracker.disinherit(Offset(13));
    let snapshot = tracker.commit(MetadataLimit::DEFAULT, handlers(), &[]).expect("it is sound");
    assert_eq!(named(&snapshot.expect("it is less than is stored")), [run(7, 9), run(12, 13)]);
    tracker.check();
}

#[test]
fn limits_halve_down_to_none() {
    let mut limits = vec![MetadataLimit::DEFAULT];
    while limits[limits.len() - 1] != MetadataLimit::NONE {
        limits.push(limits[limits.len() - 1].halve());
    }
    let characters: Vec<usize> = limits.iter().map(|limit| limit.characters()).collect();
    assert_eq!(characters, [4096, 2048, 1024, 512, 256, 128, 64, 0]);
    assert_eq!(MetadataLimit::NONE.halve(), MetadataLimit::NONE);
}

#[test]
fn errors_say_what_happened_and_what_to_do() {
    let cases = [
        (
            Broken::MovedBack { from: Offset(9), to: Offset(7) }.to_string(),
            "the commit frontier was about to go back from 9 to 7; this is a bug in evenkeel, please report it",
        ),
        (
            Broken::PassedUnsettled { event: Offset(7) }.to_string(),
            "the commit frontier was about to pass the unsettled event at offset 7; this is a bug in evenkeel, please report it",
        ),
        (
            Broken::Disagreement { frontier: Offset(7) }.to_string(),
            "the records of what is in flight disagree at the commit frontier 7; this is a bug in evenkeel, please report it",
        ),
        (Unreadable::Foreign.to_string(), "the commit's metadata was written by another program"),
        (
            Unreadable::OtherVersion(3).to_string(),
            "the commit's metadata has format version 3, this is version 2; another release has written it",
        ),
        (Unreadable::Damaged.to_string(), "the commit's metadata is damaged"),
    ];
    for (message, expected) in cases {
        assert_eq!(message, expected);
    }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(any::<(u8, u8, u16)>().prop_map(Op::from), 0..200)
}

fn sets() -> impl Strategy<Value = SettledSet> {
    let length = prop_oneof![4 => 1i64..4, 2 => 1i64..1_000, 1 => 1i64..(1 << 40)];
    let pairs = prop::collection::vec((length.clone(), length), 0..400);
    (0i64..(1 << 50), pairs).prop_map(|(base, pairs)| {
        let mut end = base;
        let runs = pairs.into_iter().map(|(unsettled, settled)| {
            let start = end + unsettled;
            end = start + settled;
            run(start, end)
        });
        SettledSet::new(Offset(base), runs.collect::<Vec<_>>())
    })
}

proptest! {
    #[test]
    fn the_tracker_equals_its_naive_model_and_nothing_is_lost_across_lives(ops in ops()) {
        let mut pair = Pair::new();
        for op in ops {
            pair.apply(op);
        }
        pair.finish();
    }

    #[test]
    fn a_set_comes_back_as_it_was_or_as_its_near_end(set in sets(), limit in 0usize..5_000) {
        let limit = MetadataLimit::new(limit);
        let text = set.encode(handlers(), limit);
        prop_assert!(text.len() <= limit.characters());
        let decoded = SettledSet::decode(&text, set.base(), handlers()).expect("it is our own");
        prop_assert!(set.runs().starts_with(decoded.runs()));
        let whole = set.encode(handlers(), MetadataLimit::new(1 << 20));
        let decoded_whole = SettledSet::decode(&whole, set.base(), handlers());
        prop_assert_eq!(decoded_whole.as_ref(), Ok(&set));
        if whole.len() <= limit.characters() {
            prop_assert_eq!(decoded, set, "cut although it fits");
        }
    }

    #[test]
    fn any_damage_to_one_character_is_noticed(set in sets(), place: prop::sample::Index, by in 1u8..64) {
        prop_assume!(!set.is_empty());
        let mut text = set.encode(handlers(), MetadataLimit::DEFAULT).as_bytes().to_vec();
        let place = place.index(text.len());
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let value = alphabet.iter().position(|c| *c == text[place]).expect("it is base64");
        text[place] = alphabet[(value + usize::from(by)) % 64];
        let text = String::from_utf8(text).expect("it is ASCII");
        prop_assert!(SettledSet::decode(&text, set.base(), handlers()).is_err());
    }

    #[test]
    fn strangers_text_never_names_an_event(text in "\\PC{0,200}|[A-Za-z0-9+/]{0,200}|4[A-Za-z0-9+/]{0,200}") {
        let read = SettledSet::decode(&text, Offset(7), handlers());
        prop_assert!(read.map_or(true, |set| set.is_empty()));
    }
}
