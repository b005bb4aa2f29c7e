//! The gate as a machine: its certificates, its log with the snapshots, its shards, and the peers that it refused.

use super::views::{Unanswered, Views};
use crate::node::query;
use crate::units::shape::described;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

described! {
/// The gate as a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemSheet {
    /// `wattstile.system/1`
    pub schema: String,
    /// Certificates and revocation lists in use, and those of connected peers that end within 30 days: the first to end first;
    /// at most [`CERTIFICATES_SHOWN`](crate::limits::CERTIFICATES_SHOWN).
    pub certificates: Vec<CertificateRow>,
    /// The log and its snapshots; none where only data is read.
    pub log: Option<LogSheet>,
    /// Threads that run partitions.
    pub shards: Vec<ShardRow>,
    /// Handshakes and logins that were refused since the start, by reason.
    pub refused: BTreeMap<String, u64>,
    /// The latest of them, the latest first.
    pub refusals: Vec<RefusalRow>,
}
}

described! {
/// A certificate or a revocation list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRow {
    /// What it is, or whose.
    pub name: String,
    /// When it expires.
    pub expires_at: String,
    /// Whole days until then; negative when it has expired.
    pub days: i64,
}
}

described! {
/// The log and its snapshots. Sizes in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSheet {
    /// What it takes.
    pub bytes: u64,
    /// What it may take.
    pub bytes_max: u64,
    /// Records since the data directory was made.
    pub records: u64,
    /// When all partitions last had their snapshots, or the gate started.
    pub snapshots_at: String,
    /// Rounds of snapshots that failed since the start.
    pub snapshot_failures: u64,
    /// How many times it was trimmed behind snapshots.
    pub trims: u64,
    /// How long recovery took at the start, in milliseconds.
    pub recovery_ms: u64,
}
}

described! {
/// A thread that runs partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRow {
    /// Its number.
    pub shard: u16,
    /// Whether it answered in time.
    pub answers: bool,
    /// Chargers with a connection.
    pub chargers_online: u64,
    /// Sessions that are not settled.
    pub sessions: u64,
    /// Readings recorded.
    pub readings: u64,
    /// Operations with an unknown outcome.
    pub operations_in_doubt: u64,
}
}

described! {
/// A peer that was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalRow {
    /// When.
    pub at: String,
    /// At which listener.
    pub listener: String,
    /// Its address.
    pub from: String,
    /// The identity in its certificate, if it presented one.
    pub who: Option<String>,
    /// The reason in a word.
    pub reason: String,
    /// The reason in words.
    pub text: String,
}
}

/// What a running gate knows of itself beside its shards.
pub type Machine = Box<dyn Fn() -> SystemSheet + Send + Sync>;

impl Views {
    /// The gate as a machine. A shard that does not answer is shown as one.
    ///
    /// # Errors
    /// Data that is read has no shard.
    pub fn system(&self) -> Result<SystemSheet, Unanswered> {
        let machine = self.machine().map(|machine| machine()).unwrap_or_default();
        let shards = (0..self.shard_count()).map(|shard| {
            let found = self.ask_shard(shard, query::State);
            let answers = found.is_some();
            let figures = found.unwrap_or_default();
            ShardRow {
                shard,
                answers,
                chargers_online: figures.chargers_online,
                sessions: figures.sessions_authorizing + figures.sessions_charging + figures.sessions_settling,
                readings: figures.readings,
                operations_in_doubt: figures.operations_in_doubt,
            }
        });
        Ok(SystemSheet { schema: "wattstile.system/1".to_owned(), shards: shards.collect(), ..machine })
    }
}
