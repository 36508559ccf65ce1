//! The tracker beside a naive model of it: sorted sets, searched from one end to the other.
//!
//! [`Pair`] does every operation to both and compares all that can be seen. Property tests draw the operations at
//! random; the fuzz target `commit_tracker` includes this file and lets the fuzzer search for them. The pair outlives
//! its tracker: a restart goes on from what the coordinator keeps, and the ledger of what was ever settled shows
//! whether anything got lost on the way.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Admission, CommitTracker, Fingerprint, MetadataLimit, Offset, SettledSet, Settlement, Snapshot, Ticket,
};

/// One thing that happens to a tracker.
#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    /// The next records are read; behind the log's end new ones are written, with gaps.
    Read { count: u8, gap: u8 },
    /// Records are read a second time.
    Reread { back: u8 },
    /// Offsets without records are read.
    Pass { gap: u8 },
    /// Events in flight settle, from some place in the window on.
    Settle { count: u8, from: u16 },
    /// A ticket comes back a second time.
    SettleAgain { from: u16 },
    /// A ticket comes that nobody gave out.
    Forge { ticket: u16 },
    /// The tracker is asked what to commit.
    Offer { limit: u16 },
    /// The coordinator accepts it.
    Accept,
    /// The connection is lost; the commit under way takes effect or does not, and its answer never comes.
    Lose { applied: bool },
    /// The process starts anew from what the coordinator keeps.
    Restart,
    /// The log loses its last records.
    Cut { back: u8 },
}

impl From<(u8, u8, u16)> for Op {
    fn from((kind, small, large): (u8, u8, u16)) -> Self {
        match kind % 16 {
            0..=3 => Self::Read { count: small % 24, gap: (large % 7).saturating_sub(3) as u8 },
            4..=8 => Self::Settle { count: small % 16, from: large },
            9 => Self::Pass { gap: small % 8 },
            10 => Self::Reread { back: small },
            11 => Self::SettleAgain { from: large },
            12 => Self::Forge { ticket: large },
            13 => Self::Offer { limit: large % 512 },
            14 => Self::Accept,
            _ => match small % 8 {
                0 => Self::Restart,
                4 => Self::Cut { back: (large % 256) as u8 },
                other => Self::Lose { applied: other % 2 == 0 },
            },
        }
    }
}

/// What the coordinator keeps, and the limit under which it was written.
#[derive(Debug, Clone)]
struct Commit {
    snapshot: Snapshot,
    limit: MetadataLimit,
}

/// A tracker, its model, and the world around them.
#[derive(Debug)]
pub(super) struct Pair {
    tracker: CommitTracker,
    handlers: Fingerprint,

    // The model of one life.
    position: i64,
    waiting: BTreeMap<i64, Ticket>,
    settled: BTreeSet<i64>,
    inherited: SettledSet,
    returned: Vec<(i64, Ticket)>,

    // The world, which outlives it.
    log: BTreeSet<i64>,
    log_end: i64,
    ever_settled: BTreeSet<i64>,
    kept: Option<Commit>,
    offered: Option<Commit>,
    /// Where the log was cut since the coordinator took what it keeps.
    cut_since_kept: Option<i64>,
    /// Whether the tracker must offer something, changed or not.
    owed: bool,
}

impl Pair {
    pub(super) fn new() -> Self {
        Self {
            tracker: CommitTracker::new(Offset::ZERO),
            handlers: Fingerprint::of(["charge", "ship"]),
            position: 0,
            waiting: BTreeMap::new(),
            settled: BTreeSet::new(),
            inherited: SettledSet::empty(Offset::ZERO),
            returned: Vec::new(),
            log: BTreeSet::new(),
            log_end: 0,
            ever_settled: BTreeSet::new(),
            kept: None,
            offered: None,
            cut_since_kept: None,
            owed: true,
        }
    }

    /// Does one operation to both, and compares them.
    pub(super) fn apply(&mut self, op: Op) {
        match op {
            Op::Read { count, gap } => (0..count).for_each(|_| self.read(gap)),
            Op::Reread { back } => self.reread(back),
            Op::Pass { gap } => self.pass(gap),
            Op::Settle { count, from } => (0..count).for_each(|_| self.settle(from)),
            Op::SettleAgain { from } => self.settle_again(from),
            Op::Forge { ticket } => self.forge(ticket),
            Op::Offer { limit } => self.offer(MetadataLimit::new(usize::from(limit))),
            Op::Accept => self.accept(),
            Op::Lose { applied } => self.lose(applied),
            Op::Restart => self.restart(),
            Op::Cut { back } => self.cut(back),
        }
        self.compare();
    }

    /// Everything settles, is committed, and nothing is left to do or to commit.
    pub(super) fn finish(&mut self) {
        while !self.waiting.is_empty() {
            self.settle(0);
        }
        self.offer(MetadataLimit::DEFAULT);
        self.accept();
        self.compare();
        assert_eq!(self.tracker.frontier(), self.tracker.position());
        assert_eq!(self.tracker.window(), 0);
        assert!(!self.tracker.dirty(), "what was accepted is not offered again");
        let kept = self.kept.as_ref().expect("the first commit was owed");
        assert_eq!(kept.snapshot.offset, self.tracker.frontier());
    }

    fn read(&mut self, gap: u8) {
        let offset = match self.log.range(self.position..).next() {
            Some(&offset) => offset,
            None => {
                let offset = self.log_end.max(self.position) + i64::from(gap);
                self.log.insert(offset);
                self.log_end = offset + 1;
                offset
            }
        };
        self.position = offset + 1;
        match self.tracker.admit(Offset(offset)).expect("the tracker is sound") {
            Admission::New(ticket) => {
                assert!(!self.settled.contains(&offset), "{offset} was settled and is handed out again");
                self.waiting.insert(offset, ticket);
            }
            Admission::AlreadySettled => assert!(self.settled.contains(&offset), "{offset} is skipped"),
            Admission::Stale => panic!("{offset} is refused"),
        }
    }

    fn reread(&mut self, back: u8) {
        let offset = Offset(self.position - 1 - i64::from(back));
        assert_eq!(self.tracker.admit(offset), Ok(Admission::Stale));
    }

    fn pass(&mut self, gap: u8) {
        let wanted = self.position + i64::from(gap);
        self.position = self.log.range(self.position..).next().map_or(wanted, |&next| wanted.min(next));
        assert_eq!(self.tracker.pass(Offset(self.position)), Ok(()));
        assert_eq!(
            self.tracker.pass(Offset(self.position - i64::from(gap))),
            Ok(()),
            "going back is no news"
        );
    }

    fn settle(&mut self, from: u16) {
        if self.waiting.is_empty() {
            return;
        }
        let place = usize::from(from) % self.waiting.len();
        let (&offset, &ticket) = self.waiting.iter().nth(place).expect("the place is within");
        assert_eq!(self.tracker.settle(ticket), Ok(Settlement::Settled));
        self.waiting.remove(&offset);
        self.settled.insert(offset);
        self.ever_settled.insert(offset);
        self.returned.push((offset, ticket));
    }

    fn settle_again(&mut self, from: u16) {
        if !self.returned.is_empty() {
            let (_, ticket) = self.returned[usize::from(from) % self.returned.len()];
            assert_eq!(self.tracker.settle(ticket), Ok(Settlement::Repeated));
        }
    }

    fn forge(&mut self, ticket: u16) {
        for ticket in [Ticket(u64::from(ticket)), Ticket(u64::MAX - u64::from(ticket))] {
            if !self.waiting.values().any(|given| *given == ticket) {
                assert_ne!(self.tracker.settle(ticket), Ok(Settlement::Settled));
            }
        }
    }

    fn offer(&mut self, limit: MetadataLimit) {
        match self.tracker.commit(limit, self.handlers, &[]).expect("the tracker is sound") {
            Some(snapshot) => {
                assert!(snapshot.metadata.len() <= limit.characters());
                let commit = Commit { snapshot, limit };
                self.check_commit(&commit);
                self.offered = Some(commit);
                self.owed = false;
            }
            None => {
                assert!(!self.owed, "something must be committed, changed or not");
                let mut kept = self.kept.clone().expect("nothing is to be committed, so something is kept");
                kept.limit = kept.limit.min(limit);
                self.check_commit(&kept);
                self.kept = Some(kept);
            }
        }
    }

    fn accept(&mut self) {
        assert!(!self.tracker.committed(Offset(self.log_end + 1_000_000)), "nothing of the kind was offered");
        if let Some(commit) = self.offered.take() {
            assert!(self.tracker.committed(commit.snapshot.offset));
            self.keep(commit);
        }
    }

    fn lose(&mut self, applied: bool) {
        self.tracker.recommit();
        self.owed = true;
        if let Some(commit) = self.offered.take() {
            assert!(!self.tracker.committed(commit.snapshot.offset), "the answer is late");
            if applied {
                self.keep(commit);
            }
        }
    }

    fn keep(&mut self, commit: Commit) {
        self.kept = Some(commit);
        self.cut_since_kept = None;
    }

    fn restart(&mut self) {
        let (start, set) = match &self.kept {
            None => (Offset::ZERO, SettledSet::empty(Offset::ZERO)),
            Some(Commit { snapshot, .. }) => {
                let set = SettledSet::decode(&snapshot.metadata, snapshot.offset, self.handlers);
                (snapshot.offset, set.expect("the tracker wrote it"))
            }
        };
        self.tracker = match &self.kept {
            None => CommitTracker::new(start),
            Some(_) => CommitTracker::resume(start, &set),
        };
        self.owed = self.kept.is_none();
        self.offered = None;
        self.position = start.0;
        self.waiting.clear();
        self.returned.clear();
        self.settled = self.log.range(start.0..).filter(|o| set.contains(Offset(**o))).copied().collect();
        self.inherited = set;
        if let Some(end) = self.cut_since_kept {
            self.follow_cut(end);
        }
    }

    fn cut(&mut self, back: u8) {
        self.log_end = (self.log_end - i64::from(back)).max(0);
        self.log.split_off(&self.log_end);
        self.ever_settled.split_off(&self.log_end);
        self.cut_since_kept = Some(self.cut_since_kept.map_or(self.log_end, |end| end.min(self.log_end)));
        self.offered = None;
        self.follow_cut(self.log_end);
    }

    /// The tracker learns that the log was cut.
    fn follow_cut(&mut self, end: i64) {
        assert_eq!(self.tracker.cut(Offset(end)), Ok(()));
        self.settled.split_off(&end);
        if end < self.frontier() {
            self.returned.clear();
            self.settled.clear();
        } else {
            self.returned.retain(|(offset, _)| *offset < end);
        }
        self.waiting.split_off(&end);
        self.position = self.position.min(end);
        let inherited = self.inherited.runs().iter().map(|run| run.start..run.end.min(Offset(end)));
        self.inherited = SettledSet::new(self.inherited.base(), inherited);
        self.owed = true;
    }

    fn frontier(&self) -> i64 {
        self.waiting.keys().next().copied().unwrap_or(self.position)
    }

    fn compare(&self) {
        let frontier = self.frontier();
        assert_eq!(self.tracker.frontier(), Offset(frontier), "frontier");
        assert_eq!(self.tracker.position(), Offset(self.position), "position");
        assert_eq!(self.tracker.in_flight(), self.waiting.len(), "in flight");
        let held = self.log.range(frontier..self.position.max(frontier)).count();
        assert_eq!(self.tracker.window(), held, "slots held");
        for offset in self.log.range(..frontier) {
            assert!(self.ever_settled.contains(offset), "{offset} lies below the frontier and never settled");
        }
        self.tracker.check();
    }

    /// A commit tells the truth, and as much of it as fits.
    fn check_commit(&self, Commit { snapshot, limit }: &Commit) {
        assert_eq!(snapshot.offset, Offset(self.frontier()));
        let set = SettledSet::decode(&snapshot.metadata, snapshot.offset, self.handlers);
        let set = set.expect("the tracker wrote it");
        let named: Vec<i64> =
            self.log.iter().copied().filter(|offset| set.contains(Offset(*offset))).collect();
        let beyond: Vec<i64> = self.settled.range(self.frontier()..).copied().collect();
        assert!(beyond.starts_with(&named), "{named:?} is not the near end of {beyond:?}");
        for unread in (self.position..self.log_end + 2).map(Offset) {
            let told = set.contains(unread);
            assert!(
                !told || self.inherited.contains(unread),
                "{unread} was not read and is named as settled"
            );
        }
        let longest_run = 24;
        if snapshot.metadata.len() + 2 * longest_run <= limit.characters() {
            assert_eq!(named, beyond, "cut although there was room");
        }
    }
}
