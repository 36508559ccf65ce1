//! Names that Kafka would refuse.

use std::fmt;

use crate::model::MAX_NAME_LENGTH;

/// What a name was meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// A topic.
    Topic,
    /// A consumer group.
    Group,
}

impl fmt::Display for NameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topic => "topic",
            Self::Group => "group",
        })
    }
}

/// A name that is not a legal Kafka name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name:?} is not a legal Kafka {kind} name: {fault}")]
pub struct NameError {
    kind: NameKind,
    name: String,
    fault: Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Empty,
    TooLong(usize),
    Dots,
    Character(char),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "it is empty; use 1 to {MAX_NAME_LENGTH} characters"),
            Self::TooLong(length) => write!(f, "it has {length} characters; use at most {MAX_NAME_LENGTH}"),
            Self::Dots => write!(f, "it is only dots; add a letter or digit"),
            Self::Character(c) => write!(f, "{c:?} is not allowed; use letters, digits, '.', '_' and '-'"),
        }
    }
}

impl NameError {
    /// Kafka's own rules for topics (`org.apache.kafka.common.internals.Topic`), kept for groups too.
    pub(crate) fn check(kind: NameKind, name: &str) -> Result<(), Self> {
        let legal = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let fault = if name.is_empty() {
            Fault::Empty
        } else if let Some(stranger) = name.chars().find(|c| !legal(c)) {
            Fault::Character(stranger)
        } else if name.len() > MAX_NAME_LENGTH {
            Fault::TooLong(name.len())
        } else if name == "." || name == ".." {
            Fault::Dots
        } else {
            return Ok(());
        };
        Err(Self { kind, name: name.to_owned(), fault })
    }
}
