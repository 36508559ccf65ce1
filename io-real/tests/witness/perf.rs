//! The performance tools: a producer and a consumer that go on while a broker dies and comes back.

use std::time::Duration;

use evenkeel_cluster::BrokerId;

use crate::three_brokers;
use crate::tool::{Tool, run, sum_of_offsets};

const RECORDS: u64 = 200_000;
/// Of three replicas with 100 bytes a record, without what batches add.
const BYTES: u64 = RECORDS * 100 * 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn producer_and_consumer_outlive_a_broker() {
    let mut cluster = three_brokers().await;
    let at = cluster.bootstrap();
    let create = [
        "--bootstrap-server",
        &at,
        "--create",
        "--topic",
        "p",
        "--partitions",
        "6",
        "--replication-factor",
        "3",
    ];
    run("topics", &create).await;

    let records = RECORDS.to_string();
    let servers = format!("bootstrap.servers={at}");
    // Throttled, so that the broker dies in the middle of it.
    let produce =
        ["--topic", "p", "--num-records", &records, "--record-size", "100", "--throughput", "25000"];
    let produce = [&produce[..], &["--producer-props", &servers, "acks=all"]].concat();
    let consume = ["--bootstrap-server", &at, "--topic", "p", "--messages", &records, "--timeout", "60000"];
    let producer = Tool::start("producer-perf", &produce, "").await;
    let consumer = Tool::start("consumer-perf", &consume, "").await;

    reach(&cluster, BYTES / 4).await;
    cluster.kill(BrokerId(2)).await;
    reach(&cluster, BYTES / 3).await;
    cluster.start(BrokerId(2)).await.expect("its port is still free");

    let produced = producer.output().await;
    assert!(produced.contains(&format!("{RECORDS} records sent")), "{produced}");
    let consumed = consumer.output().await;
    // start, end, MB, MB/s, records, ...
    let seen = consumed.lines().filter_map(|line| line.split(", ").nth(4)?.parse::<u64>().ok()).next_back();
    assert!(seen.is_some_and(|seen| seen >= RECORDS), "{consumed}");
    let offsets = run("get-offsets", &["--bootstrap-server", &at, "--topic", "p"]).await;
    assert_eq!(sum_of_offsets(&offsets), RECORDS, "every record is there, and once:\n{offsets}");
    cluster.shutdown().await;
}

/// Waits until so many bytes are in the logs.
async fn reach(cluster: &evenkeel_cluster::DevCluster, bytes: u64) {
    let filled = async {
        while cluster.retained_bytes().await < bytes {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), filled).await.expect("the producer gets on");
}
