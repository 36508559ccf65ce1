//! Time, tasks and entropy.

use std::future::Future;

use crate::model::{Time, WallTime};

/// The executor and the clocks. Cloned freely: a handle, not the thing.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// The monotonic clock.
    fn now(&self) -> Time;

    /// The wall clock. May jump in either direction.
    fn wall_now(&self) -> WallTime;

    /// Completes once [`now`](Self::now) is at or after `at`. Dropping the future cancels the wait.
    fn sleep_until(&self, at: Time) -> impl Future<Output = ()> + Send;

    /// Runs a future on its own. A panic inside ends that task only.
    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: F);

    /// Fresh randomness to seed an [`Entropy`](crate::machine::Entropy) with.
    fn seed(&self) -> u64;
}
