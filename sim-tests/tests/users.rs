//! The world as a user meets it: own handlers, own tables, own laws; and what a classic mistake looks like.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use evenkeel_core::model::{Event, HandlerError, OnFailure, Topic};
use evenkeel_sim::checkers::Law;
use evenkeel_sim::explore::{Exploration, World};
use evenkeel_sim::history::{Happening, RunEnd};
use evenkeel_sim::{SimTx, Table, explore};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    cents: u64,
}

const ORDERS: Topic<Order> = Topic::new("shop.orders");
const EVENTS: u64 = 60;

fn orders() -> impl Iterator<Item = (String, Order)> {
    (0..EVENTS).map(|n| (format!("customer-{}", n % 7), Order { cents: n }))
}

const ACCOUNTS: Table = Table::new("accounts");
const CHARGES: Table = Table::new("charges");

/// A charge adds to the customer's account: handled twice, it is there twice.
///
/// The first charge of a customer inserts the account. Where a topic has grown, orders of one customer lie in two
/// partitions and are handled beside each other: a lock on a row that is not there yet holds nobody back, and of two that
/// put it the later one would win.
async fn charge(tx: &mut SimTx, order: Event<Order>) -> Result<(), HandlerError> {
    let customer = order.key_text().into_owned();
    let cents = order.payload.cents;
    match tx.get_for_update(ACCOUNTS, customer.clone()).await? {
        None => tx.insert(ACCOUNTS, customer, cents.to_string()).await?,
        Some(before) => {
            let before: u64 = String::from_utf8_lossy(&before).parse()?;
            tx.put(ACCOUNTS, customer, (before + cents).to_string()).await?;
        }
    }
    Ok(())
}

/// A second charge of an order is refused.
async fn charge_plainly(tx: &mut SimTx, order: Event<Order>) -> Result<(), HandlerError> {
    tx.insert(CHARGES, order.id().to_owned(), "").await?;
    Ok(())
}

fn billing() -> Exploration {
    explore(|world: &mut World| {
        world.table(ACCOUNTS);
        world.service("billing", 1..=3, |service| {
            service.consume(ORDERS).group("billing").exactly_once("charge-card", charge);
        });
        world.produce(ORDERS, orders());
        world.law("every cent is charged once", |end| {
            // An event that was written twice is one order, by its id; one whose producer gave it up may be none.
            let mut due: BTreeMap<u32, u64> = BTreeMap::new();
            for (_, happening) in &end.history().happenings {
                if let Happening::Logged { event: Some(event), .. } = happening {
                    due.insert(event.0, u64::from(event.0));
                }
            }
            let charged = end
                .rows(ACCOUNTS)
                .into_iter()
                .map(|(_, cents)| String::from_utf8_lossy(&cents).parse::<u64>());
            let charged: u64 = charged.map(|cents| cents.unwrap_or_default()).sum();
            let due: u64 = due.values().sum();
            if charged == due { Ok(()) } else { Err(format!("{charged} cents charged, {due} due")) }
        });
        world.sometimes("a handler was tried again", |end| {
            let retried = |happening: &Happening| matches!(happening, Happening::RunBegan { attempt, .. } if *attempt > 1);
            end.history().happenings.iter().any(|(_, happening)| retried(happening))
        });
        world.sometimes("a call was cut short", |end| {
            let cut =
                |happening: &Happening| matches!(happening, Happening::RunEnded { end: RunEnd::Dropped, .. });
            end.history().happenings.iter().any(|(_, happening)| cut(happening))
        });
    })
}

#[test]
fn a_handler_that_writes_through_its_transaction_charges_once() {
    billing().seeds_with_marks(60);
}

/// The classic mistake: a mail is sent from within the handler, and no rollback takes it back.
#[test]
fn an_effect_outside_of_the_transaction_is_found() {
    let exploration = explore(|world: &mut World| {
        let mails: Arc<Mutex<Vec<String>>> = Arc::default();
        let sent = Arc::clone(&mails);
        world.service("mailing", 1..=2, move |service| {
            let sent = Arc::clone(&sent);
            let mail = move |order: Event<Order>| {
                let sent = Arc::clone(&sent);
                async move {
                    sent.lock().expect("nobody panics with it").push(order.id().to_owned());
                    Ok::<(), HandlerError>(())
                }
            };
            service
                .consume(ORDERS)
                .group("mailing")
                .on_failure(OnFailure::Block)
                .idempotent("send-mail", mail);
        });
        world.produce(ORDERS, orders());
        world.law("one mail per order", move |_| {
            let mut mails = mails.lock().expect("nobody panics with it").clone();
            mails.sort_unstable();
            match mails.windows(2).find(|two| two[0] == two[1]) {
                None => Ok(()),
                Some(twice) => Err(format!("order {} got two mails", twice[0])),
            }
        });
    });
    let failure = exploration.first_failure(0..20).expect("the mistake is found within twenty seeds");
    let told = failure.to_string();
    assert!(failure.report.is_clean(), "no law of the library is to blame:\n{told}");
    assert!(told.contains("broke \"one mail per order\": order"), "{told}");
    assert!(told.contains("the plan:"), "a failure comes with its plan:\n{told}");
}

/// A bad day that has a name: whoever owns a partition stands still for longer than its session, and goes on as a zombie
/// beside the new owner.
#[test]
fn a_zombie_charges_nobody_twice() {
    let exploration = explore(|world: &mut World| {
        world.table(CHARGES);
        world.service("billing", 2..=2, |service| {
            service.consume(ORDERS).group("billing").exactly_once("charge-card", charge_plainly);
        });
        world.produce(ORDERS, orders());
        world.plan(
            "quiet at 60s
             chance handler-slow 500000ppm
             chance db-commit-reply-lost 200000ppm
             at 8s pause owner of partition 0 for 15s
             at 30s pause owner of partition 0 for 12s
             at 45s crash owner of partition 0 down 1s",
        );
        world.sometimes("a process stood still", |end| {
            end.history()
                .happenings
                .iter()
                .any(|(_, happening)| matches!(happening, Happening::Paused { .. }))
        });
    });
    let verdict = exploration.replay(3);
    assert!(verdict.is_clean(), "{verdict}");
    assert!(verdict.report.tested.times(Law::AtMostOnce) > 0);
    exploration.seeds_with_marks(20);
}
