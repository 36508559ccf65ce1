//! What a process is asked to end by.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::flag;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;

/// SIGINT and SIGTERM.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Before anything can be connected to, so that no signal is missed.
    pub(super) fn new() -> Result<Self, Failure> {
        Self::register().map_err(|cause| Failure::Io { doing: "cannot wait for signals", cause })
    }

    fn register() -> std::io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
            let number = kind.as_raw_value();
            // The second ends the process from within the signal's handler: whatever keeps the one thread busy, be it
            // an output that nobody reads, would keep it from any other reaction, too.
            flag::register_conditional_shutdown(number, 128 + number, asked.clone())?;
            flag::register(number, asked.clone())?;
        }
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the first.
    pub(super) async fn first(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
