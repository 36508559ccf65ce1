//! Searches for a sequence of operations after which the commit tracker and its naive model differ.
//!
//! The model, and what is compared after every operation, are those of the property tests: `core/src/machine/commit/naive.rs`.
//! Run with `cargo +nightly fuzz run commit_tracker`.
#![no_main]

use evenkeel_core::machine::commit::{
    Admission, CommitTracker, Fingerprint, MetadataLimit, SettledSet, Settlement, Snapshot, Ticket,
};
use evenkeel_core::model::Offset;
use libfuzzer_sys::arbitrary::{Arbitrary, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use naive::{Op, Pair};

#[path = "../../core/src/machine/commit/naive.rs"]
mod naive;

#[derive(Debug)]
struct Operations(Vec<Op>);

impl<'a> Arbitrary<'a> for Operations {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let drawn = bytes.arbitrary_iter::<(u8, u8, u16)>()?;
        drawn.map(|op| op.map(Op::from)).collect::<Result<_>>().map(Self)
    }
}

fuzz_target!(|operations: Operations| {
    let mut pair = Pair::new();
    for op in operations.0 {
        pair.apply(op);
    }
    pair.finish();
});
