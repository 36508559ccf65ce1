//! The cases by area.

mod fetch;
mod groups;
mod offsets;
mod produce;
mod topics;

use crate::Case;

pub(crate) const AREAS: &[(&str, &[Case])] = &[
    ("produce", produce::CASES),
    ("fetch", fetch::CASES),
    ("topics", topics::CASES),
    ("groups", groups::CASES),
    ("offsets", offsets::CASES),
];
