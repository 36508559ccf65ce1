//! The servers of a run: three brokers and a database of its own, to be killed and paused. Gone when the run ends.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::process::Command;

use crate::Anyhow;

pub(crate) const BROKERS: usize = 3;
/// How long a server may take to end.
pub(crate) const STOPPING: Duration = Duration::from_secs(20);

/// A signal, by the name that `kill` knows it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Kill,
    Terminate,
    Stop,
    Continue,
}

/// Sends a signal to processes. Those that are gone are none of its business.
pub(crate) async fn send(signal: Signal, processes: &[u32]) -> Result<(), Anyhow> {
    let name = match signal {
        Signal::Kill => "-KILL",
        Signal::Terminate => "-TERM",
        Signal::Stop => "-STOP",
        Signal::Continue => "-CONT",
    };
    let ids = processes.iter().map(ToString::to_string);
    Command::new("kill").arg(name).args(ids).stderr(Stdio::null()).status().await?;
    Ok(())
}

/// Runs one of the services' scripts; answers what it prints.
async fn script(name: &str, arguments: &[&str]) -> Result<String, Anyhow> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../io-real/services").join(name);
    // Ctrl-C is for the foreman alone.
    let run = Command::new(&path).args(arguments).stdin(Stdio::null()).process_group(0).output().await?;
    if run.status.success() {
        return Ok(String::from_utf8(run.stdout)?);
    }
    let told = String::from_utf8_lossy(&run.stderr);
    Err(format!("`{} {}` failed: {told}", path.display(), arguments.join(" ")).into())
}

/// The first ports from `from` upwards at which nobody listens, each followed by `room` that are free, too.
fn free_port(from: u16, room: u16) -> Result<u16, Anyhow> {
    let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    (from..32_000)
        .step_by(usize::from(room) + 1)
        .find(|port| (*port..=port + room).all(is_free))
        .ok_or_else(|| format!("no {} free ports in a row from {from} to 32000", room + 1).into())
}

/// Three brokers, each of them a controller, too.
pub(crate) struct Cluster {
    folder: PathBuf,
    /// The brokers' addresses past all links.
    pub(crate) direct: Vec<String>,
}

impl Cluster {
    /// Starts them. `clients` name a listener for each client, with the ports of its links to the three.
    pub(crate) async fn start(folder: &Path, clients: &[(String, Vec<u16>)]) -> Result<Self, Anyhow> {
        let folder = folder.join("kafka");
        let port = free_port(27_000, 40)?.to_string();
        let path = folder.to_string_lossy().into_owned();
        let mut arguments: Vec<String> =
            ["start", "--dir", &path, "--port", &port, "--nodes", "3"].map(Into::into).into();
        // A broker that is gone is noticed soon, so that leaders move.
        for setting in ["broker.session.timeout.ms=4000", "broker.heartbeat.interval.ms=1000"] {
            arguments.extend(["--set".to_owned(), setting.to_owned()]);
        }
        for (name, ports) in clients {
            let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
            arguments.extend(["--clients".to_owned(), format!("{name}={}", ports.join(","))]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let cluster = Self { folder, direct: Vec::new() };
        let told = script("kafka", &arguments).await?;
        let direct = told.trim().strip_prefix("export KAFKA=").ok_or("the script names no address")?;
        Ok(Self { direct: direct.split(',').map(Into::into).collect(), ..cluster })
    }

    /// Ends what an earlier run left behind that was itself killed.
    pub(crate) async fn end_leftovers(folder: &Path) {
        let folder = folder.join("kafka");
        if folder.exists() {
            let _nothing_runs = script("kafka", &["stop", "--dir", &folder.to_string_lossy()]).await;
        }
    }

    fn file(&self, node: usize, name: &str) -> Result<u32, Anyhow> {
        let path = self.folder.join(format!("node-{node}")).join(name);
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(text.trim().parse()?)
    }

    /// Where a node, counted from one, listens to a client's link.
    pub(crate) fn port(&self, node: usize, client: &str) -> Result<u16, Anyhow> {
        Ok(u16::try_from(self.file(node, &format!("port-{client}"))?)?)
    }

    /// The node's process.
    pub(crate) fn process(&self, node: usize) -> Result<u32, Anyhow> {
        self.file(node, "pid")
    }

    /// Starts a node again that is gone, and waits until it answers.
    pub(crate) async fn revive(&self, node: usize) -> Result<(), Anyhow> {
        let path = self.folder.to_string_lossy().into_owned();
        script("kafka", &["revive", "--dir", &path, "--node", &node.to_string()]).await.map(drop)
    }

    pub(crate) async fn end(&self) {
        for node in 1..=BROKERS {
            if let Ok(process) = self.process(node) {
                let _gone = send(Signal::Kill, &[process]).await;
            }
        }
    }
}

/// Waits until processes have ended, and whoever is to know of it does. Answers whether that came in time.
pub(crate) async fn gone(processes: &[u32], within: Duration) -> bool {
    let begun = Instant::now();
    let exists = |process: &u32| Path::new(&format!("/proc/{process}")).exists();
    while processes.iter().any(exists) {
        if begun.elapsed() > within {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

/// A database server.
pub(crate) struct Database {
    folder: PathBuf,
    port: u16,
}

impl Database {
    /// Starts one. It tells when each transaction was committed.
    pub(crate) async fn start() -> Result<Self, Anyhow> {
        // Where the server's own user can reach it.
        let folder = PathBuf::from(format!("/var/tmp/evenkeel-chaos-{}", std::process::id()));
        let database = Self { folder, port: free_port(26_000, 0)? };
        database.start_again().await?;
        let mut admin = PgConnection::connect(&database.url(database.port)).await?;
        sqlx::query("alter system set track_commit_timestamp = on").execute(&mut admin).await?;
        drop(admin);
        database.stop("fast").await?;
        database.start_again().await?;
        let mut admin = PgConnection::connect(&database.url(database.port)).await?;
        sqlx::query(
            "create table effects (id bigint generated always as identity primary key, handler smallint not null,
             event bigint not null, life text not null)",
        )
        .execute(&mut admin)
        .await?;
        Ok(database)
    }

    pub(crate) fn url(&self, port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/postgres")
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Starts it after it was stopped or killed, at the same address.
    pub(crate) async fn start_again(&self) -> Result<(), Anyhow> {
        let (path, port) = (self.folder.to_string_lossy().into_owned(), self.port.to_string());
        script("postgres", &["start", "--dir", &path, "--port", &port]).await.map(drop)
    }

    /// Ends it with SIGKILL, all of its processes at once.
    pub(crate) async fn kill(&self) -> Result<(), Anyhow> {
        let processes = self.processes().await?;
        send(Signal::Kill, &processes).await?;
        if gone(&processes, STOPPING).await { Ok(()) } else { Err("it outlives SIGKILL".into()) }
    }

    /// Stops it: `fast` or `immediate`.
    pub(crate) async fn stop(&self, mode: &str) -> Result<(), Anyhow> {
        let path = self.folder.to_string_lossy().into_owned();
        script("postgres", &["stop", "--dir", &path, "--mode", mode]).await.map(drop)
    }

    /// The server's process and those of its connections.
    pub(crate) async fn processes(&self) -> Result<Vec<u32>, Anyhow> {
        let file = self.folder.join("data/postmaster.pid");
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let parent = text.lines().next().unwrap_or_default().to_owned();
        let told = Command::new("ps").args(["-o", "pid=", "--ppid", &parent]).output().await?;
        let children = String::from_utf8(told.stdout)?;
        let all = std::iter::once(parent.as_str()).chain(children.split_whitespace());
        Ok(all.map(str::parse).collect::<Result<_, _>>()?)
    }

    pub(crate) async fn end(&self) {
        if let Ok(processes) = self.processes().await {
            let _gone = send(Signal::Continue, &processes).await;
        }
        let _stopped = self.stop("immediate").await;
        let _stays_in_the_way_of_nobody = std::fs::remove_dir_all(&self.folder);
    }
}
