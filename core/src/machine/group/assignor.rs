//! Assignment strategies: which member gets which partition.
//!
//! The leader of a generation decides for all members, and members of one group may run different clients. So the
//! strategies bear the names of the Java client's and agree with it to the partition: `range` is its `RangeAssignor`
//! (without racks), `roundrobin` its `RoundRobinAssignor`.
//!
//! Guaranteed: each partition of a topic that anyone subscribes to goes to exactly one member, and only to one that
//! subscribes to the topic. Every member is in the result, even if it gets nothing. The order in which members are
//! listed has no influence.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{MemberId, PartitionId, TopicName, TopicPartition};

/// How partitions are spread over members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strategy {
    /// Topic by topic: each member gets a run of neighbouring partitions, the first members one more. Topics with equal
    /// partition counts are split alike, so that their partitions of one number meet at one member.
    Range,
    /// All partitions of all topics are dealt out in turn: the members' totals differ least.
    RoundRobin,
}

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscriber {
    /// Who it is.
    pub member: MemberId,
    /// The instance id of a static member.
    pub instance: Option<Arc<str>>,
    /// What it wants.
    pub topics: BTreeSet<TopicName>,
}

impl Subscriber {
    /// Static members come first, by instance id, so that a restart does not move partitions; then the others by
    /// member id.
    fn rank(&self, other: &Self) -> Ordering {
        match (&self.instance, &other.instance) {
            (Some(one), Some(two)) => one.cmp(two).then_with(|| self.member.cmp(&other.member)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => self.member.cmp(&other.member),
        }
    }
}

/// Who gets what.
pub type Shares = BTreeMap<MemberId, BTreeSet<TopicPartition>>;

impl Strategy {
    /// The name under which members agree on it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
        }
    }

    /// Spreads all partitions over the members. A topic that is not in `partitions` does not exist yet and is left out.
    #[must_use]
    pub fn assign(self, members: &[Subscriber], partitions: &BTreeMap<TopicName, u32>) -> Shares {
        let mut ranked: Vec<&Subscriber> = members.iter().collect();
        ranked.sort_by(|one, two| one.rank(two));
        let mut shares: Shares =
            members.iter().map(|member| (member.member.clone(), BTreeSet::new())).collect();
        let mut turn = 0;
        for (topic, count) in partitions {
            let subscribers: Vec<&Subscriber> =
                ranked.iter().copied().filter(|member| member.topics.contains(topic)).collect();
            if subscribers.is_empty() {
                continue;
            }
            for partition in 0..i32::try_from(*count).unwrap_or(i32::MAX) {
                let owner = match self {
                    Self::Range => subscribers[range_owner(partition, *count, subscribers.len())],
                    Self::RoundRobin => next_in_turn(&ranked, &mut turn, topic),
                };
                let at = TopicPartition { topic: topic.clone(), partition: PartitionId(partition) };
                shares.entry(owner.member.clone()).or_default().insert(at);
            }
        }
        shares
    }
}

/// Which of `members` owns the partition: the first `count % members` of them own one more than the rest.
fn range_owner(partition: i32, count: u32, members: usize) -> usize {
    let partition = usize::try_from(partition).expect("partitions are counted from zero");
    let count = usize::try_from(count).expect("usize has at least 32 bits");
    let (each, extra) = (count / members, count % members);
    let longer = extra * (each + 1);
    if partition < longer { partition / (each + 1) } else { extra + (partition - longer) / each }
}

/// The next member that subscribes to the topic. Whoever is passed over keeps waiting for the turn to come round again,
/// as in the Java client.
fn next_in_turn<'a>(ranked: &[&'a Subscriber], turn: &mut usize, topic: &TopicName) -> &'a Subscriber {
    loop {
        let member = ranked[*turn % ranked.len()];
        *turn = (*turn + 1) % ranked.len();
        if member.topics.contains(topic) {
            return member;
        }
    }
}

#[cfg(test)]
#[path = "tests/assignor.rs"]
mod tests;
