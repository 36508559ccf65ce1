//! What the bus costs, each figure beside the bare client's that does the same in the same run.
//!
//! Run with `cargo bench -p evenkeel --bench bus`, and with `-- produce`, `-- consume`, `-- postgres` or `-- sqlite` for a part.
//! It starts the Kafka and the PostgreSQL that it needs, as the tests do.
//!
//! Both sides take turns, so that a neighbour on the machine slows both; a row gives the medians over the rounds. What
//! is worth reading are the ratios and the processor time of this process for an event: rates belong to one machine.
//! The peer does the least that the work needs, and keeps no promise: no group, no order of keys, no decoding, no
//! retries.
//!
//! Each row ends with its goal and whether it was reached. A goal that is called a gate is a promise: if one is missed,
//! the run fails.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark reads the clock and prints"
)]

#[path = "../../tests/support/services.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests, which use more of it")]
mod services;

mod consume;
mod measure;
mod postgres;
mod produce;
mod shop;
mod sqlite;

use std::process::ExitCode;

type Anyhow = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<ExitCode, Anyhow> {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let runs = |part: &str| wanted.is_empty() || wanted.iter().any(|name| part.starts_with(name.as_str()));
    measure::print_head();
    let mut passed = true;
    if runs("produce") {
        passed &= produce::measure().await?;
    }
    if runs("consume") {
        passed &= consume::measure().await?;
    }
    if runs("postgres") {
        passed &= postgres::measure().await?;
    }
    if runs("sqlite") {
        passed &= sqlite::measure().await?;
    }
    if passed {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("a gate was missed: see the rows above. Rates are of a machine with nothing else to do");
    Ok(ExitCode::FAILURE)
}
