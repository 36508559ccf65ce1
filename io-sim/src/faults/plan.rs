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
//! strike reset of 3 nth 2
//! ```
//!
//! `spare` takes out one decision of a chance and leaves all others: that is how a plan is made smaller. `strike` decides
//! one for certain.

use std::fmt;

use evenkeel_cluster::faults::Span;
use evenkeel_cluster::faults::plan::{self, number, span};
use evenkeel_core::model::Time;

use super::{Chance, Stroke};

pub use evenkeel_cluster::faults::{PlanError, Weather};

/// One decision of a chance.
pub type Occasion = plan::Occasion<Chance>;

/// See the [module](self).
pub type FaultPlan = plan::Plan<Chance, Stroke>;

impl plan::Chance for Chance {
    const ALL: &'static [Self] = Self::ALL;

    fn name(self) -> &'static str {
        Self::name(self)
    }
}

impl plan::Stroke for Stroke {
    const QUIET_AT: Time = Time::ZERO;
    const WRITTEN: &'static str = "`crash process N down TIME`, `crash owner of partition N down TIME`, \
        `pause process N for TIME`, `pause owner of partition N for TIME`, `stop process N down TIME`, \
        `jump-clock process N by Nus`, `drift-clock process N by Nppm`, `freeze-clock process N for TIME`, \
        `isolate-broker N for TIME`, `isolate-process N for TIME`, `cut process N from broker N for TIME`, \
        `kill-broker N down TIME`, `stall-replica partition N broker N for TIME`, `move-leader partition N to N`, \
        `elect-unclean partition N to N behind TIME`, `recreate topic of partition N gone TIME`, \
        `trim partition N to N`, `grow topic of partition N by N`, `move-coordinator group N to N`, \
        `evict group N member N`, `stale-metadata broker N for TIME`, `restart-database down TIME`, \
        `empty-pool for TIME`, `deploy group N handlers N every TIME`, `forget-position group N partition N`, \
        `set-back group N partition N by N`, `spoil-metadata group N partition N how N`";

    fn read(words: &[&str]) -> Result<Self, Option<&'static str>> {
        stroke(words)
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
            Self::Deploy { group, handlers, every } => {
                write!(f, "deploy group {group} handlers {handlers} every {}", Span(every))
            }
            Self::Grow { partition, by } => write!(f, "grow topic of partition {partition} by {by}"),
            Self::ForgetPosition { group, partition } => {
                write!(f, "forget-position group {group} partition {partition}")
            }
            Self::SetBack { group, partition, by } => {
                write!(f, "set-back group {group} partition {partition} by {by}")
            }
            Self::SpoilMetadata { group, partition, how } => {
                write!(f, "spoil-metadata group {group} partition {partition} how {how}")
            }
            Self::StaleMetadata { broker, lasting } => {
                write!(f, "stale-metadata broker {broker} for {}", Span(lasting))
            }
            Self::DriftClock { process, ppm } => write!(f, "drift-clock process {process} by {ppm}ppm"),
            Self::FreezeClock { process, lasting } => {
                write!(f, "freeze-clock process {process} for {}", Span(lasting))
            }
        }
    }
}

fn stroke(words: &[&str]) -> Result<Stroke, Option<&'static str>> {
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
        ["deploy", "group", group, "handlers", handlers, "every", every] => {
            Stroke::Deploy { group: number(group)?, handlers: number(handlers)?, every: span(every)? }
        }
        ["grow", "topic", "of", "partition", partition, "by", by] => {
            Stroke::Grow { partition: number(partition)?, by: number(by)? }
        }
        ["forget-position", "group", group, "partition", partition] => {
            Stroke::ForgetPosition { group: number(group)?, partition: number(partition)? }
        }
        ["set-back", "group", group, "partition", partition, "by", by] => {
            Stroke::SetBack { group: number(group)?, partition: number(partition)?, by: number(by)? }
        }
        ["spoil-metadata", "group", group, "partition", partition, "how", how] => {
            Stroke::SpoilMetadata { group: number(group)?, partition: number(partition)?, how: number(how)? }
        }
        ["stale-metadata", "broker", broker, "for", lasting] => {
            Stroke::StaleMetadata { broker: number(broker)?, lasting: span(lasting)? }
        }
        ["drift-clock", "process", process, "by", ppm] => {
            let ppm =
                ppm.strip_suffix("ppm").ok_or("a drift is written in parts of a million, like -20000ppm")?;
            Stroke::DriftClock { process: number(process)?, ppm: number(ppm)? }
        }
        ["freeze-clock", "process", process, "for", lasting] => {
            Stroke::FreezeClock { process: number(process)?, lasting: span(lasting)? }
        }
        _ => return Err(None),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::swarm::{Shape, draw};
    use super::*;
    use crate::seed::{Rate, Seed};

    #[test]
    fn what_is_printed_is_read_back() {
        for seed in 0..500 {
            let mut plan = draw(Seed(seed), &Shape::default());
            plan.spared.insert(Occasion { chance: Chance::Reset, entity: seed, nth: u64::MAX });
            plan.certain.insert(Occasion { chance: Chance::Slow, entity: u64::MAX, nth: seed });
            let text = plan.to_string();
            assert_eq!(text.parse(), Ok(plan), "{text}");
        }
    }

    /// A word of a stroke, or what stands for it where it is told how strokes are written.
    fn form(word: &str) -> &str {
        let number = |word: &str| word.parse::<i64>().is_ok();
        match word {
            _ if number(word) => "N",
            _ if word.strip_suffix("us").is_some_and(number) => "Nus",
            _ if word.strip_suffix("ppm").is_some_and(number) => "Nppm",
            _ if word.starts_with(|first: char| first.is_ascii_digit()) => "TIME",
            word => word,
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
            Stroke::Deploy { group: 1, handlers: 5, every: odd },
            Stroke::Grow { partition: 3, by: 2 },
            Stroke::ForgetPosition { group: 1, partition: 3 },
            Stroke::SetBack { group: 1, partition: 3, by: 40 },
            Stroke::SpoilMetadata { group: 1, partition: 3, how: 17 },
            Stroke::StaleMetadata { broker: 1, lasting: odd },
            Stroke::DriftClock { process: 1, ppm: -20_000 },
            Stroke::FreezeClock { process: 1, lasting: odd },
        ] {
            let mut plan = FaultPlan { quiet_at: Time::from_millis(2_000), ..FaultPlan::none(Seed(1)) };
            plan.strokes.push((Time::from_millis(1_500), stroke));
            assert_eq!(plan.to_string().parse(), Ok(plan));
            let written: Vec<_> = stroke.to_string().split(' ').map(form).map(str::to_owned).collect();
            let written = format!("`{}`", written.join(" "));
            assert!(
                <Stroke as plan::Stroke>::WRITTEN.contains(&written),
                "{written} is not among what there is"
            );
        }
    }

    #[test]
    fn a_line_that_is_not_understood_is_told() {
        let error = "seed 1\nat 3s meteor".parse::<FaultPlan>().unwrap_err();
        let told = error.to_string();
        let begins = "line 2 of the plan, \"at 3s meteor\", is not understood: there is no such fault, or its words are \
                      others; there are `crash process N down TIME`, ";
        assert!(told.starts_with(begins), "{told}");
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
    fn faults_that_would_never_strike_are_not_taken_in_silence() {
        for fault in ["chance reset 5ppm", "at 2s empty-pool for 1s", "strike reset of 1 nth 0"] {
            let refused = fault.parse::<FaultPlan>().unwrap_err().to_string();
            assert!(
                refused.contains(fault) && refused.contains("`quiet at TIME` says until when"),
                "{refused}"
            );
            assert!(format!("{fault}\nquiet at 3s").parse::<FaultPlan>().is_ok());
        }
        assert!("at 2s empty-pool for 1s\nquiet at 2s".parse::<FaultPlan>().is_err());
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
