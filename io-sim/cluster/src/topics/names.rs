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

/// Whether two names would share a metric's name, in which `.` and `_` are the same.
pub(crate) fn collide(one: &str, other: &str) -> bool {
    let same = |byte: u8| if byte == b'.' { b'_' } else { byte };
    one != other && one.len() == other.len() && one.bytes().map(same).eq(other.bytes().map(same))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_in_dots_and_underscores_only_collide() {
        for (one, other, verdict) in
            [("a.b", "a_b", true), ("a.b", "a.b", false), ("a.b", "a-b", false), ("a.b", "a_bc", false)]
        {
            assert_eq!(collide(one, other), verdict, "{one} {other}");
        }
        assert_eq!(check("Orders!").unwrap_err().code, ErrorCode::InvalidTopic);
    }
}
