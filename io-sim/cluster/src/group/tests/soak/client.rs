//! A member: a small program that looks for its coordinator, joins, syncs (the leader shares out), sends heartbeats,
//! commits, and joins again when it is told to. It may leave, die without a word, get stuck, or linger as a ghost.

use evenkeel_core::error::ErrorCode;

use super::truth::{read_share, write_share};
use super::*;

#[derive(Debug, Clone)]
pub(super) enum Life {
    Away,
    /// It is about to join: it knows no coordinator yet, or this one is loading.
    Looking,
    Joining(RequestId),
    Syncing(RequestId, Generation),
    /// It has joined and sends heartbeats, but neither syncs nor joins again.
    Stuck(Generation),
    Member {
        generation: Generation,
        share: Vec<u8>,
        /// When the next heartbeat is due.
        next: Time,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Client {
    instance: Option<Text>,
    takes_id_first: bool,
    may_skip_assignment: bool,
    /// Its member id; empty before it has one.
    pub(super) id: Text,
    coordinator: Option<i32>,
    /// Whether it shared out its generation.
    leads: bool,
    pub(super) life: Life,
    /// The generation and the share that it had before, for what it sends late.
    before: Option<(Generation, Vec<u8>)>,
    /// Whether it may be told that it is not known: it was slow, or the coordinator has forgotten.
    pub(super) is_excused: bool,
}

/// A former self of a member that does not know that it is over.
#[derive(Debug, Clone)]
pub(super) struct Ghost {
    id: Text,
    instance: Option<Text>,
    generation: Generation,
    share: Vec<u8>,
    wakes: Time,
}

impl Client {
    pub(super) fn new(nth: usize) -> Self {
        Self {
            instance: nth.is_multiple_of(4).then(|| format!("i{nth}").into()),
            takes_id_first: nth.is_multiple_of(3),
            may_skip_assignment: nth.is_multiple_of(8),
            id: Text::default(),
            coordinator: None,
            leads: false,
            life: Life::Away,
            before: None,
            is_excused: false,
        }
    }
}

impl World {
    /// What one member does in a step.
    pub(super) fn turn(&mut self, nth: usize, may_change: bool) {
        if may_change && self.meets_its_fate(nth) {
            return;
        }
        let (now, is_static) = (self.now, self.clients[nth].instance.is_some());
        let life = match self.clients[nth].life.clone() {
            // Static members are restarted at once, by and large.
            Life::Away if may_change && self.chance(if is_static { 800 } else { 80 }) => self.begin(nth),
            Life::Away => Life::Away,
            Life::Looking => self.join(nth),
            Life::Joining(request) => self.joined(nth, request, may_change),
            Life::Syncing(request, generation) => self.synced(nth, request, generation),
            Life::Member { next, .. } if next > now => return,
            Life::Member { generation, share, .. } => {
                if self.chance(3_000) {
                    self.commit(nth, generation, &share);
                }
                if self.chance(1_000) {
                    self.send_late(nth, generation);
                }
                match self.heartbeat(nth, generation) {
                    Ok(()) => Life::Member { generation, share, next: now + HEARTBEAT },
                    Err(code) => {
                        self.clients[nth].before = Some((generation, share.clone()));
                        self.again(nth, code, Life::Member { generation, share, next: now + STEP })
                    }
                }
            }
            Life::Stuck(generation) => match self.heartbeat(nth, generation) {
                Ok(()) | Err(ErrorCode::RebalanceInProgress) => Life::Stuck(generation),
                Err(code) => {
                    if code == ErrorCode::UnknownMemberId {
                        self.see("a member never synced and was thrown out");
                    }
                    self.again(nth, code, Life::Stuck(generation))
                }
            },
        };
        self.clients[nth].life = life;
    }

    /// Whether it dies, leaves, or becomes a ghost just now.
    fn meets_its_fate(&mut self, nth: usize) -> bool {
        let life = self.clients[nth].life.clone();
        if matches!(life, Life::Away) {
            return false;
        }
        let Client { leads, instance, .. } = &self.clients[nth];
        // A static leader that comes back is a case of its own, and there is only one leader.
        let ghosts_below = if *leads && instance.is_some() { 800 } else { 26 };
        match self.entropy.below(10_000) {
            // It dies without a word; its connection may be seen to break.
            0..8 => {
                if let (Life::Joining(request) | Life::Syncing(request, _), 0) =
                    (&life, self.entropy.below(2))
                {
                    self.cancel(*request);
                }
                self.clients[nth].life = Life::Away;
                true
            }
            8..16 if matches!(life, Life::Member { .. }) => {
                self.leave(nth);
                self.clients[nth].life = Life::Away;
                true
            }
            fate if fate < ghosts_below && matches!(life, Life::Member { .. }) => {
                let Life::Member { generation, share, .. } = life else { return false };
                let Client { id, instance, .. } = self.clients[nth].clone();
                let wakes = self.now + Duration::from_secs(u64::from(self.entropy.below(40)));
                self.ghosts.push(Ghost { id, instance, generation, share, wakes });
                self.clients[nth].life = Life::Away;
                true
            }
            // Its connection breaks, and it asks the same again.
            26..60 => {
                let Life::Joining(request) = life else { return false };
                if !self.open.contains_key(&request) {
                    return false;
                }
                self.see("a parked request was given up");
                self.cancel(request);
                self.clients[nth].life = self.join(nth);
                true
            }
            _ => false,
        }
    }

    /// A new life.
    fn begin(&mut self, nth: usize) -> Life {
        self.clients[nth].id = Text::default();
        self.clients[nth].is_excused = false;
        self.join(nth)
    }

    fn join(&mut self, nth: usize) -> Life {
        if self.clients[nth].coordinator.is_none() {
            self.clients[nth].coordinator = self.coordinator();
        }
        let client = self.clients[nth].clone();
        let Some(coordinator) = client.coordinator else { return Life::Looking };
        let request = JoinGroupRequest {
            group: "g".into(),
            session_timeout: SESSION,
            rebalance_timeout: REBALANCE,
            member: client.id.clone(),
            instance: client.instance.clone(),
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), bytes::Bytes::from_static(b"wants"))],
            takes_id_first: client.takes_id_first,
            may_skip_assignment: client.may_skip_assignment,
        };
        let before = client.instance.as_ref().and_then(|instance| self.truth.id_of(instance));
        let request = self.ask(coordinator, request);
        if client.id.is_empty() && self.open.contains_key(&request) {
            // Its old self is fenced from now on, though the next generation is still to come.
            before.into_iter().for_each(|old| self.truth.retire(&old));
        } else if client.id.is_empty() && before.is_some() && self.is_joined(request) {
            self.see("a static member came back without a rebalance");
        }
        Life::Joining(request)
    }

    fn is_joined(&self, request: RequestId) -> bool {
        let outcome = self.outcomes.get(&request).and_then(Option::as_ref);
        matches!(outcome, Some(Answer::JoinGroup(answer)) if answer.outcome.is_ok())
    }

    fn joined(&mut self, nth: usize, request: RequestId, may_change: bool) -> Life {
        let Some(outcome) = self.outcomes.remove(&request) else { return Life::Joining(request) };
        let Some(Answer::JoinGroup(answer)) = outcome else { return self.hung_up(nth) };
        match answer.outcome {
            Ok(joined) => {
                self.clients[nth].id = answer.member;
                if may_change && self.chance(100) {
                    self.clients[nth].is_excused = true;
                    return Life::Stuck(joined.generation);
                }
                self.sync(nth, &joined)
            }
            Err(ErrorCode::MemberIdRequired) => {
                self.see("an id came first");
                self.clients[nth].id = answer.member;
                self.join(nth)
            }
            Err(code) => self.again(nth, code, Life::Looking),
        }
    }

    fn sync(&mut self, nth: usize, joined: &Joined) -> Life {
        let Client { id, instance, coordinator, .. } = self.clients[nth].clone();
        let Some(coordinator) = coordinator else { return self.join(nth) };
        let mut assignments = Vec::new();
        self.clients[nth].leads = joined.leader == id;
        if joined.skip_assignment {
            self.see("a leader came back without a rebalance");
        } else if joined.leader == id {
            self.see("a generation was led");
            let (count, number) = (joined.members.len(), self.next as u32);
            let share = |place| (0..PARTITIONS).filter(move |p| usize::from(*p) % count == place);
            for (place, member) in joined.members.iter().enumerate() {
                assignments
                    .push((member.member.clone(), write_share(joined.generation, number, share(place))));
            }
        }
        let request = SyncGroupRequest {
            group: "g".into(),
            generation: joined.generation,
            member: id,
            instance,
            protocol_type: Some("consumer".into()),
            protocol: Some("range".into()),
            assignments,
        };
        Life::Syncing(self.ask(coordinator, request), joined.generation)
    }

    fn synced(&mut self, nth: usize, request: RequestId, generation: Generation) -> Life {
        let Some(outcome) = self.outcomes.remove(&request) else { return Life::Syncing(request, generation) };
        let Some(Answer::SyncGroup(answer)) = outcome else { return self.hung_up(nth) };
        match answer.outcome {
            Ok(synced) => {
                self.see("a share was given");
                let (.., share) = read_share(&synced.assignment).expect("the truth has read it");
                self.clients[nth].is_excused = false;
                Life::Member { generation, share, next: self.now + HEARTBEAT }
            }
            Err(code) => {
                if code == ErrorCode::RebalanceInProgress {
                    self.see("a sync was turned away");
                }
                self.again(nth, code, Life::Looking)
            }
        }
    }

    /// What to do about a refusal. `same` is what it does if nothing is wrong with it.
    fn again(&mut self, nth: usize, code: ErrorCode, same: Life) -> Life {
        let client = &mut self.clients[nth];
        match code {
            ErrorCode::RebalanceInProgress => {
                self.see("a rebalance was told of");
                self.join(nth)
            }
            ErrorCode::NotCoordinator => {
                client.coordinator = None;
                same
            }
            ErrorCode::CoordinatorLoadInProgress => {
                self.see("a coordinator was still loading");
                same
            }
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration | ErrorCode::FencedInstanceId => {
                assert!(client.is_excused, "{client:?} did all that it must and is told {code:?}");
                self.begin(nth)
            }
            other => panic!("{} is told {other:?}", client.id),
        }
    }

    /// The broker is dead.
    fn hung_up(&mut self, nth: usize) -> Life {
        self.clients[nth].coordinator = None;
        Life::Looking
    }

    fn heartbeat(&mut self, nth: usize, generation: Generation) -> Result<(), ErrorCode> {
        if self.clients[nth].coordinator.is_none() {
            self.clients[nth].coordinator = self.coordinator();
        }
        let Client { id, instance, coordinator, .. } = self.clients[nth].clone();
        let Some(coordinator) = coordinator else { return Err(ErrorCode::NotCoordinator) };
        let request = HeartbeatRequest { group: "g".into(), generation, member: id, instance };
        match self.ask_now(coordinator, request) {
            Some(Answer::Heartbeat(answer)) => answer.outcome,
            Some(other) => panic!("{other:?}"),
            None => Err(ErrorCode::NotCoordinator),
        }
    }

    fn leave(&mut self, nth: usize) {
        let Client { id, instance, coordinator, .. } = self.clients[nth].clone();
        if let Some(coordinator) = coordinator {
            let members = vec![LeavingMember { member: id, instance }];
            self.ask_now(coordinator, LeaveGroupRequest { group: "g".into(), members });
        }
    }

    fn commit(&mut self, nth: usize, generation: Generation, share: &[u8]) {
        let Client { id, instance, coordinator, .. } = self.clients[nth].clone();
        if let Some(coordinator) = coordinator {
            let outcome = self.commit_as(coordinator, id, instance, generation, share);
            if outcome == Some(Ok(())) {
                self.see("a commit was accepted");
            }
        }
    }

    /// A sync and a commit of its last generation that were on their way all the time, and come under its present id.
    fn send_late(&mut self, nth: usize, generation: Generation) {
        let Client { id, instance, coordinator, before, .. } = self.clients[nth].clone();
        if let (Some(coordinator), Some((late, share))) = (coordinator, before)
            && late < generation
        {
            self.sync_as(coordinator, &id, instance.as_ref(), late);
            if let Some(Err(_)) = self.commit_as(coordinator, id, instance, late, &share) {
                self.see("a late commit was refused");
            }
        }
    }

    /// A sync that shares everything out to one member. If it is taken the truth will see it.
    fn sync_as(&mut self, coordinator: i32, member: &Text, instance: Option<&Text>, generation: Generation) {
        let sync = SyncGroupRequest {
            group: "g".into(),
            generation,
            member: member.clone(),
            instance: instance.cloned(),
            protocol_type: None,
            protocol: None,
            assignments: vec![(member.clone(), write_share(generation, u32::MAX, 0..PARTITIONS))],
        };
        self.ask(coordinator, sync);
    }

    /// What came of the first partition's commit; `None` if there is no partition or no answer.
    fn commit_as(
        &mut self,
        coordinator: i32,
        member: Text,
        instance: Option<Text>,
        generation: Generation,
        share: &[u8],
    ) -> Option<Result<(), ErrorCode>> {
        let offset = Offset(self.next as i64);
        let commit = |partition: &u8| CommitPartition {
            partition: PartitionId(i32::from(*partition)),
            offset,
            leader_epoch: None,
            metadata: None,
        };
        let topic = OfTopic { topic: "t".into(), partitions: share.iter().map(commit).collect() };
        let request =
            CommitOffsetsRequest { group: "g".into(), generation, member, instance, topics: vec![topic] };
        match self.ask_now(coordinator, request)? {
            Answer::CommitOffsets(answer) => answer.topics.first()?.partitions.first().map(|told| told.1),
            other => panic!("{other:?}"),
        }
    }

    /// Ghosts whose time has come do what their members did. Whether they may is for the truth to say.
    pub(super) fn wake_ghosts(&mut self) {
        let now = self.now;
        let awake: Vec<_> = self.ghosts.extract_if(.., |ghost| ghost.wakes <= now).collect();
        for Ghost { id, instance, generation, share, .. } in awake {
            let Some(coordinator) = self.coordinator() else { continue };
            let committed = self.commit_as(coordinator, id.clone(), instance.clone(), generation, &share);
            if matches!(committed, Some(Err(_))) {
                self.see("a ghost's commit was refused");
            }
            self.sync_as(coordinator, &id, instance.as_ref(), generation);
            let heartbeat = HeartbeatRequest { group: "g".into(), generation, member: id, instance };
            if let Some(Answer::Heartbeat(answer)) = self.ask_now(coordinator, heartbeat) {
                match answer.outcome {
                    Err(ErrorCode::FencedInstanceId) => self.see("a ghost was fenced"),
                    Err(ErrorCode::UnknownMemberId) => self.see("a ghost was unknown"),
                    Ok(()) | Err(_) => {}
                }
            }
        }
    }
}
