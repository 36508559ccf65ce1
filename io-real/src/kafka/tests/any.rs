//! Which broker is asked what any broker can answer.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{BrokerId, GroupName};
use evenkeel_core::ports::{Coordinator, PortError};
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
