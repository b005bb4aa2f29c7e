//! Parses certificates and revocation lists: fields for an operator's overview, and those that a connection keeps.

use super::pki::DEVELOPMENT_MARK;
use crate::units::Timestamp;
use ring::digest::{SHA256, digest};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use serde::Serialize;
use smallvec::SmallVec;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use x509_parser::prelude::{CertificateRevocationList, FromDer, GeneralName, X509Certificate};

/// Bytes that are not a certificate or not a revocation list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not X.509.
    #[error("not a certificate: {0}")]
    Certificate(String),
    /// Not a revocation list.
    #[error("not a revocation list: {0}")]
    Crl(String),
    /// A revocation list without a time by which the next one is due never becomes stale, and is refused.
    #[error("the revocation list of {issuer} says no time of its next update")]
    CrlWithoutNextUpdate {
        /// The issuer's name.
        issuer: String,
    },
}

/// The fields of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// The subject's distinguished name.
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// The serial number in hexadecimal.
    pub serial: String,
    /// SHA-256 of the whole certificate in hexadecimal.
    pub fingerprint: String,
    /// First instant of validity.
    pub not_before: Timestamp,
    /// Last instant of validity.
    pub not_after: Timestamp,
    /// URI names; a peer has exactly one.
    pub uris: Vec<String>,
    /// DNS names.
    pub dns_names: Vec<String>,
    /// IP addresses.
    pub addresses: Vec<String>,
    /// Whether it may sign certificates.
    pub is_authority: bool,
    /// Whether its extended key usage lets it act as a client.
    pub for_clients: bool,
    /// Whether its extended key usage lets it act as a server.
    pub for_servers: bool,
    /// Whether its key usage lets its key sign, which a TLS handshake takes.
    pub may_sign: bool,
    /// Whether it comes from a development PKI.
    pub development: bool,
}

impl Certificate {
    /// Reads one certificate. Nothing about it is verified.
    ///
    /// # Errors
    /// [`ReadError::Certificate`].
    pub fn read(der: &CertificateDer<'_>) -> Result<Certificate, ReadError> {
        let certificate = parse(der)?;
        let (mut uris, mut dns_names, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
        let names = certificate.subject_alternative_name().map_err(wrong_certificate)?;
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => addresses.push(address(bytes)),
                _ => {}
            }
        }
        let usage = certificate.extended_key_usage().map_err(wrong_certificate)?;
        let key_usage = certificate.key_usage().map_err(wrong_certificate)?;
        let subject = certificate.subject().to_string();
        let issuer = certificate.issuer().to_string();
        Ok(Certificate {
            serial: hex::encode(certificate.raw_serial()),
            fingerprint: hex::encode(digest(&SHA256, der)),
            not_before: instant(certificate.validity().not_before),
            not_after: instant(certificate.validity().not_after),
            uris,
            dns_names,
            addresses,
            is_authority: certificate.is_ca(),
            for_clients: usage.as_ref().is_some_and(|usage| usage.value.client_auth),
            for_servers: usage.as_ref().is_some_and(|usage| usage.value.server_auth),
            may_sign: key_usage.is_none_or(|usage| usage.value.digital_signature()),
            development: subject.contains(DEVELOPMENT_MARK) || issuer.contains(DEVELOPMENT_MARK),
            subject,
            issuer,
        })
    }

    /// Whole days until it expires; negative when it has.
    pub fn days_left(&self, now: Timestamp) -> i64 {
        self.not_after.since(now).ms().div_euclid(24 * 60 * 60 * 1000)
    }
}

/// A short name for a distinguished name: the first half of its SHA-256.
pub type NameDigest = [u8; 16];

/// The serial number of a certificate, as its bytes stand in it.
pub type Serial = SmallVec<[u8; 20]>;

/// The certificates of a live connection, reduced to the data needed to find it when one expires or is revoked.
#[derive(Debug)]
pub struct Presented {
    /// Issuer and serial number of every certificate of the chain, the leaf first.
    pub links: SmallVec<[(NameDigest, Serial); 2]>,
    /// When the first of them expires.
    pub not_after: Timestamp,
    /// Since when that one is valid.
    pub not_before: Timestamp,
    /// The chain itself, to be verified again when other authorities count. Those above the leaf are shared.
    pub chain: SmallVec<[Arc<CertificateDer<'static>>; 2]>,
    /// The authorities by which it was verified last.
    pub verified_by: AtomicU64,
}

impl Presented {
    /// Reads the chain that a peer has shown, and that was verified by these authorities.
    ///
    /// # Errors
    /// [`ReadError::Certificate`]: a certificate of the chain cannot be read.
    pub fn read(chain: SmallVec<[Arc<CertificateDer<'static>>; 2]>, verified_by: u64) -> Result<Presented, ReadError> {
        let mut links = SmallVec::new();
        let (mut not_after, mut not_before) = (Timestamp::from_unix_ms(i64::MAX), Timestamp::default());
        for der in &chain {
            let certificate = parse(der)?;
            links.push((name_digest(certificate.issuer().as_raw()), Serial::from_slice(certificate.raw_serial())));
            let ends = instant(certificate.validity().not_after);
            if ends < not_after {
                (not_after, not_before) = (ends, instant(certificate.validity().not_before));
            }
        }
        Ok(Presented { links, not_after, not_before, chain, verified_by: AtomicU64::new(verified_by) })
    }

    /// The leaf's serial number in hexadecimal.
    pub fn serial(&self) -> String {
        self.links.first().map(|(_, serial)| hex::encode(serial)).unwrap_or_default()
    }
}

/// The fields of a revocation list.
#[derive(Clone, Debug)]
pub struct Crl {
    /// The issuer's distinguished name.
    pub issuer: String,
    /// When it becomes stale.
    pub next_update: Timestamp,
    /// Issuer and serial number of everything revoked.
    pub revoked: HashSet<(NameDigest, Serial)>,
}

impl Crl {
    /// Reads a revocation list. If it is in the name of one of the `authorities`, that one must have signed it; the
    /// signature of another issuer is verified when one of its certificates is.
    ///
    /// # Errors
    /// [`ReadError::Crl`], also for a wrong signature; [`ReadError::CrlWithoutNextUpdate`].
    pub fn read(der: &CertificateRevocationListDer<'_>, authorities: &[CertificateDer<'_>]) -> Result<Crl, ReadError> {
        let wrong = |error: &dyn std::fmt::Display| ReadError::Crl(error.to_string());
        let (rest, list) = CertificateRevocationList::from_der(der).map_err(|error| wrong(&error))?;
        if !rest.is_empty() {
            return Err(wrong(&"trailing bytes"));
        }
        let issuer = list.issuer().to_string();
        let (mut named, mut signed) = (false, false);
        for authority in authorities {
            let authority = parse(authority)?;
            if authority.subject() == list.issuer() {
                named = true;
                signed |= list.verify_signature(authority.public_key()).is_ok();
            }
        }
        if named && !signed {
            return Err(ReadError::Crl(format!("`{issuer}` did not sign its list")));
        }
        let Some(next_update) = list.next_update() else {
            return Err(ReadError::CrlWithoutNextUpdate { issuer });
        };
        let name = name_digest(list.issuer().as_raw());
        let revoked =
            list.iter_revoked_certificates().map(|entry| (name, Serial::from_slice(entry.raw_serial()))).collect();
        Ok(Crl { issuer, next_update: instant(next_update), revoked })
    }
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, ReadError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(ReadError::Certificate("trailing bytes".to_owned())),
        Err(error) => Err(ReadError::Certificate(error.to_string())),
    }
}

fn wrong_certificate(error: impl std::fmt::Display) -> ReadError {
    ReadError::Certificate(error.to_string())
}

fn name_digest(raw: &[u8]) -> NameDigest {
    let whole = digest(&SHA256, raw);
    let mut half = NameDigest::default();
    let length = half.len();
    half.copy_from_slice(&whole.as_ref()[..length]);
    half
}

fn instant(time: x509_parser::time::ASN1Time) -> Timestamp {
    Timestamp::from_unix_ms(time.timestamp().saturating_mul(1000))
}

fn address(bytes: &[u8]) -> String {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return std::net::Ipv4Addr::from(v4).to_string();
    }
    match <[u8; 16]>::try_from(bytes) {
        Ok(v6) => std::net::Ipv6Addr::from(v6).to_string(),
        Err(_) => hex::encode(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::wall_clock;
    use crate::transport::files::{read_certificates, read_crls};
    use crate::transport::pki::{Pki, Validity};
    use std::path::{Path, PathBuf};

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("certs/fixtures").join(name)
    }

    #[test]
    fn a_certificate_by_openssl_is_read() {
        let leaf = Certificate::read(&read_certificates(&fixture("charger.pem")).unwrap()[0]).unwrap();
        let authority = Certificate::read(&read_certificates(&fixture("ca.pem")).unwrap()[0]).unwrap();
        assert_eq!(leaf.uris, ["spiffe://fixture.test/charger/AMS-0007"]);
        assert_eq!(leaf.serial, "0afe0123456789abcdef0123456789abcdef0001");
        assert_eq!((leaf.subject.as_str(), &leaf.issuer), ("O=Fixture, CN=AMS-0007", &authority.subject));
        assert!(leaf.for_clients && !leaf.for_servers && leaf.may_sign && !leaf.is_authority && !leaf.development);
        assert!(authority.is_authority && !authority.may_sign && !authority.for_clients);
        assert_eq!(leaf.not_after.since(leaf.not_before).whole_secs(), 7300 * 86_400);
    }

    #[test]
    fn a_list_by_openssl_is_read_and_names_the_certificate() {
        let authority = read_certificates(&fixture("ca.pem")).unwrap();
        let leaf = read_certificates(&fixture("charger.pem")).unwrap();
        let crl = Crl::read(&read_crls(&fixture("crl.pem")).unwrap()[0], &authority).unwrap();
        let subject = |der| name_digest(parse(der).unwrap().subject().as_raw());
        let presented = Presented::read(leaf.into_iter().map(Arc::new).collect(), 0).unwrap();
        assert!(crl.revoked.contains(&presented.links[0]));
        assert_eq!(presented.links[0].0, subject(&authority[0]));
    }

    #[test]
    fn a_request_by_openssl_is_signed() {
        let request = std::fs::read_to_string(fixture("charger.csr")).unwrap();
        let mut pki = Pki::new("wattstile.test", wall_clock()).unwrap();
        let subject = crate::message::Subject::Charger("AMS-0041".parse().unwrap());
        let chain = pki.issue_for_request(&request, &subject, Validity::days(wall_clock(), 30)).unwrap();
        assert_eq!(Certificate::read(&chain[0]).unwrap().uris, ["spiffe://wattstile.test/charger/AMS-0041"]);
    }

    #[test]
    fn every_damaged_byte_is_read_or_refused_and_nothing_else() {
        let leaf = read_certificates(&fixture("charger.pem")).unwrap().remove(0);
        let list = read_crls(&fixture("crl.pem")).unwrap().remove(0);
        for place in 0..leaf.len() {
            let mut damaged = leaf.to_vec();
            damaged[place] ^= 0xff;
            let _ = Certificate::read(&damaged.into());
            assert!(Certificate::read(&leaf[..place].into()).is_err(), "cut at {place}");
        }
        for place in 0..list.len() {
            let mut damaged = list.to_vec();
            damaged[place] ^= 0xff;
            let _ = Crl::read(&damaged.into(), &[]);
            assert!(Crl::read(&list[..place].into(), &[]).is_err(), "cut at {place}");
        }
    }
}
