//! Where the leader epochs began of what lies below a commit: what its metadata says beside the settled runs.
//!
//! A leader that was elected without the last records of a log may hold others in their place, also below what a group
//! has committed. Where the two logs part is no later than where the first epoch began that this leader lacks, and the
//! next owner of the partition was not there to see it.

use crate::model::{LeaderEpoch, Offset};

/// Records of a leader epoch were read, and none before this offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// No later than where it began.
    pub from: Offset,
}

/// How many a commit carries: the latest ones. Another leader for each, and all of their records lost at once, is more
/// than a cluster does.
pub(super) const CARRIED: usize = 4;

/// What a commit at `base` carries of epochs that ascend: the last ones that began before it.
pub(super) fn carried(epochs: &[EpochStart], base: Offset) -> &[EpochStart] {
    let below = &epochs[..epochs.partition_point(|start| start.from < base)];
    &below[below.len().saturating_sub(CARRIED)..]
}
