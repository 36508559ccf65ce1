//! The database as far as exactly-once needs it: claims that conflict while their transactions are open, and a commit
//! order. The smallest thing that can break E1, E2 and E3; isolation and recovery have a machine of their own.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_core::model::Time;

use crate::history::{EventNo, Facts, HandlerNo, TxNo};
use crate::network::counter::Counter;

/// What a claim is about.
pub(super) type Key = (HandlerNo, EventNo);

/// See the [module](self).
#[derive(Debug, Clone, Default)]
pub(super) struct Store {
    txs: Counter,
    /// What each open transaction has claimed.
    open: BTreeMap<TxNo, Vec<Key>>,
    claimed: BTreeSet<Key>,
    /// Nobody reaches it until then.
    pub(super) down_until: Time,
    /// No connection comes free until then.
    pub(super) empty_until: Time,
}

impl Store {
    /// From here on numbers of transactions do not show what other processes did before.
    pub(super) const fn count_apart(&mut self) {
        self.txs.count_apart();
    }

    /// Begins a transaction of a process.
    pub(super) fn begin(&mut self, process: u16) -> TxNo {
        let tx = TxNo(self.txs.next(process));
        self.open.insert(tx, Vec::new());
        tx
    }

    pub(super) fn is_open(&self, tx: TxNo) -> bool {
        self.open.contains_key(&tx)
    }

    /// Claims in order: whether each is new. `None` if another's open claim is in the way; what came before it is kept.
    pub(super) fn claim(&mut self, tx: TxNo, wanted: &[Key]) -> Option<Vec<bool>> {
        let mut fresh = Vec::with_capacity(wanted.len());
        for key in wanted {
            if self.claimed.contains(key) {
                fresh.push(false);
                continue;
            }
            if self.open.iter().any(|(other, claims)| *other != tx && claims.contains(key)) {
                return None;
            }
            let own = self.open.get_mut(&tx)?;
            if !own.contains(key) {
                own.push(*key);
            }
            fresh.push(true);
        }
        Some(fresh)
    }

    /// Commits: what it had claimed, unless it is gone.
    pub(super) fn commit(&mut self, tx: TxNo) -> Option<Vec<Key>> {
        let claims = self.open.remove(&tx)?;
        self.claimed.extend(claims.iter().copied());
        Some(claims)
    }

    /// Forgets all but the last few claims.
    pub(super) fn prune(&mut self) {
        while self.claimed.len() > 3 {
            self.claimed.pop_first();
        }
    }

    /// What it holds, in words.
    pub(super) fn look(&self, now: Time, facts: &Facts) -> String {
        let names = |keys: &mut dyn Iterator<Item = &Key>| {
            keys.map(|(handler, event)| format!("{event} by {}", facts.handler_name(*handler)))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let mut text = match self.claimed.len() {
            0 => "no claims".to_owned(),
            many => format!("{many} claims: {}", names(&mut self.claimed.iter())),
        };
        for (tx, claims) in &self.open {
            text += &format!("\n  {tx} is open and claims: {}", names(&mut claims.iter()));
        }
        if self.down_until > now {
            text += &format!("\n  it is down until {}", self.down_until);
        }
        if self.empty_until > now {
            text += &format!("\n  no connection comes free until {}", self.empty_until);
        }
        text
    }

    /// Rolls back.
    pub(super) fn abort(&mut self, tx: TxNo) {
        self.open.remove(&tx);
    }

    /// Loses all open transactions.
    pub(super) fn restart(&mut self, until: Time) {
        self.open.clear();
        self.down_until = self.down_until.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Key = (HandlerNo(0), EventNo(1));
    const B: Key = (HandlerNo(0), EventNo(2));

    #[test]
    fn a_claim_waits_for_anothers_and_is_old_once_that_has_committed() {
        let mut store = Store::default();
        let (first, second) = (store.begin(0), store.begin(0));
        assert_eq!(store.claim(first, &[A]), Some(vec![true]));
        assert_eq!(store.claim(second, &[A, B]), None);
        assert_eq!(store.commit(first), Some(vec![A]));
        assert_eq!(store.claim(second, &[A, B]), Some(vec![false, true]));
        assert_eq!(store.commit(second), Some(vec![B]));
    }

    #[test]
    fn what_is_rolled_back_is_claimed_by_nobody() {
        let mut store = Store::default();
        let first = store.begin(0);
        assert_eq!(store.claim(first, &[A]), Some(vec![true]));
        store.restart(Time::ZERO);
        assert_eq!(store.commit(first), None);
        let second = store.begin(0);
        assert_eq!(store.claim(second, &[A]), Some(vec![true]));
        store.abort(second);
        assert!(!store.is_open(second));
    }
}
