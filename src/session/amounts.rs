//! The amounts of a policy, each in its currency.
//!
//! A session is held to the amounts of its tariff's currency. A currency without amounts of its own takes them from the
//! tariff: 45 of one currency is a fair first hold, of another it would not pay for the first minute.

use super::Policy;
use crate::tariff::Tariff;
use crate::units::{Amount, Currency, Power, TariffHash, TimeSpan};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The operator's settings for one currency, in its minor units. Settings left out follow from the first hold, or
/// from the tariff; without a floor limit no energy is given before an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stated {
    /// The currency.
    pub currency: Currency,
    /// Funds requested when the tariff names no preauthorization amount.
    pub first_hold_minor: Option<i64>,
    /// Most that may be reserved for one session.
    pub total_max_minor: Option<i64>,
    /// A partial approval of less is released at once.
    pub partial_min_minor: Option<i64>,
    /// Most energy, in money, that may be given before an answer.
    pub floor_limit_minor: Option<i64>,
    /// Most that is at stake in all stand-ins together.
    pub stand_in_exposure_minor: Option<i64>,
}

impl Stated {
    /// The built-in settings.
    pub const fn built_in() -> Stated {
        Stated {
            currency: Currency::EUR,
            first_hold_minor: Some(4_500),
            total_max_minor: Some(100_000),
            partial_min_minor: Some(200),
            floor_limit_minor: Some(2_000),
            stand_in_exposure_minor: Some(100_000),
        }
    }

    /// No settings, in a currency.
    pub const fn nothing(currency: Currency) -> Stated {
        Stated {
            currency,
            first_hold_minor: None,
            total_max_minor: None,
            partial_min_minor: None,
            floor_limit_minor: None,
            stand_in_exposure_minor: None,
        }
    }
}

/// A first hold that follows from a tariff pays for an hour and twelve minutes at 50 kW, which is 60 kWh.
const FIRST_HOLD_POWER: Power = Power::from_milliwatts(50_000_000);
const FIRST_HOLD_SPAN: TimeSpan = TimeSpan::from_secs(72 * 60);
/// As with the built-in amounts: 1,000 EUR at most for a first hold of 45 EUR, and 2 EUR of it at least.
const FIRST_HOLDS_AT_MOST: i64 = 22;
const PARTS_AT_LEAST: i64 = 22;

/// Policies that were derived before; most gates have one currency and derive none.
#[derive(Default)]
pub struct Found(Mutex<BTreeMap<Key, Arc<Policy>>>);

/// A currency, and the tariff that its amounts follow from.
type Key = (Currency, Option<TariffHash>);

/// Most derived policies that are kept: beyond, all are derived again.
const FOUND_MAX: usize = 1_024;

impl Clone for Found {
    /// Derived policies are derived again on demand.
    fn clone(&self) -> Found {
        Found::default()
    }
}

impl PartialEq for Found {
    /// Derived policies are a cache and no part of a policy.
    fn eq(&self, _: &Found) -> bool {
        true
    }
}

impl Eq for Found {}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Found(..)")
    }
}

impl Policy {
    /// The policy with the amounts that hold for sessions of this tariff.
    pub fn of_tariff(self: &Arc<Policy>, tariff: &Tariff) -> Arc<Policy> {
        if tariff.currency() == self.currency {
            Arc::clone(self)
        } else {
            self.found((tariff.currency(), Some(tariff.hash())), Some(tariff))
        }
    }

    /// The policy with the amounts of a currency, for money without a tariff (a top-up). What is not stated does not bound,
    /// and no energy is given before an answer.
    pub fn of_currency(self: &Arc<Policy>, currency: Currency) -> Arc<Policy> {
        if currency == self.currency { Arc::clone(self) } else { self.found((currency, None), None) }
    }

    /// The policy with the settings for each currency; the first is the operator's main currency, and has a first
    /// hold.
    pub fn with_amounts(mut self, stated: Vec<Stated>) -> Policy {
        let node_config = stated.first().map_or(self.currency, |stated| stated.currency);
        self.stated = stated;
        self.in_currency(node_config, None)
    }

    fn found(&self, key: Key, tariff: Option<&Tariff>) -> Arc<Policy> {
        let mut found = self.found.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = found.get(&key) {
            return Arc::clone(known);
        }
        if found.len() >= FOUND_MAX {
            found.clear();
        }
        let policy = Arc::new(self.in_currency(key.0, tariff));
        found.insert(key, Arc::clone(&policy));
        policy
    }

    fn in_currency(&self, currency: Currency, tariff: Option<&Tariff>) -> Policy {
        let stated = self.stated.iter().find(|stated| stated.currency == currency);
        let stated = stated.copied().unwrap_or(Stated::nothing(currency));
        let first_hold = stated.first_hold_minor.or_else(|| tariff.map(hold_of));
        let follows = |minor: Option<i64>| minor.unwrap_or(i64::MAX);
        let mut policy = self.clone();
        policy.currency = currency;
        policy.first_hold_minor = follows(first_hold);
        policy.payment.total_max_minor = stated
            .total_max_minor
            .unwrap_or_else(|| follows(first_hold.map(|minor| minor.saturating_mul(FIRST_HOLDS_AT_MOST))));
        policy.payment.partial_min_minor =
            stated.partial_min_minor.or(first_hold.map(|minor| minor / PARTS_AT_LEAST)).unwrap_or(0);
        policy.payment.floor_limit_minor = stated.floor_limit_minor.unwrap_or(0);
        policy.stand_in_exposure_minor = stated.stand_in_exposure_minor.unwrap_or(0);
        policy
    }
}

/// A first hold for a tariff whose currency has none: its own preauthorization amount, or what a long charge can cost by
/// its dearest prices; one unit of the currency at least.
fn hold_of(tariff: &Tariff) -> i64 {
    // A clone has bounds of its own: those of connectors keep their room in the tariff.
    let dearest = || tariff.clone().cost_ahead_of_any(FIRST_HOLD_POWER, FIRST_HOLD_SPAN)?.ceiling().ok();
    let amount = tariff.preauthorize_amount().or_else(dearest).map_or(0, |amount: Amount| amount.minor);
    amount.max(10_i64.pow(u32::from(tariff.currency().exponent())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tariff(currency: &str, price: &str) -> Tariff {
        let json = format!(
            r#"{{"country_code":"HU","party_id":"TST","id":"T-1","currency":"{currency}","elements":[{{"price_components":
            [{{"type":"ENERGY","price":{price},"vat":27,"step_size":1}}]}}],"last_updated":"2026-01-01T00:00:00Z"}}"#
        );
        Tariff::parse(&json).unwrap().tariff
    }

    #[test]
    fn a_currency_without_amounts_takes_them_from_its_tariff() {
        let node_config = Arc::new(Policy { stand_in: true, ..Policy::default() });
        let forints = node_config.of_tariff(&tariff("HUF", "179.37"));
        // 60 kWh at 179.37 HUF and 27 % of VAT are 13,667.99 HUF.
        assert!((1_366_799..=1_390_000).contains(&forints.first_hold_minor), "{}", forints.first_hold_minor);
        assert!(forints.payment.total_max_minor >= forints.first_hold_minor * 20);
        assert!((50_000..100_000).contains(&forints.payment.partial_min_minor));
        assert_eq!((forints.payment.floor_limit_minor, forints.stand_in_exposure_minor), (0, 0), "no energy unasked");
        for (currency, price) in [("JPY", "60"), ("KWD", "0.12"), ("ISK", "65.00"), ("IDR", "2466")] {
            let tariff = tariff(currency, price);
            let policy = node_config.of_tariff(&tariff);
            let kwh_60 = tariff.components()[0].price() * rust_decimal::Decimal::from(60);
            let hold = Amount::new(policy.first_hold_minor, tariff.currency()).major();
            assert!(hold >= kwh_60 && hold <= kwh_60 * rust_decimal::Decimal::TWO, "{currency}: {hold}");
        }
        assert!(
            Arc::ptr_eq(&node_config, &node_config.of_tariff(&tariff("EUR", "0.50"))),
            "the house's currency costs nothing"
        );
        assert!(
            Arc::ptr_eq(&forints, &node_config.of_tariff(&tariff("HUF", "179.37"))),
            "one policy for all its sessions"
        );
    }

    #[test]
    fn what_is_stated_for_a_currency_holds_there() {
        let huf = "HUF".parse().unwrap();
        let stated =
            Stated { first_hold_minor: Some(1_800_000), floor_limit_minor: Some(500_000), ..Stated::nothing(huf) };
        let node_config = Arc::new(Policy { stated: vec![stated], ..Policy::default() });
        let forints = node_config.of_tariff(&tariff("HUF", "179.37"));
        assert_eq!((forints.first_hold_minor, forints.payment.floor_limit_minor), (1_800_000, 500_000));
        assert_eq!(forints.payment.total_max_minor, 1_800_000 * FIRST_HOLDS_AT_MOST);
        assert_eq!(node_config.of_currency(huf).first_hold_minor, 1_800_000);
        assert_eq!(node_config.of_currency("JPY".parse().unwrap()).payment.total_max_minor, i64::MAX);
        assert_eq!(node_config.of_currency(Currency::EUR).payment.total_max_minor, 100_000);
    }
}
