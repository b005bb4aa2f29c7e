//! The types that are generated from `wattstile.proto` (`UPDATE_GOLDEN=1 cargo test --test rules schema`). Private to
//! `wire`: other modules use the types of the domain, into which these are parsed by the links.

// `MeterValues` is read and written by hand outside of tests.
#![allow(missing_docs, dead_code)]

include!("wattstile.v1.rs");
