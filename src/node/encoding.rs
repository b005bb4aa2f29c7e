//! Facts and states as bytes, appended to what is in a buffer.
//!
//! postcard hands over a few bytes at a time: what a number takes. A call to copy them would cost more than the copying.

use postcard::ser_flavors::Flavor;
use serde::Serialize;

/// Writes a value behind what is in `bytes`.
pub(super) fn encode<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) {
    postcard::serialize_with_flavor(value, Behind(bytes)).expect("plain data into memory");
}

struct Behind<'a>(&'a mut Vec<u8>);

/// Up to this many bytes are copied one by one: the longest number of 64 bits takes ten.
const FEW: usize = 10;

impl Flavor for Behind<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if bytes.len() > FEW {
            self.0.extend_from_slice(bytes);
            return Ok(());
        }
        self.0.reserve(FEW);
        bytes.iter().for_each(|byte| self.0.push(*byte));
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_bytes_are_those_of_postcard(value in any::<(u64, i64, Option<u16>, Vec<u8>, String, bool, u128)>()) {
            let mut bytes = vec![7];
            encode(&value, &mut bytes);
            prop_assert_eq!(&bytes[1..], postcard::to_stdvec(&value).unwrap());
        }
    }
}
