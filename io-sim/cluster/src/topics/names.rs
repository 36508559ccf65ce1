//! Which names a topic may have.

use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::TopicName;

use crate::message::Refusal;

/// Checks a name by itself.
pub(crate) fn check(name: &str) -> Result<(), Refusal> {
    match TopicName::new(name) {
        Ok(_) => Ok(()),
        Err(error) => Err(Refusal::new(ErrorCode::InvalidTopic, error.to_string())),
    }
}

/// Whether a name is that of a log that only brokers have.
pub(crate) fn is_reserved(name: &str) -> bool {
    name == "__cluster_metadata"
}

/// The name of a topic's metric, in which `.` and `_` are the same. Topics that would share it collide.
pub(crate) fn of_metric(name: &str) -> String {
    name.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::TopicId;
    use crate::topics::config::TopicConfig;
    use crate::topics::{Topic, Topics};

    fn topic() -> Topic {
        Topic { id: TopicId(1), partitions: Vec::new(), config: TopicConfig::default() }
    }

    #[test]
    fn names_that_differ_in_dots_and_underscores_only_collide() {
        for (one, other, verdict) in
            [("a.b", "a_b", true), ("a.b", "a.b", false), ("a.b", "a-b", false), ("a.b", "a_bc", false)]
        {
            let mut topics = Topics::default();
            topics.insert(other.into(), topic());
            assert_eq!(topics.colliding(one).is_some(), verdict, "{one} {other}");
            topics.remove(other);
            assert_eq!(topics.colliding(one), None, "{one} after {other}");
        }
        assert_eq!(check("Orders!").unwrap_err().code, ErrorCode::InvalidTopic);
    }
}
