//! The bare client: one connection, frames made beforehand.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use evenkeel_core::model::WallTime;
use evenkeel_core::ports::OutgoingRecord;
use evenkeel_core::records::{BatchOptions, encode};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, CreateTopicsRequest, FetchRequest, FetchResponse, ProduceRequest, ProduceResponse, RequestHeader,
    TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes, encode_request_header_into_buffer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::broker::Anyhow;

/// The last versions whose answers have a header of nothing but the correlation id.
const PRODUCE: i16 = 8;
const FETCH: i16 = 11;
const CREATE: i16 = 4;
const CORRELATION: usize = 4;
/// Large answers are read in large pieces.
const READ: usize = 256 * 1024;

pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) async fn connect(address: &str) -> Result<Self, Anyhow> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::with_capacity(READ, stream)))
    }

    pub(crate) async fn send(&mut self, frame: &[u8]) -> Result<(), Anyhow> {
        Ok(self.0.get_mut().write_all(frame).await?)
    }

    async fn answer(&mut self) -> Result<Bytes, Anyhow> {
        let length = usize::try_from(self.0.read_i32().await?)?;
        let mut answer = Vec::with_capacity(length);
        (&mut self.0).take(length as u64).read_to_end(&mut answer).await?;
        Ok(Bytes::from(answer).split_off(CORRELATION))
    }

    /// Waits for the answer to a produce.
    pub(crate) async fn produced(&mut self) -> Result<(), Anyhow> {
        let answer = ProduceResponse::decode(&mut self.answer().await?, PRODUCE)?;
        match answer.responses[0].partition_responses[0].error_code {
            0 => Ok(()),
            code => Err(format!("produce was answered with error {code}").into()),
        }
    }

    /// Waits for the answer to a fetch: how many records, and the offset behind them.
    pub(crate) async fn fetched(&mut self) -> Result<(usize, Option<i64>), Anyhow> {
        let answer = FetchResponse::decode(&mut self.answer().await?, FETCH)?;
        let partition = &answer.responses[0].partitions[0];
        if partition.error_code != 0 {
            return Err(format!("fetch was answered with error {}", partition.error_code).into());
        }
        let mut rest = partition.records.clone().unwrap_or_default();
        let (mut records, mut end) = (0, None);
        while let Some(header) = rest.first_chunk::<61>() {
            let mut fields = &header[..];
            let (base, length) = (fields.get_i64(), usize::try_from(fields.get_i32())?);
            records += usize::try_from((&header[57..]).get_i32())?;
            end = Some(base + i64::from((&header[23..]).get_i32()) + 1);
            rest.advance(12 + length);
        }
        Ok((records, end))
    }
}

/// Creates a topic, unless it is there.
pub(crate) async fn create(address: &str, topic: &str, partitions: i32) -> Result<(), Anyhow> {
    let new = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(1);
    let mut client = Client::connect(address).await?;
    client
        .send(&frame(ApiKey::CreateTopics, CREATE, &CreateTopicsRequest::default().with_topics(vec![new]))?)
        .await?;
    client.answer().await?;
    Ok(())
}

/// One batch of so many records of 100 bytes.
pub(crate) fn batch(records: usize) -> Result<Bytes, Anyhow> {
    let record = OutgoingRecord {
        key: None,
        value: Some(Bytes::from_static(&[b'x'; 100])),
        headers: Vec::new(),
        timestamp: WallTime::from_millis(now()),
    };
    Ok(encode(std::iter::repeat_n(&record, records), BatchOptions::default())?)
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) fn produce_frame(topic: &str, partition: i32, batch: Bytes) -> Result<Bytes, Anyhow> {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
    let request =
        ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![topic]);
    frame(ApiKey::Produce, PRODUCE, &request)
}

pub(crate) fn fetch_frame(topic: &str, partition: i32, offset: i64) -> Result<Bytes, Anyhow> {
    const MOST: i32 = 1024 * 1024;
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(-1)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(MOST);
    let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_max_wait_ms(5_000)
        .with_min_bytes(1)
        .with_max_bytes(MOST)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    frame(ApiKey::Fetch, FETCH, &request)
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

fn frame(key: ApiKey, version: i16, request: &impl Encodable) -> Result<Bytes, Anyhow> {
    let header = RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(version)
        .with_client_id(Some(StrBytes::from_static_str("bench")));
    let mut bytes = BytesMut::new();
    bytes.put_i32(0);
    encode_request_header_into_buffer(&mut bytes, &header)?;
    request.encode(&mut bytes, version)?;
    let length = i32::try_from(bytes.len() - 4)?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    Ok(bytes.freeze())
}
