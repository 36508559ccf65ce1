//! The `Broker` port: topics, offsets and fetches over our own connections, produce over rskafka.
//!
//! Requests are built and answers taken apart by plain functions, so that each version that may be spoken is tested
//! without a broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::error::{ErrorCode, Remedy};
use evenkeel_core::model::{BrokerId, LeaderEpoch, Offset, PartitionId, TopicId, TopicName, TopicPartition};
use evenkeel_core::ports::{
    Broker, EpochEnd, FetchAnswer, FetchPartition, FetchRequest, FetchedPartition, FoundOffset, ListOffset,
    ListedOffset, Metadata, NewTopic, PartitionMetadata, PortError, ProduceAnswer, ProduceRequest,
    ResourceLimits, StartAt, TopicMetadata,
};
use evenkeel_core::records::{AbortedTransaction, Batches};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{self, fetch_request};
use kafka_protocol::protocol::StrBytes;

use super::KafkaClient;

/// The number of a topic among the kinds of resources that have configurations.
const TOPIC_RESOURCE: i8 = 2;
const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
/// The timestamps that stand for the ends of a log.
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
/// What stands for "unknown" or "none" where a number is expected.
const NONE: i32 = -1;
/// Who asks: a client, not a replica.
const CLIENT: messages::BrokerId = messages::BrokerId(NONE);
/// The first version of Fetch in which a log that was cut is told apart.
const LAST_FETCHED_EPOCH_SINCE: i16 = 12;
const READ_UNCOMMITTED: i8 = 0;
const READ_COMMITTED: i8 = 1;

impl Broker for KafkaClient {
    async fn metadata(&self, topics: &[TopicName]) -> Result<Metadata, PortError> {
        let (answer, server) = self.cluster.metadata(metadata_request(topics)).await?;
        let mut told: BTreeMap<_, _> = answer
            .topics
            .iter()
            .filter_map(|topic| topic.name.as_ref().map(|name| (&*name.0, topic)))
            .collect();
        let metadata = Metadata {
            brokers: answer.brokers.iter().map(|broker| BrokerId(broker.node_id.0)).collect(),
            topics: topics
                .iter()
                .map(|topic| match told.remove(topic.as_str()) {
                    Some(answer) => Ok(TopicMetadata {
                        topic: topic.clone(),
                        id: topic_id(answer),
                        partitions: partitions(answer),
                    }),
                    None => Err(missing(&server, "topic", topic)),
                })
                .collect::<Result<_, _>>()?,
        };
        if metadata.topics.iter().any(leaves_open) {
            self.cluster.turn_away(&server).await;
        }
        Ok(metadata)
    }

    async fn create_topics(
        &self,
        topics: Vec<NewTopic>,
        timeout: Duration,
    ) -> Result<Vec<(TopicName, Result<(), ErrorCode>)>, PortError> {
        let controller = self.cluster.controller().await?;
        let limit = timeout.saturating_add(self.cluster.settings().limits.request);
        let request = create_topics_request(&topics, timeout);
        let (answer, server) = self.cluster.ask(controller, limit, |_| request).await?;
        let told: BTreeMap<_, _> = answer.topics.iter().map(|topic| (&*topic.name.0, topic)).collect();
        topics
            .into_iter()
            .map(|NewTopic { topic, .. }| {
                let told = told.get(topic.as_str()).ok_or_else(|| missing(&server, "topic", &topic))?;
                let outcome = refusal(told.error_code);
                if let (Err(code), Some(why)) = (outcome, &told.error_message) {
                    tracing::warn!(%topic, code = code.code(), why = &**why, "the broker did not create a topic");
                }
                Ok((topic, outcome))
            })
            .collect()
    }

    async fn limits(&self, topic: &TopicName) -> Result<ResourceLimits, PortError> {
        let limit = self.cluster.settings().limits.request;
        let (answer, server) = self.cluster.ask_any(limit, |_| limits_request(topic)).await?;
        let result = answer.results.first().ok_or_else(|| missing(&server, "topic", topic))?;
        refusal(result.error_code)?;
        let max_message_bytes = result
            .configs
            .iter()
            .find(|config| &*config.name == MAX_MESSAGE_BYTES)
            .and_then(|config| config.value.as_ref()?.parse().ok())
            .ok_or_else(|| missing(&server, MAX_MESSAGE_BYTES, topic))?;
        Ok(ResourceLimits { max_message_bytes })
    }

    async fn list_offsets(
        &self,
        broker: BrokerId,
        partitions: Vec<ListOffset>,
    ) -> Result<Vec<ListedOffset>, PortError> {
        let limit = self.cluster.settings().limits.request;
        let request = list_offsets_request(&partitions);
        let (answer, server) = self.cluster.ask(broker, limit, |_| request).await?;
        let told: BTreeMap<_, _> = answer
            .topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|p| ((&*topic.name.0, p.partition_index), p)))
            .collect();
        partitions
            .into_iter()
            .map(|ListOffset { at, .. }| {
                let told = told
                    .get(&(at.topic.as_str(), at.partition.0))
                    .ok_or_else(|| missing(&server, "partition", &at))?;
                let found =
                    FoundOffset { offset: Offset(told.offset), leader_epoch: known_epoch(told.leader_epoch) };
                let outcome = refusal(told.error_code).map(|()| (told.offset >= 0).then_some(found));
                Ok(ListedOffset { at, outcome })
            })
            .collect()
    }

    async fn fetch(
        &self,
        broker: BrokerId,
        request: FetchRequest,
    ) -> Result<Vec<FetchedPartition>, PortError> {
        let limit = request.wait.saturating_add(self.cluster.settings().limits.request);
        let lane = &self.session.fetch;
        let build = |version| fetch_request(&request, version);
        let (answer, server) = self.cluster.ask_in(lane, broker, limit, build).await?;
        refusal(answer.error_code)?;
        let asked: BTreeMap<_, _> =
            request.partitions.iter().map(|p| ((p.at.topic.as_str(), p.at.partition.0), &p.at)).collect();
        let mut fetched = Vec::with_capacity(request.partitions.len());
        for topic in answer.responses {
            for partition in topic.partitions {
                let number = partition.partition_index;
                let at = asked.get(&(&*topic.topic.0, number)).ok_or_else(|| PortError::Malformed {
                    server: Arc::clone(&server),
                    cause: format!("{}/{number} was not asked for", &*topic.topic.0).into(),
                })?;
                fetched.push(FetchedPartition { at: (*at).clone(), outcome: fetched_partition(partition) });
            }
        }
        Ok(fetched)
    }

    async fn produce(&self, request: ProduceRequest) -> Result<ProduceAnswer, PortError> {
        self.producer.produce(request).await
    }
}

/// What a code of 0 or another one lets conclude.
pub(super) const fn refusal(code: i16) -> Result<(), ErrorCode> {
    match ErrorCode::from_code(code) {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

/// The answer lacks something that was asked for.
pub(super) fn missing(server: &Arc<str>, what: &str, of: impl std::fmt::Display) -> PortError {
    PortError::Malformed {
        server: Arc::clone(server),
        cause: format!("the answer lacks the {what} of {of}").into(),
    }
}

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) fn topic_name(topic: &TopicName) -> messages::TopicName {
    messages::TopicName(text(topic.as_str()))
}

/// Whole milliseconds; the longest time that the protocol can tell if it is longer.
pub(super) fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

fn bytes_limit(bytes: u32) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

pub(super) fn wire_epoch(epoch: Option<LeaderEpoch>) -> i32 {
    epoch.map_or(NONE, |epoch| epoch.0)
}

pub(super) fn known_epoch(epoch: i32) -> Option<LeaderEpoch> {
    (epoch >= 0).then_some(LeaderEpoch(epoch))
}

/// Puts what belongs to one topic together, as nearly all requests want it. The order of topics and partitions is kept
/// where a caller's list is grouped already.
pub(super) fn by_topic<'a, T>(
    items: impl IntoIterator<Item = (&'a TopicPartition, T)>,
) -> Vec<(&'a TopicName, Vec<T>)> {
    let mut topics: Vec<(&TopicName, Vec<T>)> = Vec::new();
    let mut places: BTreeMap<&TopicName, usize> = BTreeMap::new();
    for (at, item) in items {
        let place = *places.entry(&at.topic).or_insert_with(|| {
            topics.push((&at.topic, Vec::new()));
            topics.len() - 1
        });
        topics[place].1.push(item);
    }
    topics
}

pub(super) fn metadata_request(topics: &[TopicName]) -> messages::MetadataRequest {
    let topics = topics.iter().map(|t| MetadataRequestTopic::default().with_name(Some(topic_name(t))));
    messages::MetadataRequest::default()
        .with_topics(Some(topics.collect()))
        .with_allow_auto_topic_creation(false)
}

/// Whether another broker may know more of a topic.
fn leaves_open(topic: &TopicMetadata) -> bool {
    match &topic.partitions {
        Ok(partitions) => partitions.iter().any(|partition| partition.leader.is_none()),
        Err(code) => code.remedy() != Remedy::GiveUp,
    }
}

/// The id of a topic's present life. Brokers that know none leave it zero.
pub(super) fn topic_id(topic: &MetadataResponseTopic) -> Option<TopicId> {
    match topic.topic_id.as_u128() {
        0 => None,
        id => Some(TopicId(id)),
    }
}

fn partitions(topic: &MetadataResponseTopic) -> Result<Vec<PartitionMetadata>, ErrorCode> {
    refusal(topic.error_code)?;
    let mut partitions: Vec<_> = topic
        .partitions
        .iter()
        .map(|partition| PartitionMetadata {
            partition: PartitionId(partition.partition_index),
            leader: (partition.leader_id.0 >= 0).then_some(BrokerId(partition.leader_id.0)),
            leader_epoch: known_epoch(partition.leader_epoch),
        })
        .collect();
    partitions.sort_unstable_by_key(|partition| partition.partition);
    Ok(partitions)
}

pub(super) fn create_topics_request(topics: &[NewTopic], timeout: Duration) -> messages::CreateTopicsRequest {
    let topics = topics
        .iter()
        .map(|new| {
            let configs = new.configs.iter().map(|(name, value)| {
                CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
            });
            let replicas = new.replication_factor.map_or(-1, |n| i16::try_from(n).unwrap_or(i16::MAX));
            CreatableTopic::default()
                .with_name(topic_name(&new.topic))
                .with_num_partitions(i32::try_from(new.partitions).unwrap_or(i32::MAX))
                .with_replication_factor(replicas)
                .with_configs(configs.collect())
        })
        .collect();
    messages::CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(millis(timeout))
}

pub(super) fn limits_request(topic: &TopicName) -> messages::DescribeConfigsRequest {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC_RESOURCE)
        .with_resource_name(text(topic.as_str()))
        .with_configuration_keys(Some(vec![StrBytes::from_static_str(MAX_MESSAGE_BYTES)]));
    messages::DescribeConfigsRequest::default().with_resources(vec![resource])
}

/// Asks as a reader of committed records does. The latest offset is then the first of the oldest open transaction,
/// which is never too late; for one who reads uncommitted records it may be a little early.
pub(super) fn list_offsets_request(partitions: &[ListOffset]) -> messages::ListOffsetsRequest {
    let topics = by_topic(partitions.iter().map(|list| {
        let timestamp = match list.start {
            StartAt::Earliest => EARLIEST,
            StartAt::Latest => LATEST,
            // Kafka counts milliseconds: rounded up, so that no record before the time is found.
            StartAt::Timestamp(time) => time.0.div_euclid(1_000) + i64::from(time.0.rem_euclid(1_000) > 0),
        };
        let partition = ListOffsetsPartition::default()
            .with_partition_index(list.at.partition.0)
            .with_timestamp(timestamp.max(EARLIEST));
        (&list.at, partition)
    }));
    let topics = topics.into_iter().map(|(topic, partitions)| {
        ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(partitions)
    });
    messages::ListOffsetsRequest::default()
        .with_replica_id(CLIENT)
        .with_isolation_level(READ_COMMITTED)
        .with_topics(topics.collect())
}

/// A whole fetch outside of any fetch session. The leader epoch is left out by itself in versions that lack it.
pub(super) fn fetch_request(request: &FetchRequest, version: i16) -> messages::FetchRequest {
    let last_epoch = |wanted: &FetchPartition| match version {
        ..LAST_FETCHED_EPOCH_SINCE => NONE,
        _ => wire_epoch(wanted.last_fetched_epoch),
    };
    let topics = by_topic(request.partitions.iter().map(|wanted| {
        let partition = fetch_request::FetchPartition::default()
            .with_partition(wanted.at.partition.0)
            .with_fetch_offset(wanted.offset.0)
            .with_partition_max_bytes(bytes_limit(wanted.max_bytes))
            .with_current_leader_epoch(wire_epoch(wanted.leader_epoch))
            .with_last_fetched_epoch(last_epoch(wanted));
        (&wanted.at, partition)
    }));
    let topics = topics.into_iter().map(|(topic, partitions)| {
        fetch_request::FetchTopic::default().with_topic(topic_name(topic)).with_partitions(partitions)
    });
    messages::FetchRequest::default()
        .with_replica_id(CLIENT)
        .with_max_wait_ms(millis(request.wait))
        .with_min_bytes(1)
        .with_max_bytes(bytes_limit(request.max_bytes))
        .with_isolation_level(if request.read_committed { READ_COMMITTED } else { READ_UNCOMMITTED })
        .with_session_id(0)
        .with_session_epoch(NONE)
        .with_topics(topics.collect())
}

/// The records stay in the bytes in which they came.
fn fetched_partition(partition: PartitionData) -> Result<FetchAnswer, ErrorCode> {
    refusal(partition.error_code)?;
    let aborted = partition.aborted_transactions.unwrap_or_default();
    let diverging = &partition.diverging_epoch;
    let diverging = known_epoch(diverging.epoch).filter(|_| diverging.end_offset >= 0);
    Ok(FetchAnswer {
        log_start: Offset(partition.log_start_offset),
        high_watermark: Offset(partition.high_watermark),
        diverging: diverging
            .map(|epoch| EpochEnd { epoch, end: Offset(partition.diverging_epoch.end_offset) }),
        batches: Batches {
            bytes: partition.records.unwrap_or_default(),
            aborted: aborted
                .into_iter()
                .map(|transaction| AbortedTransaction {
                    producer_id: transaction.producer_id.0,
                    first_offset: Offset(transaction.first_offset),
                })
                .collect(),
        },
    })
}
