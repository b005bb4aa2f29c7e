//! The address of a WebSocket server: `ws://host:port/path` or `wss://host/path`.

use std::fmt;
use std::str::FromStr;

/// The address of a WebSocket server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketUrl {
    /// Whether it is reached by TLS.
    pub is_secure: bool,
    /// The server's name or address, without the brackets of IPv6.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
    /// The path, without a slash at its end; may be empty.
    pub path: Box<str>,
}

/// Why a text is no such address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wanted an address such as ws://csms.example:9000/ocpp or wss://csms.example/ocpp: {0}")]
pub struct UrlError(&'static str);

impl FromStr for WebSocketUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<WebSocketUrl, UrlError> {
        let (is_secure, rest) = match (text.strip_prefix("ws://"), text.strip_prefix("wss://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            (None, None) => return Err(UrlError("it begins with neither ws:// nor wss://")),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UrlError("a user and password do not belong in it"));
        }
        if path.chars().any(|c| c.is_whitespace() || c.is_control() || c == '?' || c == '#') {
            return Err(UrlError("its path has a character that none can have, or a query"));
        }
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        if host.is_empty() || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(UrlError("it names no server"));
        }
        let port = match port {
            None if is_secure => 443,
            None => 80,
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(UrlError("its port is none"))?,
        };
        Ok(WebSocketUrl { is_secure, host: host.into(), port, path: path.trim_end_matches('/').into() })
    }
}

impl fmt::Display for WebSocketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WebSocketUrl { is_secure, port, path, .. } = self;
        let scheme = if *is_secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}:{port}{path}", self.bracketed())
    }
}

impl WebSocketUrl {
    /// The server and its port, as they stand in a request.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.bracketed(), self.port)
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, written) in [
            ("ws://csms.example:9000/ocpp/", "ws://csms.example:9000/ocpp"),
            ("wss://csms.example", "wss://csms.example:443"),
            ("ws://127.0.0.1/a/b", "ws://127.0.0.1:80/a/b"),
            ("ws://[::1]:8080/x", "ws://[::1]:8080/x"),
        ] {
            assert_eq!(text.parse::<WebSocketUrl>().unwrap().to_string(), written);
        }
        for text in
            ["", "http://a/", "ws://", "ws://:80", "ws://a:0", "ws://a:x", "ws://u:p@a", "ws://a/?q=1", "ws://a b"]
        {
            assert!(text.parse::<WebSocketUrl>().is_err(), "{text}");
        }
    }
}
