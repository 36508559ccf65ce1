//! Lengths of time as plans write them: `12s`, `3.25s`; `250ms` is read, too.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const WHY: &str = "a time is written like 12s, 3.25s or 250ms";

/// A length of time in a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        if nanos == 0 {
            return write!(f, "{seconds}s");
        }
        let fraction = format!("{nanos:09}");
        write!(f, "{seconds}.{}s", fraction.trim_end_matches('0'))
    }
}

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        if let Some(millis) = text.strip_suffix("ms") {
            return Ok(Self(Duration::from_millis(millis.parse().map_err(|_| WHY)?)));
        }
        let number = text.strip_suffix('s').ok_or(WHY)?;
        let (seconds, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let nanos: u32 = match fraction.len() {
            1..=9 => fraction.parse::<u32>().map_err(|_| WHY)? * 10_u32.pow(9 - fraction.len() as u32),
            _ => return Err(WHY),
        };
        Ok(Self(Duration::new(seconds.parse().map_err(|_| WHY)?, nanos)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        for (nanos, text) in
            [(0, "0s"), (250_000_000, "0.25s"), (7_008_000_009, "7.008000009s"), (12_000_000_000, "12s")]
        {
            let span = Span(Duration::from_nanos(nanos));
            assert_eq!(span.to_string(), text);
            assert_eq!(text.parse(), Ok(span));
        }
        assert_eq!("250ms".parse(), Ok(Span(Duration::from_millis(250))));
        for bad in ["3", "s", "ms", "1.s", "1.0123456789s", "-1s", "1.5ms"] {
            assert_eq!(bad.parse::<Span>(), Err(WHY), "{bad}");
        }
    }
}
