//! Which tariff applies where.

use crate::message::Code;
use crate::node::tariff_assignment::{ListedTariff, TariffAssignment, TariffResolver};
use crate::tariff::Tariff;
use crate::units::{ChargerId, ConnectorId, Timestamp};
use jiff::tz::TimeZone;
use std::sync::Arc;

/// No tariff anywhere: every start is refused.
pub struct NoTariffs;

impl TariffResolver for NoTariffs {
    fn place(&self, _: &ChargerId, _: ConnectorId, _: Timestamp) -> Result<TariffAssignment, Code> {
        Err(Code::NoTariff)
    }
}

/// Tariffs by the beginning of a charger's id; the longest that fits counts.
pub struct Assigned {
    rules: Vec<(String, Arc<Tariff>)>,
    zone: TimeZone,
    zone_name: Box<str>,
}

impl Assigned {
    /// One tariff for every charger, in one time zone.
    ///
    /// # Errors
    /// There is no such time zone.
    pub fn everywhere(tariff: Tariff, zone_name: &str) -> Result<Assigned, jiff::Error> {
        Assigned::by_prefix(vec![(String::new(), Arc::new(tariff))], zone_name)
    }

    /// Tariffs by the beginning of a charger's id, in one time zone.
    ///
    /// # Errors
    /// There is no such time zone.
    pub fn by_prefix(rules: Vec<(String, Arc<Tariff>)>, zone_name: &str) -> Result<Assigned, jiff::Error> {
        Ok(Assigned { rules, zone: TimeZone::get(zone_name)?, zone_name: zone_name.into() })
    }
}

impl TariffResolver for Assigned {
    fn place(&self, charger: &ChargerId, _: ConnectorId, at: Timestamp) -> Result<TariffAssignment, Code> {
        let fits = |(prefix, tariff): &&(String, Arc<Tariff>)| {
            charger.as_str().starts_with(prefix.as_str()) && tariff.valid_at(at)
        };
        let longest = self.rules.iter().filter(fits).max_by_key(|(prefix, _)| prefix.len());
        let (_, tariff) = longest.ok_or(Code::NoTariff)?;
        Ok(TariffAssignment { tariff: tariff.clone(), zone: self.zone.clone(), zone_name: self.zone_name.clone() })
    }

    fn listed(&self) -> Vec<ListedTariff> {
        let rules = self.rules.iter().map(|(prefix, tariff)| ListedTariff {
            tariff: tariff.clone(),
            chargers: vec![format!("{prefix}*")],
            zone_name: self.zone_name.clone(),
        });
        rules.collect()
    }
}
