//! A topic's configurations: the ones that matter are obeyed, the ones that only tune a real broker's disks are checked
//! and remembered, all others are refused. None is ignored in silence.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::message::{ConfigChange, ConfigEntry, ConfigSource, ConfigType, Refusal, Text};

/// What values a configuration takes.
#[derive(Debug, Clone, Copy)]
enum Values {
    Boolean,
    Int(i64),
    /// A number from this up.
    Long(i64),
    /// From zero to one.
    Ratio,
    OneOf(&'static [&'static str]),
    SomeOf(&'static [&'static str]),
    /// Whatever it is: it is remembered and has no effect.
    Any,
}

/// Name, default, values.
type Definition = (&'static str, &'static str, Values);

/// All that a topic may be configured with, as in Kafka 4.1.
const DEFINITIONS: &[Definition] = &[
    ("cleanup.policy", "delete", Values::SomeOf(&["compact", "delete"])),
    ("compression.type", "producer", Values::OneOf(&["producer"])),
    ("delete.retention.ms", "86400000", Values::Long(0)),
    ("file.delete.delay.ms", "60000", Values::Long(0)),
    ("flush.messages", "9223372036854775807", Values::Long(1)),
    ("flush.ms", "9223372036854775807", Values::Long(0)),
    ("follower.replication.throttled.replicas", "", Values::Any),
    ("index.interval.bytes", "4096", Values::Int(0)),
    ("leader.replication.throttled.replicas", "", Values::Any),
    ("max.compaction.lag.ms", "9223372036854775807", Values::Long(1)),
    ("max.message.bytes", "1048588", Values::Int(0)),
    ("message.timestamp.after.max.ms", "3600000", Values::Long(0)),
    ("message.timestamp.before.max.ms", "9223372036854775807", Values::Long(0)),
    ("message.timestamp.type", "CreateTime", Values::OneOf(&["CreateTime", "LogAppendTime"])),
    ("min.cleanable.dirty.ratio", "0.5", Values::Ratio),
    ("min.compaction.lag.ms", "0", Values::Long(0)),
    ("min.insync.replicas", "1", Values::Int(1)),
    ("preallocate", "false", Values::Boolean),
    ("retention.bytes", "-1", Values::Long(-2)),
    ("retention.ms", "604800000", Values::Long(-1)),
    ("segment.bytes", "1073741824", Values::Int(14)),
    ("segment.index.bytes", "10485760", Values::Int(4)),
    ("segment.jitter.ms", "0", Values::Long(0)),
    ("segment.ms", "604800000", Values::Long(1)),
    ("unclean.leader.election.enable", "false", Values::Boolean),
];

/// Which time records bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimestampType {
    /// The producer's.
    Create,
    /// The broker's.
    Append,
}

/// The configurations of one topic.
#[derive(Debug, Clone, Default)]
pub(crate) struct TopicConfig {
    /// What was set.
    set: BTreeMap<&'static str, Text>,
    /// What the cluster sets for all topics.
    defaults: BTreeMap<&'static str, Text>,
}

impl TopicConfig {
    /// A topic that has nothing set, in a cluster with defaults of its own.
    ///
    /// # Errors
    /// [`Refusal`] names the configuration that is unknown or has no legal value.
    pub(crate) fn with_defaults<'a>(
        defaults: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Refusal> {
        let mut config = Self::default();
        for (name, value) in defaults {
            let definition = definition(name)?;
            check(definition, value)?;
            config.defaults.insert(definition.0, value.into());
        }
        Ok(config)
    }

    /// The same defaults with nothing set.
    pub(crate) fn fresh(&self) -> Self {
        Self { set: BTreeMap::new(), defaults: self.defaults.clone() }
    }

    /// Changes one configuration.
    ///
    /// # Errors
    /// [`Refusal`] says what is wrong; nothing was changed then.
    pub(crate) fn change(&mut self, name: &str, change: &ConfigChange) -> Result<(), Refusal> {
        if *change == ConfigChange::Reset {
            // What is not known is not set, either: there is nothing to refuse.
            self.set.remove(name);
            return Ok(());
        }
        let definition = definition(name)?;
        let value = match change {
            ConfigChange::Reset => return Ok(()),
            ConfigChange::Nothing => {
                return Err(Refusal::new(
                    evenkeel_core::error::ErrorCode::InvalidRequest,
                    format!("config {name} is given no value: delete it to have the default"),
                ));
            }
            ConfigChange::Set(value) => value.to_string(),
            ConfigChange::Append(value) => self.list(definition, |list| {
                list.extend(parts(value).filter(|part| !list.contains(part)).collect::<Vec<_>>());
            })?,
            ConfigChange::Subtract(value) => {
                self.list(definition, |list| list.retain(|part| !parts(value).any(|gone| gone == *part)))?
            }
            ConfigChange::Unknown(number) => {
                return Err(Refusal::new(
                    evenkeel_core::error::ErrorCode::InvalidRequest,
                    format!("config operation {number} is not known: use 0 (set) to 3 (subtract)"),
                ));
            }
        };
        check(definition, &value)?;
        self.set.insert(definition.0, value.into());
        Ok(())
    }

    fn list<'a>(
        &'a self,
        definition: &Definition,
        change: impl FnOnce(&mut Vec<&'a str>),
    ) -> Result<String, Refusal> {
        if !matches!(definition.2, Values::SomeOf(_) | Values::Any) {
            let name = definition.0;
            return Err(Refusal::config(format!("config {name} is not a list: set it instead")));
        }
        let mut list = parts(self.value(definition.0)).collect();
        change(&mut list);
        Ok(list.join(","))
    }

    /// All configurations, as they are described.
    pub(crate) fn entries(&self) -> Vec<ConfigEntry> {
        let entry = |(name, default, values): &Definition| {
            let (value, source) = match (self.set.get(name), self.defaults.get(name)) {
                (Some(value), _) => (value.clone(), ConfigSource::Topic),
                (None, Some(value)) => (value.clone(), ConfigSource::Broker),
                (None, None) => (Text::from(*default), ConfigSource::Default),
            };
            ConfigEntry { name, value, source, kind: values.kind(), read_only: false }
        };
        DEFINITIONS.iter().map(entry).collect()
    }

    /// The value in force.
    fn value(&self, name: &'static str) -> &str {
        let default = || DEFINITIONS.iter().find(|known| known.0 == name).map_or("", |known| known.1);
        self.set.get(name).or_else(|| self.defaults.get(name)).map_or_else(default, |value| &**value)
    }

    /// A number in force. Values are checked when they are set, so there is one.
    fn number(&self, name: &'static str) -> i64 {
        self.value(name).trim().parse().unwrap_or(0)
    }

    fn duration(&self, name: &'static str) -> Duration {
        Duration::from_millis(u64::try_from(self.number(name)).unwrap_or(u64::MAX))
    }

    /// What is in force, read once.
    pub(crate) fn settings(&self) -> Settings {
        let bytes = |name| u64::try_from(self.number(name)).ok();
        let policies: Vec<_> = parts(self.value("cleanup.policy")).collect();
        Settings {
            compact: policies.contains(&"compact"),
            delete: policies.contains(&"delete"),
            retention_age: (self.number("retention.ms") >= 0).then(|| self.duration("retention.ms")),
            retention_bytes: bytes("retention.bytes"),
            segment_bytes: bytes("segment.bytes").unwrap_or(u64::MAX),
            segment_age: self.duration("segment.ms"),
            max_message_bytes: usize::try_from(self.number("max.message.bytes")).unwrap_or(0),
            timestamps: match self.value("message.timestamp.type") {
                "LogAppendTime" => TimestampType::Append,
                _ => TimestampType::Create,
            },
            timestamp_before: self.duration("message.timestamp.before.max.ms"),
            timestamp_after: self.duration("message.timestamp.after.max.ms"),
            min_in_sync: usize::try_from(self.number("min.insync.replicas")).unwrap_or(1),
            unclean_election: self.value("unclean.leader.election.enable").eq_ignore_ascii_case("true"),
            keep_tombstones: self.duration("delete.retention.ms"),
            // From 0 to 1, as it was checked to be.
            min_dirty_thousandths: self
                .value("min.cleanable.dirty.ratio")
                .parse()
                .map_or(500, |ratio: f64| (ratio * 1_000.0) as u32),
        }
    }
}

/// The settings that the cluster obeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) compact: bool,
    pub(crate) delete: bool,
    pub(crate) retention_age: Option<Duration>,
    pub(crate) retention_bytes: Option<u64>,
    pub(crate) segment_bytes: u64,
    pub(crate) segment_age: Duration,
    pub(crate) max_message_bytes: usize,
    pub(crate) timestamps: TimestampType,
    pub(crate) timestamp_before: Duration,
    pub(crate) timestamp_after: Duration,
    pub(crate) min_in_sync: usize,
    pub(crate) unclean_election: bool,
    pub(crate) keep_tombstones: Duration,
    pub(crate) min_dirty_thousandths: u32,
}

impl Values {
    const fn kind(self) -> ConfigType {
        match self {
            Self::Boolean => ConfigType::Boolean,
            Self::Int(_) => ConfigType::Int,
            Self::Long(_) => ConfigType::Long,
            Self::Ratio => ConfigType::Double,
            Self::OneOf(_) => ConfigType::String,
            Self::SomeOf(_) | Self::Any => ConfigType::List,
        }
    }
}

fn definition(name: &str) -> Result<&'static Definition, Refusal> {
    let known = DEFINITIONS.iter().find(|known| known.0 == name);
    known.ok_or_else(|| Refusal::config(format!("Unknown topic config name: {name}")))
}

fn parts(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn check((name, _, values): &Definition, value: &str) -> Result<(), Refusal> {
    let number = |lowest: i64, highest: i64, kind: &str| match value.trim().parse::<i64>() {
        Ok(number) if (lowest..=highest).contains(&number) => Ok(()),
        Ok(_) => Err(format!("use {lowest} to {highest}")),
        Err(_) => Err(format!("Not a number of type {kind}")),
    };
    let outcome = match values {
        Values::Boolean if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") => {
            Ok(())
        }
        Values::Boolean => Err("use true or false".to_owned()),
        Values::Int(lowest) => number(*lowest, i64::from(i32::MAX), "INT"),
        Values::Long(lowest) => number(*lowest, i64::MAX, "LONG"),
        Values::Ratio => match value.trim().parse::<f64>() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(()),
            Ok(_) => Err("use 0 to 1".to_owned()),
            Err(_) => Err("Not a number of type DOUBLE".to_owned()),
        },
        Values::OneOf(known) if known.contains(&value.trim()) => Ok(()),
        Values::SomeOf(known) if parts(value).all(|part| known.contains(&part)) => Ok(()),
        Values::OneOf(known) | Values::SomeOf(known) => {
            Err(format!("this broker knows {}", known.join(", ")))
        }
        Values::Any => Ok(()),
    };
    outcome.map_err(|why| Refusal::config(format!("Invalid value {value} for configuration {name}: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(value: &str) -> ConfigChange {
        ConfigChange::Set(value.into())
    }

    #[test]
    fn a_table_of_what_may_be_set() {
        for (name, change, legal) in [
            ("retention.ms", set("-1"), true),
            ("retention.ms", set("-2"), false),
            ("retention.ms", set("a week"), false),
            ("retention.bytes", set("1000000"), true),
            ("cleanup.policy", set("compact,delete"), true),
            ("cleanup.policy", set("compact, delete"), true),
            ("cleanup.policy", set("shred"), false),
            ("cleanup.policy", ConfigChange::Append("compact".into()), true),
            ("max.message.bytes", ConfigChange::Append("1".into()), false),
            ("max.message.bytes", set("2147483648"), false),
            ("message.timestamp.type", set("LogAppendTime"), true),
            ("message.timestamp.type", set("logappendtime"), false),
            ("min.cleanable.dirty.ratio", set("0.25"), true),
            ("min.cleanable.dirty.ratio", set("1.5"), false),
            ("min.insync.replicas", set("0"), false),
            ("compression.type", set("zstd"), false),
            ("preallocate", set("TRUE"), true),
            ("no.such.thing", set("1"), false),
            ("no.such.thing", ConfigChange::Reset, true),
            ("retention.ms", ConfigChange::Unknown(7), false),
            ("retention.ms", ConfigChange::Nothing, false),
        ] {
            let outcome = TopicConfig::default().change(name, &change);
            assert_eq!(outcome.is_ok(), legal, "{name} {change:?}: {outcome:?}");
        }
    }

    #[test]
    fn lists_grow_and_shrink() {
        let mut config = TopicConfig::default();
        config.change("cleanup.policy", &ConfigChange::Append("compact".into())).unwrap();
        assert_eq!(config.value("cleanup.policy"), "delete,compact");
        assert!(config.settings().compact && config.settings().delete);
        config.change("cleanup.policy", &ConfigChange::Subtract("delete".into())).unwrap();
        assert_eq!(config.value("cleanup.policy"), "compact");
        config.change("cleanup.policy", &ConfigChange::Reset).unwrap();
        assert!(!config.settings().compact);
    }

    #[test]
    fn the_defaults_are_legal_and_the_clusters_own_are_told_as_such() {
        for definition in DEFINITIONS {
            check(definition, definition.1).unwrap();
        }
        let config = TopicConfig::with_defaults([("retention.bytes", "5000")]).unwrap();
        assert_eq!(config.settings().retention_bytes, Some(5_000));
        let entries = config.entries();
        let entry = entries.iter().find(|entry| entry.name == "retention.bytes").unwrap();
        assert_eq!((&*entry.value, entry.source), ("5000", ConfigSource::Broker));
        assert_eq!(TopicConfig::default().settings().retention_bytes, None, "-1 is no limit");
    }
}
