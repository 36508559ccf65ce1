//! The cases by area.

mod cluster;
mod configs;
mod fetch;
mod groups;
mod lists;
mod members;
mod offsets;
mod produce;
mod topics;
mod values;

use crate::Case;

pub(crate) const AREAS: &[(&str, &[Case])] = &[
    ("produce", produce::CASES),
    ("fetch", fetch::CASES),
    ("list offsets", lists::CASES),
    ("topics", topics::CASES),
    ("configurations", configs::CASES),
    ("values", values::CASES),
    ("cluster", cluster::CASES),
    ("groups", groups::CASES),
    ("members", members::CASES),
    ("offsets", offsets::CASES),
];
