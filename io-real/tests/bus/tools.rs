//! Kafka's own programs, as witnesses that know nothing of this library.

use std::path::Path;
use std::process::{Command, Stdio};

use super::support::services;

/// What one of Kafka's tools prints, or a Java source file that uses Kafka's client.
pub(crate) fn tool(name: &str, arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("services/kafka");
    let told = Command::new(script)
        .args(["tool", name])
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .expect("the script runs");
    assert!(told.status.success(), "{name} {arguments:?} failed with {}", told.status);
    String::from_utf8(told.stdout).expect("the tool prints UTF-8")
}

/// The lag of each partition of a group.
pub(crate) fn lags(group: &str) -> Vec<String> {
    let server = services::kafka();
    let told = tool("consumer-groups", &["--bootstrap-server", server, "--describe", "--group", group]);
    told.lines()
        .filter(|line| line.starts_with(group))
        .filter_map(|line| line.split_whitespace().nth(5).map(str::to_owned))
        .collect()
}
