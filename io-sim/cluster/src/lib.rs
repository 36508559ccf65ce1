//! A simulated Kafka cluster: Kafka's semantics in one pure state machine, and a front that speaks Kafka's protocol.
//!
//! ```text
//!   simulated world ─────────────────────────────┐
//!                                                ▼
//!   sockets ─ serve ─ wire ─ message ─────► cluster::Cluster
//!            tokio   frames  requests,        ├─ topics ─ partition ─ log
//!                            answers          └─ group, offsets
//! ```
//!
//! - [`cluster`] is the machine: brokers, partitions with leaders and replicas, consumer groups. It does no I/O and reads
//!   no clock; the simulated world drives it directly.
//! - [`message`] is what can be asked of it and what it answers.
//! - [`wire`] translates Kafka's frames from and to messages, in every version that it offers. Pure, too.
//!
//! - [`serve`] puts sockets in front of it: [`DevCluster`] is a cluster in this process that any Kafka client can use.
//!
//! Not there: transactions, the next-generation group protocol, share groups, quotas by configuration, ACLs,
//! delegation tokens, SASL, TLS, tiered storage, fetch sessions, topic ids in Produce and Fetch. What is not there is
//! not offered in ApiVersions, so that clients fall back or say so.

pub mod cluster;
pub mod faults;
mod group;
mod log;
pub mod message;
mod offsets;
mod partition;
pub mod serve;
mod topics;
pub mod wire;

pub use cluster::{Action, Cluster, ClusterConfig, Input};
pub use evenkeel_core::model::{BrokerId, PartitionId};
pub use serve::DevCluster;
