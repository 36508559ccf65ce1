//! What lies behind an error.

use std::error::Error;
use std::io;

/// Longer chains of sources than this are circles.
pub const LONGEST_CHAIN: usize = 64;

/// An error and what lies behind it, the outermost first.
///
/// An [`io::Error`] made of another error names that one's source as its own: here the other error comes between.
/// Chains end after [`LONGEST_CHAIN`] errors.
pub fn sources<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| behind(*error)).take(LONGEST_CHAIN)
}

fn behind<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("link")]
    struct Link(#[source] Option<Box<dyn Error + Send + Sync>>);

    #[test]
    fn what_an_io_error_is_made_of_is_not_passed_over() {
        let inner = Link(Some("the cause".into()));
        let outer = Link(Some(Box::new(io::Error::other(inner))));
        let told: Vec<String> = sources(&outer).map(ToString::to_string).collect();
        assert_eq!(told, ["link", "link", "link", "the cause"]);
        assert_eq!(sources(&outer).filter(|error| error.is::<Link>()).count(), 2);
    }

    #[test]
    fn an_endless_chain_ends() {
        let mut chain = Link(None);
        for _ in 0..2 * LONGEST_CHAIN {
            chain = Link(Some(Box::new(chain)));
        }
        assert_eq!(sources(&chain).count(), LONGEST_CHAIN);
    }
}
