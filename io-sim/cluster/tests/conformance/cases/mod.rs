//! The cases by area.

mod cluster;
mod configs;
mod fetch;
mod groups;
mod lists;
mod produce;
mod admin;

use crate::Case;

pub(crate) const AREAS: &[(&str, &[Case])] = &[
    ("produce", produce::CASES),
    ("fetch", fetch::CASES),
    ("list offsets", lists::CASES),
    ("administration", admin::CASES),
    ("configurations", configs::CASES),
    ("cluster", cluster::CASES),
    ("groups", groups::CASES),
];
