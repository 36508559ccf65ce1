//! Limits on calls and outstanding events (C8), and what they must not hold up (C7).

use super::*;

fn member(config: ConsumerConfig) -> Member {
    Member::reading(config, &[("orders/0", 0)])
}

#[test]
fn calls_stay_within_the_limits_of_group_and_handler() {
    let mut config = shop();
    config.concurrency = 4;
    config.handlers.push(handler("ship", 0, OnFailure::Block));
    config.handlers[1].concurrency = number(1);
    let mut member = member(config);
    member.fetched("orders/0", "0- 1- 2- 3- 4-");
    let started = member.started();
    assert_eq!(started.len(), 4);
    assert_eq!(started.iter().filter(|label| label.starts_with("ship")).count(), 1);
    member.done("ship orders/0@0");
    assert_eq!(member.started(), ["ship orders/0@1"]);
    member.done("charge orders/0@0");
    assert_eq!(member.started(), ["charge orders/0@3"]);
}

#[test]
fn waiting_events_count_as_outstanding() {
    let mut config = shop();
    config.handlers[0].outstanding = number(2);
    let mut member = member(config);
    member.fetched("orders/0", "0- 1- 2-");
    member.finish("charge orders/0@0", Outcome::Failed);
    member.finish("charge orders/0@1", Outcome::Failed);
    assert_eq!(member.started().len(), 2, "the third has to wait");
    member.pass(SECOND);
    assert_eq!(
        member.started(),
        ["charge orders/0@0 #2", "charge orders/0@1 #2"],
        "a due retry is let through"
    );
    member.done("charge orders/0@0 #2");
    assert_eq!(member.started(), ["charge orders/0@2"]);
}

#[test]
fn a_handler_at_its_limit_does_not_hold_up_another() {
    let mut config = shop();
    config.fetch_bytes = 20;
    config.handlers.push(handler("ship", 0, OnFailure::Block));
    config.handlers[0].outstanding = number(2);
    let mut member = member(config);
    member.fetched("orders/0", "0- 1-");
    member.finish("charge orders/0@0", Outcome::Failed);
    member.finish("charge orders/0@1", Outcome::Failed);
    member.done("ship orders/0@0");
    member.done("ship orders/0@1");
    for offset in 2..30 {
        member.fetched("orders/0", &format!("{offset}-"));
        member.done(&format!("ship orders/0@{offset}"));
    }
}

#[test]
fn events_that_no_attempt_can_help_take_no_place_from_others() {
    let mut config = shop();
    config.handlers[0].outstanding = number(2);
    let mut member = member(config);
    member.fetched("orders/0", "0- 1- 2- 3- 4-");
    for offset in 0..4 {
        member.finish(&format!("charge orders/0@{offset}"), Outcome::Permanent);
    }
    assert_eq!(member.started().last().map(String::as_str), Some("charge orders/0@4"));
}

#[test]
fn a_batch_stays_within_the_outstanding_limit() {
    let mut config = shop();
    config.handlers[0].batch = number(10);
    config.handlers[0].outstanding = number(3);
    let mut member = member(config);
    member.fetched("orders/0", "0- 1- 2- 3- 4-");
    assert_eq!(member.started(), ["charge orders/0@0 orders/0@1 orders/0@2"]);
}

#[test]
fn calls_of_an_ended_assignment_count_until_they_have_ended() {
    let mut config = shop();
    config.concurrency = 2;
    config.handlers[0].ordering = Ordering::Unordered;
    let mut member = member(config);
    member.fetched("orders/0", "0- 1- 2-");
    member.handle(Input::Lost);
    assert_eq!(member.cancelled.len(), 2);
    member.started();
    member.assigned(&["orders/0"]);
    member.begins(&[("orders/0", 0)]);
    member.open.retain(|action| !matches!(action, Action::Fetch { id, .. } if id.0 < 5));
    member.fetched("orders/0", "0- 1- 2-");
    assert_eq!(member.started(), Vec::<String>::new());
    member.finish("charge orders/0@0", Outcome::Cancelled);
    assert_eq!(member.started(), ["charge orders/0@0"]);
}

/// A record that counts how often it was copied out of its frame.
#[derive(Debug, Clone, Default)]
struct Framed {
    detached: u32,
}

impl Kept for Framed {
    fn detach(&mut self) {
        self.detached += 1;
    }
}

/// Key `a` fails; `b` runs on.
#[test]
fn what_will_stay_for_long_keeps_no_frame_alive() {
    let now = Time::from_millis(1);
    let mut machine: Consumer<Framed> = Consumer::new(shop(), Entropy::new(1));
    let membership = Member::new(shop()).membership();
    machine.handle(now, Input::Assigned { membership, partitions: vec![at("orders/0")] });
    let mut calls = Vec::new();
    let mut fetch = |machine: &mut Consumer<Framed>, records: &str| {
        let mut asked = None;
        while let Some(action) = machine.poll() {
            match action {
                Action::Describe { id, .. } => {
                    machine.handle(now, Input::Described { id, outcome: Ok(described(&[("orders", &[1])])) });
                }
                Action::FetchCommitted { id, .. } => {
                    let stored = StoredOffset { offset: Offset(0), leader_epoch: None, metadata: "".into() };
                    machine.handle(
                        now,
                        Input::Committed { id, outcome: Ok(vec![(at("orders/0"), Ok(Some(stored)))]) },
                    );
                }
                Action::Fetch { id, .. } => asked = Some(id),
                Action::Run { call, .. } => calls.push(call),
                _ => {}
            }
        }
        let Read { records, next, leader_epoch, high_watermark, fault } = read(records);
        let framed = |arrival: Arrival<Offset>| {
            let Arrival { offset, key, weight, leader_epoch, .. } = arrival;
            Arrival { offset, key, weight, leader_epoch, record: Framed::default() }
        };
        let records = records.into_iter().map(framed).collect();
        let read = Read { records, next, leader_epoch, high_watermark, fault };
        let id = asked.expect("it fetches");
        machine.handle(now, Input::Fetched { id, outcome: Ok(vec![(at("orders/0"), Ok(read))]) });
        calls.clone()
    };
    fetch(&mut machine, "0a 1a 2b");
    let running = fetch(&mut machine, "3b");
    let failed = Input::Finished { call: running[0], outcome: Outcome::Failed, waited: Duration::ZERO };
    machine.handle(now, failed);
    fetch(&mut machine, "4a 5b");
    let detached: Vec<bool> = machine.events.iter().map(|(_, event)| event.record.detached > 0).collect();
    assert_eq!(
        detached,
        [true, true, false, false, true, false],
        "the one that waits, and what is parked behind it"
    );
}
