//! The TLS side of a listener: TLS 1.3, client certificates, revocation lists, no resumption; replaced while running.
//!
//! Facts about rustls that this file is built on: revocation lists are not required to be fresh unless that is
//! configured; a resumed session would carry the old chain without verifying it again, so there are no tickets and no
//! session cache; an open connection is never verified again, so [`Tls::worthless`] selects those to close after a
//! reload.

use super::certificate::{Certificate, Crl, NameDigest, Presented, ReadError, Serial};
use super::files::{self, FileError};
use super::identity::{ListenerKind, admit};
use super::pki::Certified;
use super::refusal::{Refusal, span};
use crate::host::wall_clock;
use crate::limits;
use crate::message::PeerIdentity;
use crate::metrics;
use crate::units::{Timestamp, visible};
use arc_swap::ArcSwap;
use ring::digest::{SHA256, digest};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Certificates, key and revocation lists of a listener.
#[derive(Clone, Debug)]
pub struct Material {
    /// The gate's own key and certificate.
    pub own: Certified,
    /// The authorities that may sign peers' certificates. Several while one is being replaced.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Revocation lists; without any, nothing can be revoked.
    pub crls: Vec<CertificateRevocationListDer<'static>>,
}

/// A certificate or a revocation list that is in use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InUse {
    /// What it is, or whose.
    pub name: String,
    /// Since when it is valid; a revocation list does not show it.
    pub not_before: Option<Timestamp>,
    /// When it expires.
    pub not_after: Timestamp,
}

/// Source of the material.
#[derive(Clone, Debug)]
pub enum Source {
    /// From files, read again when they change.
    Files(Files),
    /// From memory.
    Memory(Material),
}

/// The files of a listener's TLS, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The gate's own certificate and its chain, without the root.
    pub certificate: PathBuf,
    /// The gate's own key; only its owner may be able to read it.
    pub key: PathBuf,
    /// The authorities of this listener's peers.
    pub authorities: PathBuf,
    /// Revocation lists, each file with one or more.
    pub crls: Vec<PathBuf>,
}

/// Settings that are fixed while the gate runs.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The trust domain in which peers have their names.
    pub trust_domain: String,
    /// The kind of the listener.
    pub listener: ListenerKind,
    /// Whether TLS 1.2 is accepted beside TLS 1.3.
    pub tls12: bool,
    /// Whether certificates of a development PKI are refused.
    pub production: bool,
    /// Whether a peer without certificate is let in: something else has to say who it is.
    pub anonymous: bool,
}

/// Why the material makes no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A certificate or a list cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The authorities or the lists are not usable together.
    #[error("the authorities and revocation lists for {listener}: {error}")]
    Verifier {
        /// The listener.
        listener: ListenerKind,
        /// The error of the library.
        error: VerifierBuilderError,
    },
    /// Key and certificate do not fit, or the key is of an unknown kind.
    #[error("the gate's own key and certificate: {}", own_fault(.0))]
    Own(rustls::Error),
    /// The gate's own certificate is of no use any more.
    #[error("the gate's own certificate expired {} ago", span(*.0))]
    OwnExpired(crate::units::TimeSpan),
    /// The gate's own certificate is of no use yet.
    #[error("the gate's own certificate `{subject}` is not valid before {not_before}")]
    OwnNotYet {
        /// The certificate's subject.
        subject: String,
        /// When it begins.
        not_before: Timestamp,
    },
    /// No peer could be accepted.
    #[error("no authority for {listener} is valid now; `{subject}` is valid from {not_before} to {not_after}")]
    NoAuthority {
        /// The listener.
        listener: ListenerKind,
        /// The first one's subject.
        subject: String,
        /// When it begins.
        not_before: Timestamp,
        /// When it ends.
        not_after: Timestamp,
    },
    /// A certificate among the authorities that signs nothing.
    #[error("among the authorities for {listener}, certificate {number} (`{subject}`) is no authority")]
    NotAuthority {
        /// The listener.
        listener: ListenerKind,
        /// Its place in the file, counted from 1.
        number: usize,
        /// Its subject.
        subject: String,
    },
    /// A development certificate in production.
    #[error("`{subject}` comes from a development PKI, which production mode refuses")]
    Development {
        /// The certificate's subject.
        subject: String,
    },
}

fn own_fault(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => "the key is not that of the certificate".to_owned(),
        other => other.to_string(),
    }
}

impl TlsError {
    /// Whether a certificate is only too old, or too young.
    pub fn is_of_time(&self) -> bool {
        matches!(self, TlsError::OwnExpired(_) | TlsError::OwnNotYet { .. } | TlsError::NoAuthority { .. })
    }
}

/// The TLS of one listener.
pub struct Tls {
    policy: Policy,
    source: Mutex<Source>,
    seen: Mutex<Vec<Option<SystemTime>>>,
    current: ArcSwap<Loaded>,
    /// Certificates between leaf and authority that were seen lately: few, and the same for many peers.
    between: Mutex<VecDeque<Arc<CertificateDer<'static>>>>,
}

/// One state of the files, ready for use.
struct Loaded {
    config: Arc<ServerConfig>,
    verifier: Arc<dyn ClientCertVerifier>,
    /// A short name for the authorities that count, by their certificates and so by their keys.
    trust: u64,
    revoked: HashSet<(NameDigest, Serial)>,
    certificates: Vec<(&'static str, Certificate)>,
    crls: Vec<(String, Timestamp)>,
}

impl Tls {
    /// Loads the material.
    ///
    /// # Errors
    /// [`TlsError`]: a file or list cannot be used, the gate's certificate is not valid now, no authority is, or
    /// production mode meets a development certificate.
    pub fn new(policy: Policy, source: Source) -> Result<Tls, TlsError> {
        let seen = source.modified();
        let loaded = Loaded::new(&policy, &source.read()?, wall_clock())?;
        loaded.warn(&policy);
        Ok(Tls {
            policy,
            source: Mutex::new(source),
            seen: Mutex::new(seen),
            current: ArcSwap::from_pointee(loaded),
            between: Mutex::default(),
        })
    }

    /// The kind of the listener.
    pub fn listener(&self) -> ListenerKind {
        self.policy.listener
    }

    /// What a handshake that begins now uses, and the name of the authorities that count in it.
    pub fn config(&self) -> (Arc<ServerConfig>, u64) {
        let loaded = self.current.load();
        (Arc::clone(&loaded.config), loaded.trust)
    }

    /// Loads the files again. When something is wrong with them, what was loaded before stays in use.
    ///
    /// # Errors
    /// Those of [`Tls::new`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = source.modified();
        let loaded = Loaded::new(&self.policy, &source.read()?, wall_clock())?;
        loaded.warn(&self.policy);
        self.current.store(Arc::new(loaded));
        Ok(())
    }

    /// Takes other material from memory. When something is wrong with it, what was loaded before stays in use.
    ///
    /// # Errors
    /// Those of [`Tls::new`].
    pub fn replace(&self, material: Material) -> Result<(), TlsError> {
        let loaded = Loaded::new(&self.policy, &material, wall_clock())?;
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = Source::Memory(material);
        self.current.store(Arc::new(loaded));
        Ok(())
    }

    /// What is in use and expires: certificates by purpose, and revocation lists.
    pub fn in_use(&self) -> Vec<InUse> {
        let loaded = self.current.load();
        let certificates = loaded.certificates.iter().map(|(role, certificate)| InUse {
            name: format!("the certificate of {} ({role})", certificate.subject),
            not_before: Some(certificate.not_before),
            not_after: certificate.not_after,
        });
        let lists = loaded.crls.iter().map(|(issuer, next)| InUse {
            name: format!("the revocation list of {issuer}"),
            not_before: None,
            not_after: *next,
        });
        certificates.chain(lists).collect()
    }

    /// Whether a file has changed since it was loaded.
    pub fn is_outdated(&self) -> bool {
        let now = self.source.lock().unwrap_or_else(PoisonError::into_inner).modified();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) != now
    }

    /// Why a connection with these certificates would not come in any more, if so.
    pub fn worthless(&self, presented: &Presented, now: Timestamp) -> Option<Refusal> {
        let loaded = self.current.load();
        if presented.not_after < now {
            return Some(Refusal::Expired(now.since(presented.not_after)));
        }
        if presented.links.iter().any(|link| loaded.revoked.contains(link)) {
            return Some(Refusal::Revoked);
        }
        if presented.verified_by.load(Ordering::Relaxed) == loaded.trust {
            return None;
        }
        // Other authorities count than those by which it came in. Names prove nothing, so the path is verified again.
        let (leaf, between) = presented.chain.split_first()?;
        let between: Vec<CertificateDer<'_>> = between.iter().map(|der| CertificateDer::clone(der)).collect();
        let at = UnixTime::since_unix_epoch(Duration::from_millis(now.unix_ms().try_into().unwrap_or(0)));
        if let Err(error) = loaded.verifier.verify_client_cert(leaf, &between, at) {
            match Refusal::of_tls(&error) {
                // The path is valid. A missing or stale list refuses new connections; open ones stay, as without a
                // reload.
                Refusal::NoRevocationList | Refusal::StaleRevocationList(_) => {}
                refusal => return Some(refusal),
            }
        }
        presented.verified_by.store(loaded.trust, Ordering::Relaxed);
        None
    }

    /// The peer of a finished handshake, as [`Tls::peer`]; none, where one without certificate is let in.
    ///
    /// # Errors
    /// Those of [`Tls::peer`].
    pub fn peer_if_known(
        &self,
        chain: &[CertificateDer<'static>],
        trust: u64,
    ) -> Result<Option<(PeerIdentity, Presented)>, Refusal> {
        if chain.is_empty() && self.policy.anonymous { Ok(None) } else { self.peer(chain, trust).map(Some) }
    }

    /// The peer of a finished handshake with the summary of its certificates, which these authorities verified.
    ///
    /// # Errors
    /// [`Refusal`]: the certificate names no peer of this listener, or cannot be read.
    pub fn peer(&self, chain: &[CertificateDer<'static>], trust: u64) -> Result<(PeerIdentity, Presented), Refusal> {
        let unreadable = |error: ReadError| Refusal::BadCertificate(error.to_string());
        let (leaf, between) = chain.split_first().ok_or(Refusal::NoCertificate)?;
        let identity = check_leaf(&self.policy, &Certificate::read(leaf).map_err(unreadable)?)?;
        let leaf = Arc::new(CertificateDer::clone(leaf));
        let chain = std::iter::once(leaf).chain(between.iter().map(|der| self.shared(der))).collect();
        Ok((identity, Presented::read(chain, trust).map_err(unreadable)?))
    }

    /// One copy for all peers that show the same.
    fn shared(&self, der: &CertificateDer<'static>) -> Arc<CertificateDer<'static>> {
        let mut seen = self.between.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = seen.iter().find(|same| ***same == *der) {
            return Arc::clone(same);
        }
        let fresh = Arc::new(der.clone());
        seen.truncate(limits::CERTIFICATES_SHARED - 1);
        seen.push_front(Arc::clone(&fresh));
        fresh
    }
}

/// Writes when the certificates and lists in use expire, for a scrape. What was replaced is not in it any more.
pub fn write_expiries(listeners: &[Arc<Tls>], text: &mut String) {
    let (mut certificates, mut crls) = (Vec::new(), Vec::new());
    for listener in listeners {
        let loaded = listener.current.load();
        certificates.extend(loaded.certificates.iter().cloned());
        crls.extend(loaded.crls.iter().cloned());
    }
    // Listeners share the gate's certificate, and a series may stand in a scrape only once.
    certificates.sort_by(|a, b| (a.0, &a.1.serial).cmp(&(b.0, &b.1.serial)));
    certificates.dedup_by(|a, b| (a.0, &a.1.serial) == (b.0, &b.1.serial));
    crls.sort();
    crls.dedup_by(|a, b| a.0 == b.0);
    metrics::TLS_CERTIFICATE_NOT_AFTER.write_head(text);
    for (role, certificate) in &certificates {
        let expires = certificate.not_after.unix_ms() / 1000;
        metrics::TLS_CERTIFICATE_NOT_AFTER.write_series(text, &[role, &certificate.serial], expires);
    }
    metrics::CRL_NEXT_UPDATE.write_head(text);
    for (issuer, next_update) in &crls {
        metrics::CRL_NEXT_UPDATE.write_series(text, &[issuer], next_update.unix_ms() / 1000);
    }
}

impl Source {
    fn read(&self) -> Result<Material, TlsError> {
        match self {
            Source::Memory(material) => Ok(material.clone()),
            Source::Files(named) => {
                let chain = files::read_certificates(&named.certificate)?;
                let key = files::read_key(&named.key)?;
                let mut crls = Vec::new();
                for path in &named.crls {
                    crls.extend(files::read_crls(path)?);
                }
                let authorities = files::read_certificates(&named.authorities)?;
                Ok(Material { own: Certified { chain, key }, authorities, crls })
            }
        }
    }

    fn modified(&self) -> Vec<Option<SystemTime>> {
        match self {
            Source::Memory(_) => Vec::new(),
            Source::Files(named) => [&named.certificate, &named.key, &named.authorities]
                .into_iter()
                .chain(&named.crls)
                .map(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
                .collect(),
        }
    }
}

impl Loaded {
    fn new(policy: &Policy, material: &Material, now: Timestamp) -> Result<Loaded, TlsError> {
        let mut certificates = Vec::new();
        for (index, der) in material.own.chain.iter().enumerate() {
            let certificate = Certificate::read(der)?;
            if certificate.not_after < now {
                return Err(TlsError::OwnExpired(now.since(certificate.not_after)));
            }
            if certificate.not_before > now {
                let Certificate { subject, not_before, .. } = certificate;
                return Err(TlsError::OwnNotYet { subject, not_before });
            }
            certificates.push((if index == 0 { "server" } else { "authority" }, certificate));
        }
        let mut roots = RootCertStore::empty();
        for (index, der) in material.authorities.iter().enumerate() {
            let certificate = Certificate::read(der)?;
            if !certificate.is_authority {
                let (listener, number, subject) = (policy.listener, index + 1, certificate.subject);
                return Err(TlsError::NotAuthority { listener, number, subject });
            }
            certificates.push(("authority", certificate));
            roots.add(der.clone()).map_err(TlsError::Own)?;
        }
        let signers = || certificates.iter().skip(material.own.chain.len()).map(|(_, certificate)| certificate);
        if let Some(first) = signers().next()
            && !signers().any(|signer| signer.not_before <= now && now <= signer.not_after)
        {
            let Certificate { subject, not_before, not_after, .. } = first.clone();
            return Err(TlsError::NoAuthority { listener: policy.listener, subject, not_before, not_after });
        }
        if policy.production
            && let Some((_, certificate)) = certificates.iter().find(|(_, certificate)| certificate.development)
        {
            return Err(TlsError::Development { subject: certificate.subject.clone() });
        }
        let mut revoked = HashSet::new();
        let mut crls = Vec::new();
        for der in &material.crls {
            let crl = Crl::read(der, &material.authorities)?;
            revoked.extend(crl.revoked);
            crls.push((crl.issuer, crl.next_update));
        }
        let verifier = verifier(policy, material, roots)?;
        let config = Arc::new(server_config(policy, material, Arc::clone(&verifier))?);
        let trust = trust(&material.authorities);
        Ok(Loaded { config, verifier, trust, revoked, certificates, crls })
    }

    /// Logs conditions that an operator should act on.
    fn warn(&self, policy: &Policy) {
        let now = wall_clock();
        for (role, certificate) in &self.certificates {
            let days = certificate.days_left(now);
            if days < 30 {
                tracing::warn!(
                    role,
                    subject = certificate.subject,
                    serial = certificate.serial,
                    days,
                    "certificate expires soon"
                );
            }
        }
        if self.crls.is_empty() {
            tracing::warn!(listener = %policy.listener, "no revocation list is configured: nothing can be revoked");
        }
        for (issuer, next_update) in &self.crls {
            if next_update.since(now).whole_secs() < 24 * 60 * 60 {
                tracing::warn!(issuer, %next_update, "a stale revocation list shuts out every peer of its authority");
            }
        }
    }
}

/// The one crypto provider of the process.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}

/// A name for a set of authorities: different for different certificates, whatever names stand in them.
fn trust(authorities: &[CertificateDer<'_>]) -> u64 {
    let mut each: Vec<_> = authorities.iter().map(|der| digest(&SHA256, der).as_ref().to_vec()).collect();
    each.sort();
    each.dedup();
    let whole = digest(&SHA256, &each.concat());
    whole.as_ref().iter().take(8).fold(0, |name, byte| name << 8 | u64::from(*byte))
}

fn verifier(
    policy: &Policy,
    material: &Material,
    roots: RootCertStore,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .with_crls(material.crls.iter().cloned())
        .enforce_revocation_expiration()
        .build()
        .map_err(|error| TlsError::Verifier { listener: policy.listener, error })
}

fn server_config(
    policy: &Policy,
    material: &Material,
    verifier: Arc<dyn ClientCertVerifier>,
) -> Result<ServerConfig, TlsError> {
    let verifier = Arc::new(PeerVerifier { policy: policy.clone(), verifier });
    let versions = if policy.tls12 { rustls::ALL_VERSIONS } else { &[&rustls::version::TLS13][..] };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(TlsError::Own)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(material.own.chain.clone(), material.own.key.clone_key())
        .map_err(TlsError::Own)?;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}

/// The peer's certificate in the handshake of this thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    /// The identity in the certificate.
    pub who: Option<String>,
    /// The certificate's serial number.
    pub serial: Option<String>,
    /// The reason of the refusal, if the library's error does not show it.
    pub reason: Option<Refusal>,
}

tokio::task_local! {
    /// Passes the verifier's findings to the handshake on this thread, because all handshakes share the verifier.
    pub(super) static SHOWN: RefCell<Shown>;
}

/// Verifies the chain with the library, then the peer's identity for this listener, all before the handshake is done.
#[derive(Debug)]
struct PeerVerifier {
    policy: Policy,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for PeerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        !self.policy.anonymous
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let leaf = Certificate::read(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        let mut shown = Shown { who: Some(who(&leaf)), serial: Some(leaf.serial.clone()), reason: None };
        let verified = self.verifier.verify_client_cert(end_entity, intermediates, now).and_then(|verified| {
            match check_leaf(&self.policy, &leaf) {
                Ok(_) => Ok(verified),
                Err(refusal) => {
                    shown.reason = Some(refusal);
                    Err(CertificateError::ApplicationVerificationFailure.into())
                }
            }
        });
        // Outside a listener's handshake the finding is not needed.
        let _ = SHOWN.try_with(|slot| *slot.borrow_mut() = shown);
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Checks of a leaf that the library does not make: its purpose is stated, and the listener accepts its one name.
fn check_leaf(policy: &Policy, leaf: &Certificate) -> Result<PeerIdentity, Refusal> {
    if !leaf.for_clients || !leaf.may_sign || leaf.is_authority {
        return Err(Refusal::WrongPurpose);
    }
    Ok(admit(&leaf.uris, &policy.trust_domain, policy.listener)?)
}

/// The name of a certificate for the log: the peer it means, or else its subject, escaped and cut.
fn who(leaf: &Certificate) -> String {
    match leaf.uris.first().map(|uri| PeerIdentity::parse(uri)) {
        Some(Ok(identity)) => identity.subject.to_string(),
        _ => visible(&leaf.subject).chars().take(128).collect(),
    }
}
