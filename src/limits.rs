//! Every bound of the process: queues, tables, frames, retries.

use crate::units::TimeSpan;

/// Past sessions that a charger's machine remembers, to recognise repeated and stale starts.
pub const KEYS_REMEMBERED: usize = 16;

/// Refused credentials in a row after which a charger has to wait.
pub const REFUSALS_BEFORE_PAUSE: u16 = 5;

/// How long it has to wait then.
pub const REFUSAL_PAUSE: TimeSpan = TimeSpan::from_secs(60);

/// Bytes of encoded records that one turn of a machine may append under one permit of the journal.
pub const PERMIT_BYTES_MAX: usize = 128 * 1024;

/// Effects that one turn of a machine may queue behind the journal's watermark.
pub const PERMIT_EFFECTS_MAX: usize = 64;

/// Bytes of encoded records in one batch from a shard to the journal writer. A shard holds at most
/// `(BATCHES_IN_FLIGHT_MAX + 1)` buffers of this size.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Batches of one shard that the journal writer holds at a time; meanwhile the next one gathers.
pub const BATCHES_IN_FLIGHT_MAX: usize = 2;

/// Effects of one shard that may wait for the journal's watermark.
pub const GATE_EFFECTS_MAX: usize = 64 * 1024;

/// Bytes of encoded records that one group commit makes durable together, which recovery keeps in memory at a time.
pub const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;

const _: () = assert!(PERMIT_BYTES_MAX <= BATCH_BYTES_MAX && BATCH_BYTES_MAX <= GROUP_BYTES_MAX);
