//! TLS without input and output of its own: ciphertext goes in and plaintext comes out, and the other way round.
//!
//! ```text
//!   what TCP has ──▶ receive ──▶ the reader's buffer         the writer's bytes ──▶ send ──▶ what TCP takes
//!                       │ ▲         │ what does not fit                                │ what it does not take
//!                       ▼ │         ▼                                                  ▼
//!                      begun      unread                                            unsent
//! ```
//!
//! There are many connections and nearly all of them stand idle. So the buffers are the caller's, one for all connections
//! of a thread, and what a connection keeps between two calls is what is incomplete, for as long as it is.
//!
//! That is why `tokio-rustls` (0.26, examined in November 2026) is not used: it wraps the connection of rustls that has buffers
//! of its own for both directions. Here is the loop over rustls's unbuffered connection; records, keys and the handshake are its.

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, Error, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};
use std::ops::Deref;
use std::sync::Arc;
use tokio::io::ReadBuf;

/// The TLS of one connection.
pub(super) struct Records {
    tls: Box<Side>,
    /// The beginning of what is not complete yet: of a record, or of a message of the handshake in several records.
    begun: Vec<u8>,
    /// Plaintext for which its reader had no room.
    unread: Rest,
    /// Ciphertext that TCP has not taken yet.
    unsent: Rest,
    /// The peer has sent close_notify; later data is ignored.
    peer_closed: bool,
    failed: Option<Box<Error>>,
}

/// Bytes that are taken off at the front; no memory is kept when there are none.
#[derive(Default)]
struct Rest {
    bytes: Vec<u8>,
    taken: usize,
}

enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// Ciphertext of one record at most: 16 KiB of plaintext, what encryption may add, and the header.
const RECORD_BYTES_MAX: usize = 16 * 1024 + 2_048 + 5;
/// Ciphertext of one message of a handshake at most, in however many records; the library has the same bound for what is
/// in them.
const HANDSHAKE_BYTES_MAX: usize = 64 * 1024 - 1;
/// Plaintext that is encrypted at once at most.
const SENT_AT_ONCE_MAX: usize = 64 * 1024;
/// Room with which every call finds what it needs: the plaintext sent at once with what encryption adds, or all that has
/// begun with room for more.
pub(super) const ROOM_BYTES: usize = SENT_AT_ONCE_MAX + 4 * 1024;

impl Records {
    /// The gate's end.
    ///
    /// # Errors
    /// The library refuses the configuration.
    pub fn server(config: Arc<ServerConfig>) -> Result<Records, Error> {
        Ok(Records::of(Side::Server(UnbufferedServerConnection::new(config)?)))
    }

    /// The peer's end. Its first message is ready to be sent.
    ///
    /// # Errors
    /// The library refuses the configuration.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Records, Error> {
        let mut records = Records::of(Side::Client(UnbufferedClientConnection::new(config, name)?));
        records.receive(&mut [], 0, &mut ReadBuf::new(&mut []))?;
        Ok(records)
    }

    fn of(side: Side) -> Records {
        Records {
            tls: Box::new(side),
            begun: Vec::new(),
            unread: Rest::default(),
            unsent: Rest::default(),
            peer_closed: false,
            failed: None,
        }
    }

    /// Whether the handshake is still in progress.
    pub fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// The certificates that the other side has shown, the leaf first.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.tls.peer_certificates().unwrap_or_default()
    }

    /// Whether the peer has sent close_notify, and all data before it is read.
    pub fn is_at_end(&self) -> bool {
        self.peer_closed && self.unread.is_empty()
    }

    /// Hands out plaintext that an earlier reader had no room for; false when there is none.
    pub fn read(&mut self, reader: &mut ReadBuf<'_>) -> bool {
        let waiting = self.unread.front();
        let fits = waiting.len().min(reader.remaining());
        reader.put_slice(&waiting[..fits]);
        let any = !waiting.is_empty();
        self.unread.take(fits);
        any
    }

    /// Where in `room` to put the received bytes; see [`Records::receive`].
    pub fn room_for_more<'a>(&self, room: &'a mut [u8]) -> &'a mut [u8] {
        &mut room[self.begun.len()..]
    }

    /// Decrypts the records that are complete with the new bytes, `fresh` of them at [`Records::room_for_more`].
    /// After an error nothing more can be received or sent, except the alert for the peer, which is ready to be sent.
    ///
    /// # Errors
    /// The peer violates the protocol, or its certificate is refused.
    pub fn receive(&mut self, room: &mut [u8], fresh: usize, reader: &mut ReadBuf<'_>) -> Result<(), Error> {
        self.check()?;
        let begun = self.begun.len();
        room[..begun].copy_from_slice(&self.begun);
        let mut wire = &mut room[..begun + fresh];
        loop {
            let (done, outcome) = self.step(wire, reader);
            wire = &mut wire[done..];
            match outcome {
                Ok(Step::Again) => {}
                Ok(Step::MoreIsNeeded) => break,
                Ok(Step::PeerClosed) => {
                    self.peer_closed = true;
                    wire = &mut [];
                    break;
                }
                Err(error) => {
                    while self.tls.wants_write() && matches!(self.step(&mut [], reader), (_, Ok(Step::Again))) {}
                    return Err(self.fail(error));
                }
            }
        }
        let bound = if self.is_handshaking() { HANDSHAKE_BYTES_MAX } else { RECORD_BYTES_MAX };
        if wire.len() > bound {
            return Err(self.fail(Error::PeerSentOversizedRecord));
        }
        if wire.is_empty() {
            self.begun = Vec::new();
        } else {
            self.begun.clear();
            self.begun.reserve_exact(wire.len());
            self.begun.extend_from_slice(wire);
        }
        Ok(())
    }

    /// Encrypts some of `bytes` to the front of `room`. Returns how many were taken, and the length of the
    /// ciphertext.
    ///
    /// # Errors
    /// The connection has failed, or cannot encrypt any more.
    pub fn send(&mut self, bytes: &[u8], room: &mut [u8]) -> Result<(usize, usize), Error> {
        let bytes = &bytes[..bytes.len().min(SENT_AT_ONCE_MAX)];
        Ok((bytes.len(), self.say(&Words::Data(bytes), room)?))
    }

    /// Appends close_notify to the unsent data; only once.
    ///
    /// # Errors
    /// The connection has failed.
    pub fn send_goodbye(&mut self, room: &mut [u8]) -> Result<(), Error> {
        let length = self.say(&Words::Goodbye, room)?;
        self.unsent.add(&room[..length]);
        Ok(())
    }

    /// Ciphertext that is to be sent before anything else.
    pub fn unsent(&self) -> &[u8] {
        self.unsent.front()
    }

    /// So much of it is sent.
    pub fn sent(&mut self, bytes: usize) {
        self.unsent.take(bytes);
    }

    /// TCP has not taken this ciphertext yet.
    pub fn keep(&mut self, ciphertext: &[u8]) {
        self.unsent.add(ciphertext);
    }

    /// Bytes of memory that wait here for something to become complete: none, when nothing is in progress.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.begun.capacity() + self.unread.bytes.capacity() + self.unsent.bytes.capacity()
    }

    /// Renews the keys for sending, and requests the same of the other side.
    ///
    /// # Errors
    /// The connection has failed, or its handshake is not done.
    #[cfg(test)]
    pub fn renew_keys(&mut self) -> Result<(), Error> {
        fn renew<Data>(status: UnbufferedStatus<'_, '_, Data>) -> Result<(), Error> {
            match status.state? {
                ConnectionState::WriteTraffic(traffic) => traffic.refresh_traffic_keys(),
                other => Err(misuse(format_args!("nothing can be sent: {other:?}"))),
            }
        }
        match self.tls.as_mut() {
            Side::Server(tls) => renew(tls.process_tls_records(&mut self.begun))?,
            Side::Client(tls) => renew(tls.process_tls_records(&mut self.begun))?,
        }
        self.receive(&mut vec![0; ROOM_BYTES], 0, &mut ReadBuf::new(&mut []))
    }

    fn check(&self) -> Result<(), Error> {
        self.failed.as_ref().map_or(Ok(()), |error| Err((**error).clone()))
    }

    fn fail(&mut self, error: Error) -> Error {
        self.begun = Vec::new();
        self.failed = Some(Box::new(error.clone()));
        error
    }

    fn step(&mut self, wire: &mut [u8], reader: &mut ReadBuf<'_>) -> (usize, Result<Step, Error>) {
        let Records { tls, unread, unsent, .. } = self;
        match tls.as_mut() {
            Side::Server(tls) => step(tls.process_tls_records(wire), reader, unread, unsent),
            Side::Client(tls) => step(tls.process_tls_records(wire), reader, unread, unsent),
        }
    }

    fn say(&mut self, words: &Words<'_>, room: &mut [u8]) -> Result<usize, Error> {
        self.check()?;
        // The library keeps offsets into an incomplete message, so it needs the same bytes again.
        match self.tls.as_mut() {
            Side::Server(tls) => say(tls.process_tls_records(&mut self.begun), words, room),
            Side::Client(tls) => say(tls.process_tls_records(&mut self.begun), words, room),
        }
    }
}

/// Result of a step.
enum Step {
    /// There may be more to do with what is here.
    Again,
    /// The data is incomplete, or empty.
    MoreIsNeeded,
    PeerClosed,
}

/// Processes one state of the library. Returns how many bytes of ciphertext it has consumed.
fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    reader: &mut ReadBuf<'_>,
    unread: &mut Rest,
    unsent: &mut Rest,
) -> (usize, Result<Step, Error>) {
    let mut done = status.discard;
    let next = status.state.and_then(|state| match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record?;
                done += record.discard;
                let fits = if unread.is_empty() { record.payload.len().min(reader.remaining()) } else { 0 };
                reader.put_slice(&record.payload[..fits]);
                unread.add(&record.payload[fits..]);
            }
            Ok(Step::Again)
        }
        ConnectionState::EncodeTlsData(mut message) => {
            if let Err(EncodeError::InsufficientSize(size)) = message.encode(&mut []) {
                message.encode(unsent.extend(size.required_size)).map_err(misuse)?;
            }
            Ok(Step::Again)
        }
        ConnectionState::TransmitTlsData(message) => {
            message.done();
            Ok(Step::Again)
        }
        ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => Ok(Step::MoreIsNeeded),
        ConnectionState::PeerClosed | ConnectionState::Closed => Ok(Step::PeerClosed),
        // Early data is not enabled, and an unknown state cannot be served.
        other => Err(misuse(format_args!("an unexpected state: {other:?}"))),
    });
    (done, next)
}

enum Words<'a> {
    Data(&'a [u8]),
    Goodbye,
}

/// Encrypts to the front of `room` and returns the length.
fn say<Data>(status: UnbufferedStatus<'_, '_, Data>, words: &Words<'_>, room: &mut [u8]) -> Result<usize, Error> {
    match (status.state?, words) {
        (ConnectionState::WriteTraffic(mut traffic), Words::Data(bytes)) => {
            traffic.encrypt(bytes, room).map_err(misuse)
        }
        (ConnectionState::WriteTraffic(mut traffic), Words::Goodbye) => {
            traffic.queue_close_notify(room).map_err(misuse)
        }
        // Both sides have sent close_notify.
        (ConnectionState::Closed, Words::Goodbye) => Ok(0),
        (other, _) => Err(misuse(format_args!("nothing can be sent: {other:?}"))),
    }
}

fn misuse(what: impl ToString) -> Error {
    Error::General(what.to_string())
}

impl Deref for Side {
    type Target = CommonState;

    fn deref(&self) -> &CommonState {
        match self {
            Side::Server(tls) => tls,
            Side::Client(tls) => tls,
        }
    }
}

impl Rest {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn front(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds so many bytes, for the caller to write.
    fn extend(&mut self, bytes: usize) -> &mut [u8] {
        let before = self.bytes.len();
        self.bytes.resize(before + bytes, 0);
        &mut self.bytes[before..]
    }

    fn take(&mut self, bytes: usize) {
        self.taken += bytes;
        if self.taken == self.bytes.len() {
            *self = Rest::default();
        }
    }
}
