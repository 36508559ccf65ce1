//! What of a world has not come to rest, in words, as far as it can be seen at the cluster.

use std::sync::Arc;

use evenkeel_cluster::message::GroupState;
use evenkeel_core::model::{BrokerId, Offset};

use super::Oversight;
use crate::checkers::log::Record;
use crate::history::{GroupNo, Nature, Place, TopicNo};

/// How much is to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    /// Whether there is anything.
    Whether,
    /// All of it.
    What,
}

/// Adds what is not at rest; `members` says how many members each group is to have. Cheap questions come first. What is
/// led by the broker that is `out` of reach is passed over.
pub(crate) fn pending(
    world: &mut impl Oversight,
    members: &[usize],
    out: Option<BrokerId>,
    asking: Asking,
    pending: &mut Vec<String>,
) {
    let is_enough = |pending: &Vec<String>| asking == Asking::Whether && !pending.is_empty();
    if world.any_broker().is_none() {
        return pending.push("no broker runs".to_owned());
    }
    let facts = world.facts();
    let topics = (0..facts.topics.len() as u16).map(TopicNo);
    let places: Vec<Place> = topics.flat_map(|topic| world.places(topic)).collect();
    let is_led_elsewhere = |place: &Place| {
        let leader = out.and_then(|_| world.leader(*place)).map(|(leader, _)| leader);
        leader.is_none() || leader != out
    };
    let places: Vec<Place> = places.into_iter().filter(is_led_elsewhere).collect();
    let coordinators: Vec<_> = facts.groups.iter().map(|group| world.coordinator(&group.name)).collect();
    let is_out = |group: usize| out.is_some() && coordinators[group] == out;
    for place in &places {
        if world.read_to_the_end(*place).is_none() {
            pending.push(format!("{} cannot be read to its end", facts.place_name(*place)));
        }
    }
    for (number, handler) in facts.numbered_handlers() {
        if is_out(usize::from(handler.group.0)) {
            continue;
        }
        let mut open = world.ledger().forgotten(number);
        open.retain(|(place, _)| places.contains(place));
        if let Some((place, offset)) = open.first() {
            pending.push(format!(
                "{} records are not settled for {}, the first at {offset} of {}",
                open.len(),
                facts.handler_name(number),
                facts.place_name(*place),
            ));
        }
        if is_enough(pending) {
            return;
        }
    }
    for ((nth, group), members) in (0..).zip(&facts.groups).zip(members) {
        if is_out(usize::from(nth)) {
            continue;
        }
        let Some(coordinator) = coordinators[usize::from(nth)] else {
            pending.push(format!("group {} has no coordinator", group.name));
            continue;
        };
        let (state, present) = world.group_state(coordinator, &group.name);
        if state != Some(GroupState::Stable) || present.len() != *members {
            pending.push(format!(
                "group {} is {state:?} with {} of {members} members",
                group.name,
                present.len()
            ));
        }
        if is_enough(pending) {
            return;
        }
        for place in &places {
            lag(world, coordinator, GroupNo(nth), &group.name, *place, pending);
        }
    }
}

/// Adds it if a group has not committed all that is over.
fn lag(
    world: &mut impl Oversight,
    coordinator: BrokerId,
    number: GroupNo,
    group: &Arc<str>,
    place: Place,
    pending: &mut Vec<String>,
) {
    let facts = world.facts();
    let ledger = world.ledger();
    let Some(log) = ledger.log(place) else { return };
    if !facts.handlers_of(number, place.topic).any(|handler| ledger.is_run(handler)) {
        return;
    }
    // What was destroyed may be open for ever if it was read before, and blocks; and so may what was passed over and is
    // handed out after all.
    let may_be_open = |(offset, record): &(Offset, &Record)| {
        let is_rewound = |handler| log.standing(handler, *offset).rewound;
        let may_return = record.destroyed || facts.handlers_of(number, place.topic).any(is_rewound);
        let held = may_return && record.nature != Nature::Good;
        held || ledger.open_for(number, place, *offset).next().is_some()
    };
    let end = log.end();
    let frontier = log.records().find(may_be_open).map_or(end, |(offset, _)| offset);
    let frontier = log.may_be_held().map(|(offset, _)| offset).fold(frontier, Offset::min);
    // Nobody has had anything to commit since somebody else set it.
    let is_foreign = ledger.is_set_by_others(number, place);
    let stored = world.stored(coordinator, group, place);
    let committed = stored.map_or(Offset::ZERO, |stored| stored.offset);
    let at = facts.place_name(place);
    if committed > end {
        pending.push(format!("{group} has committed {committed} of {at}, which ends at {end}"));
    }
    if committed < frontier && !is_foreign {
        pending.push(format!("{group} has committed {committed} of {at}, not {frontier}"));
    }
}
