//! What can go wrong with the disk, and the loss when it does. None of it is a peer's fault: all of it ends the
//! process, or keeps it from starting.

use super::block::BlockFault;
use super::directory::{DATA_VERSION, Owner};
use crate::units::PartitionId;
use serde::Serialize;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The journal cannot continue. Nothing that was not confirmed before may be sent.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The operating system refused.
    #[error("{doing} {path}: {source}")]
    Io {
        /// The action, as in "reading".
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// No room on the disk.
    #[error("no space left on the disk of {path}; free some, or remove the ballast file, and start again")]
    Full {
        /// Where the room is missing.
        path: PathBuf,
    },
    /// An operation of the store failed.
    #[error("the log store failed while {doing}: {what}")]
    Store {
        /// The action.
        doing: &'static str,
        /// Its error.
        what: String,
    },
    /// Durable data is damaged.
    #[error(transparent)]
    Damaged(#[from] Box<Damage>),
    /// Another process uses the directory.
    #[error("{path} is in use by {}", holder(*pid))]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process, where it wrote itself down.
        pid: Option<u32>,
    },
    /// The directory was written by another version of this program, or is no data directory.
    #[error("{path}: {what}")]
    Format {
        /// The directory or its format file.
        path: PathBuf,
        /// The value found and the expected one.
        what: String,
    },
    /// An older version of this program wrote the directory, and this one can upgrade it.
    #[error(
        "{path} is data of version {version}, and this program writes version {DATA_VERSION}; stop the older program, \
         then look with `wattstile data upgrade {path} --dry-run` and convert it with `wattstile data upgrade {path}`"
    )]
    Older {
        /// The directory.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The directory belongs to another kind of gate.
    #[error(
        "{path} is the data of {found}, not of {wanted}; name another directory (`gate.data_dir`, or `--data` of the \
         demonstration), or delete this one if its data is not wanted"
    )]
    OtherOwner {
        /// The directory.
        path: PathBuf,
        /// The owner of the data.
        found: Owner,
        /// The owner that was expected.
        wanted: Owner,
    },
    /// There should be data, and there is none.
    #[error("{path}: {what}")]
    Absent {
        /// The missing file.
        path: PathBuf,
        /// Why it should be.
        what: String,
    },
    /// A record out of order was handed to the log: our own bug.
    #[error("record {found} of partition {partition} was handed to the log where {expected} belongs")]
    OutOfOrder {
        /// The partition.
        partition: PartitionId,
        /// The next one.
        expected: u64,
        /// Handed in.
        found: u64,
    },
    /// The reader of the records could not take one.
    #[error("record {sequence} of partition {partition}: {what}")]
    Unreadable {
        /// The partition.
        partition: PartitionId,
        /// The record, or the sequence of a snapshot.
        sequence: u64,
        /// The error of the parser.
        what: String,
    },
    /// The log failed before. The data on disk is known only after a restart.
    #[error("the log failed before and takes nothing more")]
    Dead,
}

impl Failure {
    /// An error of the operating system; two kinds with a meaning of their own are distinguished.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull => Failure::Full { path: path.to_owned() },
            _ => Failure::Io { doing, path: path.to_owned(), source },
        }
    }

    /// The exit code of the process that ends because of this: 65 for damaged data, 78 for a data directory that is not
    /// what it should be, 75 for what a restart may cure.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Damaged(_) | Failure::Unreadable { .. } => 65,
            Failure::Format { .. } | Failure::Older { .. } | Failure::Absent { .. } | Failure::OtherOwner { .. } => 78,
            // It stays read-only until it is mounted otherwise, or another directory is named.
            Failure::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => 78,
            Failure::OutOfOrder { .. }
            | Failure::Io { .. }
            | Failure::Full { .. }
            | Failure::Store { .. }
            | Failure::InUse { .. }
            | Failure::Dead => 75,
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// Where durable data is damaged, and the loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The damaged part.
    pub place: DamageLocation,
    /// How.
    pub fault: String,
    /// Records that are known to be lost, by partition: no snapshot has them. Those after the last whole block are not known.
    pub lost: Vec<Lost>,
    /// Blocks of the log that are missing or bad: the first and the last one of each stretch.
    pub holes: Vec<(u64, u64)>,
    /// The readable rest of each partition that has any, when the log is damaged.
    pub left: Vec<Left>,
}

/// A part of the data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DamageLocation {
    /// A block of the log.
    Block {
        /// Its number.
        number: u64,
    },
    /// The end of the log: it was longer once.
    End {
        /// Blocks that were known to be durable.
        expected: u64,
        /// Blocks that are there.
        found: u64,
    },
    /// The start of the log does not continue the snapshot of a partition.
    Start {
        /// The partition.
        partition: PartitionId,
    },
    /// A snapshot.
    Snapshot {
        /// Its file.
        path: PathBuf,
    },
    /// An entry of the archive.
    Archive {
        /// The file.
        path: PathBuf,
        /// The byte at which the entry begins.
        offset: u64,
    },
    /// The store below, before its blocks could be read.
    Store {
        /// The directory.
        path: PathBuf,
    },
}

/// Lost records of one partition, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// The partition.
    pub partition: PartitionId,
    /// The first one lost.
    pub first: u64,
    /// The last one lost.
    pub last: u64,
}

/// The readable rest of a partition in a damaged log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    /// The partition.
    pub partition: PartitionId,
    /// The last record before a gap, snapshot and log together.
    pub good_to: u64,
    /// Whole records behind that.
    pub after: u64,
}

/// Partitions with losses that are named in one sentence; `journal verify` names them all.
const NAMED_MAX: usize = 8;

impl Damage {
    pub(super) fn at(place: DamageLocation, fault: String) -> Damage {
        Damage { place, fault, lost: Vec::new(), holes: Vec::new(), left: Vec::new() }
    }

    pub(super) fn block(number: u64, fault: &BlockFault) -> Damage {
        Damage::at(DamageLocation::Block { number }, fault.to_string())
    }

    /// Whether the place and the losses are those of the log: then intact data in it can be rescued.
    pub fn is_of_the_log(&self) -> bool {
        match self.place {
            DamageLocation::Block { .. } | DamageLocation::End { .. } | DamageLocation::Start { .. } => true,
            DamageLocation::Snapshot { .. } | DamageLocation::Archive { .. } | DamageLocation::Store { .. } => false,
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            DamageLocation::Block { number } => write!(f, "the log is damaged: block {number} ")?,
            DamageLocation::End { expected, found } => {
                write!(f, "the log is damaged: it had {expected} blocks, {found} are left: ")?;
            }
            DamageLocation::Start { partition } => {
                write!(f, "the log is damaged: the start of partition {partition} ")?
            }
            DamageLocation::Snapshot { path } => write!(f, "the snapshot {} is damaged: ", path.display())?,
            DamageLocation::Archive { path, offset } => {
                write!(f, "the archive {} is damaged at byte {offset}: ", path.display())?;
            }
            DamageLocation::Store { path } => write!(f, "the log store {} is damaged: ", path.display())?,
        }
        f.write_str(&self.fault)?;
        for (number, (first, last)) in self.holes.iter().enumerate().take(NAMED_MAX) {
            let what = if number == 0 { "; blocks" } else { "," };
            write!(f, "{what} {first} to {last}")?;
        }
        if !self.holes.is_empty() {
            f.write_str(" cannot be read")?;
        }
        for lost in self.lost.iter().take(NAMED_MAX) {
            write!(f, "; records {} to {} of partition {} are lost", lost.first, lost.last, lost.partition)?;
        }
        match self.lost.len().saturating_sub(NAMED_MAX) {
            0 => Ok(()),
            more => write!(f, "; and {more} more such losses"),
        }
    }
}

impl std::error::Error for Damage {}
