//! What becomes of the members of a bus, told to all who wait for it: whoever starts the bus, whoever observes it, and
//! whoever wants to know when a member is gone for good.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use async_channel::{Receiver, Sender};

use super::Observer;
use crate::engine::consume::News;
use crate::machine::consumer::Notice;
use crate::machine::group::GroupError;
use crate::model::GroupName;

/// A member that is gone for good although nobody stopped it: this process handles no more events of its group.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum MemberFailure {
    /// The cluster refused it for a reason that trying again does not mend: a lack of permission, for instance.
    #[error(transparent)]
    GaveUp(Arc<GroupError>),
    /// Its task panicked, which is a bug of this library. Running handlers may go on for a while; what they settle is
    /// not committed.
    #[error(
        "the task of the member of group {group:?} panicked; this is a bug in evenkeel: report it with the panic's text"
    )]
    Panicked {
        /// The group.
        group: GroupName,
    },
}

impl MemberFailure {
    /// The group whose member is gone.
    #[must_use]
    pub fn group(&self) -> &GroupName {
        match self {
            Self::GaveUp(error) => &error.group,
            Self::Panicked { group } => group,
        }
    }
}

/// The first failure among the members of a bus, for everybody who asks, however often.
#[derive(Debug, Clone)]
pub(super) struct FirstFailure {
    failure: Arc<OnceLock<MemberFailure>>,
    /// Nothing is ever sent. It is closed once there is a failure; until then this sender keeps it open.
    open: Sender<Infallible>,
    closed: Receiver<Infallible>,
}

impl FirstFailure {
    pub(super) fn new() -> Self {
        let (open, closed) = async_channel::bounded(1);
        Self { failure: Arc::default(), open, closed }
    }

    fn set(&self, failure: MemberFailure) {
        if let Err(later) = self.failure.set(failure) {
            tracing::debug!(%later, "another member failed before");
        }
        self.open.close();
    }

    /// Completes once there is a failure; never while there is none.
    pub(super) async fn wait(&self) -> MemberFailure {
        let Err(_closed) = self.closed.recv().await;
        match self.failure.get() {
            Some(failure) => failure.clone(),
            None => std::future::pending().await,
        }
    }
}

/// Tells the news of one member.
pub(super) struct Herald {
    pub(super) group: GroupName,
    /// Whether the member is ready; takes one word.
    pub(super) ready: Sender<Result<(), MemberFailure>>,
    pub(super) failure: FirstFailure,
    pub(super) observer: Option<Observer>,
    /// Whether the last assignment ended before everything was done, so that some of it is delivered again.
    pub(super) is_unfinished: AtomicBool,
}

impl Herald {
    pub(super) fn tell(&self, news: &News) {
        match news {
            News::Assigned { .. } => {
                self.is_unfinished.store(false, Ordering::Relaxed);
                self.word(Ok(()));
            }
            News::Notice(Notice::Uncommitted { .. } | Notice::Cancelled { .. }) => {
                self.is_unfinished.store(true, Ordering::Relaxed);
            }
            News::Failed(error) => self.failed(MemberFailure::GaveUp(Arc::clone(error))),
            News::Unassigned | News::Notice(_) | News::Stopped => {}
        }
        if let Some(observer) = &self.observer
            && catch_unwind(AssertUnwindSafe(|| observer(&self.group, news))).is_err()
        {
            tracing::error!(group = %self.group, ?news, "the observer panicked");
        }
    }

    pub(super) fn is_unfinished(&self) -> bool {
        self.is_unfinished.load(Ordering::Relaxed)
    }

    /// The member's task panicked.
    pub(super) fn panicked(&self) {
        let failure = MemberFailure::Panicked { group: self.group.clone() };
        tracing::error!(%failure, "a member is gone");
        self.failed(failure);
    }

    fn failed(&self, failure: MemberFailure) {
        self.failure.set(failure.clone());
        self.word(Err(failure));
    }

    /// The first word counts; later ones find the channel full, which is fine.
    fn word(&self, word: Result<(), MemberFailure>) {
        if self.ready.try_send(word).is_err() {
            tracing::trace!(group = %self.group, "readiness was told before");
        }
    }
}
