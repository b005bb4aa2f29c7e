//! Upgrades the data of a stopped gate to this version: the input is rebuilt as at a start, written in the new form, read
//! back, and compared.

use super::reading;
use crate::api::Views;
use crate::journal::upgrade::{Found, OnStep, Room, Upgrade, find, finish};
use crate::journal::{Contents, DATA_VERSION, DataDir, Failure, replay};
use crate::ledger::{Balance, Name};
use crate::node::replay::Rebuilding;
use crate::node::shard::Shard;
use crate::node::version_4::RebuildingVersion4;
use crate::units::{Currency, PartitionId};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What an upgrade does, or would do.
#[derive(Debug, Serialize)]
pub struct Upgraded {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The data directory.
    pub data: PathBuf,
    /// The version that it had.
    pub from_version: u32,
    /// The version that it has, or would have.
    pub to_version: u32,
    /// Where the older data is, or would be; none when nothing had to be done.
    pub backup: Option<PathBuf>,
    /// What was read.
    #[serde(flatten)]
    pub figures: Option<Figures>,
    /// Room on the disk.
    #[serde(flatten)]
    pub room: Option<Room>,
}

/// What is in the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Partitions.
    pub partitions: u16,
    /// Partitions with a snapshot.
    pub snapshots: u64,
    /// Records behind the snapshots.
    pub records: u64,
    /// Chargers that are known.
    pub chargers: u64,
    /// Sessions that are not in the archive.
    pub sessions: u64,
    /// Of these, the sessions that go on or are being paid.
    pub sessions_live: u64,
    /// Prepaid accounts.
    pub accounts: u64,
    /// Entries of the books.
    pub entries: u64,
    /// How far the books are from balance, in minor units: zero, or a defect.
    pub books_imbalance_minor: i128,
    /// Every account of the books with its balance, in the order of the chart.
    pub books: Vec<BookBalance>,
    /// CRC-32 of the states of all partitions in the new form.
    pub states_crc32: u32,
}

/// The balance of one account of the books in one currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BookBalance {
    /// The account.
    pub account: String,
    /// The currency.
    pub currency: String,
    /// The balance in the direction in which the account grows, in minor units.
    pub balance_minor: i128,
}

/// Why data cannot be upgraded.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// The directories cannot be read or written.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The disk is too small.
    #[error("the upgrade needs {needed} bytes beside the data, and the disk of {} has {free} left", path.display())]
    NoRoom {
        /// The data.
        path: PathBuf,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// What was written is not what was read; nothing was changed.
    #[error("partition {partition} reads back otherwise than it was written; the data is as it was")]
    Differs {
        /// The partition.
        partition: PartitionId,
    },
}

/// Upgrades a data directory, or with `dry_run` reads everything and changes nothing.
///
/// # Errors
/// [`UpgradeError`]. Unless the new data is complete and in its place, the older data is as it was.
pub fn upgrade(path: &Path, dry_run: bool, on_step: OnStep<'_>) -> Result<Upgraded, UpgradeError> {
    let to_version = DATA_VERSION;
    let nothing = |backup| Upgraded {
        dry_run,
        data: path.to_owned(),
        from_version: to_version,
        to_version,
        backup,
        figures: None,
        room: None,
    };
    let upgrade = match find(path)? {
        Found::Current(None) => return Ok(nothing(None)),
        Found::Current(Some(left)) if dry_run => return Ok(nothing(Some(left))),
        Found::Current(Some(_)) => return Ok(nothing(finish(path)?)),
        Found::Older(upgrade) => upgrade,
    };
    let (contents, shard) = read(&upgrade)?;
    let states = states(&shard, upgrade.old());
    let room = upgrade.room(states.iter().map(|state| state.len() as u64).sum())?;
    let figures = figures(&contents, shard, &states);
    let mut upgraded = Upgraded {
        dry_run,
        data: path.to_owned(),
        from_version: upgrade.old().version(),
        to_version,
        backup: Some(upgrade.backup()),
        figures: Some(figures),
        room: Some(room),
    };
    if room.free_bytes < room.needed_bytes {
        return Err(UpgradeError::NoRoom { path: path.to_owned(), needed: room.needed_bytes, free: room.free_bytes });
    }
    if dry_run {
        return Ok(upgraded);
    }
    let mut state = |partition: PartitionId| states[usize::from(partition.0)].clone();
    let new = upgrade.write(&contents, &mut state, on_step)?;
    compare(&new, &contents, &states)?;
    upgraded.backup = Some(upgrade.swap(new, on_step)?);
    Ok(upgraded)
}

fn read(upgrade: &Upgrade) -> Result<(Contents, Shard), Failure> {
    let mut rebuilding = RebuildingVersion4 { shard: reading::shard(upgrade.old().partitions()), now: reading::NOW };
    let contents = upgrade.read(&mut rebuilding)?;
    Ok((contents, rebuilding.shard))
}

/// The state of every partition in the form of this version.
fn states(shard: &Shard, dir: &DataDir) -> Vec<Vec<u8>> {
    (0..dir.partitions()).map(|partition| shard.snapshot(PartitionId(partition))).collect()
}

/// Reads the new data as a start would, and compares where each partition stands and its whole state.
fn compare(new: &DataDir, contents: &Contents, states: &[Vec<u8>]) -> Result<(), UpgradeError> {
    let mut rebuilding = Rebuilding { shard: reading::shard(new.partitions()), now: reading::NOW };
    let found = replay(new, &mut rebuilding)?;
    for (partition, last) in contents.sequences.iter() {
        let state = &states[usize::from(partition.0)];
        // A partition without any record is left out, and empty.
        let same = found.sequences.last(partition) == last && rebuilding.shard.snapshot(partition) == *state;
        if !same {
            return Err(UpgradeError::Differs { partition });
        }
    }
    Ok(())
}

fn figures(contents: &Contents, shard: Shard, states: &[Vec<u8>]) -> Figures {
    let partitions = u16::try_from(states.len()).unwrap_or(u16::MAX);
    let sum = |count: fn(&crate::node::partition::Partition) -> usize| {
        shard.partitions().iter().map(|partition| count(partition) as u64).sum()
    };
    let (chargers, sessions, accounts) =
        (sum(|each| each.chargers.len()), sum(|each| each.sessions.len()), sum(|each| each.accounts.len()));
    let mut hasher = crc32fast::Hasher::new();
    states.iter().for_each(|state| hasher.update(state));
    let mut figures = Figures {
        partitions,
        snapshots: contents.snapshots,
        records: contents.records,
        chargers,
        sessions,
        sessions_live: 0,
        accounts,
        entries: 0,
        books_imbalance_minor: 0,
        books: Vec::new(),
        states_crc32: hasher.finalize(),
    };
    if let Ok(found) = Views::opened(vec![shard], None).figures() {
        let books = &found.books().books;
        figures.sessions_live = found.sessions_authorizing + found.sessions_charging + found.sessions_settling;
        (figures.entries, figures.books_imbalance_minor) = (books.entries(), books.imbalance());
        let balance = |(account, currency, balance): (&Name, Currency, Balance)| BookBalance {
            account: account.to_string(),
            currency: currency.to_string(),
            balance_minor: balance.natural(account.kind()),
        };
        figures.books = books.balances().map(balance).collect();
    }
    figures
}
