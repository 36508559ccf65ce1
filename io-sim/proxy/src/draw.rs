//! Draws a plan for a database from a seed: lost COMMITs always, the rest by the toss of a coin.

use std::time::Duration;

use evenkeel_cluster::faults::{Brief, Plan, Rate};
use evenkeel_core::model::Time;

use super::words::{DatabaseChance as Chance, DatabasePlan, DatabaseStroke};

/// Each with its least and its greatest rate, in parts of a million, and whether it is always on.
const CHANCES: &[(Chance, u64, u64, bool)] = &[
    (Chance::Refused, 5_000, 200_000, false),
    (Chance::StatementLost, 500, 30_000, false),
    (Chance::Slow, 500, 10_000, false),
    (Chance::Silence, 100, 3_000, false),
    (Chance::ReplyTorn, 500, 20_000, false),
    (Chance::CommitLost, 5_000, 100_000, true),
    (Chance::CommitReplyLost, 5_000, 100_000, true),
];

/// The plan of a seed.
#[must_use]
pub fn draw(brief: Brief) -> DatabasePlan {
    let stream = brief.seed.stream("database");
    let mut plan = Plan { quiet_at: Time::ZERO + brief.lasting, ..Plan::none(brief.seed) };
    for (nth, (chance, least, most, is_always_on)) in (0..).zip(CHANCES) {
        let mut draw = stream.named("chances").nth(nth);
        let is_on = draw.once_in(2) || *is_always_on;
        let rate = Rate::ppm(draw.log_uniform(*least, *most) as u32);
        if is_on {
            plan.chances.insert(*chance, rate);
        }
    }
    let minutes = brief.lasting.as_secs().div_ceil(60);
    for nth in 0..stream.named("count").nth(0).below(4) * minutes {
        let mut draw = stream.named("strokes").nth(nth);
        let at = Time::from_millis(draw.below(brief.lasting.as_millis() as u64));
        let lasting = Duration::from_millis(draw.log_uniform(100, 5_000));
        let stroke = if draw.once_in(2) {
            DatabaseStroke::RestartDatabase { down: lasting }
        } else {
            DatabaseStroke::IsolateDatabase { lasting }
        };
        plan.strokes.push((at, stroke));
    }
    plan.strokes.sort_by_key(|(at, _)| *at);
    plan
}
