//! Tariffs in force: where they are assigned, what they say, what an hour of the week costs, and what a session would.

use super::refused::Refused;
use super::views::Views;
use crate::limits::TARIFF_SESSION_MAX;
use crate::node::tariff_assignment::ListedTariff;
use crate::tariff::{PriceReport, Profiles, RecordedSession, Tariff, TaxIncluded, lint, zone_named};
use crate::units::shape::described;
use crate::units::{Energy, TimeSpan, Timestamp};
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

described! {
/// One tariff in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TariffRow {
    /// Its id.
    pub id: String,
    /// SHA-256 of its text.
    pub sha256: String,
    /// The currency.
    pub currency: String,
    /// Its price in one line for each kind.
    pub price: String,
    /// Patterns of the ids of chargers that it is assigned to; none: it is assigned to no charger.
    pub chargers: Vec<String>,
    /// The time zone of its hours.
    pub zone: String,
    /// Whether it is valid now.
    pub valid: bool,
}
}

described! {
/// One tariff in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TariffSheet {
    /// `wattstile.tariff/1`
    pub schema: String,
    /// What a list shows.
    #[serde(flatten)]
    pub row: TariffRow,
    /// Whether its prices contain VAT.
    pub prices_include_vat: bool,
    /// What it charges, in sentences.
    pub text: Vec<String>,
    /// What is remarkable in its text.
    pub findings: Vec<TariffFinding>,
    /// The price of energy in each hour of a week.
    pub week: Vec<TariffHour>,
    /// Its text.
    pub source: String,
}
}

described! {
/// Something remarkable in the text of a tariff.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TariffFinding {
    /// How serious it is.
    pub severity: String,
    /// A stable name.
    pub code: String,
    /// The field.
    pub path: String,
    /// Its line.
    pub line: u32,
    /// The finding in words.
    pub message: String,
    /// Advice.
    pub help: Option<String>,
}
}

described! {
/// An hour of the week, and what a kWh costs in a session that begins with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TariffHour {
    /// 0 is Monday.
    pub day: u8,
    /// From 0 to 23.
    pub hour: u8,
    /// As the tariff states it; none: energy has no price then.
    pub price: Option<Decimal>,
}
}

described! {
/// What a session would cost. Money in major units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TariffPrice {
    /// `wattstile.tariff-price/1`
    pub schema: String,
    /// The tariff.
    pub tariff: String,
    /// The currency.
    pub currency: String,
    /// What is priced, in order.
    pub lines: Vec<TariffPriceLine>,
    /// The exact cost without VAT.
    pub net: Option<Decimal>,
    /// The exact cost with VAT.
    pub gross: Option<Decimal>,
    /// What is to be paid: rounded once.
    pub payable: Option<Decimal>,
    /// Warnings about the price.
    pub warnings: Vec<String>,
}
}

described! {
/// A line of a price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TariffPriceLine {
    /// What it is for.
    pub dimension: String,
    /// Why it begins where it begins.
    pub reason: String,
    /// The billed quantity: kWh, hours, or 1.
    pub billed: String,
    /// Per kWh, per hour or once.
    pub price: String,
    /// The cost without VAT.
    pub net: String,
    /// The cost with VAT.
    pub gross: String,
}
}

/// A session that is to be priced.
#[derive(Clone, Copy, Debug)]
pub struct TariffSession {
    /// When it begins.
    pub start: Timestamp,
    /// Its energy.
    pub energy: Energy,
    /// Until it is unplugged.
    pub lasts: TimeSpan,
    /// The part of that, at its end, in which no energy flows.
    pub idle: TimeSpan,
}

impl Views {
    /// Tariffs of a running gate.
    pub fn tariffs(&self, now: Timestamp) -> Vec<TariffRow> {
        self.listed_tariffs().iter().map(|listed| row(listed, now)).collect()
    }

    fn listed_tariffs(&self) -> Vec<ListedTariff> {
        self.directory().map(|directory| directory.node_config().tariffs.listed()).unwrap_or_default()
    }

    fn tariff_named(&self, name: &str) -> Result<ListedTariff, Refused> {
        let mut all = self.listed_tariffs();
        let found = all.iter().position(|listed| {
            listed.tariff.id().to_string() == name
                || (name.len() >= 8 && listed.tariff.hash().to_string().starts_with(name))
        });
        let known = || all.iter().map(|listed| listed.tariff.id().to_string()).collect::<Vec<_>>().join(", ");
        match found {
            Some(found) => Ok(all.swap_remove(found)),
            None => Err(Refused::not_found(format!("there is no tariff `{name}`; known: {}", known()))),
        }
    }

    /// One tariff, by its id or the beginning of its hash.
    ///
    /// # Errors
    /// There is no such tariff.
    pub fn tariff(&self, name: &str, now: Timestamp) -> Result<TariffSheet, Refused> {
        let listed = self.tariff_named(name)?;
        let tariff = &listed.tariff;
        let zone = zone_named(&listed.zone_name).map_err(Refused::failed)?;
        let findings = match Tariff::parse(tariff.source()) {
            Ok(parsed) => lint(&parsed, Profiles::default()),
            Err(_) => Vec::new(),
        };
        let findings = findings.into_iter().map(|finding| TariffFinding {
            severity: finding.severity.to_string(),
            code: finding.code.to_owned(),
            path: finding.path,
            line: finding.position.line,
            message: finding.message,
            help: finding.help,
        });
        Ok(TariffSheet {
            schema: "wattstile.tariff/1".to_owned(),
            row: row(&listed, now),
            prices_include_vat: tariff.tax_included() == TaxIncluded::Yes,
            text: tariff.explain(),
            findings: findings.collect(),
            week: week(tariff, &zone, now),
            source: tariff.source().to_owned(),
        })
    }

    /// What a session would cost.
    ///
    /// # Errors
    /// There is no such tariff; a session that is too long, or beyond all figures.
    pub fn tariff_price(&self, name: &str, session: &TariffSession) -> Result<TariffPrice, Refused> {
        let listed = self.tariff_named(name)?;
        let zone = zone_named(&listed.zone_name).map_err(Refused::failed)?;
        if session.lasts < TimeSpan::ZERO || session.lasts > TARIFF_SESSION_MAX || session.idle > session.lasts {
            let most = TARIFF_SESSION_MAX.ms() / 60_000;
            return Err(Refused::usage(format!(
                "a session lasts 0 to {most} minutes, and is idle no longer than it lasts"
            )));
        }
        let report = priced(&listed.tariff, &zone, session)?;
        let decimal = |text: &str| text.parse::<Decimal>().ok();
        Ok(TariffPrice {
            schema: "wattstile.tariff-price/1".to_owned(),
            tariff: report.tariff_id,
            currency: report.currency,
            net: report.total_cost.as_ref().and_then(|cost| decimal(&cost.excl_vat)),
            gross: report.total_cost.as_ref().and_then(|cost| decimal(&cost.incl_vat)),
            payable: report.payable.as_deref().and_then(decimal),
            lines: report
                .segments
                .into_iter()
                .map(|line| TariffPriceLine {
                    dimension: line.dimension,
                    reason: line.reason.to_owned(),
                    billed: line.billed_volume,
                    price: line.price,
                    net: line.cost_excl_vat,
                    gross: line.cost_incl_vat,
                })
                .collect(),
            warnings: report.warnings.into_iter().map(|warning| warning.message).collect(),
        })
    }
}

fn priced(tariff: &Tariff, zone: &TimeZone, session: &TariffSession) -> Result<PriceReport, Refused> {
    let TariffSession { start, energy, lasts, idle } = *session;
    let recorded = RecordedSession::of_total(start, start.saturating_add(lasts), energy, idle);
    let recorded = recorded.ok_or_else(|| Refused::usage("the session ends before it begins"))?;
    let priced = recorded.price(tariff, zone).map_err(Refused::usage)?;
    PriceReport::of_session(&priced, tariff).map_err(Refused::usage)
}

fn row(listed: &ListedTariff, now: Timestamp) -> TariffRow {
    let ListedTariff { tariff, chargers, zone_name } = listed;
    TariffRow {
        id: tariff.id().to_string(),
        sha256: tariff.hash().to_string(),
        currency: tariff.currency().code().to_owned(),
        price: tariff.price_text(),
        chargers: chargers.clone(),
        zone: zone_name.to_string(),
        valid: tariff.valid_at(now),
    }
}

/// Each hour of the seven days from now on, priced as the first kWh of a session that begins with it.
fn week(tariff: &Tariff, zone: &TimeZone, now: Timestamp) -> Vec<TariffHour> {
    let Ok(at) = jiff::Timestamp::from_millisecond(now.unix_ms()) else { return Vec::new() };
    let today = at.to_zoned(zone.clone()).date();
    let mut hours = Vec::with_capacity(7 * 24);
    for days in 0..7_i64 {
        let Ok(date) = today.checked_add(jiff::Span::new().days(days)) else { continue };
        let day = u8::try_from(date.weekday().to_monday_zero_offset()).unwrap_or(0);
        for hour in 0..24_u8 {
            let clock = date.at(i8::try_from(hour).unwrap_or(0), 0, 0, 0);
            let Ok(start) = clock.to_zoned(zone.clone()) else { continue };
            let session = TariffSession {
                start: Timestamp::from_unix_ms(start.timestamp().as_millisecond()),
                energy: Energy::from_kwh(Decimal::ONE).unwrap_or(Energy::ZERO),
                lasts: TimeSpan::from_secs(600),
                idle: TimeSpan::ZERO,
            };
            let report = priced(tariff, zone, &session).ok();
            let price = report.and_then(|report| {
                let energy = report.segments.iter().find(|line| line.dimension == "ENERGY")?;
                energy.price.parse().ok()
            });
            hours.push(TariffHour { day, hour, price });
        }
    }
    hours.sort_by_key(|hour| (hour.day, hour.hour));
    hours
}

#[cfg(test)]
mod tests {
    use super::*;

    const NIGHT: &str = r#"{ "country_code": "NL", "party_id": "WST", "id": "NIGHT", "currency": "EUR", "elements": [
        { "price_components": [{ "type": "ENERGY", "price": 0.30, "vat": 21, "step_size": 1 }],
          "restrictions": { "start_time": "00:00", "end_time": "06:00" } },
        { "price_components": [{ "type": "ENERGY", "price": 0.50, "vat": 21, "step_size": 1 }] }],
        "last_updated": "2026-01-01T00:00:00Z" }"#;

    /// The week has a change of the clock: the hour that is skipped is priced as the one behind it.
    #[test]
    fn each_hour_of_a_week_has_its_price() {
        let tariff = Tariff::parse(NIGHT).unwrap().tariff;
        let zone = TimeZone::get("Europe/Amsterdam").unwrap();
        let now = Timestamp::parse_rfc3339("2026-03-25T12:00:00Z").unwrap();
        let week = week(&tariff, &zone, now);
        assert_eq!(week.len(), 168);
        for TariffHour { day, hour, price } in week {
            let expected = if hour < 6 { "0.3" } else { "0.5" };
            assert_eq!(price.map(|price| price.normalize().to_string()).as_deref(), Some(expected), "{day} {hour}");
        }
    }

    #[test]
    fn a_session_is_priced_as_it_would_be() {
        let tariff = Tariff::parse(NIGHT).unwrap().tariff;
        let session = TariffSession {
            start: Timestamp::parse_rfc3339("2026-03-02T12:00:00Z").unwrap(),
            energy: Energy::from_kwh(Decimal::TEN).unwrap(),
            lasts: TimeSpan::from_secs(3_600),
            idle: TimeSpan::ZERO,
        };
        let report = priced(&tariff, &TimeZone::UTC, &session).unwrap();
        assert_eq!(report.payable.as_deref(), Some("6.05"));
    }
}
