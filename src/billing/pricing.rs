//! From a rated session to the lines of a receipt.

use super::{BillingError, Dimension, Line, Quantity, VatTotal};
use crate::tariff::{self, Component, Rating, Restrictions, Segments, Tariff};
use crate::units::{Cost, Energy, Rounding, TimeSpan, Timestamp};
use rust_decimal::Decimal;

/// Why a line takes back what prices below zero come to.
pub(super) const NOT_PAID_OUT: &str = "prices below zero, not paid out";

/// The tariff engine's result for a session, as billing needs it. Adds up by construction: the line of the price
/// limit closes the gap between the lines and a total that a lowest or highest price determined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pricing {
    /// The priced positions, in order of time.
    pub lines: Vec<Line>,
    /// Sums per VAT rate.
    pub vat: Vec<VatTotal>,
    /// The exact cost without VAT.
    pub net: Cost,
    /// The exact cost with VAT.
    pub gross: Cost,
    /// Rounding rule of the payable amount.
    pub rounding: Rounding,
}

impl Pricing {
    /// Reads a rating and its segments; `ended_at` dates the line of the price limit.
    ///
    /// # Errors
    /// [`BillingError::Rating`] for another tariff; [`BillingError::Money`].
    pub fn of(
        tariff: &Tariff,
        rating: &Rating,
        segments: &Segments,
        ended_at: Timestamp,
    ) -> Result<Pricing, BillingError> {
        let rated = |error: tariff::RatingError| BillingError::Rating(error.to_string());
        let total = rating.total(tariff).map_err(rated)?;
        let mut lines = Vec::new();
        for billed in segments.billed(rating, tariff).map_err(rated)? {
            let segment = billed.segment;
            let component = &tariff.components()[usize::from(segment.component)];
            let element = &tariff.elements()[usize::from(component.element)];
            let dimension = match component.dimension {
                tariff::Dimension::Energy => Dimension::Energy,
                tariff::Dimension::Flat => Dimension::Flat,
                tariff::Dimension::ParkingTime => Dimension::ParkingTime,
                tariff::Dimension::Time if segment.phase.is_reservation() => Dimension::Reservation,
                tariff::Dimension::Time => Dimension::Time,
            };
            lines.push(Line {
                element: component.element + 1,
                reason: reason(&element.restrictions, segment.reason).into(),
                dimension,
                from: segment.from,
                to: segment.to,
                measured: quantity(component, segment.volume),
                billed: quantity(component, billed.billed_volume),
                price: component.price(),
                vat_percent: component.vat_percent(),
                net: billed.price.excl_vat,
                gross: billed.price.incl_vat,
            });
        }
        let mut vat = Vec::new();
        for rate in rating.vat_lines(tariff).map_err(rated)? {
            let percent = rate.rate.map(|rate| Decimal::new(i64::from(rate), 4).normalize());
            let tax = rate.incl_vat.checked_sub(rate.excl_vat)?;
            vat.push(VatTotal { percent, net: rate.excl_vat, vat: tax });
        }
        let (net, gross) = (total.excl_vat, total.incl_vat);
        let mut pricing = Pricing { lines, vat, net, gross, rounding: total.rounding };
        pricing.close_gap(ended_at, tariff.tax_included() == tariff::TaxIncluded::Yes)?;
        Ok(pricing)
    }

    /// Adds what the lowest or highest price makes of the sum, or zero of a sum below it.
    fn close_gap(&mut self, at: Timestamp, includes_vat: bool) -> Result<(), BillingError> {
        let (mut net, mut gross) = (self.net, self.gross);
        for line in &self.lines {
            net = net.checked_sub(line.net)?;
            gross = gross.checked_sub(line.gross)?;
        }
        if net.parts() == 0 && gross.parts() == 0 {
            return Ok(());
        }
        let zero = Cost::zero(gross.currency());
        if self.gross == zero && self.net == zero {
            // Nothing is due, at any rate.
            let gaps = self.vat.iter().map(|rate| Ok((rate.percent, zero.checked_sub(rate.net)?, rate.vat)));
            for (percent, net, vat) in gaps.collect::<Result<Vec<_>, BillingError>>()? {
                let gap = Gap { reason: NOT_PAID_OUT, vat_percent: percent, net, gross: net.checked_sub(vat)? };
                self.limit(at, gap, includes_vat)?;
            }
            return Ok(());
        }
        // With one rate the difference is taxed at that rate; with several it has none of its own.
        let percent = match &self.vat[..] {
            [only] => only.percent,
            _ => None,
        };
        self.limit(at, Gap { reason: "", vat_percent: percent, net, gross }, includes_vat)
    }

    /// A line that a price limit makes, at one rate.
    fn limit(&mut self, at: Timestamp, gap: Gap, includes_vat: bool) -> Result<(), BillingError> {
        let Gap { reason, vat_percent, net, gross } = gap;
        if net.parts() == 0 && gross.parts() == 0 {
            return Ok(());
        }
        self.lines.push(Line {
            element: 0,
            reason: reason.into(),
            dimension: Dimension::PriceLimit,
            from: at,
            to: at,
            measured: Quantity::Once,
            billed: Quantity::Once,
            price: if includes_vat { gross.major() } else { net.major() },
            vat_percent,
            net,
            gross,
        });
        let tax = gross.checked_sub(net)?;
        match self.vat.iter_mut().find(|rate| rate.percent == vat_percent) {
            Some(rate) => {
                rate.net = rate.net.checked_add(net)?;
                rate.vat = rate.vat.checked_add(tax)?;
            }
            None => self.vat.push(VatTotal { percent: vat_percent, net, vat: tax }),
        }
        Ok(())
    }
}

/// What the lines lack of the sum, at one rate.
struct Gap {
    reason: &'static str,
    vat_percent: Option<Decimal>,
    net: Cost,
    gross: Cost,
}

fn quantity(component: &Component, volume: i64) -> Quantity {
    match component.dimension {
        tariff::Dimension::Energy => Quantity::Energy(Energy::from_microwatt_hours(volume)),
        tariff::Dimension::Time | tariff::Dimension::ParkingTime => Quantity::Time(TimeSpan::from_ms(volume)),
        tariff::Dimension::Flat => Quantity::Once,
    }
}

/// Why an element applies, and that a line stands for several stretches when it does.
fn reason(restrictions: &Restrictions, reason: tariff::Reason) -> String {
    let words = describe(restrictions);
    match reason {
        tariff::Reason::Summed if words.is_empty() => "several stretches".to_owned(),
        tariff::Reason::Summed => format!("{words}, several stretches"),
        _ => words,
    }
}

/// The restrictions of an element as a short text; empty when it has none.
fn describe(restrictions: &Restrictions) -> String {
    let Restrictions {
        start_minute,
        end_minute,
        start_day,
        end_day,
        weekdays,
        min_energy,
        max_energy,
        min_current,
        max_current,
        min_power,
        max_power,
        min_duration,
        max_duration,
        reservation,
    } = restrictions;
    let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    let day = |days: i32| Timestamp::from_unix_ms(i64::from(days) * 86_400_000).to_rfc3339()[..10].to_owned();
    let scaled = |value: i64, scale: u32, unit: &str| format!("{} {unit}", Decimal::new(value, scale).normalize());
    let minutes = |ms: i64| {
        let minutes = Decimal::from(ms).checked_div(Decimal::from(60_000)).unwrap_or_default();
        format!("{} min", minutes.normalize())
    };
    let mut words = Vec::new();
    if *weekdays != 0 {
        let names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        let days: Vec<&str> = (0..7).filter(|bit| weekdays >> bit & 1 == 1).map(|bit| names[bit]).collect();
        words.push(days.join(" "));
    }
    match (start_minute, end_minute) {
        (Some(start), Some(end)) => words.push(format!("{}-{}", clock(*start), clock(*end))),
        (Some(start), None) => words.push(format!("from {}", clock(*start))),
        (None, Some(end)) => words.push(format!("until {}", clock(*end))),
        (None, None) => {}
    }
    words.extend(start_day.map(|days| format!("since {}", day(days))));
    words.extend(end_day.map(|days| format!("before {}", day(days))));
    words.extend(min_energy.map(|energy| format!("above {}", scaled(energy, 9, "kWh"))));
    words.extend(max_energy.map(|energy| format!("up to {}", scaled(energy, 9, "kWh"))));
    words.extend(min_power.map(|power| format!("at {} or more", scaled(power, 6, "kW"))));
    words.extend(max_power.map(|power| format!("below {}", scaled(power, 6, "kW"))));
    words.extend(min_current.map(|current| format!("at {} or more", scaled(current, 3, "A"))));
    words.extend(max_current.map(|current| format!("below {}", scaled(current, 3, "A"))));
    words.extend(min_duration.map(|ms| format!("after {}", minutes(ms))));
    words.extend(max_duration.map(|ms| format!("first {}", minutes(ms))));
    words.extend(reservation.map(|reservation| match reservation {
        tariff::Reservation::Reserved => "reserved".to_owned(),
        tariff::Reservation::Expires => "reservation expired".to_owned(),
    }));
    words.join(", ")
}
