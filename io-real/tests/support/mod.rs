//! What the tests against real servers share.
//!
//! A test that needs a server gets one or fails with a message that says what to do; none is ever skipped.

#![allow(dead_code, unreachable_pub, reason = "every test binary uses its own part of this")]

pub mod databases;
pub mod services;
