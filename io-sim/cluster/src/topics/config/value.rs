//! Reading a configuration's value: once, when it is set, and as Kafka reads it.

use std::fmt;
use std::ops::RangeInclusive;

use super::table::{Definition, Values};
use crate::message::{Refusal, Text};

/// A legal value. It prints as it is described, whatever blanks it was set with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Flag(bool),
    Number(i64),
    Ratio(f64),
    Word(Text),
    List(Vec<Text>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => flag.fmt(f),
            Self::Number(number) => number.fmt(f),
            // With a point, be it followed by nothing but zero.
            Self::Ratio(ratio) => write!(f, "{ratio:?}"),
            Self::Word(word) => word.fmt(f),
            Self::List(parts) => parts.join(",").fmt(f),
        }
    }
}

/// Reads a value.
///
/// # Errors
/// [`Refusal`] says why it is none of this configuration's.
pub(super) fn read((name, _, _, values): &Definition, text: &str) -> Result<Value, Refusal> {
    let trimmed = trim(text);
    let value = match values {
        Values::Boolean => flag(trimmed),
        Values::Never => match flag(trimmed) {
            Ok(Value::Flag(true)) => Err("it is not there: use false".to_owned()),
            other => other,
        },
        Values::Int(lowest) => number(trimmed, &[*lowest..=i64::from(i32::MAX)], "INT"),
        Values::IntOf(ranges) => number(trimmed, ranges, "INT"),
        Values::Long(lowest) => number(trimmed, &[*lowest..=i64::MAX], "LONG"),
        Values::Ratio => ratio(trimmed),
        Values::OneOf(known) if known.contains(&trimmed) => Ok(Value::Word(trimmed.into())),
        Values::OneOf(known) => Err(format!("this broker knows {}", known.join(", "))),
        Values::SomeOf(known) => match parts(trimmed) {
            list if list.iter().all(|part| known.contains(part)) => Ok(Value::List(texts(&list))),
            _ => Err(format!("this broker knows {}", known.join(", "))),
        },
        Values::Replicas => match parts(trimmed) {
            list if trimmed == "*" || list.iter().all(|part| is_replica(part)) => {
                Ok(Value::List(texts(&list)))
            }
            _ => Err("use *, or a list of PARTITION:BROKER".to_owned()),
        },
    };
    value.map_err(|why| Refusal::config(format!("Invalid value {text} for configuration {name}: {why}")))
}

/// The parts of a list. Nothing at all has none; what stands between two commas is one, even if it is nothing.
pub(super) fn parts(list: &str) -> Vec<&str> {
    match trim(list) {
        "" => Vec::new(),
        list => list.split(',').map(trim).collect(),
    }
}

/// Without what Java takes for blanks at both ends.
fn trim(text: &str) -> &str {
    text.trim_matches(|character| character <= ' ')
}

fn texts(parts: &[&str]) -> Vec<Text> {
    parts.iter().map(|part| Text::from(*part)).collect()
}

fn flag(text: &str) -> Result<Value, String> {
    [true, false]
        .into_iter()
        .find(|flag| text.eq_ignore_ascii_case(&flag.to_string()))
        .map(Value::Flag)
        .ok_or_else(|| "use true or false".to_owned())
}

fn number(text: &str, ranges: &[RangeInclusive<i64>], kind: &str) -> Result<Value, String> {
    match text.parse() {
        Ok(number) if ranges.iter().any(|range| range.contains(&number)) => Ok(Value::Number(number)),
        Ok(_) => {
            let ranges: Vec<_> = ranges.iter().map(|r| format!("{} to {}", r.start(), r.end())).collect();
            Err(format!("use {}", ranges.join(" or ")))
        }
        Err(_) => Err(format!("Not a number of type {kind}")),
    }
}

/// As Java reads it: a number may say at its end that it is one with a point, and what is no number is within all bounds.
fn ratio(text: &str) -> Result<Value, String> {
    if text == "NaN" {
        return Ok(Value::Ratio(f64::NAN));
    }
    let digits = text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text);
    let is_numeric = digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    match digits.parse() {
        Ok(ratio) if is_numeric && (0.0..=1.0).contains(&ratio) => Ok(Value::Ratio(ratio)),
        Ok(_) if is_numeric => Err("use 0 to 1".to_owned()),
        Ok(_) | Err(_) => Err("Not a number of type DOUBLE".to_owned()),
    }
}

fn is_replica(part: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    part.is_empty()
        || part.split_once(':').is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
}
