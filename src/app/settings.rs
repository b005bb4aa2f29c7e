//! Settings and parts of a gate.

use super::data::Data;
use super::ocpp_admission::OcppAdmission;
use super::ocpp_forwarding::Behind;
use super::receipts::Receipts;
use crate::actors::directory::Directory;
use crate::config::reporting_url::ReportingUrl;
use crate::journal::{Failure, Progress};
use crate::node::snapshot_policy::SnapshotPolicy;
use crate::node::tariff_assignment::TariffResolver;
use crate::payment::routing::Rule;
use crate::payment::vault::Keyring;
use crate::session;
use crate::transport::Bounds;
use crate::transport::tls::Tls;
use crate::units::{Clock, Power, ProcessorId};
use crate::wire::{MacKey, MaySpeakFor};
use std::net::SocketAddr;
use std::sync::Arc;

/// The parts of a gate.
pub struct Settings {
    /// Where its facts are kept.
    pub data: Data,
    /// Threads that run partitions.
    pub shards: u16,
    /// How sessions are dealt with.
    pub policy: session::Policy,
    /// Which tariff applies where.
    pub tariff_resolver: Box<dyn TariffResolver>,
    /// The listener for chargers and site controllers.
    pub chargers: Option<ListenerSettings>,
    /// The listener for processors.
    pub processors: Option<ListenerSettings>,
    /// The listeners for chargers that speak OCPP.
    pub ocpp: Vec<OcppListener>,
    /// The sites with their chargers.
    pub may_speak_for: MaySpeakFor,
    /// Most chargers that one site controller introduces.
    pub chargers_per_site_max: usize,
    /// The key of a processor's MAC, where one is agreed on.
    pub mac_of: MacOf,
    /// Rules that assign requests to processors. Without a rule, every processor with a certificate gets requests for
    /// all that it accepts; with some, no other may connect.
    pub rules: Vec<Rule>,
    /// Beginnings of tokens of products that treat a hold as a purchase.
    pub no_holds: Vec<Box<str>>,
    /// The key under which credentials are shown.
    pub fingerprint_key: Vec<u8>,
    /// The keys under which tokens are kept.
    pub keys: Keyring,
    /// What receipts' addresses begin with.
    pub receipt_base: String,
    /// How closed sessions are archived; without it they stay in memory.
    pub receipts: Option<Receipts>,
    /// The reporting database, if there is one.
    pub reporting: Option<ReportingUrl>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Bounds of the edge.
    pub bounds: Bounds,
    /// When snapshots are taken.
    pub snapshot_policy: SnapshotPolicy,
    /// Called when the shards run, before the first peer is let in.
    pub before_peers: BeforePeers,
    /// How recovery is shown.
    pub progress: Box<dyn Fn(Progress) + Send + Sync>,
    /// Called when the disk fails; the default ends the process.
    pub on_failure: Arc<dyn Fn(&Failure) + Send + Sync>,
}

impl Settings {
    /// A gate without listeners, tariffs and receipts: for measurements.
    pub fn bare(data: Data) -> Settings {
        Settings {
            data,
            shards: 1,
            policy: session::Policy::default(),
            tariff_resolver: Box::new(super::NoTariffs),
            chargers: None,
            processors: None,
            ocpp: Vec::new(),
            may_speak_for: Arc::new(|_, _| true),
            chargers_per_site_max: usize::MAX,
            mac_of: Box::new(|_| None),
            rules: Vec::new(),
            no_holds: Vec::new(),
            fingerprint_key: b"bare".to_vec(),
            keys: Keyring::fixed([0x77; 32]),
            receipt_base: String::new(),
            receipts: None,
            reporting: None,
            clock: Arc::new(crate::host::SystemClock::new()),
            bounds: Bounds::default(),
            snapshot_policy: SnapshotPolicy::default(),
            before_peers: Box::new(|_| ()),
            progress: Box::new(|_| ()),
            on_failure: Arc::new(super::end_process),
        }
    }
}

/// Number of threads that run partitions: `wanted`, or one per core; never more than partitions.
pub fn shards_of(wanted: u16, partitions: u16) -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let shards = if wanted == 0 { u16::try_from(cores).unwrap_or(u16::MAX) } else { wanted };
    shards.clamp(1, partitions.max(1))
}

/// Prepares the gate through its actors.
pub type BeforePeers = Box<dyn FnOnce(&Arc<Directory>)>;

/// Returns the key of a processor's MAC.
pub type MacOf = Box<dyn Fn(&ProcessorId) -> Option<MacKey> + Send + Sync>;

/// A listener for chargers that speak OCPP. Their connections count among those of the listener for chargers, if there is one.
pub struct OcppListener {
    /// Where; port 0 means any.
    pub address: SocketAddr,
    /// Without it, nothing is encrypted (security profiles 0 and 1).
    pub tls: Option<Arc<Tls>>,
    /// Which chargers are let in.
    pub admission: OcppAdmission,
    /// Most connections at once, where there is no listener for other chargers.
    pub connections_max: usize,
    /// The most power of a connector.
    pub power_max: Power,
    /// The management system behind the gate.
    pub behind: Option<Arc<Behind>>,
}

/// A listener.
pub struct ListenerSettings {
    /// Where; port 0 means any.
    pub address: SocketAddr,
    /// Peers that are accepted.
    pub tls: Arc<Tls>,
    /// Most connections at once.
    pub connections_max: usize,
    /// Most connections at once of one peer.
    pub each_max: usize,
}
