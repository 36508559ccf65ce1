//! What is set up from any task before a bus starts, and read once when it does.

#![allow(clippy::disallowed_types, reason = "the ban is for what runs; this is over before anything does")]

use std::sync::{Mutex, PoisonError};

/// A value that registrations change under a lock. No lock is ever held across an await.
#[derive(Debug, Default)]
pub(super) struct Setup<T>(Mutex<T>);

impl<T> Setup<T> {
    /// Works on the value. A panic of an earlier caller left it whole: every change is one step.
    pub(super) fn with<U>(&self, work: impl FnOnce(&mut T) -> U) -> U {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
