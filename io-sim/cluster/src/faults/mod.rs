//! Faults by plan: unchanged services meet a bad day over the real wire.
//!
//! # A bad day for your service
//!
//! The handlers, the bus, the drivers and their sockets are those of production. What they talk to misbehaves: brokers
//! that are [served](crate::serve), by `evenkeel broker --faults PLAN` or within a test by
//! [`DevClusterBuilder::faults`](crate::serve::DevClusterBuilder::faults); and the way to PostgreSQL, by `evenkeel proxy
//! --faults PLAN` or `evenkeel_proxy::Proxy`.
//!
//! ```sh
//! evenkeel broker --brokers 3 --faults bad-day.plan &
//! evenkeel proxy --listen 127.0.0.1:6432 --to 127.0.0.1:5432 --faults lost-commits.plan &
//! KAFKA=127.0.0.1:9092 DATABASE=postgres://postgres@127.0.0.1:6432/shop your-service
//! ```
//!
//! A plan is text:
//!
//! ```text
//! # bad-day.plan
//! seed 7
//! chance commit-applied 5%          # an offset commit is applied and its reply lost
//! chance reply-torn 2000ppm         # two in a thousand
//! at 3s kill-broker 2 down 1.5s
//! at 5s move-leader partition 0 to 3
//! storms of 2s every 20s            # ten times likelier in bursts, ten times rarer between them
//! quiet at 60s                      # without it they go on
//! ```
//!
//! or a seed that one is drawn from: `--faults seed=7`, or `seed=7,for=300s`. What a seed stands for is printed, so that
//! it can be kept as a file: a plan outlives the release that drew it.
//!
//! # The words
//!
//! | brokers: chances | what happens |
//! |---|---|
//! | `request-lost`, `reply-lost` | a request does not arrive, or has happened and is never answered; the connection goes silent and is reset after up to 10 s |
//! | `commit-applied`, `append-applied` | `reply-lost`, of offset commits and of produced batches alone |
//! | `append-timed-out` | batches are appended, and answered REQUEST_TIMED_OUT |
//! | `slow` | a request or its reply takes up to 10 s |
//! | `reset`, `reply-torn`, `refused` | a connection is reset under a request, in the middle of a reply, at once |
//! | `not-leader`, `coordinator-loading`, `not-coordinator`, `no-coordinator`, `rebalance-in-progress` | the error as an answer, where Kafka may give it |
//!
//! | brokers: strokes | what happens |
//! |---|---|
//! | `kill-broker N down TIME` | broker N dies and comes again at its address, with its logs |
//! | `isolate-broker N for TIME` | its connections go silent |
//! | `stall-replica partition N broker N for TIME` | a follower stops copying |
//! | `move-leader partition N to N`, `move-coordinator group N to N` | another broker leads, or coordinates |
//! | `evict group N member N` | a member is thrown out without a word |
//!
//! | the database | what happens |
//! |---|---|
//! | `db-commit-lost` | COMMIT does not arrive: the connection is reset, the transaction rolled back |
//! | `db-commit-reply-lost` | COMMIT is done, and the connection reset instead of the answer |
//! | `statement-lost`, `reply-torn`, `refused` | a connection is reset under a statement, in the middle of a reply, at once |
//! | `slow`, `silence` | a statement takes up to 10 s; never arrives, and the connection is reset later |
//! | `restart-database down TIME`, `isolate-database for TIME` | all connections are reset and new ones refused; all go silent |
//!
//! Partitions are counted from zero over all topics in the order of names, groups and their members likewise, brokers go
//! by their ids; what does not exist is taken modulo what does. No fault destroys a record that all in-sync replicas
//! acknowledged, nor what was committed: if your books are wrong afterwards, it is the service, or the library.
//!
//! # What repeats and what does not
//!
//! Whether a chance strikes is a hash of the seed, its name, whom it would strike and how many times it could have before:
//! the 17th OffsetCommit to broker 2 fares alike in every run. Each is told in the log under those names, and
//! `spare commit-applied of 2008 nth 16` takes that one out and leaves all others where they were; with `strike` in the
//! place of `spare` it happens for certain. When the 17th comes is up to the wall clock and to threads: two runs are
//! alike, not equal. For runs that repeat to the step there is the simulated world, `evenkeel_sim::explore`, in which
//! handlers are generic over their store.
//!
//! # Plans as data
//!
//! What can go wrong differs: the simulated world has processes to kill, served brokers have connections to reset, a
//! database's proxy has COMMITs to lose. All of them share the [`seed`] with its named streams, and the [`plan`] with its
//! text. A vocabulary is two types, one of [chances](Chance) and one of [strokes](Stroke).

mod brief;
mod dice;
pub mod plan;
mod schedule;
pub mod seed;
mod span;

pub use brief::{Brief, BriefError};
pub use dice::Dice;
pub use plan::{Chance, Occasion, Plan, PlanError, Stroke, Weather};
pub use schedule::{Moment, Schedule};
pub use seed::{Draw, Rate, Seed, Stream};
pub use span::Span;

/// Makes an enum of chances with their names in plans.
#[macro_export]
macro_rules! chances {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $crate::faults::Chance for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)*];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}
