//! What a connection lets its callers conclude when the other side does not do as it should.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_core::error::ErrorCode;
use evenkeel_core::ports::PortError;
use kafka_protocol::messages::{ApiKey, HeartbeatRequest, HeartbeatResponse};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::address::Address;
use super::super::connection::{ConnectFault, Connection, DEAD_AFTER, transport};
use super::super::fake::{Fake, Peer, heartbeat_answer};
use super::super::pump::{Command, Pump, Request};
use super::super::{ConnectError, Kafka, Limits, Settings};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(100);

fn settings(limits: Limits) -> Settings {
    Settings { client_id: "test".into(), limits }
}

async fn open(fake: &Fake) -> Result<Connection, ConnectFault> {
    Connection::open(&Address::parse(&fake.address()).unwrap(), &settings(Limits::default())).await
}

async fn connected() -> (Arc<Connection>, Peer) {
    let fake = Fake::start().await;
    let (connection, peer) = tokio::join!(open(&fake), fake.accept());
    (Arc::new(connection.unwrap()), peer)
}

fn ask(connection: &Arc<Connection>, limit: Duration) -> JoinHandle<Result<HeartbeatResponse, PortError>> {
    let connection = Arc::clone(connection);
    tokio::spawn(async move { connection.call(limit, |_| HeartbeatRequest::default()).await })
}

fn is_unknown(error: &PortError) -> bool {
    matches!(error, PortError::Unknown { .. })
}

fn is_malformed(error: &PortError) -> bool {
    matches!(error, PortError::Malformed { .. })
}

#[tokio::test]
async fn requests_are_pipelined_and_each_gets_its_own_answer() {
    let (connection, mut peer) = connected().await;
    let mut waiting = Vec::new();
    for code in 0..10 {
        let answer = ask(&connection, LONG);
        let asked = peer.read().await.unwrap();
        waiting.push((code, answer, asked.correlation));
    }
    for (code, _, correlation) in &waiting {
        peer.answer(*correlation, &heartbeat_answer(*code)).await;
    }
    for (code, answer, _) in waiting {
        assert_eq!(answer.await.unwrap().unwrap().error_code, code);
    }
}

#[tokio::test]
async fn an_answer_may_come_in_pieces() {
    let (connection, mut peer) = connected().await;
    let answer = ask(&connection, LONG);
    let asked = peer.read().await.unwrap();
    let body = heartbeat_answer(27);
    let mut frame = i32::try_from(body.len() + 4).unwrap().to_be_bytes().to_vec();
    frame.extend(asked.correlation.to_be_bytes());
    frame.extend(&body);
    for byte in frame {
        peer.raw(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(answer.await.unwrap().unwrap().error_code, 27);
}

#[tokio::test]
async fn a_request_without_an_answer_in_time_takes_the_connection_with_it() {
    let (connection, mut peer) = connected().await;
    let patient = ask(&connection, LONG);
    peer.read().await.unwrap();
    let hasty = ask(&connection, SHORT);
    peer.read().await.unwrap();
    let hasty = hasty.await.unwrap().unwrap_err();
    assert!(is_unknown(&hasty) && hasty.to_string().ends_with("not within 100ms"), "{hasty}");
    let patient = patient.await.unwrap().unwrap_err();
    assert!(is_unknown(&patient) && patient.to_string().ends_with("was not answered in time"), "{patient}");
    assert!(!connection.is_usable());
    peer.closed().await;
}

#[tokio::test]
async fn half_an_answer_leaves_the_outcome_open() {
    let (connection, mut peer) = connected().await;
    let answer = ask(&connection, LONG);
    let asked = peer.read().await.unwrap();
    peer.raw(&[0, 0, 0, 20]).await;
    peer.raw(&asked.correlation.to_be_bytes()).await;
    drop(peer);
    assert!(is_unknown(&answer.await.unwrap().unwrap_err()));
    assert!(!connection.is_usable());
}

#[tokio::test]
async fn an_impossible_length_is_malformed_and_ends_the_connection() {
    for length in [i32::MAX, 100 * 1024 * 1024 + 1, 3, 0, -1] {
        let (connection, mut peer) = connected().await;
        let first = ask(&connection, LONG);
        peer.read().await.unwrap();
        let second = ask(&connection, LONG);
        peer.read().await.unwrap();
        peer.raw(&length.to_be_bytes()).await;
        assert!(is_malformed(&first.await.unwrap().unwrap_err()), "{length}");
        assert!(is_unknown(&second.await.unwrap().unwrap_err()), "{length}");
        assert!(!connection.is_usable());
        peer.closed().await;
    }
}

#[tokio::test]
async fn an_answer_out_of_turn_is_malformed_and_ends_the_connection() {
    let (connection, mut peer) = connected().await;
    let first = ask(&connection, LONG);
    peer.read().await.unwrap();
    let second = ask(&connection, LONG);
    let asked = peer.read().await.unwrap();
    peer.answer(asked.correlation, &heartbeat_answer(0)).await;
    assert!(is_malformed(&first.await.unwrap().unwrap_err()));
    assert!(is_unknown(&second.await.unwrap().unwrap_err()));
    peer.closed().await;
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_ends_the_connection() {
    let (connection, mut peer) = connected().await;
    peer.answer(7, &heartbeat_answer(0)).await;
    peer.closed().await;
    assert!(!connection.is_usable());
}

#[tokio::test]
async fn an_answer_that_cannot_be_decoded_ends_the_connection() {
    let short = heartbeat_answer(0).slice(..4);
    let long = Bytes::from([heartbeat_answer(0), Bytes::from_static(b"more")].concat());
    for body in [short, long] {
        let (connection, mut peer) = connected().await;
        let answer = ask(&connection, LONG);
        let asked = peer.read().await.unwrap();
        peer.answer(asked.correlation, &body).await;
        let error = answer.await.unwrap().unwrap_err();
        assert!(is_malformed(&error) && error.to_string().contains("Heartbeat version 4"), "{error}");
        peer.closed().await;
        assert!(!connection.is_usable());
    }
}

#[tokio::test]
async fn an_answer_to_a_caller_who_gave_up_is_dropped_and_the_next_one_is_right() {
    let (connection, mut peer) = connected().await;
    let gone = ask(&connection, LONG);
    let first = peer.read().await.unwrap();
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    let next = ask(&connection, LONG);
    let second = peer.read().await.unwrap();
    peer.answer(first.correlation, &heartbeat_answer(25)).await;
    peer.answer(second.correlation, &heartbeat_answer(27)).await;
    assert_eq!(next.await.unwrap().unwrap().error_code, 27);
    assert!(connection.is_usable());
}

#[tokio::test]
async fn a_connection_closed_after_the_request_left_leaves_the_outcome_open() {
    let (connection, mut peer) = connected().await;
    let answer = ask(&connection, LONG);
    peer.read().await.unwrap();
    drop(peer);
    assert!(is_unknown(&answer.await.unwrap().unwrap_err()));
}

#[tokio::test]
async fn a_connection_closed_before_the_request_left_means_it_did_not_happen() {
    let (connection, peer) = connected().await;
    drop(peer);
    while connection.is_usable() {
        tokio::task::yield_now().await;
    }
    let error = ask(&connection, LONG).await.unwrap().unwrap_err();
    assert!(matches!(error, PortError::Unreachable { .. }), "{error}");
}

/// A pump on a pipe so narrow that the first request does not fit: the second cannot leave.
#[tokio::test]
async fn what_waits_behind_a_blocked_write_did_not_happen() {
    let (near, _far) = tokio::io::duplex(16);
    let (reader, writer) = tokio::io::split(near);
    let (commands, requests) = mpsc::unbounded_channel();
    let pump = Pump::new("pipe".into(), reader, writer, requests, 1024);
    let send = |correlation, limit| {
        let (reply, answer) = oneshot::channel();
        let frame = Bytes::from(vec![0; 64]);
        let deadline = Instant::now() + limit;
        commands.send(Command::Send(Request { frame, correlation, deadline, limit, reply })).unwrap();
        answer
    };
    let begun = send(1, LONG);
    let blocked = send(2, SHORT);
    let behind = send(3, LONG);
    pump.run().await;
    assert!(is_unknown(&begun.await.unwrap().unwrap_err()));
    for unsent in [blocked, behind] {
        let error = unsent.await.unwrap().unwrap_err();
        assert!(matches!(error, PortError::Unreachable { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_request_whose_caller_gave_up_before_it_left_is_not_sent() {
    let (near, mut far) = tokio::io::duplex(1024);
    let (reader, writer) = tokio::io::split(near);
    let (commands, requests) = mpsc::unbounded_channel();
    let pump = Pump::new("pipe".into(), reader, writer, requests, 1024);
    let mut answers = Vec::new();
    for (correlation, byte) in [(1, b'a'), (2, b'b'), (3, b'c')] {
        let (reply, answer) = oneshot::channel();
        let frame = Bytes::from(vec![byte; 4]);
        let deadline = Instant::now() + LONG;
        commands.send(Command::Send(Request { frame, correlation, deadline, limit: LONG, reply })).unwrap();
        answers.push(answer);
    }
    drop(answers.remove(1));
    let pump = tokio::spawn(pump.run());
    let mut written = [0; 8];
    tokio::io::AsyncReadExt::read_exact(&mut far, &mut written).await.unwrap();
    assert_eq!(&written, b"aaaacccc");
    drop(commands);
    pump.await.unwrap();
}

/// The frame that is handed out is a view of the buffer it was read into.
#[tokio::test]
async fn a_large_answer_arrives_whole() {
    let (near, mut far) = tokio::io::duplex(4096);
    let (reader, writer) = tokio::io::split(near);
    let (commands, requests) = mpsc::unbounded_channel();
    let pump = tokio::spawn(Pump::new("pipe".into(), reader, writer, requests, 8 << 20).run());
    let payload: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    for correlation in 0..3_i32 {
        let (reply, answer) = oneshot::channel();
        let deadline = Instant::now() + LONG;
        let frame = Bytes::from_static(b"ask!");
        commands.send(Command::Send(Request { frame, correlation, deadline, limit: LONG, reply })).unwrap();
        let mut asked = [0; 4];
        tokio::io::AsyncReadExt::read_exact(&mut far, &mut asked).await.unwrap();
        let mut bytes = u32::try_from(payload.len() + 4).unwrap().to_be_bytes().to_vec();
        bytes.extend(correlation.to_be_bytes());
        bytes.extend(&payload);
        tokio::io::AsyncWriteExt::write_all(&mut far, &bytes).await.unwrap();
        assert_eq!(answer.await.unwrap().unwrap().slice(4..), payload);
    }
    drop(commands);
    pump.await.unwrap();
}

#[tokio::test]
async fn the_highest_version_that_both_sides_know_is_spoken() {
    let fake = Fake::start().await.offering(ApiKey::Heartbeat, 0, 3);
    let (connection, mut peer) = tokio::join!(open(&fake), fake.accept());
    let connection = Arc::new(connection.unwrap());
    let _waiting = ask(&connection, LONG);
    let asked = peer.read().await.unwrap();
    assert_eq!((asked.api, asked.version), (ApiKey::Heartbeat as i16, 3));
}

#[tokio::test]
async fn a_broker_that_speaks_other_versions_is_told_at_once() {
    let fake = Fake::start().await.offering(ApiKey::Fetch, 13, 17);
    let (fault, _) = tokio::join!(open(&fake), fake.accept());
    assert_eq!(
        fault.unwrap_err().to_string(),
        "it offers Fetch 13..17 but this library speaks 4..12; use versions that were released closer together"
    );
    let fake = Fake::start().await.withholding(ApiKey::JoinGroup);
    let (fault, _) = tokio::join!(open(&fake), fake.accept());
    assert_eq!(
        fault.unwrap_err().to_string(),
        "it does not offer JoinGroup; is it a Kafka broker with this listener open to clients?"
    );
}

#[tokio::test]
async fn a_broker_that_is_too_old_is_told_by_its_refusal() {
    for (code, told) in [
        (35, "it does not know ApiVersions 3; Kafka 2.4 or later is needed".to_owned()),
        (58, format!("it refused ApiVersions: {}", ErrorCode::SaslAuthenticationFailed)),
    ] {
        let fake = Fake::start().await;
        let refuse = async {
            let mut peer = fake.accept_silently().await;
            let asked = peer.read().await.unwrap();
            peer.answer(asked.correlation, &[0, code, 0, 0, 0, 0]).await;
            peer
        };
        let (fault, _peer) = tokio::join!(open(&fake), refuse);
        assert_eq!(fault.unwrap_err().to_string(), told);
    }
}

#[tokio::test]
async fn a_listener_that_never_speaks_is_given_up() {
    let fake = Fake::start().await;
    let limits = Limits { connect: SHORT, ..Limits::default() };
    let address = Address::parse(&fake.address()).unwrap();
    let settings = settings(limits);
    let (fault, _peer) = tokio::join!(Connection::open(&address, &settings), fake.accept_silently());
    let fault = fault.unwrap_err();
    assert!(fault.to_string().contains("100ms"), "{fault}");
}

#[tokio::test]
async fn an_unreachable_cluster_is_told_with_every_address_and_cause() {
    let silent = Fake::start().await;
    let closed = {
        let gone = Fake::start().await;
        gone.address()
    };
    let limits = Limits { connect: SHORT, ..Limits::default() };
    let kafka = Kafka::new([closed.clone(), silent.address()]).limits(limits);
    let error = kafka.connect().await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ConnectError::Unreachable { ref attempts, .. } if attempts.len() == 2));
    assert!(text.starts_with("no broker answered within "), "{text}");
    assert!(text.contains(&format!("tried {closed}: Connection refused (os error 111) (after ")), "{text}");
    assert!(text.contains(&format!("; {}: ", silent.address())), "{text}");
}

#[tokio::test]
async fn a_bootstrap_list_is_checked_before_anything_is_dialled() {
    assert_eq!(Kafka::new([""; 0]).connect().await.unwrap_err(), ConnectError::NoAddress);
    let error = Kafka::new(["localhost:9092", "localhost"]).connect().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"localhost\" is not a broker address: it has no port; write host:port, such as localhost:9092"
    );
}

/// No answer and no error ever comes from a host that is gone, so the system must watch for that.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_host_that_is_gone_is_watched_for() {
    let fake = Fake::start().await;
    let (reader, _writer) = transport(&Address::parse(&fake.address()).unwrap()).await.unwrap();
    let socket = socket2::SockRef::from(reader.as_ref());
    assert!(socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), DEAD_AFTER);
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(DEAD_AFTER));
}
