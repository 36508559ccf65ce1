//! Members of a group: three at a time, races of joins, syncs and leaves, static ones, those that are not members yet.

use std::time::Duration;

use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, GroupId, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::groups::{
    WHILE, assign, describe, fixed, heartbeat, id, join, joined, learned, leave, protocol, rebalances,
    stable, sync, text,
};
use crate::client::{Client, World};
use crate::list;

list![
    three_members,
    the_leader_of_three_leaves,
    a_follower_of_three_leaves,
    a_third_joins_while_two_sync,
    a_follower_leaves_while_it_syncs,
    the_leader_leaves_before_it_assigns,
    a_member_leaves_while_it_joins,
    a_member_joins_twice_at_a_time,
    a_follower_syncs_twice_at_a_time,
    an_assignment_for_strangers,
    an_assignment_by_a_follower,
    an_assignment_twice,
    an_assignment_that_leaves_one_out,
    a_leader_that_never_assigns,
    a_parked_join_whose_client_is_gone,
    all_sessions_end,
    an_id_that_was_handed_out_leaves,
    an_id_that_was_handed_out_is_not_a_member,
    an_id_that_was_handed_out_holds_the_second_generation,
    a_group_of_its_past_only,
    several_leave_at_once,
    several_leave_one_a_stranger,
    static_members_two_instances,
    a_static_member_comes_back_changed,
    a_static_leader_comes_back,
    a_static_member_comes_back_with_its_id,
    a_static_member_comes_back_while_others_join,
    a_static_member_is_replaced_while_it_joins,
    a_static_member_is_replaced_while_it_syncs,
    a_static_member_with_a_stranger_s_id,
    a_static_member_leaves_by_its_id,
    a_static_member_leaves_as_another,
    static_members_in_old_versions,
    a_generation_goes_on_after_all_have_left,
    protocols_of_an_empty_group_change,
    a_protocol_that_only_one_knows,
    protocols_by_vote,
    an_old_rebalance_timeout,
    answers_in_old_versions,
    a_group_of_another_kind,
];

/// The third member's join is sent: A leads, generation 2 is stable.
async fn third(world: &World, clients: &mut [Client; 3], group: &StrBytes) -> [StrBytes; 3] {
    let [one, two, three] = clients;
    let (a, b) = joined(world, one, two, group).await;
    one.prepare(assign(group, &a, 2, &[&a, &b])).await;
    two.prepare(sync(group, &b, 2)).await;
    let c = id(three, group, "C").await;
    three.send(&join(group, &c)).await;
    rebalances(one, group, &a, 2).await;
    [a, b, c]
}

/// Three members, all of which have joined: generation 3.
async fn three_joined(world: &World, clients: &mut [Client; 3], group: &StrBytes) -> [StrBytes; 3] {
    let members = third(world, clients, group).await;
    let [one, two, three] = clients;
    one.send(&join(group, &members[0])).await;
    two.ask(join(group, &members[1])).await;
    one.receive::<JoinGroupRequest>().await;
    three.receive::<JoinGroupRequest>().await;
    members
}

async fn three(world: &World) -> ([Client; 3], StrBytes) {
    ([world.client().await, world.client().await, world.client().await], world.name("g"))
}

async fn three_members(world: World) {
    let (mut clients, group) = three(&world).await;
    let [a, b, c] = three_joined(&world, &mut clients, &group).await;
    let [one, two, three] = &mut clients;
    three.send(&sync(&group, &c, 3)).await;
    three.stays_silent("C syncs", WHILE).await;
    one.ask(assign(&group, &a, 3, &[&a, &b])).await;
    three.receive::<SyncGroupRequest>().await;
    two.ask(sync(&group, &b, 3)).await;
    two.ask(describe(&group)).await;
}

async fn the_leader_of_three_leaves(world: World) {
    let (mut clients, group) = three(&world).await;
    let [a, b, c] = three_joined(&world, &mut clients, &group).await;
    let [one, two, three] = &mut clients;
    one.prepare(assign(&group, &a, 3, &[&a, &b, &c])).await;
    one.ask(leave(&group, &a, None)).await;
    two.ask(heartbeat(&group, &b, 3)).await;
    three.ask(heartbeat(&group, &c, 3)).await;
    two.send(&join(&group, &b)).await;
    two.stays_silent("B waits for C", WHILE).await;
    let of_c = three.prepare(join(&group, &c)).await;
    let of_b = two.prepare_received::<JoinGroupRequest>().await;
    world.note("generation", of_c.generation_id);
    world.note("one of them leads", of_b.leader == of_c.leader && [&b, &c].contains(&&of_b.leader));
    world.note("it is told of", of_b.members.len().max(of_c.members.len()));
}

async fn a_follower_of_three_leaves(world: World) {
    let (mut clients, group) = three(&world).await;
    let [a, b, c] = three_joined(&world, &mut clients, &group).await;
    let [one, two, three] = &mut clients;
    one.prepare(assign(&group, &a, 3, &[&a, &b, &c])).await;
    two.ask(leave(&group, &b, None)).await;
    one.ask(heartbeat(&group, &a, 3)).await;
    three.send(&join(&group, &c)).await;
    one.ask(join(&group, &a)).await;
    three.receive::<JoinGroupRequest>().await;
}

async fn a_third_joins_while_two_sync(world: World) {
    let (mut clients, group) = three(&world).await;
    let [one, two, three] = &mut clients;
    let (a, b) = joined(&world, one, two, &group).await;
    two.send(&sync(&group, &b, 2)).await;
    two.stays_silent("B syncs", WHILE).await;
    let c = id(three, &group, "C").await;
    three.send(&join(&group, &c)).await;
    two.receive::<SyncGroupRequest>().await;
    one.ask(assign(&group, &a, 2, &[&a, &b])).await;
    one.ask(heartbeat(&group, &a, 2)).await;
    one.send(&join(&group, &a)).await;
    two.ask(join(&group, &b)).await;
    one.receive::<JoinGroupRequest>().await;
    three.receive::<JoinGroupRequest>().await;
}

async fn a_follower_leaves_while_it_syncs(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let (a, b) = joined(&world, &mut one, &mut two, &group).await;
    two.send(&sync(&group, &b, 2)).await;
    two.stays_silent("B syncs", WHILE).await;
    one.ask(leave(&group, &b, None)).await;
    two.stays_silent("B has left", WHILE).await;
    one.ask(assign(&group, &a, 2, &[&a, &b])).await;
    one.ask(join(&group, &a)).await;
}

async fn the_leader_leaves_before_it_assigns(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let (a, b) = joined(&world, &mut one, &mut two, &group).await;
    two.send(&sync(&group, &b, 2)).await;
    two.stays_silent("B syncs", WHILE).await;
    one.ask(leave(&group, &a, None)).await;
    two.receive::<SyncGroupRequest>().await;
    two.ask(join(&group, &b)).await;
}

async fn a_member_leaves_while_it_joins(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let a = stable(&mut one, &group).await;
    let b = id(&mut two, &group, "B").await;
    two.send(&join(&group, &b)).await;
    rebalances(&mut one, &group, &a, 1).await;
    one.ask(leave(&group, &b, None)).await;
    two.receive::<JoinGroupRequest>().await;
    one.ask(join(&group, &a)).await;
}

async fn a_member_joins_twice_at_a_time(world: World) {
    let (mut clients, group) = three(&world).await;
    let [one, two, again] = &mut clients;
    let a = stable(one, &group).await;
    let b = id(two, &group, "B").await;
    two.send(&join(&group, &b)).await;
    rebalances(one, &group, &a, 1).await;
    again.send(&join(&group, &b)).await;
    again.stays_silent("B joins again", WHILE).await;
    one.ask(join(&group, &a)).await;
    again.receive::<JoinGroupRequest>().await;
    two.stays_silent("the first time", WHILE).await;
}

async fn a_follower_syncs_twice_at_a_time(world: World) {
    let (mut clients, group) = three(&world).await;
    let [one, two, again] = &mut clients;
    let (a, b) = joined(&world, one, two, &group).await;
    two.send(&sync(&group, &b, 2)).await;
    two.stays_silent("B syncs", WHILE).await;
    again.send(&sync(&group, &b, 2)).await;
    again.stays_silent("B syncs again", WHILE).await;
    one.ask(assign(&group, &a, 2, &[&a, &b])).await;
    again.receive::<SyncGroupRequest>().await;
    two.stays_silent("the first time", WHILE).await;
}

async fn an_assignment_for_strangers(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let a = id(&mut client, &group, "A").await;
    client.prepare(join(&group, &a)).await;
    client.ask(assign(&group, &a, 1, &[&text("stranger")])).await;
    client.ask(describe(&group)).await;
}

async fn an_assignment_by_a_follower(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let (a, b) = joined(&world, &mut one, &mut two, &group).await;
    two.send(&assign(&group, &b, 2, &[&a, &b])).await;
    two.stays_silent("B assigns", WHILE).await;
    one.ask(assign(&group, &a, 2, &[&a])).await;
    two.receive::<SyncGroupRequest>().await;
}

async fn an_assignment_twice(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let a = stable(&mut client, &group).await;
    client.ask(assign(&group, &a, 1, &[])).await;
}

async fn an_assignment_that_leaves_one_out(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let (a, b) = joined(&world, &mut one, &mut two, &group).await;
    one.ask(assign(&group, &a, 2, &[&b])).await;
    one.ask(sync(&group, &a, 2)).await;
    two.ask(sync(&group, &b, 2)).await;
}

/// Whoever has not synced by the rebalance timeout is out.
async fn a_leader_that_never_assigns(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let short = |request: JoinGroupRequest| request.with_rebalance_timeout_ms(1_500);
    let a = id(&mut one, &group, "A").await;
    one.prepare(short(join(&group, &a))).await;
    one.prepare(assign(&group, &a, 1, &[&a])).await;
    let b = id(&mut two, &group, "B").await;
    two.send(&short(join(&group, &b))).await;
    rebalances(&mut one, &group, &a, 1).await;
    one.prepare(short(join(&group, &a))).await;
    two.prepare_received::<JoinGroupRequest>().await;
    two.send(&sync(&group, &b, 2)).await;
    two.receive::<SyncGroupRequest>().await;
    one.ask(heartbeat(&group, &a, 2)).await;
    two.ask(short(join(&group, &b))).await;
}

/// The broker does not care: the member is there until its session ends.
async fn a_parked_join_whose_client_is_gone(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let a = stable(&mut one, &group).await;
    let b = id(&mut two, &group, "B").await;
    two.send(&join(&group, &b)).await;
    rebalances(&mut one, &group, &a, 1).await;
    drop(two);
    tokio::time::sleep(WHILE).await;
    one.ask(join(&group, &a)).await;
    one.ask(assign(&group, &a, 2, &[&a, &b])).await;
    world.client().await.ask(sync(&group, &b, 2)).await;
}

async fn all_sessions_end(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let a = id(&mut client, &group, "A").await;
    client.prepare(join(&group, &a).with_session_timeout_ms(6_000).with_rebalance_timeout_ms(1_000)).await;
    client.prepare(assign(&group, &a, 1, &[&a])).await;
    let is_over = |state: &str| state == "Empty";
    while !is_over(&client.prepare(describe(&group)).await.groups[0].group_state) {
        tokio::time::sleep(WHILE).await;
    }
    client.ask(describe(&group)).await;
    client.ask(heartbeat(&group, &a, 1)).await;
    let b = id(&mut client, &group, "B").await;
    client.ask(join(&group, &b)).await;
}

async fn an_id_that_was_handed_out_leaves(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let a = id(&mut client, &group, "A").await;
    client.ask(leave(&group, &a, None)).await;
    client.ask(join(&group, &a)).await;
}

async fn an_id_that_was_handed_out_is_not_a_member(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    stable(&mut client, &group).await;
    let b = id(&mut client, &group, "B").await;
    client.ask(heartbeat(&group, &b, 1)).await;
    client.ask(sync(&group, &b, 1)).await;
    client.ask(describe(&group)).await;
}

/// A group that has members waits for all ids that it has handed out.
async fn an_id_that_was_handed_out_holds_the_second_generation(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let a = stable(&mut one, &group).await;
    let b = id(&mut two, &group, "B").await;
    one.send(&join(&group, &a)).await;
    one.stays_silent("A waits for B", WHILE).await;
    two.ask(leave(&group, &b, None)).await;
    one.receive::<JoinGroupRequest>().await;
}

async fn is_listed(client: &mut Client, group: &StrBytes) {
    let answer = client.prepare(ListGroupsRequest::default()).await;
    let mut own = answer.groups.iter().filter(|entry| entry.group_id.0 == *group);
    let told = own.next().map(|entry| (entry.group_state.to_string(), entry.protocol_type.to_string()));
    client.world.note("listed", told);
}

async fn a_group_of_its_past_only(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let a = stable(&mut client, &group).await;
    client.ask(leave(&group, &a, None)).await;
    client.ask(describe(&group)).await;
    is_listed(&mut client, &group).await;
    client.ask(join(&group, &a)).await;
    client.ask(sync(&group, &a, 2)).await;
    let delete = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(group.clone())]);
    client.ask(delete).await;
    client.ask(describe(&group)).await;
    client.ask(heartbeat(&group, &a, 1)).await;
}

fn leaving(group: &StrBytes, members: &[(&StrBytes, Option<&'static str>)]) -> LeaveGroupRequest {
    let one = |(member, instance): &(&StrBytes, Option<&'static str>)| {
        MemberIdentity::default()
            .with_member_id((*member).clone())
            .with_group_instance_id(instance.map(text))
            .with_reason(None)
    };
    LeaveGroupRequest::default()
        .with_group_id(GroupId(group.clone()))
        .with_members(members.iter().map(one).collect())
}

async fn several_leave_at_once(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let (a, b) = joined(&world, &mut one, &mut two, &group).await;
    one.ask(leaving(&group, &[(&a, None), (&b, None)])).await;
    one.ask(describe(&group)).await;
}

async fn several_leave_one_a_stranger(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let a = stable(&mut client, &group).await;
    let stranger = text("stranger");
    client.ask(leaving(&group, &[(&stranger, None), (&a, None), (&a, None), (&stranger, Some("i"))])).await;
    client.ask(leaving(&group, &[])).await;
    client.ask(leaving(&world.name("unknown"), &[])).await;
}

fn instance(group: &StrBytes, member: &StrBytes, instance: &'static str) -> JoinGroupRequest {
    join(group, member).with_group_instance_id(Some(text(instance)))
}

/// A static member, in a stable generation 1.
async fn settled(world: &World, client: &mut Client, group: &StrBytes) -> StrBytes {
    let answer = client.prepare(fixed(group, &text(""))).await;
    let a = learned(world, &answer, "A");
    client.prepare(assign(group, &a, 1, &[&a]).with_group_instance_id(Some(text("instance")))).await;
    a
}

async fn static_members_two_instances(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let a = settled(&world, &mut one, &group).await;
    two.send(&instance(&group, &text(""), "other")).await;
    rebalances(&mut one, &group, &a, 1).await;
    let answer: JoinGroupResponse = one.prepare(fixed(&group, &a)).await;
    let b = two.prepare_received::<JoinGroupRequest>().await.member_id;
    world.learn(&b, "B");
    world.note("members", answer.members.len());
    one.ask(assign(&group, &a, 2, &[&a, &b]).with_group_instance_id(Some(text("instance")))).await;
    two.ask(sync(&group, &b, 2).with_group_instance_id(Some(text("other")))).await;
    one.ask(describe(&group)).await;
    one.ask(leave(&group, &text(""), Some("other"))).await;
    one.ask(heartbeat(&group, &a, 2)).await;
}

async fn a_static_member_comes_back_changed(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    settled(&world, &mut client, &group).await;
    let changed = fixed(&group, &text("")).with_protocols(vec![protocol("range", b"other")]);
    let answer = client.prepare(changed).await;
    let again = learned(&world, &answer, "A again");
    world.note("generation", answer.generation_id);
    world.note("it leads", answer.leader == again);
    world.note("members", answer.members.len());
    client.ask(describe(&group)).await;
}

async fn a_static_leader_comes_back(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    settled(&world, &mut client, &group).await;
    for version in [5, 8, 9] {
        client.quiet = true;
        let answer = client.ask_at(version, fixed(&group, &text(""))).await;
        client.quiet = false;
        let again = learned(&world, &answer, "A again");
        world.note("generation", answer.generation_id);
        world.note("it leads", answer.leader == again);
        world.note("it need not assign", answer.skip_assignment);
        world.note("members", answer.members.len());
    }
}

async fn a_static_member_comes_back_with_its_id(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let a = settled(&world, &mut client, &group).await;
    client.ask(fixed(&group, &a)).await;
}

/// It comes back under a new id while a rebalance waits for it.
async fn a_static_member_comes_back_while_others_join(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let a = settled(&world, &mut one, &group).await;
    let b = id(&mut two, &group, "B").await;
    two.send(&join(&group, &b)).await;
    rebalances(&mut one, &group, &a, 1).await;
    let answer = one.prepare(fixed(&group, &text(""))).await;
    learned(&world, &answer, "A again");
    world.note("generation", answer.generation_id);
    let of_b = two.prepare_received::<JoinGroupRequest>().await;
    world.note("members", answer.members.len().max(of_b.members.len()));
    one.ask(heartbeat(&group, &a, 2).with_group_instance_id(Some(text("instance")))).await;
}

async fn a_static_member_is_replaced_while_it_joins(world: World) {
    let (mut clients, group) = three(&world).await;
    let [one, two, again] = &mut clients;
    let a = stable(one, &group).await;
    two.send(&instance(&group, &text(""), "other")).await;
    rebalances(one, &group, &a, 1).await;
    again.send(&instance(&group, &text(""), "other")).await;
    let fenced = two.prepare_received::<JoinGroupRequest>().await;
    world.note("the first is told", fenced.error_code);
    again.stays_silent("the second waits", WHILE).await;
    one.prepare(join(&group, &a)).await;
    let answer = again.prepare_received::<JoinGroupRequest>().await;
    world.note("the second is told", (answer.error_code, answer.generation_id));
    world.note("another id", answer.member_id != fenced.member_id);
}

async fn a_static_member_is_replaced_while_it_syncs(world: World) {
    let (mut clients, group) = three(&world).await;
    let [one, two, again] = &mut clients;
    let a = stable(one, &group).await;
    two.send(&instance(&group, &text(""), "other")).await;
    rebalances(one, &group, &a, 1).await;
    one.prepare(join(&group, &a)).await;
    let b = two.prepare_received::<JoinGroupRequest>().await.member_id;
    world.learn(&b, "B");
    two.send(&sync(&group, &b, 2).with_group_instance_id(Some(text("other")))).await;
    two.stays_silent("B syncs", WHILE).await;
    again.send(&instance(&group, &text(""), "other")).await;
    two.receive::<SyncGroupRequest>().await;
    one.ask(heartbeat(&group, &a, 2)).await;
}

async fn a_static_member_with_a_stranger_s_id(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    client.ask(fixed(&group, &text("stranger"))).await;
    settled(&world, &mut client, &group).await;
    client.ask(instance(&group, &text("stranger"), "other")).await;
    client.ask(fixed(&group, &text("stranger"))).await;
}

async fn a_static_member_leaves_by_its_id(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let a = settled(&world, &mut client, &group).await;
    client.ask(leave(&group, &a, None)).await;
    client.ask(describe(&group)).await;
}

async fn a_static_member_leaves_as_another(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let a = settled(&world, &mut client, &group).await;
    client.ask(leave(&group, &a, Some("other"))).await;
    client.ask(leave(&group, &text("stranger"), Some("instance"))).await;
    client.ask(leave(&group, &a, Some("instance"))).await;
}

async fn static_members_in_old_versions(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    for version in [5, 6, 7] {
        let group = StrBytes::from_string(format!("{}{version}", group.as_str()));
        let answer = client.ask_at(version, fixed(&group, &text(""))).await;
        learned(&world, &answer, "A");
    }
}

async fn a_generation_goes_on_after_all_have_left(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let a = stable(&mut client, &group).await;
    client.ask(leave(&group, &a, None)).await;
    let b = id(&mut client, &group, "B").await;
    client.ask(join(&group, &b)).await;
    client.ask(heartbeat(&group, &b, 1)).await;
}

async fn protocols_of_an_empty_group_change(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let a = stable(&mut client, &group).await;
    client.prepare(leave(&group, &a, None)).await;
    let other = |member: &StrBytes| {
        join(&group, member).with_protocol_type(text("connect")).with_protocols(vec![protocol("eager", b"x")])
    };
    let b = client.prepare(other(&text(""))).await.member_id;
    world.learn(&b, "B");
    client.ask(other(&b)).await;
    client.ask(describe(&group)).await;
}

async fn a_protocol_that_only_one_knows(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let a = stable(&mut one, &group).await;
    let b = id(&mut two, &group, "B").await;
    two.send(&join(&group, &b).with_protocols(vec![protocol("sticky", b"s"), protocol("range", b"r")])).await;
    rebalances(&mut one, &group, &a, 1).await;
    one.ask(join(&group, &a)).await;
    two.receive::<JoinGroupRequest>().await;
}

/// Each member votes for the first of its protocols that all know.
async fn protocols_by_vote(world: World) {
    let (mut clients, group) = three(&world).await;
    let [a, b, _] = third(&world, &mut clients, &group).await;
    let [one, two, three] = &mut clients;
    let ranked = |first, second| vec![protocol(first, b"1"), protocol(second, b"2"), protocol("range", b"3")];
    one.send(&join(&group, &a).with_protocols(ranked("x", "y"))).await;
    two.ask(join(&group, &b).with_protocols(ranked("y", "x"))).await;
    one.receive::<JoinGroupRequest>().await;
    three.receive::<JoinGroupRequest>().await;
}

/// In version 0 the session's timeout is the rebalance's, too.
async fn an_old_rebalance_timeout(world: World) {
    let (mut one, mut two, group) = (world.client().await, world.client().await, world.name("g"));
    let answer = one.ask_at(0, join(&group, &text("")).with_session_timeout_ms(6_000)).await;
    let a = learned(&world, &answer, "A");
    one.ask_at(0, assign(&group, &a, 1, &[&a])).await;
    one.ask_at(0, heartbeat(&group, &a, 1)).await;
    two.send_at(0, &join(&group, &text("")).with_session_timeout_ms(6_000)).await;
    two.stays_silent("B waits", Duration::from_secs(2)).await;
}

async fn answers_in_old_versions(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let a = stable(&mut client, &group).await;
    for version in 0..5 {
        client.ask_at(version, heartbeat(&group, &a, 7)).await;
        client.ask_at(version, sync(&group, &a, 7)).await;
        let groups = vec![GroupId(group.clone())];
        client.ask_at(version, DescribeGroupsRequest::default().with_groups(groups)).await;
    }
    for version in 0..3 {
        client.ask_at(version, heartbeat(&group, &a, 1)).await;
        client.ask_at(version, HeartbeatRequest::default().with_group_id(GroupId(group.clone()))).await;
    }
}

/// Kafka Connect's workers are a group as well.
async fn a_group_of_another_kind(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let connect = |member: &StrBytes| {
        join(&group, member).with_protocol_type(text("connect")).with_protocols(vec![protocol("eager", b"x")])
    };
    let a = client.prepare(connect(&text(""))).await.member_id;
    world.learn(&a, "A");
    client.ask(connect(&a)).await;
    let share = assign(&group, &a, 1, &[&a])
        .with_protocol_type(Some(text("connect")))
        .with_protocol_name(Some(text("eager")));
    client.ask(share).await;
    client.ask(describe(&group)).await;
    is_listed(&mut client, &group).await;
}
