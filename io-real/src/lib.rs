//! Evenkeel: reliable event processing on Kafka with a SQL database.
//!
//! Produce an event in one line, handle it in one line, and have each event handled exactly once, with the handler's
//! own writes, through crashes, rebalances and lost replies.
//!
//! This crate is what services add: the bus on real servers. Everything that decides is in [`evenkeel_core`]; what is
//! here translates.

mod bus;
pub mod database;
pub mod kafka;
pub mod postgres;
pub mod runtime;
pub mod sqlite;

pub use bus::{Bus, BusBuilder, OpenError, TopicError, WithDatabase};
pub use evenkeel_core::engine::bus::{
    GroupSubscription, Leftover, MemberFailure, NoDatabase, Running, StartError, Subscription,
};
pub use evenkeel_core::engine::consume::News;
pub use evenkeel_core::error::{ProduceError, ProduceFailure, RegistrationError, SettingError};
pub use evenkeel_core::machine::backoff::Backoff;
pub use evenkeel_core::machine::consumer::Notice;
pub use evenkeel_core::machine::produce::Produced;
pub use evenkeel_core::model::{
    Attempt, Bytes, Codec, ErrorKind, Event, GroupName, GroupSettings, HandlerError, Json, NewEvent,
    OnFailure, Ordering, ProduceSettings, Raw, RetryPolicy, Tombstones, Topic, TopicName,
};
pub use kafka::Kafka;
pub use postgres::{PgTx, Postgres};
pub use sqlite::{Sqlite, SqliteTx};

/// What handlers return.
pub type Result<T, E = HandlerError> = std::result::Result<T, E>;

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
