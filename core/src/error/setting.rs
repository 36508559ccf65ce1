//! Settings that cannot work.

/// A setting that cannot work. Says which, its value, and what would.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} cannot be {value}: {remedy}")]
pub struct SettingError {
    setting: &'static str,
    value: String,
    remedy: String,
}

impl SettingError {
    pub(crate) fn new(setting: &'static str, value: String, remedy: String) -> Self {
        Self { setting, value, remedy }
    }

    /// The name of the setting: that of the method that sets it.
    #[must_use]
    pub const fn setting(&self) -> &'static str {
        self.setting
    }
}
