//! Kafka's own programs, written by others for Apache Kafka, at work on the dev broker: a cluster of three in this
//! process.
//!
//! They come with the jars that `io-real/services/kafka` downloads; without Java, or without the jars, these tests fail.

mod console;
mod perf;
mod tool;

use evenkeel_cluster::DevCluster;

async fn three_brokers() -> DevCluster {
    DevCluster::builder().brokers(3).start().await.expect("free ports are found")
}
