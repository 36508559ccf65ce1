//! Drives one member of a consumer group.

use std::collections::BTreeMap;
use std::future::Future;
use std::hash::{DefaultHasher, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use async_channel::{Receiver, Sender};
use futures_util::future::{AbortHandle, Abortable, Aborted};
use futures_util::{FutureExt, select_biased};

use super::clock::Alarm;
use super::drive::{advance, ask};
use super::invoke::{Conclusion, Invocation, Invoke};
use crate::error::{ErrorCode, Remedy};
use crate::machine::Machine;
use crate::machine::consumer::{self, Arrival, CallId, HandlerId, Notice, Read, ReadFault, Ready};
use crate::machine::delivery::Outcome;
use crate::machine::group::{self, GroupError, Step};
use crate::machine::member::{Action, Input, Member};
use crate::model::{GroupName, Offset, Time, TopicName, TopicPartition};
use crate::ports::{
    Broker, Coordinator, FetchAnswer, FetchPartition, FetchRequest, FetchedPartition, PortError, Runtime,
};
use crate::records::{self, Ended, RecordRef};

/// How many inputs are taken in before the machine's actions are performed: enough to share the cost of a wake-up,
/// few enough that none waits long.
const INPUTS_AT_ONCE: usize = 256;

/// What a record costs beside its own bytes: its places in tables and queues.
const RECORD_OVERHEAD: u32 = 128;

/// How many times what was asked for a partition its batches may unpack to; further batches are left in the log. JSON
/// shrinks to a tenth.
const MOST_UNPACKED: usize = 16;

/// What a member tells those who wait for it.
#[derive(Debug, Clone)]
pub enum News {
    /// Partitions were assigned.
    Assigned {
        /// How many.
        partitions: usize,
    },
    /// The assignment is over.
    Unassigned,
    /// The member gave up, for a reason that trying again does not mend.
    Failed(Arc<GroupError>),
    /// Something worth telling.
    Notice(Notice),
    /// The member has left.
    Stopped,
}

/// Who is told the news of a member.
pub(crate) type Observer = Arc<dyn Fn(News) + Send + Sync>;

/// One member and everything it needs to act.
pub(crate) struct MemberTask<R, K> {
    pub(crate) runtime: R,
    pub(crate) kafka: Arc<K>,
    pub(crate) group: GroupName,
    pub(crate) handlers: Vec<Arc<dyn Invoke>>,
    /// Called for every piece of news, on the member's own task: it must not block.
    pub(crate) observer: Observer,
    /// Holds what the member has begun last on its way to partitions.
    pub(crate) begun: Sender<Step>,
    pub(crate) stop: Receiver<Time>,
}

/// The parts of a running loop that performing an action needs.
struct Loop<R, K> {
    task: MemberTask<R, K>,
    inbox: Sender<Input<RecordRef>>,
    calls: BTreeMap<CallId, AbortHandle>,
    /// The last commit's request. It ends with its assignment: sent any later, it would take back what the next one
    /// commits, for a member may come again under the same generation.
    commit: Option<AbortHandle>,
    stopped: bool,
}

impl<R: Runtime, K: Broker + Coordinator> MemberTask<R, K> {
    /// Runs the member until it has left its group.
    pub(crate) async fn run(self, mut member: Member<RecordRef>) {
        let runtime = self.runtime.clone();
        let stop = self.stop.clone();
        // Bounded by the machines: one message for each request and call that is out.
        let (inbox, arrivals) = async_channel::unbounded();
        let mut work = Loop { task: self, inbox, calls: BTreeMap::new(), commit: None, stopped: false };
        let mut alarm = Alarm::new(runtime.clone());
        member.handle(runtime.now(), Input::Start);
        loop {
            while let Some(action) = member.poll() {
                work.perform(action);
            }
            if work.stopped {
                break;
            }
            alarm.set(member.deadline());
            let first = select_biased! {
                until = next_stop(&stop).fuse() => Some(Input::Stop { until }),
                input = arrivals.recv().fuse() => input.ok(),
                () = alarm.wait().fuse() => None,
            };
            let more = std::iter::from_fn(|| arrivals.try_recv().ok());
            let inputs = first.into_iter().chain(more).take(INPUTS_AT_ONCE);
            advance(&mut member, runtime.now(), inputs.inspect(|input| work.forget_call(input)));
        }
        for (_, call) in work.calls {
            call.abort();
        }
    }
}

/// The next request to stop; never, once nobody can ask any more.
async fn next_stop(stop: &Receiver<Time>) -> Time {
    match stop.recv().await {
        Ok(until) => until,
        Err(_) => std::future::pending().await,
    }
}

impl<R: Runtime, K: Broker + Coordinator> Loop<R, K> {
    fn forget_call(&mut self, input: &Input<RecordRef>) {
        if let Input::Consumer(consumer::Input::Finished { call, .. }) = input {
            self.calls.remove(call);
        }
    }

    fn ask<T: Send + 'static>(
        &self,
        request: impl Future<Output = Result<T, PortError>> + Send + 'static,
        answer: impl FnOnce(Result<T, PortError>) -> Input<RecordRef> + Send + 'static,
    ) {
        ask(&self.task.runtime, &self.inbox, request, answer);
    }

    fn perform(&mut self, action: Action<RecordRef>) {
        match action {
            Action::Group(action) => self.perform_for_group(action),
            Action::Consumer(action) => self.perform_for_consumer(action),
        }
    }

    fn perform_for_group(&mut self, action: group::Action) {
        use group::{Action, Input as In};
        let kafka = Arc::clone(&self.task.kafka);
        let group = self.task.group.clone();
        if let Some(step) = begins(&action) {
            // Nobody asks any more once the bus is gone.
            let _ = self.task.begun.force_send(step);
        }
        match action {
            Action::FindCoordinator { id } => self
                .ask(async move { kafka.find_coordinator(&group).await }, move |outcome| {
                    Input::Group(In::CoordinatorFound { id, outcome })
                }),
            Action::Join { id, broker, request } => {
                // A join's errors come with the id to join again with.
                let member = request.member.clone();
                self.ask(async move { Ok(kafka.join(broker, request).await) }, move |outcome| {
                    let outcome = outcome.unwrap_or_else(|error| Err((error, member)));
                    Input::Group(In::Joined { id, outcome })
                });
            }
            Action::DescribeTopics { id, topics } => self
                .ask(async move { count_partitions(&*kafka, &topics).await }, move |outcome| {
                    Input::Group(In::TopicsDescribed { id, outcome })
                }),
            Action::Sync { id, broker, request } => self
                .ask(async move { kafka.sync(broker, request).await }, move |outcome| {
                    Input::Group(In::Synced { id, outcome })
                }),
            Action::Heartbeat { id, broker, request } => self
                .ask(async move { kafka.heartbeat(broker, request).await }, move |outcome| {
                    Input::Group(In::HeartbeatDone { id, outcome })
                }),
            Action::Leave { id, broker, request } => self
                .ask(async move { kafka.leave(broker, request).await }, move |outcome| {
                    Input::Group(In::Left { id, outcome })
                }),
            Action::Assigned { membership, partitions } => {
                let generation = membership.generation;
                tracing::info!(%group, %generation, partitions = partitions.len(), "partitions assigned");
                (self.task.observer)(News::Assigned { partitions: partitions.len() });
            }
            Action::Moved { membership } => {
                tracing::info!(%group, coordinator = %membership.coordinator, "the group's coordinator moved");
            }
            Action::Revoke { .. } => {
                tracing::info!(%group, "giving partitions up");
                (self.task.observer)(News::Unassigned);
            }
            Action::Lost => {
                self.end_commit();
                tracing::warn!(%group, "partitions lost: what was in flight will be delivered again");
                (self.task.observer)(News::Unassigned);
            }
            Action::Failed { error } => {
                tracing::error!(%group, %error, "the member gave up");
                (self.task.observer)(News::Failed(Arc::new(error)));
            }
            Action::Stopped => {
                self.stopped = true;
                (self.task.observer)(News::Stopped);
            }
        }
    }

    fn perform_for_consumer(&mut self, action: consumer::Action<RecordRef>) {
        use consumer::{Action, Input as In};
        let kafka = Arc::clone(&self.task.kafka);
        match action {
            Action::FetchCommitted { id, coordinator, topics } => {
                let group = self.task.group.clone();
                self.ask(async move { kafka.committed(coordinator, &group, topics).await }, move |outcome| {
                    Input::Consumer(In::Committed { id, outcome })
                });
            }
            Action::Describe { id, topics } => self
                .ask(async move { kafka.metadata(&topics).await }, move |outcome| {
                    Input::Consumer(In::Described { id, outcome })
                }),
            Action::ListOffsets { id, broker, partitions } => self
                .ask(async move { kafka.list_offsets(broker, partitions).await }, move |outcome| {
                    Input::Consumer(In::Listed { id, outcome })
                }),
            Action::Fetch { id, broker, request } => self.ask(
                async move {
                    let wanted = request.clone();
                    kafka.fetch(broker, request).await.map(|fetched| decode(&wanted, fetched, read))
                },
                move |outcome| Input::Consumer(In::Fetched { id, outcome }),
            ),
            Action::Run { call, handler, event, more } => self.run(call, handler, event, more),
            Action::Cancel(call) => {
                if let Some(running) = self.calls.get(&call) {
                    running.abort();
                }
            }
            Action::Commit { id, coordinator, request } => {
                self.end_commit();
                let (abort, registration) = AbortHandle::new_pair();
                self.commit = Some(abort);
                let request = async move { kafka.commit(coordinator, request).await };
                let request = Abortable::new(request, registration).map(|outcome| match outcome {
                    Ok(outcome) => outcome,
                    Err(Aborted) => Err(PortError::Unknown {
                        server: "the coordinator".into(),
                        cause: "its assignment ended before the answer came".into(),
                    }),
                });
                self.ask(request, move |outcome| Input::Consumer(In::CommitDone { id, outcome }));
            }
            Action::Notice(notice) => {
                self.log(&notice);
                (self.task.observer)(News::Notice(notice));
            }
            Action::Released | Action::CommitRefused { .. } | Action::PartitionsCounted(_) => {
                tracing::error!(
                    "an action between the halves of a member left it; this is a bug in evenkeel"
                );
            }
        }
    }

    /// A commit that was not answered yet is given up. If it has not been sent yet, it never is.
    fn end_commit(&mut self) {
        if let Some(commit) = self.commit.take() {
            commit.abort();
        }
    }

    /// Starts a call. Whatever becomes of it, its outcome comes back exactly once.
    fn run(
        &mut self,
        call: CallId,
        handler: HandlerId,
        event: Ready<RecordRef>,
        more: Vec<Ready<RecordRef>>,
    ) {
        let (abort, registration) = AbortHandle::new_pair();
        self.calls.insert(call, abort);
        let invocation = Invocation { first: event, more };
        let work = AssertUnwindSafe(self.task.handlers[handler.0].invoke(invocation)).catch_unwind();
        let work = Abortable::new(work, registration);
        let inbox = self.inbox.clone();
        self.task.runtime.spawn(async move {
            // The future is dropped before its end is told, so that what it held is free by then.
            let Conclusion { outcome, waited } = match work.await {
                Ok(Ok(conclusion)) => conclusion,
                Ok(Err(_panic)) => Outcome::Panicked.into(),
                Err(Aborted) => Outcome::Cancelled.into(),
            };
            let input = Input::Consumer(consumer::Input::Finished { call, outcome, waited });
            if inbox.send(input).await.is_err() {
                tracing::trace!("a call ended after its member had left");
            }
        });
    }

    fn log(&self, notice: &Notice) {
        let group = &self.task.group;
        match notice {
            Notice::Trouble { request, error } => {
                tracing::warn!(%group, request, %error, "will be tried again")
            }
            Notice::Bug { at, what } => tracing::error!(%group, %at, %what, "the partition stops"),
            other => tracing::warn!(%group, notice = ?other),
        }
    }
}

/// The step towards partitions that an action begins.
fn begins(action: &group::Action) -> Option<Step> {
    use group::Action;
    match action {
        Action::FindCoordinator { .. } => Some(Step::Find),
        Action::Join { .. } => Some(Step::Join),
        Action::DescribeTopics { .. } => Some(Step::Describe),
        Action::Sync { .. } => Some(Step::Sync),
        Action::Heartbeat { .. }
        | Action::Leave { .. }
        | Action::Assigned { .. }
        | Action::Moved { .. }
        | Action::Revoke { .. }
        | Action::Lost
        | Action::Failed { .. }
        | Action::Stopped => None,
    }
}

async fn count_partitions<K: Broker>(
    kafka: &K,
    topics: &[TopicName],
) -> Result<BTreeMap<TopicName, u32>, PortError> {
    let mut counts = BTreeMap::new();
    for described in kafka.metadata(topics).await?.topics {
        match described.count() {
            Ok(count) => {
                counts.insert(described.topic, count);
            }
            Err(code) if code == ErrorCode::UnknownTopicOrPartition || code.remedy() == Remedy::GiveUp => {
                tracing::warn!(topic = %described.topic, %code, "the topic cannot be assigned now");
            }
            // For now the broker cannot tell: assigning nothing of it would idle the group.
            Err(code) => return Err(PortError::Refused(code)),
        }
    }
    Ok(counts)
}

type Decoded = (TopicPartition, Result<Read<RecordRef>, ErrorCode>);

/// Decodes what a fetch brought, on the fetch's own task. Where that panics, only the partition concerned stands still.
fn decode(
    wanted: &FetchRequest,
    fetched: Vec<FetchedPartition>,
    read: impl Fn(FetchAnswer, &FetchPartition) -> Read<RecordRef>,
) -> Vec<Decoded> {
    let asked = |at: &TopicPartition| wanted.partitions.iter().find(|asked| asked.at == *at);
    fetched
        .into_iter()
        .filter_map(|FetchedPartition { at, outcome }| {
            let asked = asked(&at)?;
            let read = |answer: FetchAnswer| {
                let high_watermark = answer.high_watermark;
                catch_unwind(AssertUnwindSafe(|| read(answer, asked)))
                    .unwrap_or_else(|_panic| panicked(asked.offset, high_watermark))
            };
            Some((at, outcome.map(read)))
        })
        .collect()
}

/// Nothing was read, and the position stays: the batch is fetched again.
fn panicked(from: Offset, high_watermark: Offset) -> Read<RecordRef> {
    let reason = "decoding it panicked; this is a bug in evenkeel";
    Read {
        records: Vec::new(),
        next: from,
        leader_epoch: None,
        high_watermark,
        fault: Some(ReadFault::Undecodable(reason.into())),
    }
}

fn read(answer: FetchAnswer, asked: &FetchPartition) -> Read<RecordRef> {
    let FetchAnswer { high_watermark, diverging, batches, .. } = answer;
    let room = (asked.max_bytes as usize).saturating_mul(MOST_UNPACKED);
    let decoded = records::decode_within(batches, asked.offset, room);
    let fault = match &decoded.ended {
        Ended::Complete => diverging.map(ReadFault::Diverging),
        Ended::TooShort { needs } => Some(ReadFault::TooSmall(u32::try_from(*needs).unwrap_or(u32::MAX))),
        Ended::Failed(error) => Some(ReadFault::Undecodable(error.to_string().into())),
    };
    let arrival = |record: RecordRef| Arrival {
        offset: record.offset(),
        key: record.key().map(digest),
        weight: u32::try_from(record.weight()).unwrap_or(u32::MAX).saturating_add(RECORD_OVERHEAD),
        leader_epoch: record.batch().leader_epoch(),
        record,
    };
    Read {
        records: decoded.records().map(arrival).collect(),
        next: decoded.next_offset,
        leader_epoch: decoded.leader_epoch,
        high_watermark,
        fault,
    }
}

/// The digest of a key that lanes go by. It never leaves the process.
fn digest(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PartitionId;
    use crate::records::Batches;

    fn at(partition: i32) -> TopicPartition {
        let topic = TopicName::new("orders").expect("a legal name");
        TopicPartition { topic, partition: PartitionId(partition) }
    }

    #[test]
    fn a_partition_whose_decoding_panics_holds_up_no_other() {
        let partitions = (0..3).map(|number| FetchPartition {
            at: at(number),
            offset: Offset(i64::from(number)),
            leader_epoch: None,
            last_fetched_epoch: None,
            max_bytes: 1,
        });
        let wanted = FetchRequest {
            wait: std::time::Duration::ZERO,
            max_bytes: 1,
            read_committed: true,
            partitions: partitions.collect(),
        };
        let fetched = (0..3).map(|number| {
            let batches = Batches { bytes: bytes::Bytes::new(), aborted: Vec::new() };
            let answer =
                FetchAnswer { log_start: Offset::ZERO, high_watermark: Offset(9), diverging: None, batches };
            FetchedPartition { at: at(number), outcome: Ok(answer) }
        });
        let planted = |answer, asked: &FetchPartition| {
            if asked.offset == Offset(1) { panic!("planted") } else { read(answer, asked) }
        };
        let decoded = decode(&wanted, fetched.collect(), planted);
        let faults: Vec<_> =
            decoded.iter().map(|(_, read)| read.as_ref().expect("it came").fault.clone()).collect();
        let bug = ReadFault::Undecodable("decoding it panicked; this is a bug in evenkeel".into());
        assert_eq!(faults, [None, Some(bug), None]);
        let stays = decoded[1].1.as_ref().expect("it came");
        assert_eq!((stays.next, stays.records.len()), (Offset(1), 0), "nothing is passed over");
    }
}
