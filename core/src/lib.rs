//! The deciding half of Evenkeel: everything that can be decided wrongly, and nothing that touches the world.

pub mod engine;
pub mod error;
pub mod machine;
pub mod model;
pub mod ports;
pub mod records;
