//! The types that are generated from `wattstile.proto` (`UPDATE_GOLDEN=1 cargo test --test rules schema`). Private to the wire room: everybody else speaks the domain's
//! own types, into which these are parsed at the door.

// `MeterValues` is read and written by hand outside of tests.
#![allow(missing_docs, dead_code)]

include!("wattstile.v1.rs");
