//! The wire front of the simulated cluster: any bytes, on several connections, to brokers that die and come back.
//!
//! Two fronts see the same deeds. The pure one decodes frames, asks the machine and encodes what it answers, with time
//! passing by leaps and the machine's own checks after every step. The real one, if the input asks for it, is a served
//! cluster to which frames go whole, in halves, or not to their end. Whatever comes, nothing panics, every answer can be
//! written, and a new connection is greeted.

#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use arbitrary::Arbitrary;
use evenkeel_cluster::message::{BrokerAddress, Origin};
use evenkeel_cluster::wire::{self, Ask};
use evenkeel_cluster::{Action, BrokerId, Cluster, ClusterConfig, DevCluster, Input};
use evenkeel_core::machine::Machine;
use evenkeel_core::model::{RequestId, Time};
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const BROKERS: u8 = 3;
/// One input in so many also goes over sockets: they cost a thousand times as much.
const SOCKETS_IN: u8 = 32;
/// The bound on what the logs hold, low enough to be reached.
const RETAINED: u64 = 64 * 1024;
/// Longer than a broker takes for anything here.
const SOON: Duration = Duration::from_secs(20);
/// ApiVersions in version 0, correlation 7, no client id.
const GREETING: &[u8] = &[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];

#[derive(Debug, Arbitrary)]
struct Case {
    sockets: u8,
    deeds: Vec<Deed>,
}

#[derive(Debug, Arbitrary)]
enum Deed {
    /// A frame to a broker over one of a few connections.
    Frame { broker: u8, connection: u8, bytes: Vec<u8> },
    /// The same, with a header that is right as far as that goes.
    Request { broker: u8, connection: u8, key: u8, version: u8, body: Vec<u8> },
    /// Some bytes of a frame, and the connection is gone.
    Half { broker: u8, connection: u8, bytes: Vec<u8> },
    /// Nobody waits any more for what was asked over a connection.
    HangUp { connection: u8 },
    Kill { broker: u8 },
    Start { broker: u8 },
    /// Time passes.
    Pass { tenths: u8 },
}

impl Deed {
    /// The frame without its length.
    fn frame(&self) -> Option<(u8, u8, Vec<u8>)> {
        match self {
            Self::Frame { broker, connection, bytes } => Some((*broker, *connection, bytes.clone())),
            Self::Request { broker, connection, key, version, body } => {
                // Keys up to 60 are offered, versions up to 12.
                let mut bytes = vec![0, key % 64, 0, version % 16, 0, 0, 0, 7, 0xff, 0xff];
                bytes.extend_from_slice(body);
                Some((*broker, *connection, bytes))
            }
            _ => None,
        }
    }
}

fn broker(number: u8) -> BrokerId {
    BrokerId(i32::from(number % BROKERS) + 1)
}

fn address(broker: BrokerId) -> BrokerAddress {
    BrokerAddress { broker, host: "h".into(), port: 9092 }
}

fn config() -> ClusterConfig {
    ClusterConfig { auto_create_topics: true, retained_bytes: Some(RETAINED), ..ClusterConfig::default() }
}

fuzz_target!(|case: Case| {
    pure(&case.deeds);
    if case.sockets % SOCKETS_IN == 1 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(served(&case.deeds));
    }
});

fn pure(deeds: &[Deed]) {
    let brokers = (0..BROKERS).map(|number| address(broker(number))).collect();
    let mut cluster = Cluster::new(ClusterConfig { brokers, ..config() }, 1).expect("legal defaults");
    let mut now = Time::ZERO;
    // Of each request: what its answer needs, its connection, whether it is open.
    let mut asked = Vec::new();
    for deed in deeds {
        match deed {
            Deed::Frame { .. } | Deed::Request { .. } => {
                let Some((to, connection, bytes)) = deed.frame() else { continue };
                let Ok(call) = wire::decode(bytes.into()) else { continue };
                let (Ask::Cluster(request) | Ask::Silent(request)) = call.ask else { continue };
                let id = RequestId(asked.len() as u64);
                asked.push((call.ticket, connection, true));
                let origin = Origin { broker: broker(to), client: call.client, host: "/h".into() };
                cluster.handle(now, Input::Request { id, origin, request });
            }
            Deed::Half { bytes, .. } => drop(wire::decode(bytes.clone().into())),
            Deed::HangUp { connection } => {
                for (id, (_, over, is_open)) in (0..).map(RequestId).zip(&mut asked) {
                    if over == connection && std::mem::take(is_open) {
                        cluster.handle(now, Input::Cancel { id });
                    }
                }
            }
            Deed::Kill { broker: number } => {
                cluster.handle(now, Input::BrokerDied { broker: broker(*number) });
            }
            Deed::Start { broker: number } => {
                cluster.handle(now, Input::BrokerStarted { address: address(broker(*number)) });
            }
            Deed::Pass { tenths } => {
                now = now + Duration::from_millis(100) * u32::from(*tenths);
                cluster.tick(now);
                assert!(cluster.deadline().is_none_or(|next| next > now), "a deadline is dealt with");
            }
        }
        while let Some(action) = cluster.poll() {
            let (Action::Answer { id, .. } | Action::HangUp { id }) = &action;
            let (ticket, _, is_open) = &mut asked[id.0 as usize];
            assert!(std::mem::take(is_open), "a request has one outcome");
            if let Action::Answer { answer, .. } = action {
                assert!(!wire::encode(*ticket, &answer).is_empty());
            }
        }
        cluster.check();
    }
}

async fn served(deeds: &[Deed]) {
    let mut cluster =
        DevCluster::builder().brokers(BROKERS.into()).config(config()).seed(1).start().await.expect("it starts");
    let addresses: Vec<SocketAddr> = cluster.addresses().map(|(_, address)| address).collect();
    let mut connections: [Option<TcpStream>; 4] = [const { None }; 4];
    for deed in deeds {
        let (to, connection, bytes, is_whole) = match deed {
            Deed::Frame { .. } | Deed::Request { .. } => {
                let Some((to, connection, bytes)) = deed.frame() else { continue };
                (to, connection, bytes, true)
            }
            Deed::Half { broker, connection, bytes } => (*broker, *connection, bytes.clone(), false),
            Deed::HangUp { connection } => {
                connections[usize::from(*connection) % 4] = None;
                continue;
            }
            Deed::Kill { broker: number } => {
                cluster.kill(broker(*number)).await;
                continue;
            }
            Deed::Start { broker: number } => {
                cluster.start(broker(*number)).await.expect("its port is free");
                continue;
            }
            Deed::Pass { .. } => {
                tokio::task::yield_now().await;
                continue;
            }
        };
        let place = &mut connections[usize::from(connection) % 4];
        if place.is_none() {
            *place = TcpStream::connect(addresses[usize::from(to % BROKERS)]).await.ok();
        }
        let Some(stream) = place else { continue };
        let announced = bytes.len() as u32 + if is_whole { 0 } else { 9 };
        let frame = [&announced.to_be_bytes()[..], &bytes].concat();
        // The broker may have closed it meanwhile, as it must for what is no request.
        if stream.write_all(&frame).await.is_err() || !is_whole {
            *place = None;
        }
    }
    for number in 0..BROKERS {
        cluster.start(broker(number)).await.expect("its port is free");
    }
    for address in addresses {
        let greeted = async {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(GREETING).await?;
            stream.read_u8().await
        };
        tokio::time::timeout(SOON, greeted).await.expect("in time").expect("the broker lives");
    }
    cluster.shutdown().await;
}
