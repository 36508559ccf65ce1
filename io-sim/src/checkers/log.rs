//! One partition's records, and what became of each for each handler.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use evenkeel_core::model::{Offset, Time};

use crate::history::{Cut, EventNo, GroupNo, HandlerNo, KeyNo, Life, Nature};

/// What became of one record for one handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Its effects are there, or the handler wants none.
    pub settled: bool,
    /// The policy gave it up.
    pub given_up: bool,
    /// The last attempt failed.
    pub failed: bool,
    /// There was an attempt at this record.
    pub tried: bool,
    /// It was committed by a process that does not run the handler, which is not owed it any more.
    pub passed_over: bool,
    /// After it was passed over the group's position was set to before it: whoever begins there is handed it after all.
    pub rewound: bool,
}

impl Standing {
    /// Whether nothing more is to happen to it.
    #[must_use]
    pub const fn is_over(self) -> bool {
        self.settled || self.given_up || self.passed_over
    }
}

/// A record in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// The workload's event.
    pub event: Option<EventNo>,
    /// The event's key.
    pub key: Option<KeyNo>,
    /// What handlers make of it.
    pub nature: Nature,
    /// Whether the world destroyed it.
    pub destroyed: bool,
}

/// A record that was cut off.
#[derive(Debug, Clone, Default)]
struct CutOff {
    /// Whether the world had destroyed it before.
    destroyed: bool,
    nature: Nature,
    key: Option<KeyNo>,
    /// Whether its topic was deleted since: then it does not come back.
    deleted: bool,
    /// What became of it for each handler.
    became: BTreeMap<HandlerNo, Standing>,
}

/// One partition's records.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// By offset; `None` where there is no record.
    pub(super) records: Vec<Option<Record>>,
    /// By handler and offset.
    pub(super) standings: BTreeMap<HandlerNo, Vec<Standing>>,
    /// When it last lost its last records.
    pub(super) cut_at: Option<Time>,
    /// Whether its topic was ever deleted. Where a broker lags, members learn late that what they
    /// read is another log, whenever they began, and then begin once more.
    pub(super) began_anew: bool,
    /// Who took it over since it was cut last, and knows nothing of what it was before.
    pub(super) took_over: BTreeSet<(GroupNo, Life)>,
    /// What became of records that an election cut off. Whoever still has them may come to lead once more, and nobody need
    /// have seen that they were gone.
    cut_off: BTreeMap<(Offset, Option<EventNo>), CutOff>,
}

impl Log {
    /// Behind the last record.
    #[must_use]
    pub fn end(&self) -> Offset {
        Offset(self.records.len() as i64)
    }

    /// The record at an offset.
    #[must_use]
    pub fn record(&self, offset: Offset) -> Option<&Record> {
        self.records.get(index(offset)?)?.as_ref()
    }

    /// All records with their offsets.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = (Offset, &Record)> {
        let numbered = self.records.iter().enumerate();
        numbered.filter_map(|(nth, record)| Some((Offset(nth as i64), record.as_ref()?)))
    }

    /// What became of a record for a handler.
    #[must_use]
    pub fn standing(&self, handler: HandlerNo, offset: Offset) -> Standing {
        let of_handler = self.standings.get(&handler);
        index(offset).and_then(|nth| of_handler?.get(nth).copied()).unwrap_or_default()
    }

    pub(super) fn cut(&mut self, at: Time, end: Offset, why: Cut) {
        let Some(end) = index(end) else { return };
        for (nth, record) in self.records.iter().enumerate().skip(end) {
            let Some(record) = record else { continue };
            let became = self.standings.iter().filter_map(|(handler, all)| Some((*handler, *all.get(nth)?)));
            let Record { destroyed, nature, key, .. } = *record;
            let lost = CutOff { destroyed, nature, key, deleted: false, became: became.collect() };
            self.cut_off.insert((Offset(nth as i64), record.event), lost);
        }
        self.records.truncate(end);
        for standings in self.standings.values_mut() {
            standings.truncate(end);
        }
        if why == Cut::Deletion {
            for lost in self.cut_off.values_mut() {
                lost.deleted = true;
            }
        }
        self.cut_at = Some(at);
        self.began_anew |= why == Cut::Deletion;
        self.took_over.clear();
    }

    /// A record is there, for the first time or once more.
    pub(super) fn put(&mut self, offset: Offset, record: Record) {
        let Some(nth) = index(offset) else { return };
        if self.records.len() <= nth {
            self.records.resize(nth + 1, None);
        }
        self.records[nth] = Some(record);
        let Some(lost) = self.cut_off.remove(&(offset, record.event)).filter(|lost| !lost.deleted) else {
            return;
        };
        self.records[nth] = Some(Record { destroyed: lost.destroyed, ..record });
        for (handler, became) in lost.became {
            if let Some(standing) = self.standing_mut(handler, offset) {
                *standing = became;
            }
        }
    }

    /// Whether another event than this one is at an offset: the log was cut since it was read.
    fn is_another(&self, offset: Offset, event: EventNo) -> bool {
        let there = self.record(offset).and_then(|record| record.event);
        self.cut_at.is_some() && there != Some(event)
    }

    /// What became of an event that was read at an offset, also if it was cut off since.
    pub(super) fn standing_of(
        &mut self,
        handler: HandlerNo,
        offset: Offset,
        event: EventNo,
    ) -> Option<&mut Standing> {
        if self.is_another(offset, event) {
            return Some(self.cut_off.get_mut(&(offset, Some(event)))?.became.entry(handler).or_default());
        }
        self.standing_mut(handler, offset)
    }

    /// What became for a handler of the records that were cut off from these offsets.
    pub(super) fn cut_off(
        &mut self,
        handler: HandlerNo,
        offsets: Range<Offset>,
    ) -> impl Iterator<Item = &mut Standing> {
        let among = self.cut_off.iter_mut().filter(move |((offset, _), _)| offsets.contains(offset));
        among.map(move |(_, lost)| lost.became.entry(handler).or_default())
    }

    /// Records, with their keys, that may be open for ever although they were cut off: below the start of a log nothing
    /// tells a reader of a cut.
    pub fn may_be_held(&self) -> impl Iterator<Item = (Offset, Option<KeyNo>)> {
        let held = self.cut_off.iter().filter(|(_, lost)| lost.destroyed && lost.nature != Nature::Good);
        held.map(|((offset, _), lost)| (*offset, lost.key))
    }

    /// The world destroyed what there was below an offset, told or not.
    pub(super) fn destroy(&mut self, offsets: &Range<Offset>) {
        let end = index(offsets.end).unwrap_or_default();
        if self.records.len() < end {
            self.records.resize(end, None);
        }
        for record in self.records[..end].iter_mut().skip(index(offsets.start).unwrap_or_default()).flatten()
        {
            record.destroyed = true;
        }
    }

    pub(super) fn standing_mut(&mut self, handler: HandlerNo, offset: Offset) -> Option<&mut Standing> {
        let nth = index(offset)?;
        let of_handler = self.standings.entry(handler).or_default();
        if of_handler.len() <= nth {
            of_handler.resize(nth + 1, Standing::default());
        }
        of_handler.get_mut(nth)
    }
}

pub(super) fn index(offset: Offset) -> Option<usize> {
    usize::try_from(offset.0).ok()
}
