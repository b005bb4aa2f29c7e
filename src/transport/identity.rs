//! Identity of a peer: the one URI name of its certificate, in this gate's trust domain, with a role that the
//! listener accepts.

use crate::message::{PeerIdentity, Role};
use std::fmt;

/// Reason why a verified certificate is refused at a listener.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// No URI name.
    #[error("the certificate names no peer (no URI among its names)")]
    Missing,
    /// More than one URI name: the identity would be ambiguous.
    #[error("the certificate has {count} URI names instead of one")]
    Ambiguous {
        /// Their number.
        count: usize,
    },
    /// The name is not one of a peer.
    #[error(transparent)]
    Name(#[from] crate::message::IdentityError),
    /// A name in a foreign trust domain.
    #[error("its trust domain is `{found}` instead of `{ours}`")]
    TrustDomain {
        /// The trust domain found.
        found: Box<str>,
        /// The trust domain of this gate.
        ours: Box<str>,
    },
    /// A good name with a role that has no business on this listener.
    #[error("a {found} may not speak on the listener for {}", expected.what())]
    Role {
        /// The role found.
        found: Role,
        /// The kind of the listener.
        expected: ListenerKind,
    },
}

/// Which peers a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListenerKind {
    /// Chargers and site controllers.
    Chargers,
    /// Payment processors.
    Processors,
    /// Chargers that speak OCPP.
    Ocpp,
}

impl ListenerKind {
    /// Every kind.
    pub const ALL: [ListenerKind; 3] = [ListenerKind::Chargers, ListenerKind::Processors, ListenerKind::Ocpp];

    /// Its place in a table of all kinds.
    pub(super) const fn index(self) -> usize {
        match self {
            ListenerKind::Chargers => 0,
            ListenerKind::Processors => 1,
            ListenerKind::Ocpp => 2,
        }
    }

    /// Whether the listener accepts this role.
    pub const fn admits(self, role: Role) -> bool {
        match (self, role) {
            (ListenerKind::Chargers, Role::Charger | Role::Site) => true,
            (ListenerKind::Processors, Role::Processor) => true,
            (ListenerKind::Ocpp, Role::Charger) => true,
            (ListenerKind::Ocpp, Role::Site | Role::Processor | Role::Gate) => false,
            (ListenerKind::Chargers, Role::Processor | Role::Gate) => false,
            (ListenerKind::Processors, Role::Charger | Role::Site | Role::Gate) => false,
        }
    }

    /// Its name in logs.
    pub const fn what(self) -> &'static str {
        match self {
            ListenerKind::Chargers => "chargers",
            ListenerKind::Processors => "processors",
            ListenerKind::Ocpp => "OCPP chargers",
        }
    }

    /// Its name in metrics, where a peer's role is not known yet.
    pub const fn peer_role(self) -> &'static str {
        match self {
            ListenerKind::Chargers | ListenerKind::Ocpp => "charger",
            ListenerKind::Processors => "processor",
        }
    }
}

impl fmt::Display for ListenerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.what())
    }
}

/// The peer of these URI names of one certificate, if the listener accepts it.
///
/// # Errors
/// [`IdentityError::Missing`], [`IdentityError::Ambiguous`], [`IdentityError::Name`], [`IdentityError::TrustDomain`],
/// [`IdentityError::Role`].
pub fn admit(uris: &[String], trust_domain: &str, listener: ListenerKind) -> Result<PeerIdentity, IdentityError> {
    let uri = match uris {
        [] => return Err(IdentityError::Missing),
        [uri] => uri,
        several => return Err(IdentityError::Ambiguous { count: several.len() }),
    };
    let identity = PeerIdentity::parse(uri)?;
    if *identity.trust_domain != *trust_domain {
        return Err(IdentityError::TrustDomain { found: identity.trust_domain, ours: trust_domain.into() });
    }
    if listener.admits(identity.role()) {
        Ok(identity)
    } else {
        Err(IdentityError::Role { found: identity.role(), expected: listener })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit_one(uri: &str, listener: ListenerKind) -> Result<PeerIdentity, IdentityError> {
        admit(&[uri.to_owned()], "wattstile.test", listener)
    }

    #[test]
    fn each_listener_admits_its_own_peers_only() {
        let open = |role: &str, listener| admit_one(&format!("spiffe://wattstile.test/{role}/A"), listener).is_ok();
        let listeners = |role| {
            [ListenerKind::Chargers, ListenerKind::Processors, ListenerKind::Ocpp].map(|listener| open(role, listener))
        };
        assert_eq!(listeners("charger"), [true, false, true]);
        assert_eq!(listeners("site"), [true, false, false]);
        assert_eq!(listeners("processor"), [false, true, false]);
        assert_eq!(listeners("gate"), [false, false, false]);
    }

    #[test]
    fn a_stranger_is_told_from_an_unclear_name() {
        let two = ["spiffe://wattstile.test/charger/A".to_owned(), "spiffe://wattstile.test/charger/B".to_owned()];
        assert_eq!(admit(&[], "wattstile.test", ListenerKind::Chargers), Err(IdentityError::Missing));
        assert_eq!(admit(&two, "wattstile.test", ListenerKind::Chargers), Err(IdentityError::Ambiguous { count: 2 }));
        let stranger = admit_one("spiffe://other.test/charger/A", ListenerKind::Chargers);
        assert!(matches!(stranger, Err(IdentityError::TrustDomain { .. })), "{stranger:?}");
        assert!(matches!(admit_one("https://a/b", ListenerKind::Chargers), Err(IdentityError::Name(_))));
    }
}
