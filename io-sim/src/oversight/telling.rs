//! Happenings as steps of a trace: hashed always, in words on replay.

use evenkeel_core::model::Offset;

use crate::history::{Cut, Facts, Happening, Place};
use crate::trace::{Kind, digest as fold};

const LIFE: Kind = Kind::new("life");
const SEND: Kind = Kind::new("send");
const SENT: Kind = Kind::new("sent");
const LOGGED: Kind = Kind::new("logged");
const ASSIGNED: Kind = Kind::new("assigned");
const JOINED: Kind = Kind::new("joined");
const SERVED: Kind = Kind::new("served");
const COMMIT: Kind = Kind::new("commit");
const RUN: Kind = Kind::new("run");
const RAN: Kind = Kind::new("ran");
const GIVEN_UP: Kind = Kind::new("given-up");
const TX: Kind = Kind::new("tx");
const WORLD: Kind = Kind::new("world");

fn of(place: Place) -> u64 {
    u64::from(place.topic.0) << 32 | place.partition.0 as u32 as u64
}

fn at(offset: Offset) -> u64 {
    offset.0 as u64
}

/// Whom it concerns, what it is, and a digest of the rest.
pub(crate) fn digest(happening: &Happening) -> (u64, Kind, u64) {
    let life = |life: &crate::history::Life| u64::from(life.process) << 16 | u64::from(life.nth);
    match happening {
        Happening::LifeBegan { life: l, handlers, .. } => {
            (life(l), LIFE, fold(handlers.iter().map(|handler| handler.0.into())))
        }
        Happening::LifeEnded { life: l, end } => {
            (life(l), LIFE, 1 + u64::from(*end != crate::history::End::Crashed))
        }
        Happening::StopAsked { life: l } => (life(l), LIFE, 6),
        Happening::Paused { life: l } => (life(l), LIFE, 4),
        Happening::Resumed { life: l } => (life(l), LIFE, 5),
        Happening::SendBegan { send, life: l, events } => (
            life(l),
            SEND,
            fold([send.0.into(), events.len() as u64, events.first().map_or(0, |e| e.event.0.into())]),
        ),
        Happening::SendEnded { send, fates } => {
            let fates = fates.iter().map(|fate| match fate {
                crate::history::Fate::Written(partition, offset) => {
                    2 + (at(*offset) << 8 | partition.0 as u64)
                }
                crate::history::Fate::Rejected => 1,
                crate::history::Fate::Unknown => 0,
            });
            (send.0.into(), SENT, fold(fates))
        }
        Happening::Logged { place, offset, event } => {
            (of(*place), LOGGED, fold([at(*offset), event.map_or(u64::MAX, |event| event.0.into())]))
        }
        Happening::Destroyed { place, offsets } => {
            (of(*place), WORLD, fold([at(offsets.start), at(offsets.end)]))
        }
        Happening::Truncated { place, end, why } => {
            (of(*place), WORLD, fold([at(*end), u64::from(*why == Cut::Deletion)]))
        }
        Happening::Assigned { group, generation, shares } => {
            let owned = shares.iter().flat_map(|share| {
                std::iter::once(life(&share.life)).chain(share.places.iter().map(|place| of(*place)))
            });
            (group.0.into(), ASSIGNED, fold(std::iter::once(generation.0 as u64).chain(owned)))
        }
        Happening::Joined { group, life: l, generation } => {
            (life(l), JOINED, fold([group.0.into(), generation.0 as u64]))
        }
        Happening::PositionServed { place, life: l, offset, settled, .. } => {
            (life(l), SERVED, fold([of(*place), offset.map_or(u64::MAX, at), settled.len() as u64]))
        }
        Happening::Committed { place, life: l, generation, offset, settled, outcome, sent, .. } => {
            let code = outcome.map_or_else(|code| code.code() as u64, |()| 0);
            let beyond = settled.last().map_or(0, |run| at(run.end));
            let words = [of(*place), generation.0 as u64, at(*offset), beyond, code, sent.as_nanos()];
            (life(l), COMMIT, fold(words))
        }
        Happening::PositionSet { group, place, offset } => {
            (group.0.into(), COMMIT, fold([of(*place), offset.map_or(u64::MAX, at)]))
        }
        Happening::RunBegan { run, life: l, handler, place, offset, attempt, .. } => {
            (life(l), RUN, fold([run.0, handler.0.into(), of(*place), at(*offset), (*attempt).into()]))
        }
        Happening::RunEnded { run, end } => (run.0, RAN, *end as u64),
        Happening::GivenUp { life: l, handler, place, offset, attempts } => {
            (life(l), GIVEN_UP, fold([handler.0.into(), of(*place), at(*offset), (*attempts).into()]))
        }
        Happening::TxCommitted { tx, claims, effects } => {
            let all = claims.iter().chain(effects.iter()).map(|(h, e)| u64::from(h.0) << 32 | u64::from(e.0));
            (tx.0, TX, fold(all))
        }
        Happening::Quiet => (0, WORLD, 0),
    }
}

/// The happening as a line.
pub(crate) fn line(facts: &Facts, happening: &Happening) -> String {
    let place = |place: &Place| facts.place_name(*place);
    let beyond = |settled: &[std::ops::Range<Offset>]| {
        let runs: Vec<_> = settled.iter().map(|run| format!("{}..{}", run.start, run.end)).collect();
        if runs.is_empty() { String::new() } else { format!(" and beyond {}", runs.join(" ")) }
    };
    match happening {
        Happening::LifeBegan { life, service, handlers } => format!(
            "{life} of {} begins with {} handlers: {}",
            facts.services[usize::from(service.0)].name,
            handlers.len(),
            handlers.iter().map(|handler| handler.to_string()).collect::<Vec<_>>().join(" ")
        ),
        Happening::LifeEnded { life, end } => format!("{life} ends: {end:?}"),
        Happening::StopAsked { life } => format!("{life} is asked to stop"),
        Happening::Paused { life } => format!("{life} stands still"),
        Happening::Resumed { life } => format!("{life} goes on"),
        Happening::SendBegan { send, life, events } => {
            let events: Vec<_> = events.iter().map(|sent| sent.event.to_string()).collect();
            format!("{life} produces {} ({send})", events.join(" "))
        }
        Happening::SendEnded { send, fates } => format!("{send}: {fates:?}"),
        Happening::Logged { place: at, offset, event } => format!(
            "{} @{offset} is {}",
            place(at),
            event.map_or_else(|| "not ours".to_owned(), |event| event.to_string())
        ),
        Happening::Destroyed { place: at, offsets } => {
            format!("{} @{}..{} is destroyed", place(at), offsets.start, offsets.end)
        }
        Happening::Truncated { place: at, end, why: Cut::Election } => {
            format!("{} is cut at {end}", place(at))
        }
        Happening::Truncated { place: at, why: Cut::Deletion, .. } => format!("{} is deleted", place(at)),
        Happening::Assigned { group, generation, shares } => {
            let shares: Vec<_> = shares
                .iter()
                .map(|share| {
                    let places: Vec<_> = share.places.iter().map(&place).collect();
                    format!("{}: {}", share.life, places.join(" "))
                })
                .collect();
            format!(
                "{} generation {generation}: {}",
                facts.groups[usize::from(group.0)].name,
                shares.join(", ")
            )
        }
        Happening::Joined { group, life, generation } => {
            format!("{life} is in generation {generation} of {}", facts.groups[usize::from(group.0)].name)
        }
        Happening::PositionServed { place: at, life, offset, settled, .. } => format!(
            "{life} is told that {} stands at {}{}",
            place(at),
            offset.map_or_else(|| "nothing".to_owned(), |offset| offset.to_string()),
            beyond(settled)
        ),
        Happening::Committed { place: at, life, generation, offset, settled, outcome, sent, .. } => {
            format!(
                "{life} {} @{offset}{} generation {generation} -> {} (sent at {sent})",
                place(at),
                beyond(settled),
                outcome.map_or_else(|code| format!("{code:?}"), |()| "accepted".to_owned()),
            )
        }
        Happening::PositionSet { group, place: at, offset } => format!(
            "the position of {} in {} is set to {} from outside",
            facts.groups[usize::from(group.0)].name,
            place(at),
            offset.map_or_else(|| "nothing".to_owned(), |offset| offset.to_string())
        ),
        Happening::RunBegan { run, call, life, handler, place: at, offset, event, attempt } => format!(
            "{run} {call} {life} {} gets {} @{offset} {event} attempt {attempt}",
            facts.handler_name(*handler),
            place(at)
        ),
        Happening::RunEnded { run, end } => format!("{run} {end:?}"),
        Happening::GivenUp { life, handler, place: at, offset, attempts } => {
            format!(
                "{life} {} gives up {} @{offset} after {attempts}",
                facts.handler_name(*handler),
                place(at)
            )
        }
        Happening::TxCommitted { tx, claims, effects } => {
            let all = |of: &[(crate::history::HandlerNo, crate::history::EventNo)]| {
                of.iter().map(|(handler, event)| format!("{handler}:{event}")).collect::<Vec<_>>().join(" ")
            };
            format!("{tx} commits claims {} effects {}", all(claims), all(effects))
        }
        Happening::Quiet => "faults are over".to_owned(),
    }
}
