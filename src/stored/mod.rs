//! How facts and states are written down: every field and every variant has a number that is written in the source.
//!
//! The bytes follow from the numbers given to the macro `stored!`, not from the order of a type's declaration. So a type can be
//! arranged anew, and what was written before a field or a variant was added is read by the program that has it.
//!
//! | what | bytes |
//! |---|---|
//! | unsigned number | 1 to 9 bytes: as many zero bits as bytes follow, a one, and the number, from the lowest bit up |
//! | signed number | the same of 0, -1, 1, -2, … counted from 0 |
//! | number of 128 bits | how many bytes, and those, lowest first; signed ones counted as above |
//! | byte, `bool`, `Option` | one byte; an `Option` has its value behind a 1 |
//! | bytes of a fixed length, ids | as they are |
//! | text, list, set, table | how many, and each |
//! | struct | its length in bytes, and its fields from number 0 up |
//! | variant | its number; one with named fields is followed by what a struct has, one of a single value by that value |
//!
//! A few small structs are marked as values: they are written without a length and never get a further field.
//!
//! What may change: a new variant gets a number that was never used; a new field gets the next number and, with `or`, its
//! value in older bytes. Fields behind the last known one are skipped. Numbers are never given to something else.

mod container;
mod error;
#[cfg(test)]
mod example;
mod number;
mod numbered;

pub use error::StoredError;
#[cfg(test)]
pub(crate) use example::{Example, count, example, one_of};
pub(crate) use numbered::{Body, are_counted, are_distinct, begin, end, store_variant, stored, variant};

/// A value with a written form that does not depend on how its type is declared.
pub trait Stored: Sized {
    /// Writes the value behind what is in `out`.
    fn store(&self, out: &mut Vec<u8>);

    /// Reads a value from the beginning of `from`, which begins behind it afterwards.
    ///
    /// # Errors
    /// [`StoredError`] names the field and the fault in it.
    fn load(from: &mut &[u8]) -> Result<Self, StoredError>;

    /// Writes values one after the other.
    fn store_all(values: &[Self], out: &mut Vec<u8>) {
        values.iter().for_each(|value| value.store(out));
    }

    /// Reads so many values.
    ///
    /// # Errors
    /// Those of [`Stored::load`].
    fn load_all(count: usize, from: &mut &[u8]) -> Result<Vec<Self>, StoredError> {
        // Each takes a byte at least, so a damaged count makes no more room than there are bytes.
        let mut values = Vec::with_capacity(count.min(from.len()));
        for _ in 0..count {
            values.push(Self::load(from)?);
        }
        Ok(values)
    }
}

/// The written form of a value.
pub fn to_bytes(value: &impl Stored) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.store(&mut bytes);
    bytes
}

/// The value of which these are all bytes.
///
/// # Errors
/// [`StoredError`] names the field and the fault in it; bytes behind the value are refused, too.
pub fn from_bytes<T: Stored>(bytes: &[u8]) -> Result<T, StoredError> {
    let mut rest = bytes;
    let value = T::load(&mut rest)?;
    match rest.len() {
        0 => Ok(value),
        left => Err(StoredError::left(left)),
    }
}

/// Writes a text.
pub fn store_text(text: &str, out: &mut Vec<u8>) {
    number::put(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// Reads a text without copying it.
///
/// # Errors
/// [`StoredError`]: it ends too early, or is not UTF-8.
pub fn load_text<'a>(from: &mut &'a [u8]) -> Result<&'a str, StoredError> {
    let length = load_count(from)?;
    std::str::from_utf8(number::bytes(length, from)?).map_err(|_| StoredError::invalid("a text that is not UTF-8"))
}

/// Writes how many values follow.
pub fn store_count(count: usize, out: &mut Vec<u8>) {
    number::put(count as u64, out);
}

/// Reads how many values follow.
///
/// # Errors
/// [`StoredError`]: it ends too early, or no memory has so many.
#[inline]
pub fn load_count(from: &mut &[u8]) -> Result<usize, StoredError> {
    usize::try_from(number::get(from)?).map_err(|_| StoredError::invalid("a count that does not fit"))
}

#[cfg(test)]
mod tests;
