//! What machines want done: requests go to the cluster, calls begin and end, what they say of themselves is told.

use std::time::Duration;

use evenkeel_core::machine::consumer::Notice;
use evenkeel_core::machine::{consumer, group, produce};
use evenkeel_core::model::TopicPartition;

use super::ask::{self, Item, Question};
use super::client::{ANY, GRACE, HEARTBEAT, Lane, REQUEST};
use super::coverage::Standing;
use super::process::Role;
use super::world::World;
use crate::checkers::{Breach, Law};
use crate::history::{End, Fate, Happening};
use crate::oversight::truth;
use crate::trace::{Kind, digest_bytes};

const ACT: Kind = Kind::new("act");

impl World {
    fn told(&mut self, process: usize, name: &'static str) {
        self.note(ACT, process as u64, digest_bytes(name.as_bytes()), || format!("p{process} wants: {name}"));
    }

    pub(super) fn act_for_group(&mut self, process: usize, action: group::Action) {
        use group::Action;
        let action = if self.planted.is_some() { self.distort_group(process, action) } else { action };
        let Some(present) = self.processes[process].present.as_ref() else { return };
        let group = usize::from(match self.processes[process].role {
            Role::Service(service) => service.0,
            Role::Producer(_) => return,
        });
        let life = present.life;
        let rebalance = Duration::from_millis(self.setup.numbers.rebalance) + GRACE;
        match action {
            Action::FindCoordinator { id } => {
                let request = ask::find(&self.facts.groups[group].name);
                self.ask(process, Lane::Any, ANY, REQUEST, request, Question::Find { id });
            }
            Action::Join { id, broker, request } => {
                let question = Question::Join { id, member: request.member.clone() };
                self.ask(process, Lane::Membership, broker, rebalance, ask::join(request), question);
            }
            Action::DescribeTopics { id, topics } => {
                let request = ask::describe(&topics);
                let question = Question::DescribeForGroup { id, topics };
                self.ask(process, Lane::Any, ANY, REQUEST, request, question);
            }
            Action::Sync { id, broker, request } => {
                let request = ask::sync(request);
                self.ask(process, Lane::Membership, broker, rebalance, request, Question::Sync { id });
            }
            Action::Heartbeat { id, broker, request } => {
                let request = ask::heartbeat(request);
                self.ask(process, Lane::Membership, broker, HEARTBEAT, request, Question::Heartbeat { id });
            }
            Action::Leave { id, broker, request } => {
                self.ask(process, Lane::Data, broker, REQUEST, ask::leave(request), Question::Leave { id });
            }
            Action::Assigned { .. } => {
                if let Some(present) = &mut self.processes[process].present {
                    present.untidy = false;
                }
                self.work.let_go(life);
                self.stands(process, Standing::Assigned, "assigned");
            }
            Action::Moved { .. } => self.told(process, "moved"),
            Action::Revoke { .. } => self.stands(process, Standing::Draining, "revoke"),
            Action::Lost => self.stands(process, Standing::Outside, "lost"),
            Action::Failed { error } => {
                let story = format!("{life} gave up: {error}");
                self.break_law(Breach::new(Law::Liveness, story));
            }
            Action::Stopped => {
                let clean = self.processes[process].present.as_ref().is_some_and(|present| !present.untidy);
                self.exited(process, End::Stopped { clean });
            }
        }
    }

    pub(super) fn act_for_consumer(&mut self, process: usize, action: consumer::Action<Item>) {
        if self.planted.is_some() {
            return self.distort_action(process, action);
        }
        self.act_as_it_is(process, action);
    }

    pub(super) fn act_as_it_is(&mut self, process: usize, action: consumer::Action<Item>) {
        use consumer::Action;
        match action {
            Action::FetchCommitted { id, coordinator, topics } => {
                let Role::Service(service) = self.processes[process].role else { return };
                let request = ask::committed(&self.facts.groups[usize::from(service.0)].name, &topics);
                let asked = topics.into_iter().flat_map(|(topic, partitions)| {
                    let at = move |partition| TopicPartition { topic: topic.clone(), partition };
                    partitions.into_iter().map(at)
                });
                let question = Question::Committed { id, asked: asked.collect() };
                self.ask(process, Lane::Data, coordinator, REQUEST, request, question);
            }
            Action::Describe { id, topics } => {
                let request = ask::describe(&topics);
                self.ask(process, Lane::Any, ANY, REQUEST, request, Question::Describe { id, topics });
            }
            Action::ListOffsets { id, broker, partitions } => {
                let request = ask::list(&partitions);
                let asked = partitions.into_iter().map(|list| list.at).collect();
                self.ask(process, Lane::Data, broker, REQUEST, request, Question::List { id, asked });
            }
            Action::Fetch { id, broker, request } => {
                let limit = request.wait + REQUEST;
                for wanted in &request.partitions {
                    self.reads_on(process, &wanted.at, wanted.offset);
                }
                let asked = request.partitions.iter().map(|wanted| (wanted.at.clone(), wanted.offset));
                let question = Question::Fetch { id, asked: asked.collect() };
                self.ask(process, Lane::Fetch, broker, limit, ask::fetch(&request), question);
            }
            Action::Run { call, handler, event, more } => {
                let events = std::iter::once(event).chain(more).collect();
                self.begin_call(process, call, handler, events);
            }
            Action::Cancel(call) => self.cancel_call(process, call),
            Action::Commit { id, coordinator, request } => {
                let asked = request.commits.iter().map(|commit| commit.at.clone()).collect();
                let question = Question::Commit { id, asked };
                self.ask(process, Lane::Data, coordinator, REQUEST, ask::commit(request), question);
            }
            Action::Notice(notice) => self.noticed(process, notice),
            Action::Released | Action::CommitRefused { .. } | Action::PartitionsCounted(_) => {
                let story = "an action between the halves of a member left it".to_owned();
                self.break_law(Breach::new(Law::Liveness, story));
            }
        }
    }

    fn stands(&mut self, process: usize, standing: Standing, told: &'static str) {
        if let Some(present) = &mut self.processes[process].present {
            present.standing = standing;
        }
        self.told(process, told);
    }

    fn was_cut(&self, at: &TopicPartition) -> bool {
        let place = truth::place(&self.facts, at.topic.as_str(), at.partition);
        place.is_some_and(|place| self.judge.ledger().was_cut(place))
    }

    fn noticed(&mut self, process: usize, notice: Notice) {
        let Some(present) = self.processes[process].present.as_mut() else { return };
        let life = present.life;
        match notice {
            Notice::Discarded { handler, at, offset, attempts, .. } => {
                let handlers = &present.handlers;
                if let Some(place) = truth::place(&self.facts, at.topic.as_str(), at.partition)
                    && let Some(handler) = truth::handler(&self.facts, handlers, &handler, place)
                {
                    self.work.given_up(life, handler, place, offset);
                    self.tell(Happening::GivenUp { life, handler, place, offset, attempts });
                }
            }
            Notice::Uncommitted { .. } => {
                present.untidy = true;
                self.told(process, "uncommitted");
            }
            Notice::Cancelled { .. } => {
                present.untidy = true;
                self.told(process, "cancelled");
            }
            Notice::Bug { at, what } => {
                let story = format!("{life} stopped {at} for a bug that it found in itself: {what}");
                self.break_law(Breach::new(Law::CommitSafety, story));
            }
            Notice::PastEnd { at, .. } if self.was_cut(&at) => self.told(process, "past the end"),
            Notice::PastEnd { at, position } => {
                let story = format!("{life} stands at {position} of {at}, past its end, and nothing was cut");
                self.break_law(Breach::new(Law::CommitSafety, story));
            }
            Notice::Truncated { at, from, to } => {
                self.told(process, "log cut");
                if !self.was_cut(&at) {
                    let story = format!("{life} went back from {from} to {to} of {at}, and nothing was cut");
                    self.break_law(Breach::new(Law::CommitSafety, story));
                }
            }
            Notice::Blocked { .. } => self.told(process, "blocked"),
            Notice::Gap { .. } => self.told(process, "gap"),
            Notice::MetadataIgnored { .. } => self.told(process, "metadata ignored"),
            Notice::Undecodable { .. } => self.told(process, "undecodable"),
            Notice::Trouble { .. } => self.told(process, "trouble"),
            Notice::TopicUnavailable { .. } => self.told(process, "topic unavailable"),
            Notice::Recreated { .. } => self.told(process, "topic recreated"),
            Notice::CommitRefused { .. } => self.told(process, "commit refused for good"),
        }
    }

    pub(super) fn act_for_producer(&mut self, process: usize, action: produce::Action) {
        use produce::Action;
        match action {
            Action::Describe { id, topics } => {
                let request = ask::describe(&topics);
                let question = Question::DescribeForProducer { id, topics };
                self.ask(process, Lane::Any, ANY, REQUEST, request, question);
            }
            Action::FetchLimits { id, topic } => {
                self.ask(process, Lane::Any, ANY, REQUEST, ask::limits(&topic), Question::Limits { id });
            }
            Action::Send { id, request } => {
                let Some(message) = ask::send(&request, request.timeout) else { return };
                let lane = Lane::Produce(digest_bytes(request.at.to_string().as_bytes()));
                let (leader, limit) = (request.leader, request.timeout);
                self.ask(process, lane, leader, limit, message, Question::Send { id, at: request.at });
            }
            Action::Finish { ticket, outcome } => {
                let fate = match outcome {
                    Ok(produced) => Fate::Written(produced.at.partition, produced.offset),
                    Err(failure) if failure.is_unknown() => Fate::Unknown,
                    Err(_) => Fate::Rejected,
                };
                self.finish_send(process, ticket, fate);
            }
            Action::Closed => self.exited(process, End::Stopped { clean: true }),
        }
    }
}
