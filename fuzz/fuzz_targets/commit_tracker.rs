//! (in work)
#![no_main]
