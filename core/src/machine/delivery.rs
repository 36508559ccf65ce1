//! Delivery: one event and one handler, from the first attempt to the verdict.
//!
//! Only the handler's own outcome is an attempt. What the world did (no connection, a deadlock, a lost COMMIT) is
//! retried without end and without using the policy up, so that an outage of the database discards nothing. The time
//! such retries take, until the next call begins, is not held against the policy's total either, nor is the time that
//! a call waits for its connection and its claim before the handler begins.

use std::time::Duration;

use super::Entropy;
use super::backoff::Backoff;
use crate::model::{Attempt, OnFailure, RetryPolicy, Time};

/// How one call of a handler ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The handler succeeded, and its effects are durable.
    Done,
    /// An earlier transaction had handled the event already.
    AlreadyDone,
    /// The handler wants nothing to do with the event, which counts as success.
    Ignored,
    /// The handler failed and may succeed another time.
    Failed,
    /// The handler failed and says that trying again is useless.
    Permanent,
    /// The handler panicked.
    Panicked,
    /// The handler ran into its time limit and was cancelled.
    TimedOut,
    /// The event could not be decoded for the handler.
    Undecodable,
    /// The database or the way to it failed before, after or around the handler, or the outcome is unknown.
    World,
    /// The call was cancelled because the partition is no longer ours.
    Cancelled,
}

impl Outcome {
    /// All outcomes, for tables over the whole product.
    pub const ALL: [Self; 10] = [
        Self::Done,
        Self::AlreadyDone,
        Self::Ignored,
        Self::Failed,
        Self::Permanent,
        Self::Panicked,
        Self::TimedOut,
        Self::Undecodable,
        Self::World,
        Self::Cancelled,
    ];
}

/// What a delivery came to for its handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The handler's effects are durable.
    Done,
    /// They were durable before.
    AlreadyDone,
    /// The handler ignored the event.
    Ignored,
    /// The policy was exhausted and says to go on without the event.
    Discarded,
}

/// What to do with a delivery after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is over for this handler.
    Settle(Settled),
    /// Call the handler again, this much later.
    Retry(Duration),
    /// Keep it unsettled for as long as the assignment lasts: trying again is useless, and the policy forbids to go on.
    Hold,
}

/// The history of one delivery, as far as its policy needs it.
#[derive(Debug, Clone, Copy, Default)]
pub struct History {
    /// Calls that counted as attempts.
    attempts: u32,
    /// Failures of the world since the last attempt.
    world_failures: u32,
    /// When the first call began.
    began: Option<Time>,
    /// Time that the world took, which the policy does not count.
    excused: Duration,
    /// When the world failed the last call. What passes from then until the next one begins is the world's too: in an
    /// outage a call waits for its turn behind others that are as stuck.
    failed_by_world: Option<Time>,
}

/// One call of a handler that has ended.
#[derive(Debug, Clone, Copy)]
pub struct EndedCall {
    /// How it ended.
    pub outcome: Outcome,
    /// When it began.
    pub started: Time,
    /// How much of it passed before the handler itself began, waiting for a connection or for another's claim.
    pub waited: Duration,
    /// When it ended.
    pub now: Time,
}

impl History {
    /// Calls that counted as attempts so far.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The number of the attempt that a call now would be.
    #[must_use]
    pub fn next_attempt(&self) -> Attempt {
        Attempt::after(self.attempts)
    }

    /// Decides after a call.
    pub fn conclude(
        &mut self,
        call: EndedCall,
        policy: &RetryPolicy,
        on_failure: OnFailure,
        entropy: &mut Entropy,
    ) -> Verdict {
        let EndedCall { outcome, started, waited, now } = call;
        let began = *self.began.get_or_insert(started);
        if let Some(failed) = self.failed_by_world.take() {
            self.excused = self.excused.saturating_add(started.since(failed));
        }
        let useless = match outcome {
            Outcome::Done => return Verdict::Settle(Settled::Done),
            Outcome::AlreadyDone => return Verdict::Settle(Settled::AlreadyDone),
            Outcome::Ignored => return Verdict::Settle(Settled::Ignored),
            Outcome::World | Outcome::Cancelled => {
                let wait = Backoff::REQUEST.wait(self.world_failures, entropy);
                self.world_failures = self.world_failures.saturating_add(1);
                self.excused = self.excused.saturating_add(now.since(started));
                self.failed_by_world = Some(now);
                return Verdict::Retry(wait);
            }
            Outcome::Permanent | Outcome::Undecodable => true,
            Outcome::Failed | Outcome::Panicked | Outcome::TimedOut => false,
        };
        self.world_failures = 0;
        self.excused = self.excused.saturating_add(waited);
        self.attempts = self.attempts.saturating_add(1);
        match (on_failure, useless) {
            (OnFailure::Block, true) => Verdict::Hold,
            (OnFailure::Block, false) => Verdict::Retry(policy.backoff.wait(self.attempts - 1, entropy)),
            (OnFailure::Discard, true) => Verdict::Settle(Settled::Discarded),
            (OnFailure::Discard, false) => {
                let spent = now.since(began).saturating_sub(self.excused);
                let left = policy.total.map_or(Duration::MAX, |total| total.saturating_sub(spent));
                let out_of_attempts = policy.max_attempts.is_some_and(|most| self.attempts >= most.get());
                if out_of_attempts || left.is_zero() {
                    Verdict::Settle(Settled::Discarded)
                } else {
                    // The last attempt comes when the total is over, not after it.
                    Verdict::Retry(policy.backoff.wait(self.attempts - 1, entropy).min(left))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn policy() -> RetryPolicy {
        let steady = Backoff { first: SECOND, longest: SECOND * 30, jitter_percent: 0 };
        RetryPolicy { backoff: steady, total: Some(SECOND * 10), ..OnFailure::Discard.default_retries() }
    }

    fn conclude(history: &mut History, outcome: Outcome, at: u64, on_failure: OnFailure) -> Verdict {
        let (started, now) = (Time::from_millis(at), Time::from_millis(at + 100));
        let call = EndedCall { outcome, started, waited: Duration::ZERO, now };
        history.conclude(call, &policy(), on_failure, &mut Entropy::new(1))
    }

    /// Every outcome under every policy, first attempt: exactly one row each.
    #[test]
    fn the_whole_table() {
        use Settled::{AlreadyDone, Discarded, Done, Ignored};
        use Verdict::{Hold, Settle};
        let retry = Verdict::Retry(SECOND);
        let table = [
            (Outcome::Done, Some(Settle(Done)), Some(Settle(Done))),
            (Outcome::AlreadyDone, Some(Settle(AlreadyDone)), Some(Settle(AlreadyDone))),
            (Outcome::Ignored, Some(Settle(Ignored)), Some(Settle(Ignored))),
            (Outcome::Failed, Some(retry), Some(retry)),
            (Outcome::Permanent, Some(Settle(Discarded)), Some(Hold)),
            (Outcome::Panicked, Some(retry), Some(retry)),
            (Outcome::TimedOut, Some(retry), Some(retry)),
            (Outcome::Undecodable, Some(Settle(Discarded)), Some(Hold)),
            (Outcome::World, None, None),
            (Outcome::Cancelled, None, None),
        ];
        assert_eq!(table.map(|row| row.0), Outcome::ALL);
        for (outcome, discard, block) in table {
            for (on_failure, expected) in [(OnFailure::Discard, discard), (OnFailure::Block, block)] {
                let mut history = History::default();
                let verdict = conclude(&mut history, outcome, 0, on_failure);
                match expected {
                    Some(expected) => assert_eq!(verdict, expected, "{outcome:?} {on_failure:?}"),
                    None => {
                        assert!(
                            matches!(verdict, Verdict::Retry(wait) if wait < SECOND),
                            "{outcome:?}: {verdict:?}"
                        );
                        assert_eq!(history.attempts(), 0, "{outcome:?} is not an attempt");
                    }
                }
            }
        }
    }

    #[test]
    fn discard_waits_longer_each_time_and_ends_with_the_total() {
        let mut history = History::default();
        let (mut at, mut waits) = (0, Vec::new());
        while let Verdict::Retry(wait) = conclude(&mut history, Outcome::Failed, at, OnFailure::Discard) {
            waits.push(wait.as_millis());
            at += 100 + u64::try_from(wait.as_millis()).unwrap();
        }
        assert_eq!(waits, [1_000, 2_000, 4_000, 2_600], "the last wait is cut to the end of the ten seconds");
        assert_eq!(at, 10_000);
    }

    #[test]
    fn a_limit_on_attempts_is_exact() {
        let policy = RetryPolicy { max_attempts: NonZeroU32::new(3), ..policy() };
        let mut history = History::default();
        let mut calls = 1;
        let call = EndedCall {
            outcome: Outcome::Panicked,
            started: Time::ZERO,
            waited: Duration::ZERO,
            now: Time::ZERO,
        };
        while let Verdict::Retry(_) =
            history.conclude(call, &policy, OnFailure::Discard, &mut Entropy::new(1))
        {
            calls += 1;
        }
        assert_eq!(calls, 3);
    }

    #[test]
    fn block_never_ends_by_itself() {
        let mut history = History::default();
        for minute in 0..1_000 {
            let verdict = conclude(&mut history, Outcome::Failed, minute * 60_000, OnFailure::Block);
            assert!(matches!(verdict, Verdict::Retry(wait) if wait <= SECOND * 30), "{verdict:?}");
        }
    }

    /// The pool is empty, or another member holds the claim: a minute passes before the handler begins, and then it
    /// fails at once.
    #[test]
    fn waiting_for_a_connection_is_not_held_against_the_handler() {
        let mut history = History::default();
        for nth in 0..5 {
            let started = Time::from_millis(nth * 61_000);
            let waited = Duration::from_secs(60);
            let call = EndedCall { outcome: Outcome::Failed, started, waited, now: started + waited };
            let verdict = history.conclude(call, &policy(), OnFailure::Discard, &mut Entropy::new(1));
            assert!(matches!(verdict, Verdict::Retry(_)), "call {nth}: {verdict:?}");
        }
    }

    /// A call of the outage waits for its turn behind others that are as stuck as itself.
    #[test]
    fn an_outage_of_seven_minutes_discards_nothing() {
        for queued in [0, 10_000] {
            let mut history = History::default();
            let failed = conclude(&mut history, Outcome::Failed, 0, OnFailure::Discard);
            assert!(matches!(failed, Verdict::Retry(_)), "{failed:?}");
            let mut at = 1_100;
            while at < 420_000 {
                match conclude(&mut history, Outcome::World, at, OnFailure::Discard) {
                    Verdict::Retry(wait) => at += 100 + u64::try_from(wait.as_millis()).unwrap() + queued,
                    other => panic!("an outage led to {other:?}"),
                }
            }
            let failed = conclude(&mut history, Outcome::Failed, at, OnFailure::Discard);
            assert!(
                matches!(failed, Verdict::Retry(_)),
                "the time of the outage is not the handler's, {queued} ms of queue a call: {failed:?}"
            );
            assert_eq!(history.attempts(), 2);
        }
    }
}
