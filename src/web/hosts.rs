//! Host names that requests to the console may use. A page of another site, opened on this machine, can make a
//! browser send requests here under a name of its own that resolves to the loopback; such requests are refused by
//! their name.

use super::problem::Problem;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};
use std::net::{IpAddr, SocketAddr};

/// Names of hosts, without ports.
pub(super) struct Hosts {
    own: IpAddr,
    named: Vec<String>,
}

/// Most characters of a foreign name that are repeated in the answer.
const SHOWN: usize = 100;

impl Hosts {
    /// Names of the loopback, that of the address, and the configured ones.
    pub fn new(address: SocketAddr, named: &[String]) -> Hosts {
        let named = named.iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect();
        Hosts { own: address.ip(), named }
    }

    /// Whether a request is for one of these names: by its `Host`, and by its target where that has a name as well.
    ///
    /// # Errors
    /// 421 for a foreign name, 400 where there is none.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Problem::usage("a request has one Host header"));
        };
        let host = host.to_str().map_err(|_| Problem::usage("the Host header is not text"))?;
        let target = uri.authority().map(Authority::as_str);
        match [Some(host), target].into_iter().flatten().find(|name| !self.has(name)) {
            None => Ok(()),
            Some(foreign) => {
                let shown: String = foreign.chars().take(SHOWN).collect();
                let text = format!(
                    "this console is not {shown}: ask for localhost or 127.0.0.1, or add the name to `console.hosts`"
                );
                Err(Problem::new(421, text))
            }
        }
    }

    fn has(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        if authority.as_str().contains('@') {
            return false;
        }
        let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match address {
            Ok(address) => address.is_loopback() || address == self.own || self.named.contains(&address.to_string()),
            Err(_) => name == "localhost" || self.named.contains(&name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_loopback_and_configured_ones_are_answered() {
        let hosts = Hosts::new(([127, 0, 0, 1], 8490).into(), &["Console.Example.".to_owned()]);
        let check = |host: &str, uri: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            hosts.check(&uri.parse().unwrap(), &headers).map_err(|problem| problem.status)
        };
        for good in ["localhost", "LOCALHOST:8490", "127.0.0.1:8490", "127.9.9.9", "[::1]:8490", "console.example:80"] {
            assert_eq!(check(good, "/livez"), Ok(()), "{good}");
        }
        for foreign in
            ["evil.example", "localhost.evil.example", "10.0.0.1:8490", "127.0.0.1@evil.example", "", "[::2]"]
        {
            assert_eq!(check(foreign, "/livez"), Err(421), "{foreign}");
        }
        assert_eq!(check("localhost", "http://evil.example/livez"), Err(421));
        assert_eq!(check("localhost", "http://localhost:8490/livez"), Ok(()));
        assert_eq!(hosts.check(&"/".parse().unwrap(), &HeaderMap::new()).unwrap_err().status, 400);
        let mut twice = HeaderMap::new();
        twice.append(header::HOST, "localhost".parse().unwrap());
        twice.append(header::HOST, "evil.example".parse().unwrap());
        assert_eq!(hosts.check(&"/".parse().unwrap(), &twice).unwrap_err().status, 400);
    }
}
