//! Runs Kafka's tools and tells what they print.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

/// No tool takes so long, in seconds; one that does is killed with all that it started.
const LIMIT: &str = "85";

/// A tool that has been started. It is killed with this.
pub(crate) struct Tool {
    said: String,
    child: Child,
}

impl Tool {
    /// Starts a tool by the name that the script knows, with `input` as what is typed.
    pub(crate) async fn start(name: &str, arguments: &[&str], input: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("services/kafka");
        let mut child = Command::new("timeout")
            .args(["--kill-after", "5", LIMIT])
            .arg(script)
            .args(["tool", name])
            .args(arguments)
            // They run for seconds: what they save by compiling well they never earn.
            .env("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx256m")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the script runs");
        let mut typed = child.stdin.take().expect("it is piped");
        // A tool that does not read closes its end.
        let _unread = typed.write_all(input.as_bytes()).await;
        Self { said: format!("{name} {}", arguments.join(" ")), child }
    }

    /// What it prints, once it has ended well.
    pub(crate) async fn output(self) -> String {
        let Output { status, stdout, stderr } = self.child.wait_with_output().await.expect("it ends");
        let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "`{}` ended with {status}:\n{out}\n{err}", self.said);
        out.into_owned()
    }
}

/// What a tool prints.
pub(crate) async fn run(name: &str, arguments: &[&str]) -> String {
    Tool::start(name, arguments, "").await.output().await
}

/// The sum of `TOPIC:PARTITION:OFFSET` lines, as `get-offsets` prints them.
pub(crate) fn sum_of_offsets(printed: &str) -> u64 {
    printed.lines().filter_map(|line| line.rsplit(':').next()?.parse::<u64>().ok()).sum()
}

/// A file for one test, named after what it is for.
pub(crate) fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    std::fs::write(&path, text).expect("the folder for tests can be written to");
    path
}
