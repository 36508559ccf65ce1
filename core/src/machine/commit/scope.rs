//! What a commit speaks of.

use super::Fingerprint;
use crate::model::TopicId;

/// What "settled" is meant for: offsets alone do not tell which log they are of, nor who has settled them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// The handlers that have settled the events.
    pub handlers: Fingerprint,
    /// The life of the topic; `None` where brokers do not tell.
    pub topic: Option<TopicId>,
}

impl From<Fingerprint> for Scope {
    /// Those handlers, for whatever life of the topic.
    fn from(handlers: Fingerprint) -> Self {
        Self { handlers, topic: None }
    }
}
