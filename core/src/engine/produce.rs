//! Drives the producer of a bus.
//!
//! Calls come in over a bounded channel, which is read only while the machine has room: whoever produces faster than
//! the cluster takes waits in `produce`.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_channel::{Receiver, Sender};
use futures_util::{FutureExt, select_biased};

use super::clock::Alarm;
use super::drive::{advance, ask};
use crate::error::ProduceFailure;
use crate::machine::Machine;
use crate::machine::produce::{Action, Input, Produce, Produced, Submission, Ticket};
use crate::model::TopicName;
use crate::ports::{Broker, OutgoingRecord, Runtime};

/// How many calls are taken in before the machine's actions are performed: their events share batches.
const CALLS_AT_ONCE: usize = 64;

/// What became of each event of a call, in order.
pub(crate) type Outcomes = Vec<Result<Produced, ProduceFailure>>;

/// One call of `produce`.
pub(crate) struct Call {
    pub(crate) events: Vec<(TopicName, Arc<OutgoingRecord>)>,
    pub(crate) reply: Sender<Outcomes>,
}

/// The producer's task.
pub(crate) struct ProducerTask<R, K> {
    pub(crate) runtime: R,
    pub(crate) kafka: Arc<K>,
    /// Ends when the last bus is dropped or the channel is closed: then what is here is flushed.
    pub(crate) calls: Receiver<Call>,
    /// Dropped when everything is finished.
    pub(crate) done: Sender<()>,
}

struct Pending {
    outcomes: Vec<Option<Result<Produced, ProduceFailure>>>,
    open: usize,
    reply: Sender<Outcomes>,
}

impl<R: Runtime, K: Broker> ProducerTask<R, K> {
    /// Runs until everything is finished after the last call.
    pub(crate) async fn run(self, mut machine: Produce) {
        // Bounded by the machine: one message for each request that is out.
        let (inbox, arrivals) = async_channel::unbounded();
        let mut alarm = Alarm::new(self.runtime.clone());
        let mut pending: BTreeMap<u64, Pending> = BTreeMap::new();
        let mut last_call = 0;
        let mut open = true;
        loop {
            while let Some(action) = machine.poll() {
                if self.perform(action, &inbox, &mut pending) {
                    drop(self.done);
                    return;
                }
            }
            alarm.set(machine.deadline());
            let room = open && machine.room() > 0;
            let event = select_biased! {
                input = arrivals.recv().fuse() => input.ok().map(Event::Answer),
                call = next_call(&self.calls, room).fuse() => Some(Event::Call(call)),
                () = alarm.wait().fuse() => None,
            };
            let input = match event {
                None => None,
                Some(Event::Answer(input)) => Some(input),
                Some(Event::Call(None)) => {
                    open = false;
                    Some(Input::Close)
                }
                Some(Event::Call(Some(first))) => {
                    let more = std::iter::from_fn(|| self.calls.try_recv().ok()).take(CALLS_AT_ONCE - 1);
                    let mut submissions = Vec::new();
                    for call in std::iter::once(first).chain(more) {
                        last_call += 1;
                        let events = call.events.len();
                        let outcomes = std::iter::repeat_with(|| None).take(events).collect();
                        pending.insert(last_call, Pending { outcomes, open: events, reply: call.reply });
                        submissions.extend((0..).zip(call.events).map(|(index, (topic, record))| {
                            Submission { ticket: Ticket { call: last_call, index }, topic, record }
                        }));
                    }
                    Some(Input::Submit(submissions))
                }
            };
            advance(&mut machine, self.runtime.now(), input);
        }
    }

    /// Answers whether that was the last action.
    fn perform(&self, action: Action, inbox: &Sender<Input>, pending: &mut BTreeMap<u64, Pending>) -> bool {
        let kafka = Arc::clone(&self.kafka);
        match action {
            Action::Describe { id, topics } => {
                ask(&self.runtime, inbox, async move { kafka.metadata(&topics).await }, move |outcome| {
                    Input::Described { id, outcome }
                })
            }
            Action::FetchLimits { id, topic } => {
                ask(&self.runtime, inbox, async move { kafka.limits(&topic).await }, move |outcome| {
                    Input::LimitsKnown { id, outcome }
                })
            }
            Action::Send { id, request } => {
                ask(&self.runtime, inbox, async move { kafka.produce(request).await }, move |outcome| {
                    Input::Sent { id, outcome }
                })
            }
            Action::Finish { ticket, outcome } => finish(pending, ticket, outcome),
            Action::Closed => return true,
        }
        false
    }
}

enum Event {
    Answer(Input),
    /// `None` when no more calls can come.
    Call(Option<Call>),
}

async fn next_call(calls: &Receiver<Call>, room: bool) -> Option<Call> {
    if room { calls.recv().await.ok() } else { std::future::pending().await }
}

fn finish(pending: &mut BTreeMap<u64, Pending>, ticket: Ticket, outcome: Result<Produced, ProduceFailure>) {
    let Some(call) = pending.get_mut(&ticket.call) else { return };
    if let Some(slot @ None) = call.outcomes.get_mut(ticket.index as usize) {
        *slot = Some(outcome);
        call.open -= 1;
    }
    if call.open > 0 {
        return;
    }
    if let Some(call) = pending.remove(&ticket.call) {
        // The caller may have gone: its events are produced all the same.
        if call.reply.try_send(call.outcomes.into_iter().flatten().collect()).is_err() {
            tracing::debug!("nobody waits for the outcome of a produce call any more");
        }
    }
}
