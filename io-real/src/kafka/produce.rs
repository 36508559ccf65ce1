//! Produce, through rskafka: one attempt a call, acknowledged by all in-sync replicas.
//!
//! rskafka retries by itself and has no time limits, which would hide from the engine what may have happened. So its
//! backoff has a deadline of zero, with which the first failure is the last, and each call has a time limit around it.
//! rskafka keeps one connection a partition, and so does this. After a failure both the partition's client and the
//! client it came from are dropped, so that the next call connects anew with fresh metadata (rskafka's own cache can
//! hold a former leader for ever). Calls that run on the old ones end undisturbed.
//!
//! Three things that rskafka does cannot be helped here. It sends a batch again when the broker answers with success
//! and a throttle time: a producer over its quota writes duplicates. It tells replicas to take 30 seconds at most,
//! whatever the request says. And it sorts headers by name, allows each name once, and has no null for their values;
//! records that need more are refused.

use std::collections::btree_map::{BTreeMap, Entry};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{Offset, TopicPartition};
use evenkeel_core::ports::{OutgoingRecord, PortError, ProduceAnswer, ProduceRequest};
use rskafka::chrono::DateTime;
use rskafka::client::error::{Error as ClientError, ProtocolError, RequestError};
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record;
use rskafka::{BackoffConfig, BackoffError};
use tokio::sync::OnceCell;

use super::Settings;
use super::connection::deadline;

/// Clients are shared while they work. A cell is filled by its first user; the others wait for it.
type Shared<T> = Arc<OnceCell<T>>;

#[derive(Debug)]
pub(super) struct Producer {
    bootstrap: Vec<String>,
    settings: Arc<Settings>,
    /// The client that new partitions are opened with.
    client: Mutex<Shared<Client>>,
    partitions: Mutex<BTreeMap<TopicPartition, Shared<PartitionClient>>>,
}

impl Producer {
    pub(super) fn new(bootstrap: Vec<String>, settings: Arc<Settings>) -> Self {
        Self { bootstrap, settings, client: Mutex::default(), partitions: Mutex::default() }
    }

    /// Appends one batch within the request's time limit.
    pub(super) async fn produce(&self, request: ProduceRequest) -> Result<ProduceAnswer, PortError> {
        let ProduceRequest { at, leader, records, timeout } = request;
        let server: Arc<str> = format!("broker {leader}, the leader of {at}").into();
        let records =
            records.iter().map(|record| convert(record)).collect::<Result<Vec<_>, _>>().map_err(|unfit| {
                tracing::error!(%at, %unfit, "a record cannot be produced and was not sent");
                ErrorCode::InvalidRecord
            })?;
        if records.is_empty() {
            return Err(ErrorCode::InvalidRequest.into());
        }
        let deadline = deadline(timeout);
        let cell = self.partition_cell(&at);
        let client = match tokio::time::timeout_at(deadline, self.open(&cell, &at)).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => {
                self.forget(&at, &cell);
                return Err(conclude(&error, Phase::Opening, &server));
            }
            Err(_) => {
                self.forget(&at, &cell);
                return Err(PortError::Unreachable { server, cause: not_within(timeout, "connected") });
            }
        };
        let sending = client.produce(records, Compression::NoCompression);
        let error = match tokio::time::timeout_at(deadline, sending).await {
            Ok(Ok(offsets)) => match offsets.first() {
                Some(first) => return Ok(ProduceAnswer { base_offset: Offset(*first) }),
                None => PortError::Malformed { server, cause: "no offset".into() },
            },
            Ok(Err(error)) => conclude(&error, Phase::Sending, &server),
            Err(_) => PortError::Unknown { server, cause: not_within(timeout, "acknowledged") },
        };
        self.forget(&at, &cell);
        Err(error)
    }

    async fn open<'a>(
        &self,
        cell: &'a OnceCell<PartitionClient>,
        at: &TopicPartition,
    ) -> Result<&'a PartitionClient, ClientError> {
        cell.get_or_try_init(|| async {
            let shared = Arc::clone(&self.client.lock().unwrap_or_else(PoisonError::into_inner));
            let opened = async {
                let client = shared.get_or_try_init(|| self.build()).await?;
                let topic = at.topic.as_str();
                client.partition_client(topic, at.partition.0, UnknownTopicHandling::Error).await
            };
            opened.await
        })
        .await
    }

    async fn build(&self) -> Result<Client, ClientError> {
        ClientBuilder::new(self.bootstrap.clone())
            .client_id(Arc::clone(&self.settings.client_id))
            .max_message_size(self.settings.limits.max_frame_bytes)
            .backoff_config(BackoffConfig { deadline: Some(Duration::ZERO), ..BackoffConfig::default() })
            .build()
            .await
    }

    fn partition_cell(&self, at: &TopicPartition) -> Shared<PartitionClient> {
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(partitions.entry(at.clone()).or_default())
    }

    /// Drops a partition's client, unless another call has replaced it already, and the client that it came from.
    fn forget(&self, at: &TopicPartition, cell: &Shared<PartitionClient>) {
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(entry) = partitions.entry(at.clone())
            && Arc::ptr_eq(entry.get(), cell)
        {
            entry.remove();
            *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Shared::default();
        }
    }
}

fn not_within(limit: Duration, what: &str) -> Arc<str> {
    format!("not {what} within {limit:?}").into()
}

/// A record that rskafka has no way to express.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Unfit {
    #[error("header {0:?} occurs twice; give each header a name of its own")]
    Repeated(String),
    #[error("header {0:?} is null; give it a value, which may be empty")]
    Null(String),
    #[error("the name of a header is not UTF-8")]
    NotUtf8,
    #[error("its time, {0} µs since 1970, is out of range")]
    Time(i64),
}

fn convert(record: &OutgoingRecord) -> Result<Record, Unfit> {
    let mut headers = BTreeMap::new();
    for header in &record.headers {
        let name = std::str::from_utf8(&header.key).map_err(|_| Unfit::NotUtf8)?.to_owned();
        let Some(value) = &header.value else { return Err(Unfit::Null(name)) };
        match headers.entry(name) {
            Entry::Vacant(entry) => entry.insert(value.to_vec()),
            Entry::Occupied(entry) => return Err(Unfit::Repeated(entry.key().clone())),
        };
    }
    let time = record.timestamp;
    Ok(Record {
        key: record.key.as_ref().map(|key| key.to_vec()),
        value: record.value.as_ref().map(|value| value.to_vec()),
        headers,
        timestamp: DateTime::from_timestamp_millis(time.as_millis()).ok_or(Unfit::Time(time.0))?,
    })
}

/// What was being done when an error came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing was produced yet.
    Opening,
    /// The batch may be on its way.
    Sending,
}

fn conclude(error: &ClientError, phase: Phase, server: &Arc<str>) -> PortError {
    let server = Arc::clone(server);
    let cause: Arc<str> = error.to_string().into();
    match (innermost(error), phase) {
        (ClientError::ServerError { protocol_error, .. }, Phase::Opening) => code(*protocol_error).into(),
        (ClientError::ServerError { protocol_error, .. }, Phase::Sending) => match code(*protocol_error) {
            // With these the leader has appended the batch, or may have.
            ErrorCode::RequestTimedOut
            | ErrorCode::NotEnoughReplicasAfterAppend
            | ErrorCode::NetworkException
            | ErrorCode::UnknownServerError => PortError::Unknown { server, cause },
            code => code.into(),
        },
        // While sending, rskafka connects again only before it sends.
        (ClientError::Connection(_), _) | (_, Phase::Opening) => PortError::Unreachable { server, cause },
        (ClientError::InvalidResponse(_), Phase::Sending) => PortError::Malformed { server, cause },
        (ClientError::Request(request), Phase::Sending) => match request {
            RequestError::NoVersionMatch { .. } => ErrorCode::UnsupportedVersion.into(),
            RequestError::WriteError(_) => ErrorCode::InvalidRequest.into(),
            _ => PortError::Unknown { server, cause },
        },
        (_, Phase::Sending) => PortError::Unknown { server, cause },
    }
}

/// The error that rskafka's retries gave up on; without retries that is the first one.
fn innermost(error: &ClientError) -> &ClientError {
    match error {
        ClientError::RetryFailed(BackoffError::DeadlineExceded { source, .. }) => {
            source.downcast_ref::<ClientError>().unwrap_or(error)
        }
        _ => error,
    }
}

/// The same error in the core's words; rskafka keeps the numbers to itself.
fn code(error: ProtocolError) -> ErrorCode {
    macro_rules! same {
        ($($name:ident,)*) => {
            match error {
                $(ProtocolError::$name => ErrorCode::$name,)*
                ProtocolError::InvalidTopicException => ErrorCode::InvalidTopic,
                ProtocolError::Unknown(code) => ErrorCode::Other(code),
                other => {
                    tracing::warn!(error = %other, "the broker answered a produce with an error that is not for it");
                    ErrorCode::UnknownServerError
                }
            }
        };
    }
    same! {
        UnknownServerError, OffsetOutOfRange, CorruptMessage, UnknownTopicOrPartition,
        LeaderNotAvailable, NotLeaderOrFollower, RequestTimedOut, ReplicaNotAvailable, MessageTooLarge,
        OffsetMetadataTooLarge, NetworkException, CoordinatorLoadInProgress, CoordinatorNotAvailable,
        NotCoordinator, RecordListTooLarge, NotEnoughReplicas, NotEnoughReplicasAfterAppend,
        IllegalGeneration, InconsistentGroupProtocol, InvalidGroupId, UnknownMemberId,
        InvalidSessionTimeout, RebalanceInProgress, InvalidCommitOffsetSize, TopicAuthorizationFailed,
        GroupAuthorizationFailed, ClusterAuthorizationFailed, UnsupportedVersion, TopicAlreadyExists,
        InvalidTimestamp, InvalidPartitions, InvalidReplicationFactor, InvalidConfig, NotController, InvalidRequest,
        PolicyViolation, KafkaStorageError, SaslAuthenticationFailed, GroupIdNotFound,
        FetchSessionIdNotFound, InvalidFetchSessionEpoch, FencedLeaderEpoch, UnknownLeaderEpoch,
        UnsupportedCompressionType, OffsetNotAvailable, MemberIdRequired, GroupMaxSizeReached,
        FencedInstanceId, InvalidRecord, UnstableOffsetCommit, ThrottlingQuotaExceeded, UnknownTopicId,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use evenkeel_core::model::{Header, WallTime};

    use super::*;

    fn record(headers: &[(&'static [u8], Option<&'static [u8]>)], timestamp: WallTime) -> OutgoingRecord {
        let header = |(key, value): &(&'static [u8], Option<&'static [u8]>)| Header {
            key: Bytes::from_static(key),
            value: value.map(Bytes::from_static),
        };
        OutgoingRecord { key: None, value: None, headers: headers.iter().map(header).collect(), timestamp }
    }

    #[test]
    fn what_rskafka_cannot_express_is_refused() {
        let now = WallTime::from_millis(1);
        assert!(convert(&record(&[(b"a", Some(b"1")), (b"b", Some(b""))], now)).is_ok());
        for (unfit, why) in [
            (record(&[(b"a", Some(b"1")), (b"a", Some(b"1"))], now), Unfit::Repeated("a".into())),
            (record(&[(b"a", None)], now), Unfit::Null("a".into())),
            (record(&[(&[0xff], Some(b"1"))], now), Unfit::NotUtf8),
            (record(&[], WallTime(i64::MAX)), Unfit::Time(i64::MAX)),
        ] {
            assert_eq!(convert(&unfit), Err(why));
        }
    }

    #[test]
    fn an_error_after_the_append_leaves_the_outcome_open() {
        let server: Arc<str> = "broker 1".into();
        let answered = |protocol_error| ClientError::ServerError {
            protocol_error,
            error_message: None,
            request: rskafka::client::error::RequestContext::Partition("orders".into(), 0),
            response: None,
            is_virtual: false,
        };
        for (error, open) in [
            (ProtocolError::NotLeaderOrFollower, false),
            (ProtocolError::NotEnoughReplicas, false),
            (ProtocolError::MessageTooLarge, false),
            (ProtocolError::InvalidTopicException, false),
            (ProtocolError::Unknown(1234), false),
            (ProtocolError::NotEnoughReplicasAfterAppend, true),
            (ProtocolError::RequestTimedOut, true),
            (ProtocolError::UnknownServerError, true),
        ] {
            let concluded = conclude(&answered(error), Phase::Sending, &server);
            assert_eq!(concluded.may_have_happened(), open, "{error:?}");
            assert_eq!(concluded.code().is_none(), open, "{error:?}");
            assert!(!conclude(&answered(error), Phase::Opening, &server).may_have_happened(), "{error:?}");
        }
    }
}
