//! What is there to be struck: turns the numbers of a plan into brokers, partitions, groups and members.

use std::fmt;

use evenkeel_core::model::{BrokerId, PartitionId};

use super::words::BrokerStroke;
use crate::cluster::Input;
use crate::message::{
    Answer, DescribeGroupsRequest, LeaveGroupRequest, LeavingMember, ListGroupsRequest, MetadataRequest,
    Origin, Request, Text,
};
use crate::serve::owner::Owner;

/// What a stroke is aimed at, and what is done there.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Aim {
    /// A broker dies.
    Kill(BrokerId),
    /// A broker goes silent.
    Isolate(BrokerId),
    /// The cluster is told something, and something else when that is over.
    Tell { event: Input, undo: Option<Input> },
    /// A broker is asked something, as by a client.
    Ask { broker: BrokerId, request: Request },
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(broker) => write!(f, "broker {broker} dies"),
            Self::Isolate(broker) => write!(f, "broker {broker} goes silent"),
            Self::Tell { event: Input::MoveLeader { topic, partition, to }, .. } => {
                write!(f, "broker {to} is to lead {topic}/{partition}")
            }
            Self::Tell { event: Input::MoveCoordinator { group, to }, .. } => {
                write!(f, "broker {to} coordinates {group}")
            }
            Self::Tell { event: Input::Replication { topic, partition, broker, .. }, .. } => {
                write!(f, "broker {broker} stops copying {topic}/{partition}")
            }
            Self::Tell { event, .. } => write!(f, "{event:?}"),
            Self::Ask { request: Request::LeaveGroup(LeaveGroupRequest { group, members }), .. } => {
                let members: Vec<&str> = members.iter().map(|member| &*member.member).collect();
                write!(f, "{} is thrown out of {group}", members.join(", "))
            }
            Self::Ask { broker, request } => write!(f, "broker {broker} is asked {request:?}"),
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

    /// What a stroke is aimed at; `None` if there is nothing of the kind.
    pub(super) fn aim(&self, stroke: BrokerStroke) -> Option<Aim> {
        Some(match stroke {
            BrokerStroke::KillBroker { broker, .. } => Aim::Kill(self.broker(broker)?),
            BrokerStroke::IsolateBroker { broker, .. } => Aim::Isolate(self.broker(broker)?),
            BrokerStroke::StallReplica { partition, broker, .. } => {
                let (topic, partition) = nth(&self.partitions, partition)?.clone();
                let broker = self.broker(broker)?;
                let stall = |runs| Input::Replication { topic: topic.clone(), partition, broker, runs };
                Aim::Tell { event: stall(false), undo: Some(stall(true)) }
            }
            BrokerStroke::MoveLeader { partition, to } => {
                let (topic, partition) = nth(&self.partitions, partition)?.clone();
                Aim::Tell { event: Input::MoveLeader { topic, partition, to: self.broker(to)? }, undo: None }
            }
            BrokerStroke::MoveCoordinator { group, to } => {
                let group = nth(&self.groups, group)?.name.clone();
                Aim::Tell { event: Input::MoveCoordinator { group, to: self.broker(to)? }, undo: None }
            }
            BrokerStroke::Evict { group, member } => {
                let Group { name, coordinator, members } = nth(&self.groups, group)?;
                let leaving = LeavingMember { member: nth(members, member)?.clone(), instance: None };
                let request = LeaveGroupRequest { group: name.clone(), members: vec![leaving] };
                Aim::Ask { broker: *coordinator, request: request.into() }
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
            ("move-coordinator group 9 to 2", "broker 2 coordinates billing"),
            ("evict group 0 member 5", "m is thrown out of billing"),
        ] {
            let words: Vec<_> = written.split(' ').collect();
            let stroke = BrokerStroke::read(&words).expect("it is one");
            assert_eq!(scene.aim(stroke).expect("something is there").to_string(), told);
            assert!(stroke.lasting().is_some() || Scene::default().aim(stroke).is_none());
        }
    }
}
