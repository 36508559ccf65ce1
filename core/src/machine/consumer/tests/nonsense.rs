//! Whatever comes in, the machine stays sane (R2).

use proptest::prelude::*;

use super::*;

const CODES: [ErrorCode; 6] = [
    ErrorCode::OffsetOutOfRange,
    ErrorCode::NotLeaderOrFollower,
    ErrorCode::UnknownServerError,
    ErrorCode::OffsetMetadataTooLarge,
    ErrorCode::IllegalGeneration,
    ErrorCode::NotCoordinator,
];

/// Draws anything at all, of a few ids, partitions and offsets, so that some of it fits by chance.
struct Anything(Entropy);

impl Anything {
    fn below(&mut self, bound: u32) -> u32 {
        self.0.below(bound)
    }

    fn at(&mut self) -> TopicPartition {
        let name = ["orders", "refunds", "strange"][self.below(3) as usize];
        TopicPartition { topic: topic(name), partition: PartitionId(self.below(4) as i32 - 1) }
    }

    fn offset(&mut self) -> Offset {
        match self.below(12) {
            0 => Offset(i64::MAX),
            1 => Offset(i64::MIN),
            2 => Offset(-1),
            _ => Offset(i64::from(self.below(30))),
        }
    }

    fn id(&mut self, newest: u64) -> RequestId {
        RequestId((newest + 1).saturating_sub(u64::from(self.below(5))))
    }

    fn code(&mut self) -> ErrorCode {
        CODES[self.below(6) as usize]
    }

    fn maybe<T>(&mut self, value: T) -> Result<T, PortError> {
        match self.below(6) {
            0 => Err(unknown()),
            1 => Err(PortError::Refused(self.code())),
            _ => Ok(value),
        }
    }

    fn many<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| one(self)).collect()
    }

    fn input(&mut self, newest: u64, now: Time) -> Input<Offset> {
        let id = self.id(newest);
        let membership = Membership {
            generation: Generation(self.below(3) as i32 - 1),
            member: MemberId::default(),
            instance: None,
            coordinator: BrokerId(self.below(3) as i32 - 1),
        };
        match self.below(20) {
            0 => Input::Assigned { membership, partitions: self.many(Self::at) },
            1 => Input::Moved(membership),
            2 => Input::Revoke {
                until: Time::from_millis(now.as_nanos() / 1_000_000 + u64::from(self.below(9))),
            },
            3 if self.below(3) == 0 => Input::Revoke { until: Time::MAX },
            3 => Input::Lost,
            4..7 => {
                let stored = self.many(|any| {
                    let metadata: Arc<str> = ["", "nonsense", "4QE"][any.below(3) as usize].into();
                    let stored = StoredOffset { offset: any.offset(), leader_epoch: None, metadata };
                    let outcome = if any.below(4) == 0 { Err(any.code()) } else { Ok(Some(stored)) };
                    (any.at(), if any.below(4) == 0 { Ok(None) } else { outcome })
                });
                Input::Committed { id, outcome: self.maybe(stored) }
            }
            7..9 => {
                let leaders: Vec<i32> = self.many(|any| any.below(4) as i32);
                let metadata = described(&[("orders", &leaders), ("refunds", &[1]), ("strange", &[2])]);
                Input::Described { id, outcome: self.maybe(metadata) }
            }
            9..11 => {
                let listed = self.many(|any| {
                    let leader_epoch = (any.below(2) == 0).then(|| LeaderEpoch(any.below(9) as i32));
                    let found = FoundOffset { offset: any.offset(), leader_epoch };
                    let outcome = if any.below(3) == 0 { Err(any.code()) } else { Ok(Some(found)) };
                    ListedOffset { at: any.at(), outcome }
                });
                Input::Listed { id, outcome: self.maybe(listed) }
            }
            11..15 => {
                let answers = self
                    .many(|any| (any.at(), if any.below(5) == 0 { Err(any.code()) } else { Ok(any.read()) }));
                Input::Fetched { id, outcome: self.maybe(answers) }
            }
            15..18 => {
                let call = CallId(u64::from(self.below(20)) << 32 | u64::from(self.below(6)));
                Input::Finished {
                    call,
                    outcome: Outcome::ALL[self.below(10) as usize],
                    waited: Duration::ZERO,
                }
            }
            _ => {
                let outcomes = self.many(|any| if any.below(3) == 0 { Err(any.code()) } else { Ok(()) });
                Input::CommitDone { id, outcome: self.maybe(outcomes) }
            }
        }
    }

    fn read(&mut self) -> Read<Offset> {
        let records = self.many(|any| {
            let offset = any.offset();
            let weight = [0, 10, u32::MAX][any.below(3) as usize];
            Arrival { offset, key: Some(u64::from(any.below(2))), weight, leader_epoch: None, record: offset }
        });
        let fault = match self.below(6) {
            0 => Some(ReadFault::TooSmall([0, 100, u32::MAX][self.below(3) as usize])),
            1 => Some(ReadFault::Undecodable("bad".into())),
            _ => None,
        };
        Read { records, next: self.offset(), leader_epoch: None, high_watermark: self.offset(), fault }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn nothing_that_comes_in_makes_the_machine_panic_or_loop(seed: u64) {
        let mut any = Anything(Entropy::new(seed));
        let mut config = shop();
        config.topics.push(topic("refunds"));
        config.handlers.push(handler("ship", 0, OnFailure::Discard));
        config.handlers.push(handler("refund", 1, OnFailure::Discard));
        config.handlers[1].batch = number(3);
        config.handlers[2].ordering = Ordering::Partition;
        config.window_events = 8;
        let mut machine: Consumer<Offset> = Consumer::new(config, Entropy::new(seed));
        let mut now = Time::ZERO;
        let mut polled = 0;
        for step in 0..300u64 {
            if any.below(3) == 0 {
                now = now + Duration::from_millis(u64::from(any.below(3_000)));
                machine.tick(now);
            } else {
                let input = any.input(machine.last_request, now);
                machine.handle(now, input);
            }
            while machine.poll().is_some() {
                polled += 1;
                prop_assert!(polled < 60 * (step + 10), "a flood of actions");
            }
            machine.tick(now);
            while machine.poll().is_some() {}
            machine.check();
            prop_assert!(machine.deadline().is_none_or(|at| at > now), "still due after a tick");
        }
    }
}
