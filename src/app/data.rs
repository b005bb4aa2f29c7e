//! Where a gate's facts are kept, and how its shards are made of them again.

use crate::actors::shard::Shard;
use crate::journal::{
    Archive, DataDir, Failure, Layout, MemoryStore, Record, Replay, Sequence, SledStore, Snapshots, Store,
};
use crate::units::{Now, PartitionId};
use std::path::{Path, PathBuf};

/// Where facts are kept.
pub enum Data {
    /// In memory, gone with the process: for tests and measurements.
    Memory {
        /// Partitions of the id space.
        partitions: u16,
    },
    /// In a directory.
    Directory {
        /// Which.
        path: PathBuf,
        /// How it is laid out if it is to be made.
        layout: Layout,
    },
}

impl Data {
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Data::Memory { .. } => None,
            Data::Directory { path, .. } => Some(path),
        }
    }
}

/// The data, opened.
pub(super) struct Opened {
    /// Opens the log's store, which takes a while.
    pub store: Box<dyn FnOnce() -> Result<Box<dyn Store>, Failure> + Send>,
    pub snapshots: Snapshots,
    pub archive: Archive,
    pub partitions: u16,
    pub directory: Option<DataDir>,
}

pub(super) fn open(data: &Data) -> Result<Opened, Failure> {
    match data {
        Data::Memory { partitions } => Ok(Opened {
            store: Box::new(|| Ok(Box::new(MemoryStore::new(4_096)))),
            snapshots: Snapshots::in_memory(*partitions),
            archive: Archive::in_memory(),
            partitions: *partitions,
            directory: None,
        }),
        Data::Directory { path, layout } => {
            let directory = DataDir::open_or_create(path, *layout)?;
            directory.place_ballast()?;
            let log = directory.clone();
            Ok(Opened {
                store: Box::new(move || Ok(Box::new(SledStore::open(&log)?))),
                snapshots: Snapshots::open(&directory)?,
                archive: Archive::open(&directory)?,
                partitions: directory.partitions(),
                directory: Some(directory),
            })
        }
    }
}

/// A shard while its records are replayed.
pub(super) struct Rebuilding {
    pub shard: Shard,
    pub now: Now,
}

impl Replay for Rebuilding {
    fn snapshot(&mut self, partition: PartitionId, _: Sequence, state: &[u8]) -> Result<(), String> {
        self.shard.restore(partition, state, self.now)
    }

    fn record(&mut self, record: Record<'_>) -> Result<(), String> {
        self.shard.replay(record, self.now)
    }
}
