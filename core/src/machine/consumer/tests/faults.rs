//! What goes wrong in the world: outcomes of handlers, answers of servers, and everything in between.

use super::cluster::WEIGHT;
use super::world::{Step, Weather, World};
use super::*;

impl World {
    /// Whether a handler can never succeed with an event, before the quiet time.
    pub(super) fn poison(&self, handler: usize, number: usize, offset: Offset) -> bool {
        Entropy::new((handler as u64) << 32 | (number as u64) << 16 | offset.0 as u64).below(12) == 0
    }

    pub(super) fn outcome(
        &mut self,
        HandlerId(handler): HandlerId,
        events: &[(usize, Offset, u32)],
    ) -> Outcome {
        if self.outage() {
            return Outcome::World;
        }
        if self.quiet {
            return Outcome::Done;
        }
        let poison = events.iter().any(|&(number, offset, _)| self.poison(handler, number, offset));
        let chosen = self.entropy.below(20);
        match chosen {
            _ if poison && events.len() > 1 => [Outcome::Failed, Outcome::Panicked][chosen as usize % 2],
            0..4 if poison => Outcome::Permanent,
            4..6 if poison => Outcome::Undecodable,
            6..10 if poison => Outcome::Panicked,
            _ if poison => Outcome::Failed,
            0 => Outcome::World,
            1 => Outcome::AlreadyDone,
            2 => Outcome::Ignored,
            // An honest failure now and then, but never three in a row: that would be poison.
            3 if events.iter().all(|event| event.2 == 1) => Outcome::TimedOut,
            _ => Outcome::Done,
        }
    }

    fn outage(&self) -> bool {
        self.weather == Weather::Outage && self.now >= self.outage_at
    }

    fn fault(&mut self) -> Option<PortError> {
        let all = self.outage() && !self.refusing;
        if !all && (self.quiet || !self.chance(self.faults)) {
            return None;
        }
        Some(match self.entropy.below(4) {
            0 => PortError::Unreachable { server: "broker".into(), cause: "refused".into() },
            1 => unknown(),
            2 => PortError::Malformed { server: "broker".into(), cause: "cut short".into() },
            _ => PortError::Refused(
                [ErrorCode::UnknownServerError, ErrorCode::NotCoordinator, ErrorCode::RequestTimedOut]
                    [self.entropy.below(3) as usize],
            ),
        })
    }

    /// An error for one partition of an answer.
    fn partition_fault(&mut self) -> Option<ErrorCode> {
        let faulty = self.outage() || (!self.quiet && self.chance(self.faults / 4));
        let codes = [
            ErrorCode::NotLeaderOrFollower,
            ErrorCode::ThrottlingQuotaExceeded,
            ErrorCode::OffsetNotAvailable,
            ErrorCode::TopicAuthorizationFailed,
            ErrorCode::UnknownServerError,
        ];
        faulty.then(|| codes[self.entropy.below(5) as usize])
    }

    pub(super) fn arrives(&mut self, life: u32, request: Action<Offset>, waited: bool) {
        let fault = self.fault();
        let input = match request {
            Action::FetchCommitted { id, topics, .. } => {
                let mut stored = self.cluster.committed(&topics);
                if life == self.life && fault.is_none() {
                    for (at, _) in &stored {
                        let number = self.cluster.log(at).expect("only ours are asked for");
                        self.laws.resumed(&self.cluster, number);
                    }
                }
                for (_, outcome) in &mut stored {
                    if let Some(code) = self.partition_fault() {
                        *outcome = Err(code);
                    }
                }
                Input::Committed { id, outcome: fault.map_or(Ok(stored), Err) }
            }
            Action::Describe { id, .. } => {
                let lags = !self.quiet && self.chance(10);
                let mut metadata = self.cluster.describe(lags);
                for topic in &mut metadata.topics {
                    if let Some(code) = self.partition_fault() {
                        topic.partitions = Err(code);
                    } else if let Ok(partitions) = &mut topic.partitions
                        && self.partition_fault().is_some()
                    {
                        partitions[0].leader = None;
                    }
                }
                Input::Described { id, outcome: fault.map_or(Ok(metadata), Err) }
            }
            Action::ListOffsets { id, broker, partitions } => {
                let mut listed = self.cluster.list(broker, &partitions);
                for answer in &mut listed {
                    if let Some(code) = self.partition_fault() {
                        answer.outcome = Err(code);
                    }
                }
                if self.partition_fault().is_some() {
                    listed.pop();
                }
                Input::Listed { id, outcome: fault.map_or(Ok(listed), Err) }
            }
            Action::Fetch { id, broker, request } => {
                let mut answers = self.cluster.fetch(broker, &request);
                let empty = |(_, answer): &(TopicPartition, Result<Read<Offset>, ErrorCode>)| {
                    answer.as_ref().is_ok_and(|read| read.records.is_empty())
                };
                let caught_up = |asked: &FetchPartition| {
                    self.cluster
                        .log(&asked.at)
                        .is_some_and(|number| self.cluster.logs[number].end == asked.offset)
                };
                if !waited && answers.iter().all(empty) && request.partitions.iter().all(caught_up) {
                    let millis = u64::try_from(request.wait.as_millis()).expect("a short wait");
                    let request = Action::Fetch { id, broker, request };
                    return self.after(millis, Step::Arrives { life, request, waited: true });
                }
                for (_, answer) in &mut answers {
                    self.spoil(answer);
                }
                if self.partition_fault().is_some() {
                    answers.pop();
                }
                Input::Fetched { id, outcome: fault.map_or(Ok(answers), Err) }
            }
            Action::Commit { id, request, .. } => {
                let reads = self.commits.remove(&(life, id)).expect("it was sent");
                let outcome = self.take_commit(&request, &reads, fault);
                Input::CommitDone { id, outcome }
            }
            _ => return,
        };
        let wait = self.draw(15);
        self.after(wait, Step::Reply { life, input });
    }

    fn spoil(&mut self, answer: &mut Result<Read<Offset>, ErrorCode>) {
        if let Some(code) = self.partition_fault() {
            *answer = Err(code);
        } else if let Ok(read) = answer
            && self.partition_fault().is_some()
            && let Some(first) = read.records.first()
        {
            let fault = match self.entropy.below(3) {
                0 => ReadFault::TooSmall(WEIGHT),
                1 => ReadFault::TooSmall(2 * self.config.fetch_bytes),
                _ => ReadFault::Undecodable("bad checksum".into()),
            };
            *read = Read { next: first.offset, records: Vec::new(), fault: Some(fault), ..read.clone() };
        }
    }

    /// A commit that fails may have been stored all the same, unless the answer is a refusal.
    fn take_commit(
        &mut self,
        request: &CommitRequest,
        reads: &BTreeMap<TopicName, TopicId>,
        fault: Option<PortError>,
    ) -> Result<Vec<Result<(), ErrorCode>>, PortError> {
        if let Some(error) = fault {
            if error.may_have_happened() && self.chance(50) {
                self.cluster.commit(request, reads).ok();
            }
            return Err(error);
        }
        if self.partition_fault().is_some() {
            let code =
                [ErrorCode::OffsetMetadataTooLarge, ErrorCode::RebalanceInProgress][self.draw(2) as usize];
            self.laws.metadata_cut |= code == ErrorCode::OffsetMetadataTooLarge;
            return Err(PortError::Refused(code));
        }
        let mut stored = request.clone();
        let mut outcomes = Vec::new();
        for commit in &request.commits {
            let refused = self.partition_fault();
            if refused.is_some() {
                stored.commits.retain(|other| other.at != commit.at);
            }
            outcomes.push(refused.map_or(Ok(()), Err));
        }
        self.cluster.commit(&stored, reads).map(|()| outcomes).map_err(PortError::Refused)
    }
}
