//! What all shards share and none of them changes: the rules of the house, the tariffs, the processors that are there.

use crate::payment::{Credential, CredentialKind, HoldCapabilities, Operation};
use crate::session::{Policy, Route};
use crate::tariff::Tariff;
use crate::units::{AccountId, ChargerId, ConnectorId, Currency, ProcessorId, SessionId, Timestamp};
use crate::wire::Code;
use arc_swap::ArcSwap;
use jiff::tz::TimeZone;
use ring::hmac;
use std::sync::Arc;

/// The house.
pub struct House {
    /// Partitions of the data directory.
    pub partitions: u16,
    /// Shards that run them.
    pub shards: u16,
    /// How sessions are dealt with.
    pub policy: Arc<Policy>,
    /// Which tariff applies where; exchanged as a whole when tariffs are reloaded.
    pub places: ArcSwap<Box<dyn Places>>,
    /// Which processors can be asked; exchanged as a whole when one comes or goes.
    pub roster: ArcSwap<Roster>,
    /// Randomness, from outside.
    pub dice: Box<dyn Fn() -> u64 + Send + Sync>,
    /// The key under which credentials are shown.
    pub fingerprint_key: hmac::Key,
    /// Where receipts can be fetched: an address to which a session's id is appended; empty when nowhere.
    pub receipt_base: String,
    /// What the names of invoice series begin with.
    pub series: SeriesNames,
}

/// What the names of invoice series begin with. The year, the partition and the currency follow: `R-2026-07-EUR`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesNames {
    /// Of invoices; at most [`SeriesNames::MAX_LEN`] letters and digits.
    pub invoices: Box<str>,
    /// Of credit notes; another than that of invoices.
    pub credit_notes: Box<str>,
}

impl SeriesNames {
    /// The longest beginning, so that the whole name is no longer than a series' name may be.
    pub const MAX_LEN: usize = 8;
}

impl Default for SeriesNames {
    fn default() -> SeriesNames {
        SeriesNames { invoices: "R".into(), credit_notes: "C".into() }
    }
}

/// Tells which tariff applies where.
pub trait Places: Send + Sync {
    /// The tariff and time zone of a connector for a session that begins at `at`.
    ///
    /// # Errors
    /// The code of the refusal: there is no tariff, which is never a price of zero.
    fn place(&self, charger: &ChargerId, connector: ConnectorId, at: Timestamp) -> Result<Place, Code>;
}

/// What applies at a connector.
pub struct Place {
    /// The tariff.
    pub tariff: Arc<Tariff>,
    /// The time zone.
    pub zone: TimeZone,
    /// Its IANA name.
    pub zone_name: Box<str>,
}

/// The processors that can be asked now, in the order in which they are to be asked.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    /// Processors that are connected.
    pub processors: Vec<Listed>,
}

/// A processor that is connected.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its id.
    pub id: ProcessorId,
    /// Kinds of credentials that it takes.
    pub credentials: Vec<CredentialKind>,
    /// Currencies that it takes.
    pub currencies: Vec<Currency>,
    /// What else it can do.
    pub capabilities: HoldCapabilities,
    /// Its share of the sessions among those that could take them.
    pub weight: u32,
}

/// What the id of an account as a processor begins with; no certificate may name such a processor.
pub const ACCOUNT_PREFIX: &str = "account:";

impl House {
    /// The tariff and time zone of a connector.
    pub fn place(&self, charger: &ChargerId, connector: ConnectorId, at: Timestamp) -> Result<Place, Code> {
        self.places.load().place(charger, connector, at)
    }

    /// Where the funds for a credential are to be held.
    pub fn route(&self, credential: &Credential, currency: Currency) -> Result<Route, Code> {
        match credential.kind {
            CredentialKind::EvAccount | CredentialKind::Rfid => account_route(credential),
            CredentialKind::CardToken | CredentialKind::WalletToken => self.processor_route(credential, currency),
        }
    }

    fn processor_route(&self, credential: &Credential, currency: Currency) -> Result<Route, Code> {
        let roster = self.roster.load();
        let fits =
            |listed: &&Listed| listed.credentials.contains(&credential.kind) && listed.currencies.contains(&currency);
        let total: u64 = roster.processors.iter().filter(fits).map(|listed| u64::from(listed.weight)).sum();
        if total == 0 {
            return Err(Code::NoProcessor);
        }
        let mut thrown = (self.dice)() % total;
        for listed in roster.processors.iter().filter(fits) {
            match thrown.checked_sub(u64::from(listed.weight)) {
                Some(rest) => thrown = rest,
                None => return Ok(Route { processor: listed.id.clone(), capabilities: listed.capabilities }),
            }
        }
        Err(Code::NoProcessor)
    }

    /// Lists a processor for new sessions, or (with `None`) no longer.
    pub fn list(&self, id: &ProcessorId, listed: Option<&Listed>) {
        self.roster.rcu(|before| {
            let mut after = Roster::clone(before);
            after.processors.retain(|other| other.id != *id);
            after.processors.extend(listed.cloned());
            after.processors.sort_by(|a, b| a.id.cmp(&b.id));
            after
        });
    }

    /// The account that an operation is for, when it is not for an outside processor.
    pub fn account_of(operation: &Operation) -> Option<AccountId> {
        account_of(&operation.processor)
    }

    /// How a credential is shown: the kind, and a keyed fingerprint from which the token cannot be told.
    pub fn fingerprint(&self, credential: &Credential) -> Box<str> {
        let tag = hmac::sign(&self.fingerprint_key, &credential.token);
        let kind = match credential.kind {
            CredentialKind::CardToken => "card",
            CredentialKind::WalletToken => "wallet",
            CredentialKind::EvAccount => "account",
            CredentialKind::Rfid => "rfid",
        };
        let shown = tag.as_ref().get(..8).map(hex::encode).unwrap_or_default();
        format!("{kind}:{shown}").into()
    }

    /// Where a session's receipt can be fetched.
    pub fn receipt_url(&self, session: SessionId) -> Box<str> {
        match self.receipt_base.as_str() {
            "" => Box::default(),
            base => format!("{base}{session}").into(),
        }
    }
}

/// The account that a processor's id stands for.
pub fn account_of(processor: &ProcessorId) -> Option<AccountId> {
    AccountId::new(processor.as_str().strip_prefix(ACCOUNT_PREFIX)?).ok()
}

/// The account as the processor of its own funds.
pub fn account_processor(account: &AccountId) -> Option<ProcessorId> {
    ProcessorId::new(&format!("{ACCOUNT_PREFIX}{account}")).ok()
}

fn account_route(credential: &Credential) -> Result<Route, Code> {
    let named = std::str::from_utf8(&credential.token).ok().and_then(|text| AccountId::new(text).ok());
    let processor = named.as_ref().and_then(account_processor).ok_or(Code::CredentialDeclined)?;
    let capabilities = HoldCapabilities::of(&crate::account::capabilities(Vec::new()));
    Ok(Route { processor, capabilities })
}
