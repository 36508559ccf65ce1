//! The settings of producing, with their defaults and reasons.

use std::time::Duration;

use crate::machine::backoff::Backoff;

/// The settings of a [`Produce`](super::Produce) machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceConfig {
    /// The most bytes of a batch of several events; 900,000. A larger event travels alone.
    pub batch_bytes: usize,
    /// Up to this many bytes a batch is sent without asking for the topic's limit; 1,000,000, below the default limit
    /// of brokers.
    pub unasked_bytes: usize,
    /// The most bytes of events taken in and not finished; 64 MiB. See [`Produce::room`](super::Produce::room).
    pub buffer_bytes: usize,
    /// How long after its submission an event may still be sent; 120 s.
    pub delivery_timeout: Duration,
    /// How long a broker may wait for its replicas; 30 s.
    pub request_timeout: Duration,
    /// How long what is known of a topic, its partitions and its limit, is taken for true; 5 min. A topic that is not
    /// used is not asked about.
    pub metadata_age: Duration,
    /// How long a topic that does not exist is looked for, counted from the first answer that says so; 3 s, well over
    /// what a cluster takes to tell all brokers of a new one. A look every second at least goes by.
    pub missing_patience: Duration,
    /// The pauses before a batch is sent again, or a limit asked again.
    pub backoff: Backoff,
    /// The pauses before the cluster is asked again about topics; 50 ms to 1 s, so that waiting for a leader or a new
    /// topic costs little more than they take.
    pub look_backoff: Backoff,
}

impl Default for ProduceConfig {
    fn default() -> Self {
        Self {
            batch_bytes: 900_000,
            unasked_bytes: 1_000_000,
            buffer_bytes: 64 << 20,
            delivery_timeout: Duration::from_secs(120),
            request_timeout: Duration::from_secs(30),
            metadata_age: Duration::from_secs(300),
            missing_patience: Duration::from_secs(3),
            backoff: Backoff::REQUEST,
            look_backoff: Backoff { longest: Duration::from_secs(1), ..Backoff::REQUEST },
        }
    }
}
