//! Services that are rolled out: which of its handlers each group was deployed with last, and which process takes its turn
//! when.

use std::time::Duration;

use evenkeel_core::model::Time;

use crate::history::GroupNo;

/// See the [module](self).
#[derive(Debug, Clone)]
pub(crate) struct Rollouts {
    /// By group, as a [stroke](crate::faults::Stroke::Deploy) says it.
    handlers: Vec<u16>,
}

impl Rollouts {
    /// A group's deploy with all of its handlers.
    pub(crate) const ALL: u16 = u16::MAX;

    /// Each group is deployed with all of its handlers.
    pub(crate) fn of(groups: usize) -> Self {
        Self { handlers: vec![Self::ALL; groups] }
    }

    /// What a group was deployed with last.
    pub(crate) fn of_group(&self, group: GroupNo) -> u16 {
        self.handlers[usize::from(group.0)]
    }

    /// A group is deployed with other handlers: its processes take their turns one after another, the first one now.
    pub(crate) fn begin(
        &mut self,
        now: Time,
        group: GroupNo,
        handlers: u16,
        every: Duration,
        processes: impl Iterator<Item = u16>,
    ) -> Vec<(Time, u16)> {
        self.handlers[usize::from(group.0)] = handlers;
        (0..).zip(processes).map(|(nth, process)| (now + every * nth, process)).collect()
    }
}
