//! Draws a plan from a seed, by swarm: each family is off half of the time, so that each fault also meets the library
//! alone and in small company.
//!
//! One seed in eight has no faults, one in eight a single family at full rate. Rates are drawn log-uniformly: rare
//! faults let a run get far, frequent ones drive it into corners.

use std::time::Duration;

use evenkeel_core::model::Time;

use super::plan::{FaultPlan, Weather};
use super::{Chance, Destroys, Family, Stroke};
use crate::seed::{Draw, Rate, Seed, Stream};

/// The families that strike at times.
pub const STROKES: &[Family] = &[
    Family::Crashes,
    Family::Pauses,
    Family::Stops,
    Family::Clocks,
    Family::Isolation,
    Family::Brokers,
    Family::Replication,
    Family::Leaders,
    Family::UncleanElections,
    Family::Recreations,
    Family::Retention,
    Family::Coordinators,
    Family::Evictions,
    Family::DatabaseRestarts,
    Family::Pool,
    Family::Deploys,
    Family::Growth,
    Family::Positions,
    Family::Metadata,
];

/// After how long a follower that does not copy is out of the in-sync set. Short, so that its leader soon acknowledges
/// without it.
pub const REPLICA_LAG: Duration = Duration::from_secs(3);

/// What a world offers to faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// How many processes.
    pub processes: u16,
    /// How many brokers.
    pub brokers: u16,
    /// How many partitions, over all topics.
    pub partitions: u16,
    /// How many groups.
    pub groups: u16,
    /// The session timeout of members, which pauses are measured by.
    pub session_timeout: Duration,
    /// How long faults go on.
    pub active: Duration,
    /// The families that may be drawn.
    pub families: Vec<Family>,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            processes: 3,
            brokers: 3,
            partitions: 4,
            groups: 1,
            session_timeout: Duration::from_secs(10),
            active: Duration::from_secs(60),
            families: Family::ALL.to_vec(),
        }
    }
}

/// The plan of a seed.
#[must_use]
pub fn draw(seed: Seed, shape: &Shape) -> FaultPlan {
    let stream = seed.stream("swarm");
    let mut plan = FaultPlan { quiet_at: Time::ZERO + shape.active, ..FaultPlan::none(seed) };
    let mut style = stream.named("style").nth(0);
    let sort = style.below(8);
    let alone = (!shape.families.is_empty()).then(|| *style.pick(&shape.families));
    if style.once_in(2) {
        plan.weather = Weather::Storms {
            lasting: Duration::from_millis(style.log_uniform(500, 4_000)),
            every: Duration::from_millis(style.log_uniform(10_000, 40_000)),
        };
    }
    for family in shape.families.iter().copied() {
        let mut draw = stream.named("family").nth(family as u64);
        let is_on = match sort {
            0 => false,
            1 => alone == Some(family),
            // What excuses much is met less often.
            _ if matches!(family.cost().destroys, Destroys::Records) => draw.once_in(5),
            _ => draw.once_in(2),
        };
        if is_on {
            let is_full = sort == 1;
            add_chances(&mut plan, family, &mut draw, is_full);
            add_strokes(&mut plan, family, stream.named("strokes").of(family as u64), shape, is_full);
        }
    }
    // Two strokes of one moment keep the order in which they were drawn.
    plan.strokes.sort_by_key(|(at, _)| *at);
    plan
}

fn add_chances(plan: &mut FaultPlan, family: Family, draw: &mut Draw, is_full: bool) {
    for chance in Chance::ALL.iter().copied().filter(|chance| chance.family() == family) {
        let (least, most) = bounds(chance);
        let parts = if is_full { u64::from(most) } else { draw.log_uniform(least.into(), most.into()) };
        plan.chances.insert(chance, Rate::ppm(parts as u32));
    }
}

/// The least and the greatest rate, in parts of a million.
const fn bounds(chance: Chance) -> (u32, u32) {
    match chance {
        Chance::RequestLost | Chance::ReplyLost => (500, 100_000),
        Chance::Slow => (1_000, 200_000),
        Chance::Reset => (500, 50_000),
        Chance::CommitApplied | Chance::AppendApplied => (5_000, 200_000),
        Chance::StatementLost => (500, 50_000),
        Chance::CommitLost | Chance::CommitReplyLost => (5_000, 200_000),
        Chance::Serialisation | Chance::Deadlock => (5_000, 300_000),
        Chance::PoolSlow => (1_000, 100_000),
        Chance::HandlerSlow => (5_000, 300_000),
        Chance::HandlerHangs => (500, 20_000),
        Chance::HandlerFails => (5_000, 300_000),
        Chance::HandlerPanics => (1_000, 100_000),
    }
}

fn add_strokes(plan: &mut FaultPlan, family: Family, stream: Stream, shape: &Shape, is_full: bool) {
    if !STROKES.contains(&family) {
        return;
    }
    let most = match family {
        Family::Crashes | Family::Leaders | Family::Coordinators => 12,
        Family::Pauses | Family::Isolation | Family::Brokers | Family::Evictions | Family::Clocks => 6,
        _ => 3,
    };
    let count = if is_full { most } else { stream.named("count").nth(0).log_uniform(1, most) };
    for nth in 0..count {
        let mut draw = stream.nth(nth);
        let at = moment(&mut draw, plan.weather, shape.active);
        let drawn = stroke(family, &mut draw, shape);
        plan.strokes.push((at.min(latest(drawn, nth)), drawn));
    }
}

/// Not after this: a first deploy may be before everything, so that handlers join that never were there.
const fn latest(stroke: Stroke, nth: u64) -> Time {
    match stroke {
        Stroke::Deploy { every, .. } if nth == 0 && every.is_zero() => Time::ZERO,
        _ => Time::MAX,
    }
}

/// A time before the quiet phase; in a storm, if there are any.
fn moment(draw: &mut Draw, weather: Weather, active: Duration) -> Time {
    let active = active.as_millis() as u64;
    let at = match weather {
        Weather::Drizzle => draw.below(active),
        Weather::Storms { lasting, every } => {
            let storms = (active / every.as_millis().max(1) as u64).max(1);
            draw.below(storms) * every.as_millis() as u64 + draw.below(lasting.as_millis() as u64)
        }
    };
    Time::from_millis(at.min(active.saturating_sub(1)))
}

fn stroke(family: Family, draw: &mut Draw, shape: &Shape) -> Stroke {
    let process = draw.below(shape.processes.into()) as u16;
    let broker = draw.below(shape.brokers.into()) as u16;
    let group = draw.below(shape.groups.into()) as u16;
    let partition = draw.below(shape.partitions.into()) as u16;
    let lasting = Duration::from_millis(draw.log_uniform(100, 30_000));
    match family {
        Family::Pauses => {
            // Around the session timeout, where a zombie is made.
            let percent = *draw.pick(&[10, 50, 99, 101, 150, 300]);
            let lasting = shape.session_timeout * percent / 100;
            // The adversary aims at whoever has something to lose.
            if draw.once_in(2) {
                Stroke::PauseOwner { partition, lasting }
            } else {
                Stroke::Pause { process, lasting }
            }
        }
        Family::Stops => Stroke::Stop { process, down: lasting / 10 },
        Family::Clocks => {
            let by = draw.log_uniform(1_000, 3_600_000_000) as i64;
            let is_ahead = draw.once_in(2);
            match draw.below(4) {
                0 => {
                    let ppm = draw.log_uniform(10, 20_000) as i32;
                    Stroke::DriftClock { process, ppm: if is_ahead { ppm } else { -ppm } }
                }
                1 => Stroke::FreezeClock { process, lasting },
                _ => Stroke::JumpClock { process, by_micros: if is_ahead { by } else { -by } },
            }
        }
        Family::Isolation => match draw.below(3) {
            0 => Stroke::IsolateBroker { broker, lasting },
            1 => Stroke::IsolateProcess { process, lasting },
            _ => Stroke::Cut { process, broker, lasting },
        },
        Family::Brokers => Stroke::KillBroker { broker, down: lasting },
        Family::Replication => Stroke::StallReplica { partition, broker, lasting },
        Family::Leaders => Stroke::MoveLeader { partition, to: broker },
        Family::UncleanElections => {
            Stroke::ElectUnclean { partition, to: broker, behind: REPLICA_LAG + lasting / 4 }
        }
        Family::Recreations => Stroke::Recreate { partition, gone: lasting / 10 },
        Family::Retention => Stroke::Trim { partition, keep: draw.below(8) as u16 },
        Family::Coordinators => Stroke::MoveCoordinator { group, to: broker },
        Family::Evictions => Stroke::Evict { group, member: process },
        Family::DatabaseRestarts => Stroke::RestartDatabase { down: lasting },
        Family::Pool => Stroke::EmptyPool { lasting },
        Family::Deploys => {
            let handlers = (draw.bits() | draw.bits()) as u16;
            let every = if draw.once_in(2) { Duration::ZERO } else { lasting / 4 };
            Stroke::Deploy { group, handlers, every }
        }
        Family::Metadata => {
            Stroke::StaleMetadata { broker, lasting: Duration::from_millis(draw.log_uniform(100, 60_000)) }
        }
        Family::Growth => Stroke::Grow { partition, by: draw.between(1, 2) as u16 },
        Family::Positions => match draw.below(3) {
            0 => Stroke::ForgetPosition { group, partition },
            1 => Stroke::SetBack { group, partition, by: draw.log_uniform(1, 50) as u16 },
            _ => Stroke::SpoilMetadata { group, partition, how: draw.below(60) as u16 },
        },
        _ if draw.once_in(2) => Stroke::CrashOwner { partition, down: lasting / 2 },
        _ => Stroke::Crash { process, down: lasting / 2 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plans() -> impl Iterator<Item = FaultPlan> {
        (0..2_000).map(|seed| draw(Seed(seed), &Shape::default()))
    }

    #[test]
    fn a_seed_in_eight_is_calm_and_a_seed_in_eight_has_a_single_family() {
        let families = |plan: &FaultPlan| {
            let chances = plan.chances.keys().map(|chance| chance.family());
            let strokes = plan.strokes.iter().map(|(_, stroke)| stroke.family());
            chances.chain(strokes).collect::<std::collections::BTreeSet<_>>().len()
        };
        let counts: Vec<_> = plans().map(|plan| families(&plan)).collect();
        let of = |wanted: usize| counts.iter().filter(|count| **count == wanted).count();
        assert!((200..300).contains(&of(0)), "{}", of(0));
        assert!((200..300).contains(&of(1)), "{}", of(1));
        assert_eq!(plans().filter(FaultPlan::is_calm).count(), of(0));
    }

    #[test]
    fn every_fault_is_drawn_and_strikes_before_the_quiet_phase() {
        let mut chances = std::collections::BTreeSet::new();
        let mut families = std::collections::BTreeSet::new();
        for plan in plans() {
            chances.extend(plan.chances.keys().copied());
            families.extend(plan.strokes.iter().map(|(_, stroke)| stroke.family()));
            assert!(plan.strokes.iter().all(|(at, _)| *at < plan.quiet_at));
            assert!(plan.strokes.is_sorted_by_key(|(at, _)| *at));
        }
        assert_eq!(chances.len(), Chance::ALL.len());
        assert!(families.iter().eq(STROKES.iter().collect::<std::collections::BTreeSet<_>>()));
    }

    #[test]
    fn taking_a_family_out_leaves_the_others_in_place() {
        let without = Shape {
            families: Family::ALL.iter().copied().filter(|family| *family != Family::Crashes).collect(),
            ..Shape::default()
        };
        let not_a_crash = |(_, stroke): &(Time, Stroke)| stroke.family() != Family::Crashes;
        // A single family is picked from what there is, so those seeds are others.
        let many = plans().filter(|plan| plan.chances.len() > 2);
        for whole in many.take(200) {
            let part = draw(whole.seed, &without);
            if part.chances.len() > 2 {
                assert!(part.strokes.iter().eq(whole.strokes.iter().filter(|at| not_a_crash(at))));
                assert_eq!(part.chances, whole.chances);
            }
        }
    }
}
