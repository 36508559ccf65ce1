//! How connections are replaced, and how callers share a failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use evenkeel_core::ports::PortError;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::address::Address;
use super::super::connection::Connection;
use super::super::fake::{Fake, Peer};
use super::super::seat::Seat;
use super::super::{Limits, Settings};

fn refused() -> PortError {
    PortError::Unreachable { server: "nobody".into(), cause: "refused".into() }
}

async fn open(fake: &Fake) -> (Connection, Peer) {
    let settings = Settings { client_id: "test".into(), limits: Limits::default() };
    let address = Address::parse(&fake.address()).unwrap();
    let (connection, peer) = tokio::join!(Connection::open(&address, &settings), fake.accept());
    (connection.unwrap(), peer)
}

#[tokio::test]
async fn a_working_connection_is_kept_and_a_broken_one_replaced() {
    let fake = Fake::start().await;
    let seat = Seat::default();
    let (connection, peer) = open(&fake).await;
    let first = seat.connection(std::future::ready(Ok(connection))).await.unwrap();
    let same = seat.connection(async { unreachable!("there is one already") }).await.unwrap();
    assert!(Arc::ptr_eq(&first, &same));
    drop(peer);
    while first.is_usable() {
        tokio::task::yield_now().await;
    }
    let (connection, _peer) = open(&fake).await;
    let second = seat.connection(std::future::ready(Ok(connection))).await.unwrap();
    assert!(!Arc::ptr_eq(&first, &second) && second.is_usable());
}

#[tokio::test]
async fn those_who_waited_for_an_attempt_share_its_failure() {
    let seat = Arc::new(Seat::default());
    let attempts = Arc::new(AtomicUsize::new(0));
    let (begun, fail) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let ask = || {
        let (seat, attempts) = (Arc::clone(&seat), Arc::clone(&attempts));
        let (begun, fail) = (Arc::clone(&begun), Arc::clone(&fail));
        async move {
            let attempt = async {
                attempts.fetch_add(1, Ordering::Relaxed);
                begun.notify_one();
                fail.notified().await;
                Err(refused())
            };
            seat.connection(attempt).await
        }
    };
    let first = tokio::spawn(ask());
    begun.notified().await;
    // All of these are polled, and so stand in line, before the attempt fails.
    let others = futures_util::future::join_all((0..50).map(|_| ask()));
    let others = async { tokio::join!(others, async { fail.notify_one() }).0 };
    let others = tokio::time::timeout(Duration::from_secs(10), others).await.expect("nobody tries again");
    assert_eq!(first.await.unwrap().unwrap_err(), refused());
    for other in others {
        assert_eq!(other.unwrap_err(), refused());
    }
    assert_eq!(attempts.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_loop_of_failures_does_not_hammer() {
    let seat = Seat::default();
    let begun = Instant::now();
    for _ in 0..4 {
        seat.connection(async { Err(refused()) }).await.unwrap_err();
    }
    // 50, 100 and 200 ms between the four.
    assert!(begun.elapsed() >= Duration::from_millis(350), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_caller_who_gives_up_while_connecting_leaves_the_seat_to_the_next() {
    let seat = Seat::default();
    let stuck = seat.connection(std::future::pending());
    assert!(tokio::time::timeout(Duration::from_millis(10), stuck).await.is_err());
    let fake = Fake::start().await;
    let (connection, _peer) = open(&fake).await;
    assert!(seat.connection(std::future::ready(Ok(connection))).await.unwrap().is_usable());
}
