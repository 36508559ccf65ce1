//! Answers that say no: what a broker says that does not do what it is asked.

use evenkeel_core::error::ErrorCode;

use crate::message::{
    Answer, CommitOffsetsAnswer, EpochEnd, EpochEndsAnswer, FetchAnswer, FetchOffsetsAnswer, FetchedOffsets,
    FetchedPartition, FindCoordinatorsAnswer, HeartbeatAnswer, JoinGroupAnswer, LeaveGroupAnswer,
    ListOffsetsAnswer, ListedPartition, OfTopic, ProduceAnswer, ProducedPartition, Refusal, Request,
    SyncGroupAnswer,
};

/// The answer that refuses all that is asked; `None` if this kind of request is never refused like that.
pub(in crate::serve) fn refuse(request: &Request, code: ErrorCode) -> Option<Answer> {
    let throttle = std::time::Duration::ZERO;
    Some(match request {
        Request::Produce(request) => {
            let no = |partition| ProducedPartition { partition, outcome: Err(code.into()) };
            let topics = OfTopic::map(&request.topics, |_, asked| no(asked.partition));
            ProduceAnswer { topics, throttle }.into()
        }
        Request::Fetch(request) => {
            let no = |partition| FetchedPartition { partition, outcome: Err(code) };
            let topics = OfTopic::map(&request.topics, |_, asked| no(asked.partition));
            FetchAnswer { outcome: Ok(topics), throttle }.into()
        }
        Request::ListOffsets(request) => {
            let no = |partition| ListedPartition { partition, outcome: Err(code) };
            ListOffsetsAnswer { topics: OfTopic::map(&request.topics, |_, asked| no(asked.partition)) }.into()
        }
        Request::EpochEnds(request) => {
            let no = |partition| EpochEnd { partition, outcome: Err(code) };
            EpochEndsAnswer { topics: OfTopic::map(&request.topics, |_, asked| no(asked.partition)) }.into()
        }
        Request::FindCoordinators(request) => {
            let no = |key: &crate::message::Text| (key.clone(), Err(Refusal::from(code)));
            FindCoordinatorsAnswer { coordinators: request.keys.iter().map(no).collect() }.into()
        }
        Request::JoinGroup(request) => {
            JoinGroupAnswer { member: request.member.clone(), outcome: Err(code) }.into()
        }
        Request::SyncGroup(_) => SyncGroupAnswer { outcome: Err(code) }.into(),
        Request::Heartbeat(_) => HeartbeatAnswer { outcome: Err(code) }.into(),
        Request::LeaveGroup(_) => LeaveGroupAnswer { outcome: Err(code) }.into(),
        Request::CommitOffsets(request) => {
            let topics = OfTopic::map(&request.topics, |_, asked| (asked.partition, Err(code)));
            CommitOffsetsAnswer { topics }.into()
        }
        Request::FetchOffsets(request) => {
            let no =
                |group: &crate::message::Text| FetchedOffsets { group: group.clone(), outcome: Err(code) };
            FetchOffsetsAnswer { groups: request.groups.iter().map(|asked| no(&asked.group)).collect() }
                .into()
        }
        Request::DeleteRecords(_)
        | Request::InitProducer(_)
        | Request::Metadata(_)
        | Request::DescribeCluster(_)
        | Request::CreateTopics(_)
        | Request::DeleteTopics(_)
        | Request::CreatePartitions(_)
        | Request::DescribeConfigs(_)
        | Request::AlterConfigs(_)
        | Request::DeleteOffsets(_)
        | Request::DescribeGroups(_)
        | Request::ListGroups(_)
        | Request::DeleteGroups(_) => return None,
    })
}

/// The same answer, but that what was appended is said not to have been replicated in time.
pub(in crate::serve) fn timed_out(answer: Answer) -> Answer {
    match answer {
        Answer::Produce(ProduceAnswer { mut topics, throttle }) => {
            for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                if partition.outcome.is_ok() {
                    partition.outcome = Err(ErrorCode::RequestTimedOut.into());
                }
            }
            ProduceAnswer { topics, throttle }.into()
        }
        other => other,
    }
}
