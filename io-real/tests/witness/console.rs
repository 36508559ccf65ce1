//! The console tools: topics, records, groups, configurations.

use std::collections::BTreeSet;

use crate::three_brokers;
use crate::tool::{Tool, file, run, sum_of_offsets};

/// The fields of the table row that begins with these.
fn row<'a>(printed: &'a str, begin: &[&str]) -> Vec<&'a str> {
    let rows = printed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.into_iter()
        .find(|row| row.starts_with(begin))
        .unwrap_or_else(|| panic!("no {begin:?} in:\n{printed}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn console_tools_work_as_on_apache_kafka() {
    let cluster = three_brokers().await;
    let at = cluster.bootstrap();
    let at = ["--bootstrap-server", &at];
    let with = |arguments: &[&'static str]| [&at[..], arguments].concat();

    let create = with(&["--create", "--topic", "w", "--partitions", "3", "--replication-factor", "3"]);
    assert_eq!(run("topics", &create).await.trim(), "Created topic w.");

    let typed: BTreeSet<String> = (0..30).map(|nth| format!("key-{}:value-{nth}", nth % 7)).collect();
    let lines = typed.iter().map(|line| format!("{line}\n")).collect::<String>();
    let keyed = with(&["--topic", "w", "--property", "parse.key=true", "--property", "key.separator=:"]);
    Tool::start("console-producer", &keyed, &lines).await.output().await;

    let describe = with(&["--describe", "--topic", "w"]);
    let offsets = with(&["--topic", "w"]);
    let (described, offsets) = tokio::join!(run("topics", &describe), run("get-offsets", &offsets));
    assert!(
        described.contains("PartitionCount: 3") && described.contains("ReplicationFactor: 3"),
        "{described}"
    );
    let leaders: BTreeSet<_> = described
        .lines()
        .filter_map(|line| line.split_once("Leader: ")?.1.split_whitespace().next())
        .collect();
    assert_eq!(leaders, BTreeSet::from(["1", "2", "3"]), "{described}");
    assert_eq!(sum_of_offsets(&offsets), 30, "{offsets}");

    let consume = with(&["--topic", "w", "--group", "g", "--from-beginning", "--max-messages", "30"]);
    let keyed = [&consume[..], &["--property", "print.key=true", "--property", "key.separator=:"]].concat();
    let consumed = run("console-consumer", &keyed).await;
    assert_eq!(consumed.lines().map(str::to_owned).collect::<BTreeSet<_>>(), typed);

    let described = run("consumer-groups", &with(&["--describe", "--group", "g"])).await;
    for partition in ["0", "1", "2"] {
        let row = row(&described, &["g", "w", partition]);
        assert_eq!((row[3], row[5]), (row[4], "0"), "committed to the end, no lag:\n{described}");
    }
    let reset = with(&["--group", "g", "--topic", "w:1", "--reset-offsets", "--to-earliest", "--execute"]);
    let reset = run("consumer-groups", &reset).await;
    assert_eq!(row(&reset, &["g", "w", "1"])[3], "0", "{reset}");

    let alter =
        ["--entity-type", "topics", "--entity-name", "w", "--alter", "--add-config", "retention.bytes=12345"];
    run("configs", &with(&alter)).await;
    let described =
        run("configs", &with(&["--entity-type", "topics", "--entity-name", "w", "--describe"])).await;
    assert!(described.contains("retention.bytes=12345"), "{described}");

    let json = r#"{"partitions": [{"topic": "w", "partition": 1, "offset": -1}], "version": 1}"#;
    let json = file("delete-records.json", json);
    let delete = [&at[..], &["--offset-json-file", json.to_str().expect("the path is UTF-8")]].concat();
    let deleted = run("delete-records", &delete).await;
    assert!(deleted.contains("partition: w-1\tlow_watermark: "), "{deleted}");
    let earliest = run("get-offsets", &with(&["--topic", "w", "--time", "earliest"])).await;
    let latest = row(&reset_described(&at).await, &["g", "w", "1"])[4].parse::<u64>().expect("an offset");
    assert_eq!(sum_of_offsets(&earliest), latest, "only partition 1 begins later, at its end:\n{earliest}");

    let deleted = run("consumer-groups", &with(&["--delete", "--group", "g"])).await;
    assert!(deleted.contains("Deletion of requested consumer groups ('g') was successful"), "{deleted}");
    run("topics", &with(&["--delete", "--topic", "w"])).await;
    let (groups, topics) = (with(&["--list"]), with(&["--list"]));
    let (groups, topics) = tokio::join!(run("consumer-groups", &groups), run("topics", &topics));
    assert_eq!((groups.trim(), topics.trim()), ("", ""));
    cluster.shutdown().await;
}

/// The group's table after its positions were reset.
async fn reset_described(at: &[&str]) -> String {
    run("consumer-groups", &[at, &["--describe", "--group", "g"]].concat()).await
}
