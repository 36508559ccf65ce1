//! Scenes: what goes in, and what comes out, line by line.
//!
//! Requests are numbered in the order in which they are made; records are named by their values; `send 2 a/0>1 x y`
//! is request 2, to partition 0 of topic `a` at broker 1, with the records `x` and `y`.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::machine::backoff::Backoff;
use crate::model::{Offset, PartitionId, WallTime};
use crate::ports::TopicMetadata;

const STEADY: Backoff =
    Backoff { first: Duration::from_millis(100), longest: Duration::from_millis(400), jitter_percent: 0 };

struct Scene {
    produce: Produce,
    now: Time,
    calls: u64,
}

fn name(topic: &str) -> TopicName {
    TopicName::new(topic).expect("a legal name")
}

fn refused(code: ErrorCode) -> PortError {
    PortError::Refused(code)
}

fn lost() -> PortError {
    PortError::Unknown { server: "k1".into(), cause: "reset".into() }
}

fn unreachable() -> PortError {
    PortError::Unreachable { server: "k1".into(), cause: "refused".into() }
}

impl Scene {
    fn new() -> Self {
        Self::with(ProduceConfig::default())
    }

    fn with(config: ProduceConfig) -> Self {
        let config = ProduceConfig { backoff: STEADY, look_backoff: STEADY, ..config };
        Self { produce: Produce::new(config, Entropy::new(1)), now: Time::from_millis(1_000), calls: 0 }
    }

    /// A scene in which topic `a` is known, with these leaders of its partitions. The first request is used up.
    fn knowing(leaders: &[i32]) -> Self {
        Self::new().knows(leaders)
    }

    fn knows(mut self, leaders: &[i32]) -> Self {
        assert_eq!(self.submit(&["a k first"]), ["describe 1 a"]);
        let sent = self.described(1, "a", leaders);
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert_eq!(self.sent(2, Ok(0)), ["ok first a/0@0".replace("a/0", &at_of(&sent[0]))]);
        self
    }

    /// Each event is `topic key value`; the key `-` stands for none. All in one input.
    fn submit(&mut self, events: &[&str]) -> Vec<String> {
        self.submit_sized(events, 0)
    }

    fn submit_sized(&mut self, events: &[&str], padding: usize) -> Vec<String> {
        let mut submissions = Vec::new();
        for event in events {
            let words: Vec<&str> = event.split(' ').collect();
            let mut value = words[2].as_bytes().to_vec();
            value.resize(value.len() + padding, b' ');
            let record = OutgoingRecord {
                key: (words[1] != "-").then(|| Bytes::copy_from_slice(words[1].as_bytes())),
                value: Some(value.into()),
                headers: Vec::new(),
                timestamp: WallTime::default(),
            };
            self.calls += 1;
            // The value's hash would do; the text itself, in eight bytes, can be read back.
            let mut call = [b' '; 8];
            call[..words[2].len()].copy_from_slice(words[2].as_bytes());
            let ticket = Ticket { call: u64::from_be_bytes(call), index: 0 };
            submissions.push(Submission { ticket, topic: name(words[0]), record: Arc::new(record) });
        }
        self.handle(Input::Submit(submissions))
    }

    fn described(&mut self, id: u64, topic: &str, leaders: &[i32]) -> Vec<String> {
        let partitions = leaders.iter().enumerate().map(|(number, leader)| PartitionMetadata {
            partition: PartitionId(number as i32),
            leader: (*leader > 0).then_some(BrokerId(*leader)),
            leader_epoch: None,
        });
        self.described_as(id, topic, Ok(partitions.collect()))
    }

    fn described_as(
        &mut self,
        id: u64,
        topic: &str,
        partitions: Result<Vec<PartitionMetadata>, ErrorCode>,
    ) -> Vec<String> {
        let topics = vec![TopicMetadata { topic: name(topic), id: None, partitions }];
        self.handle(Input::Described {
            id: RequestId(id),
            outcome: Ok(Metadata { brokers: Vec::new(), topics }),
        })
    }

    fn not_described(&mut self, id: u64, error: PortError) -> Vec<String> {
        self.handle(Input::Described { id: RequestId(id), outcome: Err(error) })
    }

    fn limit(&mut self, id: u64, outcome: Result<u32, PortError>) -> Vec<String> {
        let outcome = outcome.map(|max_message_bytes| ResourceLimits { max_message_bytes });
        self.handle(Input::LimitsKnown { id: RequestId(id), outcome })
    }

    fn sent(&mut self, id: u64, outcome: Result<i64, PortError>) -> Vec<String> {
        let outcome = outcome.map(|base| ProduceAnswer { base_offset: Offset(base) });
        self.handle(Input::Sent { id: RequestId(id), outcome })
    }

    fn handle(&mut self, input: Input) -> Vec<String> {
        self.produce.handle(self.now, input);
        self.drain()
    }

    fn wait(&mut self, wait: Duration) -> Vec<String> {
        self.now = self.now + wait;
        self.produce.tick(self.now);
        self.drain()
    }

    fn millis(&mut self, millis: u64) -> Vec<String> {
        self.wait(Duration::from_millis(millis))
    }

    fn drain(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(action) = self.produce.poll() {
            lines.push(line(&action));
        }
        lines
    }

    fn mark(&self, mark: &str) -> u64 {
        self.produce.marks().count(mark)
    }
}

fn at_of(send: &str) -> String {
    send.split([' ', '>']).nth(2).expect("a line that sends").to_owned()
}

fn line(action: &Action) -> String {
    match action {
        Action::Describe { id, topics } => {
            let topics: Vec<&str> = topics.iter().map(TopicName::as_str).collect();
            format!("describe {id} {}", topics.join(" "))
        }
        Action::FetchLimits { id, topic } => format!("limits {id} {topic}"),
        Action::Send { id, request } => {
            let values: Vec<String> = request
                .records
                .iter()
                .map(|record| {
                    String::from_utf8_lossy(record.value.as_ref().expect("a value")).trim_end().to_owned()
                })
                .collect();
            format!("send {id} {}>{} {}", request.at, request.leader, values.join(" "))
        }
        Action::Finish { ticket, outcome } => {
            let call = ticket.call.to_be_bytes();
            let value = String::from_utf8_lossy(&call).trim_end().to_owned();
            match outcome {
                Ok(produced) => format!("ok {value} {}@{}", produced.at, produced.offset),
                Err(failure) => format!("failed {value} {}", kind(failure)),
            }
        }
        Action::Closed => "closed".to_owned(),
    }
}

fn kind(failure: &ProduceFailure) -> String {
    match failure {
        ProduceFailure::UnknownTopic(_) => "unknown topic".to_owned(),
        ProduceFailure::Inaccessible { .. } => "inaccessible".to_owned(),
        ProduceFailure::TooBig { size, limit, .. } => {
            format!("too big {size}>{}", limit.map_or("?".to_owned(), |limit| limit.to_string()))
        }
        ProduceFailure::Refused { .. } => "refused".to_owned(),
        ProduceFailure::Unknown { .. } => "unknown".to_owned(),
        ProduceFailure::TimedOut { cause: Some(cause), .. } => format!("timed out: {cause}"),
        ProduceFailure::TimedOut { cause: None, .. } => "timed out".to_owned(),
        ProduceFailure::Closed(_) => "closed".to_owned(),
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn what_comes_together_leaves_together_and_at_once() {
    let mut scene = Scene::knowing(&[1]);
    assert_eq!(scene.submit(&["a k x", "a l y", "a - z"]), ["send 3 a/0>1 x y z"]);
    assert_eq!(scene.sent(3, Ok(7)), ["ok x a/0@7", "ok y a/0@8", "ok z a/0@9"]);
}

#[test]
fn while_a_request_is_out_the_next_batch_forms_by_itself() {
    let mut scene = Scene::knowing(&[1]);
    assert_eq!(scene.submit(&["a k u"]), ["send 3 a/0>1 u"]);
    assert_eq!(scene.submit(&["a k v"]), NOTHING);
    assert_eq!(scene.submit(&["a k w", "a k x"]), NOTHING);
    assert_eq!(scene.sent(3, Ok(1)), ["ok u a/0@1", "send 4 a/0>1 v w x"]);
}

#[test]
fn a_batch_ends_before_it_would_be_too_large() {
    let config = ProduceConfig { batch_bytes: 300, ..ProduceConfig::default() };
    let mut scene = Scene::with(config).knows(&[1]);
    // A record of these weighs 111 bytes, the header of the batch 61.
    assert_eq!(scene.submit_sized(&["a k u", "a k v", "a k w"], 100), ["send 3 a/0>1 u v"]);
    assert_eq!(scene.sent(3, Ok(1)), ["ok u a/0@1", "ok v a/0@2", "send 4 a/0>1 w"]);
    // Larger than a batch, but not than the topic: it travels alone.
    assert_eq!(scene.submit_sized(&["a k x"], 400), NOTHING);
    assert_eq!(scene.submit(&["a k y"]), NOTHING);
    assert_eq!(scene.sent(4, Ok(3)), ["ok w a/0@3", "send 5 a/0>1 x"]);
}

#[test]
fn events_wait_for_the_first_look_and_topics_named_meanwhile_join_the_next() {
    let mut scene = Scene::new();
    assert_eq!(scene.submit(&["a k x"]), ["describe 1 a"]);
    assert_eq!(scene.submit(&["b k y", "a k z"]), NOTHING);
    assert_eq!(scene.submit(&["c k w"]), NOTHING);
    assert_eq!(scene.described(1, "a", &[1]), ["send 2 a/0>1 x z", "describe 3 b c"]);
}

#[test]
fn keys_go_where_the_java_client_sends_them() {
    let mut scene = Scene::knowing(&[1, 2, 3, 1, 2, 3, 1, 2]);
    let sent = scene.submit(&["a 21 x", "a abc y"]);
    assert_eq!(sent, ["send 3 a/4>2 x", "send 4 a/3>1 y"]);
}

#[test]
fn events_without_a_key_share_a_batch_and_then_move_on_to_partitions_with_a_leader() {
    let mut scene = Scene::knowing(&[1, 0, 2, 0, 3]);
    let mut used = Vec::new();
    for round in 0..30u64 {
        let sent = scene.submit(&["a - x", "a - y"]);
        assert_eq!(sent.len(), 1, "{sent:?}");
        used.push(at_of(&sent[0]));
        scene.sent(3 + round, Ok(0));
    }
    used.sort();
    used.dedup();
    assert_eq!(used, ["a/0", "a/2", "a/4"]);
}

#[test]
fn a_failed_batch_goes_again_before_everything_behind_it() {
    let mut scene = Scene::knowing(&[1]);
    assert_eq!(scene.submit(&["a k x"]), ["send 3 a/0>1 x"]);
    assert_eq!(scene.submit(&["a k y"]), NOTHING);
    // Too few replicas: the same leader after a wait, which grows.
    assert_eq!(scene.sent(3, Err(refused(ErrorCode::NotEnoughReplicas))), NOTHING);
    assert_eq!(scene.submit(&["a k z"]), NOTHING);
    assert_eq!(scene.millis(99), NOTHING);
    assert_eq!(scene.millis(1), ["send 4 a/0>1 x y z"]);
    assert_eq!(scene.sent(4, Err(refused(ErrorCode::NotEnoughReplicas))), NOTHING);
    assert_eq!(scene.millis(199), NOTHING);
    assert_eq!(scene.millis(1), ["send 5 a/0>1 x y z"]);
    assert_eq!(scene.sent(5, Ok(1)), ["ok x a/0@1", "ok y a/0@2", "ok z a/0@3"]);
}

#[test]
fn a_moved_leader_is_looked_up_at_once_and_used_after_the_wait() {
    let mut scene = Scene::knowing(&[1]);
    assert_eq!(scene.submit(&["a k x"]), ["send 3 a/0>1 x"]);
    assert_eq!(scene.sent(3, Err(refused(ErrorCode::NotLeaderOrFollower))), ["describe 4 a"]);
    // An election is on: nobody leads yet.
    assert_eq!(scene.described(4, "a", &[0]), NOTHING);
    assert_eq!(scene.mark("partition without a leader"), 1);
    assert_eq!(scene.millis(100), ["describe 5 a"]);
    assert_eq!(scene.described(5, "a", &[2]), ["send 6 a/0>2 x"]);
}

#[test]
fn an_unreachable_leader_is_not_asked_again_before_the_wait_is_over() {
    let mut scene = Scene::knowing(&[1]);
    assert_eq!(scene.submit(&["a k x"]), ["send 3 a/0>1 x"]);
    assert_eq!(scene.sent(3, Err(unreachable())), ["describe 4 a"]);
    assert_eq!(scene.described(4, "a", &[1]), NOTHING);
    assert_eq!(scene.millis(99), NOTHING);
    assert_eq!(scene.millis(1), ["send 5 a/0>1 x"]);
}

/// What is told of an event whose attempts fail in these ways until the delivery time-out.
#[test]
fn doubt_once_there_never_leaves() {
    let table: [(&[PortError], &str); 7] = [
        (&[lost()], "unknown"),
        (
            &[refused(ErrorCode::NotEnoughReplicas)],
            "timed out: fewer replicas are in sync than min.insync.replicas asks for",
        ),
        (&[unreachable()], "timed out: could not reach k1: refused"),
        (&[lost(), unreachable()], "unknown"),
        (&[refused(ErrorCode::RequestTimedOut), refused(ErrorCode::NotEnoughReplicas)], "unknown"),
        (&[lost(), refused(ErrorCode::TopicAuthorizationFailed)], "unknown"),
        (&[unreachable(), refused(ErrorCode::TopicAuthorizationFailed)], "refused"),
    ];
    for (attempts, told) in table {
        let mut scene = Scene::knowing(&[1]);
        let mut lines = scene.submit(&["a k x"]);
        let mut next = 3;
        for attempt in attempts {
            lines = scene.sent(next, Err(attempt.clone()));
            next += 1;
            if lines.iter().any(|line| line.starts_with("describe")) {
                lines = scene.described(next, "a", &[1]);
                next += 1;
            }
            if lines.is_empty() {
                lines = scene.millis(1_000);
            }
        }
        if lines[0].starts_with("send") {
            // The last answer comes after the time-out: no further attempt.
            assert_eq!(scene.wait(Duration::from_secs(120)), NOTHING, "{attempts:?}: a request is out");
            lines = scene.sent(next, Err(attempts[attempts.len() - 1].clone()));
        }
        assert_eq!(lines[0], format!("failed x {told}"), "{attempts:?}");
    }
}

#[test]
fn an_event_in_a_request_is_not_finished_before_its_answer_but_those_behind_it_are() {
    let mut scene = Scene::knowing(&[1]);
    assert_eq!(scene.submit(&["a k x"]), ["send 3 a/0>1 x"]);
    assert_eq!(scene.submit(&["a k y"]), NOTHING);
    assert_eq!(scene.millis(1_000), NOTHING);
    assert_eq!(scene.submit(&["a k z"]), NOTHING);
    assert_eq!(scene.millis(118_999), NOTHING);
    assert_eq!(scene.millis(1), ["failed y timed out"]);
    assert_eq!(scene.sent(3, Ok(1)), ["ok x a/0@1", "send 4 a/0>1 z"]);
}

#[test]
fn an_event_over_the_limit_is_refused_before_it_is_sent_and_the_limit_asked_once() {
    let mut scene = Scene::knowing(&[1]);
    assert_eq!(scene.submit_sized(&["a k big"], 2_000_000), ["limits 3 a"]);
    assert_eq!(scene.submit_sized(&["a k huge"], 3_000_000), NOTHING);
    assert_eq!(scene.submit(&["a k small"]), NOTHING);
    assert_eq!(scene.limit(3, Ok(2_500_000)), ["send 4 a/0>1 big"]);
    assert_eq!(
        scene.sent(4, Ok(1)),
        ["ok big a/0@1", "failed huge too big 3000079>2500000", "send 5 a/0>1 small"]
    );
    assert_eq!(scene.sent(5, Ok(2)), ["ok small a/0@2"]);
    assert_eq!(scene.submit_sized(&["a k huge"], 3_000_000), ["failed huge too big 3000079>2500000"]);
    // Limits are raised: an old one is asked again before it refuses anything.
    assert_eq!(scene.wait(Duration::from_secs(301)), NOTHING);
    assert_eq!(scene.submit_sized(&["a k huge"], 3_000_000), ["limits 6 a", "describe 7 a"]);
    assert_eq!(scene.limit(6, Ok(3_500_000)), ["send 8 a/0>1 huge"]);
}

#[test]
fn a_limit_that_cannot_be_asked_is_asked_again_and_without_permission_left_to_the_broker() {
    let mut scene = Scene::knowing(&[1]);
    assert_eq!(scene.submit_sized(&["a k big"], 2_000_000), ["limits 3 a"]);
    assert_eq!(scene.limit(3, Err(unreachable())), NOTHING);
    assert_eq!(scene.millis(100), ["limits 4 a"]);
    assert_eq!(scene.limit(4, Err(refused(ErrorCode::TopicAuthorizationFailed))), ["send 5 a/0>1 big"]);
    assert_eq!(scene.sent(5, Err(refused(ErrorCode::MessageTooLarge))), ["limits 6 a"]);
    let told = scene.limit(6, Err(refused(ErrorCode::TopicAuthorizationFailed)));
    assert_eq!(told, ["failed big too big 2000078>?"]);
}

#[test]
fn nobody_asks_for_a_limit_that_nobody_waits_for() {
    let mut scene = Scene::knowing(&[1]);
    assert_eq!(scene.submit_sized(&["a k big"], 2_000_000), ["limits 3 a"]);
    assert_eq!(scene.wait(Duration::from_secs(120)), ["failed big timed out"]);
    assert_eq!(scene.limit(3, Err(unreachable())), NOTHING);
    assert_eq!(scene.wait(Duration::from_secs(10)), NOTHING);
    assert_eq!(scene.submit(&["a k x"]), ["send 4 a/0>1 x"], "the partition does not wait for it");
}

#[test]
fn a_batch_too_large_for_the_topic_is_split_and_keeps_its_order() {
    let mut scene = Scene::knowing(&[1]);
    let four = ["a k u", "a k v", "a k w", "a k x"];
    assert_eq!(scene.submit_sized(&four, 100), ["send 3 a/0>1 u v w x"]);
    assert_eq!(scene.sent(3, Err(refused(ErrorCode::MessageTooLarge))), ["limits 4 a"]);
    assert_eq!(scene.submit(&["a k y"]), NOTHING);
    assert_eq!(scene.limit(4, Ok(300)), ["send 5 a/0>1 u v"]);
    assert_eq!(scene.sent(5, Ok(1)), ["ok u a/0@1", "ok v a/0@2", "send 6 a/0>1 w x y"]);
    // A broker that takes less than it says: halves get smaller until a single event is too big.
    assert_eq!(scene.sent(6, Err(refused(ErrorCode::MessageTooLarge))), ["limits 7 a"]);
    assert_eq!(scene.limit(7, Ok(300)), ["send 8 a/0>1 w"]);
    assert_eq!(scene.sent(8, Err(refused(ErrorCode::MessageTooLarge))), ["limits 9 a"]);
    assert_eq!(scene.limit(9, Ok(300)), ["failed w too big 172>300", "send 10 a/0>1 x"]);
    assert_eq!(scene.sent(10, Ok(3)), ["ok x a/0@3", "send 11 a/0>1 y"]);
}

#[test]
fn a_record_that_the_broker_refuses_does_not_take_its_batch_with_it() {
    let mut scene = Scene::knowing(&[1]);
    let invalid = || Err(refused(ErrorCode::InvalidRecord));
    assert_eq!(scene.submit(&["a k u", "a k v", "a k bad", "a k x"]), ["send 3 a/0>1 u v bad x"]);
    assert_eq!(scene.sent(3, invalid()), ["send 4 a/0>1 u v"]);
    assert_eq!(scene.sent(4, Ok(1)), ["ok u a/0@1", "ok v a/0@2", "send 5 a/0>1 bad x"]);
    assert_eq!(scene.sent(5, invalid()), ["send 6 a/0>1 bad"]);
    assert_eq!(scene.sent(6, invalid()), ["failed bad refused", "send 7 a/0>1 x"]);
    assert_eq!(scene.sent(7, Ok(3)), ["ok x a/0@3"]);
}

#[test]
fn a_topic_that_does_not_exist_is_given_up_within_seconds() {
    let mut scene = Scene::new();
    let start = scene.now;
    assert_eq!(scene.submit(&["a k x"]), ["describe 1 a"]);
    let mut id = 1;
    let told = loop {
        let lines = scene.described_as(id, "a", Err(ErrorCode::UnknownTopicOrPartition));
        if !lines.is_empty() {
            break lines;
        }
        scene.now = scene.produce.deadline().expect("it looks again");
        id += 1;
        assert_eq!(scene.millis(0), [format!("describe {id} a")]);
    };
    assert_eq!(told, ["failed x unknown topic"]);
    let taken = scene.now.since(start);
    assert!(taken >= Duration::from_secs(3) && taken < Duration::from_secs(5), "{taken:?}");
    assert_eq!(scene.mark("missing topic given up"), 1);
    // Nobody looks for it any more, until the next event does, which is given the same patience.
    assert_eq!(scene.wait(Duration::from_secs(60)), NOTHING);
    assert_eq!(scene.submit(&["a k y"]), [format!("describe {} a", id + 1)]);
    assert_eq!(scene.described_as(id + 1, "a", Err(ErrorCode::UnknownTopicOrPartition)), NOTHING);
    scene.millis(400);
    assert_eq!(scene.described(id + 2, "a", &[1]), [format!("send {} a/0>1 y", id + 3)]);
}

#[test]
fn a_topic_that_was_deleted_ends_its_events_and_doubtful_ones_as_unknown() {
    let mut scene = Scene::knowing(&[1]);
    assert_eq!(scene.submit(&["a k x"]), ["send 3 a/0>1 x"]);
    assert_eq!(scene.submit(&["a k y"]), NOTHING);
    assert_eq!(scene.sent(3, Err(lost())), ["describe 4 a"]);
    assert_eq!(scene.described_as(4, "a", Err(ErrorCode::UnknownTopicOrPartition)), NOTHING);
    assert_eq!(scene.wait(Duration::from_secs(3)), ["describe 5 a"]);
    let told = scene.described_as(5, "a", Err(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(told, ["failed x unknown", "failed y unknown topic"]);
}

#[test]
fn a_topic_that_may_not_be_described_is_given_up_at_once() {
    let mut scene = Scene::new();
    assert_eq!(scene.submit(&["a k x"]), ["describe 1 a"]);
    let told = scene.described_as(1, "a", Err(ErrorCode::TopicAuthorizationFailed));
    assert_eq!(told, ["failed x inaccessible"]);
    assert_eq!(scene.submit(&["a k y"]), ["describe 2 a"]);
    assert_eq!(
        scene.not_described(2, refused(ErrorCode::SaslAuthenticationFailed)),
        ["failed y inaccessible"]
    );
}

#[test]
fn a_cluster_out_of_reach_is_named_when_the_delivery_time_out_is_over() {
    let mut scene = Scene::new();
    let end = scene.now + Duration::from_secs(120);
    assert_eq!(scene.submit(&["a k x"]), ["describe 1 a"]);
    let mut id = 1;
    let told = loop {
        assert_eq!(scene.not_described(id, unreachable()), NOTHING);
        scene.now = scene.produce.deadline().expect("it looks again");
        let lines = scene.millis(0);
        if lines[0].starts_with("failed") {
            break lines;
        }
        id += 1;
        assert_eq!(lines, [format!("describe {id} a")]);
    };
    assert_eq!(told, ["failed x timed out: could not reach k1: refused"]);
    assert_eq!(scene.now, end);
}

#[test]
fn what_is_known_is_refreshed_while_it_is_used_and_new_partitions_are() {
    let mut scene = Scene::knowing(&[1]);
    assert_eq!(scene.wait(Duration::from_secs(300)), NOTHING);
    assert_eq!(scene.submit(&["a 21 x"]), ["send 3 a/0>1 x"]);
    assert_eq!(scene.millis(1), NOTHING, "an unused topic is not asked about");
    assert_eq!(scene.submit(&["a 21 y"]), ["describe 4 a"]);
    assert_eq!(scene.described(4, "a", &[1, 1, 1, 1, 1, 1, 1, 1]), NOTHING);
    assert_eq!(scene.submit(&["a 21 z"]), ["send 5 a/4>1 z"]);
    assert_eq!(scene.sent(3, Ok(1)), ["ok x a/0@1", "send 6 a/0>1 y"]);
}

#[test]
fn a_failed_refresh_disturbs_nobody() {
    let mut scene = Scene::knowing(&[1]);
    scene.wait(Duration::from_secs(301));
    assert_eq!(scene.submit(&["a k x"]), ["send 3 a/0>1 x", "describe 4 a"]);
    assert_eq!(scene.not_described(4, unreachable()), NOTHING);
    assert_eq!(scene.sent(3, Ok(1)), ["ok x a/0@1"]);
    assert_eq!(scene.submit(&["a k y"]), ["send 5 a/0>1 y"], "no second look before the pause is over");
    assert_eq!(scene.millis(100), ["describe 6 a"]);
}

#[test]
fn close_lets_everything_end_and_takes_nothing_more() {
    let mut scene = Scene::knowing(&[1]);
    assert_eq!(scene.submit(&["a k x"]), ["send 3 a/0>1 x"]);
    assert_eq!(scene.submit(&["a k y"]), NOTHING);
    assert_eq!(scene.handle(Input::Close), NOTHING);
    assert_eq!(scene.submit(&["a k z"]), ["failed z closed"]);
    assert_eq!(scene.sent(3, Ok(1)), ["ok x a/0@1", "send 4 a/0>1 y"]);
    assert_eq!(scene.sent(4, Ok(2)), ["ok y a/0@2", "closed"]);
    assert_eq!(scene.handle(Input::Close), NOTHING);
    assert_eq!(Scene::new().handle(Input::Close), ["closed"]);
}

#[test]
fn late_and_foreign_answers_change_nothing() {
    let mut scene = Scene::knowing(&[1]);
    assert_eq!(scene.submit(&["a k x"]), ["send 3 a/0>1 x"]);
    assert_eq!(scene.sent(2, Ok(0)), NOTHING, "answered before");
    assert_eq!(scene.described(3, "a", &[2]), NOTHING, "another kind of request");
    assert_eq!(scene.limit(3, Ok(1)), NOTHING);
    assert_eq!(scene.sent(3, Ok(1)), ["ok x a/0@1"]);
    let marks = ["late produce answer ignored", "late metadata ignored", "late limits ignored"];
    assert_eq!(marks.map(|mark| scene.mark(mark)), [1, 1, 1]);
}

#[test]
fn room_is_what_is_left_of_the_buffer() {
    let config = ProduceConfig { buffer_bytes: 10_000, ..ProduceConfig::default() };
    let mut scene = Scene::with(config).knows(&[1]);
    assert_eq!(scene.produce.room(), 10_000);
    scene.submit_sized(&["a k x"], 4_000);
    let room = scene.produce.room();
    assert!(room < 6_000 && room > 5_500, "{room}");
    scene.submit_sized(&["a k y"], 9_000);
    assert_eq!(scene.produce.room(), 0);
    scene.sent(3, Ok(1));
    scene.sent(4, Ok(2));
    assert_eq!(scene.produce.room(), 10_000);
}

#[test]
fn an_answer_with_impossible_partitions_uses_the_others() {
    let mut scene = Scene::new();
    scene.submit(&["a abc x"]);
    let found = [0, 7, -1].map(|number| PartitionMetadata {
        partition: PartitionId(number),
        leader: Some(BrokerId(1)),
        leader_epoch: None,
    });
    // Three are said to be there, so the key belongs to number 0 of three.
    assert_eq!(scene.described_as(1, "a", Ok(found.to_vec())), ["send 2 a/0>1 x"]);
    assert_eq!(scene.mark("impossible partition number passed over"), 1);
    assert_eq!(scene.described_as(9, "a", Ok(Vec::new())), NOTHING);
}
