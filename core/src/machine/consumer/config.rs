//! The settings of a consumer, with the defaults that suit most services.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use crate::machine::commit::MetadataLimit;
use crate::model::{GroupName, OnFailure, Ordering, RetryPolicy, TopicName};

/// What one handler wants.
#[derive(Debug, Clone)]
pub struct HandlerConfig {
    /// Its name, unique within topic and group.
    pub name: Arc<str>,
    /// The place of its topic in [`ConsumerConfig::topics`].
    pub topic: usize,
    /// Which events must not overtake each other.
    pub ordering: Ordering,
    /// How many calls of it may run at once. Default: no limit but the group's.
    pub concurrency: NonZeroUsize,
    /// How many of its events may be running or waiting for another attempt at once. Default 30.
    pub outstanding: NonZeroUsize,
    /// The most events of one call. Default 1.
    pub batch: NonZeroUsize,
    /// How it is retried.
    pub retry: RetryPolicy,
    /// What becomes of an event when the retries are exhausted.
    pub on_failure: OnFailure,
}

impl HandlerConfig {
    /// A handler with the defaults.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, topic: usize, on_failure: OnFailure) -> Self {
        Self {
            name: name.into(),
            topic,
            ordering: Ordering::default(),
            concurrency: NonZeroUsize::MAX,
            outstanding: NonZeroUsize::new(30).expect("thirty is not zero"),
            batch: NonZeroUsize::MIN,
            retry: on_failure.default_retries(),
            on_failure,
        }
    }
}

/// What a member of a group does.
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    /// The group.
    pub group: GroupName,
    /// The topics it reads.
    pub topics: Vec<TopicName>,
    /// The handlers, in the order of their registration.
    pub handlers: Vec<HandlerConfig>,
    /// How many calls may run at once. Default 20.
    pub concurrency: usize,
    /// The most events of a partition between the committed offset and the read position. Default 100,000.
    pub window_events: usize,
    /// The most bytes of a partition's unsettled events. Default 64 MiB.
    pub window_bytes: u64,
    /// Bytes of one partition in one fetch, and how much is fetched ahead of the handlers. Default 1 MiB.
    pub fetch_bytes: u32,
    /// The most bytes of the answer to one fetch, whatever the number of its partitions. Default 50 MiB, which is also
    /// the usual `fetch.max.bytes`.
    pub fetch_answer_bytes: u32,
    /// How long a broker may wait for records. Default 500 ms.
    pub fetch_wait: Duration,
    /// Whether records of open and aborted transactions are kept back. Default true.
    pub read_committed: bool,
    /// How often offsets are committed while events flow. Default 1 s.
    pub commit_interval: Duration,
    /// How often the topics' partitions are looked at. Default 5 s.
    pub watch_interval: Duration,
    /// The longest metadata of a commit. Default 4,096 bytes, the broker's own limit.
    pub metadata_limit: MetadataLimit,
}

impl ConsumerConfig {
    /// A consumer with the defaults and no handlers.
    #[must_use]
    pub fn new(group: GroupName) -> Self {
        Self {
            group,
            topics: Vec::new(),
            handlers: Vec::new(),
            concurrency: 20,
            window_events: 100_000,
            window_bytes: 64 << 20,
            fetch_bytes: 1 << 20,
            fetch_answer_bytes: 50 << 20,
            fetch_wait: Duration::from_millis(500),
            read_committed: true,
            commit_interval: Duration::from_secs(1),
            watch_interval: Duration::from_secs(5),
            metadata_limit: MetadataLimit::default(),
        }
    }
}
