//! FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup, DescribeGroups, ListGroups, DeleteGroups.

use bytes::Bytes;
use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{BrokerId, Generation};

use super::Form;
use super::code;
use super::read::{Malformed, Reader};
use super::records::{NONE, duration};
use super::topics::operations;
use super::write::Writer;
use crate::message::{
    BrokerAddress, CoordinatorKind, DeleteGroupsAnswer, DeleteGroupsRequest, DescribeGroupsAnswer,
    DescribeGroupsRequest, FindCoordinatorsAnswer, FindCoordinatorsRequest, HeartbeatAnswer,
    HeartbeatRequest, JoinGroupAnswer, JoinGroupRequest, LeaveGroupAnswer, LeaveGroupRequest, LeavingMember,
    ListGroupsAnswer, ListGroupsRequest, Refusal, SyncGroupAnswer, SyncGroupRequest, Text,
};

pub(super) fn read_find(from: &mut Reader, version: i16) -> Result<FindCoordinatorsRequest, Malformed> {
    let key = if version <= 3 { Some(from.text()?) } else { None };
    let kind = match if version >= 1 { from.i8()? } else { 0 } {
        0 => CoordinatorKind::Group,
        1 => CoordinatorKind::Transaction,
        other => CoordinatorKind::Other(other),
    };
    let keys = match key {
        Some(key) => vec![key],
        None => from.list(Reader::text)?,
    };
    Ok(FindCoordinatorsRequest { kind, keys })
}

pub(super) fn write_find(to: &mut Writer, version: i16, answer: &FindCoordinatorsAnswer) {
    let address = |to: &mut Writer, outcome: &Result<BrokerAddress, Refusal>| match outcome {
        Ok(BrokerAddress { broker, host, port }) => {
            to.i32(broker.0);
            to.text(host);
            to.i32(i32::from(*port));
        }
        Err(_) => {
            to.i32(BrokerId(i32::from(NONE)).0);
            to.text("");
            to.i32(i32::from(NONE));
        }
    };
    if version >= 1 {
        to.no_throttle();
    }
    if version >= 4 {
        to.array(&answer.coordinators, |to, (key, outcome)| {
            to.text(key);
            address(to, outcome);
            to.refusal(outcome);
        });
        return;
    }
    let none = Err(ErrorCode::CoordinatorNotAvailable.into());
    let outcome = answer.coordinators.first().map_or(&none, |(_, outcome)| outcome);
    to.error(outcome.as_ref().err().map(|refusal| refusal.code));
    if version >= 1 {
        to.refusal_text(outcome);
    }
    address(to, outcome);
}

pub(super) fn read_join(from: &mut Reader, version: i16) -> Result<JoinGroupRequest, Malformed> {
    let group = from.text()?;
    let session_timeout = duration(from.i32()?);
    // The first version had one time for both.
    let rebalance_timeout = if version >= 1 { duration(from.i32()?) } else { session_timeout };
    let member = from.text()?;
    let instance = if version >= 5 { from.nullable_text()? } else { None };
    let protocol_type = from.text()?;
    let protocols = from.array(|from| Ok((from.text()?, from.own_bytes()?)))?;
    if version >= 8 {
        let _reason = from.nullable_text()?;
    }
    Ok(JoinGroupRequest {
        group,
        session_timeout,
        rebalance_timeout,
        member,
        instance,
        protocol_type,
        protocols,
        takes_id_first: version >= 4,
        may_skip_assignment: version >= 9,
    })
}

pub(super) fn write_join(to: &mut Writer, version: i16, answer: &JoinGroupAnswer) {
    if version >= 2 {
        to.no_throttle();
    }
    to.i16(code(&answer.outcome));
    let joined = answer.outcome.as_ref().ok();
    to.i32(joined.map_or(i32::from(NONE), |joined| joined.generation.0));
    if version >= 7 {
        to.nullable_text(joined.map(|joined| &*joined.protocol_type));
        to.nullable_text(joined.map(|joined| &*joined.protocol));
    } else {
        to.text(joined.map_or("", |joined| &joined.protocol));
    }
    to.text(joined.map_or("", |joined| &joined.leader));
    if version >= 9 {
        to.bool(joined.is_some_and(|joined| joined.skip_assignment));
    }
    to.text(&answer.member);
    to.array(joined.map_or(&[], |joined| &joined.members), |to, member| {
        to.text(&member.member);
        if version >= 5 {
            to.nullable_text(member.instance.as_deref());
        }
        to.bytes(&member.metadata);
    });
}

pub(super) fn read_sync(from: &mut Reader, version: i16) -> Result<SyncGroupRequest, Malformed> {
    let nullable_from = |from: &mut Reader, first| {
        if version >= first { from.nullable_text() } else { Ok(None) }
    };
    // From version 5 on both must be told: null is no group's, and refused as such.
    let told = |from: &mut Reader| {
        let text = nullable_from(from, 5)?;
        Ok(text.or_else(|| (version >= 5).then(Text::default)))
    };
    Ok(SyncGroupRequest {
        group: from.text()?,
        generation: Generation(from.i32()?),
        member: from.text()?,
        instance: nullable_from(from, 3)?,
        protocol_type: told(from)?,
        protocol: told(from)?,
        assignments: from.array(|from| Ok((from.text()?, from.own_bytes()?)))?,
    })
}

pub(super) fn write_sync(to: &mut Writer, version: i16, answer: &SyncGroupAnswer) {
    if version >= 1 {
        to.no_throttle();
    }
    to.i16(code(&answer.outcome));
    let synced = answer.outcome.as_ref().ok();
    if version >= 5 {
        to.nullable_text(synced.map(|synced| &*synced.protocol_type));
        to.nullable_text(synced.map(|synced| &*synced.protocol));
    }
    to.bytes(synced.map_or(&Bytes::new(), |synced| &synced.assignment));
}

pub(super) fn read_heartbeat(from: &mut Reader, version: i16) -> Result<HeartbeatRequest, Malformed> {
    Ok(HeartbeatRequest {
        group: from.text()?,
        generation: Generation(from.i32()?),
        member: from.text()?,
        instance: if version >= 3 { from.nullable_text()? } else { None },
    })
}

pub(super) fn write_heartbeat(to: &mut Writer, version: i16, answer: &HeartbeatAnswer) {
    if version >= 1 {
        to.no_throttle();
    }
    to.i16(code(&answer.outcome));
}

pub(super) fn read_leave(from: &mut Reader, version: i16) -> Result<LeaveGroupRequest, Malformed> {
    let group = from.text()?;
    let members = if version >= 3 {
        from.array(|from| {
            let member = from.text()?;
            let instance = from.nullable_text()?;
            if version >= 5 {
                let _reason = from.nullable_text()?;
            }
            Ok(LeavingMember { member, instance })
        })?
    } else {
        vec![LeavingMember { member: from.text()?, instance: None }]
    };
    Ok(LeaveGroupRequest { group, members })
}

pub(super) fn write_leave(to: &mut Writer, version: i16, answer: &LeaveGroupAnswer) {
    if version >= 1 {
        to.no_throttle();
    }
    let none = Vec::new();
    let members = answer.outcome.as_ref().unwrap_or(&none);
    if version < 3 {
        let only = members.first().and_then(|(_, outcome)| outcome.err());
        to.error(answer.outcome.as_ref().err().copied().or(only));
        return;
    }
    to.i16(code(&answer.outcome));
    to.array(members, |to, (member, outcome)| {
        to.text(&member.member);
        to.nullable_text(member.instance.as_deref());
        to.i16(code(outcome));
    });
}

pub(super) fn read_describe(from: &mut Reader, version: i16) -> Result<DescribeGroupsRequest, Malformed> {
    let groups = from.list(Reader::text)?;
    if version >= 3 {
        from.form.operations = from.bool()?;
    }
    Ok(DescribeGroupsRequest { groups })
}

/// Read, delete, describe, and configurations' describe and alter: a bit for each.
const ON_GROUP: i32 = 0b1101_0100_1000;

pub(super) fn write_describe(to: &mut Writer, version: i16, form: Form, answer: &DescribeGroupsAnswer) {
    if version >= 1 {
        to.no_throttle();
    }
    to.array(&answer.groups, |to, (name, outcome)| {
        to.i16(code(outcome));
        to.text(name);
        let described = outcome.as_ref().ok();
        to.text(described.map_or("", |described| described.state.as_str()));
        to.text(described.map_or("", |described| &described.protocol_type));
        to.text(described.map_or("", |described| &described.protocol));
        to.array(described.map_or(&[], |described| &described.members), |to, member| {
            to.text(&member.member);
            if version >= 4 {
                to.nullable_text(member.instance.as_deref());
            }
            to.text(&member.client);
            to.text(&member.host);
            to.bytes(&member.metadata);
            to.bytes(&member.assignment);
        });
        if version >= 3 {
            to.i32(operations(form.operations && outcome.is_ok(), ON_GROUP));
        }
    });
}

pub(super) fn read_list(from: &mut Reader, version: i16) -> Result<ListGroupsRequest, Malformed> {
    let states: Vec<Text> = if version >= 4 { from.list(Reader::text)? } else { Vec::new() };
    Ok(ListGroupsRequest { states })
}

pub(super) fn write_list(to: &mut Writer, version: i16, answer: &ListGroupsAnswer) {
    if version >= 1 {
        to.no_throttle();
    }
    to.i16(0);
    to.array(&answer.groups, |to, listed| {
        to.text(&listed.group);
        to.text(&listed.protocol_type);
        if version >= 4 {
            to.text(listed.state.as_str());
        }
    });
}

pub(super) fn read_delete(from: &mut Reader) -> Result<DeleteGroupsRequest, Malformed> {
    Ok(DeleteGroupsRequest { groups: from.list(Reader::text)? })
}

pub(super) fn write_delete(to: &mut Writer, answer: &DeleteGroupsAnswer) {
    to.no_throttle();
    to.array(&answer.groups, |to, (name, outcome)| {
        to.text(name);
        to.i16(code(outcome));
    });
}
