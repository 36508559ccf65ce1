//! Tables taken from the documented behaviour of the Java client's assignors, and the laws of any assignment.

use proptest::prelude::*;
use proptest::strategy::Strategy as _;

use super::Strategy;
use super::*;

fn topic(name: &str) -> TopicName {
    TopicName::new(name).expect("a legal name")
}

/// `id: topics` for a dynamic member, `id@instance: topics` for a static one.
fn member(text: &str) -> Subscriber {
    let (who, topics) = text.split_once(": ").expect("written as `id: topics`");
    let (id, instance) = who.split_once('@').map_or((who, None), |(id, instance)| (id, Some(instance)));
    Subscriber {
        member: MemberId(Arc::from(id)),
        instance: instance.map(Arc::from),
        topics: topics.split_whitespace().map(topic).collect(),
    }
}

fn counts(counts: &[(&str, u32)]) -> BTreeMap<TopicName, u32> {
    counts.iter().map(|(name, count)| (topic(name), *count)).collect()
}

fn shown(shares: &Shares) -> Vec<String> {
    shares
        .iter()
        .map(|(member, share)| {
            let share: Vec<String> = share.iter().map(|at| format!("{}{}", at.topic, at.partition)).collect();
            format!("{member}: {}", share.join(" ")).trim_end().to_owned()
        })
        .collect()
}

#[test]
fn strategies_agree_with_the_java_client() {
    use Strategy::{Range, RoundRobin};
    type Row = (Strategy, &'static [&'static str], &'static [(&'static str, u32)], &'static [&'static str]);
    let table: &[Row] = &[
        // The examples of the assignors' own documentation.
        (Range, &["c0: t u", "c1: t u"], &[("t", 3), ("u", 3)], &["c0: t0 t1 u0 u1", "c1: t2 u2"]),
        (RoundRobin, &["c0: t u", "c1: t u"], &[("t", 3), ("u", 3)], &["c0: t0 t2 u1", "c1: t1 u0 u2"]),
        (
            RoundRobin,
            &["c0: t", "c1: t u", "c2: t u v"],
            &[("t", 1), ("u", 2), ("v", 3)],
            &["c0: t0", "c1: u0", "c2: u1 v0 v1 v2"],
        ),
        // Uneven counts: the first members get one more.
        (
            Range,
            &["a: t", "b: t", "c: t", "d: t"],
            &[("t", 10)],
            &["a: t0 t1 t2", "b: t3 t4 t5", "c: t6 t7", "d: t8 t9"],
        ),
        (Range, &["a: t", "b: t", "c: t"], &[("t", 2)], &["a: t0", "b: t1", "c:"]),
        (RoundRobin, &["a: t", "b: t", "c: t"], &[("t", 2)], &["a: t0", "b: t1", "c:"]),
        // One member, no member for a topic, a topic that does not exist, a topic without partitions.
        (Range, &["a: t u"], &[("t", 2), ("w", 2)], &["a: t0 t1"]),
        (RoundRobin, &["a: t u"], &[("t", 0), ("u", 1), ("w", 2)], &["a: u0"]),
        (Range, &["a: t"], &[], &["a:"]),
        // Different subscriptions.
        (Range, &["a: t", "b: t u", "c: u"], &[("t", 3), ("u", 3)], &["a: t0 t1", "b: t2 u0 u1", "c: u2"]),
        (
            RoundRobin,
            &["a: t", "b: t u", "c: u"],
            &[("t", 3), ("u", 3)],
            &["a: t0 t2", "b: t1 u0 u2", "c: u1"],
        ),
        // The order of the list is nothing, the order of ids everything; static members come first.
        (Range, &["z: t", "a: t"], &[("t", 3)], &["a: t0 t1", "z: t2"]),
        (Range, &["a: t", "z@i2: t", "y@i3: t"], &[("t", 4)], &["a: t3", "y: t2", "z: t0 t1"]),
        (RoundRobin, &["a: t", "z@i1: t"], &[("t", 3)], &["a: t1", "z: t0 t2"]),
    ];
    for (strategy, members, partitions, expected) in table {
        let members: Vec<Subscriber> = members.iter().map(|text| member(text)).collect();
        let shares = strategy.assign(&members, &counts(partitions));
        assert_eq!(shown(&shares), *expected, "{strategy:?} {members:?} {partitions:?}");
    }
}

#[test]
fn nobody_gets_nothing() {
    assert!(Strategy::Range.assign(&[], &counts(&[("t", 3)])).is_empty());
    assert!(Strategy::RoundRobin.assign(&[], &counts(&[("t", 3)])).is_empty());
}

fn any_members() -> impl proptest::strategy::Strategy<Value = Vec<Subscriber>> {
    let topics = proptest::collection::btree_set("[a-d]", 0..4);
    proptest::collection::btree_map("m[0-9]{1,2}", (topics, proptest::option::of("i[0-9]{4}")), 1..8)
        .prop_map(|members| {
            members
                .into_iter()
                .map(|(id, (topics, instance))| Subscriber {
                    member: MemberId(Arc::from(id)),
                    instance: instance.map(Arc::from),
                    topics: topics.iter().map(|name| topic(name)).collect(),
                })
                .collect()
        })
}

fn any_counts() -> impl proptest::strategy::Strategy<Value = BTreeMap<TopicName, u32>> {
    proptest::collection::btree_map("[a-d]", 0u32..20, 0..4)
        .prop_map(|all| all.into_iter().map(|(name, count)| (topic(&name), count)).collect())
}

proptest! {
    #[test]
    fn every_partition_goes_to_exactly_one_subscriber(members in any_members(), partitions in any_counts()) {
        for strategy in [Strategy::Range, Strategy::RoundRobin] {
            let shares = strategy.assign(&members, &partitions);
            prop_assert_eq!(shares.len(), members.len());
            let mut given: Vec<&TopicPartition> = shares.values().flatten().collect();
            let total = given.len();
            given.sort();
            given.dedup();
            prop_assert_eq!(given.len(), total, "a partition was given twice");
            for member in &members {
                for at in &shares[&member.member] {
                    prop_assert!(member.topics.contains(&at.topic), "{} does not want {}", member.member, at);
                }
            }
            let wanted: u32 = partitions
                .iter()
                .filter(|(topic, _)| members.iter().any(|member| member.topics.contains(*topic)))
                .map(|(_, count)| *count)
                .sum();
            prop_assert_eq!(total, wanted as usize, "a partition was left over, or made up");
        }
    }

    #[test]
    fn range_is_even_per_topic_and_in_runs(members in any_members(), partitions in any_counts()) {
        let shares = Strategy::Range.assign(&members, &partitions);
        for topic in partitions.keys() {
            let runs: Vec<Vec<i32>> = members
                .iter()
                .filter(|member| member.topics.contains(topic))
                .map(|member| {
                    let share = shares[&member.member].iter();
                    share.filter(|at| at.topic == *topic).map(|at| at.partition.0).collect()
                })
                .collect();
            let sizes = runs.iter().map(Vec::len);
            prop_assert!(sizes.clone().max().unwrap_or(0) - sizes.min().unwrap_or(0) <= 1);
            for run in runs {
                prop_assert!(run.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{:?} is no run", run);
            }
        }
    }

    #[test]
    fn roundrobin_is_even_when_all_want_the_same(mut members in any_members(), partitions in any_counts()) {
        for member in &mut members {
            member.topics = partitions.keys().cloned().collect();
        }
        let shares = Strategy::RoundRobin.assign(&members, &partitions);
        let sizes = shares.values().map(BTreeSet::len);
        prop_assert!(sizes.clone().max().unwrap_or(0) - sizes.min().unwrap_or(0) <= 1);
    }

    #[test]
    fn the_order_in_which_members_are_listed_has_no_influence(
        members in any_members(), partitions in any_counts(), turn in 0usize..8,
    ) {
        let mut turned = members.clone();
        turned.rotate_left(turn % members.len());
        for strategy in [Strategy::Range, Strategy::RoundRobin] {
            prop_assert_eq!(strategy.assign(&turned, &partitions), strategy.assign(&members, &partitions));
        }
    }
}
