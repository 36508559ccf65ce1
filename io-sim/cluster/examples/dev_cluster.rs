//! Serves a cluster until it is told to stop: `cargo run -p evenkeel-cluster --example dev_cluster -- 9092 3`.

#![allow(clippy::print_stdout, reason = "it tells where it listens")]

use std::net::{IpAddr, Ipv4Addr};

use evenkeel_cluster::DevCluster;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().map_or(Ok(9_092), |port| port.parse())?;
    let brokers = arguments.next().map_or(Ok(1), |count| count.parse())?;
    let cluster =
        DevCluster::builder().brokers(brokers).listen(IpAddr::V4(Ipv4Addr::LOCALHOST), port).start().await?;
    println!("export KAFKA={}", cluster.bootstrap());
    tokio::signal::ctrl_c().await?;
    cluster.shutdown().await;
    Ok(())
}
