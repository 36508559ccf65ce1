//! Pure state machines: everything that can be decided wrongly is decided here.
//!
//! # The contract
//!
//! An outer machine has four methods ([`Machine`]). It owns no clock, no entropy and no I/O: time is an argument,
//! randomness an [`Entropy`] given at construction, and whatever must be done in the world leaves as an action.
//!
//! - `handle` takes something that happened. It never fails and never blocks.
//! - `poll` hands out what must be done next. It only pops: drain it until `None` after every `handle` and `tick`.
//! - `deadline` says when to call `tick` if nothing happens before.
//! - `tick` lets time pass. Calling it early is harmless; after it and a drain, `deadline` is later than `now` or `None`.
//!
//! An action that can fail or time out carries a [`RequestId`](crate::model::RequestId) and comes back as exactly one
//! input. A reply whose id the machine no longer knows is ignored and counted in its [`Marks`]: late replies and
//! zombies are part of the world. The same inputs give the same actions, always.
//!
//! Parts of machines (`commit`, `lane`, `delivery`) have plain verbs instead, so that no queue sits inside a queue.

mod entropy;
mod marks;

pub mod backoff;
pub mod commit;
pub mod consumer;
pub mod delivery;
pub mod group;
pub mod lane;
pub mod member;
pub mod produce;

pub use entropy::Entropy;
pub use marks::Marks;

use crate::model::Time;

/// The surface that all outer machines share. See the [module's contract](self).
pub trait Machine {
    /// What can happen to the machine.
    type Input;
    /// What the machine wants done.
    type Action;

    /// Something happened.
    fn handle(&mut self, now: Time, input: Self::Input);

    /// The next thing to do, if any.
    fn poll(&mut self) -> Option<Self::Action>;

    /// When `tick` is due.
    fn deadline(&self) -> Option<Time>;

    /// Time has passed.
    fn tick(&mut self, now: Time);

    /// What this machine has been through, for coverage reports.
    fn marks(&self) -> &Marks;
}
