//! A wake-up for a machine's deadline, armed anew only when the deadline moved.

use std::future::Future;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;

use crate::model::Time;
use crate::ports::Runtime;

/// The next moment a machine wants to be ticked.
pub(crate) struct Alarm<R> {
    runtime: R,
    armed: Option<(Time, BoxFuture<'static, ()>)>,
}

impl<R: Runtime> Alarm<R> {
    pub(crate) fn new(runtime: R) -> Self {
        Self { runtime, armed: None }
    }

    /// Sets the moment; `None` never comes.
    pub(crate) fn set(&mut self, deadline: Option<Time>) {
        match (deadline, &self.armed) {
            (Some(at), Some((armed, _))) if *armed == at => {}
            (Some(at), _) => {
                let runtime = self.runtime.clone();
                self.armed = Some((at, Box::pin(async move { runtime.sleep_until(at).await })));
            }
            (None, _) => self.armed = None,
        }
    }

    /// Completes when the moment has come.
    pub(crate) async fn wait(&mut self) {
        std::future::poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some((_, sleep)) = &mut self.armed else { return Poll::Pending };
        match Future::poll(sleep.as_mut(), context) {
            Poll::Ready(()) => {
                self.armed = None;
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
