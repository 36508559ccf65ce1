//! The cases by area.

mod produce;

use crate::Case;

pub(crate) const AREAS: &[(&str, &[Case])] = &[("produce", produce::CASES)];
