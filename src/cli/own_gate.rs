//! A gate of one's own for a verb that needs one: a temporary data directory, a PKI in memory, loopback only.

use super::{CliError, Exit};
use crate::app::keys;
use crate::app::{
    Access, Assigned, Data, Gate, ListenerSettings, OcppAdmission, OcppListener, Receipts, Settings, SnapshotPolicy,
};
use crate::config::reporting_url::{FILE, ReportingUrl};
use crate::host::SystemClock;
use crate::journal::Layout;
use crate::message::Subject;
use crate::payment::routing::Rule;
use crate::payment::vault::Keyring;
use crate::session::Policy;
use crate::sim::pipe::Dialler;
use crate::sim::tls::dialler;
use crate::tariff::Tariff;
use crate::transport::identity::ListenerKind;
use crate::transport::pki::{Certified, Pki, Validity};
use crate::transport::tls::{Material, Policy as TlsPolicy, Source, Tls};
use crate::transport::{Bounds, Connector, Trust};
use crate::units::{ChargerId, Clock, Now, Power, ProcessorId};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A running gate with everything that its peers need.
pub struct OwnGate {
    gate: Gate,
    pki: Pki,
    trust: Trust,
    /// Removed when the gate is gone.
    _folder: TemporaryFolder,
    now: Now,
}

/// How the gate is to be.
pub struct Wishes {
    /// What its temporary folder's name begins with.
    pub name: &'static str,
    /// The tariff of every charger.
    pub tariff: Tariff,
    /// The time zone of every charger.
    pub zone: String,
    /// How sessions are dealt with.
    pub policy: Policy,
    /// Threads that run partitions.
    pub shards: u16,
    /// Partitions of the id space.
    pub partitions: u16,
    /// Rules for its processors; without one, each gets cards.
    pub rules: Vec<Rule>,
    /// Directory of its data; `None`: a temporary folder that is removed afterwards.
    pub data: Option<PathBuf>,
    /// Whether it keeps a reporting database.
    pub is_reported: bool,
}

const TRUST_DOMAIN: &str = "wattstile.local";
const CONNECTIONS_MAX: usize = 20_000;

impl OwnGate {
    /// Starts it.
    ///
    /// # Errors
    /// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
    pub fn start(wishes: Wishes) -> Result<OwnGate, CliError> {
        let clock = Arc::new(SystemClock::new());
        let now = clock.now();
        let folder = TemporaryFolder::make(wishes.name, wishes.data)?;
        let pki = Pki::new(TRUST_DOMAIN, now.wall).map_err(CliError::failed)?;
        let trust = Trust::new(std::slice::from_ref(pki.root()), "localhost").map_err(CliError::failed)?;
        let layout = Layout::new(wishes.partitions);
        let tariff_resolver = Assigned::everywhere(wishes.tariff, &wishes.zone)
            .map_err(|error| CliError::new(Exit::Usage, format!("time zone `{}`: {error}", wishes.zone)))?;
        let settings = Settings {
            data: Data::Directory { path: folder.path.clone(), layout, owner: None },
            shards: wishes.shards,
            policy: wishes.policy,
            tariff_resolver: Box::new(tariff_resolver),
            chargers: Some(listener(&pki, ListenerKind::Chargers, now)?),
            processors: Some(listener(&pki, ListenerKind::Processors, now)?),
            ocpp: vec![ocpp_listener(&pki, now)?],
            may_speak_for: Arc::new(|_, _| true),
            chargers_per_site_max: usize::MAX,
            mac_of: Box::new(|_| None),
            rules: wishes.rules,
            no_holds: Vec::new(),
            fingerprint_key: TRUST_DOMAIN.as_bytes().to_vec(),
            keys: if folder.kept {
                keys::kept(&folder.path.with_extension("keys")).map_err(CliError::failed)?
            } else {
                Keyring::fixed([0x77; 32])
            },
            receipt_base: String::new(),
            receipts: Some(Receipts::default()),
            reporting: wishes.is_reported.then(|| ReportingUrl::Sqlite(folder.path.join(FILE))),
            clock,
            snapshot_policy: SnapshotPolicy::default(),
            bounds: Bounds::default(),
            before_peers: Box::new(|_| ()),
            progress: Box::new(|_| ()),
            on_failure: Arc::new(|failure| {
                eprintln!("error: the gate's log failed: {failure}");
                std::process::exit(i32::from(Exit::Temporary.code()));
            }),
        };
        let gate = Gate::start(settings).map_err(|error| CliError::start(&error))?;
        Ok(OwnGate { gate, pki, trust, _folder: folder, now })
    }

    /// The running gate.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// A way for a charger or site controller to reach it.
    ///
    /// # Errors
    /// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
    pub fn charger(&mut self, subject: &Subject) -> Result<Dialler, CliError> {
        let address = self.gate.chargers;
        self.dialler(subject, address)
    }

    /// A way for a processor to reach it.
    ///
    /// # Errors
    /// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
    pub fn processor(&mut self, id: &ProcessorId) -> Result<Dialler, CliError> {
        let address = self.gate.processors;
        self.dialler(&Subject::Processor(id.clone()), address)
    }

    /// A key and a certificate for a peer.
    ///
    /// # Errors
    /// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
    pub fn issue(&mut self, subject: &Subject) -> Result<Certified, CliError> {
        self.pki.issue(subject, Validity::days(self.now.wall, 30)).map_err(CliError::failed)
    }

    /// The root by which its peers recognise it.
    pub fn root(&self) -> Vec<u8> {
        self.pki.root().to_vec()
    }

    fn dialler(&mut self, subject: &Subject, address: Option<SocketAddr>) -> Result<Dialler, CliError> {
        let own = self.issue(subject)?;
        let connector = Connector::new(&self.trust, own).map_err(CliError::failed)?;
        let address = address.ok_or_else(|| CliError::failed("the gate has no listener for this peer"))?;
        Ok(dialler(connector, address))
    }

    /// Stops it in good order and removes its temporary folder.
    pub fn stop(self) {
        self.gate.stop();
    }
}

/// Chargers that speak OCPP are let in by their certificates.
fn ocpp_listener(pki: &Pki, now: Now) -> Result<OcppListener, CliError> {
    let ListenerSettings { address, tls, connections_max, .. } = listener(pki, ListenerKind::Ocpp, now)?;
    let access = Arc::new(|_: &ChargerId, _: Option<&[u8]>| Access::Unknown);
    let admission = OcppAdmission { trust_domain: TRUST_DOMAIN.into(), access };
    let power_max = Power::from_milliwatts(22_000_000);
    Ok(OcppListener { address, tls: Some(tls), admission, connections_max, power_max, behind: None })
}

fn listener(pki: &Pki, listener: ListenerKind, now: Now) -> Result<ListenerSettings, CliError> {
    let own = pki.issue_server(&["localhost".to_owned()], Validity::days(now.wall, 30)).map_err(CliError::failed)?;
    let crls = pki.crls(now.wall).map_err(CliError::failed)?.to_vec();
    let material = Material { own, authorities: vec![pki.authority(listener).clone()], crls };
    let policy = TlsPolicy {
        trust_domain: TRUST_DOMAIN.to_owned(),
        listener,
        tls12: false,
        production: false,
        anonymous: false,
    };
    let tls = Tls::new(policy, Source::Memory(material)).map_err(CliError::failed)?;
    let (address, tls) = (([127, 0, 0, 1], 0).into(), Arc::new(tls));
    // Its peers are load generators of its own: one of them may open as many as it likes.
    Ok(ListenerSettings { address, tls, connections_max: CONNECTIONS_MAX, each_max: CONNECTIONS_MAX })
}

/// A folder that is removed with its contents, unless it was given by name.
pub(super) struct TemporaryFolder {
    path: PathBuf,
    kept: bool,
}

impl TemporaryFolder {
    /// A fresh one, or the one that was named.
    ///
    /// # Errors
    /// [`CliError`] with its exit code: an argument, a file or an answer of the gate cannot be used.
    pub fn make(name: &str, named: Option<PathBuf>) -> Result<TemporaryFolder, CliError> {
        if let Some(path) = named {
            return Ok(TemporaryFolder { path, kept: true });
        }
        let base = std::env::temp_dir();
        for number in 0..1_000 {
            let path = base.join(format!("{name}-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(TemporaryFolder { path: path.clone(), kept: false }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(CliError::file(&path, &error)),
            }
        }
        Err(CliError::failed(format!("no free name for a temporary folder in {}", base.display())))
    }
}

impl TemporaryFolder {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if !self.kept {
            // Leftovers in the temporary directory are no failure.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
