//! Laws over any sequence of inputs, sensible or not.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Strategy;

use super::*;

/// Something that happens to a member.
#[derive(Debug, Clone)]
enum Event {
    /// One of the requests that are out succeeds.
    Succeed(usize),
    /// One of them fails.
    Refuse(usize, PortError),
    /// One of them succeeds with nonsense.
    Confuse(usize, Vec<u8>),
    /// Something comes that nobody asked for.
    Stray(Input),
    /// The owner releases what it was last told to.
    Release,
    Pass(u64),
    Sleep,
}

fn any_error(codes: Vec<ErrorCode>) -> impl Strategy<Value = PortError> {
    let (server, cause) = (Arc::<str>::from("broker 1"), Arc::<str>::from("cut"));
    let mut errors: Vec<PortError> = codes.into_iter().map(refused).collect();
    errors.push(PortError::Unreachable { server: server.clone(), cause: cause.clone() });
    errors.push(PortError::Malformed { server, cause });
    errors.push(unknown());
    proptest::sample::select(errors)
}

fn any_code(mortal: bool) -> Vec<ErrorCode> {
    let all = ErrorCode::ALL.iter().copied();
    all.filter(|code| mortal || code.remedy() != Remedy::GiveUp).collect()
}

fn any_stray(mortal: bool) -> impl Strategy<Value = Input> {
    let codes = any_code(mortal);
    let id = || (0u64..60).prop_map(RequestId);
    let mut strays = vec![
        Just(Input::Start).boxed(),
        Just(Input::PartitionsCounted(BTreeMap::from([(topic("t"), 4)]))).boxed(),
        id().prop_map(|id| Input::CoordinatorFound { id, outcome: Ok(BrokerId(4)) }).boxed(),
        id().prop_map(|id| Input::Joined { id, outcome: Ok(generation(3, "m1")) }).boxed(),
        id().prop_map(|id| Input::TopicsDescribed { id, outcome: Ok(BTreeMap::new()) }).boxed(),
        id().prop_map(|id| Input::Synced { id, outcome: Ok(Bytes::new()) }).boxed(),
        id().prop_map(|id| Input::HeartbeatDone { id, outcome: Ok(()) }).boxed(),
        id().prop_map(|id| Input::Left { id, outcome: Ok(()) }).boxed(),
        id().prop_map(|id| Input::Released { id }).boxed(),
        (0..8, proptest::sample::select(codes))
            .prop_map(|(generation, code)| Input::CommitRefused { generation: Generation(generation), code })
            .boxed(),
    ];
    if mortal {
        strays.push(Just(Input::Stop).boxed());
    }
    proptest::strategy::Union::new(strays)
}

fn any_events(mortal: bool) -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        12 => any::<usize>().prop_map(Event::Succeed),
        4 => (any::<usize>(), any_error(any_code(mortal))).prop_map(|(which, error)| Event::Refuse(which, error)),
        1 => (any::<usize>(), vec(any::<u8>(), 0..12)).prop_map(|(which, noise)| Event::Confuse(which, noise)),
        3 => any_stray(mortal).prop_map(Event::Stray),
        2 => Just(Event::Release),
        2 => (0u64..20_000).prop_map(Event::Pass),
        6 => Just(Event::Sleep),
    ];
    vec(event, 0..120)
}

/// What the owner of a member's partitions knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Nothing,
    Partitions,
    Draining,
}

/// A member, and a driver that watches whether it keeps the laws.
struct Watched {
    group: Group,
    now: Time,
    generation: i32,
    owner: Owner,
    revoked: Option<RequestId>,
    /// The generation in which a share was asked for and not given up.
    syncing: Option<Generation>,
    /// Requests to servers that were not answered.
    out: Vec<Action>,
    /// The membership request that the member waits for.
    awaited: Option<RequestId>,
    stopped: bool,
}

impl Watched {
    fn new() -> Self {
        let mut watched = Self {
            group: Group::new(config(), Entropy::new(3)),
            now: Time::ZERO,
            generation: 0,
            owner: Owner::Nothing,
            revoked: None,
            syncing: None,
            out: Vec::new(),
            awaited: None,
            stopped: false,
        };
        watched.input(Input::Start);
        watched
    }

    fn input(&mut self, input: Input) {
        // What is out no longer matters once the member goes another way.
        if matches!(input, Input::Stop | Input::Released { .. }) {
            self.awaited = None;
        }
        if let Input::Joined { id, .. }
        | Input::Synced { id, .. }
        | Input::HeartbeatDone { id, .. }
        | Input::Left { id, .. } = &input
            && self.awaited == Some(*id)
        {
            self.awaited = None;
        }
        self.group.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        let mut steps = 0;
        while let Some(action) = self.group.poll() {
            steps += 1;
            assert!(steps <= 8, "one input leads to a few actions");
            assert!(!self.stopped, "{action:?} after it stopped");
            match &action {
                Action::Assigned { .. } => {
                    assert_eq!(self.owner, Owner::Nothing, "assigned before the last assignment ended");
                    self.owner = Owner::Partitions;
                }
                Action::Revoke { id } => {
                    assert_eq!(self.owner, Owner::Partitions, "revoked what is not owned");
                    self.owner = Owner::Draining;
                    self.revoked = Some(*id);
                }
                Action::Lost => {
                    assert_ne!(self.owner, Owner::Nothing, "lost what is not owned");
                    self.owner = Owner::Nothing;
                    self.revoked = None;
                    self.awaited = None;
                }
                Action::Moved { .. } => {
                    assert_ne!(self.owner, Owner::Nothing, "moved without a membership");
                    self.awaited = None;
                }
                Action::Join { id, .. } | Action::Sync { id, .. } | Action::Leave { id, .. } => {
                    self.syncing = match &action {
                        Action::Sync { request, .. } => Some(request.generation),
                        _ => None,
                    };
                    assert_eq!(self.owner, Owner::Nothing, "{action:?} while partitions are owned");
                    assert_eq!(self.awaited.replace(*id), None, "{action:?} beside another request");
                }
                Action::Heartbeat { id, request, .. } => {
                    let is_confirming = self.syncing == Some(request.generation);
                    assert!(
                        self.owner != Owner::Nothing || is_confirming,
                        "a heartbeat without a membership"
                    );
                    assert_eq!(self.awaited.replace(*id), None, "{action:?} beside another request");
                }
                Action::Stopped => {
                    assert_eq!(self.owner, Owner::Nothing, "stopped while partitions are owned");
                    self.stopped = true;
                }
                Action::Failed { error } => assert_eq!(error.remedy(), Remedy::GiveUp),
                Action::FindCoordinator { .. } | Action::DescribeTopics { .. } => {}
            }
            if request_id(&action).is_some() && !matches!(action, Action::Revoke { .. }) {
                self.out.push(action);
            }
        }
    }

    fn tick(&mut self) {
        self.group.tick(self.now);
        self.drain();
        assert!(self.group.deadline().is_none_or(|next| next > self.now), "still due after a tick");
    }

    fn release(&mut self) {
        if let Some(id) = self.revoked.take() {
            self.owner = Owner::Nothing;
            self.input(Input::Released { id });
        }
    }

    fn take(&mut self, which: usize) -> Option<Action> {
        (!self.out.is_empty()).then(|| self.out.remove(which % self.out.len()))
    }

    fn succeed(&mut self, action: &Action) {
        let input = match action {
            Action::FindCoordinator { id } => Input::CoordinatorFound { id: *id, outcome: Ok(BrokerId(1)) },
            Action::Join { id, request, .. } if request.member.0.is_empty() => Input::Joined {
                id: *id,
                outcome: Err((refused(ErrorCode::MemberIdRequired), member_id("m1"))),
            },
            Action::Join { id, request, .. } => {
                self.generation += 1;
                let leader = if self.generation % 3 == 0 { "m2" } else { &request.member.0 };
                Input::Joined { id: *id, outcome: Ok(generation(self.generation, leader)) }
            }
            Action::DescribeTopics { id, .. } => {
                Input::TopicsDescribed { id: *id, outcome: Ok(BTreeMap::from([(topic("t"), 3)])) }
            }
            Action::Sync { id, .. } => {
                Input::Synced { id: *id, outcome: Ok(assignment(&[partition("t", 0)])) }
            }
            Action::Heartbeat { id, .. } => Input::HeartbeatDone { id: *id, outcome: Ok(()) },
            Action::Leave { id, .. } => Input::Left { id: *id, outcome: Ok(()) },
            other => panic!("{other:?} is no request to a server"),
        };
        self.input(input);
    }

    fn confuse(&mut self, action: &Action, noise: &[u8]) {
        let text: Arc<str> = String::from_utf8_lossy(noise).into();
        let bytes = Bytes::copy_from_slice(noise);
        let input = match action {
            Action::Join { id, .. } => {
                let protocol = if noise.len().is_multiple_of(2) { "range".into() } else { text.clone() };
                let member = MemberId(text);
                let known = JoinMember { member: member.clone(), instance: None, metadata: bytes };
                let members = vec![known.clone(), known];
                let generation = Generation(-1);
                let answer = JoinAnswer { generation, protocol, leader: member.clone(), member, members };
                Input::Joined { id: *id, outcome: Ok(answer) }
            }
            Action::DescribeTopics { id, .. } => {
                Input::TopicsDescribed { id: *id, outcome: Ok(BTreeMap::from([(topic("stranger"), 3)])) }
            }
            Action::Sync { id, .. } => Input::Synced { id: *id, outcome: Ok(bytes) },
            Action::FindCoordinator { id } => Input::CoordinatorFound { id: *id, outcome: Ok(BrokerId(-1)) },
            other => refusal(other, unknown()).expect("only requests are out"),
        };
        self.input(input);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Succeed(which) => {
                if let Some(action) = self.take(which) {
                    self.succeed(&action);
                }
            }
            Event::Refuse(which, error) => {
                if let Some(action) = self.take(which) {
                    self.input(refusal(&action, error).expect("only requests are out"));
                }
            }
            Event::Confuse(which, noise) => {
                if let Some(action) = self.take(which) {
                    self.confuse(&action, &noise);
                }
            }
            Event::Stray(Input::Released { id }) if self.revoked == Some(id) => self.release(),
            Event::Stray(input) => self.input(input),
            Event::Release => self.release(),
            Event::Pass(millis) => {
                self.now = self.now + Duration::from_millis(millis);
                self.tick();
            }
            Event::Sleep => {
                if let Some(deadline) = self.group.deadline() {
                    self.now = self.now.max(deadline);
                    self.tick();
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_inputs_break_the_laws(events in any_events(true)) {
        let mut watched = Watched::new();
        for event in events {
            watched.happen(event);
        }
    }

    #[test]
    fn once_all_goes_well_it_becomes_stable(events in any_events(false)) {
        let mut watched = Watched::new();
        for event in events {
            watched.happen(event);
        }
        let mut good_heartbeats = 0;
        for _ in 0..200 {
            if watched.owner == Owner::Nothing {
                good_heartbeats = 0;
            }
            if watched.owner == Owner::Draining {
                watched.release();
            } else if let Some(action) = watched.take(0) {
                good_heartbeats += u32::from(matches!(action, Action::Heartbeat { .. }));
                watched.succeed(&action);
            } else {
                watched.happen(Event::Sleep);
            }
        }
        prop_assert_eq!(watched.owner, Owner::Partitions);
        prop_assert!(good_heartbeats > 20, "{} heartbeats in 200 steps", good_heartbeats);
        prop_assert!(watched.out.len() <= 1);
    }

    #[test]
    fn a_member_without_answers_waits(events in any_events(false)) {
        let mut watched = Watched::new();
        for event in events {
            watched.happen(event);
        }
        let before = watched.out.len();
        for _ in 0..200 {
            watched.happen(Event::Sleep);
        }
        prop_assert!(watched.out.len() - before <= 3, "{:?} were sent for nothing", &watched.out[before..]);
    }

    #[test]
    fn stopping_comes_to_an_end(events in any_events(true)) {
        let mut watched = Watched::new();
        for event in events {
            watched.happen(event);
        }
        if !watched.stopped {
            watched.input(Input::Stop);
        }
        for _ in 0..40 {
            watched.release();
            if let Some(action) = watched.take(0) {
                watched.input(refusal(&action, unknown()).expect("only requests are out"));
            }
        }
        prop_assert!(watched.stopped);
        prop_assert_eq!(watched.group.deadline(), None);
    }
}
