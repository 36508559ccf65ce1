//! The wire front of the simulated cluster: any bytes as requests of one connection to one cluster.
//!
//! Whatever comes, nothing panics, what the machine must keep true is true, and every answer can be written.

#![no_main]

use std::time::Duration;

use evenkeel_cluster::message::{BrokerAddress, Origin};
use evenkeel_cluster::wire::{self, Ask};
use evenkeel_cluster::{Action, Cluster, ClusterConfig, Input};
use evenkeel_core::machine::Machine;
use evenkeel_core::model::{BrokerId, RequestId, Time};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frames: Vec<Vec<u8>>| {
    let broker = BrokerId(1);
    let address = BrokerAddress { broker, host: "h".into(), port: 9092 };
    let config = ClusterConfig { brokers: vec![address], auto_create_topics: true, ..ClusterConfig::default() };
    let mut cluster = Cluster::new(config, 1).expect("legal defaults");
    let mut now = Time::ZERO;
    let mut tickets = Vec::new();
    for bytes in frames {
        let Ok(call) = wire::decode(bytes.into()) else { continue };
        let (Ask::Cluster(request) | Ask::Silent(request)) = call.ask else { continue };
        let id = RequestId(tickets.len() as u64);
        tickets.push(call.ticket);
        let origin = Origin { broker, client: call.client, host: "/h".into() };
        cluster.handle(now, Input::Request { id, origin, request });
        now = now + Duration::from_millis(700);
        cluster.tick(now);
        while let Some(action) = cluster.poll() {
            if let Action::Answer { id, answer } = action {
                assert!(!wire::encode(tickets[id.0 as usize], &answer).is_empty());
            }
        }
        cluster.check();
    }
});
