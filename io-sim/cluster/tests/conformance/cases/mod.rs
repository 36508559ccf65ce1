//! The cases by area.

mod fetch;
mod groups;
mod produce;

use crate::Case;

pub(crate) const AREAS: &[(&str, &[Case])] =
    &[("produce", produce::CASES), ("fetch", fetch::CASES), ("groups", groups::CASES)];
