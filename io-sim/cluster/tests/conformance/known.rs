//! What differs and is meant to, with the reason: the documentation's list is made of this.

/// A case's name and why its answers are not Kafka's.
pub(crate) const DIFFERENCES: &[(&str, &str)] = &[];

pub(crate) fn reason(case: &str) -> Option<&'static str> {
    DIFFERENCES.iter().find(|(name, _)| *name == case).map(|(_, reason)| *reason)
}
