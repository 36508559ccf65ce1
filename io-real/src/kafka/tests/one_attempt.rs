//! Produce makes one attempt a call: a fake broker counts what rskafka sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{BrokerId, Offset, PartitionId, TopicName, TopicPartition, WallTime};
use evenkeel_core::ports::{OutgoingRecord, PortError, ProduceAnswer, ProduceRequest};
use kafka_protocol::messages::ApiKey;

use super::super::fake::{Fake, Peer};
use super::super::produce::Producer;
use super::super::{Limits, Settings};

const TOPIC: &str = "orders";

/// What the fake does with a produce request.
#[derive(Debug, Clone, Copy)]
enum Reaction {
    Answer(i16),
    Close,
    Silence,
}

/// Serves metadata and produce requests on every connection; does the listed reactions in turn, then succeeds.
async fn serve(fake: Arc<Fake>, reactions: Arc<[Reaction]>, produced: Arc<AtomicUsize>) {
    loop {
        let peer = fake.accept().await;
        tokio::spawn(converse(peer, fake.port(), Arc::clone(&reactions), Arc::clone(&produced)));
    }
}

async fn converse(mut peer: Peer, port: u16, reactions: Arc<[Reaction]>, produced: Arc<AtomicUsize>) {
    while let Some(asked) = peer.read().await {
        if asked.api == ApiKey::Metadata as i16 {
            peer.answer(asked.correlation, &metadata(port)).await;
            continue;
        }
        assert_eq!(asked.api, ApiKey::Produce as i16);
        let count = produced.fetch_add(1, Ordering::SeqCst);
        match reactions.get(count).copied().unwrap_or(Reaction::Answer(0)) {
            Reaction::Answer(code) => peer.answer(asked.correlation, &acknowledgement(code)).await,
            Reaction::Close => return,
            Reaction::Silence => {}
        }
    }
}

fn string(body: &mut BytesMut, text: &str) {
    body.put_i16(i16::try_from(text.len()).unwrap());
    body.put_slice(text.as_bytes());
}

/// Metadata, version 1: one broker that leads one partition.
fn metadata(port: u16) -> BytesMut {
    let mut body = BytesMut::new();
    body.put_i32(1);
    body.put_i32(1);
    string(&mut body, "127.0.0.1");
    body.put_i32(port.into());
    body.put_i16(-1);
    body.put_i32(1);
    body.put_i32(1);
    body.put_i16(0);
    string(&mut body, TOPIC);
    body.put_u8(0);
    body.put_i32(1);
    body.put_i16(0);
    body.put_i32(0);
    body.put_i32(1);
    for _replicas in ["all", "in sync"] {
        body.put_i32(1);
        body.put_i32(1);
    }
    body
}

/// Produce, version 3.
fn acknowledgement(code: i16) -> BytesMut {
    let mut body = BytesMut::new();
    body.put_i32(1);
    string(&mut body, TOPIC);
    body.put_i32(1);
    body.put_i32(0);
    body.put_i16(code);
    body.put_i64(if code == 0 { 42 } else { -1 });
    body.put_i64(-1);
    body.put_i32(0);
    body
}

fn request(timeout: Duration) -> ProduceRequest {
    let record = OutgoingRecord {
        key: None,
        value: Some("value".into()),
        headers: Vec::new(),
        timestamp: WallTime::from_millis(1),
    };
    ProduceRequest {
        at: TopicPartition { topic: TopicName::new(TOPIC).unwrap(), partition: PartitionId(0) },
        leader: BrokerId(1),
        records: vec![Arc::new(record)],
        timeout,
    }
}

async fn producer(reactions: &[Reaction]) -> (Producer, Arc<AtomicUsize>) {
    let fake = Fake::start().await.offering(ApiKey::Metadata, 0, 1).offering(ApiKey::Produce, 3, 3);
    let producer = Producer::new(
        vec![fake.address()],
        Arc::new(Settings { client_id: "test".into(), limits: Limits::default() }),
    );
    let produced = Arc::new(AtomicUsize::new(0));
    tokio::spawn(serve(Arc::new(fake), reactions.into(), Arc::clone(&produced)));
    (producer, produced)
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_refused_batch_is_sent_once() {
    // These are the errors after which rskafka by itself would send again.
    for code in [
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::LeaderNotAvailable,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::OffsetNotAvailable,
        ErrorCode::MessageTooLarge,
    ] {
        let (producer, produced) = producer(&[Reaction::Answer(code.code())]).await;
        assert_eq!(producer.produce(request(LONG)).await, Err(PortError::Refused(code)));
        assert_eq!(produced.load(Ordering::SeqCst), 1, "{code}");
        let answer = producer.produce(request(LONG)).await;
        assert_eq!(answer, Ok(ProduceAnswer { base_offset: Offset(42) }), "after {code}");
        assert_eq!(produced.load(Ordering::SeqCst), 2, "{code}");
    }
}

#[tokio::test]
async fn a_connection_lost_after_sending_leaves_the_outcome_open_and_is_replaced() {
    let (producer, produced) = producer(&[Reaction::Close]).await;
    let error = producer.produce(request(LONG)).await.unwrap_err();
    assert!(matches!(error, PortError::Unknown { .. }), "{error}");
    assert_eq!(produced.load(Ordering::SeqCst), 1);
    producer.produce(request(LONG)).await.unwrap();
    assert_eq!(produced.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn no_acknowledgement_in_time_leaves_the_outcome_open() {
    let (producer, produced) = producer(&[Reaction::Silence]).await;
    let error = producer.produce(request(Duration::from_millis(500))).await.unwrap_err();
    assert!(matches!(error, PortError::Unknown { .. }), "{error}");
    assert!(error.to_string().ends_with("not acknowledged within 500ms"), "{error}");
    producer.produce(request(LONG)).await.unwrap();
    assert_eq!(produced.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_broker_that_is_not_there_was_sent_nothing() {
    let gone = Fake::start().await.address();
    let settings = Arc::new(Settings { client_id: "test".into(), limits: Limits::default() });
    let error = Producer::new(vec![gone], settings).produce(request(LONG)).await.unwrap_err();
    assert!(matches!(error, PortError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn an_empty_batch_is_not_sent() {
    let (producer, produced) = producer(&[]).await;
    let empty = ProduceRequest { records: Vec::new(), ..request(LONG) };
    assert_eq!(producer.produce(empty).await, Err(ErrorCode::InvalidRequest.into()));
    assert_eq!(produced.load(Ordering::SeqCst), 0);
}
