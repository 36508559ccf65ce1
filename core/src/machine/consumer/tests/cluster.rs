//! The servers of the world: logs with gaps, their leaders, and a coordinator that keeps offsets.

use super::*;
use crate::ports::Commit;

/// What every record of the world weighs.
pub(super) const WEIGHT: u32 = 10;

/// One partition's log.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) at: TopicPartition,
    /// Offsets ascend and have gaps. A key of `None` is keyless.
    pub(super) records: Vec<(Offset, Option<u64>)>,
    pub(super) start: Offset,
    pub(super) end: Offset,
    pub(super) leader: BrokerId,
}

impl Log {
    pub(super) fn new(label: &str, leader: i32, entropy: &mut Entropy) -> Self {
        let first = Offset(i64::from(entropy.below(4)));
        let mut log =
            Self { at: at(label), records: Vec::new(), start: first, end: first, leader: BrokerId(leader) };
        for _ in 0..entropy.below(25) {
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
    pub(super) fn read(&self, from: Offset, max_bytes: u32) -> Read<Offset> {
        let fit = (max_bytes / WEIGHT).max(1) as usize;
        let first = self.records.partition_point(|(offset, _)| *offset < from);
        let found = &self.records[first..];
        let taken = &found[..fit.min(found.len())];
        let next = match taken.last() {
            Some((last, _)) if taken.len() < found.len() => last.next(),
            Some(_) | None => self.end,
        };
        let arrival =
            |&(offset, key): &(Offset, Option<u64>)| Arrival { offset, key, weight: WEIGHT, record: offset };
        let records = taken.iter().map(arrival).collect();
        Read { records, next, leader_epoch: None, high_watermark: self.end, fault: None }
    }
}

/// All servers.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) logs: Vec<Log>,
    pub(super) generation: Generation,
    pub(super) stored: BTreeMap<TopicPartition, StoredOffset>,
}

impl Cluster {
    pub(super) fn log(&self, at: &TopicPartition) -> Option<usize> {
        self.logs.iter().position(|log| log.at == *at)
    }

    pub(super) fn describe(&self) -> Metadata {
        let mut topics: Vec<TopicMetadata> = Vec::new();
        for log in &self.logs {
            let partition = PartitionMetadata {
                partition: log.at.partition,
                leader: Some(log.leader),
                leader_epoch: None,
            };
            match topics.last_mut() {
                Some(TopicMetadata { topic, partitions: Ok(known) }) if *topic == log.at.topic => {
                    known.push(partition);
                }
                Some(_) | None => {
                    topics
                        .push(TopicMetadata { topic: log.at.topic.clone(), partitions: Ok(vec![partition]) });
                }
            }
        }
        Metadata { brokers: Vec::new(), topics }
    }

    fn led(&self, broker: BrokerId, at: &TopicPartition) -> Result<&Log, ErrorCode> {
        let log = self.log(at).map(|index| &self.logs[index]).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if log.leader == broker { Ok(log) } else { Err(ErrorCode::NotLeaderOrFollower) }
    }

    pub(super) fn fetch(
        &self,
        broker: BrokerId,
        request: &FetchRequest,
    ) -> Vec<(TopicPartition, Result<Read<Offset>, ErrorCode>)> {
        let answer = |asked: &FetchPartition| {
            let read = self.led(broker, &asked.at).and_then(|log| {
                let within = (log.start..=log.end).contains(&asked.offset);
                if within {
                    Ok(log.read(asked.offset, asked.max_bytes))
                } else {
                    Err(ErrorCode::OffsetOutOfRange)
                }
            });
            (asked.at.clone(), read)
        };
        request.partitions.iter().map(answer).collect()
    }

    pub(super) fn list(&self, broker: BrokerId, asked: &[ListOffset]) -> Vec<ListedOffset> {
        let answer = |asked: &ListOffset| {
            assert_eq!(asked.start, StartAt::Earliest, "nothing jumps to the end");
            let outcome = self.led(broker, &asked.at).map(|log| Some(log.start));
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

    /// Takes a commit of the present generation, and none other.
    pub(super) fn commit(&mut self, request: &CommitRequest) -> Result<(), ErrorCode> {
        if request.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        for Commit { at, offset, leader_epoch, metadata } in &request.commits {
            let stored =
                StoredOffset { offset: *offset, leader_epoch: *leader_epoch, metadata: metadata.clone() };
            self.stored.insert(at.clone(), stored);
        }
        Ok(())
    }
}
