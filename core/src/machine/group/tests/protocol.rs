//! Bytes as Kafka's own clients write them, laws of the round trip, and damage.

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::*;

fn topic(name: &str) -> TopicName {
    TopicName::new(name).expect("a legal name")
}

fn partition(name: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic(name), partition: PartitionId(partition) }
}

/// Two topics, `a` and `bc`, then user data `xy`.
const TOPICS: &[u8] = b"\0\0\0\x02\0\x01a\0\x02bc\0\0\0\x02xy";
/// `a` with partitions 0 and 7.
const PARTITIONS: &[u8] = b"\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x07";

fn bytes(parts: &[&[u8]]) -> Bytes {
    Bytes::from(parts.concat())
}

#[test]
fn a_subscription_is_read_in_every_version() {
    let plain = Subscription {
        topics: BTreeSet::from([topic("a"), topic("bc")]),
        user_data: Some(Bytes::from_static(b"xy")),
        ..Subscription::default()
    };
    let owning =
        Subscription { owned: BTreeSet::from([partition("a", 0), partition("a", 7)]), ..plain.clone() };
    let dated = Subscription { generation: Some(Generation(5)), ..owning.clone() };
    let racked = Subscription { rack: Some(Arc::from("r1")), ..dated.clone() };
    let table: [(&str, Bytes, &Subscription); 12] = [
        ("version 0", bytes(&[b"\0\0", TOPICS]), &plain),
        ("version 1", bytes(&[b"\0\x01", TOPICS, PARTITIONS]), &owning),
        ("version 2", bytes(&[b"\0\x02", TOPICS, PARTITIONS, b"\0\0\0\x05"]), &dated),
        ("version 2, no generation", bytes(&[b"\0\x02", TOPICS, PARTITIONS, b"\xff\xff\xff\xff"]), &owning),
        ("version 3", bytes(&[b"\0\x03", TOPICS, PARTITIONS, b"\0\0\0\x05\0\x02r1"]), &racked),
        ("version 3, no rack", bytes(&[b"\0\x03", TOPICS, PARTITIONS, b"\0\0\0\x05\xff\xff"]), &dated),
        (
            "a version to come",
            bytes(&[b"\0\x09", TOPICS, PARTITIONS, b"\0\0\0\x05\0\x02r1", b"more"]),
            &racked,
        ),
        ("version 0 with more behind it", bytes(&[b"\0\0", TOPICS, b"more"]), &plain),
        ("version 1 that stops early", bytes(&[b"\0\x01", TOPICS]), &plain),
        ("version 3 that stops early", bytes(&[b"\0\x03", TOPICS, PARTITIONS]), &owning),
        ("nothing but a version", bytes(&[b"\0\x01"]), &Subscription::default()),
        (
            "names that no topic can have",
            bytes(&[b"\0\0\0\0\0\x02\0\x01!\0\0\xff\xff\xff\xff"]),
            &Subscription::default(),
        ),
    ];
    for (name, bytes, expected) in table {
        assert_eq!(Subscription::decode(&bytes).as_ref(), Ok(expected), "{name}");
    }
}

#[test]
fn an_assignment_is_read_in_every_version() {
    let mine =
        Assignment { partitions: BTreeSet::from([partition("a", 0), partition("a", 7)]), user_data: None };
    for version in [b"\0\0", b"\0\x01", b"\0\x02", b"\0\x03", b"\0\x63"] {
        assert_eq!(Assignment::decode(&bytes(&[version, PARTITIONS, b"\xff\xff\xff\xff"])), Ok(mine.clone()));
        assert_eq!(Assignment::decode(&bytes(&[version, PARTITIONS])), Ok(mine.clone()), "no user data");
    }
    assert_eq!(Assignment::decode(&Bytes::new()), Ok(Assignment::default()), "left out by the leader");
    let twice_and_never = b"\0\0\0\0\0\x01\0\x01a\0\0\0\x03\0\0\0\x01\0\0\0\x01\xff\xff\xff\xfe";
    assert_eq!(
        Assignment::decode(&bytes(&[twice_and_never])).map(|read| read.partitions),
        Ok(BTreeSet::from([partition("a", 1)])),
    );
}

#[test]
fn what_is_written_is_version_1() {
    let subscription =
        Subscription { topics: BTreeSet::from([topic("bc"), topic("a")]), ..Subscription::default() };
    assert_eq!(
        subscription.encode(),
        Bytes::from_static(b"\0\x01\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff\0\0\0\0")
    );
    let assignment =
        Assignment { partitions: BTreeSet::from([partition("a", 7), partition("a", 0)]), user_data: None };
    assert_eq!(assignment.encode(), bytes(&[b"\0\x01", PARTITIONS, b"\xff\xff\xff\xff"]));
}

#[test]
fn damage_is_told() {
    let table: [(&[u8], &str); 7] = [
        (b"", "it ends in version"),
        (b"\xff\xff", "there is a negative number in version"),
        (b"\0\0\0\0", "it ends in topics"),
        (b"\0\0\0\0\0\x01\0\x05a", "it ends in topics"),
        (b"\0\0\xff\xff\xff\xfe", "there is a negative number in topics"),
        (b"\0\0\0\0\0\x01\0\x01\xff", "there is text that is not UTF-8 in topics"),
        (b"\0\0\x7f\xff\xff\xff\0\x01a", "it ends in topics"),
    ];
    for (damaged, message) in table {
        assert_eq!(
            Subscription::decode(&Bytes::from_static(damaged)).unwrap_err().to_string(),
            format!("not a message of the consumer protocol: {message}"),
        );
    }
}

fn any_partitions() -> impl Strategy<Value = BTreeSet<TopicPartition>> {
    btree_set(("[a-c]{1,3}", 0..40), 0..30)
        .prop_map(|all| all.into_iter().map(|(name, number)| partition(&name, number)).collect())
}

fn any_user_data() -> impl Strategy<Value = Option<Bytes>> {
    proptest::option::of(vec(any::<u8>(), 0..20).prop_map(Bytes::from))
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        names in btree_set("[a-z.]{1,9}x", 0..20), owned in any_partitions(), user_data in any_user_data(),
    ) {
        let topics = names.iter().map(|name| topic(name)).collect();
        let subscription = Subscription { topics, user_data, owned, ..Subscription::default() };
        prop_assert_eq!(Subscription::decode(&subscription.encode()), Ok(subscription));
    }

    #[test]
    fn an_assignment_is_read_as_it_was_written(partitions in any_partitions(), user_data in any_user_data()) {
        let assignment = Assignment { partitions, user_data };
        prop_assert_eq!(Assignment::decode(&assignment.encode()), Ok(assignment));
    }

    #[test]
    fn no_bytes_are_too_damaged_to_be_refused(noise in vec(any::<u8>(), 0..200)) {
        let noise = Bytes::from(noise);
        let _ = Subscription::decode(&noise);
        let _ = Assignment::decode(&noise);
    }

    #[test]
    fn damage_to_a_good_message_never_panics(
        owned in any_partitions(), cut in 0usize..400, at in 0usize..400, with: u8,
    ) {
        let good = Subscription { owned: owned.clone(), ..Subscription::default() };
        let good = [good.encode(), Assignment { partitions: owned, user_data: None }.encode()];
        for message in good {
            let mut message = message.to_vec();
            message.truncate(cut);
            if let Some(byte) = message.get_mut(at) {
                *byte = with;
            }
            let message = Bytes::from(message);
            let _ = Subscription::decode(&message);
            let _ = Assignment::decode(&message);
        }
    }
}
