//! Days that are drawn from seeds: faults for a while, then quiet, in which everything must come to rest.
//!
//! One seed, or as many as `EVENKEEL_SOAK_SEEDS` says, from `EVENKEEL_SOAK_FROM` on.

use std::time::{Duration, Instant};

use evenkeel::{Bus, Kafka};
use evenkeel_cluster::DevCluster;
use evenkeel_cluster::faults::{Brief, Seed};
use evenkeel_cluster::serve::sabotage;

use super::postgres::{charge, service, through_a_proxy};
use super::shop::{Books, Count, Customers, ORDERS};
use super::{SOON, again};

/// How long faults go on.
const ACTIVE: Duration = Duration::from_secs(10);
const BROKERS: u16 = 3;

async fn day(seed: u64) {
    let brief = Brief { seed: Seed(seed), lasting: ACTIVE };
    let plan = sabotage::draw(brief, BROKERS);
    let (books, proxy, url) = through_a_proxy(evenkeel_proxy::draw(brief)).await;
    let kafka = DevCluster::builder().brokers(BROKERS).faults(plan).start().await.unwrap();
    let bootstrap = kafka.bootstrap();
    let begun = Instant::now();
    let opened = async {
        loop {
            let kafka = Kafka::new(bootstrap.split(','));
            match Bus::builder("customers").kafka(kafka).open().await {
                Ok(bus) => break bus,
                Err(error) => again(error).await,
            }
        }
    };
    let customers = opened.await;
    while let Err(error) = customers.ensure_topic(ORDERS, 4, []).await {
        again(error).await;
    }
    let mut customers = Customers { bus: &customers, sent: 0 };
    let services = [service(&bootstrap, &url, || charge).await, service(&bootstrap, &url, || charge).await];
    customers.order(&books, async |_| begun.elapsed() > ACTIVE).await;
    // Some more, of each key, when all is quiet.
    customers.wave().await;
    books.charged(customers.sent).await;
    let charged = begun.elapsed();
    for service in services {
        let left = service.shutdown().await;
        assert!(left.is_clean(), "all is quiet, and yet: {left:?}");
    }
    let count = books.count().await;
    println!("seed {seed}: {count:?} of {} in {charged:.1?}", customers.sent);
    println!("    {:?}\n    {:?}", kafka.struck().await, proxy.struck().await);
    assert_eq!(count, Count { charges: customers.sent, orders: customers.sent });
    assert!(!proxy.struck().await.is_empty() || !kafka.struck().await.is_empty());
    kafka.shutdown().await;
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_day_that_is_drawn_all_comes_to_rest_with_nothing_lost_or_charged_twice() {
    let from = number("EVENKEEL_SOAK_FROM").unwrap_or(1);
    for seed in from..from + number("EVENKEEL_SOAK_SEEDS").unwrap_or(1) {
        println!("seed {seed}");
        tokio::time::timeout(SOON, day(seed))
            .await
            .unwrap_or_else(|_| panic!("seed {seed} does not come to rest"));
    }
}
