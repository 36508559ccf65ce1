//! The simulated world of Evenkeel: to come. The machines it will drive are in [`evenkeel_core::machine`].

pub mod database;
