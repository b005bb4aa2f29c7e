//! The record: the stored form of one fact, its kinds, and its bytes.
//!
//! ```text
//!   0       1          2             3..5         4..8
//!   +-------+----------+-------------+------------+---------
//!   | kind  | sequence | partition   | length     | payload
//!   +-------+----------+-------------+------------+---------
//!     1 B     1 B        1 to 3 B      1 to 3 B     length B
//! ```
//!
//! A record has only what differs between records, because most of them are meter readings of some forty bytes, of
//! which twenty had been headers. Its place in the partition follows from the block: the block lists the first
//! sequence of each partition in it, and its records count on from there. Of its sequence a record has the lowest
//! byte, so that a missing or misplaced one is detected at once. Checksum and version are the block's, for all of its
//! records together ([`super::block`]).
//!
//! Partition and length are LEB128: seven bits to a byte, the lowest first, the highest bit set in all but the last.
//! The highest bit of the kind means that the payload continues in the next record of the partition: a payload longer
//! than a block is split into records of one group commit, and joined on reading.

use crate::units::PartitionId;
use std::collections::BTreeMap;
use std::fmt;

/// The most bytes before a record's payload.
pub const RECORD_HEADER_MAX: usize = 8;
/// The longest payload that fits a block, and so a single record.
pub const PAYLOAD_MAX: usize =
    super::block::BLOCK_MAX - super::block::BLOCK_HEADER - super::block::LIST_MIN - RECORD_HEADER_MAX;
const GOES_ON: u8 = 0x80;

/// A record's place in its partition: contiguous, the first one is 1, 0 stands for "before the first".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The place after this one.
    #[must_use]
    pub const fn next(self) -> Sequence {
        Sequence(self.0 + 1)
    }

    /// Its lowest byte, which the record carries.
    pub(super) const fn low(self) -> u8 {
        self.0.to_le_bytes()[0]
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! record_kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// Kind of a record's payload. The numbers are on disks: they are never changed and never reused.
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
    /// A fact about a processor: what it declared, whether it is connected, whether it is drained.
    ProcessorEvent = 8, "processor_event";
    /// A document that waits for its number, or has it now.
    DocumentEvent = 9, "document_event";
    /// A fact about a certificate: it expires soon.
    CertificateEvent = 10, "certificate_event";
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
    /// Kind of the payload.
    pub kind: RecordKind,
    /// The fact, in the encoding of its room.
    pub payload: &'a [u8],
    /// Whether the payload goes on in the next record of the partition. Never so for a record that replay shows.
    pub goes_on: bool,
}

/// Joins the parts of a payload that was too long for one record.
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
    /// Fewer bytes than a header, or than the header's length requires.
    #[error("a record is cut short")]
    Short,
    /// A number of more than 16 bits, or with bytes that it does not need.
    #[error("a record's header is none")]
    Header,
    /// A kind that this program does not have.
    #[error("record kind {0} is not known")]
    Kind(u8),
    /// Its partition is not in the block's list.
    #[error("a record of partition {0}, which the block does not list")]
    Unlisted(u16),
    /// It is not the next one of its partition.
    #[error("record {expected} of partition {partition} does not stand where it belongs")]
    Sequence {
        /// The partition.
        partition: u16,
        /// The record that belongs there.
        expected: u64,
    },
}

/// Appends a record to `out`: its header, and whatever `payload` writes. A payload that is longer than [`PAYLOAD_MAX`]
/// becomes several records. Returns how many.
#[inline]
pub(super) fn encode(
    out: &mut Vec<u8>,
    partition: PartitionId,
    sequence: Sequence,
    kind: RecordKind,
    payload: impl FnOnce(&mut Vec<u8>),
) -> u64 {
    out.extend_from_slice(&[kind.number(), sequence.low()]);
    push_number(out, partition.0);
    let length_at = out.len();
    // One byte for the length is enough for nearly all.
    out.push(0);
    payload(out);
    match out.len().checked_sub(length_at + 1) {
        Some(length @ 0..0x80) => out[length_at] = length.to_le_bytes()[0],
        Some(_) => return lengthen(out, length_at, partition, sequence, kind),
        None => unreachable!("a payload is written behind its header"),
    }
    1
}

/// Widens the length field of a record that needs more than a byte, or splits one that is too long.
#[cold]
fn lengthen(out: &mut Vec<u8>, length_at: usize, partition: PartitionId, first: Sequence, kind: RecordKind) -> u64 {
    let payload = out.split_off(length_at + 1);
    out.truncate(length_at);
    let last = (payload.len() - 1) / PAYLOAD_MAX;
    let mut sequence = first;
    for (place, part) in payload.chunks(PAYLOAD_MAX).enumerate() {
        if place > 0 {
            out.extend_from_slice(&[0, sequence.low()]);
            push_number(out, partition.0);
        }
        let kind_at = out.len() - 2 - number_len(partition.0);
        out[kind_at] = if place == last { kind.number() } else { kind.number() | GOES_ON };
        push_number(out, u16::try_from(part.len()).expect("PAYLOAD_MAX fits 16 bits"));
        out.extend_from_slice(part);
        sequence = sequence.next();
    }
    sequence.0 - first.0
}

#[inline]
fn push_number(out: &mut Vec<u8>, number: u16) {
    let mut left = number;
    while left >= 0x80 {
        out.push(left.to_le_bytes()[0] | 0x80);
        left >>= 7;
    }
    out.push(left.to_le_bytes()[0]);
}

const fn number_len(number: u16) -> usize {
    match number {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000.. => 3,
    }
}

/// A number at the beginning of `bytes`, and what is behind it. Only the shortest form is one.
#[inline]
fn take_number(bytes: &[u8]) -> Result<(u16, &[u8]), RecordFault> {
    let (mut number, mut shift, mut rest) = (0_u32, 0, bytes);
    loop {
        let (byte, behind) = rest.split_first().ok_or(RecordFault::Short)?;
        rest = behind;
        number |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let number = u16::try_from(number).map_err(|_| RecordFault::Header)?;
            let shortest = bytes.len() - rest.len() == number_len(number);
            return if shortest { Ok((number, rest)) } else { Err(RecordFault::Header) };
        }
        shift += 7;
        if shift > 14 {
            return Err(RecordFault::Header);
        }
    }
}

/// The fields of a record before its payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// The kind, and whether the payload goes on.
    number: u8,
    /// The lowest byte of its sequence.
    pub low: u8,
    pub partition: PartitionId,
    /// Bytes of its header.
    header: usize,
    /// Bytes of the whole record.
    pub size: usize,
}

/// The head of the record at the beginning of `bytes`, all of which is there.
#[inline]
pub(super) fn peek(bytes: &[u8]) -> Result<Head, RecordFault> {
    let [number, low, rest @ ..] = bytes else { return Err(RecordFault::Short) };
    let (partition, rest) = take_number(rest)?;
    let (length, rest) = take_number(rest)?;
    let header = bytes.len() - rest.len();
    let size = header + usize::from(length);
    if bytes.len() < size {
        return Err(RecordFault::Short);
    }
    Ok(Head { number: *number, low: *low, partition: PartitionId(partition), header, size })
}

impl Head {
    /// The record itself, at the beginning of `bytes`, as the one with this sequence.
    ///
    /// # Errors
    /// [`RecordFault`]: too few bytes, an unknown kind, or another sequence.
    #[inline]
    pub fn record(self, bytes: &[u8], sequence: Sequence) -> Result<Record<'_>, RecordFault> {
        let partition = self.partition;
        if self.low != sequence.low() {
            return Err(RecordFault::Sequence { partition: partition.0, expected: sequence.0 });
        }
        let (goes_on, number) = (self.number & GOES_ON != 0, self.number & !GOES_ON);
        let kind = RecordKind::from_number(number).ok_or(RecordFault::Kind(number))?;
        Ok(Record { partition, sequence, kind, payload: &bytes[self.header..self.size], goes_on })
    }
}

/// `N` bytes at `at`; the caller has checked that they exist.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("the length was checked")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, PartitionId(513), Sequence(263), RecordKind::SessionEvent, |out| {
            out.extend_from_slice(b"tick");
        });
        out
    }

    #[test]
    fn golden_bytes() {
        assert_eq!(hex::encode(sample()), "0107810404".to_owned() + &hex::encode("tick"));
        let head = peek(&sample()).unwrap();
        let record = Record {
            partition: PartitionId(513),
            sequence: Sequence(263),
            kind: RecordKind::SessionEvent,
            payload: b"tick",
            goes_on: false,
        };
        assert_eq!((head.record(&sample(), Sequence(263)), head.size), (Ok(record), 9));
    }

    #[test]
    fn a_record_in_the_wrong_place_shows_itself() {
        let fault = peek(&sample()).unwrap().record(&sample(), Sequence(264)).map(|_| ());
        assert_eq!(fault, Err(RecordFault::Sequence { partition: 513, expected: 264 }));
    }

    #[test]
    fn every_cut_is_seen() {
        let whole = sample();
        for length in 0..whole.len() {
            assert!(matches!(peek(&whole[..length]), Err(RecordFault::Short)), "{length} bytes");
        }
    }

    #[test]
    fn a_kind_that_is_not_known_is_refused() {
        let mut stranger = sample();
        stranger[0] = 100;
        let head = peek(&stranger).unwrap();
        assert_eq!(head.record(&stranger, Sequence(263)), Err(RecordFault::Kind(100)));
    }

    #[test]
    fn a_number_has_one_form() {
        for too_long in [&[0x80, 0x00][..], &[0xff, 0xff, 0x7f], &[0x80, 0x80, 0x80, 0x00], &[0x81, 0x80, 0x00]] {
            assert_eq!(take_number(too_long), Err(RecordFault::Header), "{too_long:x?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(partition in any::<u16>(), sequence in any::<u64>(), length in 0_usize..40_000) {
            let payload: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
            let (mut bytes, first) = (vec![1, 2, 3], Sequence(sequence >> 1));
            let records = encode(&mut bytes, PartitionId(partition), first, RecordKind::TopUpEvent, |out| {
                out.extend_from_slice(&payload);
            });
            prop_assert_eq!(records, length.div_ceil(PAYLOAD_MAX).max(1) as u64);
            let (mut rest, mut next, mut found) = (&bytes[3..], first, Vec::new());
            while !rest.is_empty() {
                let head = peek(rest).unwrap();
                let record = head.record(rest, next).unwrap();
                prop_assert_eq!((record.kind, record.partition), (RecordKind::TopUpEvent, PartitionId(partition)));
                found.extend_from_slice(record.payload);
                (rest, next) = (&rest[head.size..], next.next());
                prop_assert_eq!(record.goes_on, !rest.is_empty());
            }
            prop_assert_eq!(found, payload);
        }
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
                (8, "processor_event"),
                (9, "document_event"),
                (10, "certificate_event")
            ]
        );
        assert_eq!(RecordKind::from_number(0), None);
    }

    #[test]
    fn what_fits_no_block_stands_in_several_records_and_comes_back_as_one() {
        for length in [PAYLOAD_MAX, PAYLOAD_MAX + 1, 3 * PAYLOAD_MAX, 100_000] {
            let payload: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
            let mut bytes = Vec::new();
            let records = encode(&mut bytes, PartitionId(4), Sequence(9), RecordKind::TariffPinned, |out| {
                out.extend_from_slice(&payload);
            });
            let (mut rest, mut next, mut found) = (bytes.as_slice(), Sequence(9), Vec::new());
            let mut assembly = Assembly::default();
            while !rest.is_empty() {
                let head = peek(rest).unwrap();
                let record = head.record(rest, next).unwrap();
                (rest, next) = (&rest[head.size..], next.next());
                found.extend(assembly.take(record).map(|whole| (whole.sequence.0, whole.payload.to_vec())));
            }
            assert_eq!(found, [(8 + records, payload)]);
        }
    }
}
