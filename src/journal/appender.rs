//! The shard's end of the journal: a place is reserved before anything is decided, and then appending cannot fail.
//!
//! ```text
//!   reserve -> decide -> apply -> append -> effects to the gate
//!                                   |
//!              take_batch -> writer: Log::commit -> committed -> OutputBuffer::release
//! ```
//!
//! Records are encoded on the shard's own thread into a buffer that goes to the writer as it is and
//! comes back to be filled again, so that a record costs no allocation and the writer only copies.

use super::output_buffer::OutputBuffer;
use super::record::{self, RecordKind, Sequence};
use crate::limits;
use crate::units::PartitionId;
use std::fmt;

/// A count of the records that one shard has appended since it started: the place of the last of them. 0 stands for
/// "before the first".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The buffers are full. Nothing has changed; the caller stops reading its socket and repeats the call after a
/// commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// The buffer is full and the writer holds as many batches as it may.
    #[error("the journal has more to write than it may hold")]
    Records,
    /// Too many effects wait for the watermark.
    #[error("too many effects wait for the journal")]
    Effects,
    /// The log is as long as it may be, and the snapshots that will let some of it go are being taken.
    #[error("the log is as long as it may be")]
    Log,
}

/// The sequences of all partitions: what each one's last record is. Made by recovery, handed to the log and, for the
/// partitions that a shard runs, to its appender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequences(Vec<Sequence>);

impl Sequences {
    /// No records yet in any of `partitions` partitions.
    pub fn new(partitions: u16) -> Sequences {
        Sequences(vec![Sequence(0); usize::from(partitions)])
    }

    /// The number of partitions.
    pub fn partitions(&self) -> u16 {
        u16::try_from(self.0.len()).expect("made from a u16")
    }

    /// The last record of a partition.
    ///
    /// # Panics
    /// When there is no such partition.
    pub fn last(&self, partition: PartitionId) -> Sequence {
        self.0[usize::from(partition.0)]
    }

    /// Sets the last record of a partition.
    ///
    /// # Panics
    /// When there is no such partition.
    pub fn set_last(&mut self, partition: PartitionId, sequence: Sequence) {
        self.0[usize::from(partition.0)] = sequence;
    }

    /// Each partition with its last record.
    pub fn iter(&self) -> impl Iterator<Item = (PartitionId, Sequence)> + '_ {
        (0..).map(PartitionId).zip(self.0.iter().copied())
    }
}

/// Records of one shard on their way to the writer, encoded.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) bytes: Vec<u8>,
    records: u64,
    last: Position,
}

impl Batch {
    /// Number of its records.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Number of their bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The position that becomes durable with it.
    pub fn last(&self) -> Position {
        self.last
    }
}

/// Gathers the records of one shard.
#[derive(Debug)]
pub struct Appender {
    gathering: Batch,
    sequences: Sequences,
    appended: Position,
    durable: Position,
    in_flight: usize,
    spare: Vec<Vec<u8>>,
}

impl Appender {
    /// An appender whose partitions continue after these sequences.
    pub fn new(sequences: Sequences) -> Appender {
        Appender {
            gathering: Batch::default(),
            sequences,
            appended: Position(0),
            durable: Position(0),
            in_flight: 0,
            spare: Vec::new(),
        }
    }

    /// A place for the records of one turn, at most [`limits::PERMIT_BYTES_MAX`] bytes of them.
    ///
    /// # Errors
    /// [`Busy::Records`], [`Busy::Log`].
    #[inline]
    pub fn reserve(&mut self) -> Result<Permit<'_>, Busy> {
        let used = self.gathering.bytes.len();
        if used + limits::PERMIT_BYTES_MAX > limits::BATCH_BYTES_MAX {
            return Err(Busy::Records);
        }
        Ok(Permit { bytes_max: used + limits::PERMIT_BYTES_MAX, appender: self })
    }

    /// A place for the records of one turn and for its effects behind the gate.
    ///
    /// # Errors
    /// [`Busy`].
    #[inline]
    pub fn reserve_with<E>(&mut self, gate: &OutputBuffer<E>) -> Result<Permit<'_>, Busy> {
        self.reserve_for(gate, limits::PERMIT_EFFECTS_MAX)
    }

    /// A place for the records of one turn that queues up to so many effects: an input that names many things has as many.
    ///
    /// # Errors
    /// [`Busy`].
    #[inline]
    pub fn reserve_for<E>(&mut self, gate: &OutputBuffer<E>, effects: usize) -> Result<Permit<'_>, Busy> {
        if !gate.has_room_for(effects) {
            return Err(Busy::Effects);
        }
        self.reserve()
    }

    /// What has gathered, for the writer; nothing when there is nothing, or when the writer holds
    /// [`limits::BATCHES_IN_FLIGHT_MAX`] batches of this shard already.
    pub fn take_batch(&mut self) -> Option<Batch> {
        if self.gathering.records == 0 || self.in_flight == limits::BATCHES_IN_FLIGHT_MAX {
            return None;
        }
        self.in_flight += 1;
        let empty = Batch { bytes: self.spare.pop().unwrap_or_default(), records: 0, last: self.appended };
        Some(std::mem::replace(&mut self.gathering, empty))
    }

    /// Takes a batch back from the writer after its records became durable: the watermark moves, and the buffer is
    /// reused.
    ///
    /// # Panics
    /// When batches come back in another order than they were taken.
    pub fn committed(&mut self, batch: Batch) -> Position {
        let Batch { mut bytes, last, .. } = batch;
        assert!(self.durable <= last && last <= self.appended && self.in_flight > 0, "a batch came back out of order");
        self.durable = last;
        self.in_flight -= 1;
        bytes.clear();
        self.spare.push(bytes);
        last
    }

    /// The position of the last record appended.
    pub fn appended(&self) -> Position {
        self.appended
    }

    /// The position up to which records are durable.
    pub fn durable(&self) -> Position {
        self.durable
    }

    /// The last record appended to a partition.
    pub fn sequence(&self, partition: PartitionId) -> Sequence {
        self.sequences.last(partition)
    }

    /// Whether no record waits and no batch is in progress.
    pub fn is_idle(&self) -> bool {
        self.durable == self.appended
    }
}

/// The right to append the records of one turn.
#[derive(Debug)]
#[must_use]
pub struct Permit<'a> {
    appender: &'a mut Appender,
    bytes_max: usize,
}

impl Permit<'_> {
    /// Appends a record whose payload `encode` writes at the end of the buffer it is given, and returns its position.
    /// A payload longer than a block takes several places.
    ///
    /// # Panics
    /// When the turn's records are longer than the permit allows: a machine's events are bounded.
    #[inline]
    pub fn append(&mut self, partition: PartitionId, kind: RecordKind, encode: impl FnOnce(&mut Vec<u8>)) -> Position {
        let appender = &mut *self.appender;
        let last = appender.sequences.last(partition);
        let records = record::encode(&mut appender.gathering.bytes, partition, last.next(), kind, encode);
        assert!(appender.gathering.bytes.len() <= self.bytes_max, "the records of one turn outgrow its permit");
        appender.sequences.set_last(partition, Sequence(last.0 + records));
        appender.appended = Position(appender.appended.0 + records);
        appender.gathering.records += records;
        appender.gathering.last = appender.appended;
        appender.appended
    }

    /// Where an effect without a record of its own waits: behind the last record appended.
    pub fn position(&self) -> Position {
        self.appender.appended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appender() -> Appender {
        let mut sequences = Sequences::new(4);
        sequences.set_last(PartitionId(2), Sequence(40));
        Appender::new(sequences)
    }

    fn append(appender: &mut Appender, partition: u16, bytes: usize) -> Position {
        let mut permit = appender.reserve().unwrap();
        permit.append(PartitionId(partition), RecordKind::SessionEvent, |out| out.resize(out.len() + bytes, 7))
    }

    #[test]
    fn positions_count_the_shard_and_sequences_the_partition() {
        let mut appender = appender();
        assert_eq!(append(&mut appender, 2, 10), Position(1));
        assert_eq!(append(&mut appender, 1, 10), Position(2));
        assert_eq!(append(&mut appender, 2, 10), Position(3));
        assert_eq!(appender.sequence(PartitionId(2)), Sequence(42));
        assert_eq!(appender.sequence(PartitionId(1)), Sequence(1));
        let batch = appender.take_batch().unwrap();
        assert_eq!((batch.records(), batch.bytes(), batch.last()), (3, 42, Position(3)));
        assert_eq!((appender.durable(), appender.is_idle()), (Position(0), false));
        assert_eq!(appender.committed(batch), Position(3));
        assert!(appender.is_idle() && appender.take_batch().is_none());
    }

    #[test]
    fn the_next_batch_gathers_while_others_are_written_and_buffers_come_back() {
        let mut appender = appender();
        let mut under_way = std::collections::VecDeque::new();
        for _ in 0..limits::BATCHES_IN_FLIGHT_MAX {
            append(&mut appender, 0, 1000);
            under_way.push_back(appender.take_batch().unwrap());
        }
        append(&mut appender, 0, 1000);
        assert!(appender.take_batch().is_none(), "the writer holds enough");
        let buffers: Vec<*const u8> = under_way.iter().map(|batch| batch.bytes.as_ptr()).collect();
        appender.committed(under_way.pop_front().unwrap());
        let third = appender.take_batch().unwrap();
        append(&mut appender, 0, 1000);
        assert_eq!(appender.gathering.bytes.as_ptr(), buffers[0]);
        appender.committed(under_way.pop_front().unwrap());
        assert_eq!(appender.committed(third), Position(3));
    }

    #[test]
    fn a_full_buffer_is_busy_before_the_turn_and_never_during_it() {
        let mut appender = appender();
        while let Ok(mut permit) = appender.reserve() {
            for _ in 0..4 {
                permit.append(PartitionId(0), RecordKind::SessionEvent, |out| {
                    out.resize(out.len() + record::PAYLOAD_MAX, 0);
                });
            }
        }
        assert!(matches!(appender.reserve(), Err(Busy::Records)));
        assert!(appender.gathering.bytes.len() <= limits::BATCH_BYTES_MAX);
        let batch = appender.take_batch().unwrap();
        assert!(appender.reserve().is_ok(), "the next buffer gathers");
        appender.committed(batch);
    }

    #[test]
    fn a_full_gate_is_busy_too() {
        let mut gate = OutputBuffer::with_capacity(limits::PERMIT_EFFECTS_MAX);
        gate.push(Position(0), ());
        assert!(matches!(appender().reserve_with(&gate), Err(Busy::Effects)));
    }

    #[test]
    #[should_panic(expected = "out of order")]
    fn the_watermark_never_goes_back() {
        let mut appender = appender();
        append(&mut appender, 0, 1);
        let first = appender.take_batch().unwrap();
        append(&mut appender, 0, 1);
        let second = appender.take_batch().unwrap();
        appender.committed(second);
        appender.committed(first);
    }
}
