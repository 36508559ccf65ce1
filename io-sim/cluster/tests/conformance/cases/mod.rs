//! The cases by area.

mod fetch;
mod produce;

use crate::Case;

pub(crate) const AREAS: &[(&str, &[Case])] = &[("produce", produce::CASES), ("fetch", fetch::CASES)];
