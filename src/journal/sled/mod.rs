//! The log's blocks in sled: everything that is there because of sled, and nothing else.
//!
//! ```text
//!   SledStore ── the open generation ──▶ Database ── sled
//!             ── full generations ─────▶ closed_segments ── RawFile (reads sled's file without sled)
//!             ── makes and closes databases on a thread of its own: helper
//! ```
//!
//! sled 0.34 has had no release since 2021. It is kept behind [`Store`](super::Store), whose suite every store passes
//! ([`conformance`](super::conformance)). The intended successor is a replicated log, one stream for each shard, as a folder
//! beside this one; then this folder goes, and nothing else changes.

pub(super) mod closed_segments;
mod database;
mod helper;
mod raw;
mod store;

pub use store::SledStore;
