//! Members that are gone for good, and observers that panic: what a service sees of it, and what goes on.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel::kafka::KafkaClient;
use evenkeel::runtime::TokioRuntime;
use evenkeel::{Event, GroupName, HandlerError, Kafka, MemberFailure, News, NoDatabase, StartError, Topic};
use evenkeel_core::engine::bus::{Bus, BusConfig};
use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::BrokerId;
use evenkeel_core::model::{Bytes, MemberId, PartitionId, Time, TopicName, WallTime};
use evenkeel_core::ports::{
    Broker, CommitRequest, Coordinator, CreatedTopics, FetchRequest, FetchedPartition, HeartbeatRequest,
    JoinAnswer, JoinRequest, LeaveRequest, ListOffset, ListedOffset, Metadata, NewTopic, PortError,
    ProduceAnswer, ProduceRequest, ResourceLimits, Runtime, StoredOffsets, SyncRequest,
};
use tokio::sync::watch;

use super::support::services;
use super::{SOON, bus, fresh, topic, until};

/// A cluster that takes away the permission to read as some groups, when told to.
#[derive(Clone)]
struct Forbidding {
    client: KafkaClient,
    forbidden: Arc<Mutex<BTreeSet<String>>>,
    /// Joins of forbidden groups are answered once this is true.
    answers: watch::Receiver<bool>,
}

impl Forbidding {
    async fn new(answers: watch::Receiver<bool>) -> Self {
        let client = Kafka::new([services::kafka()]).connect().await.expect("Kafka answers");
        Self { client, forbidden: Arc::default(), answers }
    }

    fn forbid(&self, group: &str) {
        self.forbidden.lock().expect("unpoisoned").insert(group.to_owned());
    }

    fn verdict(&self, group: &GroupName) -> Result<(), PortError> {
        let forbidden = self.forbidden.lock().expect("unpoisoned").contains(group.as_str());
        if forbidden { Err(PortError::Refused(ErrorCode::GroupAuthorizationFailed)) } else { Ok(()) }
    }
}

impl Coordinator for Forbidding {
    fn session(&self) -> Self {
        Self { client: self.client.session(), ..self.clone() }
    }

    async fn find_coordinator(&self, group: &GroupName) -> Result<BrokerId, PortError> {
        self.client.find_coordinator(group).await
    }

    async fn join(
        &self,
        broker: BrokerId,
        request: JoinRequest,
    ) -> Result<JoinAnswer, (PortError, MemberId)> {
        if let Err(error) = self.verdict(&request.group) {
            self.answers.clone().wait_for(|answers| *answers).await.expect("the test holds the sender");
            return Err((error, request.member));
        }
        self.client.join(broker, request).await
    }

    async fn sync(&self, broker: BrokerId, request: SyncRequest) -> Result<Bytes, PortError> {
        self.client.sync(broker, request).await
    }

    async fn heartbeat(&self, broker: BrokerId, request: HeartbeatRequest) -> Result<(), PortError> {
        self.verdict(&request.group)?;
        self.client.heartbeat(broker, request).await
    }

    async fn leave(&self, broker: BrokerId, request: LeaveRequest) -> Result<(), PortError> {
        self.client.leave(broker, request).await
    }

    async fn commit(
        &self,
        broker: BrokerId,
        request: CommitRequest,
    ) -> Result<Vec<Result<(), ErrorCode>>, PortError> {
        self.client.commit(broker, request).await
    }

    async fn committed(
        &self,
        broker: BrokerId,
        group: &GroupName,
        topics: Vec<(TopicName, Vec<PartitionId>)>,
    ) -> Result<StoredOffsets, PortError> {
        self.client.committed(broker, group, topics).await
    }
}

impl Broker for Forbidding {
    async fn metadata(&self, topics: &[TopicName]) -> Result<Metadata, PortError> {
        self.client.metadata(topics).await
    }

    async fn create_topics(
        &self,
        topics: Vec<NewTopic>,
        timeout: Duration,
    ) -> Result<CreatedTopics, PortError> {
        self.client.create_topics(topics, timeout).await
    }

    async fn limits(&self, topic: &TopicName) -> Result<ResourceLimits, PortError> {
        self.client.limits(topic).await
    }

    async fn list_offsets(
        &self,
        broker: BrokerId,
        partitions: Vec<ListOffset>,
    ) -> Result<Vec<ListedOffset>, PortError> {
        self.client.list_offsets(broker, partitions).await
    }

    async fn fetch(
        &self,
        broker: BrokerId,
        request: FetchRequest,
    ) -> Result<Vec<FetchedPartition>, PortError> {
        self.client.fetch(broker, request).await
    }

    async fn produce(&self, request: ProduceRequest) -> Result<ProduceAnswer, PortError> {
        self.client.produce(request).await
    }
}

/// Tokio, until it is told to break: then it panics wherever the time is asked for.
#[derive(Clone)]
struct Brittle {
    tokio: TokioRuntime,
    broken: Arc<AtomicBool>,
}

impl Runtime for Brittle {
    fn now(&self) -> Time {
        assert!(!self.broken.load(Ordering::Acquire), "as planned by the test");
        self.tokio.now()
    }

    fn wall_now(&self) -> WallTime {
        self.tokio.wall_now()
    }

    async fn sleep_until(&self, at: Time) {
        self.tokio.sleep_until(at).await;
    }

    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: F) {
        self.tokio.spawn(task);
    }

    fn seed(&self) -> u64 {
        self.tokio.seed()
    }
}

fn over<R: Runtime, K: Broker + Coordinator>(runtime: R, kafka: K) -> Bus<R, K> {
    Bus::new(BusConfig::new("tests"), runtime, Arc::new(kafka), Arc::new(NoDatabase))
}

/// Counts the events of `topic` that a group handles.
fn counting<R: Runtime, K: Broker + Coordinator>(
    bus: &Bus<R, K>,
    topic: Topic<u64>,
    group: &str,
) -> Arc<AtomicU64> {
    let handled = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&handled);
    let count = move |_: Event<u64>| {
        counter.fetch_add(1, Ordering::AcqRel);
        async { Ok::<_, HandlerError>(()) }
    };
    bus.consume(topic).group(group).idempotent("count", count).expect("legal");
    handled
}

/// Says when a call's future is dropped.
struct Dropped(watch::Sender<bool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_learns_that_a_member_is_gone_for_good_while_its_other_groups_go_on() {
    let topic = topic::<u64>(&bus().await, 1).await;
    let (_answers, told) = watch::channel(true);
    let kafka = Forbidding::new(told).await;
    let bus = over(TokioRuntime::current(), kafka.clone());
    let (doomed, other) = (fresh("doomed"), fresh("other"));
    counting(&bus, topic, &doomed);
    let handled = counting(&bus, topic, &other);
    let running = bus.start().await.expect("partitions come");

    tokio::select! {
        biased;
        failure = running.failed() => panic!("all is well: {failure}"),
        produced = bus.produce(topic.event(1, &1)) => drop(produced.expect("Kafka takes it")),
    }
    until("the other group handles", || handled.load(Ordering::Acquire) == 1).await;

    kafka.forbid(&doomed);
    for _ in 0..2 {
        let failure = tokio::time::timeout(SOON, running.failed()).await.expect("it is told");
        assert!(matches!(failure, MemberFailure::GaveUp(_)), "{failure:?}");
        assert_eq!(failure.group().as_str(), doomed);
        assert!(failure.to_string().contains(&doomed), "{failure}");
    }
    bus.produce(topic.event(2, &2)).await.expect("Kafka takes it");
    until("the other group goes on", || handled.load(Ordering::Acquire) == 2).await;
    assert!(running.shutdown().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_leaves_nothing_running() {
    let tests = bus().await;
    let topic = topic::<u64>(&tests, 1).await;
    tests.produce(topic.event(1, &1)).await.expect("Kafka takes it");
    let (answer, told) = watch::channel(false);
    let kafka = Forbidding::new(told).await;
    let bus = over(TokioRuntime::current(), kafka.clone());
    let (started, refused) = (fresh("started"), fresh("refused"));
    kafka.forbid(&refused);
    counting(&bus, topic, &refused);
    let (dropped, is_dropped) = watch::channel(false);
    // The other group is refused once this one handles an event, which takes for ever.
    let endless = move |_: Event<u64>| {
        let (guard, answer) = (Dropped(dropped.clone()), answer.clone());
        async move {
            let _guard = guard;
            answer.send_replace(true);
            std::future::pending::<Result<(), HandlerError>>().await
        }
    };
    bus.consume(topic).group(&started).idempotent("endless", endless).expect("legal");
    let stopped: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let note = Arc::clone(&stopped);
    bus.observe(move |group, news| {
        if matches!(news, News::Stopped) {
            note.lock().expect("unpoisoned").insert(group.to_string());
        }
    });

    let Err(error) = bus.start().await else { panic!("started without permission") };
    let StartError::Member(failure) = &error else { panic!("{error}") };
    assert_eq!(failure.group().as_str(), refused);
    assert!(*is_dropped.borrow(), "a call runs although the bus did not start");
    assert_eq!(*stopped.lock().expect("unpoisoned"), BTreeSet::from([started, refused]));
    bus.produce(topic.event(2, &2)).await.expect("a bus that did not start produces");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_task_panics_is_told_of() {
    let topic = topic::<u64>(&bus().await, 1).await;
    let (_answers, told) = watch::channel(true);
    let runtime = Brittle { tokio: TokioRuntime::current(), broken: Arc::default() };
    let bus = over(runtime.clone(), Forbidding::new(told).await);
    let group = fresh("brittle");
    counting(&bus, topic, &group);
    let running = bus.start().await.expect("partitions come");
    runtime.broken.store(true, Ordering::Release);
    let failure = tokio::time::timeout(SOON, running.failed()).await;
    runtime.broken.store(false, Ordering::Release);
    let failure = failure.expect("it is told");
    assert!(matches!(failure, MemberFailure::Panicked { .. }), "{failure:?}");
    assert_eq!(failure.group().as_str(), group);
    assert!(running.shutdown().await.groups.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_the_observer_ends_no_member() {
    let bus = bus().await;
    let topic = topic::<u64>(&bus, 1).await;
    let handled = counting(&bus, topic, &fresh("watched"));
    let calls = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&calls);
    bus.observe(move |_, _| {
        count.fetch_add(1, Ordering::AcqRel);
        panic!("as planned by the test");
    });
    let running = bus.start().await.expect("partitions come although the observer panics");
    bus.produce(topic.event(1, &1)).await.expect("Kafka takes it");
    until("the event is handled", || handled.load(Ordering::Acquire) == 1).await;
    assert!(running.shutdown().await.is_clean());
    assert!(calls.load(Ordering::Acquire) >= 2, "told of the assignment and of the end");
}
