//! The cluster over real sockets: order of answers, parked requests, malformed frames, brokers that die.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use evenkeel_cluster::DevCluster;
use evenkeel_core::model::BrokerId;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, FetchRequest, MetadataRequest, RequestHeader, ResponseHeader, ResponseKind,
    TopicName, create_topics_request::CreatableTopic, fetch_request::FetchPartition,
    fetch_request::FetchTopic,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes, encode_request_header_into_buffer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Longer than anything here takes; what is not done by then is broken.
const SOON: Duration = Duration::from_secs(20);

fn frame(key: ApiKey, version: i16, correlation: i32, request: &impl Encodable) -> Bytes {
    let header = RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_static_str("test")));
    let mut bytes = BytesMut::new();
    bytes.put_i32(0);
    encode_request_header_into_buffer(&mut bytes, &header).unwrap();
    request.encode(&mut bytes, version).unwrap();
    let length = i32::try_from(bytes.len() - 4).unwrap();
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes.freeze()
}

struct Client(TcpStream);

impl Client {
    async fn connect(cluster: &DevCluster, broker: i32) -> Self {
        let address = cluster.addresses().find(|(id, _)| id.0 == broker).unwrap().1;
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The next answer, or `None` if the broker closed the connection.
    async fn answer(&mut self, key: ApiKey, version: i16) -> Option<(i32, ResponseKind)> {
        let read = async {
            let length = self.0.read_i32().await.ok()?;
            let mut bytes = vec![0; usize::try_from(length).unwrap()];
            self.0.read_exact(&mut bytes).await.ok()?;
            let mut bytes = Bytes::from(bytes);
            let header = ResponseHeader::decode(&mut bytes, key.response_header_version(version)).unwrap();
            let answer = ResponseKind::decode(key, &mut bytes, version).unwrap();
            assert!(bytes.is_empty());
            Some((header.correlation_id, answer))
        };
        tokio::time::timeout(SOON, read).await.expect("an answer or the end")
    }

    async fn is_greeted(&mut self) -> bool {
        self.send(&frame(ApiKey::ApiVersions, 0, 1, &ApiVersionsRequest::default())).await;
        self.answer(ApiKey::ApiVersions, 0).await.is_some()
    }

    async fn brokers(&mut self) -> usize {
        self.send(&frame(ApiKey::Metadata, 9, 2, &MetadataRequest::default())).await;
        match self.answer(ApiKey::Metadata, 9).await {
            Some((2, ResponseKind::Metadata(answer))) => answer.brokers.len(),
            other => panic!("{other:?}"),
        }
    }
}

async fn cluster(brokers: u16) -> DevCluster {
    DevCluster::builder().brokers(brokers).start().await.unwrap()
}

#[tokio::test]
async fn a_parked_request_holds_those_behind_it() {
    let cluster = cluster(1).await;
    let mut client = Client::connect(&cluster, 1).await;
    let new = CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_static_str("t")))
        .with_num_partitions(1)
        .with_replication_factor(1);
    let create = kafka_protocol::messages::CreateTopicsRequest::default().with_topics(vec![new]);
    client.send(&frame(ApiKey::CreateTopics, 5, 1, &create)).await;
    assert!(client.answer(ApiKey::CreateTopics, 5).await.is_some());

    let partition = FetchPartition::default().with_partition_max_bytes(1_000);
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_static_str("t")))
        .with_partitions(vec![partition]);
    let wait = Duration::from_millis(300);
    let fetch = FetchRequest::default()
        .with_max_wait_ms(i32::try_from(wait.as_millis()).unwrap())
        .with_min_bytes(1)
        .with_max_bytes(1_000)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    let begun = tokio::time::Instant::now();
    let both = [
        frame(ApiKey::Fetch, 11, 7, &fetch),
        frame(ApiKey::ApiVersions, 0, 8, &ApiVersionsRequest::default()),
    ]
    .concat();
    client.send(&both).await;
    assert!(matches!(client.answer(ApiKey::Fetch, 11).await, Some((7, ResponseKind::Fetch(_)))));
    assert!(begun.elapsed() >= wait, "it was parked for {:?}", begun.elapsed());
    assert!(matches!(client.answer(ApiKey::ApiVersions, 0).await, Some((8, _))));
    cluster.shutdown().await;
}

#[tokio::test]
async fn malformed_frames_cost_a_connection_and_nothing_else() {
    let cluster = cluster(1).await;
    let announced = |length: i32| [&length.to_be_bytes()[..], &[0; 16]].concat();
    let greeting = frame(ApiKey::ApiVersions, 3, 1, &ApiVersionsRequest::default());
    for (what, bytes) in [
        ("a negative length", announced(-1)),
        ("no room for a header", announced(3)),
        ("more than a broker takes", announced(i32::MAX)),
        ("an unknown request", [&[0, 0, 0, 12][..], &999_i16.to_be_bytes(), &[0; 10]].concat()),
        ("an unknown version", [&[0, 0, 0, 12][..], &[0, 1, 0, 99], &[0; 8]].concat()),
        (
            "half a header's client id",
            [&[0, 0, 0, 12][..], &[0, 3, 0, 1, 0, 0, 0, 0, 0x7f, 0xff, 0, 0]].concat(),
        ),
    ] {
        let mut client = Client::connect(&cluster, 1).await;
        client.send(&bytes).await;
        assert!(client.answer(ApiKey::ApiVersions, 0).await.is_none(), "{what}");
        assert!(Client::connect(&cluster, 1).await.is_greeted().await, "after {what}");
    }
    // Half a frame, and the client is gone.
    let mut half = Client::connect(&cluster, 1).await;
    half.send(&greeting[..greeting.len() / 2]).await;
    drop(half);
    assert!(Client::connect(&cluster, 1).await.is_greeted().await);
}

#[tokio::test]
async fn a_frame_that_comes_byte_by_byte_is_a_frame() {
    let cluster = cluster(1).await;
    let mut client = Client::connect(&cluster, 1).await;
    client.0.set_nodelay(true).unwrap();
    for byte in frame(
        ApiKey::ApiVersions,
        3,
        9,
        &ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("test"))
            .with_client_software_version(StrBytes::from_static_str("1.0")),
    ) {
        client.send(&[byte]).await;
    }
    assert!(matches!(client.answer(ApiKey::ApiVersions, 3).await, Some((9, _))));
}

#[tokio::test]
async fn brokers_die_and_come_back_at_the_same_address() {
    let mut cluster = cluster(3).await;
    let (mut first, mut second) = (Client::connect(&cluster, 1).await, Client::connect(&cluster, 2).await);
    assert_eq!((first.brokers().await, second.brokers().await), (3, 3));
    cluster.kill(BrokerId(1)).await;
    assert!(first.answer(ApiKey::ApiVersions, 0).await.is_none(), "its connections break");
    assert_eq!(second.brokers().await, 2);
    let address = cluster.addresses().next().unwrap().1;
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
    cluster.start(BrokerId(1)).await.unwrap();
    assert_eq!(Client::connect(&cluster, 1).await.brokers().await, 3);
    assert!(cluster.start(BrokerId(9)).await.is_err());
    cluster.shutdown().await;
    assert!(second.answer(ApiKey::ApiVersions, 0).await.is_none(), "nothing is left");
}

#[tokio::test]
async fn the_port_of_a_dead_broker_is_kept_for_it() {
    let mut cluster = cluster(2).await;
    let address = cluster.addresses().next().unwrap().1;
    cluster.kill(BrokerId(1)).await;
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
    // Not as a listener would, which takes over what nobody listens at.
    let is_free = || TcpSocket::new_v4().unwrap().bind(address).is_ok();
    assert!(!is_free(), "no connection goes out from there");
    cluster.start(BrokerId(1)).await.unwrap();
    assert!(Client::connect(&cluster, 1).await.is_greeted().await);
    cluster.kill(BrokerId(1)).await;
    cluster.shutdown().await;
}

/// A cluster of one broker with a plan of faults.
async fn faulty(plan: &str) -> DevCluster {
    DevCluster::builder().faults(plan.parse().expect("it is a plan")).start().await.unwrap()
}

async fn struck(cluster: &DevCluster, fault: &str) -> u64 {
    cluster.struck().await.get(fault).copied().unwrap_or_default()
}

#[tokio::test]
async fn a_torn_reply_ends_within_its_frame() {
    let cluster = faulty("seed 1\nchance reply-torn 100%\nspare reply-torn of 1018 nth 0").await;
    let mut client = Client::connect(&cluster, 1).await;
    assert!(client.is_greeted().await, "the first greeting is spared");
    client.send(&frame(ApiKey::Metadata, 9, 2, &MetadataRequest::default())).await;
    let mut reply = Vec::new();
    let end = tokio::time::timeout(SOON, client.0.read_to_end(&mut reply)).await.expect("it ends");
    assert_eq!(end.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionReset));
    let whole = reply.first_chunk().map_or(usize::MAX, |length| i32::from_be_bytes(*length) as usize + 4);
    assert!(reply.len() < whole, "{} of {whole} bytes", reply.len());
    assert_eq!(struck(&cluster, "reply-torn").await, 1);
    cluster.shutdown().await;
}

#[tokio::test]
async fn what_is_asked_in_a_lost_reply_has_happened_and_a_lost_request_has_not() {
    let create = |name: &'static str| {
        let new = CreatableTopic::default()
            .with_name(TopicName(StrBytes::from_static_str(name)))
            .with_num_partitions(1)
            .with_replication_factor(1);
        let request = kafka_protocol::messages::CreateTopicsRequest::default().with_topics(vec![new]);
        frame(ApiKey::CreateTopics, 5, 1, &request)
    };
    // CreateTopics is key 19: the first is lost on its way, the second on its way back.
    let cluster = faulty(
        "seed 1
         chance request-lost 100%
         chance reply-lost 100%
         spare request-lost of 1019 nth 1
         spare request-lost of 1003 nth 0
         spare reply-lost of 1003 nth 0",
    )
    .await;
    for name in ["lost", "made"] {
        let mut client = Client::connect(&cluster, 1).await;
        client.send(&create(name)).await;
        assert!(client.answer(ApiKey::CreateTopics, 5).await.is_none(), "the reply is lost");
    }
    let mut client = Client::connect(&cluster, 1).await;
    client.send(&frame(ApiKey::Metadata, 9, 2, &MetadataRequest::default().with_topics(None))).await;
    match client.answer(ApiKey::Metadata, 9).await {
        Some((2, ResponseKind::Metadata(answer))) => {
            let names: Vec<_> =
                answer.topics.iter().map(|topic| topic.name.as_ref().unwrap().as_str()).collect();
            assert_eq!(names, ["made"]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((struck(&cluster, "request-lost").await, struck(&cluster, "reply-lost").await), (1, 1));
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_refused_connection_is_reset_and_the_next_is_not() {
    let cluster = faulty("chance refused 100%\nspare refused of 1000 nth 1").await;
    assert!(!is_taken(&cluster).await);
    assert!(is_taken(&cluster).await);
    cluster.shutdown().await;
}

/// Whether a new connection is greeted.
async fn is_taken(cluster: &DevCluster) -> bool {
    let mut client = Client::connect(cluster, 1).await;
    // Sending may fail already.
    let _ = client.0.write_all(&frame(ApiKey::ApiVersions, 0, 1, &ApiVersionsRequest::default())).await;
    client.answer(ApiKey::ApiVersions, 0).await.is_some()
}

#[tokio::test]
async fn a_broker_that_dies_by_plan_comes_again_at_its_address() {
    let plan = "at 0s kill-broker 2 down 0.2s";
    let cluster = DevCluster::builder().brokers(2).faults(plan.parse().unwrap()).start().await.unwrap();
    let mut first = Client::connect(&cluster, 1).await;
    let wait = async {
        while struck(&cluster, "kill-broker").await == 0 {}
        while first.brokers().await != 2 {}
    };
    tokio::time::timeout(SOON, wait).await.expect("it dies and comes again");
    assert!(Client::connect(&cluster, 2).await.is_greeted().await);
    assert_eq!(struck(&cluster, "kill-broker").await, 1);
    cluster.shutdown().await;
}

#[tokio::test]
async fn an_isolated_broker_is_silent_until_it_is_over() {
    let plan = "at 0s isolate-broker 1 for 0.4s";
    let begun = tokio::time::Instant::now();
    let cluster = faulty(plan).await;
    while struck(&cluster, "isolate-broker").await == 0 {}
    let mut client = Client::connect(&cluster, 1).await;
    assert!(client.is_greeted().await, "it answers in the end");
    assert!(begun.elapsed() >= Duration::from_millis(400), "it was silent for {:?}", begun.elapsed());
    cluster.shutdown().await;
}
