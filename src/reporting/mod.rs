//! The reporting database: a copy of sessions, money, documents and the books in tables, for people and programs that ask in
//! SQL.
//!
//! ```text
//!   log ── facts ─▶ what changed ─▶ whole states, from shards and archive ─┐
//!   pages of the books ── entries, for good ───────────────────────────────┼─▶ rows and progress, one transaction
//!   feed ── events ────────────────────────────────────────────────────────┘
//! ```
//!
//! * Rows are states and not changes: they have the ids of what they are about and replace each other, so taking the same fact
//!   in twice changes nothing.
//! * Sums of money come from the entries of the books, of which none is missed: every page is kept for good, and each
//!   partition's place among them is in the same transaction as the rows.
//! * Nothing is written here before it is durable.
//! * It runs on a thread of its own and pulls. A database that is slow or away costs the gate nothing; what is missed is
//!   taken in later, from the log or, where that no longer reaches back, from sessions, accounts and batches as they stand.

mod batch;
mod fill;
mod postgres;
mod progress;
mod projector;
mod rows;
pub mod schema;
mod sqlite;
pub mod store;
#[cfg(test)]
mod tests;

pub use projector::{Reporting, look, rebuild};
pub use store::{Store, StoreError};
