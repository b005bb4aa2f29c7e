//! Where a gate's facts are kept.

use crate::journal::{Archive, DataDir, Failure, Layout, MemoryStore, Owner, SledStore, Snapshots, Store};
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
        /// The layout, if it has to be made.
        layout: Layout,
        /// The required owner of the data; `None`: any, as for measurements.
        owner: Option<Owner>,
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
        Data::Directory { path, layout, owner } => {
            let mut directory = DataDir::open_or_create(path, *layout)?;
            if let Some(owner) = owner {
                directory.claim(owner)?;
            }
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
