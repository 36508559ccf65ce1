//! What is known of a topic's size limit, and when to ask for it.
//!
//! Nobody asks before it matters: most events are far below any sensible limit. The first event above
//! `unasked_bytes`, or the first batch that a broker finds too large, makes the machine ask once. An event that is too
//! big by an answer of long ago makes it ask again, since limits are raised.

use std::time::Duration;

use super::ProduceConfig;
use super::timers::Alarm;
use crate::model::Time;

/// What the cluster told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knowledge {
    /// Nothing, for nobody asked.
    Unasked,
    /// The limit.
    Known { bytes: u32, since: Time },
    /// That it does not tell, for instance for want of permission.
    Untold { since: Time },
}

/// Whether the limit is being asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asking {
    /// It is not.
    No,
    /// A request is out.
    Out,
    /// The last request failed; the next is sent by and by.
    Paused { until: Time },
}

/// A topic's size limit.
#[derive(Debug, Clone)]
pub(super) struct SizeLimit {
    knowledge: Knowledge,
    asking: Asking,
    retries: u32,
    pub(super) alarm: Alarm,
}

/// What to do with a record of some size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// Send it.
    Fits,
    /// Ask for the limit first.
    Ask,
    /// Refuse it.
    TooBig,
}

/// The sizes that a batch is formed by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    knowledge: Knowledge,
    stale: bool,
    unasked: usize,
    batch: usize,
}

impl SizeLimit {
    pub(super) fn unasked() -> Self {
        Self { knowledge: Knowledge::Unasked, asking: Asking::No, retries: 0, alarm: Alarm::default() }
    }

    /// The limit wanted: whether a request must be sent for it now.
    pub(super) fn ask(&mut self) -> bool {
        let idle = self.asking == Asking::No;
        if idle {
            self.asking = Asking::Out;
        }
        idle
    }

    /// The pause after a failed request may be over: whether a request must be sent now. Nobody asks in vain.
    pub(super) fn wake(&mut self, now: Time, wanted: bool) -> bool {
        let over = matches!(self.asking, Asking::Paused { until } if until <= now);
        if over {
            self.asking = if wanted { Asking::Out } else { Asking::No };
        }
        over && wanted
    }

    /// The cluster told the limit.
    pub(super) fn told(&mut self, bytes: u32, now: Time) {
        *self = Self {
            knowledge: Knowledge::Known { bytes, since: now },
            asking: Asking::No,
            retries: 0,
            alarm: std::mem::take(&mut self.alarm),
        };
    }

    /// The cluster will not tell the limit.
    pub(super) fn untold(&mut self, now: Time) {
        self.knowledge = Knowledge::Untold { since: now };
        self.asking = Asking::No;
    }

    /// The request failed; another follows after a pause, by the number of failures before.
    pub(super) fn failed(&mut self, now: Time, wait: impl FnOnce(u32) -> Duration) -> Time {
        let until = now + wait(self.retries);
        self.retries = self.retries.saturating_add(1);
        self.asking = Asking::Paused { until };
        until
    }

    /// The limit, if the cluster told one.
    pub(super) fn bytes(&self) -> Option<u32> {
        match self.knowledge {
            Knowledge::Known { bytes, .. } => Some(bytes),
            Knowledge::Unasked | Knowledge::Untold { .. } => None,
        }
    }

    /// The sizes to form batches by.
    pub(super) fn sizes(&self, now: Time, config: &ProduceConfig) -> Sizes {
        let known = match self.knowledge {
            Knowledge::Known { bytes, .. } => usize::try_from(bytes).unwrap_or(usize::MAX),
            Knowledge::Unasked | Knowledge::Untold { .. } => config.unasked_bytes,
        };
        let stale = match self.knowledge {
            Knowledge::Unasked => true,
            Knowledge::Known { since, .. } | Knowledge::Untold { since } => {
                now.since(since) > config.metadata_age
            }
        };
        Sizes {
            knowledge: self.knowledge,
            stale,
            unasked: config.unasked_bytes,
            batch: config.batch_bytes.min(known),
        }
    }
}

impl Sizes {
    /// The most bytes of a batch of several records.
    pub(super) const fn batch(&self) -> usize {
        self.batch
    }

    /// What to do with a record that makes a batch of `alone` bytes by itself.
    pub(super) fn judge(&self, alone: usize) -> Fit {
        let fits = match self.knowledge {
            Knowledge::Known { bytes, .. } => {
                u64::try_from(alone).is_ok_and(|alone| alone <= u64::from(bytes))
            }
            Knowledge::Unasked | Knowledge::Untold { .. } => alone <= self.unasked,
        };
        match self.knowledge {
            _ if fits => Fit::Fits,
            _ if self.stale => Fit::Ask,
            Knowledge::Known { .. } => Fit::TooBig,
            // The broker has the last word.
            Knowledge::Unasked | Knowledge::Untold { .. } => Fit::Fits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_judged_by_what_is_known_and_since_when() {
        let config = ProduceConfig::default();
        let soon = Time::from_millis(1_000);
        let late = soon + config.metadata_age + Duration::from_nanos(1);
        let told = |bytes| {
            let mut limit = SizeLimit::unasked();
            limit.told(bytes, soon);
            limit
        };
        let untold = || {
            let mut limit = SizeLimit::unasked();
            limit.untold(soon);
            limit
        };
        let table = [
            (SizeLimit::unasked(), soon, 1_000_000, Fit::Fits),
            (SizeLimit::unasked(), soon, 1_000_001, Fit::Ask),
            (told(5_000), soon, 5_000, Fit::Fits),
            (told(5_000), soon, 5_001, Fit::TooBig),
            (told(5_000), late, 5_000, Fit::Fits),
            (told(5_000), late, 5_001, Fit::Ask),
            (told(9_000_000), soon, 9_000_000, Fit::Fits),
            (untold(), soon, 9_000_000, Fit::Fits),
            (untold(), late, 1_000_000, Fit::Fits),
            (untold(), late, 1_000_001, Fit::Ask),
        ];
        for (limit, now, size, fit) in table {
            assert_eq!(limit.sizes(now, &config).judge(size), fit, "{limit:?} at {now}, {size} bytes");
        }
        assert_eq!(SizeLimit::unasked().sizes(soon, &config).batch(), 900_000);
        assert_eq!(told(5_000).sizes(soon, &config).batch(), 5_000);
    }

    #[test]
    fn the_limit_is_asked_for_once_at_a_time() {
        let mut limit = SizeLimit::unasked();
        assert!(limit.ask());
        assert!(!limit.ask());
        let until = limit.failed(Time::ZERO, |_| Duration::from_millis(50));
        assert!(!limit.ask() && !limit.wake(Time::ZERO, true));
        assert!(limit.wake(until, true));
        limit.failed(until, |retries| Duration::from_millis(u64::from(retries)));
        assert!(!limit.wake(Time::MAX, false), "nobody waits for it any more");
        assert!(limit.ask());
        limit.told(7, until);
        assert_eq!((limit.bytes(), limit.ask()), (Some(7), true));
    }
}
