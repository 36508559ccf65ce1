//! How a cluster is set up.

use std::time::Duration;

use evenkeel_core::model::{BrokerId, WallTime};

use crate::group::Limits;
use crate::message::{BrokerAddress, Text};

/// How a cluster is set up. The defaults are Kafka's, but for what a test or a demo would wait for.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterConfig {
    /// What the cluster calls itself.
    pub cluster_id: Text,
    /// The brokers that run at the start.
    pub brokers: Vec<BrokerAddress>,
    /// The wall time at [`Time::ZERO`](evenkeel_core::model::Time::ZERO), until the
    /// [clock is set](crate::Input::ClockSet).
    pub started: WallTime,
    /// Whether asking for a topic creates it. Kafka: true; here false, so that a typing error is told.
    pub auto_create_topics: bool,
    /// How many partitions a topic has if its creator does not say. 1.
    pub default_partitions: i32,
    /// How many replicas a partition has if its creator does not say; no more than there are brokers. 3.
    pub default_replication: i16,
    /// Topic configurations by name that differ from Kafka's defaults.
    pub topic_defaults: Vec<(Text, Text)>,
    /// The shortest session timeout that a group's member may ask for. 6 s.
    pub min_session_timeout: Duration,
    /// The longest. 30 min.
    pub max_session_timeout: Duration,
    /// How many members a group may have. No limit.
    pub max_group_size: usize,
    /// How long the first member of a group waits for others. Kafka: 3 s; here zero.
    pub initial_rebalance_delay: Duration,
    /// How long a group's positions stay once it has no members. 7 days.
    pub offsets_retention: Duration,
    /// How old a producer's last batch in a partition may become before its sequence is forgotten there. 1 day; it is
    /// looked after every 10 min.
    pub producer_expiration: Duration,
    /// How long a new coordinator takes to load its groups. Zero.
    pub coordinator_load: Duration,
    /// How long a follower may be behind before it is no longer in sync. 30 s.
    pub replica_lag: Duration,
    /// How often retention and compaction look at the logs. Kafka: 5 min and 15 s; here 5 s.
    pub upkeep_interval: Duration,
    /// How many bytes all records may take in memory; when more come, the oldest go, whatever their topics' retention
    /// says. Replicas share their bytes, which count once. No limit.
    pub retained_bytes: Option<u64>,
    /// How many bytes a second each client may produce; more makes it pause. No limit.
    pub produce_quota: Option<u64>,
    /// How many bytes a second each client may fetch. No limit.
    pub fetch_quota: Option<u64>,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            cluster_id: "evenkeel-cluster".into(),
            brokers: vec![BrokerAddress { broker: BrokerId(1), host: "localhost".into(), port: 9092 }],
            started: WallTime::default(),
            auto_create_topics: false,
            default_partitions: 1,
            default_replication: 3,
            topic_defaults: Vec::new(),
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_secs(30 * 60),
            max_group_size: usize::MAX,
            initial_rebalance_delay: Duration::ZERO,
            offsets_retention: Duration::from_secs(7 * 24 * 60 * 60),
            producer_expiration: Duration::from_secs(24 * 60 * 60),
            coordinator_load: Duration::ZERO,
            replica_lag: Duration::from_secs(30),
            upkeep_interval: Duration::from_secs(5),
            retained_bytes: None,
            produce_quota: None,
            fetch_quota: None,
        }
    }
}

impl ClusterConfig {
    pub(super) const fn group_limits(&self) -> Limits {
        Limits {
            min_session: self.min_session_timeout,
            max_session: self.max_session_timeout,
            max_size: self.max_group_size,
            initial_delay: self.initial_rebalance_delay,
        }
    }
}
