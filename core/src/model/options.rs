//! The settings that a service may change, each with its unit, its default and what it must not be.
//!
//! They are plain data: nothing is checked before they are handed to a bus, which refuses what cannot work with a
//! [`SettingError`] that says what would.

use std::time::Duration;

use crate::error::SettingError;

/// What goes over the wire counts milliseconds, and bytes of one request, in 31 bits.
const MOST: u64 = i32::MAX as u64;

/// How long a drain waits for its last commit after its calls have ended.
pub(crate) const LAST_COMMIT: Duration = Duration::from_secs(5);

/// How the members of one consumer group behave in this process.
///
/// ```
/// use std::time::Duration;
/// use evenkeel_core::model::GroupSettings;
///
/// let patient = GroupSettings::default()
///     .session_timeout(Duration::from_secs(30))
///     .heartbeat_interval(Duration::from_secs(10))
///     .concurrency(50);
/// assert!(patient.check().is_ok());
///
/// let error = GroupSettings::default().heartbeat_interval(Duration::from_secs(9)).check().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "heartbeat_interval cannot be 9s: set at most a third of session_timeout, which is 10s",
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSettings {
    pub(crate) session_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) drain: Duration,
    pub(crate) concurrency: usize,
    pub(crate) window_events: usize,
    pub(crate) window_bytes: u64,
    pub(crate) fetch_bytes: u32,
    pub(crate) fetch_answer_bytes: u32,
    pub(crate) fetch_wait: Duration,
    pub(crate) commit_interval: Duration,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_secs(3),
            rebalance_timeout: Duration::from_secs(60),
            drain: Duration::from_secs(10),
            concurrency: 20,
            window_events: 100_000,
            window_bytes: 64 << 20,
            fetch_bytes: 1 << 20,
            fetch_answer_bytes: 50 << 20,
            fetch_wait: Duration::from_millis(500),
            commit_interval: Duration::from_secs(1),
        }
    }
}

impl GroupSettings {
    /// How long the coordinator waits for a heartbeat before it takes a member for dead and gives its partitions to
    /// others. Default: 10 s. Brokers take 6 s to 30 min unless they are set otherwise
    /// (`group.min.session.timeout.ms`); a start fails where they refuse it.
    #[must_use]
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self
    }

    /// How often a heartbeat is sent. Default: 3 s. At most a third of the session timeout, so that one may be
    /// lost.
    #[must_use]
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.heartbeat_interval = interval;
        self
    }

    /// How long the coordinator waits for all members to join again when their number changes. Default: 60 s. At least
    /// [`drain`](Self::drain), 5 s for the last commit and two heartbeat intervals, or members that drain lose their
    /// place: a member hears of it one interval late, and joins again one interval before the end.
    #[must_use]
    pub fn rebalance_timeout(mut self, timeout: Duration) -> Self {
        self.rebalance_timeout = timeout;
        self
    }

    /// How long running calls may go on when partitions are to be given up, before they are cancelled. Default: 10 s.
    /// Zero cancels them at once.
    #[must_use]
    pub fn drain(mut self, limit: Duration) -> Self {
        self.drain = limit;
        self
    }

    /// How many calls of the group's handlers may run at once in this process. Default: 20.
    #[must_use]
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = calls;
        self
    }

    /// The most events of a partition between the committed offset and what is read ahead of it. Default: 100,000. When
    /// it is reached because an event blocks, the partition waits.
    #[must_use]
    pub fn window_events(mut self, events: usize) -> Self {
        self.window_events = events;
        self
    }

    /// The most bytes of a partition's events that are in memory and not settled. Default: 64 MiB.
    #[must_use]
    pub fn window_bytes(mut self, bytes: u64) -> Self {
        self.window_bytes = bytes;
        self
    }

    /// Bytes of one partition in one fetch, and how far ahead of the handlers is fetched. Default: 1 MiB. A larger
    /// batch is fetched nevertheless.
    #[must_use]
    pub fn fetch_bytes(mut self, bytes: u32) -> Self {
        self.fetch_bytes = bytes;
        self
    }

    /// The most bytes of the answer to one fetch, whatever the number of its partitions. Default: 50 MiB. A member holds
    /// at most one such answer of each broker that is not taken in yet. A larger batch is fetched nevertheless.
    #[must_use]
    pub fn fetch_answer_bytes(mut self, bytes: u32) -> Self {
        self.fetch_answer_bytes = bytes;
        self
    }

    /// How long a broker may hold a fetch while there is nothing new. Default: 500 ms. It answers at once when there
    /// is, so this delays no event.
    #[must_use]
    pub fn fetch_wait(mut self, wait: Duration) -> Self {
        self.fetch_wait = wait;
        self
    }

    /// How often offsets are committed while events flow. Default: 1 s. They are committed as well when all is
    /// settled, and before partitions are given up. What was settled since is handled again after a crash.
    #[must_use]
    pub fn commit_interval(mut self, interval: Duration) -> Self {
        self.commit_interval = interval;
        self
    }

    /// Whether a bus would take them.
    ///
    /// # Errors
    /// [`SettingError`] for the first that cannot work.
    pub fn check(&self) -> Result<(), SettingError> {
        timeout("session_timeout", self.session_timeout)?;
        timeout("heartbeat_interval", self.heartbeat_interval)?;
        timeout("rebalance_timeout", self.rebalance_timeout)?;
        count("concurrency", self.concurrency as u64, u64::MAX)?;
        count("window_events", self.window_events as u64, u64::from(u32::MAX))?;
        count("window_bytes", self.window_bytes, u64::MAX)?;
        count("fetch_bytes", self.fetch_bytes.into(), MOST)?;
        count("fetch_answer_bytes", self.fetch_answer_bytes.into(), MOST)?;
        timeout("fetch_wait", self.fetch_wait)?;
        timeout("commit_interval", self.commit_interval)?;
        let Self { session_timeout: session, rebalance_timeout: rebalance, .. } = self;
        if self.heartbeat_interval > *session / 3 {
            let remedy = format!("set at most a third of session_timeout, which is {session:?}");
            return Err(SettingError::new(
                "heartbeat_interval",
                format!("{:?}", self.heartbeat_interval),
                remedy,
            ));
        }
        let besides = LAST_COMMIT + self.heartbeat_interval * 2;
        if self.drain.saturating_add(besides) > *rebalance {
            let least = self.drain.saturating_add(besides);
            let lower = match rebalance.checked_sub(besides) {
                Some(most) => format!("set at most {most:?}, or"),
                None => "set".to_owned(),
            };
            let remedy = format!(
                "{lower} rebalance_timeout, which is {rebalance:?}, to at least {least:?}: a drain also takes \
                 {LAST_COMMIT:?} for its last commit, and two heartbeat_intervals ({:?} each) to hear of the rebalance \
                 and to join again",
                self.heartbeat_interval,
            );
            return Err(SettingError::new("drain", format!("{:?}", self.drain), remedy));
        }
        Ok(())
    }
}

/// How a bus produces.
///
/// ```
/// use std::time::Duration;
/// use evenkeel_core::model::ProduceSettings;
///
/// let hasty = ProduceSettings::default()
///     .request_timeout(Duration::from_secs(5))
///     .delivery_timeout(Duration::from_secs(20));
/// assert!(hasty.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceSettings {
    pub(crate) batch_bytes: usize,
    pub(crate) delivery_timeout: Duration,
    pub(crate) request_timeout: Duration,
}

impl Default for ProduceSettings {
    fn default() -> Self {
        Self {
            batch_bytes: 900_000,
            delivery_timeout: Duration::from_secs(120),
            request_timeout: Duration::from_secs(30),
        }
    }
}

impl ProduceSettings {
    /// The most bytes of a batch of several events. Default: 900,000. A larger event travels alone; a topic's own limit
    /// is kept whatever this says.
    #[must_use]
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.batch_bytes = bytes;
        self
    }

    /// How long after `produce` was called an event may still be sent. Default: 120 s. After that it has failed, or its
    /// outcome is unknown.
    #[must_use]
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = timeout;
        self
    }

    /// How long one request may take, the brokers' wait for their replicas included, before it is given up and sent
    /// again. Default: 30 s. At most the delivery timeout.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Whether a bus would take them.
    ///
    /// # Errors
    /// [`SettingError`] for the first that cannot work.
    pub fn check(&self) -> Result<(), SettingError> {
        count("batch_bytes", self.batch_bytes as u64, MOST)?;
        timeout("delivery_timeout", self.delivery_timeout)?;
        timeout("request_timeout", self.request_timeout)?;
        if self.request_timeout > self.delivery_timeout {
            let remedy = format!("set at most delivery_timeout, which is {:?}", self.delivery_timeout);
            return Err(SettingError::new("request_timeout", format!("{:?}", self.request_timeout), remedy));
        }
        Ok(())
    }
}

fn timeout(setting: &'static str, value: Duration) -> Result<(), SettingError> {
    let most = Duration::from_millis(MOST);
    if value < Duration::from_millis(1) {
        Err(SettingError::new(setting, format!("{value:?}"), "set at least 1ms".to_owned()))
    } else if value > most {
        Err(SettingError::new(setting, format!("{value:?}"), format!("set at most {most:?}, 24 days")))
    } else {
        Ok(())
    }
}

fn count(setting: &'static str, value: u64, most: u64) -> Result<(), SettingError> {
    if value == 0 {
        Err(SettingError::new(setting, value.to_string(), "set at least 1".to_owned()))
    } else if value > most {
        Err(SettingError::new(setting, value.to_string(), format!("set at most {most}")))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::consumer::ConsumerConfig;
    use crate::machine::group::GroupConfig;
    use crate::machine::produce::ProduceConfig;
    use crate::model::GroupName;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn the_defaults_are_legal_and_those_of_the_machines() {
        let ours = GroupSettings::default();
        assert_eq!(ours.check(), Ok(()));
        let name = GroupName::new("billing").expect("a legal name");
        let group = GroupConfig::new(name.clone(), Vec::new());
        assert_eq!(
            (ours.session_timeout, ours.heartbeat_interval, ours.rebalance_timeout),
            (group.session_timeout, group.heartbeat_interval, group.rebalance_timeout),
        );
        let consumer = ConsumerConfig::new(name);
        assert_eq!(
            (ours.concurrency, ours.window_events, ours.window_bytes, ours.fetch_bytes),
            (consumer.concurrency, consumer.window_events, consumer.window_bytes, consumer.fetch_bytes),
        );
        assert_eq!(
            (ours.fetch_answer_bytes, ours.fetch_wait, ours.commit_interval),
            (consumer.fetch_answer_bytes, consumer.fetch_wait, consumer.commit_interval),
        );
        let (ours, produce) = (ProduceSettings::default(), ProduceConfig::default());
        assert_eq!(ours.check(), Ok(()));
        assert_eq!(
            (ours.batch_bytes, ours.delivery_timeout, ours.request_timeout),
            (produce.batch_bytes, produce.delivery_timeout, produce.request_timeout),
        );
    }

    #[test]
    fn what_cannot_work_is_named_with_its_value_and_what_would() {
        let new = GroupSettings::default;
        let zero = Duration::ZERO;
        let groups = [
            (new().session_timeout(zero), "session_timeout cannot be 0ns: set at least 1ms"),
            (
                new().session_timeout(HOUR * 1_000),
                "session_timeout cannot be 3600000s: set at most 2147483.647s, 24 days",
            ),
            (new().heartbeat_interval(zero), "heartbeat_interval cannot be 0ns: set at least 1ms"),
            (
                new().session_timeout(Duration::from_secs(8)),
                "heartbeat_interval cannot be 3s: set at most a third of session_timeout, which is 8s",
            ),
            (new().rebalance_timeout(zero), "rebalance_timeout cannot be 0ns: set at least 1ms"),
            (
                new().drain(Duration::from_millis(49_001)),
                "drain cannot be 49.001s: set at most 49s, or rebalance_timeout, which is 60s, to at least 60.001s: a \
                 drain also takes 5s for its last commit, and two heartbeat_intervals (3s each) to hear of the \
                 rebalance and to join again",
            ),
            (
                new().drain(zero).rebalance_timeout(Duration::from_secs(10)),
                "drain cannot be 0ns: set rebalance_timeout, which is 10s, to at least 11s: a drain also takes 5s for \
                 its last commit, and two heartbeat_intervals (3s each) to hear of the rebalance and to join again",
            ),
            (new().concurrency(0), "concurrency cannot be 0: set at least 1"),
            (new().window_events(0), "window_events cannot be 0: set at least 1"),
            (new().window_bytes(0), "window_bytes cannot be 0: set at least 1"),
            (new().fetch_bytes(0), "fetch_bytes cannot be 0: set at least 1"),
            (new().fetch_bytes(1 << 31), "fetch_bytes cannot be 2147483648: set at most 2147483647"),
            (new().fetch_answer_bytes(0), "fetch_answer_bytes cannot be 0: set at least 1"),
            (new().fetch_wait(zero), "fetch_wait cannot be 0ns: set at least 1ms"),
            (
                new().commit_interval(Duration::from_micros(999)),
                "commit_interval cannot be 999µs: set at least 1ms",
            ),
        ];
        for (settings, expected) in groups {
            assert_eq!(settings.check().expect_err(expected).to_string(), expected);
        }
        let new = ProduceSettings::default;
        let producers = [
            (new().batch_bytes(0), "batch_bytes cannot be 0: set at least 1"),
            (new().delivery_timeout(zero), "delivery_timeout cannot be 0ns: set at least 1ms"),
            (new().request_timeout(zero), "request_timeout cannot be 0ns: set at least 1ms"),
            (
                new().delivery_timeout(Duration::from_secs(5)),
                "request_timeout cannot be 30s: set at most delivery_timeout, which is 5s",
            ),
        ];
        for (settings, expected) in producers {
            assert_eq!(settings.check().expect_err(expected).to_string(), expected);
        }
    }

    #[test]
    fn what_is_barely_legal_is_taken() {
        let least = Duration::from_millis(1);
        let groups = GroupSettings::default()
            .session_timeout(3 * least)
            .heartbeat_interval(least)
            .rebalance_timeout(LAST_COMMIT + 2 * least)
            .drain(Duration::ZERO)
            .concurrency(1)
            .window_events(1)
            .window_bytes(1)
            .fetch_bytes(1)
            .fetch_wait(least)
            .commit_interval(least);
        assert_eq!(groups.check(), Ok(()));
        assert_eq!(GroupSettings::default().drain(Duration::from_secs(49)).check(), Ok(()));
        let produce =
            ProduceSettings::default().batch_bytes(1).delivery_timeout(least).request_timeout(least);
        assert_eq!(produce.check(), Ok(()));
    }
}
