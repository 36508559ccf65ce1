//! The laws over many seeds.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::laws::{Lawful, Violation};
use super::world::{Weather, World};
use super::*;

const SEEDS: u64 = 3_000;

/// Runs one seed. A failure is run again to tell what happened last.
fn run(seed: u64) -> World {
    let mut world = World::new(seed, Weather::Stormy);
    let what = match attempt(&mut world) {
        Ok(()) => return world,
        Err(Violation(what)) => what,
    };
    let mut again = World::new(seed, Weather::Stormy).traced();
    assert_eq!(attempt(&mut again), Err(Violation(what.clone())), "the same seed gives the same end");
    panic!("seed {seed}: {what}\n{}", again.trace());
}

fn attempt(world: &mut World) -> Lawful {
    catch_unwind(AssertUnwindSafe(|| world.run()))
        .unwrap_or_else(|_| Err(Violation("R2: the machine panicked".to_owned())))
}

#[test]
fn whatever_happens_the_laws_hold_and_in_the_end_all_is_at_rest() {
    let mut seen: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut marks: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in 0..SEEDS {
        let world = run(seed);
        for (law, count) in &world.laws.seen {
            *seen.entry(law).or_default() += count;
        }
        for (mark, count) in &world.marks {
            *marks.entry(mark).or_default() += count;
        }
    }
    // A law that saw nothing proves nothing.
    let laws = [
        "C1 no loss",
        "C2 commit",
        "C2 end",
        "C2 metadata",
        "C2 metadata fits",
        "C3 forward",
        "C3 generation",
        "C4 redelivery",
        "C6 one at a time",
        "C6 order",
        "C8 batch",
        "C8 calls",
        "C8 calls of a handler",
        "C8 outstanding",
        "C8 window",
        "C9 attempts",
        "C9 block",
        "C9 discard",
        "C9 waits",
        "C10 alone",
        "C10 each for itself",
        "L1 in time",
        "L1 rest",
        "L2 all committed",
        "L2 in time",
        "commits name something",
        "contract: deadline",
        "contract: early tick",
        "events come with their place",
        "fetches ask for something",
        "nothing new starts when revoked",
        "outcomes of ended assignments",
        "topics made anew are told",
    ];
    for law in laws {
        let count = seen.remove(law).unwrap_or_default();
        assert!(count >= SEEDS / 10, "{law} was put to the test {count} times only");
    }
    for rare in ["commits for a log before", "past the end of another log"] {
        assert!(seen.remove(rare) > Some(0), "no seed has seen: {rare}");
    }
    assert!(seen.is_empty(), "not listed: {seen:?}");
    for mark in [
        "a broker told of an older life of a topic",
        "an event blocks",
        "an event was discarded",
        "commit metadata ignored",
        "commit metadata limit halved",
        "commit refused by the coordinator",
        "drain cancelled running calls",
        "failed batch taken apart",
        "fetched while draining",
        "late reply ignored",
        "outcome of a call of an ended assignment ignored",
        "released with settled events uncommitted",
        "retention overtook the group",
        "settled before, not handed out again",
        "undecodable batch",
    ] {
        let count = marks.get(mark).copied().unwrap_or_default();
        assert!(count > 0, "no seed has seen: {mark}");
    }
    assert_eq!(marks.get("a bug stopped a partition"), None);
}

/// Two leaders with two partitions each, and a coordinator.
#[test]
fn while_everything_fails_requests_become_few() {
    let (mut busiest, mut late) = ((0, 0), (0, 0));
    for seed in 0..SEEDS / 10 {
        let mut world = World::new(seed, Weather::Outage);
        assert_eq!(world.run_until(world.outage_at + Duration::from_secs(61)), Ok(()), "seed {seed}");
        let count = |from: u64, to: u64| {
            let time = |millis| world.outage_at + Duration::from_millis(millis);
            world.requests.iter().filter(|at| (time(from)..time(to)).contains(at)).count()
        };
        let second = (500..60_000).step_by(500).map(|at| count(at, at + SECOND)).max().unwrap_or_default();
        assert!(count(30 * SECOND, 60 * SECOND) > 0, "seed {seed}: they cease");
        busiest = busiest.max((second, seed));
        late = late.max((count(30 * SECOND, 60 * SECOND), seed));
    }
    assert!(busiest.0 <= 30, "{} requests in a second, seed {}", busiest.0, busiest.1);
    assert!(late.0 <= 60, "{} requests in half a minute, seed {}", late.0, late.1);
}
