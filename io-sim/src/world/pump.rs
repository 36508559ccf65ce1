//! The one task that moves messages, servers and time limits: it sleeps until the earliest of them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use evenkeel_core::model::Time;

use super::runtime::{Nap, sleep_until};
use super::state::Shared;

/// Never completes.
pub(crate) struct Pump {
    shared: Shared,
    nap: Option<(Time, Nap)>,
}

impl Pump {
    pub(crate) const fn new(shared: Shared) -> Self {
        Self { shared, nap: None }
    }
}

impl Future for Pump {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut state = self.shared.lock();
            state.work();
            state.pump_sleeps(context.waker());
            let next = state.next_work();
            drop(state);
            let Some(at) = next else {
                self.nap = None;
                return Poll::Pending;
            };
            if self.nap.as_ref().is_none_or(|(armed, _)| *armed != at) {
                self.nap = Some((at, sleep_until(&self.shared, at)));
            }
            let Some((_, nap)) = &mut self.nap else { return Poll::Pending };
            if Pin::new(nap).poll(context).is_pending() {
                return Poll::Pending;
            }
            self.nap = None;
        }
    }
}
