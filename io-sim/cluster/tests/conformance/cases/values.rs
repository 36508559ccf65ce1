//! Configurations' values: which are taken, and as what.

use super::configs::{SET, TOPIC, by_name, changes, describe};
use crate::batch::Batch;
use crate::client::World;
use crate::list;
use crate::requests::{create, fetch, produce};

list![
    which_values_are_taken,
    values_in_odd_writing,
    values_that_contradict_each_other,
    segments_of_a_size_for_tests,
];

/// Written in every way that one or the other might take.
const NUMBERS: &[&str] = &[
    "-3",
    "-2",
    "-1",
    "0",
    "1",
    "3",
    "4",
    "9",
    "10",
    "17",
    "18",
    "22",
    "23",
    "1048575",
    "1048576",
    "2147483647",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "",
    " ",
    " 5",
    "5 ",
    "5\t",
    "\u{a0}5",
    "+5",
    "05",
    "5.5",
    "1e3",
    "five",
];

/// What configurations are tried with, each with all of these.
const TRIED: &[(&[&str], &[&str])] = &[
    (
        &[
            "compression.gzip.level",
            "compression.lz4.level",
            "compression.zstd.level",
            "delete.retention.ms",
            "file.delete.delay.ms",
            "flush.messages",
            "flush.ms",
            "index.interval.bytes",
            "internal.segment.bytes",
            "local.retention.bytes",
            "local.retention.ms",
            "max.compaction.lag.ms",
            "max.message.bytes",
            "message.timestamp.after.max.ms",
            "message.timestamp.before.max.ms",
            "min.compaction.lag.ms",
            "min.insync.replicas",
            "retention.bytes",
            "retention.ms",
            "segment.bytes",
            "segment.index.bytes",
            "segment.jitter.ms",
            "segment.ms",
        ],
        NUMBERS,
    ),
    (
        &[
            "preallocate",
            "remote.log.copy.disable",
            "remote.log.delete.on.disable",
            "remote.storage.enable",
            "unclean.leader.election.enable",
        ],
        &["true", "false", "TRUE", "False", " true", "false ", "yes", "1", "0", "", " "],
    ),
    (
        &["cleanup.policy"],
        &[
            "",
            " ",
            "compact",
            " compact",
            "compact ",
            "Compact",
            "delete,compact",
            "delete, compact",
            "delete ,compact",
            "compact,compact",
            "delete,",
            ",delete",
            "delete,,compact",
            "shred",
        ],
    ),
    (
        &["follower.replication.throttled.replicas", "leader.replication.throttled.replicas"],
        &[
            "", " ", "*", " *", "*,*", "0:1", "0:1,1:2", "0:1, 1:2", "0:1,", ",", "0", ":", "0:", ":1",
            "a:b", "-1:0", "0:-1", "0:1:2",
        ],
    ),
    (
        &["message.timestamp.type"],
        &["CreateTime", "LogAppendTime", " LogAppendTime", "logappendtime", "", "x"],
    ),
    (&["compression.type"], &["producer", " producer", "Producer", "none", "", "x"]),
    (
        &["min.cleanable.dirty.ratio"],
        &[
            "0",
            "1",
            "0.5",
            " 0.1",
            "0.1 ",
            "1.0",
            "1.1",
            "-0.1",
            ".5",
            "1.",
            "0.5f",
            "0.5D",
            "5e-1",
            "5E-1",
            "NaN",
            "nan",
            "Infinity",
            "inf",
            "-Infinity",
            "0,5",
            "",
            " ",
            "half",
        ],
    ),
];

async fn which_values_are_taken(world: World) {
    let mut client = world.client().await;
    for (names, values) in TRIED {
        for name in *names {
            let mut request = create(&world.name("0"), 1, 1, &[]).with_validate_only(true);
            request.topics.clear();
            for (nth, value) in values.iter().enumerate() {
                request.topics.extend(create(&world.name(&nth.to_string()), 1, 1, &[(name, value)]).topics);
            }
            let answer = client.prepare(request).await;
            for (nth, value) in values.iter().enumerate() {
                let topic = world.name(&nth.to_string());
                let of = answer.topics.iter().find(|answered| *answered.name == topic);
                world.note(&format!("{name}={value:?}"), of.map(|answered| answered.error_code));
            }
        }
    }
}

async fn values_in_odd_writing(world: World) {
    const ODD: &[(&str, &str)] = &[
        ("cleanup.policy", " compact ,delete "),
        ("retention.ms", " 012345"),
        ("retention.bytes", "-3"),
        ("max.message.bytes", "+1000"),
        ("preallocate", "TRUE "),
        ("min.cleanable.dirty.ratio", ".50"),
        ("message.timestamp.type", " LogAppendTime"),
        ("follower.replication.throttled.replicas", "0:1 , 0:1"),
    ];
    let mut client = world.client().await;
    let topic = client.topic("t", 1, ODD).await;
    let names: Vec<_> = ODD.iter().map(|(name, _)| *name).collect();
    let request = describe(TOPIC, &topic, Some(&names)).with_include_synonyms(true);
    client.ask_ordered(4, request, by_name).await;
    client.fetch(fetch(&topic, 0, 0)).await;
    client.ask(produce(&topic, 0, -1, Batch { key: Some(b"k"), ..Batch::of(1) }.bytes())).await;
    client.fetch(fetch(&topic, 0, 0)).await;
}

async fn values_that_contradict_each_other(world: World) {
    let mut client = world.client().await;
    let (min, max) = ("min.compaction.lag.ms", "max.compaction.lag.ms");
    for (low, high) in [("10", "9"), ("10", "10"), ("9", "10")] {
        client.ask(create(&world.name("t"), 1, 1, &[(min, low), (max, high)]).with_validate_only(true)).await;
    }
    let topic = client.topic("t", 1, &[(max, "20")]).await;
    client.ask(changes(TOPIC, &topic, &[(min, SET, Some("21"))])).await;
    client.ask(changes(TOPIC, &topic, &[(min, SET, Some("21")), (max, SET, Some("22"))])).await;
}

async fn segments_of_a_size_for_tests(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[("internal.segment.bytes", "80")]).await;
    client.ask(produce(&topic, 0, -1, Batch::of(1).bytes())).await;
    client.ask(produce(&topic, 0, -1, Batch::of(9).bytes())).await;
    client.ask(describe(TOPIC, &topic, Some(&["internal.segment.bytes"]))).await;
    let request = describe(TOPIC, &topic, None).with_include_synonyms(true);
    client.ask_ordered(4, request, by_name).await;
    let name = world.name("u");
    world.made(&name);
    client.ask(create(&name, 1, 1, &[("internal.segment.bytes", "90")])).await;
}
