//! Configurations: describing and changing.

use evenkeel_core::error::ErrorCode;

use super::{Refusal, Text};

/// What has configurations.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A topic by its name.
    Topic(Text),
    /// A broker by its number, or the default of all brokers.
    Broker(Text),
    /// Some other kind, by its number.
    Other(i8, Text),
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set for the topic.
    Topic,
    /// The broker's own configuration.
    Broker,
    /// Nobody set it.
    Default,
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum ConfigType {
    Boolean,
    String,
    Int,
    Long,
    Double,
    List,
}

/// One configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: Text,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Its type.
    pub kind: ConfigType,
    /// Whether it cannot be changed.
    pub read_only: bool,
}

/// Read configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribeConfigsRequest {
    /// Whose, and which; `None` for all.
    pub resources: Vec<(Resource, Option<Vec<Text>>)>,
}

/// Configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribeConfigsAnswer {
    /// Those of each resource.
    pub resources: Vec<(Resource, Result<Vec<ConfigEntry>, Refusal>)>,
}

/// What to do with one configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// Set it.
    Set(Text),
    /// Back to the default.
    Reset,
    /// Add to a list.
    Append(Text),
    /// Take from a list.
    Subtract(Text),
    /// No value was given where one is due.
    Nothing,
    /// A number that means nothing.
    Unknown(i8),
}

/// Change configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterConfigsRequest {
    /// What to do with each resource's configurations.
    pub resources: Vec<(Resource, Vec<(Text, ConfigChange)>)>,
    /// Whether what is not named goes back to its default.
    pub replace: bool,
    /// Only tell whether it would work.
    pub validate_only: bool,
}

/// What became of each resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterConfigsAnswer {
    /// The outcomes.
    pub resources: Vec<(Resource, Result<(), Refusal>)>,
}

impl Refusal {
    pub(crate) fn config(message: impl Into<Text>) -> Self {
        Self::new(ErrorCode::InvalidConfig, message)
    }
}
