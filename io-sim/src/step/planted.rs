//! Bugs to be found: what a run is worth is shown by what it finds.
//!
//! Each distorts what passes between the machines and the world: an input, an action, a setting, a claim. The machines
//! themselves are those of production, and a run without a planted bug takes none of these ways. Each has a class, which
//! says in how many seeds it must be found at the median.

mod distort;

pub(super) use distort::{Memory, distort_backoff, distort_key, distort_settings};

/// In how many seeds a bug must be found, at the median.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Twenty.
    A,
    /// Three hundred.
    B,
    /// Five thousand.
    C,
}

impl Class {
    /// The number of seeds.
    #[must_use]
    pub const fn bound(self) -> u64 {
        match self {
            Self::A => 20,
            Self::B => 300,
            Self::C => 5_000,
        }
    }
}

macro_rules! bugs {
    ($($(#[doc = $doc:literal])* $name:ident $class:ident $text:literal,)*) => {
        /// A bug to be found.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Planted {
            $($(#[doc = $doc])* $name,)*
        }

        impl Planted {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Whether a run shows it. If not, two must be compared.
            #[must_use]
            pub const fn shows_in_one_run(self) -> bool {
                !matches!(self, Self::OthersWaitForRetry)
            }

            /// How soon it must be found.
            #[must_use]
            pub const fn class(self) -> Class {
                match self {
                    $(Self::$name => Class::$class,)*
                }
            }

            /// The bug of a name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|bug| bug.name() == name)
            }
        }
    };
}

bugs! {
    /// Commits are keyed by partition number only: of two topics the last one counts.
    CommitsByPartitionNumber A "commits-by-partition-number",
    /// What is committed is behind the highest settled offset, not the lowest unsettled one.
    HighestSettled A "highest-settled-committed",
    /// The last settled offset is committed, not the next one.
    LastNotNext A "last-not-next-committed",
    /// The offset after the next one is committed.
    OneTooFar A "one-too-far-committed",
    /// An event is settled when the first of two handlers is done.
    FirstHandlerSettles A "first-handler-settles",
    /// A panic counts as success.
    PanicIsSuccess A "panic-is-success",
    /// An event that cannot be decoded counts as handled.
    UndecodableIsSuccess B "undecodable-is-success",
    /// A COMMIT whose outcome is unknown counts as success.
    UnknownCommitIsSuccess B "unknown-commit-is-success",
    /// What was claimed before is handled again.
    ClaimIgnored A "claim-ignored",
    /// Claim and effect commit in different transactions.
    ClaimApart A "claim-apart-from-effect",
    /// A claim is about the event alone, whoever handles it.
    ClaimWithoutHandler A "claim-without-handler",
    /// Claims are pruned before a late redelivery.
    ClaimPruned B "claim-pruned-early",
    /// The machine is told that a handler is done when it begins.
    DoneBeforeTheHandler A "done-before-the-handler",
    /// One event that fails holds its whole batch.
    BatchHeld B "batch-held-by-one",
    /// While an event waits for another attempt, new events of its handler wait as well.
    OthersWaitForRetry A "others-wait-for-a-retry",
    /// A failed event waits in the background and its lane goes on.
    RetryBeside A "retry-beside-the-lane",
    /// Work that is revoked before it began is committed.
    UnstartedCommitted B "unstarted-committed",
    /// A shutdown commits what is still in flight.
    InFlightCommitted B "in-flight-committed",
    /// An assignment that ends with something undone says nothing of it.
    UndoneUntold B "undone-untold",
    /// The late answer to a commit is taken for that of the next one.
    LateCommitAnswer C "late-commit-answer",
    /// A commit of a lost assignment is sent again under the next generation.
    CommitOfLostAssignment B "commit-of-lost-assignment",
    /// What was known of a partition before it was revoked is used when it returns.
    OldEpochReused B "old-epoch-reused",
    /// A retry survives the assignment it belongs to.
    RetrySurvives B "retry-survives-revoke",
    /// The settled set is written for another offset.
    MetadataShifted A "metadata-shifted",
    /// The settled set is cut at its near end.
    MetadataCutNear B "metadata-cut-at-the-near-end",
    /// A position with metadata is taken for the last event, not the next.
    PositionSkipsOne B "position-skips-one",
    /// What is settled is taken to be settled for whatever handlers there are.
    SettledForOthers C "settled-set-of-other-handlers",
    /// A position whose metadata cannot be read is taken for the last event, not the next.
    UnreadableSkipsOne B "unreadable-metadata-skips-one",
    /// Nothing is committed any more after a few failures.
    CommitsEnd B "commits-end-after-failures",
    /// A partition that returns gets no fetch credit.
    CreditLost B "fetch-credit-lost",
    /// As long as one broker cannot be reached, nothing is fetched from the others.
    OneBrokerHoldsAll B "one-broker-holds-all",
    /// A record at a batch's beginning is passed over now and then.
    RecordSkipped A "record-skipped",
    /// A fetch does not say what was read before it, so that a log that was cut is not told apart.
    CutUnnoticed C "cut-unnoticed",
    /// A commit does not say which life of its topic it is of.
    CommitOfAnyLife C "commit-of-any-life",
    /// The leader gives its own partitions to the next member as well.
    SharedTwice A "shared-twice",
    /// A handler may run one more call than its limit.
    ConcurrencyExceeded A "concurrency-exceeded",
    /// A batch may have one more event than its limit.
    BatchExceeded A "batch-exceeded",
    /// A handler may have one more event open than its limit.
    OutstandingExceeded B "outstanding-exceeded",
    /// A member reads on whatever its window holds.
    WindowIgnored A "window-ignored",
    /// A producer's waits between attempts are begun anew by each look at the cluster.
    SendBackoffReset B "send-backoff-reset",
    /// A member's waits before it joins again are begun anew by each look for the coordinator.
    JoinBackoffReset B "join-backoff-reset",
    /// The pause before a retry is forgotten.
    NoBackoff A "no-backoff",
    /// A call is not cancelled at its limit.
    NoLimit A "no-attempt-limit",
    /// One attempt too few is made before an event is given up.
    GivenUpEarly B "given-up-early",
    /// What the database did counts as an attempt.
    WorldIsAttempt B "world-is-attempt",
    /// An append whose acknowledgement was lost counts as written.
    UnknownAppendIsWritten A "unknown-append-is-written",
    /// An append whose acknowledgement was lost counts as refused.
    UnknownAppendIsRefused A "unknown-append-is-refused",
    /// The events of a call are sent in reverse.
    SentInReverse A "sent-in-reverse",
}
