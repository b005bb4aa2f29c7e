//! The messages of one connection after its handshake.

use super::End;
use super::deflate::{InflateError, compress, inflate};
use super::frame::{CloseCode, HEADER_MAX, Header, Opcode, Violation, apply_mask, write};

/// What comes out of received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A whole message.
    Text(&'a str),
    /// The other side is there.
    Pong,
    /// The other side is there and asked whether this one is; the answer is in the reply already.
    Ping,
    /// The other side closes; the answer is in the reply already, and nothing more comes.
    Close(Option<CloseCode>),
}

/// The receiving half of a connection. Silent, it holds no memory but its own.
#[derive(Debug)]
pub struct WebSocket {
    sender: Sender,
    /// Longest message, in bytes, compressed or inflated.
    message_max: usize,
    header: [u8; HEADER_MAX],
    header_length: u8,
    /// The frame whose payload comes, and how many bytes of it are here.
    frame: Option<(Header, u64)>,
    /// The message in progress: is it compressed?
    message: Option<bool>,
    payload: Vec<u8>,
    control: Vec<u8>,
    closed: bool,
}

/// The sending half of a connection: whole messages in single frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    end: End,
    compression: bool,
    /// The next mask: masks keep caches between the ends from being confused; they hide nothing from anyone.
    mask: u32,
}

/// Shorter messages are not compressed: it would save nothing.
const COMPRESSED_MIN: usize = 256;

impl Sender {
    /// Appends a text message.
    pub fn text(&mut self, text: &str, out: &mut Vec<u8>) {
        let mask = self.next_mask();
        if self.compression && text.len() >= COMPRESSED_MIN {
            let mut small = Vec::new();
            compress(text.as_bytes(), &mut small);
            if small.len() < text.len() {
                return write(Opcode::Text, true, mask, &small, out);
            }
        }
        write(Opcode::Text, false, mask, text.as_bytes(), out);
    }

    /// Appends a question whether the other side is there.
    pub fn ping(&mut self, out: &mut Vec<u8>) {
        let mask = self.next_mask();
        write(Opcode::Ping, false, mask, &[], out);
    }

    /// Appends the end of the conversation, with a reason of at most 123 bytes; more is cut.
    pub fn close(&mut self, code: CloseCode, reason: &str, out: &mut Vec<u8>) {
        let mut payload = code.0.to_be_bytes().to_vec();
        let cut = (0..=reason.len().min(REASON_MAX)).rev().find(|at| reason.is_char_boundary(*at)).unwrap_or(0);
        payload.extend_from_slice(&reason.as_bytes()[..cut]);
        let mask = self.next_mask();
        write(Opcode::Close, false, mask, &payload, out);
    }

    fn next_mask(&mut self) -> Option<[u8; 4]> {
        match self.end {
            End::Server => None,
            End::Client => {
                self.mask = self.mask.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                Some(self.mask.to_be_bytes())
            }
        }
    }
}

const REASON_MAX: usize = 123;

impl WebSocket {
    /// A connection after its handshake. `mask` begins the masks of a client, and is unused at a server.
    pub fn new(end: End, compression: bool, message_max: usize, mask: u32) -> WebSocket {
        WebSocket {
            sender: Sender { end, compression, mask },
            message_max,
            header: [0; HEADER_MAX],
            header_length: 0,
            frame: None,
            message: None,
            payload: Vec::new(),
            control: Vec::new(),
            closed: false,
        }
    }

    /// The sending half.
    pub fn sender(&mut self) -> &mut Sender {
        &mut self.sender
    }

    /// Whether a frame or a message has begun that has not ended.
    pub fn is_mid_message(&self) -> bool {
        self.header_length > 0 || self.frame.is_some() || self.message.is_some()
    }

    /// Bytes that it holds for messages in progress, in room that is reserved.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.payload.capacity() + self.control.capacity()
    }

    /// Takes bytes as they come, cut anywhere, and hands on whole messages. Answers to pings and to a close are appended to
    /// `reply`. After a close nothing more is read.
    ///
    /// # Errors
    /// [`Violation`]: the peer breaks the protocol; the close frame is in `reply`, and the connection has to end.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        reply: &mut Vec<u8>,
        mut on: impl FnMut(Incoming<'_>),
    ) -> Result<(), Violation> {
        let outcome = self.read(bytes, reply, &mut on);
        if let Err(violation) = outcome {
            self.closed = true;
            self.sender.close(violation.code(), &violation.to_string(), reply);
        }
        if self.payload.is_empty() {
            self.payload = Vec::new();
        }
        outcome
    }

    fn read(
        &mut self,
        mut bytes: &[u8],
        reply: &mut Vec<u8>,
        on: &mut impl FnMut(Incoming<'_>),
    ) -> Result<(), Violation> {
        while !self.closed {
            let Some((header, received)) = self.frame else {
                let Some(rest) = self.take_header(bytes)? else { return Ok(()) };
                bytes = rest;
                continue;
            };
            let left = usize::try_from(header.length - received).unwrap_or(usize::MAX);
            let (part, rest) = bytes.split_at(left.min(bytes.len()));
            bytes = rest;
            let room = if is_control(header.opcode) { &mut self.control } else { &mut self.payload };
            let begin = room.len();
            room.extend_from_slice(part);
            if let Some(mask) = header.mask {
                // The remainder is all that counts.
                apply_mask(&mut room[begin..], mask, (received % 4) as usize);
            }
            if part.len() < left {
                self.frame = Some((header, received + part.len() as u64));
                return Ok(());
            }
            self.frame = None;
            self.finish(header, reply, on)?;
        }
        Ok(())
    }

    /// Takes bytes of a header; none if it is not whole yet.
    fn take_header<'a>(&mut self, mut bytes: &'a [u8]) -> Result<Option<&'a [u8]>, Violation> {
        loop {
            let have = usize::from(self.header_length);
            let needed = Header::needed(&self.header[..have]);
            if have == needed {
                break;
            }
            let (part, rest) = bytes.split_at((needed - have).min(bytes.len()));
            self.header[have..have + part.len()].copy_from_slice(part);
            // A header has at most 14 bytes.
            self.header_length += part.len() as u8;
            bytes = rest;
            if part.len() < needed - have {
                return Ok(None);
            }
        }
        let header =
            Header::read(&self.header[..usize::from(self.header_length)], self.sender.end, self.sender.compression)?;
        self.header_length = 0;
        match (header.opcode, self.message) {
            (Opcode::Text, None) => self.message = Some(header.compressed),
            (Opcode::Text, Some(_)) | (Opcode::Continuation, None) => return Err(Violation::Order),
            (Opcode::Continuation, Some(_)) | (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => {}
        }
        let fits = u64::try_from(self.message_max.saturating_sub(self.payload.len())).unwrap_or(u64::MAX);
        if !is_control(header.opcode) && header.length > fits {
            return Err(Violation::TooLong(self.message_max));
        }
        self.frame = Some((header, 0));
        Ok(Some(bytes))
    }

    /// A frame is whole.
    fn finish(
        &mut self,
        header: Header,
        reply: &mut Vec<u8>,
        on: &mut impl FnMut(Incoming<'_>),
    ) -> Result<(), Violation> {
        match header.opcode {
            Opcode::Text | Opcode::Continuation if !header.last => Ok(()),
            Opcode::Text | Opcode::Continuation => {
                let message = std::mem::take(&mut self.payload);
                let outcome = self.deliver(&message, on);
                // Kept for the next message of the same read; dropped at its end.
                self.payload = message;
                self.payload.clear();
                outcome
            }
            Opcode::Ping => {
                let mask = self.sender.next_mask();
                write(Opcode::Pong, false, mask, &std::mem::take(&mut self.control), reply);
                on(Incoming::Ping);
                Ok(())
            }
            Opcode::Pong => {
                self.control = Vec::new();
                on(Incoming::Pong);
                Ok(())
            }
            Opcode::Close => {
                let payload = std::mem::take(&mut self.control);
                let code = match payload.as_slice() {
                    [] => None,
                    [a, b, reason @ ..] if std::str::from_utf8(reason).is_ok() => {
                        Some(CloseCode(u16::from_be_bytes([*a, *b])))
                    }
                    _ => return Err(Violation::CloseCode),
                };
                if code.is_some_and(|code| !code.may_be_sent()) {
                    return Err(Violation::CloseCode);
                }
                self.closed = true;
                self.sender.close(code.unwrap_or(CloseCode::NORMAL), "", reply);
                on(Incoming::Close(code));
                Ok(())
            }
        }
    }

    fn deliver(&mut self, message: &[u8], on: &mut impl FnMut(Incoming<'_>)) -> Result<(), Violation> {
        if self.message.take() == Some(true) {
            let mut plain = Vec::new();
            inflate(message, self.message_max, &mut plain).map_err(|error| match error {
                InflateError::Damaged => Violation::Deflate,
                InflateError::TooLong => Violation::TooLong(self.message_max),
            })?;
            on(Incoming::Text(std::str::from_utf8(&plain).map_err(|_| Violation::Text)?));
        } else {
            on(Incoming::Text(std::str::from_utf8(message).map_err(|_| Violation::Text)?));
        }
        Ok(())
    }
}

fn is_control(opcode: Opcode) -> bool {
    match opcode {
        Opcode::Close | Opcode::Ping | Opcode::Pong => true,
        Opcode::Text | Opcode::Continuation => false,
    }
}
