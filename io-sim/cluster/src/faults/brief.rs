//! A plan in brief: the seed that it is drawn from, and how long its faults go on.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::seed::Seed;
use super::span::Span;

/// `seed=7`, or `seed=7,for=10s`. A minute unless told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brief {
    /// What the plan is drawn from.
    pub seed: Seed,
    /// How long faults go on; then all is quiet.
    pub lasting: Duration,
}

/// Why a text is no plan in brief.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no plan in brief: write seed=7, or seed=7,for=120s")]
pub struct BriefError(String);

impl Brief {
    /// Whether a text is meant to be one, and not the name of a file.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.starts_with("seed=")
    }
}

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed={},for={}", self.seed, Span(self.lasting))
    }
}

impl FromStr for Brief {
    type Err = BriefError;

    fn from_str(text: &str) -> Result<Self, BriefError> {
        let read = || {
            let (seed, lasting) = text.split_once(",for=").unwrap_or((text, "60s"));
            let seed = Seed(seed.strip_prefix("seed=")?.parse().ok()?);
            let Span(lasting) = lasting.parse().ok()?;
            Some(Self { seed, lasting })
        };
        read().ok_or_else(|| BriefError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_alone_lasts_a_minute() {
        let minute: Brief = "seed=7".parse().expect("it is one");
        assert_eq!(minute.to_string(), "seed=7,for=60s");
        assert_eq!("seed=7,for=60s".parse(), Ok(minute));
        for bad in ["seed=", "seed=x", "seed=7,for=", "seed=7,for=9", "seed=7 for=9s", "plan.txt"] {
            let told = bad.parse::<Brief>().expect_err(bad).to_string();
            assert!(told.contains("write seed=7"), "{told}");
        }
    }
}
