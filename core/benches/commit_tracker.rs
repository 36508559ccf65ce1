//! What the commit tracker costs an event, from a window of ten to a million.
//!
//! Run with `cargo bench -p evenkeel-core --bench commit_tracker`. Events settle in random order, each at most one
//! window after it was admitted, so the window slides as it does in production and stays about as wide as the table
//! says. The measured loop does nothing but admit and settle; orders are drawn beforehand.
//!
//! A run is the median over short stretches on a warm tracker, so that being interrupted hardly shows. The table gives
//! the best of several rounds over all windows: a neighbour on the same core slows a whole run down, and must not make
//! one window look slower than another.

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
const STRETCH: usize = 10_000;
const ROUNDS: usize = 5;
const COMMITS: usize = 25;
const GOAL_NANOS: f64 = 50.0;
const GOAL_RATIO: f64 = 2.0;

struct Row {
    window: u32,
    held: usize,
    nanos: f64,
    commit_micros: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut rows = WINDOWS.map(Row::unmeasured);
    for _ in 0..ROUNDS {
        for row in &mut rows {
            row.keep_better(measure(row.window)?);
        }
    }
    println!("{:>10}  {:>12}  {:>9}  {:>11}", "window", "slots held", "ns/event", "µs/commit");
    for row in &rows {
        println!("{:>10}  {:>12}  {:>9.1}  {:>11.1}", row.window, row.held, row.nanos, row.commit_micros);
    }
    let slowest = rows.iter().map(|row| row.nanos).fold(0.0, f64::max);
    let fastest = rows.iter().map(|row| row.nanos).fold(f64::INFINITY, f64::min);
    println!("slowest {slowest:.1} ns/event (goal: under {GOAL_NANOS})");
    println!("slowest / fastest {:.2} (goal: under {GOAL_RATIO})", slowest / fastest);
    Ok(())
}

impl Row {
    const fn unmeasured(window: u32) -> Self {
        Self { window, held: 0, nanos: f64::INFINITY, commit_micros: f64::INFINITY }
    }

    fn keep_better(&mut self, other: Self) {
        self.held = other.held;
        self.nanos = self.nanos.min(other.nanos);
        self.commit_micros = self.commit_micros.min(other.commit_micros);
    }
}

fn measure(window: u32) -> Result<Row, Box<dyn Error>> {
    let order = settling_order(window);
    let mut tracker = CommitTracker::new(Offset::ZERO);
    let mut next = Offset::ZERO;
    for _ in 0..window {
        admit(&mut tracker, &mut next)?;
    }
    let (sliding, draining) = order.split_at((EVENTS - window) as usize);
    let mut nanos = Vec::new();
    for stretch in sliding.chunks_exact(STRETCH) {
        let began = Instant::now();
        for ticket in stretch {
            admit(&mut tracker, &mut next)?;
            black_box(tracker.settle(*ticket)?);
        }
        nanos.push(began.elapsed().as_nanos() as f64 / STRETCH as f64);
    }
    // The ring reaches its full size within the first windows.
    nanos.drain(..nanos.len() / 2);
    let held = tracker.window();

    let mut commit_micros = Vec::new();
    for _ in 0..COMMITS {
        tracker.recommit();
        let began = Instant::now();
        black_box(tracker.commit(MetadataLimit::DEFAULT, Fingerprint::of(["charge"]))?);
        commit_micros.push(began.elapsed().as_nanos() as f64 / 1_000.0);
    }

    let rest = sliding.chunks_exact(STRETCH).remainder();
    for ticket in rest.iter().chain(draining) {
        tracker.settle(*ticket)?;
    }
    if tracker.window() != 0 || tracker.frontier() != next {
        return Err("the benchmark does not settle what it admits".into());
    }
    Ok(Row { window, held, nanos: median(nanos), commit_micros: median(commit_micros) })
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
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
fn settling_order(window: u32) -> Vec<Ticket> {
    let mut entropy = Entropy::new(u64::from(window));
    let mut order: Vec<(u32, u32)> =
        (0..EVENTS).map(|event| (event + entropy.below(window), event)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, event)| Ticket(u64::from(event))).collect()
}
