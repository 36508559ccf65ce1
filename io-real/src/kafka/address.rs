//! Where a broker listens: a host and a port, checked before anything is dialled.

use std::fmt;
use std::sync::Arc;

/// A host and a port. Prints as it was written.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    host: Arc<str>,
    port: u16,
}

/// An address that cannot be dialled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address:?} is not a broker address: {fault}; write host:port, such as localhost:9092")]
pub struct AddressError {
    address: String,
    fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    NoHost,
    NoPort,
    Port(String),
    Brackets,
    Scheme,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHost => f.write_str("it has no host"),
            Self::NoPort => f.write_str("it has no port"),
            Self::Port(port) => write!(f, "{port:?} is not a port between 1 and 65535"),
            Self::Brackets => f.write_str("an IPv6 address needs brackets, as in [::1]:9092"),
            Self::Scheme => f.write_str("it begins with a scheme"),
        }
    }
}

impl Address {
    pub(super) fn parse(address: &str) -> Result<Self, AddressError> {
        let fail = |fault| Err(AddressError { address: address.to_owned(), fault });
        if address.contains("://") {
            return fail(Fault::Scheme);
        }
        let Some((host, port)) = address.rsplit_once(':') else { return fail(Fault::NoPort) };
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inside) => inside,
            None if host.contains([':', '[', ']']) => return fail(Fault::Brackets),
            None => host,
        };
        if host.is_empty() {
            return fail(Fault::NoHost);
        }
        match port.parse() {
            Ok(port) if port != 0 => Ok(Self { host: host.into(), port }),
            Ok(_) | Err(_) => fail(Fault::Port(port.to_owned())),
        }
    }

    /// The address that a broker gives for itself or for another broker; `None` if its port is none.
    pub(super) fn advertised(host: &str, port: i32) -> Option<Self> {
        let port = u16::try_from(port).ok().filter(|port| *port != 0)?;
        (!host.is_empty()).then(|| Self { host: host.into(), port })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_as_it_was_written() {
        for good in ["localhost:9092", "10.0.0.1:1", "[::1]:9092", "kafka-0.kafka.svc:65535"] {
            assert_eq!(Address::parse(good).unwrap().to_string(), good);
        }
    }

    #[test]
    fn a_wrong_address_is_told_with_its_remedy() {
        for (address, fault) in [
            ("localhost", "it has no port"),
            ("", "it has no port"),
            (":9092", "it has no host"),
            ("[]:9092", "it has no host"),
            ("localhost:", "\"\" is not a port between 1 and 65535"),
            ("localhost:0", "\"0\" is not a port between 1 and 65535"),
            ("localhost:kafka", "\"kafka\" is not a port between 1 and 65535"),
            ("localhost:65536", "\"65536\" is not a port between 1 and 65535"),
            ("::1:9092", "an IPv6 address needs brackets, as in [::1]:9092"),
            ("kafka://localhost:9092", "it begins with a scheme"),
        ] {
            assert_eq!(
                Address::parse(address).unwrap_err().to_string(),
                format!(
                    "{address:?} is not a broker address: {fault}; write host:port, such as localhost:9092"
                )
            );
        }
    }

    #[test]
    fn a_broker_without_a_port_has_no_address() {
        assert!(Address::advertised("localhost", 9092).is_some());
        for (host, port) in [("localhost", 0), ("localhost", -1), ("localhost", 65_536), ("", 9092)] {
            assert_eq!(Address::advertised(host, port), None, "{host}:{port}");
        }
    }
}
