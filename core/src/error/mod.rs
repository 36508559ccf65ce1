//! Errors: each names the thing, the value, and what to do about it.
//!
//! Two kinds are kept apart. Misuse (an illegal name, an unknown topic, an oversize event) is refused where it enters.
//! Faults of the world (a server that does not answer) say what may be concluded from them: see
//! [`PortError`](crate::ports::PortError).

mod bus;
mod event;
mod kafka;
mod name;
mod produce;
mod setting;
mod sources;

pub use bus::{ProduceError, RegistrationError};
pub use event::{DecodeError, DecodeFault, EncodeError, EncodeFault};
pub use kafka::{ErrorCode, Remedy};
pub use name::{NameError, NameKind};
pub use produce::ProduceFailure;
pub use setting::SettingError;
pub use sources::{LONGEST_CHAIN, sources};
