//! What all loops share that drive a machine: asking for it, and letting its time pass.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use async_channel::Sender;
use futures_util::FutureExt;

use crate::machine::Machine;
use crate::model::Time;
use crate::ports::{PortError, Runtime};

/// Sends a request on its way, on a task of its own. Whatever becomes of it, its answer comes back exactly once, as an
/// input.
pub(super) fn ask<R: Runtime, T: Send + 'static, I: Send + 'static>(
    runtime: &R,
    inbox: &Sender<I>,
    request: impl Future<Output = Result<T, PortError>> + Send + 'static,
    answer: impl FnOnce(Result<T, PortError>) -> I + Send + 'static,
) {
    let inbox = inbox.clone();
    runtime.spawn(async move {
        let input = answer(unless_panicked(request).await);
        if inbox.send(input).await.is_err() {
            tracing::trace!("an answer came after its machine had come to its end");
        }
    });
}

/// The outcome of a request; a panic while it is made or its answer is decoded is one too, as the machine would wait
/// for ever otherwise. By then the request may have been sent, so it may have happened.
async fn unless_panicked<T>(request: impl Future<Output = Result<T, PortError>>) -> Result<T, PortError> {
    AssertUnwindSafe(request).catch_unwind().await.unwrap_or_else(|_panic| {
        tracing::error!("a request or the decoding of its answer panicked; this is a bug in evenkeel");
        Err(PortError::Malformed { server: "the cluster".into(), cause: "decoding it panicked".into() })
    })
}

/// Hands inputs to a machine, then lets time pass where its deadline has come. However fast inputs come, heartbeats and
/// time limits do not wait for the last of them.
pub(super) fn advance<M: Machine>(machine: &mut M, now: Time, inputs: impl IntoIterator<Item = M::Input>) {
    for input in inputs {
        machine.handle(now, input);
    }
    if machine.deadline().is_some_and(|at| at <= now) {
        machine.tick(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::machine::Marks;

    fn outcome(request: impl Future<Output = Result<u32, PortError>>) -> Result<u32, PortError> {
        unless_panicked(request).now_or_never().expect("the request does not wait")
    }

    #[test]
    fn a_request_that_panics_is_answered_and_may_have_happened() {
        let error = outcome(async { panic!("planted") }).expect_err("there is no answer");
        assert!(error.may_have_happened(), "{error:?}");
        assert_eq!(error.to_string(), "the cluster sent an answer that cannot be read: decoding it panicked");
    }

    #[test]
    fn other_outcomes_are_left_alone() {
        let refused = PortError::Refused(ErrorCode::NotCoordinator);
        assert_eq!(outcome(async { Ok(7) }), Ok(7));
        assert_eq!(outcome(async { Err(PortError::Refused(ErrorCode::NotCoordinator)) }), Err(refused));
    }

    /// Wants to be ticked at a certain time.
    #[derive(Default)]
    struct Clockwork {
        due: Option<Time>,
        seen: Vec<&'static str>,
        marks: Marks,
    }

    impl Machine for Clockwork {
        type Input = &'static str;
        type Action = ();

        fn handle(&mut self, _now: Time, input: &'static str) {
            self.seen.push(input);
        }

        fn poll(&mut self) -> Option<()> {
            None
        }

        fn deadline(&self) -> Option<Time> {
            self.due
        }

        fn tick(&mut self, _now: Time) {
            self.due = None;
            self.seen.push("tick");
        }

        fn marks(&self) -> &Marks {
            &self.marks
        }
    }

    #[test]
    fn a_deadline_that_has_come_is_kept_also_when_there_is_always_an_input() {
        let mut machine = Clockwork { due: Some(Time::from_millis(2)), ..Clockwork::default() };
        for now in 1..4 {
            advance(&mut machine, Time::from_millis(now), ["input"]);
        }
        assert_eq!(machine.seen, ["input", "input", "tick", "input"]);
        machine.due = Some(Time::from_millis(4));
        advance(&mut machine, Time::from_millis(4), []);
        assert_eq!(machine.seen.last(), Some(&"tick"));
    }
}
