//! What differs and is meant to, with the reason: the documentation's list is made of this.

/// A case's name and why its answers are not Kafka's.
pub(crate) const DIFFERENCES: &[(&str, &str)] = &[
    (
        "an_empty_batch",
        "a batch without records is refused as corrupt before its topic is looked at; no producer sends one",
    ),
    ("no_such_codec", "Kafka fails inside and says UNKNOWN_SERVER_ERROR; the cluster says what is wrong"),
    (
        "a_topic_with_a_codec_of_its_own",
        "the cluster keeps batches as they came, so it refuses a codec of the topic's own instead of ignoring it",
    ),
    (
        "a_batch_of_append_time_by_the_producer",
        "the cluster keeps a batch's attributes as they came; no producer claims the broker's timestamps",
    ),
    ("a_transactional_batch_of_nobody", "there are no transactions: the mark is kept and means nothing"),
    (
        "partition_limit_between_two_batches",
        "the cluster answers whole batches; the half of a batch that Kafka sends at the limit is thrown away by consumers",
    ),
    ("request_limit_over_two_partitions", "as partition_limit_between_two_batches"),
    (
        "a_partition_twice",
        "a partition that is asked for twice in one fetch is answered twice, by Kafka once; no consumer asks so",
    ),
    (
        "a_new_session",
        "the cluster keeps no fetch sessions: it answers with none and the client goes on without",
    ),
    (
        "an_unknown_replica",
        "replicas of the cluster do not fetch over the wire: the replica's id is not looked at",
    ),
    ("an_unknown_change", "Kafka fails inside and says UNKNOWN_SERVER_ERROR; the cluster says what is wrong"),
    ("the_same_topic_twice_in_a_request", "the cluster refuses both mentions, Kafka answers once for both"),
];

pub(crate) fn reason(case: &str) -> Option<&'static str> {
    DIFFERENCES.iter().find(|(name, _)| *name == case).map(|(_, reason)| *reason)
}
