//! What the program tells people: results on standard output, and how far it is on standard error.

use std::fmt;
use std::io::{ErrorKind, Write, stdout};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Prints a line. If nobody reads on, as behind `| head`, the program ends.
macro_rules! say {
    ($($words:tt)*) => {
        $crate::output::line(format_args!($($words)*))
    };
}

#[expect(clippy::exit, clippy::panic, reason = "what was asked for cannot be told")]
pub(crate) fn line(text: fmt::Arguments<'_>) {
    match writeln!(stdout().lock(), "{text}") {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(crate::UNREAD),
        Err(error) => panic!("standard output cannot be written to: {error}"),
    }
}

/// How often it is told how far a long search is, in seconds.
const EVERY: u64 = 30;

/// Tells of each failure at once, and now and then how far it is.
pub(crate) struct Progress {
    what: &'static str,
    begun: Instant,
    done: AtomicU64,
    failed: AtomicU64,
    told: AtomicU64,
}

impl Progress {
    pub(crate) fn new(what: &'static str) -> Self {
        let (done, failed, told) = Default::default();
        Self { what, begun: Instant::now(), done, failed, told }
    }

    /// A seed was run, and may have failed, as a report says that begins with why.
    #[expect(clippy::print_stderr, reason = "an hour is long to wait for what its first minute found")]
    pub(crate) fn ran(&self, failure: Option<&dyn fmt::Display>) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(failure) = failure {
            self.failed.fetch_add(1, Ordering::Relaxed);
            eprintln!("{}", failure.to_string().lines().next().unwrap_or_default());
        }
        let took = self.begun.elapsed().as_secs();
        let told = self.told.load(Ordering::Relaxed);
        let is_due = took >= told + EVERY;
        if is_due && self.told.compare_exchange(told, took, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let (what, failed) = (self.what, self.failed.load(Ordering::Relaxed));
            eprintln!("{done} {what} in {took} s, {failed} failed");
        }
    }
}
