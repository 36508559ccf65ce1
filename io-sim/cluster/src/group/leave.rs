//! Leaving: members give their places up, so that nobody need wait for their sessions to end.

use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::Time;

use super::{Group, Limits, Replies};
use crate::message::LeavingMember;

impl Group {
    /// Takes members out. Each has its own outcome.
    pub(crate) fn leave(
        &mut self,
        now: Time,
        members: Vec<LeavingMember>,
        limits: Limits,
        out: &mut Replies,
    ) -> Vec<(LeavingMember, Result<(), ErrorCode>)> {
        let before = (self.members.len(), self.pending.len());
        let outcomes: Vec<_> = members
            .into_iter()
            .map(|leaving| {
                let outcome = self.let_go(&leaving, out);
                (leaving, outcome)
            })
            .collect();
        if self.members.len() < before.0 {
            self.prepare(now, limits, out);
        }
        if (self.members.len(), self.pending.len()) != before {
            self.complete_if_all_joined(now, out);
        }
        outcomes
    }

    fn let_go(&mut self, leaving: &LeavingMember, out: &mut Replies) -> Result<(), ErrorCode> {
        let id = match &leaving.instance {
            Some(instance) => match self.instances.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                // An administrator names only the instance.
                Some(known) if leaving.member.is_empty() || *known == leaving.member => known.clone(),
                Some(_) => return Err(ErrorCode::FencedInstanceId),
            },
            None => leaving.member.clone(),
        };
        if self.pending.remove(&id).is_some() {
            return Ok(());
        }
        if !self.members.contains_key(&id) {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.remove(&id, ErrorCode::UnknownMemberId, out);
        Ok(())
    }
}
