//! Which broker is asked what any broker can answer.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{BrokerId, GroupName, MemberId};
use evenkeel_core::ports::{Broker, Coordinator, LeaveRequest, PortError};
use kafka_protocol::messages::ApiKey;
use tokio::time::{Instant, timeout};

use super::super::fake::{Fake, Peer};
use super::super::{Kafka, KafkaClient, Limits};

const HANGS: Duration = Duration::from_secs(20);

fn limits() -> Limits {
    Limits { connect: Duration::from_secs(600), stagger: Duration::from_millis(50), ..Limits::default() }
}

fn billing() -> GroupName {
    GroupName::new("billing").unwrap()
}

/// A client that knows both, connected to the first.
async fn connected(first: &Fake, second: &Fake) -> (KafkaClient, Peer) {
    let kafka = Kafka::new([first.address(), second.address()]).limits(limits());
    let (client, peer) = tokio::join!(kafka.connect(), first.accept());
    (client.unwrap(), peer)
}

/// The body of a FindCoordinator's answer in version 3: broker 7, or an error.
fn coordinator(code: i16) -> BytesMut {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_i32(0);
    body.put_i16(code);
    body.put_u8(0);
    body.put_i32(7);
    body.put_slice(b"\x0alocalhost");
    body.put_i32(9092);
    body.put_u8(0);
    body
}

async fn answer(peer: &mut Peer, code: i16) {
    let asked = peer.read().await.expect("a question");
    assert_eq!((asked.api, asked.version), (ApiKey::FindCoordinator as i16, 3));
    peer.answer(asked.correlation, &coordinator(code)).await;
}

#[tokio::test]
async fn an_address_that_takes_connections_and_never_answers_does_not_hold_the_others_up() {
    let (silent, good) = (Fake::start().await, Fake::start().await);
    let kafka = Kafka::new([silent.address(), good.address()]).limits(limits());
    let begun = Instant::now();
    let all = async { tokio::join!(kafka.connect(), silent.accept_silently(), good.accept()) };
    let (client, _silent, _good) = timeout(HANGS, all).await.expect("the second address is tried");
    client.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(50), "the first has its chance");
}

#[tokio::test]
async fn a_slow_broker_is_still_taken_if_no_other_answers() {
    let (slow, silent) = (Fake::start().await, Fake::start().await);
    let kafka = Kafka::new([slow.address(), silent.address()]).limits(limits());
    let connect = tokio::spawn(async move { kafka.connect().await });
    let _silent = timeout(HANGS, silent.accept_silently()).await.expect("the second address is tried");
    let _slow = slow.accept().await;
    timeout(HANGS, connect).await.expect("the first is taken").unwrap().unwrap();
}

#[tokio::test]
async fn a_broker_whose_answer_is_of_no_use_is_left_for_the_next() {
    let (cut_off, good) = (Fake::start().await, Fake::start().await);
    let (client, mut peer) = connected(&cut_off, &good).await;
    let group = billing();
    let (found, ()) = tokio::join!(client.find_coordinator(&group), answer(&mut peer, 15));
    assert_eq!(found, Err(PortError::Refused(ErrorCode::CoordinatorNotAvailable)));
    let serve = async {
        let mut peer = good.accept().await;
        answer(&mut peer, 0).await;
        answer(&mut peer, 0).await;
        peer
    };
    let ask = async { (client.find_coordinator(&group).await, client.find_coordinator(&group).await) };
    let (found, _peer) =
        timeout(HANGS, async { tokio::join!(ask, serve) }).await.expect("the other is asked");
    assert_eq!(found, (Ok(BrokerId(7)), Ok(BrokerId(7))), "and kept");
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_left_for_the_next() {
    let (dying, good) = (Fake::start().await, Fake::start().await);
    let (client, mut peer) = connected(&dying, &good).await;
    let group = billing();
    let die = async {
        peer.read().await.expect("a question");
        drop(peer);
    };
    let (found, ()) = tokio::join!(client.find_coordinator(&group), die);
    assert!(matches!(found, Err(PortError::Unknown { .. })), "{found:?}");
    let serve = async {
        let mut peer = good.accept().await;
        answer(&mut peer, 0).await;
        peer
    };
    let both = async { tokio::join!(client.find_coordinator(&group), serve) };
    let (found, _peer) =
        timeout(HANGS, both).await.expect("the other is asked, though the first listens still");
    assert_eq!(found, Ok(BrokerId(7)));
}

/// The body of a Metadata answer in version 7 of a cluster with these brokers.
fn metadata(cluster: &str, brokers: &[(i32, u16)]) -> BytesMut {
    let mut body = BytesMut::new();
    body.put_i32(0);
    body.put_i32(i32::try_from(brokers.len()).unwrap());
    for (id, port) in brokers {
        body.put_i32(*id);
        text(&mut body, "127.0.0.1");
        body.put_i32((*port).into());
        body.put_i16(-1);
    }
    text(&mut body, cluster);
    body.put_i32(-1);
    body.put_i32(0);
    body
}

fn text(body: &mut BytesMut, text: &str) {
    body.put_i16(i16::try_from(text.len()).unwrap());
    body.put_slice(text.as_bytes());
}

async fn tell(peer: &mut Peer, body: &BytesMut) {
    let asked = peer.read().await.expect("a question");
    assert_eq!((asked.api, asked.version), (ApiKey::Metadata as i16, 7));
    peer.answer(asked.correlation, body).await;
}

async fn fake() -> Fake {
    Fake::start().await.offering(ApiKey::Metadata, 7, 7)
}

#[tokio::test]
async fn an_address_that_belongs_to_another_cluster_is_not_used() {
    let (ours, foreign) = (fake().await, fake().await);
    let kafka = Kafka::new([ours.address(), foreign.address()]);
    let kafka = kafka.limits(Limits { stagger: Duration::from_secs(600), ..limits() });
    let (client, mut peer) = tokio::join!(kafka.connect(), ours.accept());
    let client = client.unwrap();
    let known = metadata("ours", &[(1, ours.port())]);
    let (told, ()) = tokio::join!(client.metadata(&[]), tell(&mut peer, &known));
    told.unwrap();
    let die = async {
        peer.read().await.expect("a question");
        drop(peer);
    };
    let (told, ()) = tokio::join!(client.metadata(&[]), die);
    told.unwrap_err();

    let serve = async {
        let mut peer = foreign.accept().await;
        tell(&mut peer, &metadata("theirs", &[(9, foreign.port())])).await;
        peer.closed().await;
        let mut peer = ours.accept().await;
        tell(&mut peer, &known).await;
        tell(&mut peer, &known).await;
        peer
    };
    let both = async { tokio::join!(client.metadata(&[]), serve) };
    let (told, _peer) = timeout(HANGS, both).await.expect("our broker is asked again");
    assert_eq!(told.unwrap().brokers, [BrokerId(1)]);
}

#[tokio::test]
async fn a_broker_that_left_the_metadata_is_not_dialled_any_more() {
    let (stays, left) = (fake().await, fake().await);
    let kafka = Kafka::new([stays.address()]).limits(limits());
    let (client, mut peer) = tokio::join!(kafka.connect(), stays.accept());
    let client = client.unwrap();
    let alone = metadata("ours", &[(1, stays.port())]);
    for answer in [&metadata("ours", &[(1, stays.port()), (2, left.port())]), &alone] {
        let (told, ()) = tokio::join!(client.metadata(&[]), tell(&mut peer, answer));
        told.unwrap();
    }
    let request = LeaveRequest { group: billing(), member: MemberId("m".into()), instance: None };
    let ask = async { tokio::join!(client.leave(BrokerId(2), request), tell(&mut peer, &alone)) };
    let (outcome, ()) = timeout(HANGS, ask).await.expect("it is looked for and not dialled");
    let error = outcome.unwrap_err();
    assert!(error.to_string().contains("the cluster's metadata does not name it"), "{error}");
}
