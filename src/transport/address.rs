//! Addresses as people write them: `127.0.0.1:7443`, `[::1]:7443`, or a name and a port such as `gate.example:7443`.

use std::net::{SocketAddr, ToSocketAddrs};

/// Resolves an address. A name that has several gives its first of IPv4, else its first: `localhost` is the address at which
/// a gate listens by default.
///
/// # Errors
/// The fault in it, or that the name has no address.
pub fn resolve(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let wanted = "wanted an address or a name, and a port, such as 127.0.0.1:7443 or gate.example:7443";
    let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("no port in `{text}`: {wanted}"))?;
    let port: u16 = port.parse().map_err(|_| format!("`{port}` is no port: {wanted}"))?;
    if host.is_empty() || host.contains([':', '/', '@', ' ']) {
        return Err(format!("`{host}` is no name: {wanted}"));
    }
    let found = (host, port).to_socket_addrs().map_err(|error| format!("the name `{host}` has no address: {error}"))?;
    let found: Vec<SocketAddr> = found.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| format!("the name `{host}` has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_both_taken() {
        for (text, wanted) in
            [("127.0.0.1:7443", "127.0.0.1:7443"), ("[::1]:7443", "[::1]:7443"), ("localhost:7443", "127.0.0.1:7443")]
        {
            assert_eq!(resolve(text), Ok(wanted.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_told() {
        for (text, expected) in [
            ("localhost", "no port in `localhost`"),
            ("localhost:http", "`http` is no port"),
            ("localhost:70000", "`70000` is no port"),
            (":7443", "`` is no name"),
            ("https://gate.example:7443", "is no name"),
            ("::1:7443", "is no name"),
            ("no-such-host.invalid:7443", "the name `no-such-host.invalid` has no address"),
        ] {
            let error = resolve(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
