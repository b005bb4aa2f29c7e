//! The opening of a connection: an HTTP request for an upgrade, and its answer (RFC 6455, section 4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::percent_decode_str;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use std::fmt::Write;

/// Longest head of a request or an answer, in bytes.
pub const HEAD_MAX: usize = 8 * 1024;
/// Most header fields.
const FIELDS_MAX: usize = 64;
/// Joined to the client's key (section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A client's request for an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The path, decoded, without its query.
    pub path: String,
    /// The subprotocols in the client's order of preference.
    pub protocols: Vec<String>,
    /// User and password of HTTP Basic (RFC 7617). The password may be any bytes.
    pub basic: Option<(String, Vec<u8>)>,
    /// Whether compression was offered on terms that are accepted here.
    pub compression: bool,
    key: String,
}

/// Why a request is no upgrade to WebSocket, with the status of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Not HTTP/1.1.
    #[error("the bytes are no HTTP request")]
    NotHttp,
    /// The head does not end.
    #[error("the head of the request is longer than {HEAD_MAX} bytes")]
    TooLong,
    /// Not GET.
    #[error("a WebSocket is opened by GET")]
    Method,
    /// The fields of an upgrade are missing.
    #[error("the request asks for no upgrade to WebSocket")]
    NoUpgrade,
    /// Not version 13.
    #[error("the version of WebSocket is not 13")]
    Version,
    /// The key is missing or not 16 bytes.
    #[error("Sec-WebSocket-Key is not 16 bytes in base64")]
    Key,
    /// The path or the field Authorization cannot be decoded.
    #[error("{0} cannot be decoded")]
    Encoding(&'static str),
    /// A server's answer that accepts nothing, with its status.
    #[error("the server answers with status {0}")]
    Status(u16),
    /// A server's answer that does not fit the request.
    #[error("the server's answer does not fit the request: {0}")]
    Answer(&'static str),
}

impl HandshakeError {
    /// Status and reason of the answer to a client.
    pub const fn status(self) -> (u16, &'static str) {
        match self {
            HandshakeError::TooLong => (431, "Request Header Fields Too Large"),
            HandshakeError::Method => (405, "Method Not Allowed"),
            HandshakeError::NoUpgrade | HandshakeError::Version => (426, "Upgrade Required"),
            HandshakeError::NotHttp
            | HandshakeError::Key
            | HandshakeError::Encoding(_)
            | HandshakeError::Status(_)
            | HandshakeError::Answer(_) => (400, "Bad Request"),
        }
    }
}

impl Request {
    /// Reads a request from the beginning of `bytes`; with it the length of its head. None if more bytes have to come.
    ///
    /// # Errors
    /// [`HandshakeError`]: it is no upgrade; the answer is [`refuse`].
    pub fn read(bytes: &[u8]) -> Result<Option<(Request, usize)>, HandshakeError> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Request::new(&mut fields);
        let length = match head.parse(bytes) {
            Ok(httparse::Status::Complete(length)) if length <= HEAD_MAX => length,
            Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(HandshakeError::TooLong),
            Err(_) => return Err(HandshakeError::NotHttp),
        };
        if head.method != Some("GET") {
            return Err(HandshakeError::Method);
        }
        let fields = Fields(head.headers);
        if head.version != Some(1) || !fields.has("upgrade", "websocket") || !fields.has("connection", "upgrade") {
            return Err(HandshakeError::NoUpgrade);
        }
        if fields.first("sec-websocket-version") != Some("13") {
            return Err(HandshakeError::Version);
        }
        let key = fields.first("sec-websocket-key").ok_or(HandshakeError::Key)?;
        if BASE64.decode(key).map_or(0, |key| key.len()) != 16 {
            return Err(HandshakeError::Key);
        }
        let target = head.path.unwrap_or_default();
        let path = target.split(['?', '#']).next().unwrap_or_default();
        let path =
            percent_decode_str(path).decode_utf8().map_err(|_| HandshakeError::Encoding("the path"))?.into_owned();
        let request = Request {
            path,
            protocols: fields.list("sec-websocket-protocol").map(str::to_owned).collect(),
            basic: fields.first("authorization").map(basic).transpose()?,
            compression: fields.list("sec-websocket-extensions").any(is_acceptable),
            key: key.to_owned(),
        };
        Ok(Some((request, length)))
    }

    /// Appends the answer that opens the connection. Compression is agreed only if `compression` is set and was offered.
    pub fn accept(&self, protocol: Option<&str>, compression: bool, out: &mut Vec<u8>) {
        let mut head =
            String::from("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
        let _ = write!(head, "Sec-WebSocket-Accept: {}\r\n", accept_of(&self.key));
        if let Some(protocol) = protocol {
            let _ = write!(head, "Sec-WebSocket-Protocol: {protocol}\r\n");
        }
        if compression && self.compression {
            let _ = write!(head, "Sec-WebSocket-Extensions: {COMPRESSION}\r\n");
        }
        head.push_str("\r\n");
        out.extend_from_slice(head.as_bytes());
    }
}

/// The one form of compression: no window outlives its message, in either direction.
const COMPRESSION: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// Appends an answer that opens nothing; the connection ends after it.
pub fn refuse((status, reason): (u16, &str), text: &str, out: &mut Vec<u8>) {
    let mut head = format!("HTTP/1.1 {status} {reason}\r\n");
    match status {
        401 => head.push_str("WWW-Authenticate: Basic realm=\"ocpp\", charset=\"UTF-8\"\r\n"),
        405 => head.push_str("Allow: GET\r\n"),
        426 => head.push_str("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
        _ => {}
    }
    let _ = write!(
        head,
        "Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    out.extend_from_slice(head.as_bytes());
}

/// Appends a client's request, and returns what its [`Response`] is checked against.
pub fn request(
    (host, path): (&str, &str),
    protocols: &[&str],
    basic: Option<(&str, &str)>,
    (compression, nonce): (bool, [u8; 16]),
    out: &mut Vec<u8>,
) -> Response {
    let key = BASE64.encode(nonce);
    let mut head = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
    );
    if !protocols.is_empty() {
        let _ = write!(head, "Sec-WebSocket-Protocol: {}\r\n", protocols.join(", "));
    }
    if let Some((user, password)) = basic {
        let _ = write!(head, "Authorization: Basic {}\r\n", BASE64.encode(format!("{user}:{password}")));
    }
    if compression {
        let _ = write!(head, "Sec-WebSocket-Extensions: {COMPRESSION}\r\n");
    }
    head.push_str("\r\n");
    out.extend_from_slice(head.as_bytes());
    Response { accept: accept_of(&key), compression }
}

/// What a client waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    accept: String,
    compression: bool,
}

impl Response {
    /// Reads the server's answer from the beginning of `bytes`: the subprotocol, whether messages may be compressed, and the
    /// length of the head. None if more bytes have to come.
    ///
    /// # Errors
    /// [`HandshakeError`]: the server opens nothing, or answers to something else.
    pub fn read(&self, bytes: &[u8]) -> Result<Option<(Option<String>, bool, usize)>, HandshakeError> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Response::new(&mut fields);
        let length = match head.parse(bytes) {
            Ok(httparse::Status::Complete(length)) if length <= HEAD_MAX => length,
            Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX => return Ok(None),
            Ok(_) => return Err(HandshakeError::TooLong),
            Err(_) => return Err(HandshakeError::NotHttp),
        };
        match head.code {
            Some(101) => {}
            other => return Err(HandshakeError::Status(other.unwrap_or_default())),
        }
        let fields = Fields(head.headers);
        if fields.first("sec-websocket-accept") != Some(self.accept.as_str()) {
            return Err(HandshakeError::Answer("Sec-WebSocket-Accept"));
        }
        let compression = fields.first("sec-websocket-extensions").is_some();
        if compression && !self.compression {
            return Err(HandshakeError::Answer("Sec-WebSocket-Extensions"));
        }
        Ok(Some((fields.first("sec-websocket-protocol").map(str::to_owned), compression, length)))
    }
}

fn accept_of(key: &str) -> String {
    BASE64.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes()))
}

/// The header fields of a head; names without regard to case, values that are not text are left out.
struct Fields<'a>(&'a [httparse::Header<'a>]);

impl<'a> Fields<'a> {
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
        named.filter_map(|field| std::str::from_utf8(field.value).ok()).map(str::trim)
    }

    fn first(&self, name: &'static str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// The elements of a list, which may stand in several fields.
    fn list(&self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.all(name).flat_map(|value| value.split(',')).map(str::trim).filter(|element| !element.is_empty())
    }

    fn has(&self, name: &'static str, element: &str) -> bool {
        self.list(name).any(|found| found.eq_ignore_ascii_case(element))
    }
}

fn basic(value: &str) -> Result<(String, Vec<u8>), HandshakeError> {
    let error = HandshakeError::Encoding("the field Authorization");
    let (scheme, credentials) = value.split_once(' ').ok_or(error)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(error);
    }
    let both = BASE64.decode(credentials.trim()).map_err(|_| error)?;
    let colon = both.iter().position(|byte| *byte == b':').ok_or(error)?;
    let user = String::from_utf8(both[..colon].to_vec()).map_err(|_| error)?;
    Ok((user, both[colon + 1..].to_vec()))
}

/// Whether one element of Sec-WebSocket-Extensions is compression on terms that are accepted here (RFC 7692, section 7.1): a
/// server's window cannot be made smaller than 32 KiB.
fn is_acceptable(element: &str) -> bool {
    let mut parts = element.split(';').map(str::trim);
    if !parts.next().is_some_and(|name| name.eq_ignore_ascii_case("permessage-deflate")) {
        return false;
    }
    parts.all(|parameter| {
        let (name, value) = parameter.split_once('=').map_or((parameter, None), |(name, value)| (name, Some(value)));
        let value = value.map(|value| value.trim().trim_matches('"'));
        matches!(
            (name.trim(), value),
            ("server_no_context_takeover" | "client_no_context_takeover", None)
                | ("server_max_window_bits", Some("15"))
                | ("client_max_window_bits", None | Some("8" | "9" | "10" | "11" | "12" | "13" | "14" | "15"))
        )
    })
}
