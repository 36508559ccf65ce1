//! Tests over the whole tree. Seeded chaos runs join the rules of the house, which are in `tests/tidy.rs`.
