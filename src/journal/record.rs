//! One fact on its way to the disk: the record, its kinds, and its bytes.
//!
//! ```text
//!   0       2     3     4           6           8                               16              20
//!   +-------+-----+-----+-----------+-----------+-------------------------------+---------------+---------
//!   | magic | ver | kind| partition | length    | sequence                      | CRC-32        | payload
//!   +-------+-----+-----+-----------+-----------+-------------------------------+---------------+---------
//!     2 B     1 B   1 B   2 B         2 B         8 B                             4 B             length B
//! ```
//!
//! The highest bit of the kind says that the payload goes on in the next record of the partition: what is longer than a
//! block stands in several records of one group commit, and comes back as one. Numbers are little-endian. The CRC covers the sixteen bytes before it and the payload. It is CRC-32/ISO-HDLC (the
//! polynomial of Ethernet and zip), because that is what `crc32fast` computes with carry-less multiplication at memory
//! speed without unsafe code of ours, and because every tool on every operator's machine can check it. It finds every
//! error burst of up to 32 bits and every odd number of flipped bits in what fits a block.

use crate::units::PartitionId;
use std::collections::BTreeMap;
use std::fmt;

/// Bytes before a record's payload.
pub const RECORD_HEADER: usize = 20;
/// The longest payload that fits a block, and so a single record.
pub const PAYLOAD_MAX: usize = super::block::BLOCK_MAX - super::block::BLOCK_HEADER - RECORD_HEADER;
const GOES_ON: u8 = 0x80;
/// The version of the record format that this program writes, and the highest that it reads.
pub const RECORD_VERSION: u8 = 1;

const MAGIC: [u8; 2] = *b"wR";
const CRC_AT: usize = 16;

/// A record's place in its partition: contiguous, the first one is 1, 0 stands for "before the first".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The place after this one.
    #[must_use]
    pub const fn next(self) -> Sequence {
        Sequence(self.0 + 1)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! record_kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// What a record's payload is. The numbers are on disks: they are never changed and never used again.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum RecordKind {
            $($(#[$doc])* $name = $number,)*
        }

        impl RecordKind {
            /// Every kind that there is.
            pub const ALL: &'static [RecordKind] = &[$(RecordKind::$name),*];

            /// The kind with this number, if there is one.
            pub const fn from_number(number: u8) -> Option<RecordKind> {
                match number {
                    $($number => Some(RecordKind::$name),)*
                    _ => None,
                }
            }

            /// The number on disk.
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// The name, as `journal dump` shows it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(RecordKind::$name => $text,)*
                }
            }
        }
    };
}

record_kinds! {
    /// A fact of a charging session.
    SessionEvent = 1, "session_event";
    /// A fact of a charger.
    ChargerEvent = 2, "charger_event";
    /// A fact of a prepaid account.
    AccountEvent = 3, "account_event";
    /// The text of a tariff, written before the first session that is pinned to it.
    TariffPinned = 4, "tariff_pinned";
    /// A fact of billing: a number of the invoice series given out, a receipt issued.
    BillingEvent = 5, "billing_event";
    /// A fact of settlement: a part of a processor's batch, or what was booked of it.
    SettlementEvent = 6, "settlement_event";
    /// A fact of a top-up.
    TopUpEvent = 7, "top_up_event";
    /// A fact about a processor: what it declared, whether an operator drains it.
    ProcessorEvent = 8, "processor_event";
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One record, read in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The stream that it belongs to.
    pub partition: PartitionId,
    /// Its place in that stream.
    pub sequence: Sequence,
    /// What the payload is.
    pub kind: RecordKind,
    /// The fact, in the encoding of its room.
    pub payload: &'a [u8],
    /// Whether the payload goes on in the next record of the partition. Never so for a record that replay shows.
    pub goes_on: bool,
}

/// Makes one record again of what was too long for one.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    begun: BTreeMap<PartitionId, Vec<u8>>,
    whole: Vec<u8>,
}

impl Assembly {
    /// The record, with what came before it of the same payload; nothing if more is to come.
    pub fn take<'a>(&'a mut self, record: Record<'a>) -> Option<Record<'a>> {
        if record.goes_on {
            self.begun.entry(record.partition).or_default().extend_from_slice(record.payload);
            return None;
        }
        if self.begun.is_empty() {
            return Some(record);
        }
        let Some(begun) = self.begun.remove(&record.partition) else { return Some(record) };
        self.whole = begun;
        self.whole.extend_from_slice(record.payload);
        Some(Record { payload: &self.whole, ..record })
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// Fewer bytes than a header, or than the header's length says.
    #[error("cut short: {have} of {need} bytes")]
    Short {
        /// Bytes needed.
        need: usize,
        /// Bytes there.
        have: usize,
    },
    /// Does not begin with the magic bytes.
    #[error("does not begin like a record")]
    Magic,
    /// Written by another version of this program.
    #[error("record format {0}, this program reads {RECORD_VERSION}")]
    Version(u8),
    /// A kind that this program does not know.
    #[error("record kind {0} is not known")]
    Kind(u8),
    /// The checksum does not match.
    #[error("checksum is {found:08x}, the bytes give {computed:08x}")]
    Checksum {
        /// Stored.
        found: u32,
        /// Computed.
        computed: u32,
    },
}

/// Appends a record to `out`: the header first, then whatever `payload` writes, then the header's length and checksum. A
/// payload that is longer than [`PAYLOAD_MAX`] becomes several records. Returns how many.
#[inline]
pub(super) fn encode(
    out: &mut Vec<u8>,
    partition: PartitionId,
    sequence: Sequence,
    kind: RecordKind,
    payload: impl FnOnce(&mut Vec<u8>),
) -> u64 {
    let start = out.len();
    out.extend_from_slice(&header(partition, sequence, kind.number()));
    payload(out);
    let length = out.len().checked_sub(start + RECORD_HEADER).expect("a payload is written behind its header");
    if length > PAYLOAD_MAX {
        return split(out, start, partition, sequence, kind);
    }
    seal(&mut out[start..]);
    1
}

/// Makes several records of the one at `start`, which is too long.
#[cold]
fn split(out: &mut Vec<u8>, start: usize, partition: PartitionId, first: Sequence, kind: RecordKind) -> u64 {
    let payload = out.split_off(start + RECORD_HEADER);
    out.truncate(start);
    let last = (payload.len() - 1) / PAYLOAD_MAX;
    let mut sequence = first;
    for (place, part) in payload.chunks(PAYLOAD_MAX).enumerate() {
        let at = out.len();
        let number = if place == last { kind.number() } else { kind.number() | GOES_ON };
        out.extend_from_slice(&header(partition, sequence, number));
        out.extend_from_slice(part);
        seal(&mut out[at..]);
        sequence = sequence.next();
    }
    sequence.0 - first.0
}

fn header(partition: PartitionId, sequence: Sequence, number: u8) -> [u8; RECORD_HEADER] {
    let mut header = [0; RECORD_HEADER];
    header[0..2].copy_from_slice(&MAGIC);
    header[2] = RECORD_VERSION;
    header[3] = number;
    header[4..6].copy_from_slice(&partition.0.to_le_bytes());
    header[8..16].copy_from_slice(&sequence.0.to_le_bytes());
    header
}

/// Writes length and checksum of a record whose payload is in place.
fn seal(record: &mut [u8]) {
    let length = u16::try_from(record.len() - RECORD_HEADER).expect("PAYLOAD_MAX fits 16 bits");
    record[6..8].copy_from_slice(&length.to_le_bytes());
    let crc = checksum(record);
    record[CRC_AT..RECORD_HEADER].copy_from_slice(&crc.to_le_bytes());
}

/// The record at the beginning of `bytes`, checked, and how many bytes it takes.
pub fn decode(bytes: &[u8]) -> Result<(Record<'_>, usize), RecordFault> {
    let head = peek(bytes)?;
    let record = &bytes[..head.size];
    let found = u32::from_le_bytes(array(record, CRC_AT));
    let computed = checksum(record);
    if found != computed {
        return Err(RecordFault::Checksum { found, computed });
    }
    // After the checksum: a flipped bit in the number is damage, a whole number that is not known is a newer program.
    if record[2] != RECORD_VERSION {
        return Err(RecordFault::Version(record[2]));
    }
    let (goes_on, number) = (record[3] & GOES_ON != 0, record[3] & !GOES_ON);
    let kind = RecordKind::from_number(number).ok_or(RecordFault::Kind(number))?;
    let (partition, sequence, payload) = (head.partition, head.sequence, &record[RECORD_HEADER..]);
    let record = Record { partition, sequence, kind, payload, goes_on };
    Ok((record, head.size))
}

/// What the packing of blocks and the distribution to workers need of a record, without its checksum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub partition: PartitionId,
    pub sequence: Sequence,
    /// Bytes of the whole record.
    pub size: usize,
}

/// Reads a record's header without computing its checksum.
#[inline]
pub(super) fn peek(bytes: &[u8]) -> Result<Head, RecordFault> {
    let header: &[u8; RECORD_HEADER] =
        bytes.first_chunk().ok_or(RecordFault::Short { need: RECORD_HEADER, have: bytes.len() })?;
    if header[0..2] != MAGIC {
        return Err(RecordFault::Magic);
    }
    let size = RECORD_HEADER + usize::from(u16::from_le_bytes([header[6], header[7]]));
    if bytes.len() < size {
        return Err(RecordFault::Short { need: size, have: bytes.len() });
    }
    Ok(Head {
        partition: PartitionId(u16::from_le_bytes([header[4], header[5]])),
        sequence: Sequence(u64::from_le_bytes(array(header, 8))),
        size,
    })
}

/// The checksum of a whole record: the bytes before the checksum's own place, then the payload.
fn checksum(record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&record[..CRC_AT]);
    hasher.update(&record[RECORD_HEADER..]);
    hasher.finalize()
}

/// `N` bytes at `at`, which the caller knows to be there.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("the length was checked")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, PartitionId(513), Sequence(7), RecordKind::SessionEvent, |out| out.extend_from_slice(b"tick"));
        out
    }

    #[test]
    fn golden_bytes_of_version_1() {
        assert_eq!(hex::encode(sample()), "7752010101020400070000000000000013cb683f7469636b");
        let (record, size) = decode(&hex::decode("7752010101020400070000000000000013cb683f7469636b").unwrap())
            .map(|(r, s)| ((r.partition, r.sequence, r.kind), s))
            .unwrap();
        assert_eq!((record, size), ((PartitionId(513), Sequence(7), RecordKind::SessionEvent), 24));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let whole = sample();
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&damaged).is_err(), "bit {bit}");
        }
        for length in 0..whole.len() {
            assert!(matches!(decode(&whole[..length]), Err(RecordFault::Short { .. })), "{length} bytes");
        }
    }

    #[test]
    fn a_newer_record_is_told_apart_from_damage() {
        let mut newer = sample();
        newer[2] = 2;
        let crc = checksum(&newer);
        newer[CRC_AT..RECORD_HEADER].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(decode(&newer), Err(RecordFault::Version(2)));
        let mut stranger = sample();
        stranger[3] = 100;
        let crc = checksum(&stranger);
        stranger[CRC_AT..RECORD_HEADER].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(decode(&stranger), Err(RecordFault::Kind(100)));
    }

    #[test]
    fn numbers_of_kinds_stay() {
        let numbers: Vec<(u8, &str)> = RecordKind::ALL.iter().map(|kind| (kind.number(), kind.name())).collect();
        assert_eq!(
            numbers,
            [
                (1, "session_event"),
                (2, "charger_event"),
                (3, "account_event"),
                (4, "tariff_pinned"),
                (5, "billing_event"),
                (6, "settlement_event"),
                (7, "top_up_event"),
                (8, "processor_event")
            ]
        );
        assert_eq!(RecordKind::from_number(0), None);
    }

    #[test]
    fn what_fits_no_block_stands_in_several_records_and_comes_back_as_one() {
        for length in [PAYLOAD_MAX, PAYLOAD_MAX + 1, 3 * PAYLOAD_MAX, 100_000] {
            let payload: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
            let mut bytes = vec![1, 2, 3];
            let records = encode(&mut bytes, PartitionId(4), Sequence(9), RecordKind::TariffPinned, |out| {
                out.extend_from_slice(&payload);
            });
            assert_eq!(records, length.div_ceil(PAYLOAD_MAX) as u64);
            let (mut rest, mut assembly, mut found) = (&bytes[3..], Assembly::default(), Vec::new());
            while !rest.is_empty() {
                let (record, size) = decode(rest).unwrap();
                assert_eq!((record.kind, record.partition), (RecordKind::TariffPinned, PartitionId(4)));
                rest = &rest[size..];
                found.extend(assembly.take(record).map(|whole| (whole.sequence.0, whole.payload.to_vec())));
            }
            assert_eq!(found, [(8 + records, payload)]);
        }
    }
}
