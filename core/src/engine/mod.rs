//! The engine: the only async code, and the same in production and in simulation.
//!
//! It decides nothing. It pumps machines: hands them what happened, and does through the [ports](crate::ports) what they
//! ask for. Each machine is owned by one task; requests and handlers run on tasks of their own and report back over a
//! channel, whose length the machines bound by how much they let be outstanding.
//!
//! - [`consume`] drives one member of a consumer group;
//! - `produce` drives the producer of a bus;
//! - `invoke` calls handlers: decoding, transactions, time limits, panics;
//! - [`bus`] is what users hold.

pub mod bus;
pub mod consume;
pub(crate) mod invoke;
pub(crate) mod produce;

mod clock;
mod drive;
