//! The lines of a part as they are kept: encoded, because a batch has up to a million.

use super::lay::Verdict;
use super::register::Line;
use crate::stored::{self, Stored, StoredError, stored};
use ring::digest;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Values that are copied by reference: a report takes a batch out of its shard without holding the shard up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shared<T>(pub(super) Arc<[T]>);

impl<T> Default for Shared<T> {
    fn default() -> Shared<T> {
        Shared(Arc::new([]))
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<T: Stored> Stored for Shared<T> {
    fn store(&self, out: &mut Vec<u8>) {
        self.0.store(out);
    }

    fn load(from: &mut &[u8]) -> Result<Shared<T>, StoredError> {
        Stored::load(from).map(Shared)
    }
}

#[cfg(test)]
impl<T: crate::stored::Example> crate::stored::Example for Shared<T> {
    fn make(index: usize, most: &mut usize) -> Shared<T> {
        Shared(crate::stored::example(index, most))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Shared<T>, D::Error> {
        Ok(Shared(Vec::deserialize(deserializer)?.into()))
    }
}

/// A part of a batch, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "KeptPartInVersion4")]
pub(super) struct KeptPart {
    /// The stored form of a list of [`Line`].
    lines: Shared<u8>,
    count: u32,
    checksum: u32,
    /// That of a list of [`Verdict`], one for each line, as soon as it is booked.
    verdicts: Option<Shared<u8>>,
    reverted: bool,
}

stored!(struct KeptPart { 0: lines, 1: count, 2: checksum, 3: verdicts, 4: reverted });

/// The same in data of version 4: lines and verdicts are encoded by postcard.
#[derive(Deserialize)]
struct KeptPartInVersion4 {
    lines: Shared<u8>,
    count: u32,
    checksum: u32,
    verdicts: Option<Shared<u8>>,
    reverted: bool,
}

impl From<KeptPartInVersion4> for KeptPart {
    fn from(old: KeptPartInVersion4) -> KeptPart {
        let KeptPartInVersion4 { lines, count, checksum, verdicts, reverted } = old;
        let lines: Vec<Line> = postcard::from_bytes(&lines.0).unwrap_or_default();
        let verdicts: Option<Vec<Verdict>> = verdicts.map(|old| postcard::from_bytes(&old.0).unwrap_or_default());
        let verdicts = verdicts.map(|verdicts| encode(&verdicts));
        KeptPart { lines: encode(&lines), count, checksum, verdicts, reverted }
    }
}

impl KeptPart {
    pub(super) fn new(lines: &[Line]) -> KeptPart {
        let count = u32::try_from(lines.len()).unwrap_or(u32::MAX);
        let checksum = KeptPart::checksum_of(lines);
        KeptPart { lines: encode(lines), count, checksum, verdicts: None, reverted: false }
    }

    /// Recognises a part that comes again, also one that an older version of the program has taken in: so it is that of
    /// the encoding of version 4 ([`identity`]).
    pub(super) fn checksum_of(lines: &[Line]) -> u32 {
        crc32fast::hash(&identity(&lines))
    }

    /// Whether these are its lines.
    pub(super) fn is(&self, lines: &[Line]) -> bool {
        self.lines == encode(lines)
    }

    pub(super) fn lines(&self) -> Vec<Line> {
        stored::from_bytes(&self.lines.0).unwrap_or_default()
    }

    /// One for each line; none before it is booked.
    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        self.verdicts.as_ref().and_then(|bytes| stored::from_bytes(&bytes.0).ok()).unwrap_or_default()
    }

    pub(super) fn book(&mut self, verdicts: &[Verdict]) {
        self.verdicts = Some(encode(verdicts));
    }

    pub(super) const fn revert(&mut self) {
        self.reverted = true;
    }

    pub(super) const fn is_booked(&self) -> bool {
        self.verdicts.is_some()
    }

    pub(super) const fn is_reverted(&self) -> bool {
        self.reverted
    }

    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    pub(super) const fn checksum(&self) -> u32 {
        self.checksum
    }

    /// Bytes that it takes, roughly.
    pub(super) fn bytes(&self) -> usize {
        const OVERHEAD: usize = 96;
        let verdicts = self.verdicts.as_ref().map_or(0, |verdicts| verdicts.0.len());
        self.lines.0.len().saturating_add(verdicts).saturating_add(OVERHEAD)
    }
}

fn encode<T: Stored>(values: &[T]) -> Shared<u8> {
    let mut bytes = Vec::new();
    stored::store_count(values.len(), &mut bytes);
    T::store_all(values, &mut bytes);
    Shared(bytes.into())
}

/// What checksums of lines are taken of: their encoding in version 4. Batches are recognised by these checksums for as long
/// as they are kept, so it stays what it is.
pub(super) fn identity<T: Serialize + ?Sized>(lines: &T) -> Vec<u8> {
    postcard::to_stdvec(lines).expect("lines are plain values and always encode")
}

/// SHA-256 over the lines of a batch as they stood on the wire: one line of text each, in order over all parts:
/// `<operation as 32 hexadecimal digits, or ->,<kind>,<gross>,<fee>,<net>` and a line feed, where a fee that is taken is
/// below zero.
pub fn hash(lines: impl IntoIterator<Item = Line>) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for Line { kind, operation, reference: _, currency: _, gross, fee, net } in lines {
        let operation = operation.map_or("-".to_owned(), |id| format!("{:032x}", id.as_u128()));
        let fee = fee.saturating_neg();
        context.update(format!("{operation},{},{gross},{fee},{net}\n", kind.number()).as_bytes());
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}
