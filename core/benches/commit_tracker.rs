//! What the commit tracker costs an event, from a window of ten to a million.
//!
//! Run with `cargo bench -p evenkeel-core --bench commit_tracker`. Events settle in random order, each at most one
//! window after it was admitted, so the window slides as it does in production and stays about as wide as the table
//! says. The measured loop does nothing but admit and settle; orders are drawn beforehand. Each row is the best of
//! several passes on one warm tracker, since everything that disturbs a pass makes it slower.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a benchmark reads the clock and prints"
)]

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use evenkeel_core::machine::Entropy;
use evenkeel_core::machine::commit::{Admission, CommitTracker, Fingerprint, MetadataLimit, Ticket};
use evenkeel_core::model::Offset;

const WINDOWS: [u32; 6] = [10, 100, 1_000, 10_000, 100_000, 1_000_000];
const EVENTS: u32 = 4_000_000;
const PASSES: u32 = 5;
const GOAL_NANOS: f64 = 50.0;
const GOAL_RATIO: f64 = 2.0;

struct Row {
    window: u32,
    held: usize,
    nanos: f64,
    commit_micros: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("{:>10}  {:>12}  {:>9}  {:>11}", "window", "slots held", "ns/event", "µs/commit");
    let mut rows = Vec::new();
    for window in WINDOWS {
        let row = measure(window)?;
        println!("{:>10}  {:>12}  {:>9.1}  {:>11.1}", row.window, row.held, row.nanos, row.commit_micros);
        rows.push(row);
    }
    let slowest = rows.iter().map(|row| row.nanos).fold(0.0, f64::max);
    let fastest = rows.iter().map(|row| row.nanos).fold(f64::INFINITY, f64::min);
    println!("slowest {slowest:.1} ns/event (goal: under {GOAL_NANOS})");
    println!("slowest / fastest {:.2} (goal: under {GOAL_RATIO})", slowest / fastest);
    Ok(())
}

fn measure(window: u32) -> Result<Row, Box<dyn Error>> {
    let order = settling_order(window);
    let mut tracker = CommitTracker::new(Offset::ZERO);
    let mut row = Row { window, held: 0, nanos: f64::INFINITY, commit_micros: f64::INFINITY };
    let mut next = Offset::ZERO;
    let mut admitted = 0;
    for _ in 0..PASSES {
        for _ in 0..window {
            admit(&mut tracker, &mut next)?;
        }
        let began = Instant::now();
        for place in &order[..(EVENTS - window) as usize] {
            admit(&mut tracker, &mut next)?;
            black_box(tracker.settle(Ticket(admitted + u64::from(*place)))?);
        }
        row.nanos = row.nanos.min(began.elapsed().as_nanos() as f64 / f64::from(EVENTS - window));
        row.held = tracker.window();

        tracker.recommit();
        let began = Instant::now();
        black_box(tracker.commit(MetadataLimit::DEFAULT, Fingerprint::of(["charge"]))?);
        row.commit_micros = row.commit_micros.min(began.elapsed().as_nanos() as f64 / 1_000.0);

        for place in &order[(EVENTS - window) as usize..] {
            tracker.settle(Ticket(admitted + u64::from(*place)))?;
        }
        admitted += u64::from(EVENTS);
    }
    if tracker.window() == 0 && tracker.frontier() == next {
        Ok(row)
    } else {
        Err("the benchmark does not settle what it admits".into())
    }
}

fn admit(tracker: &mut CommitTracker, next: &mut Offset) -> Result<(), Box<dyn Error>> {
    match tracker.admit(*next)? {
        Admission::New(ticket) => black_box(ticket),
        Admission::AlreadySettled | Admission::Stale => return Err("a new event was not handed out".into()),
    };
    *next = next.next();
    Ok(())
}

/// All events, each at a random distance of at most `window` behind where it was admitted.
fn settling_order(window: u32) -> Vec<u32> {
    let mut entropy = Entropy::new(u64::from(window));
    let mut order: Vec<(u32, u32)> =
        (0..EVENTS).map(|event| (event + entropy.below(window), event)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, event)| event).collect()
}
