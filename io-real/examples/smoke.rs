//! smoke
use evenkeel::*;
use std::sync::atomic::{AtomicU64, Ordering as O};
const T: Topic<u64> = Topic::new("smoke.v1");
static N: AtomicU64 = AtomicU64::new(0);
#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let kafka = std::env::var("KAFKA")?;
    let n: u64 = std::env::args().nth(1).unwrap_or("10000".into()).parse()?;
    let bus = Bus::builder("smoke").kafka(Kafka::new([kafka])).open().await?;
    bus.ensure_topic("smoke.v1", 4, []).await?;
    let t = std::time::Instant::now();
    for chunk in (0..n).collect::<Vec<_>>().chunks(1000) {
        bus.produce(chunk.iter().map(|i| T.event(i % 5000, i))).await?;
    }
    println!("produced {n} in {:?}", t.elapsed());
    bus.consume(T).group("smoke").idempotent("count", async |e: Event<u64>| {
        std::hint::black_box(e.payload);
        N.fetch_add(1, O::Relaxed);
        Ok::<_, HandlerError>(())
    })?;
    let t = std::time::Instant::now();
    let running = bus.start().await?;
    println!("started in {:?}", t.elapsed());
    let t = std::time::Instant::now();
    let mut last = 0;
    let mut idle = 0;
    while idle < 30 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let now = N.load(O::Relaxed);
        if now == last {
            idle += 1
        } else {
            idle = 0;
            println!("{:?} {}", t.elapsed(), now);
        }
        last = now;
    }
    let t = std::time::Instant::now();
    println!("{:?}", running.shutdown().await);
    println!("stopped in {:?}", t.elapsed());
    Ok(())
}
