//! Draws a plan for brokers from a seed.
//!
//! As in the simulated world families are turned on and off as a whole, and rates are drawn log-uniformly. But time is
//! real here and a lost reply costs seconds, so rates are lower, and no plan is calm.

use std::time::Duration;

use evenkeel_core::model::Time;

use super::words::{BrokerChance as Chance, BrokerPlan, BrokerStroke};
use crate::faults::{Brief, Draw, Plan, Rate, Weather};

/// Faults that are turned on and off together.
struct Family {
    name: &'static str,
    /// Each with its least and its greatest rate, in parts of a million.
    chances: &'static [(Chance, u32, u32)],
    stroke: Option<fn(&mut Draw, brokers: u16) -> BrokerStroke>,
}

const FAMILIES: &[Family] = &[
    Family {
        name: "loss",
        chances: &[(Chance::RequestLost, 100, 5_000), (Chance::ReplyLost, 100, 5_000)],
        stroke: None,
    },
    Family { name: "delay", chances: &[(Chance::Slow, 500, 20_000)], stroke: None },
    Family {
        name: "resets",
        chances: &[
            (Chance::Reset, 500, 30_000),
            (Chance::ReplyTorn, 500, 30_000),
            (Chance::Refused, 5_000, 300_000),
        ],
        stroke: None,
    },
    Family {
        name: "produce",
        chances: &[(Chance::AppendApplied, 500, 20_000), (Chance::AppendTimedOut, 1_000, 100_000)],
        stroke: None,
    },
    Family { name: "commits", chances: &[(Chance::CommitApplied, 5_000, 200_000)], stroke: None },
    Family {
        name: "leaders",
        chances: &[(Chance::NotLeader, 1_000, 100_000)],
        stroke: Some(|draw, brokers| BrokerStroke::MoveLeader {
            partition: draw.below(64) as u16,
            to: broker(draw, brokers),
        }),
    },
    Family {
        name: "coordinators",
        chances: &[
            (Chance::Loading, 5_000, 200_000),
            (Chance::NotCoordinator, 5_000, 100_000),
            (Chance::NoCoordinator, 5_000, 300_000),
        ],
        stroke: Some(|draw, brokers| BrokerStroke::MoveCoordinator {
            group: draw.below(8) as u16,
            to: broker(draw, brokers),
        }),
    },
    Family {
        name: "groups",
        chances: &[(Chance::Rebalancing, 5_000, 100_000)],
        stroke: Some(|draw, _| BrokerStroke::Evict {
            group: draw.below(8) as u16,
            member: draw.below(8) as u16,
        }),
    },
    Family {
        name: "brokers",
        chances: &[],
        stroke: Some(|draw, brokers| BrokerStroke::KillBroker {
            broker: broker(draw, brokers),
            down: span(draw, 5_000),
        }),
    },
    Family {
        name: "isolation",
        chances: &[],
        stroke: Some(|draw, brokers| BrokerStroke::IsolateBroker {
            broker: broker(draw, brokers),
            lasting: span(draw, 10_000),
        }),
    },
    Family {
        name: "replication",
        chances: &[],
        stroke: Some(|draw, brokers| BrokerStroke::StallReplica {
            partition: draw.below(64) as u16,
            broker: broker(draw, brokers),
            lasting: span(draw, 10_000),
        }),
    },
];

fn broker(draw: &mut Draw, brokers: u16) -> u16 {
    draw.between(1, brokers.max(1).into()) as u16
}

fn span(draw: &mut Draw, most_millis: u64) -> Duration {
    Duration::from_millis(draw.log_uniform(100, most_millis))
}

/// The plan of a seed, for so many brokers.
#[must_use]
pub fn draw(brief: Brief, brokers: u16) -> BrokerPlan {
    let stream = brief.seed.stream("served");
    let mut plan = Plan { quiet_at: Time::ZERO + brief.lasting, ..Plan::none(brief.seed) };
    let mut style = stream.named("style").nth(0);
    let always = style.below(FAMILIES.len() as u64) as usize;
    if style.once_in(2) {
        plan.weather = Weather::Storms { lasting: span(&mut style, 4_000), every: Duration::from_secs(10) };
    }
    for (nth, family) in FAMILIES.iter().enumerate() {
        let of_family = stream.named(family.name);
        let mut draw = of_family.nth(0);
        if nth != always && draw.once_in(2) {
            continue;
        }
        for (chance, least, most) in family.chances {
            let parts = draw.log_uniform((*least).into(), (*most).into());
            plan.chances.insert(*chance, Rate::ppm(parts as u32));
        }
        if let Some(stroke) = family.stroke {
            // Two to eight a minute.
            let minutes = brief.lasting.as_secs().div_ceil(60);
            for nth in 0..draw.between(2, 8) * minutes {
                let mut draw = of_family.named("strokes").nth(nth);
                let at = Time::from_millis(draw.below(brief.lasting.as_millis() as u64));
                plan.strokes.push((at, stroke(&mut draw, brokers)));
            }
        }
    }
    plan.strokes.sort_by_key(|(at, _)| *at);
    plan
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::faults::plan::Chance as _;

    #[test]
    fn each_plan_does_something_and_all_faults_are_drawn() {
        let (mut chances, mut strokes) = (BTreeSet::new(), BTreeSet::new());
        for seed in 0..300 {
            let brief: Brief = format!("seed={seed},for=30s").parse().expect("it is one");
            let plan = draw(brief, 3);
            assert!(!plan.is_calm(), "{seed}");
            assert!(plan.strokes.is_sorted_by_key(|(at, _)| *at));
            assert!(plan.strokes.iter().all(|(at, _)| *at < plan.quiet_at));
            chances.extend(plan.chances.keys().copied());
            strokes.extend(plan.strokes.iter().map(|(_, stroke)| stroke.name()));
        }
        assert_eq!(chances.len(), Chance::ALL.len());
        assert_eq!(strokes.len(), 6);
    }
}
