//! CloudEvents on Kafka: how an event lies in a record, both ways.
//!
//! Events are written in the binary mode of the Kafka protocol binding: attributes as `ce_` headers, the payload as
//! the record's value. They are read in binary and in structured mode, and without any attributes at all.
//!
//! Where the specification leaves a choice, the answer is:
//!
//! - An attribute whose header repeats has the value of the last one. A null or empty value is no value.
//! - `ce_specversion` is not judged: what an event means is the same in all versions that were ever published.
//! - `ce_time` that is not RFC 3339 is an error; it decides what handlers take for the order of things.
//! - In structured mode an attribute of the envelope wins over a header, and a missing `datacontenttype` is JSON.
//! - `data` that is a string, where the content type is JSON, is first read as that string. If the payload's type does not
//!   take a string, the text in it is read as JSON, which is how some producers write.
//! - If both `data` and `data_base64` are there, the one that is neither null nor the empty string counts, `data` first.

mod decode;
mod encode;
mod structured;
#[cfg(test)]
mod tests;

pub use decode::{Decoded, decode};
pub use encode::encode;

/// The headers that carry what an event has by its nature. Callers set them by methods, never by name.
const RESERVED: [&str; 8] = [
    "ce_specversion",
    "ce_type",
    "ce_source",
    "ce_id",
    "ce_subject",
    "ce_time",
    "ce_dataschema",
    "content-type",
];
