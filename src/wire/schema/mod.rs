//! The types that are generated from `wattstile.proto`. Private to the wire room: everybody else speaks the domain's
//! own types, into which these are parsed at the door.

// `MeterValues` is read and written by hand outside of tests.
#![allow(missing_docs, dead_code)]

include!(concat!(env!("OUT_DIR"), "/wattstile.v1.rs"));
