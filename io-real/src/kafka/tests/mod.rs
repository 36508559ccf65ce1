//! Tests against brokers that misbehave, and of every request in every version.

mod any;
mod connection;
mod encoding;
mod one_attempt;
mod seat;
