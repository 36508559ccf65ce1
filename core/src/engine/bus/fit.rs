//! Whether the settings of a group fit the connections that its bus runs on.

use std::time::Duration;

use crate::error::SettingError;
use crate::model::GroupSettings;

/// What the connections to the cluster allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerLimits {
    /// The largest answer that is taken.
    pub bytes: usize,
    /// How long the answer to a heartbeat is waited for.
    pub heartbeat: Duration,
}

impl AnswerLimits {
    /// Whether a group of these settings would work.
    pub(super) fn check(&self, settings: &GroupSettings) -> Result<(), SettingError> {
        let asked = settings.fetch_answer_bytes;
        // A sixteenth is kept for what an answer says of each partition beside its records.
        let room = self.bytes - self.bytes / 16;
        if asked as usize > room {
            let remedy = format!(
                "set at most {room}, or raise the connections' max_frame_bytes, which is {}: a larger answer is \
                 refused each time that it comes",
                self.bytes,
            );
            return Err(SettingError::new("fetch_answer_bytes", asked.to_string(), remedy));
        }
        let &GroupSettings { session_timeout, heartbeat_interval, .. } = settings;
        let noticed = heartbeat_interval.saturating_add(self.heartbeat);
        if noticed >= session_timeout {
            let remedy = format!(
                "set more than {noticed:?}, or lower heartbeat_interval, which is {heartbeat_interval:?}, or the \
                 connections' limit for a heartbeat's answer, which is {:?}: the membership would be lost with one \
                 heartbeat",
                self.heartbeat,
            );
            return Err(SettingError::new("session_timeout", format!("{session_timeout:?}"), remedy));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn settings_that_do_not_fit_the_connections_are_named_with_what_would() {
        let limits = AnswerLimits { bytes: 1_600, heartbeat: 5 * SECOND };
        let fits = GroupSettings::default().fetch_answer_bytes(1_500);
        assert_eq!(limits.check(&fits), Ok(()));
        let refused = [
            (
                fits.clone().fetch_answer_bytes(1_501),
                "fetch_answer_bytes cannot be 1501: set at most 1500, or raise the connections' max_frame_bytes, \
                 which is 1600: a larger answer is refused each time that it comes",
            ),
            (
                fits.session_timeout(8 * SECOND),
                "session_timeout cannot be 8s: set more than 8s, or lower heartbeat_interval, which is 3s, or the \
                 connections' limit for a heartbeat's answer, which is 5s: the membership would be lost with one \
                 heartbeat",
            ),
        ];
        for (settings, expected) in refused {
            assert_eq!(limits.check(&settings).expect_err(expected).to_string(), expected);
        }
    }
}
