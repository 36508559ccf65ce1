//! Faults of brokers that are served: what [`DevClusterBuilder::faults`](super::DevClusterBuilder::faults) and `evenkeel
//! broker --faults` take.
//!
//! ```text
//!   connection ── matter ──► director ──► Saboteur   decides, pure: plan, matter, n-th of its kind
//!       ▲                      │  ▲
//!       └────── fate ──────────┘  └── strokes: brokers die, leaders move
//! ```
//!
//! An example of a plan is in [`faults::plan`](crate::faults::plan); the words are [`BrokerChance`] and [`BrokerStroke`].

mod decide;
mod director;
mod draw;
mod refuse;
mod scene;
mod words;

pub(super) use decide::{Deed, Fate};
pub(super) use director::Sabotage;
pub use draw::draw;
pub(super) use refuse::{refuse, timed_out};
pub use words::{BrokerChance, BrokerPlan, BrokerStroke};

/// What faults are told under in the log.
pub(super) const LOG: &str = "evenkeel::faults";
