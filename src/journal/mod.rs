//! The log: records, stores, group commit, the gate, snapshots, recovery.
//!
//! Facts are written ahead and nothing leaves before they are durable. A shard reserves a place, decides, applies and
//! appends; the writer commits the batches of all shards with one sync; the new watermark releases the effects below
//! it.
//!
//! ```text
//!   shard 0: Appender --Batch--+                                     +--> committed -> OutputBuffer::release
//!   shard 1: Appender --Batch--+--> Log::commit --blocks--> Store ---+
//!   shard n: Appender --Batch--+      (one sync)
//! ```
//!
//! Everything here is synchronous and independent of a runtime, so the simulator runs it on a simulated disk.
//!
//! * `durable <= written <= appended`; the order of appending is the order of replay, per partition.
//! * `Log::commit` returns when every record handed to it survives a loss of power.
//! * A torn tail is cut; damage before the tail is [`Damage`]: the gate refuses to start and reports the position.
//! * The log is trimmed only below verified snapshots, and so that the one before the newest can stand in for it.

mod appender;
mod archive;
mod archive_ids;
pub mod backup;
mod block;
mod checkpoint;
pub mod conformance;
mod directory;
mod failure;
mod faults;
mod files;
mod inspect;
mod log;
mod output_buffer;
mod record;
mod recovery;
mod rescue;
mod scan;
mod segment;
mod sled;
mod snapshot;
mod snapshots_in_memory;
mod store;
#[cfg(test)]
mod tests;
pub mod upgrade;

pub use self::sled::SledStore;
pub use appender::{Appender, Batch, Busy, Permit, Position, Sequences};
pub use archive::{Archive, Archived};
pub use archive_ids::{ArchiveIds, ById};
pub use block::{BLOCK_HEADER, BLOCK_MAX, BLOCK_VERSION, BlockFault, BlockHeader};
pub use directory::{Ballast, DATA_VERSION, DataDir, Layout, OLDEST_DATA_VERSION, Owner, OwnerMode};
pub use failure::{Damage, DamageLocation, Failure, Left, Lost};
pub use faults::{Fault, Operations, SimulatedDisk};
pub use inspect::{Contents, Inspection, PartitionTotals, dump, replay, verify};
pub use log::{Durable, KeptRecord, Log, LogPosition, LogView, Recovered};
pub use output_buffer::OutputBuffer;
pub use record::{PAYLOAD_MAX, RECORD_HEADER_MAX, Record, RecordFault, RecordKind, Sequence};
pub use recovery::{Progress, Replay, recover, recover_opening};
pub use rescue::{Rescued, RescuedPartition, rescue};
pub use scan::Torn;
pub use snapshot::{Found, Pace, SNAPSHOT_VERSION, Snapshot, Snapshots};
pub use store::{BlockReader, BlockVisitor, Checkpoint, MemoryStore, Store};
