//! Syncing and heartbeats: how members get their shares and keep them.

use bytes::Bytes;
use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{RequestId, Time};

use super::{Group, Phase, Replies, refused_sync};
use crate::message::{Answer, HeartbeatRequest, SyncGroupAnswer, SyncGroupRequest, Synced, Text};

impl Group {
    /// Takes a sync. It is answered now or parked until the leader's comes.
    pub(crate) fn sync(&mut self, now: Time, id: RequestId, request: SyncGroupRequest, out: &mut Replies) {
        if let Err(code) = self.try_sync(now, id, request, out) {
            out.push((id, refused_sync(code)));
        }
    }

    fn try_sync(
        &mut self,
        now: Time,
        id: RequestId,
        request: SyncGroupRequest,
        out: &mut Replies,
    ) -> Result<(), ErrorCode> {
        self.check_member(&request.member, request.instance.as_ref())?;
        if request.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |told: &Option<Text>, known: &Option<Text>| told.is_some() && told != known;
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol, &self.protocol)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.phase {
            Phase::Empty => Err(ErrorCode::UnknownMemberId),
            Phase::Preparing { .. } => Err(ErrorCode::RebalanceInProgress),
            Phase::Completing => {
                if let Some(member) = self.members.get_mut(&request.member) {
                    member.sync_by = None;
                    member.syncing = Some(id);
                }
                if self.leader.as_ref() == Some(&request.member) {
                    self.assign(now, &request.assignments, out);
                }
                Ok(())
            }
            Phase::Stable => {
                if let Some(member) = self.members.get_mut(&request.member) {
                    member.sync_by = None;
                }
                self.renew(now, &request.member);
                out.push((id, self.share_of(&request.member)));
                Ok(())
            }
        }
    }

    /// The leader's assignment is there: everyone gets a share, be it empty.
    fn assign(&mut self, now: Time, assignments: &[(Text, Bytes)], out: &mut Replies) {
        for (id, member) in &mut self.members {
            let share = assignments.iter().find(|(assigned, _)| assigned == id);
            member.assignment = share.map(|(_, bytes)| bytes.clone()).unwrap_or_default();
        }
        self.phase = Phase::Stable;
        let mut waiting = Vec::new();
        for (id, member) in &mut self.members {
            if let Some(request) = member.syncing.take() {
                member.expires = now + member.session_timeout;
                waiting.push((request, id.clone()));
            }
        }
        self.settle();
        out.extend(waiting.into_iter().map(|(request, id)| (request, self.share_of(&id))));
    }

    fn share_of(&self, member: &Text) -> Answer {
        let assignment = self.members.get(member).map(|member| member.assignment.clone()).unwrap_or_default();
        let synced = Synced {
            protocol_type: self.protocol_type(),
            protocol: self.protocol.clone().unwrap_or_default(),
            assignment,
        };
        SyncGroupAnswer { outcome: Ok(synced) }.into()
    }

    /// Takes a heartbeat.
    pub(crate) fn heartbeat(&mut self, now: Time, request: &HeartbeatRequest) -> Result<(), ErrorCode> {
        self.check_member(&request.member, request.instance.as_ref())?;
        if request.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        match self.phase {
            Phase::Empty => return Err(ErrorCode::UnknownMemberId),
            Phase::Preparing { .. } | Phase::Completing | Phase::Stable => self.renew(now, &request.member),
        }
        match self.phase {
            Phase::Preparing { .. } => Err(ErrorCode::RebalanceInProgress),
            Phase::Empty | Phase::Completing | Phase::Stable => Ok(()),
        }
    }
}
