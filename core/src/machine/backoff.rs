//! Waits that grow: exponential backoff with jitter.
//!
//! The wait before retry `n` (counted from zero) is `first · 2ⁿ`, capped at `longest`, then moved by up to
//! `jitter_percent` in either direction so that instances which failed together do not return together.

use std::time::Duration;

use super::Entropy;

/// The shape of a growing wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait before the first retry.
    pub first: Duration,
    /// No wait is longer, jitter aside.
    pub longest: Duration,
    /// The most by which a wait is moved, in percent of itself, 0 to 100.
    pub jitter_percent: u32,
}

impl Backoff {
    /// For a handler's retries: 1 s to 30 s, 5 % jitter.
    pub const HANDLER: Self =
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(30), jitter_percent: 5 };

    /// For requests to servers: 50 ms to 5 s, 20 % jitter.
    pub const REQUEST: Self =
        Self { first: Duration::from_millis(50), longest: Duration::from_secs(5), jitter_percent: 20 };

    /// The wait before retry number `retry`, counted from zero.
    #[must_use]
    pub fn wait(&self, retry: u32, entropy: &mut Entropy) -> Duration {
        let grown = self.first.saturating_mul(1u32.checked_shl(retry).unwrap_or(u32::MAX)).min(self.longest);
        let span = u64::try_from(grown.as_nanos()).unwrap_or(u64::MAX) / 100
            * u64::from(self.jitter_percent.min(100));
        let moved =
            u64::try_from((u128::from(entropy.next_u64()) * u128::from(span.saturating_mul(2))) >> 64)
                .unwrap_or(u64::MAX);
        (grown + Duration::from_nanos(moved)).saturating_sub(Duration::from_nanos(span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn doubles_up_to_the_cap() {
        let plain = Backoff { jitter_percent: 0, ..Backoff::HANDLER };
        let mut entropy = Entropy::new(1);
        let waits: Vec<u64> =
            [0, 1, 2, 3, 4, 5, 31, 32, u32::MAX].map(|n| plain.wait(n, &mut entropy).as_secs()).to_vec();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30, 30]);
    }

    proptest! {
        #[test]
        fn jitter_stays_within_its_percentage(seed: u64, retry in 0u32..40, percent in 0u32..=100) {
            let shape = Backoff { jitter_percent: percent, ..Backoff::HANDLER };
            let centre = Backoff { jitter_percent: 0, ..shape }.wait(retry, &mut Entropy::new(0)).as_nanos();
            let waited = shape.wait(retry, &mut Entropy::new(seed)).as_nanos();
            let span = centre * u128::from(percent) / 100;
            prop_assert!(waited + span >= centre && waited <= centre + span);
        }
    }
}
