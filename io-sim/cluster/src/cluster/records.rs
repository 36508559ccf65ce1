//! Produce, fetch, and looking offsets up.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{LeaderEpoch, Offset, PartitionId, RequestId};

use super::Cluster;
use super::quota::Flow;
use super::waiting::{Pending, Waiting, What};
use crate::message::{
    Acks, Appended, DeleteRecordsAnswer, DeleteRecordsPartition, DeleteRecordsRequest, DeletedRecords,
    EpochEnd, EpochEndsAnswer, EpochEndsRequest, FetchAnswer, FetchPartition, FetchRequest, FetchSession,
    Fetched, FetchedPartition, InitProducerAnswer, InitProducerRequest, ListOffsetsAnswer,
    ListOffsetsRequest, ListPartition, Listed, ListedPartition, OfTopic, Origin, Place, ProduceAnswer,
    ProducePartition, ProduceRefusal, ProduceRequest, ProducedPartition, ProducerIdentity, Text,
};
use crate::partition::{Partition, Written};

/// What a fetch has found so far.
pub(super) struct Read {
    topics: Vec<OfTopic<FetchedPartition>>,
    bytes: usize,
    /// Something that the client must learn at once.
    has_news: bool,
    /// How many partitions are asked for that there are not.
    unknown: usize,
}

impl Read {
    /// Whether it is worth an answer. That a partition is not there is news only if it was there when the fetch came,
    /// and `unknown` were not.
    pub(super) const fn is_enough(&self, request: &FetchRequest, unknown: usize) -> bool {
        self.has_news || self.unknown > unknown || self.bytes >= request.min_bytes
    }
}

impl Cluster {
    pub(super) fn produce(&mut self, id: RequestId, origin: &Origin, request: ProduceRequest) {
        let mut bytes = 0;
        let mut pending = Vec::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for (nth_topic, OfTopic { topic, partitions }) in request.topics.into_iter().enumerate() {
            let mut produced = Vec::with_capacity(partitions.len());
            for (nth, entry) in partitions.into_iter().enumerate() {
                bytes += entry.records.len();
                let partition = entry.partition;
                let outcome = self.append(origin, &topic, entry, request.acks).map(|(written, appended)| {
                    if request.acks == Acks::All {
                        let topic = topic.clone();
                        pending.push(Pending { place: (nth_topic, nth), topic, partition, end: written.end });
                    }
                    appended
                });
                produced.push(ProducedPartition { partition, outcome });
            }
            topics.push(OfTopic { topic, partitions: produced });
        }
        let quota = self.config.produce_quota;
        let throttle = self.quotas.charge(self.now, Flow::Produced, &origin.client, bytes, quota);
        let answer = ProduceAnswer { topics, throttle };
        let is_replicated = |pending: &Pending| self.replicated(origin, pending) == Some(Ok(()));
        if pending.iter().all(is_replicated) {
            self.reply(id, answer);
            return;
        }
        let until = self.now + request.timeout;
        self.park(id, Waiting { until, origin: origin.clone(), what: What::Replicas { answer, pending } });
        // It may be settled already, as when the in-sync set shrank just now.
        self.look_again(id, request.timeout.is_zero());
    }

    fn append(
        &mut self,
        origin: &Origin,
        topic: &Text,
        entry: ProducePartition,
        acks: Acks,
    ) -> Result<(Written, Appended), ProduceRefusal> {
        if let Acks::Unknown(_) = acks {
            return Err(ErrorCode::InvalidRequiredAcks.into());
        }
        let clock = self.clock();
        let found = self.topics.get_mut(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let settings = found.config.settings();
        let partition = found.partition_mut(entry.partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        partition.lead_at(origin.broker, None)?;
        let memory = partition.memory_of(entry.records.len());
        let written = partition.append(clock, &settings, entry.records, acks == Acks::All)?;
        let log_start = partition.log().map_or(written.base_offset, crate::log::Log::start);
        self.note_lag(topic, entry.partition);
        self.touch(topic, entry.partition);
        self.note_growth(memory);
        let Written { base_offset, append_time, .. } = written;
        Ok((written, Appended { base_offset, append_time, log_start }))
    }

    pub(super) fn fetch(&mut self, id: RequestId, origin: &Origin, request: FetchRequest) {
        if request.session == FetchSession::Continued {
            let outcome = Err(ErrorCode::FetchSessionIdNotFound);
            self.reply(id, FetchAnswer { outcome, throttle: Duration::ZERO });
            return;
        }
        let read = self.read(origin, &request);
        let unknown = read.unknown;
        let asks_for_nothing =
            request.topics.iter().map(|topic| topic.partitions.len()).sum::<usize>() == unknown;
        if request.max_wait.is_zero() || asks_for_nothing || read.is_enough(&request, unknown) {
            self.answer_fetch(id, origin, read);
            return;
        }
        let until = self.now + request.max_wait;
        self.park(id, Waiting { until, origin: origin.clone(), what: What::Records { request, unknown } });
    }

    /// Reads what there is.
    pub(super) fn read(&self, origin: &Origin, request: &FetchRequest) -> Read {
        let (mut bytes, mut has_news, mut unknown) = (0, false, 0);
        let topics: Vec<_> = OfTopic::map(&request.topics, |topic, wanted| {
            let room = request.max_bytes.saturating_sub(bytes).min(wanted.max_bytes);
            let outcome =
                self.read_partition(origin, topic, wanted, request.read_committed, room, bytes == 0);
            match &outcome {
                Ok(fetched) => {
                    bytes += fetched.batches.iter().map(bytes::Bytes::len).sum::<usize>();
                    has_news |= fetched.diverging.is_some();
                }
                Err(ErrorCode::UnknownTopicOrPartition) => unknown += 1,
                Err(_) => has_news = true,
            }
            FetchedPartition { partition: wanted.partition, outcome }
        });
        let topics = topics.into_iter().filter(|topic| !topic.partitions.is_empty()).collect();
        Read { topics, bytes, has_news, unknown }
    }

    fn read_partition(
        &self,
        origin: &Origin,
        topic: &str,
        wanted: &FetchPartition,
        read_committed: bool,
        room: usize,
        at_least_one: bool,
    ) -> Result<Fetched, ErrorCode> {
        let partition = self.find(topic, wanted.partition)?;
        let log = partition.log_at(origin.broker, wanted.leader_epoch)?;
        let high_watermark = partition.high_watermark();
        let mut fetched = Fetched {
            high_watermark,
            log_start: log.start(),
            read_committed,
            diverging: None,
            batches: Vec::new(),
        };
        if let Some(last) = wanted.last_epoch {
            let known = end_of_epoch(partition, last).ok_or(ErrorCode::OffsetOutOfRange)?;
            if known.0 < last || known.1 < wanted.offset {
                fetched.diverging = Some(known);
                return Ok(fetched);
            }
        }
        if wanted.offset < log.start() || wanted.offset > log.end() {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        fetched.batches = log.read(wanted.offset, high_watermark, room, at_least_one);
        Ok(fetched)
    }

    pub(super) fn answer_fetch(&mut self, id: RequestId, origin: &Origin, read: Read) {
        let quota = self.config.fetch_quota;
        let throttle = self.quotas.charge(self.now, Flow::Fetched, &origin.client, read.bytes, quota);
        self.reply(id, FetchAnswer { outcome: Ok(read.topics), throttle });
    }

    /// The partition, if there is one.
    fn find(&self, topic: &str, number: PartitionId) -> Result<&Partition, ErrorCode> {
        self.topics.partition(topic, number).ok_or(ErrorCode::UnknownTopicOrPartition)
    }

    pub(super) fn list_offsets(&self, origin: &Origin, request: &ListOffsetsRequest) -> ListOffsetsAnswer {
        let mut seen = BTreeSet::new();
        let named = |topic: &OfTopic<ListPartition>| {
            let topic_name = topic.topic.clone();
            topic
                .partitions
                .iter()
                .map(move |wanted| (topic_name.clone(), wanted.partition))
                .collect::<Vec<_>>()
        };
        let twice: BTreeSet<_> =
            request.topics.iter().flat_map(named).filter(|place| !seen.insert(place.clone())).collect();
        let mut told = BTreeSet::new();
        let topics = OfTopic::map(&request.topics, |topic, wanted| {
            let place = (topic.clone(), wanted.partition);
            let is_twice = twice.contains(&place);
            let outcome =
                if is_twice { Err(ErrorCode::InvalidRequest) } else { self.list(origin, topic, wanted) };
            // What was asked twice is answered once.
            (!is_twice || told.insert(place))
                .then_some(ListedPartition { partition: wanted.partition, outcome })
        });
        let answered = |entry: OfTopic<Option<ListedPartition>>| OfTopic {
            topic: entry.topic,
            partitions: entry.partitions.into_iter().flatten().collect(),
        };
        ListOffsetsAnswer { topics: topics.into_iter().map(answered).collect() }
    }

    fn list(
        &self,
        origin: &Origin,
        topic: &str,
        wanted: &ListPartition,
    ) -> Result<Option<Listed>, ErrorCode> {
        let partition = self.find(topic, wanted.partition)?;
        let log = partition.log_at(origin.broker, wanted.leader_epoch)?;
        let until = partition.high_watermark();
        let end = |offset, leader_epoch| Listed { offset, timestamp: None, leader_epoch: Some(leader_epoch) };
        let found = match wanted.place {
            Place::Earliest => {
                let epoch = log.epochs().at(log.start()).unwrap_or(partition.epoch());
                return Ok(Some(end(log.start(), epoch)));
            }
            Place::Latest => return Ok(Some(end(until, partition.epoch()))),
            Place::MaxTimestamp => log.latest_by_time(until),
            Place::Time(time) => log.first_at_or_after(time, until),
            Place::Unknown(_) => return Err(ErrorCode::UnsupportedVersion),
        };
        Ok(found.map(|found| Listed {
            offset: found.offset,
            timestamp: Some(found.timestamp),
            leader_epoch: log.epochs().at(found.offset),
        }))
    }

    pub(super) fn epoch_ends(&self, origin: &Origin, request: &EpochEndsRequest) -> EpochEndsAnswer {
        EpochEndsAnswer {
            topics: OfTopic::map(&request.topics, |topic, wanted| EpochEnd {
                partition: wanted.partition,
                outcome: self.find(topic, wanted.partition).and_then(|partition| {
                    partition.lead_at(origin.broker, wanted.current_epoch)?;
                    Ok(end_of_epoch(partition, wanted.epoch))
                }),
            }),
        }
    }

    pub(super) fn delete_records(
        &mut self,
        origin: &Origin,
        request: &DeleteRecordsRequest,
    ) -> DeleteRecordsAnswer {
        let mut topics = OfTopic::map(&request.topics, |topic, wanted| {
            let outcome = self.delete_before(origin, topic, wanted);
            self.touch(topic, wanted.partition);
            DeletedRecords { partition: wanted.partition, outcome }
        });
        topics.retain(|entry| !entry.partitions.is_empty());
        DeleteRecordsAnswer { topics }
    }

    fn delete_before(
        &mut self,
        origin: &Origin,
        topic: &Text,
        wanted: &DeleteRecordsPartition,
    ) -> Result<Offset, ErrorCode> {
        let topic = self.topics.get_mut(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let may_delete = topic.config.settings().delete;
        let partition = topic.partition_mut(wanted.partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        partition.lead_at(origin.broker, None)?;
        // A log that is only compacted keeps the last record of each key for ever.
        if may_delete { partition.delete_before(wanted.before) } else { Err(ErrorCode::PolicyViolation) }
    }

    /// Hands out an id.
    pub(super) fn init_producer(&mut self, request: &InitProducerRequest) -> InitProducerAnswer {
        if request.transactional_id.is_some() {
            return InitProducerAnswer { outcome: Err(ErrorCode::UnsupportedVersion) };
        }
        // Only a transactional producer goes on with an id that it had: without one, each asks for a new id.
        self.next_producer += 1;
        let identity = ProducerIdentity { id: self.next_producer - 1, epoch: 0 };
        InitProducerAnswer { outcome: Ok(identity) }
    }
}

/// Where an epoch ended on the leader, whose own epoch goes on.
fn end_of_epoch(partition: &Partition, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
    let log = partition.log()?;
    if epoch == partition.epoch() {
        return Some((epoch, log.end()));
    }
    // -1 stands for none.
    if epoch > partition.epoch() || epoch.0 == -1 {
        return None;
    }
    // An epoch before all that are known ended where the first of these began, whatever it wrote.
    let before_all = || Some((epoch, log.epochs().start().unwrap_or(log.end())));
    log.epochs().end_of(epoch, log.end()).or_else(before_all)
}
