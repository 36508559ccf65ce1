//! The plan of a run's faults: data that prints, parses, and is kept when a bug was found.
//!
//! ```text
//! seed 8231
//! quiet at 60s
//! storms of 2s every 20s
//! chance reply-lost 12000ppm
//! at 12.408s crash process 1 down 3.2s
//! at 14s pause process 0 for 12s
//! spare reply-lost of 3 nth 17
//! ```
//!
//! `spare` takes out one decision of a chance and leaves all others: that is how a plan is made smaller.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use evenkeel_core::model::Time;

use super::{Chance, Stroke};
use crate::seed::{Rate, Seed};

/// When chances are likelier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Always alike.
    Drizzle,
    /// A hundred times likelier in bursts than between them.
    Storms {
        /// How long a burst takes.
        lasting: Duration,
        /// From the beginning of one to the beginning of the next.
        every: Duration,
    },
}

/// One decision of a chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Occasion {
    /// What might have struck.
    pub chance: Chance,
    /// Whom.
    pub entity: u64,
    /// Which time, counted from zero.
    pub nth: u64,
}

/// See the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultPlan {
    /// What decides whether a chance strikes.
    pub seed: Seed,
    /// When faults are over.
    pub quiet_at: Time,
    /// When chances are likelier.
    pub weather: Weather,
    /// How likely each chance is; none of the others strikes.
    pub chances: BTreeMap<Chance, Rate>,
    /// What happens when, in order.
    pub strokes: Vec<(Time, Stroke)>,
    /// Decisions that are taken out.
    pub spared: BTreeSet<Occasion>,
}

impl FaultPlan {
    /// No faults; the quiet phase begins at once.
    #[must_use]
    pub const fn none(seed: Seed) -> Self {
        Self {
            seed,
            quiet_at: Time::ZERO,
            weather: Weather::Drizzle,
            chances: BTreeMap::new(),
            strokes: Vec::new(),
            spared: BTreeSet::new(),
        }
    }

    /// Whether nothing goes wrong in it.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        self.chances.is_empty() && self.strokes.is_empty()
    }

    /// How likely a chance is at a time.
    #[must_use]
    pub fn rate(&self, now: Time, chance: Chance) -> Rate {
        let Some(rate) = self.chances.get(&chance).copied().filter(|_| now < self.quiet_at) else {
            return Rate::NEVER;
        };
        match self.weather {
            Weather::Drizzle => rate,
            Weather::Storms { lasting, every } => {
                let every = every.as_nanos().max(1);
                let is_storm = u128::from(now.as_nanos()) % every < lasting.as_nanos();
                if is_storm { rate.times(10) } else { Rate::ppm(rate.parts() / 10) }
            }
        }
    }
}

/// Why a text is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the plan, {text:?}, is not understood: {why}")]
pub struct PlanError {
    line: usize,
    text: String,
    why: &'static str,
}

struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        if nanos == 0 {
            return write!(f, "{seconds}s");
        }
        let fraction = format!("{nanos:09}");
        write!(f, "{seconds}.{}s", fraction.trim_end_matches('0'))
    }
}

fn span(text: &str) -> Result<Duration, &'static str> {
    const WHY: &str = "a time is written like 12s or 3.25s";
    let number = text.strip_suffix('s').ok_or(WHY)?;
    let (seconds, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let nanos: u32 = match fraction.len() {
        1..=9 => fraction.parse::<u32>().map_err(|_| WHY)? * 10_u32.pow(9 - fraction.len() as u32),
        _ => return Err(WHY),
    };
    Ok(Duration::new(seconds.parse().map_err(|_| WHY)?, nanos))
}

fn number<T: FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "a number is missing or too large")
}

const fn since_start(at: Time) -> Span {
    Span(at.since(Time::ZERO))
}

impl fmt::Display for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        writeln!(f, "quiet at {}", since_start(self.quiet_at))?;
        if let Weather::Storms { lasting, every } = self.weather {
            writeln!(f, "storms of {} every {}", Span(lasting), Span(every))?;
        }
        for (chance, rate) in &self.chances {
            writeln!(f, "chance {} {}ppm", chance.name(), rate.parts())?;
        }
        for (at, stroke) in &self.strokes {
            writeln!(f, "at {} {stroke}", since_start(*at))?;
        }
        for Occasion { chance, entity, nth } in &self.spared {
            writeln!(f, "spare {} of {entity} nth {nth}", chance.name())?;
        }
        Ok(())
    }
}

impl fmt::Display for Stroke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Crash { process, down } => write!(f, "crash process {process} down {}", Span(down)),
            Self::Pause { process, lasting } => write!(f, "pause process {process} for {}", Span(lasting)),
            Self::Stop { process, down } => write!(f, "stop process {process} down {}", Span(down)),
            Self::CrashOwner { partition, down } => {
                write!(f, "crash owner of partition {partition} down {}", Span(down))
            }
            Self::PauseOwner { partition, lasting } => {
                write!(f, "pause owner of partition {partition} for {}", Span(lasting))
            }
            Self::JumpClock { process, by_micros } => {
                write!(f, "jump-clock process {process} by {by_micros}us")
            }
            Self::IsolateBroker { broker, lasting } => {
                write!(f, "isolate-broker {broker} for {}", Span(lasting))
            }
            Self::IsolateProcess { process, lasting } => {
                write!(f, "isolate-process {process} for {}", Span(lasting))
            }
            Self::Cut { process, broker, lasting } => {
                write!(f, "cut process {process} from broker {broker} for {}", Span(lasting))
            }
            Self::KillBroker { broker, down } => write!(f, "kill-broker {broker} down {}", Span(down)),
            Self::StallReplica { partition, broker, lasting } => {
                write!(f, "stall-replica partition {partition} broker {broker} for {}", Span(lasting))
            }
            Self::MoveLeader { partition, to } => write!(f, "move-leader partition {partition} to {to}"),
            Self::ElectUnclean { partition, to, behind } => {
                write!(f, "elect-unclean partition {partition} to {to} behind {}", Span(behind))
            }
            Self::Recreate { partition, gone } => {
                write!(f, "recreate topic of partition {partition} gone {}", Span(gone))
            }
            Self::Trim { partition, keep } => write!(f, "trim partition {partition} to {keep}"),
            Self::MoveCoordinator { group, to } => write!(f, "move-coordinator group {group} to {to}"),
            Self::Evict { group, member } => write!(f, "evict group {group} member {member}"),
            Self::RestartDatabase { down } => write!(f, "restart-database down {}", Span(down)),
            Self::EmptyPool { lasting } => write!(f, "empty-pool for {}", Span(lasting)),
        }
    }
}

fn stroke(words: &[&str]) -> Result<Stroke, &'static str> {
    Ok(match *words {
        ["crash", "process", process, "down", down] => {
            Stroke::Crash { process: number(process)?, down: span(down)? }
        }
        ["pause", "process", process, "for", lasting] => {
            Stroke::Pause { process: number(process)?, lasting: span(lasting)? }
        }
        ["crash", "owner", "of", "partition", partition, "down", down] => {
            Stroke::CrashOwner { partition: number(partition)?, down: span(down)? }
        }
        ["pause", "owner", "of", "partition", partition, "for", lasting] => {
            Stroke::PauseOwner { partition: number(partition)?, lasting: span(lasting)? }
        }
        ["stop", "process", process, "down", down] => {
            Stroke::Stop { process: number(process)?, down: span(down)? }
        }
        ["jump-clock", "process", process, "by", by] => {
            let by = by.strip_suffix("us").ok_or("a jump is written in microseconds, like -5000000us")?;
            Stroke::JumpClock { process: number(process)?, by_micros: number(by)? }
        }
        ["isolate-broker", broker, "for", lasting] => {
            Stroke::IsolateBroker { broker: number(broker)?, lasting: span(lasting)? }
        }
        ["isolate-process", process, "for", lasting] => {
            Stroke::IsolateProcess { process: number(process)?, lasting: span(lasting)? }
        }
        ["cut", "process", process, "from", "broker", broker, "for", lasting] => {
            Stroke::Cut { process: number(process)?, broker: number(broker)?, lasting: span(lasting)? }
        }
        ["kill-broker", broker, "down", down] => {
            Stroke::KillBroker { broker: number(broker)?, down: span(down)? }
        }
        ["stall-replica", "partition", partition, "broker", broker, "for", lasting] => Stroke::StallReplica {
            partition: number(partition)?,
            broker: number(broker)?,
            lasting: span(lasting)?,
        },
        ["move-leader", "partition", partition, "to", to] => {
            Stroke::MoveLeader { partition: number(partition)?, to: number(to)? }
        }
        ["elect-unclean", "partition", partition, "to", to, "behind", behind] => {
            Stroke::ElectUnclean { partition: number(partition)?, to: number(to)?, behind: span(behind)? }
        }
        ["recreate", "topic", "of", "partition", partition, "gone", gone] => {
            Stroke::Recreate { partition: number(partition)?, gone: span(gone)? }
        }
        ["trim", "partition", partition, "to", keep] => {
            Stroke::Trim { partition: number(partition)?, keep: number(keep)? }
        }
        ["move-coordinator", "group", group, "to", to] => {
            Stroke::MoveCoordinator { group: number(group)?, to: number(to)? }
        }
        ["evict", "group", group, "member", member] => {
            Stroke::Evict { group: number(group)?, member: number(member)? }
        }
        ["restart-database", "down", down] => Stroke::RestartDatabase { down: span(down)? },
        ["empty-pool", "for", lasting] => Stroke::EmptyPool { lasting: span(lasting)? },
        _ => return Err("there is no such fault, or its words are others"),
    })
}

impl FromStr for FaultPlan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let mut plan = Self::none(Seed(0));
        for (nth, line) in text.lines().enumerate() {
            let words: Vec<_> = line.split_whitespace().collect();
            let error = |why| PlanError { line: nth + 1, text: line.to_owned(), why };
            plan.take(&words).map_err(error)?;
        }
        Ok(plan)
    }
}

impl FaultPlan {
    fn take(&mut self, words: &[&str]) -> Result<(), &'static str> {
        let chance = |name| Chance::named(name).ok_or("there is no chance of this name");
        match *words {
            [] => {}
            ["seed", seed] => self.seed = Seed(number(seed)?),
            ["quiet", "at", at] => self.quiet_at = Time::ZERO + span(at)?,
            ["storms", "of", lasting, "every", every] => {
                self.weather = Weather::Storms { lasting: span(lasting)?, every: span(every)? };
            }
            ["chance", name, rate] => {
                let parts = rate.strip_suffix("ppm").ok_or("a rate is written like 1200ppm")?;
                self.chances.insert(chance(name)?, Rate::ppm(number(parts)?));
            }
            ["at", at, ref rest @ ..] => self.strokes.push((Time::ZERO + span(at)?, stroke(rest)?)),
            ["spare", name, "of", entity, "nth", nth] => {
                let occasion = Occasion { chance: chance(name)?, entity: number(entity)?, nth: number(nth)? };
                self.spared.insert(occasion);
            }
            _ => return Err("a line begins with seed, quiet, storms, chance, at or spare"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::swarm::{Shape, draw};
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        for seed in 0..500 {
            let mut plan = draw(Seed(seed), &Shape::default());
            plan.spared.insert(Occasion { chance: Chance::Reset, entity: seed, nth: u64::MAX });
            let text = plan.to_string();
            assert_eq!(text.parse(), Ok(plan), "{text}");
        }
    }

    #[test]
    fn every_stroke_is_read_back() {
        let odd = Duration::new(7, 8_000_009);
        for stroke in [
            Stroke::Crash { process: 1, down: odd },
            Stroke::Pause { process: 1, lasting: odd },
            Stroke::Stop { process: 1, down: odd },
            Stroke::CrashOwner { partition: 3, down: odd },
            Stroke::PauseOwner { partition: 3, lasting: odd },
            Stroke::JumpClock { process: 1, by_micros: -3_600_000_000 },
            Stroke::IsolateBroker { broker: 1, lasting: odd },
            Stroke::IsolateProcess { process: 1, lasting: odd },
            Stroke::Cut { process: 1, broker: 2, lasting: odd },
            Stroke::KillBroker { broker: 1, down: odd },
            Stroke::StallReplica { partition: 5, broker: 2, lasting: odd },
            Stroke::MoveLeader { partition: 5, to: 2 },
            Stroke::ElectUnclean { partition: 5, to: 2, behind: odd },
            Stroke::Recreate { partition: 5, gone: odd },
            Stroke::Trim { partition: 5, keep: 2 },
            Stroke::MoveCoordinator { group: 0, to: 3 },
            Stroke::Evict { group: 1, member: 2 },
            Stroke::RestartDatabase { down: odd },
            Stroke::EmptyPool { lasting: odd },
        ] {
            let mut plan = FaultPlan::none(Seed(1));
            plan.strokes.push((Time::from_millis(1_500), stroke));
            assert_eq!(plan.to_string().parse(), Ok(plan));
        }
    }

    #[test]
    fn a_line_that_is_not_understood_is_told() {
        let error = "seed 1\nat 3s meteor".parse::<FaultPlan>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2 of the plan, \"at 3s meteor\", is not understood: there is no such fault, or its words are others"
        );
        for bad in [
            "quiet at 3",
            "chance reset 5",
            "chance meteor 5ppm",
            "hail",
            "at 1.0123456789s empty-pool for 1s",
        ] {
            assert!(bad.parse::<FaultPlan>().is_err(), "{bad}");
        }
    }

    #[test]
    fn storms_are_denser_and_the_quiet_phase_is_quiet() {
        let text = "quiet at 100s\nstorms of 2s every 20s\nchance reset 10000ppm";
        let plan: FaultPlan = text.parse().expect("it is a plan");
        let rate = |seconds: u64| plan.rate(Time::from_millis(seconds * 1_000), Chance::Reset).parts();
        assert_eq!([rate(1), rate(3), rate(21), rate(100)], [100_000, 1_000, 100_000, 0]);
        assert_eq!(plan.rate(Time::ZERO, Chance::Slow), Rate::NEVER);
    }
}
