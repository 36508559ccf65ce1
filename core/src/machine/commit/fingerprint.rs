//! The name of a set of handlers, short enough to travel with every commit.

use std::collections::BTreeSet;
use std::fmt;

use sha2::{Digest, Sha256};

/// Stands for a set of handler names: the same names give the same fingerprint, in any order, on every machine and in
/// every version of this library.
///
/// An event is settled when every handler of its topic has settled it, so what was settled for one set of handlers says
/// nothing to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The fingerprint of these handlers. Order and repetition do not matter.
    #[must_use]
    pub fn of<'a>(handlers: impl IntoIterator<Item = &'a str>) -> Self {
        let names: BTreeSet<&str> = handlers.into_iter().collect();
        let mut hash = Sha256::new();
        for name in names {
            // The length comes first, so that "ab", "c" and "a", "bc" differ.
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name.as_bytes());
        }
        let [a, b, c, d, e, f, g, h, ..]: [u8; 32] = hash.finalize().into();
        Self(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }

    pub(super) const fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    pub(super) const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Fingerprint;

    #[test]
    fn order_and_repetition_do_not_matter_but_names_do() {
        let both = Fingerprint::of(["charge", "ship"]);
        assert_eq!(both, Fingerprint::of(["ship", "charge", "ship"]));
        for other in [&["charge"][..], &["charges", "hip"], &["chargeship"], &["charge", "ship", ""], &[]] {
            assert_ne!(both, Fingerprint::of(other.iter().copied()), "{other:?}");
        }
    }

    #[test]
    fn it_is_stored_by_groups_and_must_not_change() {
        assert_eq!(Fingerprint::of(["charge", "ship"]).to_string(), "a2a703962b00ee14");
    }
}
