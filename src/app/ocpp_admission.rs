//! Which chargers may open a WebSocket, and what is spoken with them (OCPP security profiles 0 to 3).

use crate::limits;
use crate::message::{PeerIdentity, Subject};
use crate::ocpp::Version;
use crate::transport::websocket::Request;
use crate::transport::{Denial, Grant, Upgrade};
use crate::units::ChargerId;
use std::net::SocketAddr;
use std::sync::Arc;

/// The known state of a charger that shows no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The password is that of the charger (profiles 1 and 2).
    Granted,
    /// It has a password, and this is not it.
    WrongPassword,
    /// Nothing is known of it.
    Unknown,
}

/// Decides whether a charger without certificate is let in: by its password, or, in a demonstration, without one.
pub type AccessOf = Arc<dyn Fn(&ChargerId, Option<&[u8]>) -> Access + Send + Sync>;

/// The rules of a listener for OCPP.
pub struct OcppAdmission {
    /// The domain of names without certificate.
    pub trust_domain: Box<str>,
    /// Chargers without certificate.
    pub access: AccessOf,
}

/// What a charger's address begins with.
const PLACE: &str = "/ocpp/";

impl Upgrade for OcppAdmission {
    fn decide(&self, request: &Request, certificate: Option<&PeerIdentity>, _: SocketAddr) -> Result<Grant, Denial> {
        // Chargers that put their id behind a configured address may end it with a slash.
        let named = request.path.strip_prefix(PLACE).map(|id| id.strip_suffix('/').unwrap_or(id));
        let named = named.and_then(|id| ChargerId::new(id).ok()).ok_or(Denial::NotFound)?;
        let subject = Subject::Charger(named.clone());
        match (certificate, &request.basic) {
            (Some(shown), _) if shown.subject != subject => return Err(Denial::OtherPeer),
            (Some(_), Some((user, _))) | (None, Some((user, _))) if *user != named.as_str() => {
                return Err(Denial::Unauthorized);
            }
            (Some(_), _) => {}
            (None, basic) => match (self.access)(&named, basic.as_ref().map(|(_, password)| password.as_slice())) {
                Access::Granted => {}
                Access::WrongPassword => return Err(Denial::Unauthorized),
                Access::Unknown => return Err(Denial::NotFound),
            },
        }
        let version = Version::chosen(request.protocols.iter().map(String::as_str)).ok_or(Denial::NoSubprotocol)?;
        let identity = match certificate {
            Some(shown) => shown.clone(),
            None => PeerIdentity { trust_domain: self.trust_domain.clone(), subject },
        };
        Ok(Grant { identity, protocol: version.subprotocol(), compression: true })
    }

    fn message_max(&self) -> usize {
        limits::OCPP_MESSAGE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(path: &str) -> Result<Grant, Denial> {
        let admission = OcppAdmission {
            trust_domain: "test".into(),
            access: Arc::new(|id, _| if id.as_str() == "A-1" { Access::Granted } else { Access::Unknown }),
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: gate\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
        );
        let (request, _) = Request::read(request.as_bytes()).unwrap().unwrap();
        admission.decide(&request, None, ([127, 0, 0, 1], 1).into())
    }

    #[test]
    fn a_charger_is_named_by_the_end_of_its_address_with_or_without_a_slash() {
        for path in ["/ocpp/A-1", "/ocpp/A-1/", "/ocpp/A%2D1?token=x"] {
            assert_eq!(decide(path).map(|grant| grant.protocol), Ok("ocpp1.6"), "{path}");
        }
        for path in ["/ocpp/", "/ocpp//", "/ocpp/A-2/", "/A-1", "/ocpp/A-1//"] {
            assert_eq!(decide(path).map(|grant| grant.protocol), Err(Denial::NotFound), "{path}");
        }
    }
}
