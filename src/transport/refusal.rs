//! Reasons why a peer was refused: typed for tests and metrics, with texts for the log.

use super::identity::IdentityError;
use super::upgrade::UpgradeError;
use crate::units::TimeSpan;
use rustls::{AlertDescription, CertificateError, Error};
use rustls_pki_types::UnixTime;
use std::fmt;
use std::net::SocketAddr;

/// Why a connection ended before its first byte of application data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It presented no certificate.
    #[error("it showed no certificate")]
    NoCertificate,
    /// No trusted authority of this listener signed its certificate.
    #[error("no authority that is trusted here signed its certificate")]
    UnknownAuthority,
    /// The certificate's time is over.
    #[error("its certificate expired {} ago", span(*.0))]
    Expired(TimeSpan),
    /// The certificate's time has not come; the clock of one side may be wrong.
    #[error("its certificate becomes valid in {}", span(*.0))]
    NotYetValid(TimeSpan),
    /// The certificate is on its authority's revocation list.
    #[error("its certificate is revoked")]
    Revoked,
    /// There are revocation lists, but none from the certificate's authority.
    #[error("no revocation list of its authority is loaded")]
    NoRevocationList,
    /// The revocation list of the certificate's authority was not renewed in time.
    #[error("the revocation list of its authority is stale since {}", span(*.0))]
    StaleRevocationList(TimeSpan),
    /// The certificate is not meant for a TLS client.
    #[error("its certificate is not for a TLS client (extended key usage clientAuth, key usage digitalSignature)")]
    WrongPurpose,
    /// The certificate or the handshake's signature does not verify.
    #[error("a signature does not verify")]
    BadSignature,
    /// Anything else that is wrong with the certificate.
    #[error("its certificate is not accepted: {0}")]
    BadCertificate(String),
    /// A valid certificate with an identity that this listener refuses.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No protocol version or cipher in common.
    #[error("no TLS version or cipher in common: {0}")]
    Incompatible(String),
    /// The peer does not accept the gate.
    #[error("it refused the gate's certificate ({0:?})")]
    RefusedUs(AlertDescription),
    /// Not TLS, or broken TLS.
    #[error("it does not speak TLS properly: {0}")]
    Garbage(String),
    /// It connected and sent nothing, or too slowly.
    #[error("the handshake was not done in time")]
    TooSlow,
    /// It hung up in the middle of the handshake.
    #[error("it hung up during the handshake")]
    HungUp,
    /// Too many handshakes from its address have failed.
    #[error("too many failed handshakes from its address")]
    TooManyFailures,
    /// Half of the handshakes that the listener has room for are from its address.
    #[error("too many handshakes under way from its address")]
    CrowdedAddress,
    /// It asked for no WebSocket that is served here, or may not have it.
    #[error("{0}")]
    Upgrade(UpgradeError),
    /// This processor has as many connections as one may have.
    #[error("it has {most} connections, the most of one peer (processors.connections_each_max)")]
    TooManyOfPeer {
        /// Its bound.
        most: usize,
    },
    /// The listener has as many connections as it may have.
    #[error("the listener is full")]
    Full,
    /// The part of the gate that would serve it has no room.
    #[error("the gate is too busy to take it in")]
    Busy,
}

impl Refusal {
    /// A label for metrics: few values, never text from outside.
    pub const fn label(&self) -> &'static str {
        match self {
            Refusal::NoCertificate => "no_certificate",
            Refusal::UnknownAuthority => "unknown_authority",
            Refusal::Expired(_) => "expired",
            Refusal::NotYetValid(_) => "not_yet_valid",
            Refusal::Revoked => "revoked",
            Refusal::NoRevocationList => "no_revocation_list",
            Refusal::StaleRevocationList(_) => "stale_revocation_list",
            Refusal::WrongPurpose => "wrong_purpose",
            Refusal::BadSignature => "bad_signature",
            Refusal::BadCertificate(_) => "bad_certificate",
            Refusal::Identity(IdentityError::Role { .. }) => "wrong_role",
            Refusal::Identity(IdentityError::Name(crate::message::IdentityError::Reserved(_))) => "reserved_name",
            Refusal::Identity(_) => "wrong_identity",
            Refusal::Incompatible(_) => "incompatible",
            Refusal::RefusedUs(_) => "refused_us",
            Refusal::Garbage(_) => "garbage",
            Refusal::TooSlow => "too_slow",
            Refusal::HungUp => "hung_up",
            Refusal::TooManyFailures => "too_many_failures",
            Refusal::CrowdedAddress => "crowded_address",
            Refusal::Upgrade(error) => error.label(),
            Refusal::TooManyOfPeer { .. } => "too_many_of_peer",
            Refusal::Full => "full",
            Refusal::Busy => "busy",
        }
    }

    /// Whether it counts against the peer's address: it was the peer's doing, and costs the gate something.
    pub const fn blames_peer(&self) -> bool {
        match self {
            Refusal::NoCertificate
            | Refusal::UnknownAuthority
            | Refusal::Expired(_)
            | Refusal::NotYetValid(_)
            | Refusal::Revoked
            | Refusal::WrongPurpose
            | Refusal::BadSignature
            | Refusal::BadCertificate(_)
            | Refusal::Identity(_)
            | Refusal::Incompatible(_)
            | Refusal::Garbage(_)
            | Refusal::TooSlow
            | Refusal::Upgrade(_)
            | Refusal::HungUp => true,
            Refusal::NoRevocationList
            | Refusal::StaleRevocationList(_)
            | Refusal::RefusedUs(_)
            | Refusal::TooManyFailures
            | Refusal::CrowdedAddress
            | Refusal::TooManyOfPeer { .. }
            | Refusal::Full
            | Refusal::Busy => false,
        }
    }

    /// Classifies an error of the TLS library.
    pub fn of_tls(error: &Error) -> Refusal {
        match error {
            Error::NoCertificatesPresented => Refusal::NoCertificate,
            Error::InvalidCertificate(error) => Refusal::of_certificate(error),
            Error::PeerIncompatible(error) => Refusal::Incompatible(in_words(&format!("{error:?}"))),
            Error::AlertReceived(alert) => Refusal::RefusedUs(*alert),
            other => Refusal::Garbage(other.to_string()),
        }
    }

    fn of_certificate(error: &CertificateError) -> Refusal {
        match error {
            CertificateError::UnknownIssuer => Refusal::UnknownAuthority,
            CertificateError::Expired => Refusal::Expired(TimeSpan::ZERO),
            CertificateError::ExpiredContext { time, not_after } => Refusal::Expired(between(*not_after, *time)),
            CertificateError::NotValidYet => Refusal::NotYetValid(TimeSpan::ZERO),
            CertificateError::NotValidYetContext { time, not_before } => {
                Refusal::NotYetValid(between(*time, *not_before))
            }
            CertificateError::Revoked => Refusal::Revoked,
            CertificateError::UnknownRevocationStatus => Refusal::NoRevocationList,
            CertificateError::ExpiredRevocationList => Refusal::StaleRevocationList(TimeSpan::ZERO),
            CertificateError::ExpiredRevocationListContext { time, next_update } => {
                Refusal::StaleRevocationList(between(*next_update, *time))
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Refusal::WrongPurpose,
            CertificateError::BadSignature => Refusal::BadSignature,
            other => Refusal::BadCertificate(other.to_string()),
        }
    }
}

/// A peer that did not come in, for the log: `charger AMS-0007 (127.0.0.1:40122, serial 5c…) refused: …`.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Its address.
    pub remote: SocketAddr,
    /// The identity in its certificate, if one was presented. Escaped: it is the peer's text.
    pub who: Option<String>,
    /// The certificate's serial number.
    pub serial: Option<String>,
    /// The reason.
    pub reason: Refusal,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.who.as_deref().unwrap_or("a peer"), self.remote)?;
        if let Some(serial) = &self.serial {
            write!(f, ", serial {serial}")?;
        }
        write!(f, ") refused: {}", self.reason)
    }
}

fn between(earlier: UnixTime, later: UnixTime) -> TimeSpan {
    TimeSpan::from_secs(i64::try_from(later.as_secs().saturating_sub(earlier.as_secs())).unwrap_or(i64::MAX))
}

/// A span as text, in its largest whole unit: `3 d`, `5 h`, `12 min`, `40 s`.
pub fn span(span: TimeSpan) -> String {
    let seconds = span.whole_secs();
    match seconds {
        86_400.. => format!("{} d", seconds / 86_400),
        3_600.. => format!("{} h", seconds / 3_600),
        60.. => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

/// The library's name of a fault as words: `NoCipherSuitesInCommon` is "no cipher suites in common".
fn in_words(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 8);
    let mut before = ' ';
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit()) {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
        before = letter;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_library_are_words_in_a_message() {
        let refusal = Refusal::of_tls(&Error::PeerIncompatible(rustls::PeerIncompatible::NoCipherSuitesInCommon));
        assert!(refusal.to_string().contains("no cipher suites in common"), "{refusal}");
        assert_eq!(in_words("Tls12NotOffered"), "tls12 not offered");
    }

    #[test]
    fn an_expired_certificate_is_told_in_plain_words() {
        let at = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let expired = CertificateError::ExpiredContext { time: at(400_000), not_after: at(100_000) };
        let refused = Refused {
            remote: "127.0.0.1:40122".parse().unwrap(),
            who: Some("charger/AMS-0007".to_owned()),
            serial: Some("5c01".to_owned()),
            reason: Refusal::of_tls(&Error::InvalidCertificate(expired)),
        };
        assert_eq!(
            refused.to_string(),
            "charger/AMS-0007 (127.0.0.1:40122, serial 5c01) refused: its certificate expired 3 d ago"
        );
    }
}
