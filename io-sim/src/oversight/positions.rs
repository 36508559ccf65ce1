//! What groups have stored, and what may become of it behind their backs: lost, set back by hand, spoilt.
//!
//! Members do not learn of it. Whoever is assigned the partition next begins at what is there then.

use std::sync::Arc;

use evenkeel_cluster::Input;
use evenkeel_cluster::message::StoredOffset;
use evenkeel_core::model::Offset;

use super::Oversight;
use crate::history::{GroupNo, Happening, Place};

/// A position is lost, as if it had expired.
pub(crate) fn forget(world: &mut impl Oversight, group: GroupNo, place: Place) {
    change(world, group, place, |_| None);
}

/// A position is set to an older one by hand.
pub(crate) fn set_back(world: &mut impl Oversight, group: GroupNo, place: Place, by: u16) {
    change(world, group, place, |stored| {
        let offset = Offset((stored.offset.0 - i64::from(by)).max(0));
        Some(StoredOffset { offset, leader_epoch: None, metadata: "".into() })
    });
}

/// A position's metadata becomes another.
pub(crate) fn spoil(world: &mut impl Oversight, group: GroupNo, place: Place, how: u16) {
    change(world, group, place, |stored| {
        let metadata = spoilt(&stored.metadata, how);
        Some(StoredOffset { metadata, ..stored })
    });
}

/// Metadata that is not what a member wrote.
fn spoilt(metadata: &str, how: u16) -> Arc<str> {
    let mut bytes = metadata.as_bytes().to_vec();
    match how {
        1 if !bytes.is_empty() => bytes.truncate(bytes.len() / 2),
        2.. if !bytes.is_empty() => {
            let nth = usize::from(how) % bytes.len();
            bytes[nth] = if bytes[nth] == b'A' { b'B' } else { b'A' };
        }
        _ => bytes = b"checked by hand".to_vec(),
    }
    String::from_utf8_lossy(&bytes).into()
}

fn change(
    world: &mut impl Oversight,
    group: GroupNo,
    place: Place,
    to: impl FnOnce(StoredOffset) -> Option<StoredOffset>,
) {
    // Where a log was cut an offset says little without the metadata that tells which log it is of.
    if world.ledger().was_cut(place) {
        return;
    }
    let name = Arc::clone(&world.facts().groups[usize::from(group.0)].name);
    let Some(coordinator) = world.coordinator(&name) else { return };
    let Some(stored) = world.stored(coordinator, &name, place) else { return };
    let position = to(stored);
    let offset = position.as_ref().map(|stored| stored.offset);
    let topic = world.topic_name(place);
    world.strike_cluster(Input::SetPosition { group: name, topic, partition: place.partition, position });
    world.tell(Happening::PositionSet { group, place, offset });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spoilt_is_always_another() {
        for metadata in ["", "A", "4QAAAAAAAAAB"] {
            for how in 0..30 {
                assert_ne!(*spoilt(metadata, how), *metadata, "{metadata:?} {how}");
            }
        }
        assert_eq!(*spoilt("4QAA", 1), *"4Q");
        assert_eq!(*spoilt("4QAA", 3), *"4QAB");
    }
}
