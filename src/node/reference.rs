//! References inside of a shard: they are valid on the thread of the shard that made them.

use super::hosted::Slot;
use crate::units::{SessionId, SessionKey};

/// A charger of this shard: the index of its partition in the shard, and its cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChargerRef {
    /// Index of the partition in the shard.
    pub partition: u16,
    /// Its cell there.
    pub slot: Slot,
}

/// The actor of a wake-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerTarget {
    /// A session: the index of its partition, and its cell.
    Session(u16, Slot),
    /// An account: the index of its partition, and its cell.
    Account(u16, Slot),
}

/// A live session: its cell, its charger's cell, and its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRef {
    /// Its cell in its partition.
    pub cell: Slot,
    /// The cell of its charger there.
    pub charger: Slot,
    /// The gate's id.
    pub id: SessionId,
    /// The charger's number for it.
    pub key: SessionKey,
}
