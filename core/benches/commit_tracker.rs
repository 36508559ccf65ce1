//! What the commit tracker costs an event, from a window of ten to a million.
//!
//! Run with `cargo bench -p evenkeel-core --bench commit_tracker`. Events settle in random order, each at most one
//! window after it was admitted, so the window slides as it does in production and stays about as wide as the table
//! says. The measured loop does nothing but admit and settle; orders are drawn beforehand.
//!
//! All windows take turns, a short stretch each, on trackers that are warm. The figure of a window is the lower
//! quartile of its stretches: a neighbour on the same core makes many of them slow and none fast, and it must not make
//! one window look slower than another. The run fails if a goal is missed.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a benchmark reads the clock and prints"
)]

use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use evenkeel_core::machine::Entropy;
use evenkeel_core::machine::commit::{Admission, CommitTracker, Fingerprint, MetadataLimit, Ticket};
use evenkeel_core::model::Offset;

const WINDOWS: [u32; 6] = [10, 100, 1_000, 10_000, 100_000, 1_000_000];
const STRETCH: u32 = 10_000;
const STRETCHES: u32 = 200;
const COMMITS: usize = 25;
const GOAL_NANOS: f64 = 50.0;
const GOAL_RATIO: f64 = 2.0;

type Anyhow = Box<dyn Error>;

fn main() -> Result<ExitCode, Anyhow> {
    let mut tracks = WINDOWS.map(Track::new);
    for track in &mut tracks {
        track.warm_up()?;
    }
    for _ in 0..STRETCHES {
        for track in &mut tracks {
            track.measure()?;
        }
    }
    println!("{:>10}  {:>12}  {:>9}  {:>11}", "window", "slots held", "ns/event", "µs/commit");
    let (mut slowest, mut fastest) = (0.0_f64, f64::INFINITY);
    for track in tracks {
        let (window, held) = (track.window, track.tracker.window());
        let nanos = lower_quartile(track.nanos.clone());
        (slowest, fastest) = (slowest.max(nanos), fastest.min(nanos));
        println!("{window:>10}  {held:>12}  {nanos:>9.1}  {:>11.1}", track.finish()?);
    }
    let ratio = slowest / fastest;
    let (quick, flat) = (slowest < GOAL_NANOS, ratio < GOAL_RATIO);
    let verdict = |reached| if reached { "PASS" } else { "MISS" };
    println!("slowest {slowest:.1} ns/event  {} (under {GOAL_NANOS}, a gate)", verdict(quick));
    println!("slowest / fastest {ratio:.2}  {} (under {GOAL_RATIO}, a gate)", verdict(flat));
    Ok(if quick && flat { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One window, and how far its events have come.
struct Track {
    window: u32,
    tracker: CommitTracker,
    /// The next event to be admitted.
    next: Offset,
    /// All events in the order in which they settle.
    order: std::vec::IntoIter<Ticket>,
    nanos: Vec<f64>,
}

impl Track {
    fn new(window: u32) -> Self {
        let events = window + Self::warming(window) + STRETCH * STRETCHES;
        Self {
            window,
            tracker: CommitTracker::new(Offset::ZERO),
            next: Offset::ZERO,
            order: settling_order(events, window).into_iter(),
            nanos: Vec::new(),
        }
    }

    /// The ring reaches its full size within the first windows.
    const fn warming(window: u32) -> u32 {
        window * 2
    }

    fn warm_up(&mut self) -> Result<(), Anyhow> {
        for _ in 0..self.window {
            admit(&mut self.tracker, &mut self.next)?;
        }
        self.slide(Self::warming(self.window))
    }

    fn measure(&mut self) -> Result<(), Anyhow> {
        let began = Instant::now();
        self.slide(STRETCH)?;
        self.nanos.push(began.elapsed().as_nanos() as f64 / f64::from(STRETCH));
        Ok(())
    }

    /// Settles so many events, and admits another for each.
    fn slide(&mut self, events: u32) -> Result<(), Anyhow> {
        for ticket in self.order.by_ref().take(events as usize) {
            admit(&mut self.tracker, &mut self.next)?;
            black_box(self.tracker.settle(ticket)?);
        }
        Ok(())
    }

    /// Answers what a commit costs in microseconds, and checks that nothing was left out.
    fn finish(mut self) -> Result<f64, Anyhow> {
        let mut micros = Vec::new();
        for _ in 0..COMMITS {
            self.tracker.recommit();
            let began = Instant::now();
            black_box(self.tracker.commit(MetadataLimit::DEFAULT, Fingerprint::of(["charge"]), &[])?);
            micros.push(began.elapsed().as_nanos() as f64 / 1_000.0);
        }
        for ticket in self.order {
            self.tracker.settle(ticket)?;
        }
        if self.tracker.window() != 0 || self.tracker.frontier() != self.next {
            return Err("the benchmark does not settle what it admits".into());
        }
        Ok(lower_quartile(micros))
    }
}

fn lower_quartile(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 4]
}

fn admit(tracker: &mut CommitTracker, next: &mut Offset) -> Result<(), Anyhow> {
    match tracker.admit(*next)? {
        Admission::New(ticket) => black_box(ticket),
        Admission::AlreadySettled | Admission::Stale => return Err("a new event was not handed out".into()),
    };
    *next = next.next();
    Ok(())
}

/// So many events, each at a random distance of at most `window` behind where it was admitted.
fn settling_order(events: u32, window: u32) -> Vec<Ticket> {
    let mut entropy = Entropy::new(u64::from(window));
    let mut order: Vec<(u32, u32)> =
        (0..events).map(|event| (event + entropy.below(window), event)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, event)| Ticket(u64::from(event))).collect()
}
