//! What is agreed on: topic, groups, handlers with their settings, and the events.
//!
//! The workers register their handlers by the very [`Facts`] that the checkers judge by.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use evenkeel::{Backoff, GroupSettings, OnFailure, Ordering, RetryPolicy, Topic};
use evenkeel_core::model::PartitionId;
use evenkeel_sim::history::{
    EventNo, Facts, Flavour, GroupFacts, GroupNo, HandlerFacts, HandlerNo, KeyNo, Life, Nature, Place,
    ServiceFacts, Slack, TopicFacts, TopicNo,
};
use evenkeel_sim::seed::Seed;
use serde::{Deserialize, Serialize};

/// The only topic.
pub(crate) const ORDERS: Topic<Order> = Topic::new("chaos.orders");
pub(crate) const TOPIC: TopicNo = TopicNo(0);
pub(crate) const PARTITIONS: u32 = 6;
/// The CloudEvents source of all events.
pub(crate) const SOURCE: &str = "chaos";
/// Notes each order in a transaction of its own.
pub(crate) const CHARGE: HandlerNo = HandlerNo(0);
/// Notes orders by the batch.
pub(crate) const AUDIT: HandlerNo = HandlerNo(1);
/// May be told of an order several times.
pub(crate) const ANNOUNCE: HandlerNo = HandlerNo(2);

/// Who produces; the workers are counted from one.
pub(crate) const PRODUCER: Life = Life { process: 0, nth: 0 };

pub(crate) const SESSION: Duration = Duration::from_secs(6);
const ATTEMPT_LIMIT: Duration = Duration::from_secs(3);
const CONCURRENCY: u32 = 16;

/// An event's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) event: u32,
    pub(crate) temper: Temper,
}

/// What handlers meet at an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Temper {
    /// Nothing.
    Mild,
    /// The first attempts fail.
    Fails { attempts: u32 },
    /// The first attempts panic.
    Panics { attempts: u32 },
    /// The first attempt takes longer than it may.
    Hangs,
    /// All attempts fail.
    Poison,
}

impl Temper {
    /// That of an event, by the seed.
    pub(crate) fn of(seed: Seed, event: u32) -> Self {
        let mut draw = seed.stream("temper").nth(event.into());
        let attempts = draw.between(1, 2) as u32;
        match draw.below(1_000) {
            0..10 => Self::Poison,
            10..40 => Self::Fails { attempts },
            40..50 => Self::Panics { attempts },
            50..52 => Self::Hangs,
            _ => Self::Mild,
        }
    }

    pub(crate) const fn nature(self) -> Nature {
        match self {
            Self::Poison => Nature::Poison,
            Self::Mild | Self::Fails { .. } | Self::Panics { .. } | Self::Hangs => Nature::Good,
        }
    }
}

/// The key of an event, by the seed: a few are hot.
pub(crate) fn key_of(seed: Seed, event: u32, lane: u32, lanes: u32) -> KeyNo {
    let nth = seed.stream("keys").nth(event.into()).log_uniform(1, 100) as u32;
    KeyNo(nth * lanes + lane)
}

/// How long a handler takes over an event.
pub(crate) fn handling(event: u32, handler: HandlerNo) -> Duration {
    let most = 12_000;
    Duration::from_micros(
        Seed(u64::from(handler.0)).stream("handling").nth(event.into()).log_uniform(200, most),
    )
}

/// The id of an event.
pub(crate) fn id(event: EventNo) -> String {
    event.0.to_string()
}

/// How the members of the groups are set.
pub(crate) fn group_settings() -> GroupSettings {
    GroupSettings::default()
        .session_timeout(SESSION)
        .heartbeat_interval(SESSION / 3)
        .drain(Duration::from_secs(3))
        .rebalance_timeout(Duration::from_secs(15))
        .concurrency(CONCURRENCY as usize)
        .commit_interval(Duration::from_millis(400))
}

fn retries() -> RetryPolicy {
    let backoff =
        Backoff { first: Duration::from_millis(80), longest: Duration::from_millis(300), jitter_percent: 10 };
    RetryPolicy { backoff, total: None, attempt_limit: ATTEMPT_LIMIT, max_attempts: NonZeroU32::new(4) }
}

/// What is settled beforehand.
pub(crate) fn facts() -> Arc<Facts> {
    let group =
        |name: &str| GroupFacts { name: name.into(), concurrency: CONCURRENCY, session_timeout: SESSION };
    let handler = |name: &str, group, flavour, concurrency, batch| HandlerFacts {
        name: name.into(),
        group: GroupNo(group),
        topic: TOPIC,
        flavour,
        ordering: Ordering::Key,
        concurrency,
        batch,
        retry: retries(),
        on_failure: OnFailure::Discard,
    };
    Arc::new(Facts {
        topics: vec![TopicFacts { name: "chaos.orders".into(), partitions: PARTITIONS }],
        groups: vec![group("billing"), group("mail")],
        handlers: vec![
            handler("charge", 0, Flavour::ExactlyOnce, 6, 1),
            handler("audit", 0, Flavour::ExactlyOnce, 2, 20),
            handler("announce", 1, Flavour::Idempotent, 8, 1),
        ],
        services: vec![ServiceFacts { name: "producer".into() }, ServiceFacts { name: "worker".into() }],
        metadata_is_cut: false,
        // Two cores that three brokers start on make processes wait.
        slack: Slack { timers: Duration::from_secs(1), notice: Duration::from_secs(1) },
    })
}

/// A partition of the topic.
pub(crate) const fn place(partition: i32) -> Place {
    Place { topic: TOPIC, partition: PartitionId(partition) }
}

/// A life as it is written: `process.nth`.
pub(crate) fn life_of(text: &str) -> Option<Life> {
    let (process, nth) = text.split_once('.')?;
    Some(Life { process: process.parse().ok()?, nth: nth.parse().ok()? })
}
