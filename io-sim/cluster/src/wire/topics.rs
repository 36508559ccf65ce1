//! Metadata, DescribeCluster, CreateTopics, DeleteTopics, CreatePartitions.

use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{BrokerId, PartitionId};

use super::configs::source_number;
use super::read::{Malformed, Reader};
use super::records::NONE;
use super::write::Writer;
use super::{Form, code};
use crate::message::{
    BrokerAddress, CreatePartitionsAnswer, CreatePartitionsRequest, CreateTopicsAnswer, CreateTopicsRequest,
    DeleteTopicsAnswer, DeleteTopicsRequest, DescribeClusterAnswer, DescribeClusterRequest, MetadataAnswer,
    MetadataRequest, MorePartitions, NewTopic, PartitionMetadata, TopicId, TopicRef,
};

/// What a client may do: everything, since nothing is guarded here; or that it has not asked.
pub(super) const fn operations(asked: bool, all: i32) -> i32 {
    if asked { all } else { i32::MIN }
}

/// A bit for each of Kafka's operations that a topic knows: read, write, create, delete, alter, describe, and
/// configurations' describe and alter.
const ON_TOPIC: i32 = 0b1101_1111_1000;
/// Create, alter, describe, cluster action, configurations' describe and alter, idempotent write.
const ON_CLUSTER: i32 = 0b1_1111_1010_0000;

pub(super) fn read_metadata(from: &mut Reader, version: i16) -> Result<MetadataRequest, Malformed> {
    let topics = from.nullable_array(|from| {
        let id = if version >= 10 { from.topic_id()? } else { TopicId::default() };
        let name = if version >= 10 { from.nullable_text()? } else { Some(from.text()?) };
        Ok(TopicRef::new(name, id))
    })?;
    // In the first version nothing stood for all.
    let topics = topics.filter(|topics| version >= 1 || !topics.is_empty());
    let may_create = if version >= 4 { from.bool()? } else { true };
    if (8..=10).contains(&version) {
        from.form.cluster_operations = from.bool()?;
    }
    if version >= 8 {
        from.form.operations = from.bool()?;
    }
    Ok(MetadataRequest { topics, may_create })
}

fn broker(to: &mut Writer, address: &BrokerAddress) {
    to.i32(address.broker.0);
    to.text(&address.host);
    to.i32(i32::from(address.port));
}

fn wire_broker(broker: Option<BrokerId>) -> i32 {
    broker.map_or(i32::from(NONE), |broker| broker.0)
}

pub(super) fn write_metadata(to: &mut Writer, version: i16, form: Form, answer: &MetadataAnswer) {
    if version >= 3 {
        to.no_throttle();
    }
    to.array(&answer.brokers, |to, address| {
        broker(to, address);
        if version >= 1 {
            // The rack.
            to.nullable_text(None);
        }
    });
    if version >= 2 {
        to.nullable_text(Some(&answer.cluster_id));
    }
    if version >= 1 {
        to.i32(wire_broker(answer.controller));
    }
    to.array(&answer.topics, |to, topic| {
        to.i16(code(&topic.partitions));
        if version >= 12 {
            to.nullable_text(topic.name.as_deref());
        } else {
            to.text(topic.name.as_deref().unwrap_or_default());
        }
        if version >= 10 {
            to.topic_id(topic.id);
        }
        if version >= 1 {
            // Whether it is the cluster's own.
            to.bool(false);
        }
        let none = Vec::new();
        to.array(topic.partitions.as_ref().unwrap_or(&none), |to, partition| {
            write_partition(to, version, partition);
        });
        if version >= 8 {
            to.i32(operations(form.operations && topic.partitions.is_ok(), ON_TOPIC));
        }
    });
    if (8..=10).contains(&version) {
        to.i32(operations(form.cluster_operations, ON_CLUSTER));
    }
}

fn write_partition(to: &mut Writer, version: i16, partition: &PartitionMetadata) {
    let error = if partition.leader.is_none() { Some(ErrorCode::LeaderNotAvailable) } else { None };
    let numbers = |to: &mut Writer, brokers: &[BrokerId]| to.list(brokers, |to, broker| to.i32(broker.0));
    to.error(error);
    to.i32(partition.partition.0);
    to.i32(wire_broker(partition.leader));
    if version >= 7 {
        to.i32(partition.leader_epoch.0);
    }
    numbers(to, &partition.replicas);
    numbers(to, &partition.in_sync);
    if version >= 5 {
        numbers(to, &partition.offline);
    }
}

pub(super) fn read_describe_cluster(
    from: &mut Reader,
    version: i16,
) -> Result<DescribeClusterRequest, Malformed> {
    from.form.cluster_operations = from.bool()?;
    if version >= 1 {
        from.form.endpoints = Some(from.i8()?).filter(|kind| *kind != BROKERS);
    }
    Ok(DescribeClusterRequest)
}

/// The kinds of nodes.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(super) fn write_describe_cluster(
    to: &mut Writer,
    version: i16,
    form: Form,
    answer: &DescribeClusterAnswer,
) {
    const MISMATCHED_ENDPOINT_TYPE: i16 = 114;
    const UNSUPPORTED_ENDPOINT_TYPE: i16 = 115;
    let refusal = form.endpoints.map(|kind| match kind {
        CONTROLLERS => (MISMATCHED_ENDPOINT_TYPE, "the controllers do not listen here: ask about brokers"),
        _ => (UNSUPPORTED_ENDPOINT_TYPE, "this kind of node is not known: ask about brokers"),
    });
    to.no_throttle();
    to.i16(refusal.map_or(0, |(code, _)| code));
    to.nullable_text(refusal.map(|(_, why)| why));
    if version >= 1 {
        to.i8(BROKERS);
    }
    if refusal.is_some() {
        to.text("");
        to.i32(wire_broker(None));
        to.array::<()>(&[], |_, ()| {});
        to.i32(operations(false, 0));
        return;
    }
    to.text(&answer.cluster_id);
    to.i32(wire_broker(answer.controller));
    to.array(&answer.brokers, |to, address| {
        broker(to, address);
        to.nullable_text(None);
    });
    to.i32(operations(form.cluster_operations, ON_CLUSTER));
}

pub(super) fn read_create_topics(from: &mut Reader) -> Result<CreateTopicsRequest, Malformed> {
    let topics = from.array(|from| {
        Ok(NewTopic {
            name: from.text()?,
            partitions: Some(from.i32()?).filter(|count| *count != i32::from(NONE)),
            replication: Some(from.i16()?).filter(|count| *count != i16::from(NONE)),
            assignment: from.array(|from| {
                let partition = PartitionId(from.i32()?);
                Ok((partition, from.list(|from| from.i32().map(BrokerId))?))
            })?,
            configs: from.array(|from| Ok((from.text()?, from.nullable_text()?)))?,
        })
    })?;
    let _timeout = from.i32()?;
    Ok(CreateTopicsRequest { topics, validate_only: from.bool()? })
}

pub(super) fn write_create_topics(to: &mut Writer, version: i16, answer: &CreateTopicsAnswer) {
    to.no_throttle();
    to.array(&answer.topics, |to, (name, outcome)| {
        to.text(name);
        let created = outcome.as_ref().ok();
        if version >= 7 {
            to.topic_id(created.map(|created| created.id).unwrap_or_default());
        }
        to.refusal(outcome);
        if version >= 5 {
            to.i32(created.map_or(i32::from(NONE), |created| created.partitions));
            to.i16(created.map_or(i16::from(NONE), |created| created.replication));
            match created {
                Some(created) => to.array(&created.configs, |to, entry| {
                    to.text(entry.name);
                    to.nullable_text(Some(&entry.value));
                    to.bool(entry.read_only);
                    to.i8(source_number(entry.source));
                    // Whether it is a secret.
                    to.bool(false);
                }),
                None => to.null_array(),
            }
        }
    });
}

pub(super) fn read_delete_topics(from: &mut Reader, version: i16) -> Result<DeleteTopicsRequest, Malformed> {
    let topics = if version >= 6 {
        from.array(|from| {
            let name = from.nullable_text()?;
            let id = from.topic_id()?;
            Ok(TopicRef::new(name, id))
        })?
    } else {
        from.list(|from| from.text().map(TopicRef::Name))?
    };
    let _timeout = from.i32()?;
    Ok(DeleteTopicsRequest { topics })
}

pub(super) fn write_delete_topics(to: &mut Writer, version: i16, answer: &DeleteTopicsAnswer) {
    to.no_throttle();
    to.array(&answer.topics, |to, (name, id, outcome)| {
        if version >= 6 {
            to.nullable_text(name.as_deref());
            to.topic_id(*id);
        } else {
            to.text(name.as_deref().unwrap_or_default());
        }
        to.i16(code(outcome));
        if version >= 5 {
            to.nullable_text(outcome.err().map(|code| code.to_string()).as_deref());
        }
    });
}

pub(super) fn read_create_partitions(from: &mut Reader) -> Result<CreatePartitionsRequest, Malformed> {
    let topics = from.array(|from| {
        Ok(MorePartitions {
            name: from.text()?,
            count: from.i32()?,
            assignment: from.nullable_array(|from| from.list(|from| from.i32().map(BrokerId)))?,
        })
    })?;
    let _timeout = from.i32()?;
    Ok(CreatePartitionsRequest { topics, validate_only: from.bool()? })
}

pub(super) fn write_create_partitions(to: &mut Writer, answer: &CreatePartitionsAnswer) {
    to.no_throttle();
    to.array(&answer.topics, |to, (name, outcome)| {
        to.text(name);
        to.refusal(outcome);
    });
}
