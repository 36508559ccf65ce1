//! Tests over the whole tree: seeded chaos runs, repeated runs, bugs that were found, and the rules of the house.
//!
//! The simulated world needs `--cfg madsim`, which `.cargo/config.toml` gives. Cargo ignores that file's flags where
//! `RUSTFLAGS` is set, and then `evenkeel_sim` does not compile: a suite that vanished would be green.

pub mod batch;
pub mod coverage;
mod each;
pub mod pairs;
pub mod planted;
pub mod smallest;
pub mod steps;
