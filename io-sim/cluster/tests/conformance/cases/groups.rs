//! Groups: joining, syncing, leaving, expiring, and every error on the way.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

use tokio::time::Instant;

use crate::client::{Client, POLL, World};
use crate::list;

list![
    a_first_join_is_given_an_id,
    an_id_handed_out_is_not_waited_for_at_first,
    an_old_join_needs_no_id,
    one_member_to_stable,
    no_group_id,
    session_too_short,
    session_too_long,
    no_protocols,
    no_protocol_type,
    an_unknown_member_joins,
    another_protocol_type,
    another_protocol,
    a_common_protocol_is_chosen,
    two_members,
    a_follower_syncs_first,
    the_leader_joins_again,
    a_follower_joins_again_unchanged,
    a_follower_joins_again_changed,
    heartbeats_in_every_state,
    heartbeats_of_strangers,
    sync_of_strangers,
    sync_with_another_protocol,
    sync_again_when_stable,
    a_member_leaves,
    leaving_twice,
    leaving_by_old_versions,
    a_leave_ends_a_rebalance,
    a_session_ends,
    a_rebalance_timeout_passes,
    a_static_member_comes_back,
    a_static_member_is_fenced,
    a_static_member_leaves_by_instance,
    describe_in_each_state,
    describe_an_unknown_group,
    list_with_state_filters,
    delete_groups,
    find_coordinators,
    find_an_unknown_kind,
];

pub(super) const fn text(value: &'static str) -> StrBytes {
    StrBytes::from_static_str(value)
}

pub(super) fn protocol(name: &'static str, metadata: &'static [u8]) -> JoinGroupRequestProtocol {
    JoinGroupRequestProtocol::default().with_name(text(name)).with_metadata(Bytes::from_static(metadata))
}

pub(super) fn join(group: &StrBytes, member: &StrBytes) -> JoinGroupRequest {
    JoinGroupRequest::default()
        .with_group_id(GroupId(group.clone()))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_member_id(member.clone())
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol("range", b"sub")])
}

pub(super) fn sync(group: &StrBytes, member: &StrBytes, generation: i32) -> SyncGroupRequest {
    SyncGroupRequest::default()
        .with_group_id(GroupId(group.clone()))
        .with_generation_id(generation)
        .with_member_id(member.clone())
        .with_protocol_type(Some(text("consumer")))
        .with_protocol_name(Some(text("range")))
}

/// The leader's sync, with something for each member.
pub(super) fn assign(
    group: &StrBytes,
    member: &StrBytes,
    generation: i32,
    to: &[&StrBytes],
) -> SyncGroupRequest {
    let share = |member: &&StrBytes| {
        SyncGroupRequestAssignment::default()
            .with_member_id((*member).clone())
            .with_assignment(Bytes::from_static(b"share"))
    };
    sync(group, member, generation).with_assignments(to.iter().map(share).collect())
}

pub(super) fn heartbeat(group: &StrBytes, member: &StrBytes, generation: i32) -> HeartbeatRequest {
    HeartbeatRequest::default()
        .with_group_id(GroupId(group.clone()))
        .with_member_id(member.clone())
        .with_generation_id(generation)
}

pub(super) fn leave(
    group: &StrBytes,
    member: &StrBytes,
    instance: Option<&'static str>,
) -> LeaveGroupRequest {
    let member = MemberIdentity::default()
        .with_member_id(member.clone())
        .with_group_instance_id(instance.map(text))
        .with_reason(None);
    LeaveGroupRequest::default().with_group_id(GroupId(group.clone())).with_members(vec![member])
}

pub(super) fn describe(group: &StrBytes) -> DescribeGroupsRequest {
    DescribeGroupsRequest::default().with_groups(vec![GroupId(group.clone())])
}

/// An id to join with, written as `role` from now on.
pub(super) async fn id(client: &mut Client, group: &StrBytes, role: &str) -> StrBytes {
    let member = client.prepare(join(group, &text(""))).await.member_id;
    client.world.learn(&member, role);
    member
}

/// A group with one member, in generation 1.
pub(super) async fn stable(client: &mut Client, group: &StrBytes) -> StrBytes {
    let a = id(client, group, "A").await;
    client.prepare(join(group, &a)).await;
    client.prepare(assign(group, &a, 1, &[&a])).await;
    a
}

/// Whom a static or old join has made a member.
pub(super) fn learned(world: &World, answer: &JoinGroupResponse, role: &str) -> StrBytes {
    world.learn(&answer.member_id, role);
    answer.member_id.clone()
}

/// Waits until the group waits for `member` to join again.
pub(super) async fn rebalances(client: &mut Client, group: &StrBytes, member: &StrBytes, generation: i32) {
    const REBALANCE_IN_PROGRESS: i16 = 27;
    while client.prepare(heartbeat(group, member, generation)).await.error_code != REBALANCE_IN_PROGRESS {
        tokio::time::sleep(POLL).await;
    }
}

pub(super) const WHILE: Duration = Duration::from_millis(300);

async fn a_first_join_is_given_an_id(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let answer = client.ask(join(&group, &text(""))).await;
    learned(&world, &answer, "A");
}

async fn an_id_handed_out_is_not_waited_for_at_first(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let a = id(&mut client, &group, "A").await;
    id(&mut client, &group, "B").await;
    let begun = Instant::now();
    client.ask(join(&group, &a)).await;
    world.note("at once", begun.elapsed() < Duration::from_secs(4));
}

async fn an_old_join_needs_no_id(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    for version in [0, 2, 3] {
        let group = StrBytes::from_string(format!("{}{version}", group.as_str()));
        let answer = client.ask_at(version, join(&group, &text(""))).await;
        learned(&world, &answer, "A");
    }
}

async fn one_member_to_stable(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let a = id(&mut client, &group, "A").await;
    client.ask(join(&group, &a)).await;
    client.ask(assign(&group, &a, 1, &[&a])).await;
    client.ask(heartbeat(&group, &a, 1)).await;
}

async fn no_group_id(world: World) {
    let mut client = world.client().await;
    let (none, a) = (text(""), text("a"));
    client.ask(join(&none, &none)).await;
    client.ask(sync(&none, &a, 1)).await;
    client.ask(heartbeat(&none, &a, 1)).await;
    client.ask(leave(&none, &a, None)).await;
}

async fn session_too_short(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    client.ask(join(&group, &text("")).with_session_timeout_ms(5_999)).await;
}

async fn session_too_long(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    client.ask(join(&group, &text("")).with_session_timeout_ms(1_800_001)).await;
}

async fn no_protocols(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    client.ask(join(&group, &text("")).with_protocols(Vec::new())).await;
}

async fn no_protocol_type(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    client.ask(join(&group, &text("")).with_protocol_type(text(""))).await;
}

async fn an_unknown_member_joins(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    client.ask(join(&group, &text("stranger"))).await;
    stable(&mut client, &group).await;
    client.ask(join(&group, &text("stranger"))).await;
}

async fn another_protocol_type(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    stable(&mut client, &group).await;
    client.ask(join(&group, &text("")).with_protocol_type(text("connect"))).await;
}

async fn another_protocol(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    stable(&mut client, &group).await;
    client.ask(join(&group, &text("")).with_protocols(vec![protocol("sticky", b"")])).await;
}

async fn a_common_protocol_is_chosen(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let a = id(&mut one, &group, "A").await;
    let first = || vec![protocol("x", b"x"), protocol("y", b"y"), protocol("z", b"z")];
    let second = vec![protocol("z", b"zz"), protocol("y", b"yy")];
    one.ask(join(&group, &a).with_protocols(first())).await;
    one.ask(assign(&group, &a, 1, &[&a]).with_protocol_name(Some(text("x")))).await;
    let b = two.prepare(join(&group, &text("")).with_protocols(vec![protocol("z", b"")])).await.member_id;
    world.learn(&b, "B");
    two.send(&join(&group, &b).with_protocols(second)).await;
    rebalances(&mut one, &group, &a, 1).await;
    one.ask(join(&group, &a).with_protocols(first())).await;
    two.receive::<JoinGroupRequest>().await;
    let third = vec![protocol("z", b"zzz"), protocol("y", b"yyy")];
    two.ask(join(&group, &text("")).with_protocols(third).with_protocol_type(text("other"))).await;
    one.ask(describe(&group)).await;
}

/// Two members whose joins are answered: A leads, generation 2.
pub(super) async fn joined(
    world: &World,
    one: &mut Client,
    two: &mut Client,
    group: &StrBytes,
) -> (StrBytes, StrBytes) {
    let a = stable(one, group).await;
    let b = id(two, group, "B").await;
    two.send(&join(group, &b)).await;
    rebalances(one, group, &a, 1).await;
    one.ask(join(group, &a)).await;
    two.receive::<JoinGroupRequest>().await;
    world.note("joined", 2);
    (a, b)
}

async fn two_members(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let (a, b) = joined(&world, &mut one, &mut two, &group).await;
    one.ask(assign(&group, &a, 2, &[&a, &b])).await;
    two.ask(sync(&group, &b, 2)).await;
    two.ask(heartbeat(&group, &b, 2)).await;
}

async fn a_follower_syncs_first(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let (a, b) = joined(&world, &mut one, &mut two, &group).await;
    two.send(&sync(&group, &b, 2)).await;
    two.stays_silent("B syncs", WHILE).await;
    one.ask(assign(&group, &a, 2, &[&b])).await;
    two.receive::<SyncGroupRequest>().await;
}

async fn the_leader_joins_again(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let a = stable(&mut client, &group).await;
    client.ask(join(&group, &a)).await;
    client.ask(join(&group, &a)).await;
    client.ask(heartbeat(&group, &a, 3)).await;
}

async fn a_follower_joins_again_unchanged(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let (a, b) = joined(&world, &mut one, &mut two, &group).await;
    two.ask(join(&group, &b)).await;
    one.prepare(assign(&group, &a, 2, &[&a, &b])).await;
    two.ask(join(&group, &b)).await;
    one.ask(heartbeat(&group, &a, 2)).await;
}

async fn a_follower_joins_again_changed(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let (a, b) = joined(&world, &mut one, &mut two, &group).await;
    one.prepare(assign(&group, &a, 2, &[&a, &b])).await;
    two.send(&join(&group, &b).with_protocols(vec![protocol("range", b"other")])).await;
    rebalances(&mut one, &group, &a, 2).await;
    one.ask(sync(&group, &a, 2)).await;
    one.ask(join(&group, &a)).await;
    two.receive::<JoinGroupRequest>().await;
}

async fn heartbeats_in_every_state(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let a = id(&mut client, &group, "A").await;
    client.ask(heartbeat(&group, &a, -1)).await;
    client.ask(join(&group, &a)).await;
    client.ask(heartbeat(&group, &a, 1)).await;
    client.ask(assign(&group, &a, 1, &[&a])).await;
    client.ask(heartbeat(&group, &a, 1)).await;
    client.ask(leave(&group, &a, None)).await;
    client.ask(heartbeat(&group, &a, 1)).await;
}

async fn heartbeats_of_strangers(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    client.ask(heartbeat(&group, &text("stranger"), 1)).await;
    let a = stable(&mut client, &group).await;
    client.ask(heartbeat(&group, &text("stranger"), 1)).await;
    for generation in [0, 2, -1] {
        client.ask(heartbeat(&group, &a, generation)).await;
    }
}

async fn sync_of_strangers(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    client.ask(sync(&group, &text("stranger"), 1)).await;
    let a = stable(&mut client, &group).await;
    client.ask(sync(&group, &text("stranger"), 1)).await;
    client.ask(sync(&group, &a, 2)).await;
    client.ask(sync(&group, &a, 0)).await;
}

async fn sync_with_another_protocol(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let a = stable(&mut client, &group).await;
    client.ask(sync(&group, &a, 1).with_protocol_name(Some(text("sticky")))).await;
    client.ask(sync(&group, &a, 1).with_protocol_type(Some(text("connect")))).await;
    client.ask(sync(&group, &a, 1).with_protocol_type(None)).await;
}

async fn sync_again_when_stable(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let a = stable(&mut client, &group).await;
    client.ask(sync(&group, &a, 1)).await;
    client.ask_at(3, sync(&group, &a, 1)).await;
}

async fn a_member_leaves(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let (a, b) = joined(&world, &mut one, &mut two, &group).await;
    one.prepare(assign(&group, &a, 2, &[&a, &b])).await;
    one.ask(leave(&group, &a, None)).await;
    two.ask(heartbeat(&group, &b, 2)).await;
    two.ask(join(&group, &b)).await;
}

async fn leaving_twice(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    client.ask(leave(&group, &text("stranger"), None)).await;
    let a = stable(&mut client, &group).await;
    client.ask(leave(&group, &a, None)).await;
    client.ask(leave(&group, &a, None)).await;
    client.ask(leave(&group, &text(""), Some("instance"))).await;
}

async fn leaving_by_old_versions(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let a = stable(&mut client, &group).await;
    let request = LeaveGroupRequest::default().with_group_id(GroupId(group.clone()));
    client.ask_at(2, request.clone().with_member_id(text("stranger"))).await;
    client.ask_at(2, request.clone().with_member_id(a.clone())).await;
    client.ask_at(0, request.with_member_id(a)).await;
}

async fn a_leave_ends_a_rebalance(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let a = stable(&mut one, &group).await;
    let b = id(&mut two, &group, "B").await;
    two.send(&join(&group, &b)).await;
    rebalances(&mut one, &group, &a, 1).await;
    one.ask(leave(&group, &a, None)).await;
    two.receive::<JoinGroupRequest>().await;
}

async fn a_session_ends(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let a = id(&mut one, &group, "A").await;
    one.prepare(join(&group, &a).with_session_timeout_ms(6_000)).await;
    one.prepare(assign(&group, &a, 1, &[&a])).await;
    let b = id(&mut two, &group, "B").await;
    two.ask(join(&group, &b).with_rebalance_timeout_ms(14_000)).await;
    one.ask(heartbeat(&group, &a, 1)).await;
}

async fn a_rebalance_timeout_passes(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let a = id(&mut one, &group, "A").await;
    one.prepare(join(&group, &a).with_rebalance_timeout_ms(1_000)).await;
    one.prepare(assign(&group, &a, 1, &[&a])).await;
    let b = id(&mut two, &group, "B").await;
    two.ask_timed(Duration::from_secs(1), join(&group, &b).with_rebalance_timeout_ms(1_000)).await;
    one.ask(heartbeat(&group, &a, 1)).await;
    one.ask(sync(&group, &a, 1)).await;
}

pub(super) fn fixed(group: &StrBytes, member: &StrBytes) -> JoinGroupRequest {
    join(group, member).with_group_instance_id(Some(text("instance")))
}

async fn a_static_member_comes_back(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let answer = client.ask(fixed(&group, &text(""))).await;
    let a = learned(&world, &answer, "A");
    client.ask(assign(&group, &a, 1, &[&a]).with_group_instance_id(Some(text("instance")))).await;
    let answer = client.ask(fixed(&group, &text(""))).await;
    let again = learned(&world, &answer, "A again");
    world.note("another id", a != again);
    client.ask(sync(&group, &again, 1).with_group_instance_id(Some(text("instance")))).await;
    client.ask(describe(&group)).await;
}

async fn a_static_member_is_fenced(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let answer = client.prepare(fixed(&group, &text(""))).await;
    let a = learned(&world, &answer, "A");
    client.prepare(assign(&group, &a, 1, &[&a]).with_group_instance_id(Some(text("instance")))).await;
    let answer = client.prepare(fixed(&group, &text(""))).await;
    learned(&world, &answer, "A again");
    let instance = || Some(text("instance"));
    client.ask(heartbeat(&group, &a, 1).with_group_instance_id(instance())).await;
    client.ask(sync(&group, &a, 1).with_group_instance_id(instance())).await;
    client.ask(fixed(&group, &a)).await;
    client.ask(leave(&group, &a, Some("instance"))).await;
    client.ask(heartbeat(&group, &a, 1)).await;
    client.ask(heartbeat(&group, &a, 1).with_group_instance_id(Some(text("other")))).await;
}

async fn a_static_member_leaves_by_instance(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let answer = client.prepare(fixed(&group, &text(""))).await;
    learned(&world, &answer, "A");
    client.ask(leave(&group, &text(""), Some("instance"))).await;
    client.ask(describe(&group)).await;
}

async fn describe_in_each_state(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let a = id(&mut one, &group, "A").await;
    // Until an assignment is written, Kafka tells of the group only if others were written down meanwhile.
    one.prepare(join(&group, &a)).await;
    one.prepare(assign(&group, &a, 1, &[&a])).await;
    one.ask(describe(&group)).await;
    let b = id(&mut two, &group, "B").await;
    two.send(&join(&group, &a)).await;
    two.receive::<JoinGroupRequest>().await;
    two.send(&join(&group, &b)).await;
    two.stays_silent("B joins", WHILE).await;
    one.ask(leave(&group, &b, None)).await;
    one.ask(leave(&group, &a, None)).await;
    one.ask(describe(&group)).await;
}

async fn describe_an_unknown_group(world: World) {
    let mut client = world.client().await;
    client.ask(describe(&world.name("g"))).await;
    client.ask_at(0, describe(&world.name("g"))).await;
}

async fn list_with_state_filters(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let a = stable(&mut client, &group).await;
    for leaves in [false, true] {
        if leaves {
            client.prepare(leave(&group, &a, None)).await;
        }
        for states in [&[][..], &["Stable"], &["stable"], &["Empty"], &["Empty", "Stable"], &["Nonsense"]] {
            let filter = states.iter().map(|state| text(state)).collect();
            let answer = client.prepare(ListGroupsRequest::default().with_states_filter(filter)).await;
            let own: Vec<_> = answer.groups.iter().filter(|entry| entry.group_id.0 == group).collect();
            let what = own.first().map(|entry| (entry.group_state.as_str(), entry.protocol_type.as_str()));
            world.note(&format!("{states:?}"), (answer.error_code, what));
        }
    }
}

async fn delete_groups(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let delete =
        |group: &StrBytes| DeleteGroupsRequest::default().with_groups_names(vec![GroupId(group.clone())]);
    client.ask(delete(&group)).await;
    let a = stable(&mut client, &group).await;
    client.ask(delete(&group)).await;
    client.prepare(leave(&group, &a, None)).await;
    client.ask(delete(&group)).await;
    client.ask(describe(&group)).await;
}

async fn find_coordinators(world: World) {
    let mut client = world.client().await;
    let keys = vec![world.name("g")];
    client.ask(FindCoordinatorRequest::default().with_coordinator_keys(keys)).await;
    client.ask(FindCoordinatorRequest::default().with_coordinator_keys(vec![text("")])).await;
    client.ask_at(3, FindCoordinatorRequest::default().with_key(world.name("g"))).await;
    client.ask_at(0, FindCoordinatorRequest::default().with_key(world.name("g"))).await;
}

async fn find_an_unknown_kind(world: World) {
    let mut client = world.client().await;
    let keys = vec![world.name("g")];
    let request = FindCoordinatorRequest::default().with_coordinator_keys(keys);
    client.ask(request.with_key_type(9)).await;
}
