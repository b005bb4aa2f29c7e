//! The types that are generated from `wattstile.proto`. Private to the wire room: everybody else speaks the domain's
//! own types, into which these are parsed at the door.

#![allow(missing_docs, clippy::doc_markdown)]

include!(concat!(env!("OUT_DIR"), "/wattstile.v1.rs"));
