//! Real servers: those that the environment names, or those that `io-real/services/` starts.
//!
//! The scripts stand in line behind one another and leave a running server as it is, so that test processes in
//! parallel share one. It goes on running after the tests; `io-real/services/NAME stop` ends it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, id};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// Databases of tests are dropped by later tests when they are older than this.
const KEEP_DATABASES: Duration = Duration::from_secs(15 * 60);

/// The bootstrap address of an Apache Kafka: `EVENKEEL_TEST_KAFKA`, or one that is started now.
pub fn kafka() -> &'static str {
    static ADDRESS: OnceLock<String> = OnceLock::new();
    ADDRESS.get_or_init(|| address("EVENKEEL_TEST_KAFKA", "kafka"))
}

/// The address of a database that no other test uses, on the PostgreSQL server that `EVENKEEL_TEST_POSTGRES` names
/// (as a URL whose user may create databases), or on one that is started now.
pub async fn postgres() -> String {
    static CREATED: AtomicU32 = AtomicU32::new(0);
    let server = postgres_server();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    let name =
        format!("evenkeel_test_{}_{}_{}", now.as_secs(), id(), CREATED.fetch_add(1, Ordering::Relaxed));
    let mut admin = PgConnection::connect(server).await.unwrap_or_else(|error| {
        panic!("cannot connect to {server}: {error}. Start it, or unset EVENKEEL_TEST_POSTGRES to have one started")
    });
    drop_old_databases(&mut admin, now - KEEP_DATABASES).await;
    admin
        .execute(AssertSqlSafe(format!("create database {name}")))
        .await
        .unwrap_or_else(|error| panic!("cannot create a database on {server}: {error}"));
    let (base, options) =
        server.split_once('?').map_or((server, String::new()), |(b, o)| (b, format!("?{o}")));
    let (base, _default_database) = base.rsplit_once('/').expect("the URL names a database");
    format!("{base}/{name}{options}")
}

/// The address of the PostgreSQL server's default database.
pub fn postgres_server() -> &'static str {
    static ADDRESS: OnceLock<String> = OnceLock::new();
    ADDRESS.get_or_init(|| address("EVENKEEL_TEST_POSTGRES", "postgres"))
}

/// What a test left behind is found by the time in its name. One that is in use refuses to go, which is right.
async fn drop_old_databases(admin: &mut PgConnection, before: Duration) {
    let found = "select datname from pg_database where datname like 'evenkeel\\_test\\_%'";
    let names: Vec<String> = sqlx::query_scalar(found).fetch_all(&mut *admin).await.unwrap_or_default();
    for name in names {
        let created = name.split('_').nth(2).and_then(|seconds| seconds.parse().ok());
        if created.is_some_and(|seconds| Duration::from_secs(seconds) < before) {
            let _refused_while_in_use =
                admin.execute(AssertSqlSafe(format!("drop database if exists {name}"))).await;
        }
    }
}

/// The value of `variable`, or what the service's script prints when it is told to start.
fn address(variable: &str, service: &str) -> String {
    if let Ok(address) = std::env::var(variable) {
        return address;
    }
    let script = script(service);
    let started = Command::new(&script)
        .arg("start")
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", script.display()));
    let printed = String::from_utf8_lossy(&started.stdout);
    match printed.trim().split_once('=') {
        Some((_export, address)) if started.status.success() => address.to_owned(),
        _ => panic!(
            "no {service} for the tests: `{} start` failed, see above. \
             Mend what it says, or name a running one in {variable}",
            script.display()
        ),
    }
}

/// A PostgreSQL server for one test alone, to be killed. Gone with its data when the test ends.
pub struct OwnPostgres {
    directory: PathBuf,
}

impl OwnPostgres {
    /// Starts one.
    pub fn start() -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let server = Self { directory: PathBuf::from(format!("/var/tmp/evenkeel-test-{}-{number}", id())) };
        server.script(&["start"]);
        server
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.script(&["url"]).trim().to_owned()
    }

    /// Ends it as a crash would.
    pub fn kill(&self) {
        self.script(&["stop", "--mode", "immediate"]);
    }

    /// Starts it again after [`kill`](Self::kill), at the same address.
    pub fn start_again(&self) {
        self.script(&["start"]);
    }

    fn script(&self, arguments: &[&str]) -> String {
        let script = script("postgres");
        let run = Command::new(&script)
            .args(arguments)
            .arg("--dir")
            .arg(&self.directory)
            .output()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", script.display()));
        let told = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "`{} {}` failed: {told}", script.display(), arguments.join(" "));
        String::from_utf8_lossy(&run.stdout).into_owned()
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        self.kill();
        let _stays_in_the_way_of_nobody = std::fs::remove_dir_all(&self.directory);
    }
}

fn script(service: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("services").join(service)
}
