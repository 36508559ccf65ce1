//! What the dev broker gives a bare client: `evenkeel broker` in a process of its own, over loopback.
//!
//! Run with `cargo bench -p evenkeel --bench dev_broker`. The client sends frames that were made beforehand and looks at
//! no more of the answers than it must, so that the figures are the broker's. Each row gives the median over the rounds
//! and the processor time of the broker's process; it ends with an error if a goal is missed.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark reads the clock and prints")]

mod broker;
mod client;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use broker::{Anyhow, Broker};
use client::Client;

const PARTITIONS: i32 = 4;
const ROUNDS: usize = 5;
/// Of 100 bytes each, so that a batch has about the 16 KiB of a Java producer.
const RECORDS_A_BATCH: usize = 145;
const BATCHES: usize = 2_000;
const LATENCIES: usize = 1_000;
const MIB: f64 = 1_024.0 * 1_024.0;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Anyhow> {
    let broker = Broker::start().await?;
    let mut all_pass = true;
    let mut row = |work: &str, figure: f64, unit: &str, cpu: Option<f64>, goal: f64, is_floor: bool| {
        let passes = if is_floor { figure >= goal } else { figure <= goal };
        all_pass &= passes;
        let cpu = cpu.map_or(String::new(), |micros| format!("{micros:.2}"));
        let (bound, verdict) =
            (if is_floor { "at least" } else { "at most" }, if passes { "PASS" } else { "MISS" });
        println!("{work:<46} {figure:>11.2} {unit:<8} {cpu:>6}  {bound} {goal} {unit}: {verdict}");
    };
    println!("{:<46} {:>11} {:<8} {:>6}  goal", "the dev broker, 100-byte records", "figure", "", "µs CPU");

    let (mut produced, mut fetched) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let topic = format!("bench-{round}");
        client::create(&broker.address, &topic, PARTITIONS).await?;
        produced.push(measure(&broker, produce(&broker.address, &topic)).await?);
        fetched.push(measure(&broker, fetch(&broker.address, &topic)).await?);
    }
    let (rate, cpu) = median(&produced);
    row("produce, batches of 145, 5 in flight, 4 connections", rate, "/s", Some(cpu), 300_000.0, true);
    let (rate, cpu) = median(&fetched);
    row("fetch, up to 1 MiB, 4 connections", rate, "/s", Some(cpu), 1_000_000.0, true);
    let retained = (ROUNDS * PARTITIONS as usize * BATCHES * client::batch(RECORDS_A_BATCH)?.len()) as f64;
    row("memory beyond the records", (broker.memory()? - retained) / MIB, "MiB", None, 40.0, false);

    client::create(&broker.address, "latency", 1).await?;
    let mut latencies = latencies(&broker.address, "latency").await?;
    latencies.sort();
    row("produce to long poll, p50", millis(latencies[LATENCIES / 2]), "ms", None, 1.0, false);
    Ok(if all_pass { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Records a second, and the broker's processor time for one in microseconds.
async fn measure(
    broker: &Broker,
    work: impl Future<Output = Result<usize, Anyhow>>,
) -> Result<(f64, f64), Anyhow> {
    let (cpu, begun) = (broker.processor_time()?, Instant::now());
    let records = work.await? as f64;
    let (took, cpu) = (begun.elapsed(), broker.processor_time()? - cpu);
    Ok((records / took.as_secs_f64(), cpu.as_secs_f64() * 1e6 / records))
}

fn median(samples: &[(f64, f64)]) -> (f64, f64) {
    let of = |figure: fn(&(f64, f64)) -> f64| {
        let mut figures: Vec<_> = samples.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    (of(|sample| sample.0), of(|sample| sample.1))
}

async fn produce(address: &str, topic: &str) -> Result<usize, Anyhow> {
    const IN_FLIGHT: usize = 5;
    let batch = client::batch(RECORDS_A_BATCH)?;
    let each = (0..PARTITIONS).map(|partition| {
        let frame = client::produce_frame(topic, partition, batch.clone());
        async move {
            let mut client = Client::connect(address).await?;
            let frame = frame?;
            for sent in 0..BATCHES + IN_FLIGHT {
                if sent < BATCHES {
                    client.send(&frame).await?;
                }
                if sent >= IN_FLIGHT {
                    client.produced().await?;
                }
            }
            Ok::<_, Anyhow>(BATCHES * RECORDS_A_BATCH)
        }
    });
    Ok(futures_util::future::try_join_all(each).await?.into_iter().sum())
}

async fn fetch(address: &str, topic: &str) -> Result<usize, Anyhow> {
    let each = (0..PARTITIONS).map(|partition| async move {
        let mut client = Client::connect(address).await?;
        let (mut next, mut seen) = (0, 0);
        while seen < BATCHES * RECORDS_A_BATCH {
            client.send(&client::fetch_frame(topic, partition, next)?).await?;
            let (records, end) = client.fetched().await?;
            seen += records;
            next = end.unwrap_or(next);
        }
        Ok::<_, Anyhow>(seen)
    });
    Ok(futures_util::future::try_join_all(each).await?.into_iter().sum())
}

/// From the first byte of a produce to the last of the fetch that waited for it.
async fn latencies(address: &str, topic: &str) -> Result<Vec<Duration>, Anyhow> {
    let frame = client::produce_frame(topic, 0, client::batch(1)?)?;
    let (mut producer, mut consumer) = (Client::connect(address).await?, Client::connect(address).await?);
    let mut latencies = Vec::with_capacity(LATENCIES);
    for nth in 0..LATENCIES {
        consumer.send(&client::fetch_frame(topic, 0, nth as i64)?).await?;
        // An answer on the other connection shows that the broker has had time to park the fetch.
        client::create(address, topic, 1).await?;
        let begun = Instant::now();
        producer.send(&frame).await?;
        let (records, _) = consumer.fetched().await?;
        latencies.push(begun.elapsed());
        producer.produced().await?;
        if records != 1 {
            return Err(format!("a fetch that waited for a record brought {records}").into());
        }
    }
    Ok(latencies)
}
