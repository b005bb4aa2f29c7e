//! A development PKI: one root, an intermediate for chargers and one for processors, and their certificates.
//!
//! ```text
//! wattstile DEV root
//!  ├─ the gate's server certificate        (EKU serverAuth; DNS and IP names)
//!  ├─ wattstile DEV chargers CA            path length 0
//!  │   ├─ spiffe://TRUST-DOMAIN/charger/ID (EKU clientAuth)
//!  │   └─ spiffe://TRUST-DOMAIN/site/ID
//!  └─ wattstile DEV processors CA          path length 0
//!      └─ spiffe://TRUST-DOMAIN/processor/ID
//! ```
//!
//! A listener trusts only the intermediate of its own peers, so that a stolen processors CA makes no charger. Every
//! name is marked as for development, and a gate in production mode refuses such certificates. Making a key and a
//! certificate takes about a tenth of a millisecond (P-256), so tests and simulations make whole fleets in memory.

use super::files::FileError;
use super::identity::ListenerKind;
use crate::message::{IdentityError, PeerIdentity, Role, Subject};
use crate::units::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, RevokedCertParams, SanType,
    SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// What every subject of a development PKI carries as its organisation; a production gate refuses it.
pub const DEVELOPMENT_MARK: &str = "DEV - not for production";

/// Why the PKI cannot do it.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The certificate library refused.
    #[error("making a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The operating system gives no random numbers.
    #[error("the operating system gives no random numbers")]
    Random,
    /// There is a PKI already, and it is not overwritten.
    #[error("{}: there is a PKI already", .0.display())]
    Exists(PathBuf),
    /// No unexpired certificate has this name.
    #[error("no valid certificate of {} `{}` is in the index", .0.role(), .0.id())]
    Unknown(Subject),
    /// The trust domain cannot stand in a name.
    #[error(transparent)]
    Name(#[from] IdentityError),
    /// A PKI has three authorities.
    #[error("{found} authorities instead of three")]
    Authorities {
        /// Their number.
        found: usize,
    },
    /// A line of the index cannot be read.
    #[error("{}: line {line}: {error}", path.display())]
    Index {
        /// The index file.
        path: PathBuf,
        /// Its line, counted from 1.
        line: usize,
        /// The fault.
        error: serde_json::Error,
    },
}

/// A key and the chain that belongs to it, the leaf first, ready for one end of a TLS connection.
#[derive(Debug)]
pub struct Certified {
    /// Leaf, then the certificates that signed it, without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's private key.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for Certified {
    fn clone(&self) -> Certified {
        Certified { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

/// From when to when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First instant.
    pub not_before: Timestamp,
    /// Last instant.
    pub not_after: Timestamp,
}

/// One line of the index: a certificate that was issued, and whether it was revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// The serial number in hexadecimal.
    pub serial: String,
    /// Its holder, as the certificate names it.
    pub peer: String,
    /// When it expires by itself, in milliseconds since 1970.
    pub not_after: Timestamp,
    /// When it was revoked, and why.
    pub revoked: Option<Revoked>,
}

/// When and why a certificate was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// When.
    pub at: Timestamp,
    /// The reason.
    pub reason: Reason,
}

/// Reason of a revocation (RFC 5280, 5.3.1; those that apply to a peer).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// No reason given.
    #[default]
    Unspecified,
    /// The key may be known to others.
    KeyCompromise,
    /// A newer certificate took its place.
    Superseded,
    /// The peer is out of service.
    CessationOfOperation,
    /// The peer lost its right to connect.
    PrivilegeWithdrawn,
}

impl Reason {
    /// Every reason with the name that RFC 5280 gives it.
    pub const ALL: [(Reason, &'static str); 5] = [
        (Reason::Unspecified, "unspecified"),
        (Reason::KeyCompromise, "keyCompromise"),
        (Reason::Superseded, "superseded"),
        (Reason::CessationOfOperation, "cessationOfOperation"),
        (Reason::PrivilegeWithdrawn, "privilegeWithdrawn"),
    ];
}

/// The whole PKI, with the keys of its authorities.
pub struct Pki {
    trust_domain: String,
    root: Authority,
    chargers: Authority,
    processors: Authority,
    index: Vec<Issued>,
}

struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Clocks of new chargers run late; a certificate is valid from a little before it was made.
const BACKDATED: Duration = Duration::from_secs(60 * 60);
const ROOT_DAYS: u32 = 3650;
const INTERMEDIATE_DAYS: u32 = 1825;
/// Validity of the gate's own certificate, in days.
pub const SERVER_DAYS: u32 = 90;
/// Validity of a revocation list, in days.
pub const CRL_DAYS: u32 = 30;

impl Validity {
    /// From an hour before now for this many days.
    pub fn days(now: Timestamp, days: u32) -> Validity {
        Validity { not_before: before(now, BACKDATED), not_after: after(now, DAY * days) }
    }
}

impl Pki {
    /// Makes the authorities, in memory.
    ///
    /// # Errors
    /// [`PkiError::Name`] for a wrong trust domain; [`PkiError::Certificate`], [`PkiError::Random`].
    pub fn new(trust_domain: &str, now: Timestamp) -> Result<Pki, PkiError> {
        let root = Authority::new("wattstile DEV root", None, Validity::days(now, ROOT_DAYS))?;
        let below = Validity::days(now, INTERMEDIATE_DAYS);
        let chargers = Authority::new("wattstile DEV chargers CA", Some(&root), below)?;
        let processors = Authority::new("wattstile DEV processors CA", Some(&root), below)?;
        Ok(Pki { trust_domain: trust_domain.to_owned(), root, chargers, processors, index: Vec::new() })
    }

    /// From the authorities of another day: certificate and key of the root, the chargers' and the processors'.
    pub(super) fn with_authorities(
        trust_domain: &str,
        authorities: Vec<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
        index: Vec<Issued>,
    ) -> Result<Pki, PkiError> {
        let mut read = Vec::new();
        for (certificate, key) in authorities {
            let key = KeyPair::try_from(&key)?;
            let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
            read.push(Authority { certificate, issuer });
        }
        let [root, chargers, processors] =
            <[Authority; 3]>::try_from(read).map_err(|found| PkiError::Authorities { found: found.len() })?;
        Ok(Pki { trust_domain: trust_domain.to_owned(), root, chargers, processors, index })
    }

    /// Certificate and key of the root, the chargers' and the processors' authority.
    pub(super) fn authorities(&self) -> [(&CertificateDer<'static>, Certified); 3] {
        [&self.root, &self.chargers, &self.processors].map(|authority| {
            let key = private_key(authority.issuer.key());
            (&authority.certificate, Certified { chain: Vec::new(), key })
        })
    }

    /// The trust domain in every peer's name.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// The root: what a peer trusts to recognise the gate.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root.certificate
    }

    /// The authority that this kind of listener trusts.
    pub fn authority(&self, listener: ListenerKind) -> &CertificateDer<'static> {
        &self.signer(listener).certificate
    }

    /// The gate's own certificate, for these DNS names and addresses.
    ///
    /// # Errors
    /// [`PkiError::Certificate`] for names that cannot be in a certificate; [`PkiError::Random`].
    pub fn issue_server(&self, names: &[String], validity: Validity) -> Result<Certified, PkiError> {
        let mut params = leaf("wattstile gate", ExtendedKeyUsagePurpose::ServerAuth, validity)?;
        for name in names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into()?),
            });
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.root.issuer)?;
        Ok(Certified { chain: vec![certificate.der().clone()], key: private_key(&key) })
    }

    /// A key and a certificate for a peer.
    ///
    /// # Errors
    /// [`PkiError::Name`], [`PkiError::Certificate`], [`PkiError::Random`].
    pub fn issue(&mut self, subject: &Subject, validity: Validity) -> Result<Certified, PkiError> {
        let key = KeyPair::generate()?;
        let chain = self.sign(subject, validity, &key)?;
        Ok(Certified { chain, key: private_key(&key) })
    }

    /// A certificate for the key of a signing request; its names are not taken from the request, only its key.
    ///
    /// # Errors
    /// Those of [`Pki::issue`]; [`PkiError::Certificate`] for a request that cannot be read.
    pub fn issue_for_request(
        &mut self,
        request_pem: &str,
        subject: &Subject,
        validity: Validity,
    ) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        let request = CertificateSigningRequestParams::from_pem(request_pem)?;
        self.sign(subject, validity, &request.public_key)
    }

    /// Revokes every unexpired certificate of a peer and returns their serial numbers. The lists change with
    /// [`Pki::crls`].
    ///
    /// # Errors
    /// [`PkiError::Unknown`].
    pub fn revoke(&mut self, subject: &Subject, reason: Reason, now: Timestamp) -> Result<Vec<String>, PkiError> {
        let peer = PeerIdentity::new(&self.trust_domain, subject.clone())?.to_string();
        let mut serials = Vec::new();
        for issued in &mut self.index {
            if issued.peer == peer && issued.revoked.is_none() && issued.not_after > now {
                issued.revoked = Some(Revoked { at: now, reason });
                serials.push(issued.serial.clone());
            }
        }
        if serials.is_empty() { Err(PkiError::Unknown(subject.clone())) } else { Ok(serials) }
    }

    /// Fresh revocation lists: of the root (the intermediates), of the chargers and of the processors.
    ///
    /// # Errors
    /// [`PkiError::Certificate`].
    pub fn crls(&self, now: Timestamp) -> Result<[CertificateRevocationListDer<'static>; 3], PkiError> {
        let next_update = after(now, DAY * CRL_DAYS);
        Ok([
            self.root.revoked(&[], now, next_update)?,
            self.chargers.revoked(&self.revoked_by(ListenerKind::Chargers, now), now, next_update)?,
            self.processors.revoked(&self.revoked_by(ListenerKind::Processors, now), now, next_update)?,
        ])
    }

    /// Every certificate that was issued to a peer.
    pub fn index(&self) -> &[Issued] {
        &self.index
    }

    /// A certificate that breaks rules: a charger's as changed by `change`, signed by the authority of `listener`.
    #[cfg(test)]
    pub(super) fn issue_changed(
        &self,
        listener: ListenerKind,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Certified {
        let validity = Validity::days(crate::host::wall_clock(), 30);
        let mut params = leaf("AMS-0007", ExtendedKeyUsagePurpose::ClientAuth, validity).unwrap();
        let uri = format!("spiffe://{}/charger/AMS-0007", self.trust_domain);
        params.subject_alt_names.push(SanType::URI(uri.as_str().try_into().unwrap()));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.signer(listener).issuer).unwrap();
        let chain = vec![certificate.der().clone(), self.signer(listener).certificate.clone()];
        Certified { chain, key: private_key(&key) }
    }

    /// An authority below the one of `listener`, which must not sign peers.
    #[cfg(test)]
    pub(super) fn issue_authority(&self, listener: ListenerKind, key: &KeyPair) -> CertificateDer<'static> {
        let mut params = named("an authority of its own", Validity::days(crate::host::wall_clock(), 30)).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.signed_by(key, &self.signer(listener).issuer).unwrap().der().clone()
    }

    fn sign(
        &mut self,
        subject: &Subject,
        validity: Validity,
        key: &impl PublicKeyData,
    ) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        let peer = PeerIdentity::new(&self.trust_domain, subject.clone())?;
        let mut params = leaf(subject.id(), ExtendedKeyUsagePurpose::ClientAuth, validity)?;
        params.subject_alt_names.push(SanType::URI(peer.to_string().as_str().try_into()?));
        let serial = params.serial_number.as_ref().map(|serial| hex::encode(serial.to_bytes())).unwrap_or_default();
        let signer = self.signer(listener_of(subject.role()));
        let certificate = params.signed_by(key, &signer.issuer)?;
        let chain = vec![certificate.der().clone(), signer.certificate.clone()];
        self.index.push(Issued { serial, peer: peer.to_string(), not_after: validity.not_after, revoked: None });
        Ok(chain)
    }

    fn signer(&self, listener: ListenerKind) -> &Authority {
        match listener {
            ListenerKind::Chargers | ListenerKind::Ocpp => &self.chargers,
            ListenerKind::Processors => &self.processors,
        }
    }

    /// What the authority behind this listener has revoked and would otherwise still be valid.
    fn revoked_by(&self, listener: ListenerKind, now: Timestamp) -> Vec<&Issued> {
        let behind = |issued: &&Issued| match PeerIdentity::parse(&issued.peer) {
            Ok(peer) => listener_of(peer.role()) == listener,
            Err(_) => false,
        };
        self.index.iter().filter(|issued| issued.revoked.is_some() && issued.not_after > now).filter(behind).collect()
    }
}

/// Which authority signs for a role.
const fn listener_of(role: Role) -> ListenerKind {
    match role {
        Role::Charger | Role::Site => ListenerKind::Chargers,
        Role::Processor | Role::Gate => ListenerKind::Processors,
    }
}

impl Authority {
    fn new(name: &str, parent: Option<&Authority>, validity: Validity) -> Result<Authority, PkiError> {
        let mut params = named(name, validity)?;
        params.is_ca = IsCa::Ca(match parent {
            None => BasicConstraints::Constrained(1),
            Some(_) => BasicConstraints::Constrained(0),
        });
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = match parent {
            None => params.self_signed(&key)?,
            Some(parent) => params.signed_by(&key, &parent.issuer)?,
        };
        Ok(Authority { certificate: certificate.der().clone(), issuer: Issuer::new(params, key) })
    }

    fn revoked(
        &self,
        issued: &[&Issued],
        now: Timestamp,
        next_update: Timestamp,
    ) -> Result<CertificateRevocationListDer<'static>, PkiError> {
        let entry = |issued: &&Issued| -> Option<RevokedCertParams> {
            let revoked = issued.revoked?;
            Some(RevokedCertParams {
                serial_number: SerialNumber::from_slice(&hex::decode(&issued.serial).ok()?),
                revocation_time: system_time(revoked.at).into(),
                reason_code: match revoked.reason {
                    Reason::Unspecified => None,
                    Reason::KeyCompromise => Some(rcgen::RevocationReason::KeyCompromise),
                    Reason::Superseded => Some(rcgen::RevocationReason::Superseded),
                    Reason::CessationOfOperation => Some(rcgen::RevocationReason::CessationOfOperation),
                    Reason::PrivilegeWithdrawn => Some(rcgen::RevocationReason::PrivilegeWithdrawn),
                },
                invalidity_date: None,
            })
        };
        let list = CertificateRevocationListParams {
            this_update: system_time(before(now, BACKDATED)).into(),
            next_update: system_time(next_update).into(),
            crl_number: SerialNumber::from(now.unix_ms().unsigned_abs()),
            issuing_distribution_point: None,
            revoked_certs: issued.iter().filter_map(entry).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.der().clone())
    }
}

/// Names and validity that leaves and authorities have in common.
fn named(common_name: &str, validity: Validity) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, DEVELOPMENT_MARK);
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = system_time(validity.not_before).into();
    params.not_after = system_time(validity.not_after).into();
    params.use_authority_key_identifier_extension = true;
    let mut serial = [0; 16];
    SystemRandom::new().fill(&mut serial).map_err(|_| PkiError::Random)?;
    // A positive number of full length, so that its text is the same in every tool.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn leaf(common_name: &str, usage: ExtendedKeyUsagePurpose, validity: Validity) -> Result<CertificateParams, PkiError> {
    let mut params = named(common_name, validity)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    Ok(params)
}

fn private_key(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(key.serialize_der().into())
}

fn system_time(at: Timestamp) -> SystemTime {
    let span = Duration::from_millis(at.unix_ms().unsigned_abs());
    if at.unix_ms() < 0 { SystemTime::UNIX_EPOCH - span } else { SystemTime::UNIX_EPOCH + span }
}

fn after(at: Timestamp, span: Duration) -> Timestamp {
    Timestamp::from_unix_ms(at.unix_ms().saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
}

fn before(at: Timestamp, span: Duration) -> Timestamp {
    Timestamp::from_unix_ms(at.unix_ms().saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::certificate::Certificate;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_795_370_400_000);

    fn charger(id: &str) -> Subject {
        Subject::Charger(id.parse().unwrap())
    }

    #[test]
    fn a_leaf_names_its_peer_once_and_says_it_is_for_development() {
        let mut pki = Pki::new("wattstile.test", NOW).unwrap();
        let issued = pki.issue(&charger("AMS-0007"), Validity::days(NOW, 30)).unwrap();
        let leaf = Certificate::read(&issued.chain[0]).unwrap();
        assert_eq!(leaf.uris, ["spiffe://wattstile.test/charger/AMS-0007"]);
        assert_eq!(leaf.serial, pki.index()[0].serial);
        assert!(leaf.development && !leaf.is_authority && leaf.for_clients && !leaf.for_servers);
        assert_eq!(leaf.days_left(NOW), 30);
        let authority = Certificate::read(pki.authority(ListenerKind::Chargers)).unwrap();
        assert_eq!(leaf.issuer, authority.subject);
        assert!(authority.is_authority && authority.development);
    }

    #[test]
    fn a_request_gives_its_key_and_not_its_names() {
        let mut pki = Pki::new("wattstile.test", NOW).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI("spiffe://wattstile.test/processor/bank".try_into().unwrap()));
        let request = params.serialize_request(&key).unwrap().pem().unwrap();
        let chain = pki.issue_for_request(&request, &charger("AMS-0041"), Validity::days(NOW, 30)).unwrap();
        let leaf = Certificate::read(&chain[0]).unwrap();
        assert_eq!(leaf.uris, ["spiffe://wattstile.test/charger/AMS-0041"]);
        assert_eq!(leaf.dns_names, Vec::<String>::new());
    }

    #[test]
    fn revoking_names_every_serial_of_the_peer_and_only_once() {
        let mut pki = Pki::new("wattstile.test", NOW).unwrap();
        for id in ["A", "A", "B"] {
            pki.issue(&charger(id), Validity::days(NOW, 30)).unwrap();
        }
        let serials = pki.revoke(&charger("A"), Reason::KeyCompromise, NOW).unwrap();
        let site = Subject::Site("B".parse().unwrap());
        assert_eq!(serials.len(), 2);
        assert!(matches!(pki.revoke(&charger("A"), Reason::KeyCompromise, NOW), Err(PkiError::Unknown(_))));
        assert!(matches!(pki.revoke(&site, Reason::KeyCompromise, NOW), Err(PkiError::Unknown(_))));
    }
}
