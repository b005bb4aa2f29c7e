//! State that survives the gate's process in a simulated world: tariffs, rules, snapshots, the archive, and the
//! random numbers of ids.

use crate::accounting::archive_record::Billing;
use crate::billing::{Issuer, SigningKey};
use crate::journal::{Archive, Sequences, Snapshots};
use crate::message::Code;
use crate::node::credential_links::LocalCredentialLinks;
use crate::node::credentials::Credentials;
use crate::node::node_config::NodeConfig;
use crate::node::numbering::SeriesNames;
use crate::node::offline_authorizations::LocalOfflineAuthorizations;
use crate::node::routing::LocalProcessorRegistry;
use crate::node::snapshot_policy::SnapshotPolicy;
use crate::node::tariff_assignment::TariffAssignments;
use crate::node::tariff_assignment::{TariffAssignment, TariffResolver};
use crate::payment::vault::Keyring;
use crate::session::Policy;
use crate::tariff::Tariff;
use crate::units::rng::Rng;
use crate::units::{ChargerId, ConnectorId, Now, PartitionId, Timestamp};
use jiff::tz::TimeZone;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Partitions of the id space.
pub(super) const PARTITIONS: u16 = 8;
/// Shards that run them.
pub(super) const SHARDS: u16 = 2;

/// Three prices: by the time of day with a fee, flat, and with an amount of its own to reserve.
const TARIFFS: [&str; 3] = [
    r#"{"country_code": "NL", "party_id": "WST", "id": "DAY-NIGHT", "currency": "EUR",
        "elements": [
          {"price_components": [{"type": "ENERGY", "price": 0.31, "vat": 21.0, "step_size": 1}],
           "restrictions": {"start_time": "23:00", "end_time": "06:00"}},
          {"price_components": [{"type": "FLAT", "price": 0.50, "vat": 21.0, "step_size": 1},
                                {"type": "ENERGY", "price": 0.42, "vat": 21.0, "step_size": 1},
                                {"type": "PARKING_TIME", "price": 3.00, "vat": 21.0, "step_size": 60}]}],
        "last_updated": "2026-01-01T00:00:00Z"}"#,
    r#"{"country_code": "NL", "party_id": "WST", "id": "FLAT", "currency": "EUR",
        "elements": [{"price_components": [{"type": "ENERGY", "price": 0.29, "vat": 21.0, "step_size": 1}]}],
        "last_updated": "2026-01-01T00:00:00Z"}"#,
    r#"{"country_code": "NL", "party_id": "SUN", "id": "SMALL-HOLD", "currency": "EUR", "preauthorize_amount": 8.00,
        "elements": [{"price_components": [{"type": "ENERGY", "price": 0.55, "vat": 9.0, "step_size": 1}]}],
        "last_updated": "2026-01-01T00:00:00Z"}"#,
];

/// An Ed25519 key in PKCS#8 (RFC 5958) whose secret is public: it signs receipts of worlds that do not exist.
const KEY: &str = "302e020100300506032b657004220420";

/// What outlives the process.
pub(super) struct DurableState {
    pub policy: Arc<Policy>,
    pub snapshots: Arc<Snapshots>,
    pub archive: Arc<Archive>,
    pub billing: Arc<Billing>,
    /// When snapshots are taken, and how long the log may be.
    pub snapshot_policy: SnapshotPolicy,
    /// Where the gate's measure of waits begins. Only differences count, so that it is the same in every run.
    origin: Instant,
    /// Up to which record of each partition the log may be trimmed.
    trimmed: Mutex<Vec<u64>>,
    tariff_resolver: Arc<Tariffs>,
    rng: Arc<Mutex<Rng>>,
    /// Whether mailboxes are full now and then, and questions and answers about numbers of documents are lost.
    pub loses: bool,
}

/// Which tariff applies where: by the charger's name.
struct Tariffs {
    tariffs: Vec<Arc<Tariff>>,
    zone: TimeZone,
}

impl TariffResolver for Arc<Tariffs> {
    fn place(&self, charger: &ChargerId, _: ConnectorId, _: Timestamp) -> Result<TariffAssignment, Code> {
        let count = u16::try_from(self.tariffs.len()).unwrap_or(u16::MAX);
        let which = usize::from(PartitionId::of(charger.as_str(), count.max(1)).0);
        let tariff = self.tariffs.get(which).cloned().ok_or(Code::NoTariff)?;
        Ok(TariffAssignment { tariff, zone: self.zone.clone(), zone_name: ZONE.into() })
    }
}

/// How often all partitions have their snapshots.
const SNAPSHOTS_EVERY: Duration = Duration::from_secs(600);

/// Bytes that the log may take where anything may go wrong: often so few that it is full now and then.
const LOG_BYTES: [u64; 4] = [12 << 10, 96 << 10, 512 << 10, 512 << 20];

const ZONE: &str = "Europe/Amsterdam";

impl DurableState {
    pub fn new(rng: &mut Rng, loses: bool) -> DurableState {
        let parse = |text: &&str| Arc::new(Tariff::parse(text).expect("a tariff").tariff);
        let zone = TimeZone::get(ZONE).expect("the zone is bundled");
        let mut key = hex::decode(KEY).expect("digits");
        key.extend([7; 32]);
        let key = signing_key(&key);
        let billing =
            Billing { key, issuer: Issuer::default(), receipt_base: String::new(), sites: Default::default() };
        let log_bytes = usize::try_from(rng.below(LOG_BYTES.len() as u64)).unwrap_or(0);
        DurableState {
            policy: Arc::new(Policy { stand_in: rng.chance(5_000), ..Policy::default() }),
            snapshots: Arc::new(Snapshots::in_memory(PARTITIONS)),
            archive: Arc::new(Archive::in_memory()),
            billing: Arc::new(billing),
            snapshot_policy: SnapshotPolicy::log_below(
                if loses { LOG_BYTES[log_bytes] } else { 512 << 20 },
                SNAPSHOTS_EVERY,
            ),
            origin: Instant::now(),
            trimmed: Mutex::new(vec![0; usize::from(PARTITIONS)]),
            tariff_resolver: Arc::new(Tariffs { tariffs: TARIFFS.iter().map(parse).collect(), zone }),
            rng: Arc::new(Mutex::new(Rng::new(rng.bits()))),
            loses,
        }
    }

    /// The gate's measure of waits at a moment of one of its lives.
    pub fn instant(&self, now: Now) -> Instant {
        self.origin + Duration::from_millis(now.mono.0)
    }

    /// The log is trimmed below these records.
    pub fn trimmed(&self, reach: &Sequences) {
        let mut trimmed = self.trimmed.lock().expect("one thread runs a world");
        for (partition, last) in reach.iter() {
            let below = &mut trimmed[usize::from(partition.0)];
            *below = last.0.max(*below);
        }
    }

    /// Changes a bit of a partition's newest snapshot, where the one before it and the log can stand in: a log that has little
    /// room is trimmed up to the newest ones. Says whether it did.
    pub fn rot_snapshot(&self, partition: PartitionId, bit: u64) -> bool {
        let trimmed = self.trimmed.lock().expect("one thread runs a world")[usize::from(partition.0)];
        self.snapshots.reach().last(partition).0 >= trimmed && self.snapshots.flip_bit(partition, bit)
    }

    /// The configuration of one life of the gate. Its random numbers go on where the life before left them.
    pub fn node_config(&self) -> NodeConfig {
        let rng = self.rng.clone();
        let tariff_resolver: Box<dyn TariffResolver> = Box::new(self.tariff_resolver.clone());
        NodeConfig {
            partitions: PARTITIONS,
            shards: SHARDS,
            policy: self.policy.clone(),
            tariffs: TariffAssignments::new(tariff_resolver),
            routing: Box::new(LocalProcessorRegistry::default()),
            offline_authorizations: Box::new(LocalOfflineAuthorizations::default()),
            random: Box::new(move || rng.lock().expect("one thread runs a world").bits()),
            credentials: Credentials::new(
                b"a world that does not exist",
                Keyring::fixed([7; 32]),
                Box::new(LocalCredentialLinks::default()),
            ),
            receipt_base: String::new(),
            series: SeriesNames::default(),
        }
    }
}

fn signing_key(der: &[u8]) -> SigningKey {
    SigningKey::from_pkcs8(der).expect("a key")
}
