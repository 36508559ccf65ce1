//! Commit tracking: which events of one partition are settled, and how far the group may therefore commit.
//!
//! A group commits one offset a partition, but its events settle in any order. Something must remember the ones that
//! settled early, commit no further than the first that did not, and do so at a cost that nobody notices.
//!
//! ```text
//!                 frontier                             position
//!                    │                                     │
//!  log   ── 3  4  5  6  7  8  9     11 12 13 14    17 18   20 ──
//!           ■  ■  ■  □  ■  ■  □     □  ■  ■  □     ■  ■        ■ settled  □ in flight
//!                                 ▲              ▲       ▲     ▲ no record: counts as settled
//!           committed│    travels in the commit's metadata:
//!                    │ 1 unsettled, 2 settled, 3 unsettled, 2 settled, …
//! ```
//!
//! - [`CommitTracker`] keeps the picture for one topic, partition and assignment epoch. Its [`frontier`] is the lowest
//!   offset that is not settled: it never goes back and never passes an event that is in flight. That promise is
//!   checked in release builds too, against a second record that other lines of code write; when the two differ, every
//!   verb answers [`Broken`] from then on and nothing is committed any more.
//! - [`SettledSet`] is what lies beyond the frontier: run lengths in the commit's metadata string. The next owner of the
//!   partition decodes it and does not hand those events to handlers again. What does not fit into [`MetadataLimit`] is
//!   cut from the far end, which costs a redelivery, never a loss.
//! - [`Scope`] says of what: of which life of the topic, and for which handlers. Another set of handlers starts from the
//!   frontier, another life of the topic from the start of its log.
//! - [`EpochStart`]s say which leaders wrote what lies below: the next owner finds out by them where a log was cut that
//!   has grown anew.
//!
//! [`frontier`]: CommitTracker::frontier

mod epochs;
mod fingerprint;
mod metadata;
mod scope;
mod settled;
mod tracker;
mod window;

#[cfg(test)]
mod naive;
#[cfg(test)]
mod tests;

pub use epochs::EpochStart;
pub use fingerprint::Fingerprint;
pub use metadata::{MetadataLimit, Unreadable, epochs};
pub use scope::Scope;
pub use settled::SettledSet;
pub use tracker::{Admission, Broken, CommitTracker, Settlement, Snapshot};
pub use window::Ticket;

#[cfg(test)]
use crate::model::Offset;
