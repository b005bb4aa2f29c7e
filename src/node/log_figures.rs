//! How the log is: written by its writer and by the schedule of snapshots, read by every shard without a lock.

use crate::journal::{Durable, Log, Recovered};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Figures of the log.
#[derive(Debug)]
pub struct LogFigures {
    /// Bytes written since the start, and those that were found at the start.
    written: AtomicU64,
    used: AtomicU64,
    records: AtomicU64,
    last_sequence: AtomicU64,
    trims: AtomicU64,
    /// What it may take.
    bound: u64,
    /// Snapshots are being taken that will let some of it go.
    compaction: AtomicBool,
    /// When the figures were begun, and after how many milliseconds all partitions last had their snapshots.
    begun: Instant,
    snapshots_ms: AtomicU64,
    snapshot_failures: AtomicU64,
}

impl LogFigures {
    /// Figures of a log in which this was found, and which may take so many bytes.
    pub fn new(recovered: &Recovered, log: &Log, bound: u64, now: Instant) -> LogFigures {
        let last = log.sequences().iter().map(|(_, last)| last.0).sum();
        LogFigures {
            written: AtomicU64::new(recovered.bytes),
            used: AtomicU64::new(log.used_bytes()),
            last_sequence: AtomicU64::new(last),
            records: AtomicU64::new(recovered.records),
            trims: AtomicU64::new(0),
            bound,
            compaction: AtomicBool::new(false),
            begun: now,
            snapshots_ms: AtomicU64::new(0),
            snapshot_failures: AtomicU64::new(0),
        }
    }

    /// More than half of what it may take: snapshots come before comfort.
    pub fn is_strained(&self) -> bool {
        self.used() > self.bound / 2
    }

    /// As long as it may be but for work under way already, while snapshots are being taken that will change that: what can
    /// wait waits until then. While snapshots fail (a full disk) the log grows beyond its bound rather than stop all charging.
    pub fn is_full(&self) -> bool {
        self.used() >= self.bound - self.bound / 32 && self.compaction.load(Ordering::Relaxed)
    }

    /// Notes whether snapshots are being taken.
    pub(super) fn set_relief(&self, coming: bool) {
        self.compaction.store(coming, Ordering::Relaxed);
    }

    /// Counts a group commit.
    pub(super) fn note_commit(&self, durable: &Durable, log: &Log) {
        self.written.fetch_add(durable.bytes, Ordering::Relaxed);
        self.records.fetch_add(durable.records, Ordering::Relaxed);
        self.last_sequence.fetch_add(durable.records, Ordering::Relaxed);
        self.used.store(log.used_bytes(), Ordering::Relaxed);
    }

    /// Counts a trim.
    pub(super) fn note_trim(&self, log: &Log) {
        self.used.store(log.used_bytes(), Ordering::Relaxed);
        self.trims.fetch_add(1, Ordering::Release);
    }

    /// A round of snapshots is over: all partitions have theirs, or it failed.
    pub(super) fn note_snapshots(&self, whole: bool, now: Instant) {
        if whole {
            let after = now.saturating_duration_since(self.begun).as_millis();
            self.snapshots_ms.store(u64::try_from(after).unwrap_or(u64::MAX), Ordering::Relaxed);
        } else {
            self.snapshot_failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What it may take, in bytes.
    pub fn bound(&self) -> u64 {
        self.bound
    }

    /// How long ago all partitions last had their snapshots, or the gate started.
    pub fn since_snapshots(&self, now: Instant) -> Duration {
        let last = Duration::from_millis(self.snapshots_ms.load(Ordering::Relaxed));
        now.saturating_duration_since(self.begun).saturating_sub(last)
    }

    /// Rounds of snapshots that failed.
    pub fn snapshot_failures(&self) -> u64 {
        self.snapshot_failures.load(Ordering::Relaxed)
    }

    /// Bytes that were ever written to it, as far as they were still there at the start.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// How many times it was trimmed, whether anything could go or not.
    pub fn trims(&self) -> u64 {
        self.trims.load(Ordering::Acquire)
    }

    /// Bytes that it takes.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Records of all partitions since the data directory was made, those that are in snapshots only included.
    pub fn last_sequence(&self) -> u64 {
        self.last_sequence.load(Ordering::Relaxed)
    }

    /// Records that were ever written to it, as far as they were still there at the start.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
