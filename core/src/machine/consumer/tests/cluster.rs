//! The servers of the world: logs with gaps, their leaders, and a coordinator that keeps offsets.

use std::collections::BTreeSet;

use super::*;
use crate::ports::Commit;

/// What every record of the world weighs.
pub(super) const WEIGHT: u32 = 10;

/// Tells the records of different logs apart: a record is its log's number times this, plus its offset.
const LOG: i64 = 1_000_000;

/// What the world hands out as the record at an offset of a log.
pub(super) fn record(number: usize, offset: Offset) -> Offset {
    Offset(number as i64 * LOG + offset.0)
}

/// The log and the offset of a record.
pub(super) fn place(record: Offset) -> (usize, Offset) {
    ((record.0 / LOG) as usize, Offset(record.0 % LOG))
}

/// One partition's log. A topic that is made anew has new ones.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) at: TopicPartition,
    /// The life of the topic.
    pub(super) id: TopicId,
    pub(super) leader_epoch: LeaderEpoch,
    /// Offsets ascend and have gaps. A key of `None` is keyless.
    pub(super) records: Vec<(Offset, Option<u64>)>,
    pub(super) start: Offset,
    pub(super) end: Offset,
    pub(super) leader: BrokerId,
}

impl Log {
    fn starts(&self) -> FoundOffset {
        FoundOffset { offset: self.start, leader_epoch: None }
    }

    pub(super) fn new(label: &str, leader: i32, entropy: &mut Entropy) -> Self {
        let first = Offset(i64::from(entropy.below(4)));
        let mut log = Self {
            at: at(label),
            id: TopicId(1),
            leader_epoch: LeaderEpoch(entropy.below(3) as i32),
            records: Vec::new(),
            start: first,
            end: first,
            leader: BrokerId(leader),
        };
        for _ in 0..entropy.below(25) {
            log.append(entropy);
        }
        log
    }

    /// The log of the topic's next life, with some records already.
    fn anew(&self, entropy: &mut Entropy) -> Self {
        let mut log = Self {
            at: self.at.clone(),
            id: TopicId(self.id.0 + 1),
            leader_epoch: LeaderEpoch(0),
            records: Vec::new(),
            start: Offset::ZERO,
            end: Offset::ZERO,
            leader: BrokerId(1 + entropy.below(2) as i32),
        };
        for _ in 0..entropy.below(60) {
            log.append(entropy);
        }
        log
    }

    /// One record, perhaps with a gap before it, as compaction and transactions leave them, or only a gap.
    pub(super) fn append(&mut self, entropy: &mut Entropy) {
        if entropy.below(4) == 0 {
            self.end = Offset(self.end.0 + 1 + i64::from(entropy.below(4)));
        }
        if entropy.below(8) > 0 {
            let key = (entropy.below(4) > 0).then(|| u64::from(entropy.below(3)));
            self.records.push((self.end, key));
            self.end = self.end.next();
        }
    }

    pub(super) fn key(&self, offset: Offset) -> Option<Option<u64>> {
        let found = self.records.binary_search_by_key(&offset, |(offset, _)| *offset);
        found.ok().map(|index| self.records[index].1)
    }

    /// What a fetch finds: as many records as fit, at least one if there is one.
    fn read(&self, number: usize, from: Offset, max_bytes: u32) -> Read<Offset> {
        let fit = (max_bytes / WEIGHT).max(1) as usize;
        let first = self.records.partition_point(|(offset, _)| *offset < from);
        let found = &self.records[first..];
        let taken = &found[..fit.min(found.len())];
        let next = match taken.last() {
            Some((last, _)) if taken.len() < found.len() => last.next(),
            Some(_) | None => self.end,
        };
        let arrival = |&(offset, key): &(Offset, Option<u64>)| Arrival {
            offset,
            key,
            weight: WEIGHT,
            leader_epoch: None,
            record: record(number, offset),
        };
        let records = taken.iter().map(arrival).collect();
        Read { records, next, leader_epoch: None, high_watermark: self.end, fault: None }
    }
}

/// All servers.
#[derive(Debug)]
pub(super) struct Cluster {
    /// All that ever were; the last of a partition is the one that is there.
    pub(super) logs: Vec<Log>,
    /// Partitions whose stored offset is one of a log before: a commit arrived after the topic was made anew.
    pub(super) misled: BTreeSet<TopicPartition>,
    pub(super) generation: Generation,
    pub(super) stored: BTreeMap<TopicPartition, StoredOffset>,
}

impl Cluster {
    pub(super) fn log(&self, at: &TopicPartition) -> Option<usize> {
        self.logs.iter().rposition(|log| log.at == *at)
    }

    /// The log of a partition in a certain life of its topic.
    pub(super) fn log_of(&self, at: &TopicPartition, id: TopicId) -> Option<usize> {
        self.logs.iter().position(|log| log.at == *at && log.id == id)
    }

    pub(super) fn is_there(&self, number: usize) -> bool {
        self.log(&self.logs[number].at) == Some(number)
    }

    /// The numbers of the logs that are there, in the order of topics and partitions.
    pub(super) fn there(&self) -> Vec<usize> {
        let all: BTreeMap<&TopicPartition, usize> =
            self.logs.iter().enumerate().map(|(number, log)| (&log.at, number)).collect();
        all.into_values().collect()
    }

    /// Deletes a topic, with what the group committed for it, and makes it anew.
    pub(super) fn recreate(&mut self, topic: &TopicName, entropy: &mut Entropy) {
        for number in self.there() {
            if self.logs[number].at.topic == *topic {
                let log = self.logs[number].anew(entropy);
                self.stored.remove(&log.at);
                self.misled.remove(&log.at);
                self.logs.push(log);
            }
        }
    }

    /// What a broker tells; of the life before the present one, if there was one, while it lags.
    pub(super) fn describe(&self, lags: bool) -> Metadata {
        let mut topics: Vec<TopicMetadata> = Vec::new();
        for number in self.there() {
            let there = &self.logs[number];
            let before = self.log_of(&there.at, TopicId(there.id.0 - 1)).filter(|_| lags);
            let log = before.map_or(there, |before| &self.logs[before]);
            let partition = PartitionMetadata {
                partition: log.at.partition,
                leader: Some(log.leader),
                leader_epoch: Some(log.leader_epoch),
            };
            match topics.last_mut() {
                Some(TopicMetadata { topic, partitions: Ok(known), .. }) if *topic == log.at.topic => {
                    known.push(partition);
                }
                Some(_) | None => {
                    let (topic, id) = (log.at.topic.clone(), Some(log.id));
                    topics.push(TopicMetadata { topic, id, partitions: Ok(vec![partition]) });
                }
            }
        }
        Metadata { brokers: Vec::new(), topics }
    }

    fn led(&self, broker: BrokerId, at: &TopicPartition) -> Result<(usize, &Log), ErrorCode> {
        let number = self.log(at).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let log = &self.logs[number];
        if log.leader == broker { Ok((number, log)) } else { Err(ErrorCode::NotLeaderOrFollower) }
    }

    pub(super) fn fetch(
        &self,
        broker: BrokerId,
        request: &FetchRequest,
    ) -> Vec<(TopicPartition, Result<Read<Offset>, ErrorCode>)> {
        let answer = |asked: &FetchPartition| {
            let read = self.led(broker, &asked.at).and_then(|(number, log)| {
                let within = (log.start..=log.end).contains(&asked.offset);
                match asked.leader_epoch {
                    Some(epoch) if epoch < log.leader_epoch => Err(ErrorCode::FencedLeaderEpoch),
                    Some(epoch) if epoch > log.leader_epoch => Err(ErrorCode::UnknownLeaderEpoch),
                    Some(_) | None if within => Ok(log.read(number, asked.offset, asked.max_bytes)),
                    Some(_) | None => Err(ErrorCode::OffsetOutOfRange),
                }
            });
            (asked.at.clone(), read)
        };
        request.partitions.iter().map(answer).collect()
    }

    pub(super) fn list(&self, broker: BrokerId, asked: &[ListOffset]) -> Vec<ListedOffset> {
        let answer = |asked: &ListOffset| {
            assert_eq!(asked.start, StartAt::Earliest, "nothing jumps to the end");
            let outcome = self.led(broker, &asked.at).map(|(_, log)| Some(log.starts()));
            ListedOffset { at: asked.at.clone(), outcome }
        };
        asked.iter().map(answer).collect()
    }

    pub(super) fn committed(
        &self,
        topics: &[(TopicName, Vec<PartitionId>)],
    ) -> Vec<(TopicPartition, Result<Option<StoredOffset>, ErrorCode>)> {
        let places = topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(|&partition| TopicPartition { topic: topic.clone(), partition })
        });
        places.map(|at| (at.clone(), Ok(self.stored.get(&at).cloned()))).collect()
    }

    /// Takes a commit of the present generation, and none other. `reads` tells the life of each topic that the member
    /// reads, as far as it knows one.
    pub(super) fn commit(
        &mut self,
        request: &CommitRequest,
        reads: &BTreeMap<TopicName, TopicId>,
    ) -> Result<(), ErrorCode> {
        if request.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        for Commit { at, offset, leader_epoch, metadata } in &request.commits {
            let stored =
                StoredOffset { offset: *offset, leader_epoch: *leader_epoch, metadata: metadata.clone() };
            self.stored.insert(at.clone(), stored);
            let there = self.log(at).map(|number| self.logs[number].id);
            match reads.get(&at.topic).copied() {
                Some(read) if Some(read) == there => self.misled.remove(at),
                _ => self.misled.insert(at.clone()),
            };
        }
        Ok(())
    }
}
