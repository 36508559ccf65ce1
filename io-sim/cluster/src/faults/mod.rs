//! Plans of faults: what goes wrong and when, as data that prints, parses, and is kept when a bug was found.
//!
//! What can go wrong differs: the simulated world has processes to kill, brokers that are [served](crate::serve) have
//! connections to reset, a database's proxy has COMMITs to lose. All of them share this: the [`seed`] and its named
//! streams, and the [`plan`]'s text. A vocabulary is two types, one of chances and one of strokes.

mod brief;
mod dice;
pub mod plan;
mod schedule;
pub mod seed;
mod span;

pub use brief::{Brief, BriefError};
pub use dice::Dice;
pub use plan::{Chance, Occasion, Plan, PlanError, Stroke, Weather};
pub use schedule::{Moment, Schedule};
pub use seed::{Draw, Rate, Seed, Stream};
pub use span::Span;

/// Makes an enum of chances with their names in plans.
#[macro_export]
macro_rules! chances {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $crate::faults::Chance for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)*];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}
