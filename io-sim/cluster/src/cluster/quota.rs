//! Quotas: a client over its rate is told how long to pause.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_core::model::Time;

use crate::message::Text;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Flow {
    Produced,
    Fetched,
}

/// Until when each client's past bytes would have taken at its rate.
#[derive(Debug, Clone, Default)]
pub(super) struct Quotas(BTreeMap<(Flow, Text), Time>);

/// So much may be ahead of the rate before there is a pause.
const BURST: Duration = Duration::from_secs(1);
/// No pause is longer.
const LONGEST: Duration = Duration::from_secs(30);

impl Quotas {
    /// Counts bytes, and tells how long the client is to pause.
    pub(super) fn charge(
        &mut self,
        now: Time,
        flow: Flow,
        client: &Text,
        bytes: usize,
        rate: Option<u64>,
    ) -> Duration {
        let Some(rate) = rate else { return Duration::ZERO };
        let paid_until = self.0.entry((flow, client.clone())).or_insert(now);
        let cost = bytes as u128 * 1_000_000_000 / u128::from(rate.max(1));
        let cost = Duration::from_nanos(u64::try_from(cost).unwrap_or(u64::MAX));
        *paid_until = (*paid_until).max(now) + cost;
        (*paid_until - now).saturating_sub(BURST).min(LONGEST)
    }

    /// Forgets clients that are within their rate.
    pub(super) fn tidy(&mut self, now: Time) {
        self.0.retain(|_, paid_until| *paid_until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stays_within_the_rate_never_pauses_and_who_does_not_pauses_as_long_as_it_takes() {
        let mut quotas = Quotas::default();
        let client: Text = "c".into();
        let mut charge = |millis, bytes| {
            quotas.charge(Time::from_millis(millis), Flow::Produced, &client, bytes, Some(1_000)).as_millis()
        };
        for second in 0..10 {
            assert_eq!(charge(second * 1_000, 1_000), 0);
        }
        assert_eq!(charge(10_000, 3_000), 2_000);
        assert_eq!(charge(12_000, 1_000), 1_000);
        assert_eq!(charge(20_000, 500), 0);
    }
}
