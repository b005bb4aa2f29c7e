//! A gate from its configuration: certificates, tariffs, processors.

use super::data::Data;
use super::keys::{self, KeysError};
use super::ocpp_admission::{Access, AccessOf, OcppAdmission};
use super::ocpp_forwarding::Behind;
use super::passwords::{Passwords, PasswordsError};
use super::settings::{ListenerSettings, OcppListener, Settings};
use crate::config::reporting_url::ReportingUrl;
use crate::config::{Config, Mode};
use crate::journal::{DataDir, Layout};
use crate::message::Code;
use crate::node::snapshot_policy::SnapshotPolicy;
use crate::node::tariff_assignment::{ListedTariff, TariffAssignment, TariffResolver};
use crate::tariff::{BookError, BookErrors, Finding, TariffBook};
use crate::transport::files::{FileError, make_private_folder, read_certificates, read_secret, write_whole};
use crate::transport::identity;
use crate::transport::pki::PkiError;
use crate::transport::pki_folder::PkiFolder;
use crate::transport::tls::{Source, Tls, TlsError};
use crate::transport::{Bounds, ConnectError, Connector, Trust};
use crate::units::screen::{TextFault, has_issued_card_number};
use crate::units::{ChargerId, Clock, ConnectorId, Power, SiteId, Timestamp};
use crate::wire::MacKey;
use jiff::tz::TimeZone;
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Why a configuration makes no gate.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The development PKI.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The listeners' certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A file with a secret.
    #[error(transparent)]
    File(#[from] FileError),
    /// The tariffs.
    #[error(transparent)]
    Tariffs(#[from] BookErrors),
    /// A folder or file that cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        error: std::io::Error,
    },
    /// A file whose text is stored contains what looks like a card number.
    #[error("{}: {}", path.display(), TextFault::CardNumber)]
    CardNumber {
        /// Which.
        path: PathBuf,
    },
    /// The keys under which tokens are kept.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// There are data, and not the key with which their credentials were recognised.
    #[error("{}: there are data here, but not the key that recognises their credentials: no linked card would be recognised. Put the file back from where it was kept, or make a new one with `wattstile keys init --fingerprint --file {}`, and link the credentials again", .0.display(), .0.display())]
    NoFingerprintKey(PathBuf),
    /// The passwords of chargers.
    #[error(transparent)]
    Passwords(#[from] PasswordsError),
    /// How the management system behind the gate is recognised.
    #[error("ocpp.forward: {0}")]
    Behind(ConnectError),
    /// A MAC key that is none.
    #[error("{}: wanted 64 hexadecimal digits", .0.display())]
    MacKey(PathBuf),
}

/// The listeners for chargers that speak OCPP.
fn ocpp_listeners(config: &Config) -> Result<Vec<OcppListener>, SetupError> {
    let ocpp = &config.ocpp;
    let power_max = Power::from_watts(i64::from(ocpp.power_max_kw) * 1_000).expect("a number of 16 bits fits");
    let passwords = ocpp.passwords_file.as_deref().map(Passwords::open).transpose()?.map(Arc::new);
    let behind = behind(config)?.map(Arc::new);
    let listener = |address, tls, lets_all_in: bool| {
        let passwords = passwords.clone();
        let access: AccessOf = Arc::new(move |charger, shown| {
            match passwords.as_ref().map_or(Access::Unknown, |passwords| passwords.access(charger, shown)) {
                Access::Unknown if lets_all_in => Access::Granted,
                access => access,
            }
        });
        let admission = OcppAdmission { trust_domain: config.tls.trust_domain.as_str().into(), access };
        let connections_max = config.chargers.connections_max as usize;
        OcppListener { address, tls, admission, connections_max, power_max, behind: behind.clone() }
    };
    let mut listeners = Vec::new();
    if let Some(address) = ocpp.listen {
        let kind = identity::ListenerKind::Ocpp;
        let tls = Arc::new(Tls::new(config.tls_policy(kind), Source::Files(config.tls_files(kind)))?);
        listeners.push(listener(address, Some(tls), false));
    }
    if let Some(address) = ocpp.insecure_listen {
        tracing::warn!(%address, "chargers of this listener send their passwords and readings without encryption");
        listeners.push(listener(address, None, ocpp.allow_insecure));
    }
    Ok(listeners)
}

/// The management system behind the gate.
fn behind(config: &Config) -> Result<Option<Behind>, SetupError> {
    let Some(url) = config.ocpp.forward.clone() else { return Ok(None) };
    let connector = match &config.ocpp.forward_ca_file {
        Some(path) if url.is_secure => {
            let roots = read_certificates(path)?;
            let trust = Trust::new(&roots, &url.host).map_err(SetupError::Behind)?;
            Some(Connector::nameless(&trust).map_err(SetupError::Behind)?)
        }
        Some(_) | None => None,
    };
    Ok(Some(Behind { url, connector }))
}

/// Everything that [`Gate::start`](super::Gate::start) needs, as the configuration has it. In development a PKI is made
/// where there is none.
///
/// # Errors
/// Tariffs, routing or keys of the configuration cannot be used; [`SetupError`] names the setting and the file.
pub fn settings(config: &Config, clock: Arc<dyn Clock>) -> Result<Settings, SetupError> {
    let data = &config.gate.data_dir;
    make_pki(config, clock.now().wall)?;
    let listener = |listener, address, connections_max: u32, each_max: u32| {
        let tls = Arc::new(Tls::new(config.tls_policy(listener), Source::Files(config.tls_files(listener)))?);
        let (connections_max, each_max) = (connections_max as usize, each_max as usize);
        Ok::<_, SetupError>(ListenerSettings { address, tls, connections_max, each_max })
    };
    let mut macs = BTreeMap::new();
    for entry in &config.registry {
        if let Some(path) = &entry.mac_key_file {
            macs.insert(entry.id.clone(), mac_key(path)?);
        }
    }
    // What the linter finds is reported by the checks before the start.
    let (tariff_resolver, _) = Tariffs::load(config)?;
    Ok(Settings {
        data: Data::Directory {
            path: data.join("data"),
            layout: Layout::new(config.gate.partitions),
            owner: Some(config.owner()),
        },
        shards: super::settings::shards_of(config.gate.shards, config.gate.partitions),
        policy: config.session_policy(),
        tariff_resolver: Box::new(tariff_resolver),
        chargers: Some(listener(
            identity::ListenerKind::Chargers,
            config.chargers.listen,
            config.chargers.connections_max,
            config.chargers.connections_each_max,
        )?),
        processors: Some(listener(
            identity::ListenerKind::Processors,
            config.processors.listen,
            config.processors.connections_max,
            config.processors.connections_each_max,
        )?),
        ocpp: ocpp_listeners(config)?,
        may_speak_for: config.may_speak_for(),
        chargers_per_site_max: config.chargers.per_site_max as usize,
        mac_of: Box::new(move |id| macs.get(id).cloned()),
        rules: config.routing_rules(),
        no_holds: config.payment.no_holds.iter().map(|start| start.as_str().into()).collect(),
        fingerprint_key: fingerprint_key(data)?,
        keys: keys::kept(&config.keys_file())?,
        receipt_base: config.receipts.address.clone(),
        receipts: Some(super::Receipts::configured(config)),
        reporting: reporting(config)?,
        clock,
        snapshot_policy: SnapshotPolicy::log_below(
            u64::from(config.journal.log_mib_max) << 20,
            Duration::from_millis(u64::try_from(config.journal.snapshot_every.ms()).unwrap_or(u64::MAX)),
        ),
        bounds: Bounds::default(),
        before_peers: Box::new(|_| ()),
        progress: Box::new(|_| {}),
        on_failure: Arc::new(super::end_process),
    })
}

/// The reporting database that the configuration names.
///
/// # Errors
/// The file with its password cannot be read.
pub fn reporting(config: &Config) -> Result<Option<ReportingUrl>, SetupError> {
    let Some(url) = config.reporting.url.clone() else { return Ok(None) };
    let url = url.in_data(&config.data_folder());
    let Some(file) = &config.reporting.password_file else { return Ok(Some(url)) };
    let password = read_secret(file)?;
    Ok(Some(url.with_password(String::from_utf8_lossy(&password).trim())))
}

/// Makes the development PKI where the configuration has one, and renews its expiring certificates.
///
/// # Errors
/// It cannot be made, or the one that is there cannot be read.
pub fn make_pki(config: &Config, now: Timestamp) -> Result<(), SetupError> {
    if config.gate.mode == Mode::Development && config.tls.certificate_file.is_none() {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        PkiFolder::open_or_create(&config.pki_folder(), &config.tls.trust_domain, &names, now)?;
    }
    Ok(())
}

/// The tariffs of a folder, and which chargers they are for.
pub struct Tariffs {
    config: Config,
    book: TariffBook,
}

impl Tariffs {
    /// Reads every `*.json` of the folder, in the order of their names. A folder that is not there has no tariffs.
    ///
    /// # Errors
    ///
    /// A folder that cannot be read; else everything that is wrong with any of its files.
    pub fn load(config: &Config) -> Result<(Tariffs, Vec<(String, Finding)>), SetupError> {
        let (files, unreadable) = tariff_files(&config.tariff_folder())?;
        // Its text is kept with every session, and what is in it stands on receipts.
        if let Some((path, _)) = files.iter().find(|(_, bytes)| has_issued_card_number(bytes)) {
            return Err(SetupError::CardNumber { path: path.into() });
        }
        let (book, findings) = match TariffBook::load(files, []) {
            Ok(loaded) if unreadable.is_empty() => loaded,
            Ok(_) => return Err(BookErrors(unreadable).into()),
            Err(errors) => return Err(BookErrors(unreadable.into_iter().chain(errors.0).collect()).into()),
        };
        Ok((Tariffs { config: config.clone(), book }, findings))
    }

    /// The tariffs.
    pub fn book(&self) -> &TariffBook {
        &self.book
    }
}

impl TariffResolver for Tariffs {
    fn place(&self, charger: &ChargerId, connector: ConnectorId, at: Timestamp) -> Result<TariffAssignment, Code> {
        let refused = |refusal: &dyn std::fmt::Display| {
            tracing::warn!(%charger, connector = connector.0, "no tariff for a start: {refusal}");
            Code::NoTariff
        };
        let id = self.config.tariff_of(charger).ok_or_else(|| refused(&"no tariff is assigned to the charger"))?;
        let tariff = self.book.valid(id, at).map_err(|refusal| refused(&refusal))?;
        let zone = self.config.zone_of(charger);
        let time_zone = TimeZone::get(zone.as_str()).map_err(|error| refused(&error))?;
        Ok(TariffAssignment { tariff, zone: time_zone, zone_name: zone.as_str().into() })
    }

    fn site(&self, charger: &ChargerId) -> Option<SiteId> {
        self.config.site_of(charger).map(|site| site.id.clone())
    }

    fn listed(&self) -> Vec<ListedTariff> {
        let tariffs = self.book.tariffs().map(|tariff| {
            let assigned = self.config.assignments.iter().filter(|assignment| assignment.tariff == *tariff.id());
            let mut chargers: Vec<String> = assigned.map(|assignment| assignment.chargers.to_string()).collect();
            if self.config.tariffs.default.as_ref() == Some(tariff.id()) {
                chargers.push("all others".to_owned());
            }
            let zone_name = self.config.tariffs.time_zone.as_str().into();
            ListedTariff { tariff: tariff.clone(), chargers, zone_name }
        });
        tariffs.collect()
    }
}

/// Files of a folder: the contents of readable ones, and errors for the others.
type TariffFiles = (Vec<(String, Vec<u8>)>, Vec<BookError>);

fn tariff_files(folder: &Path) -> Result<TariffFiles, SetupError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| SetupError::Read { path, error }
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(TariffFiles::default()),
        Err(error) => return Err(failed(folder)(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut files = TariffFiles::default();
    for path in paths {
        let file = path.display().to_string();
        match std::fs::read(&path) {
            Ok(bytes) => files.0.push((file, bytes)),
            Err(error) => files.1.push(BookError::Unreadable { file, reason: error.to_string() }),
        }
    }
    Ok(files)
}

pub(super) fn mac_key(path: &Path) -> Result<MacKey, SetupError> {
    let secret = read_secret(path)?;
    let text = String::from_utf8_lossy(&secret);
    let bytes = hex::decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.map(|bytes| MacKey::new(&bytes)).ok_or_else(|| SetupError::MacKey(path.to_owned()))
}

/// The file of the key under which credentials are shown and recognised, beside the data.
pub const FINGERPRINT_KEY: &str = "fingerprint.key";

/// The key under which credentials are shown: made before there are data, readable by the owner only. Data whose key is
/// missing (a restored backup) get no new one silently: every linked credential would be unknown.
fn fingerprint_key(data: &Path) -> Result<Vec<u8>, SetupError> {
    fingerprint_key_is_there(data)?;
    let path = data.join(FINGERPRINT_KEY);
    if !path.exists() {
        make_private_folder(data)?;
        make_fingerprint_key(&path)?;
    }
    Ok(read_secret(&path)?.to_vec())
}

/// Whether data have the key with which their credentials are recognised.
///
/// # Errors
/// [`SetupError::NoFingerprintKey`] when they do not.
pub(super) fn fingerprint_key_is_there(data: &Path) -> Result<(), SetupError> {
    let path = data.join(FINGERPRINT_KEY);
    // Data that no gate has used yet have no owner.
    if path.exists() || DataDir::owner_of(&data.join("data")).is_none() {
        Ok(())
    } else {
        Err(SetupError::NoFingerprintKey(path))
    }
}

/// Makes a key under which credentials are recognised.
///
/// # Errors
/// The file cannot be written.
pub fn make_fingerprint_key(path: &Path) -> Result<(), SetupError> {
    let mut key = [0; 32];
    SystemRandom::new().fill(&mut key).expect("the system gives random numbers");
    Ok(write_whole(path, hex::encode(key).as_bytes(), 0o600)?)
}
