//! (in work)

pub mod kafka;
pub mod runtime;
