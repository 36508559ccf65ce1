//! The plan of a run's faults: data that prints, parses, and is kept when a bug was found.
//!
//! ```text
//! # A comment.
//! seed 8231
//! quiet at 60s
//! storms of 2s every 20s
//! chance reply-lost 12000ppm
//! at 12.408s kill-broker 1 down 3.2s
//! spare reply-lost of 3 nth 17
//! strike reset of 3 nth 2
//! ```
//!
//! A chance is put to the dice each time that it could strike; the decision is a hash of seed, chance, entity and
//! occurrence. A stroke happens at a time. `spare` takes out one decision of a chance and leaves all others: that is how
//! a plan is made smaller. `strike` decides one for certain, whether or not the chance strikes otherwise. From `quiet at` on no chance strikes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use evenkeel_core::model::Time;

use super::seed::{Rate, Seed};
use super::span::Span;

/// What is put to the dice each time that it could strike.
pub trait Chance: Copy + Ord + fmt::Debug + 'static {
    /// All of them.
    const ALL: &'static [Self];

    /// Its name in plans.
    fn name(self) -> &'static str;

    /// What has this name.
    #[must_use]
    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.name() == name)
    }
}

/// What happens at a time. It prints as plans write it.
pub trait Stroke: Copy + fmt::Debug + fmt::Display + 'static {
    /// When faults are over if a plan does not say.
    const QUIET_AT: Time;

    /// How each is written, for those who wrote it otherwise; empty if that would be too long to tell.
    const WRITTEN: &'static str;

    /// What these words mean.
    ///
    /// # Errors
    /// Why they mean nothing; `None` if no stroke is written like that.
    fn read(words: &[&str]) -> Result<Self, Option<&'static str>>;
}

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
pub struct Occasion<C> {
    /// What might have struck.
    pub chance: C,
    /// Whom.
    pub entity: u64,
    /// Which time, counted from zero.
    pub nth: u64,
}

/// See the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan<C, S> {
    /// What decides whether a chance strikes.
    pub seed: Seed,
    /// When faults are over.
    pub quiet_at: Time,
    /// When chances are likelier.
    pub weather: Weather,
    /// How likely each chance is; none of the others strikes.
    pub chances: BTreeMap<C, Rate>,
    /// What happens when, in order.
    pub strokes: Vec<(Time, S)>,
    /// Decisions that are taken out.
    pub spared: BTreeSet<Occasion<C>>,
    /// Decisions that are certain, whatever else is decided of their chances.
    pub certain: BTreeSet<Occasion<C>>,
}

impl<C, S> Plan<C, S> {
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
            certain: BTreeSet::new(),
        }
    }

    /// Whether nothing goes wrong in it.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        self.chances.is_empty() && self.strokes.is_empty() && self.certain.is_empty()
    }
}

impl<C: Chance, S> Plan<C, S> {
    /// How likely a chance is at a time.
    #[must_use]
    pub fn rate(&self, now: Time, chance: C) -> Rate {
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
    why: String,
}

impl PlanError {
    /// A line of a plan, counted from one, that is not understood, and what would be.
    #[must_use]
    pub fn of_line(line: usize, text: &str, why: String) -> Self {
        Self { line, text: text.to_owned(), why }
    }
}

const fn since_start(at: Time) -> Span {
    Span(at.since(Time::ZERO))
}

impl<C: Chance, S: fmt::Display> fmt::Display for Plan<C, S> {
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
        for Occasion { chance, entity, nth } in &self.certain {
            writeln!(f, "strike {} of {entity} nth {nth}", chance.name())?;
        }
        Ok(())
    }
}

impl<C: Chance, S: Stroke> FromStr for Plan<C, S> {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let mut plan = Self { quiet_at: S::QUIET_AT, ..Self::none(Seed(0)) };
        let mut seeds = 0;
        let mut struck: Vec<(Time, usize, &str)> = Vec::new();
        for (nth, line) in text.lines().enumerate() {
            let said = line.split_once('#').map_or(line, |(said, _)| said);
            let words: Vec<_> = said.split_whitespace().collect();
            let error = |why| PlanError::of_line(nth + 1, line, why);
            let strokes = plan.strokes.len();
            plan.take(&words).map_err(error)?;
            seeds += usize::from(words.first() == Some(&"seed"));
            if seeds > 1 {
                return Err(error("a plan has one seed".to_owned()));
            }
            match *words {
                ["at", ..] => {
                    struck.extend(plan.strokes[strokes..].iter().map(|(at, _)| (*at, nth + 1, line)))
                }
                ["chance" | "strike", ..] => struck.push((Time::ZERO, nth + 1, line)),
                _ => {}
            }
        }
        if let Some((_, nth, line)) = struck.iter().find(|(at, ..)| *at >= plan.quiet_at) {
            let quiet = since_start(plan.quiet_at);
            let why = format!(
                "this would do nothing, for all is quiet from {quiet} on: `quiet at TIME` says until when there are faults"
            );
            return Err(PlanError::of_line(*nth, line, why));
        }
        // Two strokes of one moment keep the order in which they were written.
        plan.strokes.sort_by_key(|(at, _)| *at);
        Ok(plan)
    }
}

impl<C: Chance, S: Stroke> Plan<C, S> {
    fn take(&mut self, words: &[&str]) -> Result<(), String> {
        match *words {
            [] => {}
            ["seed", seed] => self.seed = Seed(number(seed)?),
            ["quiet", "at", at] => self.quiet_at = Time::ZERO + span(at)?,
            ["storms", "of", lasting, "every", every] => {
                self.weather = Weather::Storms { lasting: span(lasting)?, every: span(every)? };
            }
            ["chance", name, rate] => {
                self.chances.insert(chance(name)?, rate.parse()?);
            }
            ["at", at, ref rest @ ..] => self.strokes.push((Time::ZERO + span(at)?, stroke(rest)?)),
            ["spare", name, "of", entity, "nth", nth] => {
                self.spared.insert(occasion(name, entity, nth)?);
            }
            ["strike", name, "of", entity, "nth", nth] => {
                self.certain.insert(occasion(name, entity, nth)?);
            }
            _ => {
                return Err("a line is one of `seed N`, `quiet at TIME`, `storms of TIME every TIME`, `chance NAME RATE`, \
                            `at TIME FAULT`, `spare NAME of N nth N`, `strike NAME of N nth N`"
                    .to_owned());
            }
        }
        Ok(())
    }
}

fn occasion<C: Chance>(name: &str, entity: &str, nth: &str) -> Result<Occasion<C>, String> {
    Ok(Occasion { chance: chance(name)?, entity: number(entity)?, nth: number(nth)? })
}

fn chance<C: Chance>(name: &str) -> Result<C, String> {
    C::named(name).ok_or_else(|| {
        let known: Vec<_> = C::ALL.iter().map(|chance| chance.name()).collect();
        format!("there is no chance of this name; there are {}", known.join(", "))
    })
}

fn stroke<S: Stroke>(words: &[&str]) -> Result<S, String> {
    S::read(words).map_err(|why| match why {
        Some(why) => why.to_owned(),
        None => format!("there is no such fault, or its words are others; there are {}", S::WRITTEN),
    })
}

/// A length of time among a plan's words.
///
/// # Errors
/// How it is to be written.
pub fn span(text: &str) -> Result<Duration, &'static str> {
    text.parse().map(|Span(span)| span)
}

/// A number among a plan's words.
///
/// # Errors
/// That it is none.
pub fn number<T: FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "a number is missing, negative or too large")
}
