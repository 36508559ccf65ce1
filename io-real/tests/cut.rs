//! Real connections, cut in the middle of a COMMIT: at every byte of the request, and at every byte of the reply.
//!
//! Whether a commit happened is the one judgement that the adapter makes and that simulation cannot reach.

mod support;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel::Postgres;
use evenkeel_core::model::{Offset, PartitionId};
use evenkeel_core::ports::{Claim, ClaimKey, Database, DatabaseError};
use support::services;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const WAIT: Duration = Duration::from_secs(20);
/// An attempt as long as the sessions are made for.
const ATTEMPT: Duration = Duration::from_secs(60);

/// Where the proxy cuts what it passes on next.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Nowhere,
    /// After so many bytes of a request, if it is longer.
    Request(usize),
    /// The request passes; after so many bytes of the reply, if it is longer.
    Reply(usize),
}

/// Stands between a client and a server.
struct Proxy {
    address: SocketAddr,
    cut: Arc<Mutex<Cut>>,
}

impl Proxy {
    async fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self { address: listener.local_addr().unwrap(), cut: Arc::new(Mutex::new(Cut::Nowhere)) };
        let cut = proxy.cut.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                tokio::spawn(pass(client, server, cut.clone()));
            }
        });
        proxy
    }

    fn cut(&self, cut: Cut) {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = cut;
    }
}

/// Passes bytes on in both directions until one side ends or the cut is reached.
async fn pass(mut client: TcpStream, mut server: TcpStream, cut: Arc<Mutex<Cut>>) {
    let (mut request, mut reply) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let plan = || *cut.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let Ok(length @ 1..) = read else { return };
                let passed = match plan() {
                    Cut::Request(passed) => passed.min(length),
                    Cut::Nowhere | Cut::Reply(_) => length,
                };
                if server.write_all(&request[..passed]).await.is_err() || passed < length {
                    return;
                }
            }
            read = server.read(&mut reply) => {
                let Ok(length @ 1..) = read else { return };
                let passed = match plan() {
                    Cut::Reply(passed) => passed.min(length),
                    Cut::Nowhere | Cut::Request(_) => length,
                };
                if client.write_all(&reply[..passed]).await.is_err() || passed < length {
                    return;
                }
            }
        }
    }
}

/// Begins, claims and commits through a connection that is cut by plan; `Ok` if COMMIT was, and whether the claim is
/// there afterwards.
async fn commit_through(
    proxy: &Proxy,
    db: &Postgres,
    direct: &Postgres,
    nth: u8,
    cut: Cut,
) -> (Option<DatabaseError>, bool) {
    proxy.cut(Cut::Nowhere);
    let claim = Claim { key: ClaimKey([nth; 32]), partition: PartitionId(0), offset: Offset(i64::from(nth)) };
    let mut tx = db.begin(WAIT, ATTEMPT).await.unwrap();
    assert_eq!(db.claim(&mut tx, &[claim]).await.unwrap(), [true]);
    proxy.cut(cut);
    let answer = db.commit(tx).await.err();
    let there: bool =
        sqlx::query_scalar("select exists (select from evenkeel_processed where claim_key = $1)")
            .bind(&claim.key.0[..])
            .fetch_one(direct.pool())
            .await
            .unwrap();
    (answer, there)
}

/// A database, reached directly, and through a proxy with a fresh connection for every transaction.
async fn through_a_proxy() -> (Proxy, Postgres, Postgres) {
    let url = services::postgres().await;
    let direct = Postgres::connect(&url).await.unwrap();
    direct.migrate().await.unwrap();
    let (_, host) = url.split_once('@').expect("the URL names a user");
    let (host, _) = host.split_once('/').expect("the URL names a database");
    let proxy = Proxy::before(host.to_owned()).await;
    let db = Postgres::builder(&url.replace(host, &proxy.address.to_string()))
        .pool_size(1)
        .connect()
        .await
        .unwrap();
    (proxy, db, direct)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_cut_on_its_way_is_unknown_and_did_not_happen() {
    let (proxy, db, direct) = through_a_proxy().await;
    for bytes in 0..u8::MAX {
        let cut = Cut::Request(usize::from(bytes));
        match commit_through(&proxy, &db, &direct, bytes, cut).await {
            (Some(DatabaseError::Unknown { .. }), false) => {}
            (None, true) => {
                assert!(bytes > 20, "COMMIT was taken for done after {bytes} bytes of it");
                return;
            }
            (answer, there) => panic!("after {bytes} bytes: {answer:?}, there: {there}"),
        }
    }
    panic!("the request has no end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_reply_is_cut_is_unknown_and_did_happen() {
    let (proxy, db, direct) = through_a_proxy().await;
    for bytes in 0..u8::MAX {
        let cut = Cut::Reply(usize::from(bytes));
        match commit_through(&proxy, &db, &direct, bytes, cut).await {
            (Some(DatabaseError::Unknown { .. }), true) => {}
            (None, true) => {
                // `CLOSE CURSOR` (18 bytes) and `COMMIT` (12) are complete, and the server is ready again (6).
                assert!(bytes >= 36, "COMMIT was taken for done after {bytes} bytes of the reply");
                return;
            }
            (answer, there) => panic!("after {bytes} bytes: {answer:?}, there: {there}"),
        }
    }
    panic!("the reply has no end");
}
