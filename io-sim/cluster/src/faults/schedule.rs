//! When the strokes of a plan begin and end.

use std::collections::VecDeque;
use std::time::Duration;

use evenkeel_core::model::Time;

use super::plan::Plan;

/// A stroke begins, or what it did heals. The number is its place in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment<S> {
    /// It begins.
    Begins(usize, S),
    /// It ends.
    Ends(usize, S),
}

/// All moments of a plan that are still to come.
#[derive(Debug, Clone)]
pub struct Schedule<S>(VecDeque<(Time, Moment<S>)>);

impl<S: Copy> Schedule<S> {
    /// Strokes strike before the quiet phase, and what lasts longer ends as it begins.
    #[must_use]
    pub fn new<C>(plan: &Plan<C, S>, lasting: impl Fn(S) -> Option<Duration>) -> Self {
        let mut moments = Vec::new();
        let strokes = plan.strokes.iter().enumerate().filter(|(_, (at, _))| *at < plan.quiet_at);
        for (nth, (at, stroke)) in strokes {
            moments.push((*at, Moment::Begins(nth, *stroke)));
            if let Some(lasting) = lasting(*stroke) {
                moments.push(((*at + lasting).min(plan.quiet_at), Moment::Ends(nth, *stroke)));
            }
        }
        moments.sort_by_key(|(at, _)| *at);
        Self(moments.into())
    }

    /// When the next is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.0.front().map(|(at, _)| *at)
    }

    /// The next that is due.
    pub fn next(&mut self, now: Time) -> Option<Moment<S>> {
        self.0.pop_front_if(|(at, _)| *at <= now).map(|(_, moment)| moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{Seed, Weather};

    #[test]
    fn what_lasts_into_the_quiet_phase_ends_as_it_begins() {
        let at = Time::from_millis;
        let plan: Plan<u8, u64> = Plan {
            quiet_at: at(100),
            weather: Weather::Drizzle,
            strokes: vec![(at(10), 500), (at(20), 30), (at(30), 0), (at(100), 1)],
            ..Plan::none(Seed(0))
        };
        let mut schedule = Schedule::new(&plan, |millis| (millis > 0).then(|| Duration::from_millis(millis)));
        let mut told = Vec::new();
        while let Some(due) = schedule.deadline() {
            assert_eq!(schedule.next(Time::from_nanos(due.as_nanos() - 1)), None);
            while let Some(moment) = schedule.next(due) {
                told.push((due, moment));
            }
        }
        assert_eq!(
            told,
            [
                (at(10), Moment::Begins(0, 500)),
                (at(20), Moment::Begins(1, 30)),
                (at(30), Moment::Begins(2, 0)),
                (at(50), Moment::Ends(1, 30)),
                (at(100), Moment::Ends(0, 500)),
            ]
        );
    }
}
