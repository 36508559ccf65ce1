//! Groups that are due: each is looked at once, then its deadline lies ahead.

use super::*;

impl Bench {
    fn join(&mut self, group: &str, session_timeout: Duration) {
        let request = JoinGroupRequest {
            group: group.into(),
            session_timeout,
            rebalance_timeout: Duration::ZERO,
            member: "".into(),
            instance: None,
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), Bytes::new())],
            takes_id_first: false,
            may_skip_assignment: false,
        };
        let id = self.ask(1, request);
        let Some(Some(Answer::JoinGroup(answer))) = self.outcomes.get(&id) else { panic!("no answer") };
        assert!(answer.outcome.is_ok(), "{answer:?}");
    }
}

#[test]
fn a_group_that_stays_due_is_looked_at_once() {
    const SESSION: Duration = Duration::from_secs(10);
    let mut bench = Bench::new(1, |_| {});
    for group in ["g", "h"] {
        bench.join(group, SESSION);
    }
    bench.now = bench.now + SESSION;
    let now = bench.now;
    for round in 1..=3 {
        let (mut looks, now) = (0, now + Duration::from_secs(round));
        bench.cluster.groups.tick(now, |_| {
            looks += 1;
            assert!(looks <= 2, "a group is looked at again though nothing has changed");
        });
        assert_eq!(looks, 2, "in round {round}");
        assert!(bench.cluster.groups.deadline().is_some_and(|at| at > now));
        bench.cluster.check();
    }
    // Nothing was lost by it: the sessions have ended.
    bench.pass(5_000);
    assert_eq!(bench.cluster.groups.deadline(), None);
}
