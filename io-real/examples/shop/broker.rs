//! The broker: the one that was named, or a process of this run's own.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::{Anyhow, Shop};

/// The broker that the shop uses.
pub(crate) struct Broker {
    pub(crate) kafka: String,
    process: Option<u32>,
    /// Ends with the shop.
    _own: Option<Child>,
}

impl Broker {
    /// Starts one unless one was named.
    pub(crate) async fn find(shop: &Shop) -> Result<Self, Anyhow> {
        if let Some(kafka) = &shop.kafka {
            return Ok(Self { kafka: kafka.clone(), process: shop.kafka_pid, _own: None });
        }
        let program = match &shop.evenkeel {
            Some(program) => program.clone(),
            None => beside_the_examples()?,
        };
        let mut own = Command::new(&program)
            .args(["broker", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|cause| {
                let program = program.display();
                format!("cannot run {program}: {cause}; build it: cargo build --release -p evenkeel --features broker")
            })?;
        let words = own.stdout.take().ok_or("a broker without a voice")?;
        let first = BufReader::new(words).lines().next_line().await?.unwrap_or_default();
        let kafka =
            first.strip_prefix("export KAFKA=").ok_or("the broker ended before it was ready")?.to_owned();
        Ok(Self { kafka, process: own.id(), _own: Some(own) })
    }

    /// How much memory its process has, in KiB.
    pub(crate) async fn memory(&self) -> Result<Option<u64>, Anyhow> {
        let Some(process) = self.process else { return Ok(None) };
        let told = Command::new("ps").args(["-o", "rss=", "-p", &process.to_string()]).output().await?;
        Ok(String::from_utf8(told.stdout)?.trim().parse().ok())
    }
}

/// `target/release/evenkeel` for `target/release/examples/shop`.
fn beside_the_examples() -> Result<PathBuf, Anyhow> {
    let own = std::env::current_exe()?;
    let folder = own.parent().and_then(|examples| examples.parent()).ok_or("the shop lies in no folder")?;
    Ok(folder.join("evenkeel"))
}
