//! Messages by hand: fields that no type of ours can hold, frames that no link of ours would write.

use crate::message::Channel;
use crate::wire::frame::{FrameHead, FrameType, write_frame};
use prost::encoding::{WireType, encode_key, encode_varint};

/// A message of the schema, field by field.
#[derive(Clone, Debug, Default)]
pub struct Fields(Vec<u8>);

impl Fields {
    /// Bytes that need not be fields.
    pub fn raw(bytes: Vec<u8>) -> Fields {
        Fields(bytes)
    }

    /// A number. Those with a sign that the schema calls `sint64` come in as [`zigzag`].
    pub fn number(mut self, field: u32, value: u64) -> Fields {
        encode_key(field, WireType::Varint, &mut self.0);
        encode_varint(value, &mut self.0);
        self
    }

    /// A text, bytes, or a message in the message.
    pub fn bytes(mut self, field: u32, value: &[u8]) -> Fields {
        encode_key(field, WireType::LengthDelimited, &mut self.0);
        encode_varint(value.len() as u64, &mut self.0);
        self.0.extend_from_slice(value);
        self
    }

    /// What was written.
    pub fn done(self) -> Vec<u8> {
        self.0
    }

    /// As a whole frame; empty when it is too long for one.
    pub fn frame(self, kind: FrameType, channel: Channel) -> Vec<u8> {
        let mut out = Vec::new();
        let _ = write_frame(&mut out, FrameHead { kind, channel, correlation: 1 }, None, |out| {
            out.extend_from_slice(&self.0)
        });
        out
    }
}

/// A signed number as `sint64` writes it.
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_the_wire_format() {
        let fields = Fields::default().number(1, 300).bytes(2, b"ab").done();
        assert_eq!(fields, [0x08, 0xac, 0x02, 0x12, 0x02, b'a', b'b']);
        assert_eq!((zigzag(-1), zigzag(1), zigzag(i64::MIN)), (1, 2, u64::MAX));
    }
}
