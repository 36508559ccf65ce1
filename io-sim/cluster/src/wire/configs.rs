//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs.

use super::read::{Malformed, Reader};
use super::write::Writer;
use crate::message::{
    AlterConfigsAnswer, AlterConfigsRequest, ConfigChange, ConfigSource, ConfigType, DescribeConfigsAnswer,
    DescribeConfigsRequest, Resource,
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

fn read_resource(from: &mut Reader) -> Result<Resource, Malformed> {
    Ok(match from.i8()? {
        TOPIC => Resource::Topic(from.text()?),
        BROKER => Resource::Broker(from.text()?),
        other => Resource::Other(other, from.text()?),
    })
}

fn write_resource(to: &mut Writer, resource: &Resource) {
    let (kind, name) = match resource {
        Resource::Topic(name) => (TOPIC, name),
        Resource::Broker(name) => (BROKER, name),
        Resource::Other(kind, name) => (*kind, name),
    };
    to.i8(kind);
    to.text(name);
}

/// Where a value comes from, as a number on the wire.
pub(super) const fn source_number(source: ConfigSource) -> i8 {
    match source {
        ConfigSource::Topic => 1,
        ConfigSource::Broker => 4,
        ConfigSource::Default => 5,
    }
}

const fn type_number(kind: ConfigType) -> i8 {
    match kind {
        ConfigType::Boolean => 1,
        ConfigType::String => 2,
        ConfigType::Int => 3,
        ConfigType::Long => 5,
        ConfigType::Double => 6,
        ConfigType::List => 7,
    }
}

pub(super) fn read_describe(from: &mut Reader, version: i16) -> Result<DescribeConfigsRequest, Malformed> {
    let resources = from.array(|from| {
        let resource = read_resource(from)?;
        Ok((resource, from.nullable_list(Reader::text)?))
    })?;
    let _synonyms = from.bool()?;
    if version >= 3 {
        let _documentation = from.bool()?;
    }
    Ok(DescribeConfigsRequest { resources })
}

pub(super) fn write_describe(to: &mut Writer, version: i16, answer: &DescribeConfigsAnswer) {
    to.no_throttle();
    to.array(&answer.resources, |to, (resource, outcome)| {
        to.refusal(outcome);
        write_resource(to, resource);
        let none = Vec::new();
        to.array(outcome.as_ref().unwrap_or(&none), |to, entry| {
            to.text(entry.name);
            to.nullable_text(Some(&entry.value));
            to.bool(entry.read_only);
            to.i8(source_number(entry.source));
            // Whether it is a secret.
            to.bool(false);
            // Other names for it.
            to.array::<()>(&[], |_, ()| {});
            if version >= 3 {
                to.i8(type_number(entry.kind));
                // Documentation.
                to.nullable_text(None);
            }
        });
    });
}

pub(super) fn read_alter(from: &mut Reader) -> Result<AlterConfigsRequest, Malformed> {
    let resources = from.array(|from| {
        let resource = read_resource(from)?;
        let changes = from.array(|from| {
            let name = from.text()?;
            Ok((name, from.nullable_text()?.map_or(ConfigChange::Reset, ConfigChange::Set)))
        })?;
        Ok((resource, changes))
    })?;
    Ok(AlterConfigsRequest { resources, replace: true, validate_only: from.bool()? })
}

pub(super) fn read_change(from: &mut Reader) -> Result<AlterConfigsRequest, Malformed> {
    let resources = from.array(|from| {
        let resource = read_resource(from)?;
        let changes = from.array(|from| {
            let name = from.text()?;
            let operation = from.i8()?;
            let change = match (operation, from.nullable_text()?) {
                (1, _) => ConfigChange::Reset,
                (0 | 2 | 3, None) => ConfigChange::Nothing,
                (0, Some(value)) => ConfigChange::Set(value),
                (2, Some(value)) => ConfigChange::Append(value),
                (3, Some(value)) => ConfigChange::Subtract(value),
                (other, _) => ConfigChange::Unknown(other),
            };
            Ok((name, change))
        })?;
        Ok((resource, changes))
    })?;
    Ok(AlterConfigsRequest { resources, replace: false, validate_only: from.bool()? })
}

/// The answer is the same to both ways of changing.
pub(super) fn write_alter(to: &mut Writer, answer: &AlterConfigsAnswer) {
    to.no_throttle();
    to.array(&answer.resources, |to, (resource, outcome)| {
        to.refusal(outcome);
        write_resource(to, resource);
    });
}
