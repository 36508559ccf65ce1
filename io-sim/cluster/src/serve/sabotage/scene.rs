//! What is there to be struck: turns the numbers of a plan into brokers, partitions, groups and members.

use std::fmt;

use evenkeel_core::model::{BrokerId, PartitionId};

use super::words::BrokerStroke;
use crate::cluster::Input;
use crate::message::{
    Answer, DescribeGroupsRequest, ListGroupsRequest, MetadataRequest, Origin, Request, Text,
};
use crate::serve::owner::Owner;

/// What a stroke is aimed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Aim {
    /// A broker dies.
    Kill(BrokerId),
    /// A broker goes silent.
    Isolate(BrokerId),
    /// A follower stops copying.
    Stall(Replica),
    /// A replica is to lead.
    Lead(Replica),
    /// A broker is to coordinate a group.
    Coordinate { group: Text, by: BrokerId },
    /// A coordinator throws a member out.
    Evict { group: Text, coordinator: BrokerId, member: Text },
}

/// A partition's copy on a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replica {
    pub(super) topic: Text,
    pub(super) partition: PartitionId,
    pub(super) broker: BrokerId,
}

impl Replica {
    /// The replica stops copying, or goes on.
    pub(super) fn copies(self, runs: bool) -> Input {
        let Self { topic, partition, broker } = self;
        Input::Replication { topic, partition, broker, runs }
    }

    /// The replica leads.
    pub(super) fn leads(self) -> Input {
        let Self { topic, partition, broker } = self;
        Input::MoveLeader { topic, partition, to: broker }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(broker) => write!(f, "broker {broker} dies"),
            Self::Isolate(broker) => write!(f, "broker {broker} goes silent"),
            Self::Stall(Replica { topic, partition, broker }) => {
                write!(f, "broker {broker} stops copying {topic}/{partition}")
            }
            Self::Lead(Replica { topic, partition, broker }) => {
                write!(f, "broker {broker} is to lead {topic}/{partition}")
            }
            Self::Coordinate { group, by } => write!(f, "broker {by} is to coordinate {group}"),
            Self::Evict { group, coordinator: _, member } => write!(f, "{member} is thrown out of {group}"),
        }
    }
}

/// A group with its coordinator and its members.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    name: Text,
    coordinator: BrokerId,
    members: Vec<Text>,
}

/// All that can be struck, each in order.
#[derive(Debug, Default)]
pub(super) struct Scene {
    brokers: Vec<BrokerId>,
    partitions: Vec<(Text, PartitionId)>,
    groups: Vec<Group>,
}

impl Scene {
    /// Asks the brokers that live.
    pub(super) async fn look(owner: &Owner, brokers: Vec<BrokerId>, alive: &[BrokerId]) -> Self {
        let mut scene = Self { brokers, ..Self::default() };
        let Some(any) = alive.first() else { return scene };
        let request = MetadataRequest { topics: None, may_create: false };
        if let Some(Answer::Metadata(answer)) = ask(owner, *any, request.into()).await {
            for topic in answer.topics {
                let (Some(name), Ok(partitions)) = (topic.name, topic.partitions) else { continue };
                scene.partitions.extend(partitions.iter().map(|part| (name.clone(), part.partition)));
            }
        }
        for coordinator in alive.iter().copied() {
            let listed = ask(owner, coordinator, ListGroupsRequest::default().into()).await;
            let Some(Answer::ListGroups(listed)) = listed else { continue };
            let groups = listed.groups.into_iter().map(|group| group.group).collect();
            let described = ask(owner, coordinator, DescribeGroupsRequest { groups }.into()).await;
            let Some(Answer::DescribeGroups(described)) = described else { continue };
            for (name, group) in described.groups {
                let mut members: Vec<_> = group
                    .map_or_else(|_| Vec::new(), |group| group.members)
                    .into_iter()
                    .map(|m| m.member)
                    .collect();
                members.sort();
                scene.groups.push(Group { name, coordinator, members });
            }
        }
        scene.partitions.sort();
        scene.groups.sort();
        scene
    }

    fn broker(&self, id: u16) -> Option<BrokerId> {
        let wanted = BrokerId(id.into());
        if self.brokers.contains(&wanted) { Some(wanted) } else { nth(&self.brokers, id).copied() }
    }

    fn replica(&self, partition: u16, broker: u16) -> Option<Replica> {
        let (topic, partition) = nth(&self.partitions, partition)?.clone();
        Some(Replica { topic, partition, broker: self.broker(broker)? })
    }

    /// What a stroke is aimed at; `None` if there is nothing of the kind.
    pub(super) fn aim(&self, stroke: BrokerStroke) -> Option<Aim> {
        Some(match stroke {
            BrokerStroke::KillBroker { broker, .. } => Aim::Kill(self.broker(broker)?),
            BrokerStroke::IsolateBroker { broker, .. } => Aim::Isolate(self.broker(broker)?),
            BrokerStroke::StallReplica { partition, broker, .. } => {
                Aim::Stall(self.replica(partition, broker)?)
            }
            BrokerStroke::MoveLeader { partition, to } => Aim::Lead(self.replica(partition, to)?),
            BrokerStroke::MoveCoordinator { group, to } => {
                Aim::Coordinate { group: nth(&self.groups, group)?.name.clone(), by: self.broker(to)? }
            }
            BrokerStroke::Evict { group, member } => {
                let Group { name, coordinator, members } = nth(&self.groups, group)?;
                let member = nth(members, member)?.clone();
                Aim::Evict { group: name.clone(), coordinator: *coordinator, member }
            }
        })
    }
}

fn nth<T>(of: &[T], number: u16) -> Option<&T> {
    of.get(usize::from(number) % of.len().max(1))
}

/// Asks a broker as a client would.
pub(super) async fn ask(owner: &Owner, broker: BrokerId, request: Request) -> Option<Answer> {
    let origin = Origin { broker, client: "faults".into(), host: "/127.0.0.1".into() };
    owner.ask(origin, request).await?.answer().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::plan::Stroke;

    #[test]
    fn numbers_beyond_what_is_there_wrap_around() {
        let scene = Scene {
            brokers: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
            partitions: vec![("orders".into(), PartitionId(0)), ("orders".into(), PartitionId(1))],
            groups: vec![Group {
                name: "billing".into(),
                coordinator: BrokerId(3),
                members: vec!["m".into()],
            }],
        };
        for (written, told) in [
            ("kill-broker 2 down 1s", "broker 2 dies"),
            ("isolate-broker 3 for 1s", "broker 3 goes silent"),
            ("isolate-broker 4 for 1s", "broker 2 goes silent"),
            ("move-leader partition 3 to 1", "broker 1 is to lead orders/1"),
            ("stall-replica partition 2 broker 2 for 1s", "broker 2 stops copying orders/0"),
            ("move-coordinator group 9 to 2", "broker 2 is to coordinate billing"),
            ("evict group 0 member 5", "m is thrown out of billing"),
        ] {
            let words: Vec<_> = written.split(' ').collect();
            let stroke = BrokerStroke::read(&words).expect("it is one");
            assert_eq!(scene.aim(stroke).expect("something is there").to_string(), told);
            assert!(stroke.lasting().is_some() || Scene::default().aim(stroke).is_none());
        }
    }
}
