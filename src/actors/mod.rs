//! The shells around the machines: hosted actors, shards, timers, the journal's writer, the processors' registry.
//!
//! ```text
//!   connection ──Turn──▶ ShardActor ── Shard ── Partition ── Arena ── HostedCharger, HostedSession, HostedAccount
//!                          ▲   │ Append                                   (decide, apply)
//!                 Batch    │   ▼
//!                          └─ JournalWriter ── Log ── sled
//!   Keeper ──TakeSnapshot──▶ ShardActor ──Taken──▶ Keeper ── snapshots ──Trim──▶ JournalWriter
//!   processor ──Callbacks──▶ ProcessorActor ──Take──▶ ShardActor ──PutAway──▶ Archivist ── receipt, archive
//! ```
//!
//! Chargers, sessions and accounts are actors hosted in arenas ([`hosted`]): millions of them, a cell each. Shards, the
//! writer and processors are ordinary actix actors with bounded mailboxes.

pub mod account;
mod acquainting;
pub mod archivist;
mod cells;
mod channels;
pub mod charger;
mod codes;
mod delivery;
pub mod directory;
pub mod dossier;
mod encoding;
pub mod hosted;
mod hosted_actors;
pub mod house;
mod invoicing;
pub mod keeper;
mod lines;
pub mod links;
mod log_lines;
mod money;
pub mod output;
mod outside;
pub mod pages;
pub mod partition;
pub mod posting;
pub mod processor;
mod processor_actor;
pub mod replay;
pub mod rhythm;
pub mod session;
pub mod session_record;
pub mod settling;
pub mod shard;
pub mod shard_actor;
pub mod snapshot;
pub mod stand_ins;
#[cfg(test)]
mod tests;
pub mod topping_up;
pub mod turn;
pub mod wheel;
pub mod writer;

pub use charger::{ConnectionId, Link};
pub use outside::Outside;
