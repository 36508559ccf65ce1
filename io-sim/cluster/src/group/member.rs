//! One member of a group, as its coordinator knows it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{RequestId, Time};

use super::{Replies, refused_join, refused_sync};
use crate::message::{JoinedMember, Text};

/// A member's strategies. A client may name very many: what is looked for is not looked for one by one.
#[derive(Debug)]
pub(super) struct Protocols {
    /// As they came, most wanted first.
    listed: Vec<(Text, Bytes)>,
    /// What the member says of itself for each; of one that it named twice, the first.
    metadata: BTreeMap<Text, Bytes>,
}

impl Protocols {
    pub(super) fn new(listed: Vec<(Text, Bytes)>) -> Self {
        // Of equal ones the last that is put in stays.
        let metadata = listed.iter().rev().cloned().collect();
        Self { listed, metadata }
    }

    pub(super) fn are(&self, others: &[(Text, Bytes)]) -> bool {
        self.listed == others
    }

    /// Most wanted first.
    pub(super) fn names(&self) -> impl Iterator<Item = &Text> {
        self.listed.iter().map(|(name, _)| name)
    }
}

/// A member.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) instance: Option<Text>,
    pub(super) client: Text,
    pub(super) host: Text,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    /// Its strategies, most wanted first.
    pub(super) protocols: Arc<Protocols>,
    pub(super) assignment: Bytes,
    /// Its parked join.
    pub(super) joining: Option<RequestId>,
    /// Its parked sync.
    pub(super) syncing: Option<RequestId>,
    /// Whether it has never been in a generation.
    pub(super) is_new: bool,
    /// Until when it must have synced, since it joined the generation.
    pub(super) sync_by: Option<Time>,
    /// When its session ends.
    pub(super) expires: Time,
}

impl Member {
    /// When it is taken for dead. A parked request is a sign of life, but a new member's join is not for ever.
    pub(super) fn deadline(&self) -> Option<Time> {
        let is_parked = self.joining.is_some() || self.syncing.is_some();
        let session = if is_parked && !self.is_new { None } else { Some(self.expires) };
        match (session, self.sync_by) {
            (Some(session), Some(sync)) => Some(session.min(sync)),
            (one, other) => one.or(other),
        }
    }

    pub(super) fn supports(&self, protocol: &Text) -> bool {
        self.protocols.metadata.contains_key(protocol)
    }

    /// What it says of itself for `protocol`.
    pub(super) fn metadata(&self, protocol: Option<&Text>) -> Bytes {
        protocol.and_then(|protocol| self.protocols.metadata.get(protocol)).cloned().unwrap_or_default()
    }

    pub(super) fn for_leader(&self, id: &Text, protocol: Option<&Text>) -> JoinedMember {
        JoinedMember {
            member: id.clone(),
            instance: self.instance.clone(),
            metadata: self.metadata(protocol),
        }
    }

    /// Answers what it has parked.
    pub(super) fn turn_away(&mut self, id: &Text, code: ErrorCode, out: &mut Replies) {
        if let Some(request) = self.joining.take() {
            // Whoever is no member any more has no id to join with again.
            let id = if code == ErrorCode::UnknownMemberId { Text::default() } else { id.clone() };
            out.push((request, refused_join(id, code)));
        }
        self.turn_sync_away(code, out);
    }

    /// Answers its parked sync.
    pub(super) fn turn_sync_away(&mut self, code: ErrorCode, out: &mut Replies) {
        if let Some(request) = self.syncing.take() {
            out.push((request, refused_sync(code)));
        }
    }
}
