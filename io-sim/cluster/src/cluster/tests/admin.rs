//! What is asked twice, what is unclear, and who decides first: as Apache Kafka was seen to.

use super::*;

impl Bench {
    fn answer(&mut self, request: impl Into<Request>) -> Answer {
        let id = self.ask(1, request);
        self.outcomes[&id].clone().expect("the broker is alive")
    }

    fn create_all(&mut self, names: &[&str]) -> Vec<(String, Option<ErrorCode>)> {
        let new = |name: &&str| NewTopic {
            name: (*name).into(),
            partitions: Some(1),
            replication: Some(1),
            assignment: Vec::new(),
            configs: Vec::new(),
        };
        let topics = names.iter().map(new).collect();
        match self.answer(CreateTopicsRequest { topics, validate_only: false }) {
            Answer::CreateTopics(answer) => {
                answer.topics.iter().map(|(name, told)| (name.to_string(), code(told))).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn delete_all(&mut self, topics: Vec<TopicRef>) -> Vec<(Option<Text>, TopicId, Option<ErrorCode>)> {
        match self.answer(DeleteTopicsRequest { topics }) {
            Answer::DeleteTopics(answer) => {
                answer.topics.into_iter().map(|(name, id, told)| (name, id, told.err())).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn id_of(&self, topic: &str) -> TopicId {
        self.cluster.topics.get(topic).expect("the topic is there").id
    }

    fn change(
        &mut self,
        resources: Vec<(Resource, Vec<(Text, ConfigChange)>)>,
        replace: bool,
    ) -> Vec<Option<ErrorCode>> {
        match self.answer(AlterConfigsRequest { resources, replace, validate_only: false }) {
            Answer::AlterConfigs(answer) => answer.resources.iter().map(|(_, told)| code(told)).collect(),
            other => panic!("{other:?}"),
        }
    }
}

fn code<T>(told: &Result<T, Refusal>) -> Option<ErrorCode> {
    told.as_ref().err().map(|refusal| refusal.code)
}

fn by_name(name: &str) -> TopicRef {
    TopicRef::Name(name.into())
}

const INVALID: Option<ErrorCode> = Some(ErrorCode::InvalidRequest);

#[test]
fn what_is_created_twice_in_a_request_is_refused_once_after_the_others() {
    let mut bench = Bench::new(1, |_| {});
    let told = bench.create_all(&["a", "b", "a"]);
    assert_eq!(told, [("b".to_owned(), None), ("a".to_owned(), INVALID)]);
    assert!(bench.cluster.topics.get("a").is_none());
    assert_eq!(bench.create_all(&["__cluster_metadata"])[0].1, INVALID);
}

#[test]
fn names_collide_with_topics_that_were_there_before_the_request() {
    let mut bench = Bench::new(1, |_| {});
    assert!(bench.create_all(&["a.b_c", "a_b.c"]).iter().all(|(_, told)| told.is_none()));
    let told = bench.create_all(&["a.b.c", "a_b.c"]);
    assert_eq!(told[0].1, Some(ErrorCode::InvalidTopic));
    assert_eq!(told[1].1, Some(ErrorCode::TopicAlreadyExists), "it is there, that it collides is no news");
}

#[test]
fn a_table_of_unclear_deletions() {
    let mut bench = Bench::new(1, |_| {});
    bench.create_all(&["a"]);
    let (id, none, other) = (bench.id_of("a"), TopicId::default(), TopicId(7));
    let a = || Some("a".into());
    for (asked, told) in [
        (vec![TopicRef::Id(none)], (None, none, INVALID)),
        (vec![TopicRef::Both("a".into(), id)], (a(), id, INVALID)),
        (vec![by_name("a"), by_name("a")], (a(), none, INVALID)),
        (vec![TopicRef::Id(id), TopicRef::Id(id)], (None, id, INVALID)),
        (vec![by_name("a"), TopicRef::Id(id)], (a(), id, INVALID)),
        (vec![by_name("b")], (Some("b".into()), none, Some(ErrorCode::UnknownTopicOrPartition))),
        (vec![TopicRef::Id(other)], (None, other, Some(ErrorCode::UnknownTopicId))),
        (vec![TopicRef::Id(id)], (a(), id, None)),
    ] {
        assert_eq!(bench.delete_all(asked.clone()), [told], "{asked:?}");
    }
    assert!(bench.cluster.topics.get("a").is_none());
}

#[test]
fn what_is_to_grow_twice_does_not_grow() {
    let mut bench = Bench::new(1, |_| {});
    bench.create_all(&["a", "b"]);
    let more = |name: &str, count| MorePartitions { name: name.into(), count, assignment: None };
    let topics = vec![more("a", 2), more("b", 2), more("a", 3)];
    let answer = bench.answer(CreatePartitionsRequest { topics, validate_only: false });
    let Answer::CreatePartitions(answer) = answer else { panic!("{answer:?}") };
    let told: Vec<_> = answer.topics.iter().map(|(name, told)| (&**name, code(told))).collect();
    assert_eq!(told, [("a", INVALID), ("b", None)]);
    assert_eq!(bench.cluster.topics.get("a").unwrap().partitions.len(), 1);
}

#[test]
fn topics_are_described_once_and_by_id_alone_if_by_id() {
    let mut bench = Bench::new(1, |_| {});
    bench.create_all(&["a", "b"]);
    let (a, unknown) = (TopicRef::Id(bench.id_of("a")), TopicRef::Id(TopicId(7)));
    let mut described = |topics: Vec<TopicRef>| {
        let answer = bench.answer(MetadataRequest { topics: Some(topics), may_create: false });
        let Answer::Metadata(answer) = answer else { panic!("{answer:?}") };
        let told =
            |topic: TopicMetadata| (topic.name.as_deref().map(str::to_owned), topic.partitions.is_ok());
        answer.topics.into_iter().map(told).collect::<Vec<_>>()
    };
    let named = |name: &str, is_there| (Some(name.to_owned()), is_there);
    assert_eq!(
        described(vec![by_name("x"), by_name("a"), by_name("a")]),
        [named("a", true), named("x", false)]
    );
    assert_eq!(described(vec![a, by_name("b"), unknown]), [(None, false), named("a", true)]);
}

#[test]
fn configurations_are_judged_before_it_is_looked_whether_there_is_such_a_topic() {
    let mut bench = Bench::new(1, |_| {});
    bench.create_all(&["a"]);
    let one = |topic: &str, name: &str, value: &str| {
        let change = ConfigChange::Set(value.into());
        (Resource::Topic(topic.into()), vec![(name.into(), change)])
    };
    for (what, resources, told) in [
        ("legal", vec![one("b", "retention.ms", "1")], vec![Some(ErrorCode::UnknownTopicOrPartition)]),
        ("unknown config", vec![one("b", "no.such", "1")], vec![Some(ErrorCode::InvalidConfig)]),
        ("no topic's name", vec![one("a b", "retention.ms", "1")], vec![Some(ErrorCode::InvalidTopic)]),
        ("no name", vec![one("", "retention.ms", "1")], vec![INVALID]),
        (
            "twice, neither is done",
            vec![one("a", "retention.ms", "1"), one("a", "max.message.bytes", "5")],
            vec![INVALID, INVALID],
        ),
    ] {
        assert_eq!(bench.change(resources.clone(), false), told, "{what}");
        assert_eq!(bench.change(resources, true), told, "{what}");
    }
    let before = bench.cluster.topic_defaults.settings();
    assert_eq!(bench.cluster.topics.get("a").unwrap().config.settings(), before);
}

#[test]
fn no_names_of_configurations_are_all_of_them() {
    let mut bench = Bench::new(1, |_| {});
    bench.create_all(&["a"]);
    let mut count = |names| {
        let resources = vec![(Resource::Topic("a".into()), names)];
        let Answer::DescribeConfigs(answer) = bench.answer(DescribeConfigsRequest { resources }) else {
            panic!("no answer")
        };
        answer.resources[0].1.as_ref().unwrap().len()
    };
    assert_eq!(count(Some(Vec::new())), count(None));
    assert_eq!(count(Some(vec!["retention.ms".into()])), 1);
}

#[test]
fn a_place_that_is_asked_for_twice_is_refused_once() {
    let mut bench = Bench::new(1, |_| {});
    bench.create("t", 1, &[]);
    let place =
        |partition, place| ListPartition { partition: PartitionId(partition), leader_epoch: None, place };
    let partitions = vec![place(0, Place::Latest), place(1, Place::Latest), place(0, Place::Earliest)];
    let topics = vec![OfTopic { topic: "t".into(), partitions }];
    let answer = bench.answer(ListOffsetsRequest { read_committed: false, topics });
    let Answer::ListOffsets(answer) = answer else { panic!("{answer:?}") };
    let told: Vec<_> = answer.topics[0].partitions.iter().map(|p| (p.partition.0, p.outcome.err())).collect();
    assert_eq!(told, [(0, INVALID), (1, Some(ErrorCode::UnknownTopicOrPartition))]);
}

#[test]
fn records_of_a_log_that_is_only_compacted_are_not_deleted() {
    for (policy, told) in [
        ("compact", Err(ErrorCode::PolicyViolation)),
        ("compact,delete", Ok(Offset(0))),
        ("delete", Ok(Offset(0))),
    ] {
        let mut bench = Bench::new(1, |_| {});
        bench.create("t", 1, &[("cleanup.policy", policy)]);
        let partitions = vec![DeleteRecordsPartition { partition: PartitionId(0), before: None }];
        let empty = OfTopic { topic: "u".into(), partitions: Vec::new() };
        let topics = vec![OfTopic { topic: "t".into(), partitions }, empty];
        let Answer::DeleteRecords(answer) = bench.answer(DeleteRecordsRequest { topics }) else {
            panic!("no answer")
        };
        assert_eq!(answer.topics.len(), 1, "nothing is told of no partitions");
        assert_eq!(answer.topics[0].partitions[0].outcome, told, "{policy}");
    }
}

#[test]
fn an_epoch_before_all_that_are_known_ended_where_the_first_of_them_began() {
    let mut bench = Bench::new(1, |_| {});
    bench.create("t", 1, &[]);
    bench.produce(1, Acks::All, &["a", "b"]);
    let mut end_of = |epoch| {
        let epoch = evenkeel_core::model::LeaderEpoch(epoch);
        let partition = EpochEndPartition { partition: PartitionId(0), current_epoch: None, epoch };
        let topics = vec![OfTopic { topic: "t".into(), partitions: vec![partition] }];
        let Answer::EpochEnds(answer) = bench.answer(EpochEndsRequest { topics }) else {
            panic!("no answer")
        };
        answer.topics[0].partitions[0].outcome.map(|end| end.map(|(epoch, end)| (epoch.0, end.0)))
    };
    assert_eq!(end_of(0), Ok(Some((0, 2))));
    assert_eq!(end_of(-3), Ok(Some((-3, 0))));
    assert_eq!(end_of(-1), Ok(None), "-1 is no epoch");
    assert_eq!(end_of(1), Ok(None));
}

#[test]
fn a_partition_is_not_made_where_nobody_can_lead() {
    let mut bench = Bench::new(2, |_| {});
    bench.create_all(&["a"]);
    bench.tell(Input::BrokerDied { broker: BrokerId(2) });
    let on = |brokers: &[i32]| brokers.iter().copied().map(BrokerId).collect::<Vec<_>>();
    let dead = Some(ErrorCode::InvalidReplicaAssignment);
    for (name, brokers, told) in [("t", &[2][..], dead), ("u", &[2, 1], None), ("v", &[1, 2], None)] {
        let assignment = vec![(PartitionId(0), on(brokers))];
        let new = NewTopic {
            name: name.into(),
            partitions: None,
            replication: None,
            assignment,
            configs: Vec::new(),
        };
        let request = CreateTopicsRequest { topics: vec![new], validate_only: false };
        let Answer::CreateTopics(answer) = bench.answer(request) else { panic!("no answer") };
        assert_eq!(code(&answer.topics[0].1), told, "{brokers:?}");
    }
    let more = MorePartitions { name: "a".into(), count: 2, assignment: Some(vec![on(&[2])]) };
    let request = CreatePartitionsRequest { topics: vec![more], validate_only: false };
    let Answer::CreatePartitions(answer) = bench.answer(request) else { panic!("no answer") };
    assert_eq!(code(&answer.topics[0].1), dead);
    let mut partitions = bench.cluster.topics.iter().flat_map(|(_, topic)| &topic.partitions);
    assert!(partitions.all(|partition| partition.leader().is_some()));
}

#[test]
fn a_request_makes_so_many_partitions_and_no_more() {
    let mut bench = Bench::new(1, |_| {});
    let of = |nth: usize| NewTopic {
        name: format!("t{nth}").into(),
        partitions: Some(9_000),
        replication: Some(1),
        assignment: Vec::new(),
        configs: Vec::new(),
    };
    let request = CreateTopicsRequest { topics: (0..1_000).map(of).collect(), validate_only: false };
    let Answer::CreateTopics(answer) = bench.answer(request) else { panic!("no answer") };
    assert_eq!(answer.topics.len(), 1_000);
    assert!(answer.topics.iter().all(|(_, told)| code(told) == Some(ErrorCode::PolicyViolation)));
    assert!(bench.cluster.topics.is_empty());
    bench.create_all(&["a", "b"]);
    let more = |name: &str| MorePartitions { name: name.into(), count: 6_001, assignment: None };
    let request = CreatePartitionsRequest { topics: vec![more("a"), more("b")], validate_only: false };
    let Answer::CreatePartitions(answer) = bench.answer(request) else { panic!("no answer") };
    let told: Vec<_> = answer.topics.iter().map(|(_, told)| code(told)).collect();
    assert_eq!(told, [None, Some(ErrorCode::PolicyViolation)]);
}

#[test]
fn a_partition_that_none_in_sync_can_lead_is_led_once_its_topic_allows_another() {
    let mut bench = Bench::new(3, |_| {});
    bench.create("t", 2, &[]);
    bench.tell(Input::BrokerDied { broker: BrokerId(2) });
    bench.produce(1, Acks::All, &["a"]);
    bench.tell(Input::BrokerDied { broker: BrokerId(1) });
    let address = BrokerAddress { broker: BrokerId(2), host: "h".into(), port: 9_000 };
    bench.tell(Input::BrokerStarted { address });
    let leader = |bench: &Bench| bench.cluster.topics.partition("t", PartitionId(0)).unwrap().leader();
    assert_eq!(leader(&bench), None);
    let change = ("unclean.leader.election.enable".into(), ConfigChange::Set("true".into()));
    let resources = vec![(Resource::Topic("t".into()), vec![change])];
    let id = bench.ask(2, AlterConfigsRequest { resources, replace: false, validate_only: false });
    assert!(!bench.is_parked(id));
    assert_eq!(leader(&bench), Some(BrokerId(2)));
}
