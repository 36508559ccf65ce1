//! Committing: when positions go to the coordinator, and what follows from its answer.
//!
//! One commit is in flight at a time, for all partitions with something new. It goes out at an interval while events
//! flow, soon after the last event in flight is settled, and at once when partitions are given up.

use std::time::Duration;

use slab::Slab;

use super::{Action, Consumer, Kept, Notice, Partition, Standing};
use crate::error::{ErrorCode, Remedy};
use crate::machine::backoff::Backoff;
use crate::machine::commit::MetadataLimit;
use crate::model::{Epoch, Generation, Offset, RequestId, Time};
use crate::ports::{Commit, CommitRequest, PortError};

/// An idle consumer commits at once, but not more often than this.
const IDLE_PAUSE: Duration = Duration::from_millis(100);

/// A commit without an answer may still be on its way, be taken behind a later one and lower what is stored. After so long
/// it has come or is lost, and the position is committed once more.
const IN_DOUBT: Duration = Duration::from_secs(60);

/// The commit cycle of a consumer.
#[derive(Debug, Clone)]
pub(super) struct Commits {
    in_flight: Option<InFlight>,
    due: Option<Time>,
    /// After a failure: not before then, whatever is due.
    not_before: Time,
    last: Option<Time>,
    failures: u32,
    /// Refused for good: nothing more is committed under this assignment.
    refused: bool,
    limit: MetadataLimit,
    /// Commits of former assignments that are still to be answered. One that was held up on its way is taken if the
    /// same generation gave the partition back, and lowers what is stored.
    strays: Vec<RequestId>,
    /// Such a commit may have been taken since the present assignment began.
    overtaken: bool,
    /// When the position is committed once more, after a commit without an answer.
    doubted_until: Option<Time>,
}

#[derive(Debug, Clone)]
struct InFlight {
    id: RequestId,
    generation: Generation,
    items: Vec<(usize, Epoch, Offset)>,
}

impl Commits {
    pub(super) fn new(limit: MetadataLimit) -> Self {
        Self {
            in_flight: None,
            due: None,
            not_before: Time::ZERO,
            last: None,
            failures: 0,
            refused: false,
            limit,
            strays: Vec::new(),
            overtaken: false,
            doubted_until: None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        if self.in_flight.is_some() || self.refused {
            return None;
        }
        let due = self.due.into_iter().chain(self.doubted_until).min();
        due.map(|due| due.max(self.not_before))
    }

    /// Asks for a commit no later than `at`.
    pub(super) fn due_at(&mut self, at: Time) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// The coordinator is another one: what failed at the last one is no reason to wait.
    pub(super) fn moved(&mut self, now: Time) {
        self.not_before = now;
    }

    /// There is little time left for a last commit: what failed before is no reason to wait.
    pub(super) fn hurry(&mut self, now: Time) {
        self.due_at(now);
        self.not_before = now;
        self.failures = 0;
    }

    /// Whether a commit is in doubt.
    pub(super) const fn in_doubt(&self) -> bool {
        self.doubted_until.is_some()
    }

    /// No commit is in doubt any more.
    pub(super) const fn resolve_doubt(&mut self) {
        self.doubted_until = None;
    }

    /// Whether repeating a commit within the little time that a drain has is of no use. While partitions are kept, all
    /// is tried again: topics come back, and so do rights.
    fn refused_for_good(&self, code: ErrorCode) -> bool {
        match code {
            ErrorCode::UnknownTopicOrPartition => true,
            ErrorCode::OffsetMetadataTooLarge => self.limit == MetadataLimit::NONE,
            other => other.remedy() == Remedy::GiveUp,
        }
    }

    /// Forgets the assignment, but not what of it is still under way.
    pub(super) fn forget(&mut self) {
        let mut strays = std::mem::take(&mut self.strays);
        strays.extend(self.in_flight.take().map(|sent| sent.id));
        *self = Self { strays, doubted_until: self.doubted_until, ..Self::new(self.limit) };
    }

    /// Whether what is stored may be lower than what was read of it.
    pub(super) const fn overtaken(&self) -> bool {
        self.overtaken
    }

    /// Whether a drain has to wait for a commit.
    pub(super) fn unfinished(&self, partitions: &Slab<Partition>) -> bool {
        let open = || partitions.iter().any(|(_, partition)| partition.is_to_commit());
        !self.refused && (self.in_flight.is_some() || open())
    }
}

impl<P: Kept> Consumer<P> {
    /// Something of a partition was settled.
    pub(super) fn note_progress(&mut self, now: Time, slot: usize) {
        if !self.partitions[slot].has_news() {
            return;
        }
        let regular = now + self.config.commit_interval;
        let at = if self.events.is_empty() {
            self.commits.last.map_or(now, |last| (last + IDLE_PAUSE).max(now)).min(regular)
        } else {
            regular
        };
        self.commits.due_at(at);
    }

    pub(super) fn commit_when_due(&mut self, now: Time) {
        let draining = match &self.standing {
            Standing::Unassigned => return,
            Standing::Assigned(_) => false,
            Standing::Draining { .. } => {
                // The last commit of a drain names everything, so it waits for the last call.
                if self.live_calls == 0 {
                    self.commits.due_at(now);
                }
                true
            }
        };
        if self.commits.deadline().is_none_or(|due| due > now) {
            return;
        }
        if self.commits.doubted_until.take_if(|until| *until <= now).is_some() {
            self.marks.hit("committed once more after a commit without an answer");
            self.commit_anew(now);
        }
        if draining && self.live_calls > 0 {
            self.commits.due = None;
            return;
        }
        self.commits.due = None;
        let mut items = Vec::new();
        let mut commits = Vec::new();
        let mut broken = Vec::new();
        for (slot, partition) in &mut self.partitions {
            if !partition.is_to_commit() {
                continue;
            }
            let scope = self.topics[partition.topic].scope();
            let epochs = partition.lineage.began();
            let snapshot = match partition.tracker.commit(self.commits.limit, scope, epochs) {
                Ok(Some(snapshot)) => snapshot,
                Ok(None) => continue,
                Err(bug) => {
                    broken.push((slot, bug));
                    continue;
                }
            };
            items.push((slot, partition.epoch, snapshot.offset));
            commits.push(Commit {
                at: partition.at.clone(),
                offset: snapshot.offset,
                leader_epoch: partition.lineage.last(),
                metadata: snapshot.metadata,
            });
        }
        for (slot, bug) in broken {
            self.break_partition(slot, &bug.to_string());
        }
        let Some(membership) = self.standing.membership().filter(|_| !commits.is_empty()) else { return };
        let (coordinator, generation) = (membership.coordinator, membership.generation);
        let request = CommitRequest {
            group: self.config.group.clone(),
            generation,
            member: membership.member.clone(),
            instance: membership.instance.clone(),
            commits,
        };
        let id = self.request();
        self.commits.in_flight = Some(InFlight { id, generation, items });
        self.commits.last = Some(now);
        self.act(Action::Commit { id, coordinator, request });
    }

    pub(super) fn on_commit_done(
        &mut self,
        now: Time,
        id: RequestId,
        outcome: Result<Vec<Result<(), ErrorCode>>, PortError>,
    ) {
        let Some(InFlight { generation, items, .. }) = self.commits.in_flight.take_if(|sent| sent.id == id)
        else {
            return self.on_stray_commit(now, id, &outcome);
        };
        let draining = matches!(self.standing, Standing::Draining { .. });
        let mut failed = None;
        for (nth, (slot, epoch, offset)) in items.into_iter().enumerate() {
            let answer = match &outcome {
                Ok(answers) => match answers.get(nth) {
                    Some(answer) => *answer,
                    // An answer that leaves a partition out says nothing about it.
                    None => Err(ErrorCode::UnknownServerError),
                },
                Err(error) => Err(error.code().unwrap_or(ErrorCode::UnknownServerError)),
            };
            let partition = self.partitions.get_mut(slot).filter(|partition| partition.epoch == epoch);
            match (answer, partition) {
                (Ok(()), Some(partition)) => {
                    partition.tracker.committed(offset);
                }
                (Err(code), Some(partition)) => {
                    partition.tracker.recommit();
                    if draining && self.commits.refused_for_good(code) {
                        partition.commit_refused = true;
                        let notice = Notice::CommitRefused { at: partition.at.clone(), code };
                        self.actions.push_back(Action::Notice(notice));
                    }
                }
                (_, None) => {}
            }
            failed = answer.err().map_or(failed, |code| worse(failed, code));
        }
        match (outcome.err(), failed) {
            (Some(error), _) => self.commit_failed(now, generation, error),
            (None, Some(code)) => self.commit_failed(now, generation, PortError::Refused(code)),
            (None, None) => {
                self.commits.failures = 0;
                if self.partitions.iter().any(|(_, partition)| partition.has_news()) {
                    let interval = self.config.commit_interval;
                    self.commits.due_at(self.commits.last.map_or(now, |last| (last + interval).max(now)));
                }
            }
        }
    }

    /// A commit of a former assignment is answered. Unless it did not happen, the present one says again where it
    /// stands.
    fn on_stray_commit(
        &mut self,
        now: Time,
        id: RequestId,
        outcome: &Result<Vec<Result<(), ErrorCode>>, PortError>,
    ) {
        let Some(nth) = self.commits.strays.iter().position(|stray| *stray == id) else {
            return self.marks.hit("late reply ignored");
        };
        self.commits.strays.remove(nth);
        // Where nothing is assigned, the next assignment inherits the doubt.
        self.doubt(now, outcome.as_ref().err());
        if matches!(outcome, Err(PortError::Refused(_) | PortError::Unreachable { .. }))
            || self.standing.membership().is_none()
        {
            return self.marks.hit("late reply ignored");
        }
        self.marks.hit("a former assignment's commit may have overtaken this one's");
        self.commits.overtaken = true;
        self.commit_anew(now);
    }

    /// What is stored is in doubt: it is said once more.
    pub(super) fn commit_anew(&mut self, now: Time) {
        for (_, partition) in &mut self.partitions {
            partition.tracker.recommit();
        }
        self.commits.due_at(now);
    }

    /// Whether a commit that failed so may still be taken.
    fn doubt(&mut self, now: Time, error: Option<&PortError>) {
        if let Some(PortError::Unknown { .. } | PortError::Malformed { .. }) = error {
            self.commits.doubted_until = Some(now + IN_DOUBT);
        }
    }

    fn commit_failed(&mut self, now: Time, generation: Generation, error: PortError) {
        self.commits.due_at(now);
        self.doubt(now, Some(&error));
        let remedy = error.code().map(|code| (code, code.remedy()));
        match remedy {
            Some((ErrorCode::OffsetMetadataTooLarge, _)) if self.commits.limit != MetadataLimit::NONE => {
                self.commits.limit = self.commits.limit.halve();
                self.marks.hit("commit metadata limit halved");
                return;
            }
            Some((code, Remedy::Rejoin)) => {
                self.marks.hit("commit refused by the coordinator");
                self.commits.refused = code != ErrorCode::RebalanceInProgress;
                self.act(Action::CommitRefused { generation, code });
            }
            Some((code, Remedy::FindCoordinator)) => self.act(Action::CommitRefused { generation, code }),
            Some((_, Remedy::Wait | Remedy::FindLeader | Remedy::GiveUp)) | None => {}
        }
        self.notice(Notice::Trouble { request: "committing offsets", error });
        self.commits.not_before = now + Backoff::REQUEST.wait(self.commits.failures, &mut self.entropy);
        self.commits.failures = self.commits.failures.saturating_add(1);
    }
}

/// Of two refusals the one that asks for more.
fn worse(known: Option<ErrorCode>, code: ErrorCode) -> Option<ErrorCode> {
    let rank = |code: ErrorCode| match code.remedy() {
        Remedy::Rejoin => 3,
        Remedy::FindCoordinator => 2,
        Remedy::GiveUp => 1,
        Remedy::Wait | Remedy::FindLeader => 0,
    };
    match known {
        Some(known) if rank(known) >= rank(code) => Some(known),
        Some(_) | None => Some(code),
    }
}
