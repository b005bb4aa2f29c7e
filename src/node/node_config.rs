//! State that all shards share: the operator's policy, tariffs, connected processors.

use super::credential_links::CredentialLinks;
use super::offline_authorizations::OfflineAuthorizations;
use super::shard::Shard;
use crate::billing::invoice::{SeriesFamily, SeriesKind};
use crate::message::Code;
use crate::payment::breaker::Breakers;
use crate::payment::routing::{Listed, NoRoute, Registry, Wanted};
use crate::payment::vault::{Keyring, is_sealed};
use crate::payment::{Credential, CredentialKind, HoldCapabilities, Operation, Request, Shown};
use crate::session::{Policy, Route, Router};
use crate::tariff::Tariff;
use crate::units::{
    AccountId, Amount, ChargerId, ConnectorId, Currency, Fingerprint, PartitionId, ProcessorId, SessionId, SiteId,
    Timestamp,
};
use arc_swap::ArcSwap;
use jiff::tz::TimeZone;
use ring::hmac;
use std::borrow::Cow;
use std::sync::Arc;

/// The shared state.
pub struct NodeConfig {
    /// Partitions of the data directory.
    pub partitions: u16,
    /// Shards that run them.
    pub shards: u16,
    /// How sessions are dealt with.
    pub policy: Arc<Policy>,
    /// Which tariff applies where; exchanged as a whole when tariffs are reloaded.
    pub tariff_resolver: ArcSwap<Box<dyn TariffResolver>>,
    /// Processors with their capabilities; replaced as a whole when one connects or disconnects, drains, or stops
    /// answering.
    pub routes: ArcSwap<Routes>,
    /// Sessions that get energy on our own risk.
    pub offline_authorizations: OfflineAuthorizations,
    /// Randomness, from outside.
    pub random: Box<dyn Fn() -> u64 + Send + Sync>,
    /// The key under which credentials are shown.
    pub fingerprint_key: hmac::Key,
    /// Where receipts can be fetched: an address to which a session's id is appended; empty when nowhere.
    pub receipt_base: String,
    /// How documents are numbered.
    pub series: SeriesNames,
    /// The keys under which tokens are kept.
    pub keys: Keyring,
    /// Which account a credential pays from.
    pub links: CredentialLinks,
}

/// How documents are numbered: `R-2026-EUR-000001`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesNames {
    /// What the names of series of invoices begin with; at most [`SeriesNames::MAX_LEN`] letters and digits.
    pub invoices: Box<str>,
    /// The same of credit notes; another than that of invoices.
    pub credit_notes: Box<str>,
    /// Whether each partition numbers its own documents (`R-2026-07-EUR`), instead of one series for all.
    pub per_partition: bool,
    /// Where the operator's calendar is: a document is of the year in which it is issued there.
    pub zone: TimeZone,
}

impl SeriesNames {
    /// The longest beginning, so that the whole name is no longer than a series' name may be.
    pub const MAX_LEN: usize = SeriesFamily::PREFIX_MAX_LEN;

    /// The family that numbers such documents of a partition.
    pub fn family(&self, kind: SeriesKind, currency: Currency, partition: PartitionId) -> SeriesFamily {
        let prefix = match kind {
            SeriesKind::Invoice => &self.invoices,
            SeriesKind::CreditNote => &self.credit_notes,
        };
        SeriesFamily::new(prefix, self.per_partition.then_some(partition), kind, currency)
    }

    /// The operator's year at this moment; that of 1970 for times that no calendar has.
    pub fn year(&self, at: Timestamp) -> i16 {
        at.in_zone(&self.zone).map_or(1970, |local| local.year())
    }
}

impl Default for SeriesNames {
    fn default() -> SeriesNames {
        SeriesNames { invoices: "R".into(), credit_notes: "C".into(), per_partition: false, zone: TimeZone::UTC }
    }
}

/// Finds the tariff for a place.
pub trait TariffResolver: Send + Sync {
    /// The tariff and time zone of a connector for a session that begins at `at`.
    ///
    /// # Errors
    /// The code of the refusal: there is no tariff, which is never a price of zero.
    fn place(&self, charger: &ChargerId, connector: ConnectorId, at: Timestamp) -> Result<TariffAssignment, Code>;

    /// The site of a charger, where it has one.
    fn site(&self, _charger: &ChargerId) -> Option<SiteId> {
        None
    }
}

/// What applies at a connector.
pub struct TariffAssignment {
    /// The tariff.
    pub tariff: Arc<Tariff>,
    /// The time zone.
    pub zone: TimeZone,
    /// Its IANA name.
    pub zone_name: Box<str>,
}

/// Processors, the rules for their selection, and the breakers.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// Processors that ever connected, and the rules.
    pub registry: Registry,
    /// Their circuit breakers.
    pub breakers: Breakers,
}

impl NodeConfig {
    /// The shard that runs a partition; none when there is no such partition.
    pub fn shard_of(&self, partition: PartitionId) -> Option<u16> {
        (partition.0 < self.partitions).then(|| Shard::of(partition, self.shards))
    }

    /// The tariff and time zone of a connector.
    ///
    /// # Errors
    /// The code of the refusal.
    pub fn place(&self, charger: &ChargerId, connector: ConnectorId, at: Timestamp) -> Result<TariffAssignment, Code> {
        self.tariff_resolver.load().place(charger, connector, at)
    }

    /// The refusal of a credential that must not enter: a possible card number, or one that looks like a sealed
    /// token.
    pub fn refuses(&self, credential: &Credential) -> Option<Code> {
        if is_sealed(&credential.token) {
            return Some(Code::CredentialDeclined);
        }
        credential.has_card_number().then_some(Code::CardNumber)
    }

    /// The credential, sealed for a session, as it is stored.
    pub fn seal(&self, session: SessionId, credential: Credential) -> Credential {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&(self.random)().to_be_bytes());
        nonce[8..].copy_from_slice(&(self.random)().to_be_bytes()[4..]);
        self.keys.vault().seal(session, credential, nonce)
    }

    /// The operation as it leaves: with the clear token, if it has one. Nothing when that cannot be opened.
    pub fn unseal(&self, mut operation: Operation) -> Option<Operation> {
        let session = operation.id.session();
        if let Request::Authorize { credential, .. } = &mut operation.request {
            match self.keys.vault().open_for(session, credential) {
                Ok(Cow::Borrowed(_)) => {}
                Ok(Cow::Owned(clear)) => *credential = clear,
                Err(error) => {
                    tracing::error!(operation = %operation.id, %error, "an authorization cannot be sent");
                    return None;
                }
            }
        }
        Some(operation)
    }

    /// By what a credential is recognised. RFID UIDs and contracts are the same whatever their letters and separators.
    pub fn mark(&self, credential: &Credential) -> Fingerprint {
        let clear = self.keys.vault();
        let clear = clear.open(credential).unwrap_or(Cow::Borrowed(credential));
        let tag = match clear.kind {
            CredentialKind::CardToken | CredentialKind::WalletToken => hmac::sign(&self.fingerprint_key, &clear.token),
            CredentialKind::EvAccount | CredentialKind::Rfid => {
                let told = clear.token.iter().filter(|byte| !b" :-*".contains(byte));
                let plain: Vec<u8> = told.map(u8::to_ascii_uppercase).collect();
                hmac::sign(&self.fingerprint_key, &plain)
            }
        };
        Fingerprint(*tag.as_ref().first_chunk().expect("HMAC-SHA-256 has 32 bytes"))
    }

    /// Publishes a processor's state for routing.
    pub fn list(&self, id: &ProcessorId, listed: &Listed) {
        self.routes.rcu(|before| {
            let mut after = Routes::clone(before);
            after.registry.processors.insert(id.clone(), listed.clone());
            after
        });
    }

    /// Publishes a processor's breakers.
    pub fn judge(&self, id: &ProcessorId, breakers: &Breakers) {
        self.routes.rcu(|before| {
            let mut after = Routes::clone(before);
            after.breakers.adopt(id, breakers);
            after
        });
    }

    /// The account that an operation is for, when it is not for an outside processor.
    pub fn account_of(operation: &Operation) -> Option<AccountId> {
        crate::account::account_of(&operation.processor)
    }

    /// The printable form of a credential: its kind, and a keyed fingerprint that does not reveal the token.
    pub fn fingerprint(&self, credential: &Credential) -> Box<str> {
        Shown::new(credential.kind, self.mark(credential)).to_string().into()
    }

    /// Where a session's receipt can be fetched.
    pub fn receipt_url(&self, session: SessionId) -> Box<str> {
        match self.receipt_base.as_str() {
            "" => Box::default(),
            base => format!("{base}{session}").into(),
        }
    }
}

impl Router for NodeConfig {
    fn route(
        &self,
        charger: &ChargerId,
        (credential, fingerprint): (&Credential, &str),
        amount: Amount,
        except: &[ProcessorId],
    ) -> Result<Route, NoRoute> {
        let vault = self.keys.vault();
        let credential = &*vault.open(credential).map_err(|_| NoRoute::NotTaken)?;
        if let Some(linked) = self.links.find(self.mark(credential)) {
            let route = crate::account::account_processor(&linked).map(to_account);
            return route.filter(|route| !except.contains(&route.processor)).ok_or(NoRoute::NotTaken);
        }
        let site = self.tariff_resolver.load().site(charger);
        let wanted =
            Wanted { credential: credential.kind, amount, site: site.as_ref(), except, token: &credential.token };
        let routes = self.routes.load();
        let Routes { registry, breakers } = &**routes;
        let (processor, stand_in) = match registry.route(wanted, breakers, (self.random)()) {
            Ok(processor) => (processor, false),
            Err(reason) if reason.is_outage() && self.stands_in_for(fingerprint, amount.currency) => {
                (registry.absent(wanted, breakers).ok_or(reason)?, true)
            }
            Err(reason) => return Err(without_account(credential.kind, reason)),
        };
        let listed = registry.processors.get(processor).ok_or(NoRoute::NeverSeen)?;
        let capabilities = HoldCapabilities::of(&listed.capabilities);
        Ok(Route { processor: processor.clone(), capabilities, stand_in })
    }
}

impl NodeConfig {
    /// Whether energy may be given to this credential on our own risk: by policy, once at a time, and within what may be
    /// at stake in all.
    fn stands_in_for(&self, fingerprint: &str, currency: Currency) -> bool {
        let policy = self.policy.of_currency(currency);
        let floor = Amount::new(policy.payment.floor_limit_minor, currency);
        policy.stand_in
            && floor.minor > 0
            && self.offline_authorizations.allows(fingerprint, floor, policy.stand_in_exposure_minor)
    }
}

/// The code for a request without a route.
pub fn code_of(reason: NoRoute) -> Code {
    match reason {
        NoRoute::NoRule | NoRoute::NotTaken | NoRoute::HoldIsPurchase | NoRoute::NotLinked => {
            Code::CredentialNotAccepted
        }
        NoRoute::OtherCurrency => Code::OtherCurrency,
        NoRoute::Busy => Code::Busy,
        NoRoute::AllAsked | NoRoute::NeverSeen | NoRoute::Draining | NoRoute::NotConnected | NoRoute::NotAnswering => {
            Code::NoProcessor
        }
    }
}

/// The reason for a credential that is linked to no account. Cards and contracts of drivers are for accounts before
/// all: where no processor takes them, the missing link is what an operator has to mend.
fn without_account(kind: CredentialKind, reason: NoRoute) -> NoRoute {
    let untaken = matches!(reason, NoRoute::NoRule | NoRoute::NeverSeen | NoRoute::NotTaken);
    match kind {
        CredentialKind::EvAccount | CredentialKind::Rfid if untaken => NoRoute::NotLinked,
        CredentialKind::EvAccount | CredentialKind::Rfid | CredentialKind::CardToken | CredentialKind::WalletToken => {
            reason
        }
    }
}

fn to_account(processor: ProcessorId) -> Route {
    let capabilities = HoldCapabilities::of(&crate::account::capabilities(Vec::new()));
    Route { processor, capabilities, stand_in: false }
}
