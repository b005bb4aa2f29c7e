//! Numbers. The first byte of a short one tells its length, so that it is read and written in one piece.

use super::{Stored, StoredError};
use std::num::{NonZeroU32, NonZeroU64};

/// The longest number that has its length in its first byte: eight bytes with seven bits each.
const SHORT_BYTES: u32 = 8;

/// Writes a number.
#[inline]
pub(super) fn put(number: u64, out: &mut Vec<u8>) {
    if number < 0x80 {
        // The lowest seven bits, so nothing is cut.
        out.push((number << 1 | 1) as u8);
        return;
    }
    let bytes = (u64::BITS - number.leading_zeros()).div_ceil(7);
    if bytes > SHORT_BYTES {
        out.push(0);
        out.extend_from_slice(&number.to_le_bytes());
        return;
    }
    let word = number << bytes | 1 << (bytes - 1);
    // A copy of a fixed length takes less time than one of the right length.
    out.extend_from_slice(&word.to_le_bytes());
    out.truncate(out.len() - (SHORT_BYTES - bytes) as usize);
}

/// Reads a number.
#[inline]
pub(super) fn get(from: &mut &[u8]) -> Result<u64, StoredError> {
    let first = *from.first().ok_or_else(StoredError::ends)?;
    if first & 1 != 0 {
        *from = &from[1..];
        return Ok(u64::from(first >> 1));
    }
    match from.first_chunk() {
        Some(word) if first != 0 => {
            let word = u64::from_le_bytes(*word);
            let bytes = first.trailing_zeros() + 1;
            *from = &from[bytes as usize..];
            Ok(short(word, bytes))
        }
        _ => get_at_the_end(first, from),
    }
}

#[inline]
const fn short(word: u64, bytes: u32) -> u64 {
    word >> bytes & (u64::MAX >> (u64::BITS - 7 * bytes))
}

/// The same of a number that is long, or stands near the end.
#[cold]
fn get_at_the_end(first: u8, from: &mut &[u8]) -> Result<u64, StoredError> {
    if first == 0 {
        let (bytes, rest) = from[1..].split_first_chunk().ok_or_else(StoredError::ends)?;
        *from = rest;
        return Ok(u64::from_le_bytes(*bytes));
    }
    let length = first.trailing_zeros() + 1;
    let mut word = [0; SHORT_BYTES as usize];
    let bytes = bytes(length as usize, from)?;
    word[..bytes.len()].copy_from_slice(bytes);
    Ok(short(u64::from_le_bytes(word), length))
}

/// So many bytes as they are.
#[inline]
pub(super) fn bytes<'a>(length: usize, from: &mut &'a [u8]) -> Result<&'a [u8], StoredError> {
    let (bytes, rest) = from.split_at_checked(length).ok_or_else(StoredError::ends)?;
    *from = rest;
    Ok(bytes)
}

macro_rules! unsigned {
    ($($number:ty),+) => {$(
        impl Stored for $number {
            #[inline]
            fn store(&self, out: &mut Vec<u8>) {
                put(u64::from(*self), out);
            }

            #[inline]
            fn load(from: &mut &[u8]) -> Result<$number, StoredError> {
                <$number>::try_from(get(from)?)
                    .map_err(|_| StoredError::invalid(concat!("a number that does not fit ", stringify!($number))))
            }
        }
    )+};
}

unsigned!(u16, u32, u64);

impl Stored for u8 {
    #[inline]
    fn store(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    #[inline]
    fn load(from: &mut &[u8]) -> Result<u8, StoredError> {
        let (byte, rest) = from.split_first().ok_or_else(StoredError::ends)?;
        *from = rest;
        Ok(*byte)
    }

    fn store_all(values: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(values);
    }

    fn load_all(count: usize, from: &mut &[u8]) -> Result<Vec<u8>, StoredError> {
        bytes(count, from).map(<[u8]>::to_vec)
    }
}

impl Stored for bool {
    #[inline]
    fn store(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    #[inline]
    fn load(from: &mut &[u8]) -> Result<bool, StoredError> {
        match u8::load(from)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(StoredError::invalid(format_args!("{other} is neither yes nor no"))),
        }
    }
}

impl Stored for i64 {
    #[inline]
    fn store(&self, out: &mut Vec<u8>) {
        put((self << 1 ^ self >> 63).cast_unsigned(), out);
    }

    #[inline]
    fn load(from: &mut &[u8]) -> Result<i64, StoredError> {
        let folded = get(from)?;
        Ok((folded >> 1).cast_signed() ^ -(folded & 1).cast_signed())
    }
}

impl Stored for u128 {
    fn store(&self, out: &mut Vec<u8>) {
        let length = (u128::BITS - self.leading_zeros()).div_ceil(u8::BITS) as usize;
        // At most 16.
        out.push(length as u8);
        out.extend_from_slice(&self.to_le_bytes()[..length]);
    }

    fn load(from: &mut &[u8]) -> Result<u128, StoredError> {
        let length = usize::from(u8::load(from)?);
        let mut number = [0; 16];
        let Some(place) = number.get_mut(..length) else {
            return Err(StoredError::invalid(format_args!("a number of {length} bytes")));
        };
        place.copy_from_slice(bytes(length, from)?);
        Ok(u128::from_le_bytes(number))
    }
}

impl Stored for i128 {
    fn store(&self, out: &mut Vec<u8>) {
        (self << 1 ^ self >> 127).cast_unsigned().store(out);
    }

    fn load(from: &mut &[u8]) -> Result<i128, StoredError> {
        let folded = u128::load(from)?;
        Ok((folded >> 1).cast_signed() ^ -(folded & 1).cast_signed())
    }
}

impl Stored for NonZeroU32 {
    #[inline]
    fn store(&self, out: &mut Vec<u8>) {
        self.get().store(out);
    }

    #[inline]
    fn load(from: &mut &[u8]) -> Result<NonZeroU32, StoredError> {
        NonZeroU32::new(u32::load(from)?).ok_or_else(zero)
    }
}

impl Stored for NonZeroU64 {
    #[inline]
    fn store(&self, out: &mut Vec<u8>) {
        self.get().store(out);
    }

    #[inline]
    fn load(from: &mut &[u8]) -> Result<NonZeroU64, StoredError> {
        NonZeroU64::new(u64::load(from)?).ok_or_else(zero)
    }
}

#[cold]
fn zero() -> StoredError {
    StoredError::invalid("zero where none may be")
}
