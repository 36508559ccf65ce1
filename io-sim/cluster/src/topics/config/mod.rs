//! A topic's configurations: the ones that matter are obeyed, the ones that only tune a real broker's disks are checked
//! and remembered, all others are refused. None is ignored in silence.

mod settings;
mod table;
mod value;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::message::{ConfigChange, ConfigEntry, ConfigSource, Refusal, Synonym, Text};
pub(crate) use settings::{Settings, TimestampType};
use table::{DEFINITIONS, Definition, INTERNAL_SEGMENT_BYTES, definition};
use value::Value;

/// The configurations of one topic.
#[derive(Debug, Clone, Default)]
pub(crate) struct TopicConfig {
    /// What was set.
    set: BTreeMap<&'static str, Value>,
    /// What the cluster sets for all topics.
    defaults: BTreeMap<&'static str, Value>,
    /// What follows from both, read when it is first asked for: every produce does.
    in_force: OnceLock<Settings>,
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
            config.defaults.insert(definition.0, value::read(definition, value)?);
        }
        config.check()?;
        Ok(config)
    }

    /// The same defaults with nothing set.
    pub(crate) fn fresh(&self) -> Self {
        Self { set: BTreeMap::new(), defaults: self.defaults.clone(), in_force: OnceLock::new() }
    }

    /// Changes one configuration. Whether it agrees with the others [`check`](Self::check) says when all are changed.
    ///
    /// # Errors
    /// [`Refusal`] says what is wrong; nothing was changed then.
    pub(crate) fn change(&mut self, name: &str, change: &ConfigChange) -> Result<(), Refusal> {
        if *change == ConfigChange::Reset {
            // What is not known is not set, either: there is nothing to refuse.
            self.set.remove(name);
            self.in_force.take();
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
                for part in value::parts(value) {
                    if !list.iter().any(|known| **known == *part) {
                        list.push(part.into());
                    }
                }
            })?,
            ConfigChange::Subtract(value) => self.list(definition, |list| {
                let gone = value::parts(value);
                list.retain(|part| !gone.contains(&&**part));
            })?,
            ConfigChange::Unknown(number) => {
                return Err(Refusal::new(
                    evenkeel_core::error::ErrorCode::InvalidRequest,
                    format!("config operation {number} is not known: use 0 (set) to 3 (subtract)"),
                ));
            }
        };
        self.set.insert(definition.0, value::read(definition, &value)?);
        self.in_force.take();
        Ok(())
    }

    fn list(&self, definition: &Definition, change: impl FnOnce(&mut Vec<Text>)) -> Result<String, Refusal> {
        if !definition.3.is_list() {
            let name = definition.0;
            return Err(Refusal::config(format!("config {name} is not a list: set it instead")));
        }
        let mut list = match self.value(definition.0) {
            Some(Value::List(list)) => list,
            _ => Vec::new(),
        };
        change(&mut list);
        Ok(list.join(","))
    }

    /// All configurations, as they are described.
    pub(crate) fn entries(&self) -> Vec<ConfigEntry> {
        let entry = |(name, default, of_broker, values): &Definition| {
            let is_described = *name != INTERNAL_SEGMENT_BYTES.0;
            let told = |value: &Value| Text::from(value.to_string());
            let layer = |name: &'static str, value: Option<Text>, source| {
                Some(Synonym { name, value: value?, source })
            };
            let all = [
                layer(name, self.set.get(name).map(told), ConfigSource::Topic),
                layer(of_broker, self.defaults.get(name).map(told), ConfigSource::Broker),
                layer(of_broker, Some(Text::from(*default)), ConfigSource::Default).filter(|_| is_described),
            ];
            let mut synonyms: Vec<_> = all.into_iter().flatten().collect();
            // The first holds. There is one: the default.
            let (value, source) = synonyms.first().map_or_else(
                || (Text::default(), ConfigSource::Default),
                |held| (held.value.clone(), held.source),
            );
            synonyms.retain(|synonym| !synonym.name.is_empty());
            ConfigEntry { name, value, source, kind: values.kind(), read_only: false, synonyms }
        };
        // What is for tests only is told of where it is set.
        let internal = Some(&INTERNAL_SEGMENT_BYTES).filter(|known| self.set.contains_key(known.0));
        let mut entries: Vec<_> = DEFINITIONS.iter().chain(internal).map(entry).collect();
        entries.sort_by_key(|entry| entry.name);
        entries
    }

    /// The value in force, if there is one.
    fn value(&self, name: &str) -> Option<Value> {
        let held = self.set.get(name).or_else(|| self.defaults.get(name));
        held.cloned().or_else(|| {
            let definition = definition(name).ok()?;
            value::read(definition, definition.1).ok()
        })
    }

    /// What is in force.
    pub(crate) fn settings(&self) -> Settings {
        *self.in_force.get_or_init(|| Settings::of(self))
    }

    /// Whether the configurations that are in force now agree.
    ///
    /// # Errors
    /// [`Refusal`] names those that do not.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let Settings { compaction, .. } = self.settings();
        if compaction.min_lag > compaction.max_lag {
            return Err(Refusal::config(format!(
                "conflict topic config setting min.compaction.lag.ms ({}) > max.compaction.lag.ms ({})",
                compaction.min_lag.as_millis(),
                compaction.max_lag.as_millis()
            )));
        }
        Ok(())
    }
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
            ("remote.storage.enable", set("false"), true),
            ("remote.storage.enable", set("true"), false),
            ("compression.gzip.level", set("9"), true),
            ("compression.gzip.level", set("-1"), true),
            ("compression.gzip.level", set("0"), false),
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
    fn a_value_is_obeyed_whatever_blanks_surround_it() {
        let mut config = TopicConfig::default();
        for (name, value) in [
            ("message.timestamp.type", " LogAppendTime"),
            ("min.cleanable.dirty.ratio", " 0.1"),
            ("unclean.leader.election.enable", " TRUE\t"),
            ("cleanup.policy", " compact ,delete "),
            ("retention.bytes", "-3"),
            ("internal.segment.bytes", " 200"),
        ] {
            config.change(name, &set(value)).unwrap();
        }
        let settings = config.settings();
        assert_eq!(settings.timestamps, TimestampType::Append);
        assert_eq!(settings.compaction.min_dirty_thousandths, 100);
        assert!(settings.unclean_election && settings.compact && settings.delete);
        assert_eq!((settings.retention_bytes, settings.segment_bytes), (None, 200));
    }

    #[test]
    fn how_long_records_stay_uncompacted_must_agree() {
        let mut config = TopicConfig::default();
        config.change("min.compaction.lag.ms", &set("10")).unwrap();
        config.check().unwrap();
        config.change("max.compaction.lag.ms", &set("9")).unwrap();
        assert!(config.check().is_err());
        config.change("max.compaction.lag.ms", &set("10")).unwrap();
        config.check().unwrap();
    }

    #[test]
    fn lists_grow_and_shrink() {
        let mut config = TopicConfig::default();
        config.change("cleanup.policy", &ConfigChange::Append("compact".into())).unwrap();
        let told = |config: &TopicConfig| config.value("cleanup.policy").unwrap().to_string();
        assert_eq!(told(&config), "delete,compact");
        assert!(config.settings().compact && config.settings().delete);
        config.change("cleanup.policy", &ConfigChange::Subtract("delete".into())).unwrap();
        assert_eq!(told(&config), "compact");
        config.change("cleanup.policy", &ConfigChange::Reset).unwrap();
        assert!(!config.settings().compact);
    }

    #[test]
    fn the_defaults_are_legal_and_the_clusters_own_are_told_as_such() {
        for definition in DEFINITIONS {
            let value = value::read(definition, definition.1).unwrap();
            assert_eq!(value.to_string(), definition.1, "it is described as it stands in the table");
        }
        let config = TopicConfig::with_defaults([("retention.bytes", "5000")]).unwrap();
        assert_eq!(config.settings().retention_bytes, Some(5_000));
        let entries = config.entries();
        let entry = entries.iter().find(|entry| entry.name == "retention.bytes").unwrap();
        assert_eq!((&*entry.value, entry.source), ("5000", ConfigSource::Broker));
        let told: Vec<_> = entry.synonyms.iter().map(|s| (s.name, &*s.value, s.source)).collect();
        let own = ("log.retention.bytes", "5000", ConfigSource::Broker);
        assert_eq!(told, [own, ("log.retention.bytes", "-1", ConfigSource::Default)]);
        assert_eq!(TopicConfig::default().settings().retention_bytes, None, "-1 is no limit");
    }
}
