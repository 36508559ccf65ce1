//! The cluster measured against Apache Kafka: the same requests to both, the answers compared field by field.
//!
//! ```text
//! make conformance [CASE=part of a name]
//! ```
//!
//! It is one of the workspace's tests, too.
//!
//! A case asks and writes down what it is answered; it expects nothing, since Kafka says what is right. What the two
//! have written must be equal, or the case is listed in [`known`] with a reason, and then it must differ. Kafka is what
//! EVENKEEL_TEST_KAFKA names, or is started by `io-real/services/kafka`: it is never left out. `--write` writes
//! `CONFORMANCE.md`.

mod batch;
mod cases;
mod client;
mod kafka;
mod known;
mod report;
mod requests;
mod transcript;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::pin::Pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use evenkeel_cluster::DevCluster;
use tokio::sync::Semaphore;
use tokio::task::LocalSet;
use tokio::time::timeout;

use cases::AREAS;
use client::World;
use report::Outcome;

/// How long a case may take at one broker.
const LIMIT: Duration = Duration::from_secs(60);

/// How many cases run at a time.
const AT_ONCE: usize = 12;

/// A named sequence of requests.
pub(crate) struct Case {
    name: &'static str,
    run: fn(World) -> Pin<Box<dyn Future<Output = ()>>>,
}

/// The cases of an area, by the names of their functions.
macro_rules! list {
    ($($name:ident),* $(,)?) => {
        pub(crate) const CASES: &[crate::Case] =
            &[$(crate::Case { name: stringify!($name), run: |world| Box::pin($name(world)) }),*];
    };
}
use list;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let writes = arguments.iter().any(|argument| argument == "--write");
    let wanted = arguments.iter().find_map(|argument| argument.strip_prefix("--case="));
    // A name without an option is a filter of `cargo test`, which is for all tests: perhaps for none of these.
    let filter =
        wanted.or_else(|| arguments.iter().map(|a| &**a).find(|argument| !argument.starts_with('-')));
    let filter = filter.unwrap_or_default();
    if !AREAS.iter().flat_map(|(_, cases)| *cases).any(|case| case.name.contains(filter)) {
        return match wanted {
            Some(name) => report::fail(&format!("no case has {name:?} in its name")),
            None => ExitCode::SUCCESS,
        };
    }
    let kafka = match kafka::address() {
        Ok(address) => address,
        Err(error) => return report::fail(&error),
    };
    // A case that breaks is told of with the others.
    std::panic::set_hook(Box::new(|_| {}));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = LocalSet::new();
    if let Err(error) = runtime.block_on(local.run_until(kafka::warm(&kafka))) {
        return report::fail(&error);
    }
    let outcomes = runtime.block_on(local.run_until(run(&kafka, filter)));
    report::print(&outcomes);
    if outcomes.is_empty() {
        return report::fail(&format!("no case has {filter:?} in its name"));
    }
    if writes
        && filter.is_empty()
        && let Err(error) = report::write(&outcomes)
    {
        return report::fail(&format!("CONFORMANCE.md cannot be written: {error}"));
    }
    if outcomes.iter().all(Outcome::is_fine) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(kafka: &str, filter: &str) -> Vec<Outcome> {
    let cluster = DevCluster::builder().start().await.expect("a cluster");
    let here = cluster.bootstrap();
    // Not the process's number: a Kafka that goes on running remembers the groups of whoever had it before.
    let run = RandomState::new().build_hasher().finish() as u32;
    let permits = Rc::new(Semaphore::new(AT_ONCE));
    let mut running = Vec::new();
    let mut number = 0;
    for (area, cases) in AREAS {
        for case in cases.iter().filter(|case| case.name.contains(filter)) {
            number += 1;
            let prefix = format!("c{run:08x}-{number}");
            let (here, kafka, permits) = (here.clone(), kafka.to_owned(), permits.clone());
            let both = tokio::task::spawn_local(async move {
                let _permit = permits.acquire().await.expect("permits are not closed");
                let (here, there) =
                    tokio::join!(run_at(case, &here, prefix.clone()), run_at(case, &kafka, prefix));
                Outcome::new(area, case.name, here, there)
            });
            running.push(both);
        }
    }
    let mut outcomes = Vec::new();
    for both in running {
        outcomes.push(both.await.expect("a case's failure is its outcome"));
    }
    cluster.shutdown().await;
    outcomes
}

/// What a case has seen at one broker, or why it did not get to its end.
async fn run_at(case: &Case, address: &str, prefix: String) -> Result<Vec<String>, String> {
    let world = World::new(address, prefix);
    let mut task = tokio::task::spawn_local((case.run)(world.clone()));
    let ended = timeout(LIMIT, &mut task).await;
    task.abort();
    world.tidy().await;
    match ended {
        Ok(Ok(())) if world.lines().is_empty() => Err("it has written nothing down".to_owned()),
        Ok(Ok(())) => Ok(world.lines()),
        Ok(Err(error)) => Err(format!("it broke after {:#?}: {error}", world.lines().last())),
        Err(_) => Err(format!("it was not done after {LIMIT:?}; last: {:?}", world.lines().last())),
    }
}
