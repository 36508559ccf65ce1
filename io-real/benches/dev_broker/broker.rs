//! The broker's process, and what the system says of it.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

pub(crate) type Anyhow = Box<dyn std::error::Error + Send + Sync>;

/// Kernels count the processor time of a process in hundredths of a second, whatever their own clock's rate.
const TICK: Duration = Duration::from_millis(10);

pub(crate) struct Broker {
    pub(crate) address: String,
    process: u32,
    /// Ends with this.
    _child: Child,
}

impl Broker {
    pub(crate) async fn start() -> Result<Self, Anyhow> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
            .args(["broker", "--listen", "127.0.0.1:0", "--retain", "4GiB"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let out = child.stdout.take().ok_or("it is piped")?;
        let line = BufReader::new(out).lines().next_line().await?.unwrap_or_default();
        let address = line.strip_prefix("export KAFKA=").ok_or("the broker did not start")?.to_owned();
        Ok(Self { address, process: child.id().ok_or("the broker ended")?, _child: child })
    }

    /// What it has of the machine's memory, in bytes.
    pub(crate) fn memory(&self) -> Result<f64, Anyhow> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in its status")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1_024.0)
    }

    /// What it has used of the processors, in user and kernel mode.
    pub(crate) fn processor_time(&self) -> Result<Duration, Anyhow> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process))?;
        // The second field is the program's name in parentheses and may hold spaces: fields are counted after it.
        let (_, fields) = stat.rsplit_once(')').ok_or("its stat names no program")?;
        let ticks =
            fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>).sum::<Result<u32, _>>()?;
        Ok(TICK * ticks)
    }
}
