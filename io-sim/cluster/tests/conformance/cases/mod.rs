//! The cases by area.

mod admin;
mod cluster;
mod configs;
mod fetch;
mod groups;
mod lists;
mod offsets;
mod produce;
mod topics;

use crate::Case;

pub(crate) const AREAS: &[(&str, &[Case])] = &[
    ("produce", produce::CASES),
    ("fetch", fetch::CASES),
    ("list offsets", lists::CASES),
    ("topics", topics::CASES),
    ("administration", admin::CASES),
    ("configurations", configs::CASES),
    ("cluster", cluster::CASES),
    ("groups", groups::CASES),
    ("offsets", offsets::CASES),
];
