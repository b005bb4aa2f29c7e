//! Which tariff applies where.

use crate::message::Code;
use crate::tariff::Tariff;
use crate::units::{ChargerId, ConnectorId, SiteId, Timestamp};
use arc_swap::ArcSwap;
use jiff::tz::TimeZone;
use std::sync::Arc;

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

    /// Every tariff, with the chargers that it is assigned to.
    fn listed(&self) -> Vec<ListedTariff> {
        Vec::new()
    }
}

/// A tariff and where it is assigned.
#[derive(Clone, Debug)]
pub struct ListedTariff {
    /// The tariff.
    pub tariff: Arc<Tariff>,
    /// Patterns of chargers' ids; empty: it is assigned to none.
    pub chargers: Vec<String>,
    /// The time zone in which its hours are shown, as an IANA name.
    pub zone_name: Box<str>,
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

/// The resolver in force; exchanged as a whole when tariffs are reloaded.
pub struct TariffAssignments(ArcSwap<Box<dyn TariffResolver>>);

impl TariffAssignments {
    /// With this resolver.
    pub fn new(resolver: Box<dyn TariffResolver>) -> TariffAssignments {
        TariffAssignments(ArcSwap::from_pointee(resolver))
    }

    /// Puts another resolver in force, for the sessions that begin from now on.
    pub fn replace(&self, resolver: Box<dyn TariffResolver>) {
        self.0.store(Arc::new(resolver));
    }

    /// The tariff and time zone of a connector for a session that begins at `at`.
    ///
    /// # Errors
    /// The code of the refusal: there is no tariff, which is never a price of zero.
    pub fn place(&self, charger: &ChargerId, connector: ConnectorId, at: Timestamp) -> Result<TariffAssignment, Code> {
        self.0.load().place(charger, connector, at)
    }

    /// The site of a charger, where it has one.
    pub fn site(&self, charger: &ChargerId) -> Option<SiteId> {
        self.0.load().site(charger)
    }

    /// Every tariff, with the chargers that it is assigned to.
    pub fn listed(&self) -> Vec<ListedTariff> {
        self.0.load().listed()
    }
}
