//! The simulated world of Evenkeel: the library, a cluster and a database under seeded failure, judged by the library's
//! laws.
//!
//! - [`seed`] draws: named streams, so that what is left out shifts nothing.
//! - [`trace`] hashes every step, and tells them in words on replay.
//! - [`faults`] are what can go wrong, and the plan of it.
//! - [`history`] is what happened, as data; [`checkers`] judge it.
//! - [`database`] is a SQL database as one machine.
//! - [`explore`](mod@explore) puts your own handlers into the world, under plain `cargo test`.
//! - [`network`] is links and connections, [`world`] the real library in it.
//!
//! - [`step`] is the machines alone, in a loop of events; [`decode`] reads what members write, on its own.
//!
//! But for [`world`] and [`explore`](mod@explore) none of these knows a clock or a scheduler: the machines driven alone
//! and the whole library on a simulated scheduler share them.

#[cfg(not(madsim))]
compile_error!(
    "the simulated world needs `--cfg madsim` among the rustflags of .cargo/config.toml; where RUSTFLAGS is set cargo \
     ignores those: unset it, or add `--cfg madsim` to it"
);

pub mod checkers;
pub mod database;
pub mod explore;
pub mod faults;
pub mod history;
pub mod network;
mod oversight;
pub mod step;
pub mod trace;
pub mod world;

pub use evenkeel_cluster::faults::seed;
pub use explore::explore;
pub use oversight::decode;
pub use world::{SimTx, Table};
