//! Frames: how messages are cut out of a stream of bytes, and put into one.
//!
//! ```text
//!  0       4   5   6       8          12                  20          20+n      (+32)     +4
//!  ┌───────┬───┬───┬───────┬───────────┬───────────────────┬──── … ────┬─── … ────┬────────┐
//!  │length │ver│typ│ flags │  channel  │    correlation    │  payload  │   mac    │ crc32  │
//!  └───────┴───┴───┴───────┴───────────┴───────────────────┴──── … ────┴─── … ────┴────────┘
//!    u32    u8  u8   u16       u32              u64           protobuf   32 bytes     u32
//! ```
//!
//! Network byte order throughout. `length` counts the bytes after itself. `mac` is there when flag bit 0 is set:
//! HMAC-SHA-256 over header and payload. `crc32` (CRC-32/ISO-HDLC, the one of zlib) is over everything before it.

use crate::limits;
use crate::message::{Channel, Code};
use ring::hmac;
use std::fmt;

/// The version of the frame's layout, and of the protocol.
pub const VERSION: u8 = 1;

/// Bytes of the length field.
const LENGTH: usize = 4;
/// Bytes before the payload, the length field included.
pub const HEADER: usize = 20;
/// Bytes of the checksum.
const CRC: usize = 4;
/// Bytes of the MAC, where there is one.
pub const MAC: usize = 32;
/// Flag bit 0: the frame carries a MAC.
const FLAG_MAC: u16 = 1;

/// A direction of travel; the two highest bits of a frame's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// 0x00 to 0x3f.
    ChargerToGate,
    /// 0x40 to 0x7f.
    GateToCharger,
    /// 0x80 to 0xbf.
    ProcessorToGate,
    /// 0xc0 to 0xff.
    GateToProcessor,
}

macro_rules! frame_types {
    ($($name:ident = $number:literal,)*) => {
        /// Type of a frame's payload. The numbers are on the wire and are never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum FrameType { $($name = $number,)* }

        impl FrameType {
            /// Every type of this version.
            pub const ALL: &[FrameType] = &[$(FrameType::$name),*];

            /// The type with this number.
            pub const fn from_number(number: u8) -> Option<FrameType> {
                match number {
                    $($number => Some(FrameType::$name),)*
                    _ => None,
                }
            }
        }
    };
}

frame_types! {
    ChargerHello = 0x01,
    StartSession = 0x02,
    MeterValues = 0x03,
    StopSession = 0x04,
    Heartbeat = 0x05,
    ConnectorStatus = 0x06,

    ChargerHelloAck = 0x41,
    StartAccepted = 0x42,
    StartRejected = 0x43,
    MeterAck = 0x44,
    LimitChanged = 0x45,
    StopNow = 0x46,
    SessionRejected = 0x47,
    Receipt = 0x48,
    ChargerGoAway = 0x49,
    HeartbeatAck = 0x4a,

    ProcessorHello = 0x81,
    Answer = 0x82,
    Notification = 0x83,
    SettlementBatch = 0x84,
    ProcessorPing = 0x85,
    ProcessorPong = 0x86,
    ProcessorLeaves = 0x87,
    Credit = 0x88,
    ProcessorDrain = 0x89,

    ProcessorHelloAck = 0xc1,
    Operation = 0xc2,
    Ack = 0xc3,
    Nack = 0xc4,
    GatePing = 0xc5,
    GatePong = 0xc6,
    ProcessorGoAway = 0xc8,
    GateDrain = 0xc9,
}

impl FrameType {
    /// The number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Which way it travels.
    pub const fn direction(self) -> Direction {
        direction(self.number())
    }
}

const fn direction(number: u8) -> Direction {
    match number >> 6 {
        0 => Direction::ChargerToGate,
        1 => Direction::GateToCharger,
        2 => Direction::ProcessorToGate,
        _ => Direction::GateToProcessor,
    }
}

/// One whole frame, checked, borrowed from the bytes it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Type of the payload.
    pub kind: FrameType,
    /// The sender's channel.
    pub channel: Channel,
    /// The sender's number for the message, or in an answer the number of what it answers; 0: none.
    pub correlation: u64,
    /// The protobuf message.
    pub payload: &'a [u8],
}

/// Bytes that are no frame. All of these are the peer's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length field exceeds the maximum; detected before the payload is buffered.
    #[error("a frame of {length} bytes, at most {max} are allowed")]
    TooLong {
        /// The value of the length field.
        length: u32,
        /// The maximum.
        max: u32,
    },
    /// The length field is below the length of header and checksum.
    #[error("a frame of {length} bytes, at least {min} are needed")]
    TooShort {
        /// The value of the length field.
        length: u32,
        /// The minimum.
        min: u32,
    },
    /// Another version than ours.
    #[error("frame version {0}, only version 1 is spoken here")]
    Version(u8),
    /// The checksum is wrong.
    #[error("checksum {found:08x} in the frame, {computed:08x} over its bytes")]
    Checksum {
        /// In the frame.
        found: u32,
        /// Over the frame's bytes.
        computed: u32,
    },
    /// An undefined flag in this version.
    #[error("flags {0:#06x}, of which only bit 0 is known")]
    Flags(u16),
    /// An undefined type in this version.
    #[error("frame type {0:#04x} is not known")]
    Type(u8),
    /// A type that is never sent in this direction.
    #[error("frame type {found:?} is never sent from {} ", sender(*expected))]
    Direction {
        /// The frame's type.
        found: FrameType,
        /// The only direction that is possible here.
        expected: Direction,
    },
    /// No MAC, although the two sides have a key.
    #[error("a frame without the MAC that was agreed on")]
    MacMissing,
    /// A MAC, although the two sides have no key.
    #[error("a frame with a MAC, none was agreed on")]
    MacUnexpected,
    /// The MAC is wrong: another key, or the frame was changed.
    #[error("the frame's MAC is wrong")]
    MacWrong,
}

const fn sender(direction: Direction) -> &'static str {
    match direction {
        Direction::ChargerToGate => "a charger",
        Direction::GateToCharger => "the gate to a charger",
        Direction::ProcessorToGate => "a processor",
        Direction::GateToProcessor => "the gate to a processor",
    }
}

impl FrameError {
    /// The code that is sent to the peer.
    pub const fn code(&self) -> Code {
        match self {
            FrameError::TooLong { .. } => Code::FrameTooLong,
            FrameError::TooShort { .. } => Code::FrameTooShort,
            FrameError::Version(_) => Code::FrameVersion,
            FrameError::Checksum { .. } => Code::FrameChecksum,
            FrameError::Flags(_) => Code::FrameFlags,
            FrameError::Type(_) => Code::FrameType,
            FrameError::Direction { .. } => Code::WrongDirection,
            FrameError::MacMissing => Code::FrameMacMissing,
            FrameError::MacUnexpected => Code::FrameMacUnexpected,
            FrameError::MacWrong => Code::FrameMacWrong,
        }
    }
}

/// The key of the frames' MAC, shared with one processor beside TLS, so that a proxy that ends TLS cannot alter money.
#[derive(Clone)]
pub struct MacKey(hmac::Key);

impl MacKey {
    /// A key of 32 bytes from a source of randomness.
    pub fn new(secret: &[u8; 32]) -> MacKey {
        MacKey(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }
}

/// The key never reaches a log.
impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(…)")
    }
}

/// What stands in front of a frame's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// The type of the message.
    pub kind: FrameType,
    /// The channel.
    pub channel: Channel,
    /// The number by which the receiver's answer refers to the frame; 0 for none.
    pub correlation: u64,
}

impl FrameHead {
    /// Of a frame to which no answer refers.
    pub const fn new(kind: FrameType, channel: Channel) -> FrameHead {
        FrameHead { kind, channel, correlation: 0 }
    }
}

/// Appends one frame to `out`; `payload` appends its message.
///
/// # Errors
/// [`FrameError::TooLong`], with `out` as it was, when the message does not fit a frame.
pub fn write_frame(
    out: &mut Vec<u8>,
    head: FrameHead,
    mac: Option<&MacKey>,
    payload: impl FnOnce(&mut Vec<u8>),
) -> Result<(), FrameError> {
    let FrameHead { kind, channel, correlation } = head;
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH]);
    out.extend_from_slice(&[VERSION, kind.number()]);
    out.extend_from_slice(&(if mac.is_some() { FLAG_MAC } else { 0 }).to_be_bytes());
    out.extend_from_slice(&channel.0.to_be_bytes());
    out.extend_from_slice(&correlation.to_be_bytes());
    payload(out);
    let length = out.len() - start - LENGTH + CRC + if mac.is_some() { MAC } else { 0 };
    let Some(length) = u32::try_from(length).ok().filter(|length| *length <= limits::FRAME_MAX) else {
        out.truncate(start);
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        return Err(FrameError::TooLong { length, max: limits::FRAME_MAX });
    };
    out[start..start + LENGTH].copy_from_slice(&length.to_be_bytes());
    if let Some(MacKey(key)) = mac {
        let tag = hmac::sign(key, &out[start..]);
        out.extend_from_slice(tag.as_ref());
    }
    let crc = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&crc.to_be_bytes());
    Ok(())
}

/// Cuts frames out of a stream, whatever the pieces in which it arrives.
///
/// Keeps at most one unfinished frame, and nothing of a frame that is too long.
#[derive(Debug)]
pub struct FrameReader {
    /// The bytes so far of a frame that came in several pieces.
    partial: Vec<u8>,
    /// The frame in `partial` was handed out; its bytes are given up before the next one is read.
    handed_out: bool,
    expected: Direction,
    mac: Option<MacKey>,
}

/// Room that an empty reader keeps, in bytes. Frames larger than that come in pieces seldom enough.
const PARTIAL_KEPT: usize = 1_024;

impl FrameReader {
    /// Reads frames of one direction; with a key, every frame must carry a MAC by it.
    pub fn new(expected: Direction, mac: Option<MacKey>) -> FrameReader {
        FrameReader { partial: Vec::new(), handed_out: false, expected, mac }
    }

    /// Takes the next frame off the front of `bytes`; `None` when they end before it does, in which case they are kept.
    ///
    /// After an error the stream is lost and must not be read on.
    ///
    /// # Errors
    /// [`FrameError`]: a wrong length, version, checksum, flag, type, direction or MAC.
    pub fn next<'a, 'b: 'a>(&'a mut self, bytes: &mut &'b [u8]) -> Result<Option<Frame<'a>>, FrameError> {
        if self.handed_out {
            self.handed_out = false;
            self.partial.clear();
            self.partial.shrink_to(PARTIAL_KEPT);
        }
        if !self.partial.is_empty() {
            return self.next_after_partial(bytes);
        }
        match frame_len(bytes)? {
            Some(len) if len <= bytes.len() => {
                let (frame, rest) = bytes.split_at(len);
                *bytes = rest;
                check(frame, self.expected, self.mac.as_ref()).map(Some)
            }
            _ => {
                self.partial.extend_from_slice(bytes);
                *bytes = &[];
                Ok(None)
            }
        }
    }

    /// The slow way: the frame began in an earlier piece.
    fn next_after_partial<'a>(&'a mut self, bytes: &mut &[u8]) -> Result<Option<Frame<'a>>, FrameError> {
        // First as far as length and version, then as far as the end; never a byte of the next frame.
        for _ in 0..2 {
            let wanted = frame_len(&self.partial)?.unwrap_or(LENGTH + 1);
            let (taken, rest) = bytes.split_at(bytes.len().min(wanted.saturating_sub(self.partial.len())));
            self.partial.extend_from_slice(taken);
            *bytes = rest;
        }
        match frame_len(&self.partial)? {
            Some(len) if len == self.partial.len() => {
                self.handed_out = true;
                check(&self.partial, self.expected, self.mac.as_ref()).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Whether a frame was begun and not finished.
    pub fn is_mid_frame(&self) -> bool {
        !self.handed_out && !self.partial.is_empty()
    }
}

/// Length of the whole frame that begins here, as soon as its length and version are there and have been found good.
fn frame_len(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length);
    if length > limits::FRAME_MAX {
        return Err(FrameError::TooLong { length, max: limits::FRAME_MAX });
    }
    let min = HEADER - LENGTH + CRC;
    let after = length as usize;
    if after < min {
        return Err(FrameError::TooShort { length, min: min as u32 });
    }
    match rest.first() {
        None => Ok(None),
        Some(&VERSION) => Ok(Some(LENGTH + after)),
        Some(&other) => Err(FrameError::Version(other)),
    }
}

/// Checks a whole frame: checksum, flags, type, direction, MAC, in this order.
fn check<'f>(frame: &'f [u8], expected: Direction, mac: Option<&MacKey>) -> Result<Frame<'f>, FrameError> {
    let (body, crc) = frame.split_last_chunk::<CRC>().expect("frame_len allows no frame without a checksum");
    let (found, computed) = (u32::from_be_bytes(*crc), crc32fast::hash(body));
    if found != computed {
        return Err(FrameError::Checksum { found, computed });
    }
    let (header, rest) = body.split_first_chunk::<HEADER>().expect("frame_len allows no frame without a header");
    let [_, _, _, _, _, number, f0, f1, c0, c1, c2, c3, correlation @ ..] = *header;
    let flags = u16::from_be_bytes([f0, f1]);
    if flags & !FLAG_MAC != 0 {
        return Err(FrameError::Flags(flags));
    }
    let kind = FrameType::from_number(number).ok_or(FrameError::Type(number))?;
    if kind.direction() != expected {
        return Err(FrameError::Direction { found: kind, expected });
    }
    let payload = match (mac, flags & FLAG_MAC != 0) {
        (None, false) => rest,
        (None, true) => return Err(FrameError::MacUnexpected),
        (Some(_), false) => return Err(FrameError::MacMissing),
        (Some(MacKey(key)), true) => {
            let Some((payload, tag)) = rest.split_last_chunk::<MAC>() else {
                return Err(FrameError::TooShort { length: (frame.len() - LENGTH) as u32, min: (HEADER + MAC) as u32 });
            };
            hmac::verify(key, &body[..body.len() - MAC], tag).map_err(|_| FrameError::MacWrong)?;
            payload
        }
    };
    let channel = Channel(u32::from_be_bytes([c0, c1, c2, c3]));
    Ok(Frame { kind, channel, correlation: u64::from_be_bytes(correlation), payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(payload: &[u8], mac: Option<&MacKey>) -> Vec<u8> {
        let mut out = Vec::new();
        let append = |out: &mut Vec<u8>| out.extend_from_slice(payload);
        let head = FrameHead { kind: FrameType::Heartbeat, channel: Channel(7), correlation: 9 };
        write_frame(&mut out, head, mac, append).unwrap();
        out
    }

    /// Everything the stream holds, when it arrives in pieces of these lengths.
    fn read(stream: &[u8], pieces: &[usize], mac: Option<MacKey>) -> Result<Vec<(Channel, u64, Vec<u8>)>, FrameError> {
        let mut reader = FrameReader::new(Direction::ChargerToGate, mac);
        let mut frames = Vec::new();
        let mut rest = stream;
        let mut pieces = pieces.iter().copied().cycle();
        while !rest.is_empty() {
            let (mut piece, after) = rest.split_at(pieces.next().unwrap().min(rest.len()));
            rest = after;
            while let Some(frame) = reader.next(&mut piece)? {
                frames.push((frame.channel, frame.correlation, frame.payload.to_vec()));
            }
        }
        Ok(frames)
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let bytes = frame(&[0xaa], None);
        assert_eq!(hex::encode(&bytes[..21]), "0000001501050000000000070000000000000009aa");
        assert_eq!(bytes[21..], crc32fast::hash(&bytes[..21]).to_be_bytes());
        // CRC-32/ISO-HDLC, identified by its check value.
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_length_out_of_bounds_is_refused_before_anything_is_kept() {
        let mut reader = FrameReader::new(Direction::ChargerToGate, None);
        let mut bytes: &[u8] = b"GET / HTTP/1.1\r\n";
        assert!(matches!(reader.next(&mut bytes), Err(FrameError::TooLong { .. })));
        assert_eq!(reader.partial.capacity(), 0);
        assert_eq!(read(&[0, 0, 0, 19], &[4], None), Err(FrameError::TooShort { length: 19, min: 20 }));
        let over = (limits::FRAME_MAX + 1).to_be_bytes();
        assert!(matches!(read(&over, &[1], None), Err(FrameError::TooLong { .. })));
        let too_long = |out: &mut Vec<u8>| out.resize(out.len() + limits::FRAME_MAX as usize, 0);
        let mut out = vec![1];
        assert!(write_frame(&mut out, FrameHead::new(FrameType::Heartbeat, Channel::ZERO), None, too_long).is_err());
        assert_eq!(out, [1]);
    }

    #[test]
    fn each_fault_has_its_error() {
        let edit = |at: usize, value: u8| {
            let mut bytes = frame(b"abc", None);
            let end = bytes.len() - CRC;
            bytes[at] = value;
            let crc = crc32fast::hash(&bytes[..end]).to_be_bytes();
            bytes[end..].copy_from_slice(&crc);
            read(&bytes, &[usize::MAX], None)
        };
        assert_eq!(edit(4, 2), Err(FrameError::Version(2)));
        assert_eq!(edit(5, 0x3f), Err(FrameError::Type(0x3f)));
        assert_eq!(edit(7, 2), Err(FrameError::Flags(2)));
        assert_eq!(edit(7, 1), Err(FrameError::MacUnexpected));
        assert!(matches!(edit(5, 0x82), Err(FrameError::Direction { found: FrameType::Answer, .. })));
        let mut bytes = frame(b"abc", None);
        bytes[21] ^= 1;
        assert!(matches!(read(&bytes, &[usize::MAX], None), Err(FrameError::Checksum { .. })));
    }

    #[test]
    fn a_mac_is_checked_where_there_is_a_key() {
        let (key, other) = (MacKey::new(&[1; 32]), MacKey::new(&[2; 32]));
        let bytes = frame(b"abc", Some(&key));
        assert_eq!(read(&bytes, &[5], Some(key.clone())).unwrap()[0].2, b"abc");
        assert_eq!(read(&bytes, &[5], Some(other)), Err(FrameError::MacWrong));
        assert_eq!(read(&frame(b"abc", None), &[5], Some(key.clone())), Err(FrameError::MacMissing));
        assert_eq!(format!("{key:?}"), "MacKey(…)");
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        for key in [None, Some(MacKey::new(&[3; 32]))] {
            let good = frame(b"some payload", key.as_ref());
            for at in 0..good.len() {
                for bit in 0..8 {
                    let mut bytes = good.clone();
                    bytes[at] ^= 1 << bit;
                    let outcome = read(&bytes, &[usize::MAX], key.clone());
                    assert!(outcome.as_ref().map_or(true, Vec::is_empty), "byte {at} bit {bit}: {outcome:?}");
                }
                assert_eq!(read(&good[..at], &[usize::MAX], key.clone()), Ok(Vec::new()), "cut at {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_pieces_do_not_matter(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..6),
            pieces in proptest::collection::vec(1_usize..90, 1..5),
        ) {
            let stream: Vec<u8> = payloads.iter().flat_map(|payload| frame(payload, None)).collect();
            let found = read(&stream, &pieces, None).unwrap();
            prop_assert_eq!(&found, &read(&stream, &[1], None).unwrap());
            prop_assert_eq!(&found, &read(&stream, &[usize::MAX], None).unwrap());
            prop_assert_eq!(found.into_iter().map(|(_, _, payload)| payload).collect::<Vec<_>>(), payloads);
        }
    }
}
