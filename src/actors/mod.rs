//! The actix actors around the [`node`](crate::node): shards, the log's writer, the keeper of snapshots, the archiver,
//! processors, and where each of them is.
//!
//! ```text
//!   connection ──ReadBatch──▶ ShardActor ── Shard
//!                          ▲   │ Append
//!                 Batch    │   ▼
//!                          └─ JournalWriter ── Log ── sled
//!   SnapshotScheduler ──TakeSnapshot──▶ ShardActor ──Taken──▶ SnapshotScheduler ── snapshots ──Trim──▶ JournalWriter
//!   processor ──Callbacks──▶ ProcessorActor ──Take──▶ ShardActor ──ToArchive──▶ ArchiverActor ── receipt, archive
//! ```
//!
//! Each has a bounded mailbox. Chargers, sessions and accounts are actors too ([`hosted_actors`]), hosted in the node's arenas.

/// The address of an actor, for callers that only send to it.
pub use actix::Addr;

pub mod archiver_actor;
pub mod blocked_shard;
pub mod directory;
pub mod hosted_actors;
pub mod hosting;
pub mod processor_actor;
pub mod reply_table;
pub mod shard_actor;
pub mod snapshot_scheduler;
pub mod turn;
pub mod writer;
