//! `evenkeel proxy`: breaks connections to PostgreSQL.

use std::io::Write;
use std::net::SocketAddr;

use clap::Args;

use super::signals::Signals;
use super::{Failure, faults};

const FAULTS: &str = "\
What goes wrong: a file with a plan, or `seed=N` for a plan drawn from a seed, whose faults go on for a minute, or \
`seed=N,for=300s`.

A plan is lines such as these; times count from the start:

    seed 7                             # decides when a chance strikes
    chance db-commit-reply-lost 5%     # COMMIT is applied, and its answer lost
    chance db-commit-lost 5%           # COMMIT never arrives
    at 3s restart-database down 1.5s
    quiet at 60s                       # after that no fault; without it they go on

Chances: refused, statement-lost, slow, silence, reply-torn, db-commit-lost, db-commit-reply-lost. Strokes: \
restart-database, isolate-database. None of them destroys what was committed.

Each fault is told on standard error as it strikes, and how often each has struck at the end. A chance is told with the \
number of the connection and which time it was; `spare NAME of N nth N` takes that one out and leaves all others.";

#[derive(Debug, Args)]
pub(super) struct Proxy {
    /// Where to listen. With port 0 the system chooses one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:6432")]
    listen: String,
    /// Where the database is.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5432")]
    to: String,
    #[arg(long, value_name = "PLAN", help = "What goes wrong: a file with a plan, or seed=N", long_help = FAULTS)]
    faults: String,
}

impl Proxy {
    pub(super) async fn serve(self) -> Result<(), Failure> {
        let mut signals = Signals::new()?;
        let Self { listen, to, faults } = self;
        let plan = faults::plan(&faults, evenkeel_proxy::draw)?;
        let proxy = evenkeel_proxy::Proxy::start(listen, to, plan.clone()).await?;
        tell(proxy.address()).map_err(|cause| Failure::Io { doing: "cannot print the address", cause })?;
        signals.first().await;
        faults::tell(&plan, &proxy.struck().await);
        proxy.shutdown().await;
        Ok(())
    }
}

/// The line that says that clients may come, and where to.
fn tell(address: SocketAddr) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "export PGHOST={} PGPORT={}", address.ip(), address.port())?;
    out.flush()
}
