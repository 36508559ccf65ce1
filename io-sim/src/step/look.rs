//! A world in words, as it stands between two steps: what each process, broker and the database holds, what is on its way,
//! and what comes next.
//!
//! What the cluster holds is asked of a copy, so that looking changes nothing.

use std::cmp::Reverse;
use std::fmt::Write as _;

use evenkeel_cluster::message::{Answer, FetchOffsetsGroup, FetchOffsetsRequest, OfTopic, Place as LogPlace};
use evenkeel_core::model::PartitionId;

use super::process::{Brain, Process, Role};
use super::world::{Todo, World};
use crate::history::{GroupNo, Place, TopicNo};
use crate::network::Delivery;
use crate::oversight::watch;
use crate::oversight::{Oversight, decode};

/// Of what there may be much of, so many are listed.
const LISTED: usize = 12;

impl World {
    /// What there is, in words.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut text = String::new();
        // Writing to a string never fails.
        let _ = writeln!(text, "{} after {} steps, {:?}", self.now, self.steps(), self.stage);
        let mut asked = self.clone();
        self.look_at_processes(&mut text);
        asked.look_at_cluster(&mut text);
        let _ = writeln!(text, "database\n  {}", self.store.look(self.now, &self.facts));
        self.look_ahead(&mut text);
        text
    }

    /// The machines, field by field.
    #[must_use]
    pub fn machines_shown(&self) -> String {
        let brains = self.processes.iter().enumerate().filter_map(|(nth, process)| {
            let present = process.present.as_ref()?;
            Some(format!("process {nth}, life {}: {:#?}\n", present.life, present.brain))
        });
        brains.collect()
    }

    fn look_at_processes(&self, text: &mut String) {
        for (nth, process) in self.processes.iter().enumerate() {
            let name = match process.role {
                Role::Service(service) => {
                    format!("member of {}", self.facts.groups[usize::from(service.0)].name)
                }
                Role::Producer(_) => "producer".to_owned(),
            };
            let _ = writeln!(text, "process {nth}, {name}: {}", self.standing_of(process));
            let Some(present) = &process.present else { continue };
            if let Role::Producer(producer) = process.role {
                let (made, of) = (self.produced[producer], self.sends[producer].len());
                let _ = writeln!(text, "  made {made} of {of} calls, {} not answered", present.sending.len());
            }
            for call in present.calls.values() {
                let _ = writeln!(text, "  {}", call.look(&self.facts));
            }
            for question in self.questions(present.life) {
                let _ = writeln!(text, "  waits for an answer: {question}");
            }
            if let Brain::Member(member) = &present.brain {
                let (running, in_flight) = (member.consumer().running(), member.consumer().in_flight());
                let _ = writeln!(text, "  {in_flight} events in flight, {running} calls run");
            }
        }
    }

    fn standing_of(&self, process: &Process) -> String {
        let Some(present) = &process.present else { return format!("down after {} lives", process.lives) };
        let asked = if present.stopping_since.is_some() { ", asked to stop" } else { "" };
        let standing = if present.paused {
            "stands still".to_owned()
        } else {
            format!("{:?}", present.standing).to_lowercase()
        };
        let wake = process.wake().map_or_else(|| "never by itself".to_owned(), |at| at.to_string());
        format!("life {}, {standing}{asked}, wakes {wake}", present.life)
    }

    fn look_at_cluster(&mut self, text: &mut String) {
        let alive: Vec<_> = self.alive.iter().map(ToString::to_string).collect();
        let all = self.setup.numbers.brokers;
        let _ = writeln!(text, "brokers {} of {all} run", alive.join(", "));
        let facts = self.facts();
        let topics = (0..).map(TopicNo).zip(&facts.topics);
        let places: Vec<_> = topics
            .flat_map(|(topic, of)| {
                (0..of.partitions as i32)
                    .map(move |partition| Place { topic, partition: PartitionId(partition) })
            })
            .collect();
        for place in &places {
            let name = facts.place_name(*place);
            let Some((leader, epoch)) = self.leader(*place) else {
                let _ = writeln!(text, "  {name}: nobody leads it");
                continue;
            };
            let start = self.listed(leader, *place, LogPlace::Earliest);
            let end = self.listed(leader, *place, LogPlace::Latest);
            let offset = |offset: Option<evenkeel_core::model::Offset>| {
                offset.map_or_else(|| "?".to_owned(), |offset| offset.to_string())
            };
            let (start, end) = (offset(start), offset(end));
            let _ =
                writeln!(text, "  {name}: broker {leader} leads in epoch {epoch}, offsets {start} to {end}");
        }
        for (nth, group) in (0..).zip(&facts.groups) {
            let Some(coordinator) = self.coordinator(&group.name) else {
                let _ = writeln!(text, "group {}: nobody coordinates it", group.name);
                continue;
            };
            let (state, members) = self.group_state(coordinator, &group.name);
            let name = |id| {
                self.truth.member(GroupNo(nth), id).map_or_else(|| "?".to_owned(), |life| life.to_string())
            };
            let members: Vec<_> = members.iter().map(name).collect();
            let state = state.map_or_else(|| "not described".to_owned(), |state| format!("{state:?}"));
            let _ = writeln!(
                text,
                "group {}: {state} at broker {coordinator}, members {}",
                group.name,
                members.join(", ")
            );
            for place in &places {
                let wanted = FetchOffsetsGroup {
                    group: std::sync::Arc::clone(&group.name),
                    topics: Some(vec![OfTopic {
                        topic: self.topic_name(*place),
                        partitions: vec![place.partition],
                    }]),
                };
                let answer = self.query(coordinator, FetchOffsetsRequest { groups: vec![wanted] }.into());
                let Some(Answer::FetchOffsets(answer)) = answer else { continue };
                let topics = answer.groups.into_iter().filter_map(|group| group.outcome.ok()).flatten();
                for stored in topics.flat_map(|topic| topic.partitions).filter_map(|(_, stored)| stored) {
                    let beyond = decode::settled(&stored.metadata, stored.offset);
                    let beyond: Vec<_> =
                        beyond.iter().map(|run| format!(" and {}..{}", run.start, run.end)).collect();
                    let name = facts.place_name(*place);
                    let _ = writeln!(text, "  committed {} of {name}{}", stored.offset, beyond.concat());
                }
            }
        }
    }

    fn look_ahead(&self, text: &mut String) {
        let mut messages: Vec<_> = self
            .network
            .on_the_way(self.now)
            .flat_map(|(_, queue)| queue)
            .map(|(at, delivery)| (at, self.words(delivery)))
            .collect();
        messages.sort();
        let _ = writeln!(text, "on the way: {} messages", messages.len());
        for (at, message) in messages.iter().take(LISTED) {
            let _ = writeln!(text, "  {at} {message}");
        }
        let mut planned: Vec<_> = self.todo.iter().map(|Reverse(due)| due).collect();
        planned.sort_unstable();
        let _ = writeln!(text, "planned: {} things", planned.len());
        for due in planned.iter().take(LISTED) {
            let what = match &due.todo {
                Todo::Strike(stroke) => stroke.to_string(),
                other => format!("{other:?}"),
            };
            let _ = writeln!(text, "  {} {what}", due.at);
        }
    }

    fn words(&self, delivery: &Delivery) -> String {
        let between = |connection| {
            self.network.connection(connection).map_or_else(
                || "nobody".to_owned(),
                |held| format!("{} and broker {}", held.life, held.broker),
            )
        };
        match delivery {
            Delivery::Dial { life, broker, .. } => format!("{life} asks broker {broker} for a connection"),
            Delivery::Dialled { life, broker, connection, .. } => {
                let outcome = if connection.is_some() { "has" } else { "is refused" };
                format!("{life} {outcome} a connection to broker {broker}")
            }
            Delivery::Request { connection, letter } => {
                format!("request between {}: {}", between(*connection), watch::name(&letter.request))
            }
            Delivery::Answer { connection, .. } => format!("answer between {}", between(*connection)),
            Delivery::ClientGone { connection } => {
                format!("the client's farewell between {}", between(*connection))
            }
            Delivery::ServerGone { connection } => {
                format!("the server's farewell between {}", between(*connection))
            }
        }
    }
}
