//! The partitions whose followers are behind, by since when: what is due next is known without a look at all partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_core::model::{PartitionId, Time};

use crate::message::Text;

/// Partitions that wait for a follower, and since when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Laggards {
    since: BTreeMap<(Text, PartitionId), Time>,
    by_time: BTreeSet<(Time, Text, PartitionId)>,
}

impl Laggards {
    /// Takes note of since when a partition is behind, if it is.
    pub(super) fn note(&mut self, topic: &Text, number: PartitionId, since: Option<Time>) {
        if since.is_none() && self.since.is_empty() {
            return;
        }
        let key = (topic.clone(), number);
        let before = match since {
            Some(since) => self.since.insert(key, since),
            None => self.since.remove(&key),
        };
        if before == since {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, topic.clone(), number));
        }
        if let Some(since) = since {
            self.by_time.insert((since, topic.clone(), number));
        }
    }

    /// Since when the first is behind.
    pub(super) fn earliest(&self) -> Option<Time> {
        self.by_time.first().map(|(since, ..)| *since)
    }

    /// Those that are behind for as long as `limit`.
    pub(super) fn due(&self, now: Time, limit: Duration) -> Vec<(Text, PartitionId)> {
        let due = self.by_time.iter().take_while(|(since, ..)| *since + limit <= now);
        due.map(|(_, topic, number)| (topic.clone(), *number)).collect()
    }
}
