//! What a bus refuses, and what came of events that were not all produced.

use std::fmt;
use std::sync::Arc;

use super::{EncodeError, NameError, ProduceFailure, SettingError};
use crate::machine::produce::Produced;
use crate::model::{GroupName, TopicName};

/// A handler, or the settings of a group, that cannot be registered. The bus is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// The topic or the group has an illegal name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The handler's name is empty.
    #[error("a handler of topic {topic:?} in group {group:?} has an empty name; name it for what it does")]
    Unnamed {
        /// The group.
        group: GroupName,
        /// The topic.
        topic: TopicName,
    },
    /// The name is taken.
    #[error(
        "handler {handler:?} of topic {topic:?} in group {group:?} is registered already; give each handler a name of its own"
    )]
    Duplicate {
        /// The group.
        group: GroupName,
        /// The topic.
        topic: TopicName,
        /// The handler.
        handler: Arc<str>,
    },
    /// It takes single events, and was given a size for batches.
    #[error(
        "handler {handler:?} of topic {topic:?} in group {group:?} takes single events, so `batch` means nothing to it; leave it out, or register the handler as a batch handler"
    )]
    NoBatches {
        /// The group.
        group: GroupName,
        /// The topic.
        topic: TopicName,
        /// The handler.
        handler: Arc<str>,
    },
    /// A setting of the group cannot work.
    #[error("group {group:?}: {cause}")]
    Setting {
        /// The group.
        group: GroupName,
        /// Which setting, and what would work.
        cause: SettingError,
    },
    /// The bus runs, so that the settings would not be heeded.
    #[error("the settings of group {group:?} come too late; set them before the bus is started")]
    LateSettings {
        /// The group.
        group: GroupName,
    },
    /// The bus runs.
    #[error(
        "handler {handler:?} of topic {topic:?} in group {group:?} comes too late; register all handlers before the bus is started"
    )]
    Started {
        /// The group.
        group: GroupName,
        /// The topic.
        topic: TopicName,
        /// The handler.
        handler: Arc<str>,
    },
}

/// Events that were not all produced.
#[derive(Debug)]
pub enum ProduceError {
    /// A topic has an illegal name. Nothing was produced.
    Name(NameError),
    /// An event cannot be encoded. Nothing was produced.
    Encode(EncodeError),
    /// The bus was shut down. Nothing was produced, unless it was while the call waited.
    Closed,
    /// At least one event failed. Each event's outcome, in the order of the call.
    Failed(Vec<Result<Produced, ProduceFailure>>),
}

impl ProduceError {
    /// The first event's failure, if events were sent at all.
    #[must_use]
    pub fn first_failure(&self) -> Option<&ProduceFailure> {
        match self {
            Self::Failed(outcomes) => outcomes.iter().find_map(|outcome| outcome.as_ref().err()),
            Self::Name(_) | Self::Encode(_) | Self::Closed => None,
        }
    }

    /// Whether every event that failed did so because the cluster was out of reach, or the bus was shut down. A handler
    /// that fails with such an error is called again, and no attempt is counted.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::Failed(outcomes) => {
                outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).all(ProduceFailure::is_outage)
            }
            Self::Name(_) | Self::Encode(_) => false,
        }
    }

    /// Whether any event may have been written although it is not known.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Failed(outcomes) => {
                outcomes.iter().any(|outcome| outcome.as_ref().is_err_and(ProduceFailure::is_unknown))
            }
            Self::Closed => true,
            Self::Name(_) | Self::Encode(_) => false,
        }
    }
}

impl fmt::Display for ProduceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::Encode(error) => error.fmt(f),
            Self::Closed => f.write_str("the bus was shut down; produce before shutdown"),
            Self::Failed(outcomes) => {
                let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
                if outcomes.len() > 1 {
                    write!(f, "{failed} of {} events were not acknowledged; the first: ", outcomes.len())?;
                }
                match self.first_failure() {
                    Some(failure) => failure.fmt(f),
                    None => f.write_str("none"),
                }
            }
        }
    }
}

impl std::error::Error for ProduceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Name(error) => Some(error),
            Self::Encode(error) => Some(error),
            Self::Closed => None,
            Self::Failed(_) => self.first_failure().map(|failure| failure as _),
        }
    }
}

impl From<NameError> for ProduceError {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

impl From<EncodeError> for ProduceError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}
