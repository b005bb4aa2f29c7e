//! Identity of a peer: role and name, from the URI in its certificate's subject alternative name.
//!
//! ```text
//! spiffe://<trust domain>/charger/<id>     a charger
//! spiffe://<trust domain>/site/<id>        a controller of the chargers configured under it
//! spiffe://<trust domain>/processor/<id>   a payment processor
//! spiffe://<trust domain>/gate/<name>      the gate itself
//! ```
//!
//! `transport` reads the certificate; this module parses the text. Exactly one spelling of an identity is accepted
//! (the one that [`PeerIdentity`]'s `Display` writes), so that two texts never mean one peer.

use crate::units::{ChargerId, IdError, ProcessorId, SiteId, visible};
use std::fmt;
use std::str::FromStr;

/// A peer, as its certificate names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerIdentity {
    /// The realm of the certificate authority that vouches for the name.
    pub trust_domain: Box<str>,
    /// Role and name in it.
    pub subject: Subject,
}

/// Role and name of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// One charging station; sends messages for itself only.
    Charger(ChargerId),
    /// A site controller; sends messages for the chargers configured under the site.
    Site(SiteId),
    /// A payment processor.
    Processor(ProcessorId),
    /// A gate, by a name of its own.
    Gate(SiteId),
}

/// Kind of a peer, which determines its rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// [`Subject::Charger`]
    Charger,
    /// [`Subject::Site`]
    Site,
    /// [`Subject::Processor`]
    Processor,
    /// [`Subject::Gate`]
    Gate,
}

/// A URI that is no identity of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not of the shape `spiffe://<trust domain>/<role>/<id>`.
    #[error("`{0}` is not of the form spiffe://<trust domain>/<role>/<id>")]
    Shape(String),
    /// The trust domain is empty, longer than 255 bytes, or has characters outside `a-z 0-9 . - _`.
    #[error("`{0}` is not a trust domain")]
    TrustDomain(String),
    /// A role that is none of the four.
    #[error("`{0}` is none of charger, site, processor, gate")]
    Role(String),
    /// The name is not an id of its role.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A name that the gate uses for something of its own.
    #[error("a processor may not be called `{0}`: names that begin with `account:` stand for the gate's accounts")]
    Reserved(ProcessorId),
    /// Another spelling of an identity than the one that is accepted.
    #[error("`{found}` must be spelled `{canonical}`")]
    Spelling {
        /// The URI in the certificate.
        found: String,
        /// The canonical spelling that is required.
        canonical: String,
    },
}

/// Longest URI that is parsed, in bytes.
const URI_MAX: usize = 512;

impl PeerIdentity {
    /// Parses the URI of a certificate's subject alternative name.
    ///
    /// # Errors
    /// [`IdentityError`]: another shape, trust domain, role, id or spelling than the canonical one.
    pub fn parse(uri: &str) -> Result<PeerIdentity, IdentityError> {
        let shape = || IdentityError::Shape(visible(&uri.chars().take(URI_MAX).collect::<String>()).into_owned());
        if uri.len() > URI_MAX {
            return Err(shape());
        }
        let rest = uri.strip_prefix("spiffe://").ok_or_else(shape)?;
        let mut parts = rest.split('/');
        let (Some(domain), Some(role), Some(name), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(shape());
        };
        check_trust_domain(domain)?;
        let name = name.replace("%7C", "|");
        let subject = match role {
            "charger" => Subject::Charger(ChargerId::new(&name)?),
            "site" => Subject::Site(SiteId::new(&name)?),
            "processor" => Subject::Processor(ProcessorId::new(&name)?),
            "gate" => Subject::Gate(SiteId::new(&name)?),
            _ => return Err(IdentityError::Role(visible(role).into_owned())),
        };
        let identity = PeerIdentity::new(domain, subject)?;
        let canonical = identity.to_string();
        if canonical == uri {
            Ok(identity)
        } else {
            Err(IdentityError::Spelling { found: visible(uri).into_owned(), canonical })
        }
    }

    /// An identity to be put into a certificate.
    ///
    /// # Errors
    /// [`IdentityError::TrustDomain`]; [`IdentityError::Reserved`] for a processor named like an account.
    pub fn new(trust_domain: &str, subject: Subject) -> Result<PeerIdentity, IdentityError> {
        check_trust_domain(trust_domain)?;
        if let Subject::Processor(id) = &subject
            && id.is_of_account()
        {
            return Err(IdentityError::Reserved(id.clone()));
        }
        Ok(PeerIdentity { trust_domain: trust_domain.into(), subject })
    }

    /// The role.
    pub fn role(&self) -> Role {
        self.subject.role()
    }

    /// The name, without role and trust domain.
    pub fn id(&self) -> &str {
        self.subject.id()
    }
}

impl Subject {
    /// The role.
    pub fn role(&self) -> Role {
        match self {
            Subject::Charger(_) => Role::Charger,
            Subject::Site(_) => Role::Site,
            Subject::Processor(_) => Role::Processor,
            Subject::Gate(_) => Role::Gate,
        }
    }

    /// The name.
    pub fn id(&self) -> &str {
        match self {
            Subject::Charger(id) => id.as_str(),
            Subject::Site(id) | Subject::Gate(id) => id.as_str(),
            Subject::Processor(id) => id.as_str(),
        }
    }
}

fn check_trust_domain(domain: &str) -> Result<(), IdentityError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
    if !domain.is_empty() && domain.len() <= 255 && domain.bytes().all(allowed) {
        Ok(())
    } else {
        Err(IdentityError::TrustDomain(visible(domain).into_owned()))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Charger => "charger",
            Role::Site => "site",
            Role::Processor => "processor",
            Role::Gate => "gate",
        })
    }
}

/// `charger/NL*WST*E0007`, for logs.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.role(), self.id())
    }
}

/// The URI, with the only character of our ids that a URI cannot hold (`|`) percent-encoded.
impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/{}/{}", self.trust_domain, self.role(), self.id().replace('|', "%7C"))
    }
}

impl FromStr for PeerIdentity {
    type Err = IdentityError;
    fn from_str(uri: &str) -> Result<PeerIdentity, IdentityError> {
        PeerIdentity::parse(uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_role_is_read_from_its_uri() {
        for (uri, role, id) in [
            ("spiffe://wattstile.example/charger/NL*WST*E0007", Role::Charger, "NL*WST*E0007"),
            ("spiffe://wattstile.example/site/depot-3", Role::Site, "depot-3"),
            ("spiffe://wattstile.example/processor/acme-pay", Role::Processor, "acme-pay"),
            ("spiffe://wattstile.example/gate/east", Role::Gate, "east"),
            ("spiffe://w/charger/a%7Cb", Role::Charger, "a|b"),
        ] {
            let identity = PeerIdentity::parse(uri).unwrap();
            assert_eq!((identity.role(), identity.id(), identity.to_string().as_str()), (role, id, uri));
        }
    }

    #[test]
    fn what_is_no_identity_is_named() {
        let too_long = format!("spiffe://w/charger/{}", "x".repeat(600));
        for (uri, expected) in [
            ("https://w/charger/a", "not of the form"),
            ("SPIFFE://w/charger/a", "not of the form"),
            ("spiffe://w/charger", "not of the form"),
            ("spiffe://w/charger/a/b", "not of the form"),
            ("spiffe://w/charger/a/", "not of the form"),
            (too_long.as_str(), "not of the form"),
            ("spiffe://w/processor/account:", "stand for the gate's accounts"),
            ("spiffe://w/processor/account:driver-1", "`account:driver-1`"),
            ("spiffe:///charger/a", "not a trust domain"),
            ("spiffe://W/charger/a", "not a trust domain"),
            ("spiffe://u@w:1/charger/a", "not a trust domain"),
            ("spiffe://w/admin/a", "none of charger"),
            ("spiffe://w/Charger/a", "none of charger"),
            ("spiffe://w/charger/", "must not be empty"),
            ("spiffe://w/charger/a\nb", "may not contain"),
            ("spiffe://w/charger/a?b", "may not contain"),
            ("spiffe://w/charger/%61", "may not contain"),
            ("spiffe://w/charger/a|b", "must be spelled `spiffe://w/charger/a%7Cb`"),
        ] {
            let error = PeerIdentity::parse(uri).unwrap_err().to_string();
            assert!(error.contains(expected), "{uri}: {error}");
            assert!(!error.contains('\n'), "an attacker's line break stays out of the log");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_has_one_spelling(uri in "spiffe://[a-z.]{1,9}/(charger|site|processor|gate|x)/[A-Za-z0-9*+|%:7C-]{0,20}") {
            if let Ok(identity) = PeerIdentity::parse(&uri) {
                prop_assert_eq!(identity.to_string(), uri);
            }
        }
    }
}
