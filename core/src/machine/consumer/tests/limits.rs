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
