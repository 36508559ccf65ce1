//! What a failed produce request means: whether the batch may be in the log, and what comes next.
//!
//! The first question is delicate. A broker appends to its own log before it waits for the replicas, so several codes
//! come *after* the append: a time-out while waiting, too few replicas by then, and even "not the leader", when the
//! leadership moves while the request waits (the new leader may have the records). Only codes that are decided before
//! the append are definite; everything else counts as possibly written, also codes not known here.

use crate::error::{ErrorCode, Remedy};
use crate::ports::PortError;

/// What follows from a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The attempt may have written the batch.
    pub(super) doubtful: bool,
    /// What to do with the batch.
    pub(super) next: Next,
}

/// What to do with a batch after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Send it again after a wait.
    Again,
    /// Send it again after a wait, to the leader that the cluster names by then.
    AgainToLeader,
    /// It was too large: learn the topic's limit and split it.
    Shrink,
    /// One of its records is bad: split it, so that the others do not suffer.
    Isolate(ErrorCode),
    /// Give it up.
    GiveUp(ErrorCode),
}

pub(super) fn verdict(error: &PortError) -> Verdict {
    let code = match error {
        PortError::Unreachable { .. } => return Verdict { doubtful: false, next: Next::AgainToLeader },
        PortError::Unknown { .. } | PortError::Malformed { .. } => {
            return Verdict { doubtful: true, next: Next::AgainToLeader };
        }
        PortError::Refused(code) => *code,
    };
    let next = match (code, code.remedy()) {
        (ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge, _) => Next::Shrink,
        (ErrorCode::InvalidRecord, _) => Next::Isolate(code),
        (_, Remedy::GiveUp) => Next::GiveUp(code),
        (_, Remedy::FindLeader) => Next::AgainToLeader,
        // The last two concern consumer groups; a broker that sends them here makes no sense, but may recover.
        (_, Remedy::Wait | Remedy::FindCoordinator | Remedy::Rejoin) => Next::Again,
    };
    Verdict { doubtful: !decided_before_the_append(code), next }
}

/// Codes that a broker answers without having touched the log. A topic that is unknown after all was deleted, and its
/// log with it.
fn decided_before_the_append(code: ErrorCode) -> bool {
    match code {
        ErrorCode::CorruptMessage | ErrorCode::NotEnoughReplicas | ErrorCode::UnknownTopicOrPartition => true,
        other => other.remedy() == Remedy::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_a_broker_answers_to_a_produce_request() {
        use ErrorCode as E;
        let table = [
            (E::NotLeaderOrFollower, true, Next::AgainToLeader),
            (E::LeaderNotAvailable, true, Next::AgainToLeader),
            (E::KafkaStorageError, true, Next::AgainToLeader),
            (E::NetworkException, true, Next::AgainToLeader),
            (E::UnknownTopicOrPartition, false, Next::AgainToLeader),
            (E::RequestTimedOut, true, Next::Again),
            (E::NotEnoughReplicasAfterAppend, true, Next::Again),
            (E::NotEnoughReplicas, false, Next::Again),
            (E::CorruptMessage, false, Next::Again),
            (E::UnknownServerError, true, Next::Again),
            (E::ThrottlingQuotaExceeded, true, Next::Again),
            (E::Other(999), true, Next::Again),
            (E::RebalanceInProgress, true, Next::Again),
            (E::NotCoordinator, true, Next::Again),
            (E::MessageTooLarge, false, Next::Shrink),
            (E::RecordListTooLarge, false, Next::Shrink),
            (E::InvalidRecord, false, Next::Isolate(E::InvalidRecord)),
            (E::TopicAuthorizationFailed, false, Next::GiveUp(E::TopicAuthorizationFailed)),
            (E::InvalidTopic, false, Next::GiveUp(E::InvalidTopic)),
        ];
        for (code, doubtful, next) in table {
            assert_eq!(verdict(&PortError::Refused(code)), Verdict { doubtful, next }, "{code:?}");
        }
    }

    #[test]
    fn no_code_that_calls_for_another_attempt_is_definite_by_accident() {
        let definite: Vec<ErrorCode> = ErrorCode::ALL
            .iter()
            .copied()
            .filter(|code| code.remedy() != Remedy::GiveUp)
            .filter(|code| !verdict(&PortError::Refused(*code)).doubtful)
            .collect();
        assert_eq!(
            definite,
            [ErrorCode::CorruptMessage, ErrorCode::UnknownTopicOrPartition, ErrorCode::NotEnoughReplicas]
        );
    }

    #[test]
    fn a_lost_answer_is_doubtful_and_a_lost_connection_attempt_is_not() {
        let (server, cause) = ("k1:9092".into(), "reset".into());
        let lost = PortError::Unknown { server, cause };
        assert_eq!(verdict(&lost), Verdict { doubtful: true, next: Next::AgainToLeader });
        let (server, cause) = ("k1:9092".into(), "garbage".into());
        let garbled = PortError::Malformed { server, cause };
        assert_eq!(verdict(&garbled), Verdict { doubtful: true, next: Next::AgainToLeader });
        let (server, cause) = ("k1:9092".into(), "refused".into());
        let away = PortError::Unreachable { server, cause };
        assert_eq!(verdict(&away), Verdict { doubtful: false, next: Next::AgainToLeader });
    }
}
