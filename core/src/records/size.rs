//! The exact size of a record batch before it is encoded.
