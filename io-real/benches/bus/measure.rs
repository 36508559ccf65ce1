//! Samples, the table they end in, and whether they reach what they should.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::Anyhow;

/// Kernels count the processor time of a process in hundredths of a second, whatever their own clock's rate.
const TICK: Duration = Duration::from_millis(10);

/// One side of one round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    events: u32,
    wall: Duration,
    /// Processor time of this whole process.
    cpu: Duration,
}

impl Sample {
    /// Measures what `work` needs for so many events.
    pub(crate) async fn of(
        events: u32,
        work: impl Future<Output = Result<(), Anyhow>>,
    ) -> Result<Self, Anyhow> {
        let (cpu, begun) = (processor_time()?, Instant::now());
        work.await?;
        Ok(Self { events, wall: begun.elapsed(), cpu: processor_time()? - cpu })
    }

    fn rate(&self) -> f64 {
        f64::from(self.events) / self.wall.as_secs_f64()
    }

    fn micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / f64::from(self.events)
    }
}

/// Counts what handlers have seen, and tells when that is all.
#[derive(Debug)]
pub(crate) struct Counter {
    left: AtomicI64,
    all: Notify,
}

impl Counter {
    pub(crate) const fn new() -> Self {
        Self { left: AtomicI64::new(0), all: Notify::const_new() }
    }

    /// Begins a round.
    pub(crate) fn expect(&self, events: u32) {
        self.left.store(events.into(), Ordering::Relaxed);
    }

    pub(crate) fn add(&self, events: u32) {
        // A handler that was called twice for an event overshoots.
        let (before, events) = (self.left.fetch_sub(events.into(), Ordering::Relaxed), i64::from(events));
        if (1..=events).contains(&before) {
            self.all.notify_one();
        }
    }

    /// Waits for the last event of the round.
    pub(crate) async fn all(&self) {
        self.all.notified().await;
    }
}

/// What a row should reach.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// So many events a second.
    Rate(u32),
    /// So much of the bare client's rate.
    Ratio(f64),
}

impl Goal {
    fn is_reached(self, rate: f64, ratio: f64) -> bool {
        match self {
            Self::Rate(least) => rate >= f64::from(least),
            Self::Ratio(least) => ratio >= least,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(least) => write!(f, "at least {least}/s"),
            Self::Ratio(least) => write!(f, "ratio at least {least:.2}"),
        }
    }
}

/// What missing a goal leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// The run fails.
    Gate,
    /// It is told.
    Aim,
}

/// Says whether a goal was reached, in the words that end a row.
pub(crate) const fn verdict(reached: bool) -> &'static str {
    if reached { "PASS" } else { "MISS" }
}

/// Lets both sides take turns and prints their row. Answers whether the run may still pass.
pub(crate) async fn compare(
    work: &str,
    (weight, goal): (Weight, Goal),
    rounds: usize,
    mut ours: impl AsyncFnMut() -> Result<Sample, Anyhow>,
    mut bare: impl AsyncFnMut() -> Result<Sample, Anyhow>,
) -> Result<bool, Anyhow> {
    let mut samples = Vec::with_capacity(rounds);
    for round in 0..rounds {
        // Neither side always comes right after the other, for whatever it leaves behind.
        samples.push(if round % 2 == 0 {
            let ours = ours().await?;
            (ours, bare().await?)
        } else {
            let bare = bare().await?;
            (ours().await?, bare)
        });
    }
    let of = |figure: fn(&(Sample, Sample)) -> f64| median(samples.iter().map(figure).collect());
    let (rate, ratio) = (of(|(ours, _)| ours.rate()), of(|(ours, bare)| ours.rate() / bare.rate()));
    let reached = goal.is_reached(rate, ratio);
    let gate = if weight == Weight::Gate { ", a gate" } else { "" };
    println!(
        "{work:<44} {rate:>9.0} {:>7.1} {:>9.0} {:>7.1} {ratio:>6.2}  {} ({goal}{gate})",
        of(|(ours, _)| ours.micros()),
        of(|(_, bare)| bare.rate()),
        of(|(_, bare)| bare.micros()),
        verdict(reached),
    );
    Ok(reached || weight == Weight::Aim)
}

pub(crate) fn print_head() {
    println!(
        "{:<44} {:>9} {:>7} {:>9} {:>7} {:>6}  goal",
        "work", "ours/s", "µs CPU", "bare/s", "µs CPU", "ratio"
    );
}

pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// What this process has used of the processors, in user and kernel mode.
fn processor_time() -> Result<Duration, Anyhow> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The second field is the program's name in parentheses and may hold spaces: fields are counted after it.
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/self/stat names no program")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>).sum::<Result<u32, _>>()?;
    Ok(TICK * ticks)
}
