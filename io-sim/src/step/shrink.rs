//! Makes a failing plan small.
