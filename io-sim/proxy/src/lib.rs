//! A proxy for PostgreSQL connections that breaks them by plan: unchanged services meet a COMMIT whose answer is lost.
//!
//! ```text
//!   service ── connection ── PostgreSQL
//!               │      │
//!            frames  session   which message is which: pure
//!                      │
//!                  director ── Saboteur   what becomes of it: pure
//! ```
//!
//! A [`DatabasePlan`] says what goes wrong; its form is told at [`evenkeel_cluster::faults::plan`], its words are
//! [`DatabaseChance`] and [`DatabaseStroke`].
//!
//! ```no_run
//! use evenkeel_proxy::Proxy;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let plan = "seed 7\nchance db-commit-reply-lost 10%\nat 2s restart-database down 1s\nquiet at 30s";
//! let proxy = Proxy::start("127.0.0.1:0", "127.0.0.1:5432", plan.parse()?).await?;
//! let url = format!("postgres://postgres@{}/shop", proxy.address()); // for the service under test
//! # let _ = url;
//! println!("{:?}", proxy.struck().await);
//! # Ok(())
//! # }
//! ```
//!
//! It refuses encryption, as it could see nothing then: a client that insists on TLS cannot use it. It knows no more of
//! the protocol than it needs to see statements, COMMIT and their answers.

mod connection;
mod decide;
mod director;
mod draw;
mod frames;
mod proxy;
mod session;
mod words;

pub use draw::draw;
pub use proxy::{Proxy, ProxyError};
pub use words::{DatabaseChance, DatabasePlan, DatabaseStroke};

/// What faults are told under in the log.
const LOG: &str = "evenkeel::faults";
