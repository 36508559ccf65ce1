//! What differs and is meant to, with the reason: the documentation's list is made of this.

/// A case whose answers are not Kafka's.
pub(crate) struct Known {
    pub(crate) area: &'static str,
    pub(crate) case: &'static str,
    pub(crate) why: &'static str,
}

/// What the cluster bounds and Kafka does not, or not so.
pub(crate) const LIMITS: &[&str] = &[
    "A request that brings records may have 100 MiB, as with Kafka (`socket.request.max.bytes`); any other may have 8 MiB. \
     A larger one ends the connection.",
    "All lists of a request together may have 200,000 entries. One with more ends the connection.",
    "A batch may unpack to 128 MiB. A larger one is refused as INVALID_RECORD.",
    "So many records are kept as fit into `retained_bytes` (`evenkeel broker --retain`), whatever topics' retention says.",
];

/// All that are known.
pub(crate) const DIFFERENCES: &[Known] = &[
    Known {
        area: "produce",
        case: "an_empty_batch",
        why: "a batch without records is refused as corrupt before its topic is looked at; no producer sends one",
    },
    Known {
        area: "produce",
        case: "no_such_codec",
        why: "Kafka fails inside and says UNKNOWN_SERVER_ERROR; the cluster says what is wrong",
    },
    Known {
        area: "produce",
        case: "a_topic_with_a_codec_of_its_own",
        why: "the cluster keeps batches as they came, so it refuses a codec of the topic's own instead of ignoring it",
    },
    Known {
        area: "produce",
        case: "a_batch_of_append_time_by_the_producer",
        why: "the cluster keeps a batch's attributes as they came; no producer claims the broker's timestamps",
    },
    Known {
        area: "produce",
        case: "a_transactional_batch_of_nobody",
        why: "there are no transactions: the mark is kept and means nothing",
    },
    Known {
        area: "produce",
        case: "null_records",
        why: "Kafka fails inside and never answers a produce without records; the cluster says what is wrong",
    },
    Known {
        area: "fetch",
        case: "partition_limit_between_two_batches",
        why: "the cluster answers whole batches; the half of a batch that Kafka sends at the limit is thrown away by consumers",
    },
    Known {
        area: "fetch",
        case: "request_limit_over_two_partitions",
        why: "as partition_limit_between_two_batches",
    },
    Known {
        area: "fetch",
        case: "a_partition_twice",
        why: "a partition that is asked for twice in one fetch is answered twice, by Kafka once; no consumer asks so",
    },
    Known {
        area: "fetch",
        case: "a_new_session",
        why: "the cluster keeps no fetch sessions: it answers with none and the client goes on without",
    },
    Known {
        area: "fetch",
        case: "an_unknown_replica",
        why: "replicas of the cluster do not fetch over the wire: the replica's id is not looked at",
    },
    Known {
        area: "list offsets",
        case: "greatest_time_was_deleted",
        why: "Kafka still finds a record that was deleted until its file goes, at a time that is not determined; the cluster does not",
    },
    Known {
        area: "topics",
        case: "grow_to_very_many",
        why: "Kafka fails inside at more than 10,000 new partitions and says UNKNOWN_SERVER_ERROR; the cluster says what is wrong",
    },
    Known { area: "topics", case: "grow_by_very_many_in_one_request", why: "as grow_to_very_many" },
    Known {
        area: "configurations",
        case: "describe_what_a_broker_may_change",
        why: "a cluster's own configurations are set when it starts, and it says that they are read-only",
    },
    Known {
        area: "configurations",
        case: "an_unknown_operation",
        why: "Kafka fails inside and says UNKNOWN_SERVER_ERROR; the cluster says what is wrong",
    },
    Known {
        area: "members",
        case: "a_follower_leaves_while_it_syncs",
        why: "Kafka never answers the sync of a member that has left meanwhile; the cluster says that it is no member",
    },
];

/// Why a case differs, if it is known to.
pub(crate) fn reason(area: &str, case: &str) -> Option<&'static str> {
    let known = DIFFERENCES.iter().find(|known| known.area == area && known.case == case);
    known.map(|known| known.why)
}
