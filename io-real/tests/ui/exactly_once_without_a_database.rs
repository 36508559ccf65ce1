//! A bus without a database has no exactly-once handlers.

use evenkeel::{Bus, Event, PgTx, Topic};

const ORDERS: Topic<u64> = Topic::new("orders");

async fn charge(_tx: &mut PgTx, _event: Event<u64>) -> evenkeel::Result<()> {
    Ok(())
}

fn register(bus: &Bus) {
    let _ = bus.consume(ORDERS).group("billing").exactly_once("charge", charge);
}

fn main() {}
