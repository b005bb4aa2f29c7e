//! One frame: its header, its mask, and the ways to break the rules (RFC 6455, section 5).

use super::End;

/// What a frame is for (section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Close,
    Ping,
    Pong,
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub last: bool,
    /// The first reserved bit: the message is compressed.
    pub compressed: bool,
    pub opcode: Opcode,
    pub mask: Option<[u8; 4]>,
    /// Bytes of the payload.
    pub length: u64,
}

/// Longest header, in bytes.
pub(super) const HEADER_MAX: usize = 14;
/// Longest payload of a control frame, in bytes (section 5.5).
pub(super) const CONTROL_MAX: u64 = 125;

/// How a peer broke the protocol; the connection is closed with [`Violation::code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A reserved bit or opcode that nothing was agreed for.
    #[error("a reserved bit or opcode is used")]
    Reserved,
    /// A client's frame without a mask, or a server's frame with one.
    #[error("a frame is masked by the wrong end")]
    Mask,
    /// A length that is not in its shortest form, or above 2^63.
    #[error("a frame's length is not in its shortest form")]
    Length,
    /// A control frame in pieces, or longer than 125 bytes.
    #[error("a control frame is cut in pieces or too long")]
    Control,
    /// A message begins inside another one, or goes on without having begun.
    #[error("the pieces of a message are out of order")]
    Order,
    /// A close frame with one byte, or a code that may not be sent.
    #[error("a close frame has no valid code")]
    CloseCode,
    /// A text that is not UTF-8.
    #[error("a text is not UTF-8")]
    Text,
    /// A binary message; OCPP has none.
    #[error("a message is binary")]
    Binary,
    /// A message longer than the bound, before or after it is inflated.
    #[error("a message is longer than {0} bytes")]
    TooLong(usize),
    /// A compressed message that cannot be inflated.
    #[error("a compressed message is damaged")]
    Deflate,
}

/// Why a connection is closed, as a number (section 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The conversation is over.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// The gate ends, or the peer is replaced.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// The peer breaks the protocol.
    pub const PROTOCOL: CloseCode = CloseCode(1002);
    /// A kind of message that is not accepted here.
    pub const UNSUPPORTED: CloseCode = CloseCode(1003);
    /// Not a text.
    pub const NOT_TEXT: CloseCode = CloseCode(1007);
    /// Not allowed.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// A message is too long.
    pub const TOO_LONG: CloseCode = CloseCode(1009);
    /// Busy: come again later.
    pub const TRY_LATER: CloseCode = CloseCode(1013);

    /// Whether a peer may send it.
    pub(super) const fn may_be_sent(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl Violation {
    /// The code that the connection is closed with.
    pub const fn code(self) -> CloseCode {
        match self {
            Violation::Text => CloseCode::NOT_TEXT,
            Violation::Binary => CloseCode::UNSUPPORTED,
            Violation::TooLong(_) => CloseCode::TOO_LONG,
            Violation::Deflate => CloseCode::NOT_TEXT,
            Violation::Reserved
            | Violation::Mask
            | Violation::Length
            | Violation::Control
            | Violation::Order
            | Violation::CloseCode => CloseCode::PROTOCOL,
        }
    }
}

impl Header {
    /// Bytes of the whole header, as far as its first two bytes tell; 2 before.
    pub fn needed(bytes: &[u8]) -> usize {
        let [_, second, ..] = *bytes else { return 2 };
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + extended + if second & 0x80 == 0 { 0 } else { 4 }
    }

    /// Reads a whole header, received by this end.
    ///
    /// # Errors
    /// The header breaks a rule of RFC 6455; [`Violation`] names it.
    pub fn read(bytes: &[u8], end: End, compression: bool) -> Result<Header, Violation> {
        let [first, second, rest @ ..] = bytes else { return Err(Violation::Length) };
        let (last, compressed, masked) = (first & 0x80 != 0, first & 0x40 != 0, second & 0x80 != 0);
        let opcode = match first & 0x0f {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => return Err(Violation::Binary),
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return Err(Violation::Reserved),
        };
        // A message is marked in its first piece only (RFC 7692, section 6).
        if first & 0x30 != 0 || (compressed && !(compression && opcode == Opcode::Text)) {
            return Err(Violation::Reserved);
        }
        if masked != (end == End::Server) {
            return Err(Violation::Mask);
        }
        let (length, rest) = match (second & 0x7f, rest) {
            (126, [a, b, rest @ ..]) => {
                (Some(u64::from(u16::from_be_bytes([*a, *b]))).filter(|length| *length > 125), rest)
            }
            (127, [a, b, c, d, e, f, g, h, rest @ ..]) => {
                let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
                (Some(length).filter(|length| *length > 0xffff && *length >> 63 == 0), rest)
            }
            (126 | 127, rest) => (None, rest),
            (short, rest) => (Some(u64::from(short)), rest),
        };
        let length = length.ok_or(Violation::Length)?;
        let is_control = matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong);
        if is_control && (!last || length > CONTROL_MAX) {
            return Err(Violation::Control);
        }
        let mask = if masked { Some(rest.first_chunk().copied().ok_or(Violation::Length)?) } else { None };
        Ok(Header { last, compressed, opcode, mask, length })
    }
}

/// Appends one whole frame; masked if there is a mask.
pub(super) fn write(opcode: Opcode, compressed: bool, mask: Option<[u8; 4]>, payload: &[u8], out: &mut Vec<u8>) {
    let number = match opcode {
        Opcode::Continuation => 0,
        Opcode::Text => 1,
        Opcode::Close => 8,
        Opcode::Ping => 9,
        Opcode::Pong => 10,
    };
    let masked = if mask.is_some() { 0x80 } else { 0 };
    out.push(0x80 | if compressed { 0x40 } else { 0 } | number);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ ..=125), _) => out.push(masked | short),
        (_, Ok(length)) => {
            out.push(masked | 126);
            out.extend(length.to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            // A usize has at most 64 bits.
            out.extend((payload.len() as u64).to_be_bytes());
        }
    }
    out.extend(mask.into_iter().flatten());
    let begin = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        apply_mask(&mut out[begin..], mask, 0);
    }
}

/// Masks or unmasks bytes of a payload whose first one is the payload's byte number `offset` (section 5.3).
pub(super) fn apply_mask(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut turned = mask;
    turned.rotate_left(offset % 4);
    let (words, rest) = bytes.as_chunks_mut::<4>();
    let mask = u32::from_ne_bytes(turned);
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ mask).to_ne_bytes();
    }
    rest.iter_mut().zip(turned).for_each(|(byte, mask)| *byte ^= mask);
}
