//! `--faults` on the command line: `evenkeel broker` and `evenkeel proxy`.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use evenkeel::{Bus, Kafka, Topic};
use sqlx::Connection;

use super::support::services;

fn evenkeel(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A plan in a file of its own.
fn file(name: &str, plan: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    std::fs::write(&path, plan).expect("the build's folder for temporary files can be written");
    path
}

/// A running command; killed if the test fails.
struct Running(Child);

impl Running {
    /// Starts it and answers what its line says.
    fn start(arguments: &[&str]) -> (Self, String) {
        let mut child = evenkeel(arguments).spawn().unwrap();
        let out = child.stdout.take().expect("it is piped");
        let running = Self(child);
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).unwrap();
        (running, line.trim_end().to_owned())
    }

    /// Asks it to end, and answers what it told on standard error.
    fn end(mut self) -> String {
        assert!(Command::new("kill").arg(self.0.id().to_string()).status().unwrap().success());
        let mut told = String::new();
        self.0.stderr.take().expect("it is piped").read_to_string(&mut told).unwrap();
        assert_eq!(self.0.wait().unwrap().code(), Some(0), "{told}");
        told
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _is_reaped = self.0.wait();
    }
}

#[tokio::test]
async fn a_broker_tells_each_fault_and_counts_them_at_the_end() {
    let plan = file("broker", "seed 3\nchance append-timed-out 100%\nspare append-timed-out of 1000 nth 1\n");
    let (running, line) =
        Running::start(&["broker", "--listen", "127.0.0.1:0", "--faults", plan.to_str().unwrap()]);
    let bootstrap = line.strip_prefix("export KAFKA=").unwrap_or_else(|| panic!("{line:?}"));
    const GREETINGS: Topic<String> = Topic::new("greetings");
    let bus = Bus::builder("cli").kafka(Kafka::new([bootstrap])).open().await.unwrap();
    bus.ensure_topic("greetings", 1, []).await.unwrap();
    bus.produce(GREETINGS.event("k", &"hello".to_owned())).await.expect("the second attempt is spared");
    let told = running.end();
    assert!(told.contains("append-timed-out of 1000 nth 0: Produce to broker 1"), "{told}");
    assert!(told.contains("faults that struck:\n       1  append-timed-out\n"), "{told}");
}

#[tokio::test]
async fn a_proxy_loses_the_answer_to_commit() {
    let plan = file("proxy", "chance db-commit-reply-lost 100%");
    let url = services::postgres().await;
    let (_, host) = url.split_once('@').expect("the URL names a user");
    let (host, _) = host.split_once('/').expect("the URL names a database");
    let to = host.to_owned();
    let (running, line) = Running::start(&[
        "proxy",
        "--listen",
        "127.0.0.1:0",
        "--to",
        &to,
        "--faults",
        plan.to_str().unwrap(),
    ]);
    let port = line.strip_prefix("export PGHOST=127.0.0.1 PGPORT=").unwrap_or_else(|| panic!("{line:?}"));
    let through = url.replace(host, &format!("127.0.0.1:{port}"));
    let mut connection = sqlx::PgConnection::connect(&through).await.expect("TLS is refused and not missed");
    let mut tx = connection.begin().await.unwrap();
    sqlx::query("create table made (n int)").execute(&mut *tx).await.unwrap();
    tx.commit().await.expect_err("the answer is lost");
    let mut direct = sqlx::PgConnection::connect(&url).await.unwrap();
    sqlx::query("select n from made").fetch_all(&mut direct).await.expect("it was committed");
    let told = running.end();
    assert!(told.contains("db-commit-reply-lost of 1 nth 0"), "{told}");
    assert!(told.contains("faults that struck:\n       1  db-commit-reply-lost\n"), "{told}");
}

#[test]
fn a_drawn_plan_is_told_so_that_it_can_be_kept() {
    let (running, _) = Running::start(&["broker", "--listen", "127.0.0.1:0", "--faults", "seed=7,for=5s"]);
    let told = running.end();
    assert!(told.contains("# the plan of seed=7,for=5s\nseed 7\nquiet at 5s\n"), "{told}");
}

#[test]
fn what_is_no_plan_is_told_with_line_and_remedy() {
    let wrong = file("wrong", "seed 3\nchance meteor 5%\n");
    let wrong = wrong.to_str().unwrap();
    let proxy = ["proxy", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1"];
    let broker = ["broker", "--listen", "127.0.0.1:0"];
    for (command, plan, words) in [
        (
            &broker[..],
            wrong,
            "line 2 of the plan, \"chance meteor 5%\", is not understood: there is no chance of this name",
        ),
        (&proxy[..], wrong, "there are refused, statement-lost"),
        (&broker[..], "no/such/file", "--faults takes a file or seed=N"),
        (&broker[..], "seed=soon", "write seed=7, or seed=7,for=120s"),
        (&proxy[..], "seed=1", "no database answers at 127.0.0.1:1"),
    ] {
        let ended = evenkeel(&[command, &["--faults", plan]].concat()).output().unwrap();
        let told = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{plan}: {told}");
        assert!(told.contains(words), "{plan}: {told}");
        assert!(ended.stdout.is_empty());
    }
}

#[test]
fn help_has_all_words_of_plans() {
    use evenkeel_cluster::faults::plan::{Chance, Stroke};
    use evenkeel_cluster::serve::sabotage::{BrokerChance, BrokerStroke};
    use evenkeel_proxy::{DatabaseChance, DatabaseStroke};

    fn words<C: Chance, S: Stroke>() -> Vec<&'static str> {
        let strokes = S::WRITTEN.split('`').skip(1).step_by(2).filter_map(|form| form.split(' ').next());
        C::ALL.iter().map(|chance| chance.name()).chain(strokes).collect()
    }
    for (command, words) in [
        ("broker", words::<BrokerChance, BrokerStroke>()),
        ("proxy", words::<DatabaseChance, DatabaseStroke>()),
    ] {
        let told = String::from_utf8(evenkeel(&[command, "--help"]).output().unwrap().stdout).unwrap();
        for word in words {
            assert!(told.contains(word), "{word:?} is missing in:\n{told}");
        }
    }
}
