//! Descriptions of a tariff in text: one line for a display, and a complete one.

use super::lint::display_order;
use super::model::{Component, Dimension, PriceLimit, Reservation, Restrictions, Tariff, TaxIncluded};
use rust_decimal::Decimal;

const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

impl Tariff {
    /// The price in one line, in the order that Regulation (EU) 2023/1804 (AFIR), article 5(4), prescribes: per kWh, per
    /// minute, per session, other. Prices that depend on something are shown as `from` the lowest one.
    pub fn price_text(&self) -> String {
        let mut parts = Vec::new();
        let charged: Vec<&Component> = self.in_sessions().filter(|component| self.can_apply(component)).collect();
        for dimension in [Dimension::Energy, Dimension::Time, Dimension::ParkingTime, Dimension::Flat] {
            let prices: Vec<&Component> = charged.iter().copied().filter(|c| c.dimension == dimension).collect();
            let (Some(low), Some(high)) =
                (prices.iter().map(|c| c.price_nano).min(), prices.iter().map(|c| c.price_nano).max())
            else {
                continue;
            };
            if high == 0 && (dimension != Dimension::Energy || charged.iter().any(|c| c.price_nano != 0)) {
                continue;
            }
            let restricted = |component: &&Component| self.restrictions(component) != &Restrictions::default();
            let from = if low != high || prices.iter().all(restricted) { "from " } else { "" };
            parts.push(format!("{from}{}", self.rate(dimension, low)));
        }
        if self.components.iter().any(|component| self.restrictions(component).reservation.is_some()) {
            parts.push("reservations extra".to_owned());
        }
        let text = if parts.is_empty() { "free of charge".to_owned() } else { parts.join(" + ") };
        match self.tax {
            TaxIncluded::Yes => format!("{text}, tax included"),
            TaxIncluded::No if self.components.iter().any(|c| c.vat.is_some_and(|vat| vat > 0)) => {
                format!("{text}, plus VAT")
            }
            TaxIncluded::No | TaxIncluded::NotApplicable => text,
        }
    }

    /// The whole tariff in sentences, one per line.
    pub fn explain(&self) -> Vec<String> {
        let mut lines = vec![format!("Tariff {}, in {}: {}", self.id, self.currency, self.price_text())];
        lines.extend(self.alt_text.iter().map(|alt| format!("[{}] {}", alt.language, alt.text)));
        let (mut components, never): (Vec<&Component>, Vec<&Component>) =
            self.components.iter().partition(|component| self.can_apply(component));
        components.sort_by_key(|component| {
            (self.restrictions(component).reservation.is_some(), display_order(component.dimension), component.element)
        });
        let mut last = None;
        for component in components {
            let restrictions = self.restrictions(component);
            let key = (restrictions.reservation.is_some(), component.dimension);
            if last != Some(key) {
                lines.push(heading(component.dimension, restrictions.reservation.is_some()).to_owned());
            }
            // The first element that matches applies; later ones are for the remaining cases.
            let order = if last == Some(key) { "otherwise " } else { "" };
            last = Some(key);
            lines.push(format!("  - {order}{}", self.sentence(component)));
        }
        if !never.is_empty() {
            lines.push("Never charged, as another price stands before it or its conditions never hold".to_owned());
            lines.extend(never.into_iter().map(|component| format!("  - {}", self.sentence(component))));
        }
        for (word, limit) in [("at least", self.min_price), ("at most", self.max_price)] {
            if !limit.is_none() {
                lines.push(format!("A session costs {word} {}", limit_words(limit)));
            }
        }
        lines.push(match self.tax {
            TaxIncluded::No => "VAT is added where a rate is named.".to_owned(),
            TaxIncluded::Yes => "Prices contain tax.".to_owned(),
            TaxIncluded::NotApplicable => "No tax applies.".to_owned(),
        });
        if let Some(amount) = self.preauthorize_amount {
            lines.push(format!("{amount} is reserved on the card before the session."));
        }
        if let Some(from) = self.valid_from {
            lines.push(format!("For sessions that start from {from} on."));
        }
        if let Some(until) = self.valid_until {
            lines.push(format!("For sessions that start before {until}."));
        }
        lines
    }

    fn restrictions(&self, component: &Component) -> &Restrictions {
        &self.elements[usize::from(component.element)].restrictions
    }

    /// Components that a session can use.
    fn in_sessions(&self) -> impl Iterator<Item = &Component> {
        self.components.iter().filter(|component| self.restrictions(component).reservation.is_none())
    }

    /// Whether there is a moment at which it is charged: no component before it applies whenever it does.
    fn can_apply(&self, component: &Component) -> bool {
        let own = self.restrictions(component);
        if own.is_impossible() {
            return false;
        }
        let place = (component.element, component.ordinal);
        !self.components.iter().take_while(|earlier| (earlier.element, earlier.ordinal) < place).any(|earlier| {
            earlier.dimension == component.dimension
                && (earlier.element == component.element || self.restrictions(earlier).covers(own))
        })
    }

    fn rate(&self, dimension: Dimension, price_nano: i64) -> String {
        let currency = self.currency;
        let price = |nano: i64| money(Decimal::new(nano, 9));
        match dimension {
            Dimension::Energy => format!("{currency} {} per kWh", price(price_nano)),
            Dimension::Flat => format!("{currency} {} per session", price(price_nano)),
            // AFIR shows time per minute; OCPI states it per hour.
            Dimension::Time => format!("{currency} {} per minute charging", per_minute(price_nano)),
            Dimension::ParkingTime => format!("{currency} {} per minute parking", per_minute(price_nano)),
        }
    }

    fn sentence(&self, component: &Component) -> String {
        let price = money(component.price());
        let currency = self.currency;
        let mut text = match component.dimension {
            Dimension::Energy => format!("{currency} {price} per kWh"),
            Dimension::Flat => format!("{currency} {price} once"),
            Dimension::Time | Dimension::ParkingTime => {
                format!("{currency} {price} per hour ({} per minute)", per_minute(component.price_nano))
            }
        };
        match component.vat_percent() {
            Some(vat) if self.tax == TaxIncluded::Yes => text += &format!(" including {vat} % VAT"),
            Some(vat) if self.tax == TaxIncluded::No => text += &format!(" plus {vat} % VAT"),
            _ => {}
        }
        match component.dimension {
            Dimension::Energy if component.step_size > 1 => {
                text += &format!(", in blocks of {} Wh", component.step_size)
            }
            Dimension::Time | Dimension::ParkingTime if component.step_size > 1 => {
                text += &format!(", in blocks of {}", duration(i64::from(component.step_size) * 1_000));
            }
            _ => {}
        }
        let conditions = conditions(self.restrictions(component));
        if conditions.is_empty() { text } else { format!("{text}: {}", conditions.join(", ")) }
    }
}

fn heading(dimension: Dimension, reservation: bool) -> &'static str {
    match (reservation, dimension) {
        (true, Dimension::Flat) => "Reserving (fee)",
        (true, _) => "Reserving (time)",
        (false, Dimension::Energy) => "Energy",
        (false, Dimension::Time) => "Time while energy flows",
        (false, Dimension::ParkingTime) => "Time connected while no energy flows",
        (false, Dimension::Flat) => "Per session",
    }
}

fn conditions(restrictions: &Restrictions) -> Vec<String> {
    let mut words = Vec::new();
    let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    match (restrictions.start_minute, restrictions.end_minute) {
        (Some(start), Some(end)) => words.push(format!("from {} to {}", clock(start), clock(end))),
        (Some(start), None) => words.push(format!("from {} on", clock(start))),
        (None, Some(end)) => words.push(format!("until {}", clock(end))),
        (None, None) => {}
    }
    if restrictions.weekdays != 0 {
        let days = (0..7).filter(|day| restrictions.weekdays & (1 << day) != 0).map(|day: usize| DAYS[day]);
        words.push(format!("on {}", days.collect::<Vec<_>>().join(", ")));
    }
    let date = |day: i32| {
        let epoch = jiff::civil::date(1970, 1, 1);
        epoch.checked_add(jiff::Span::new().days(day)).map_or_else(|_| day.to_string(), |date| date.to_string())
    };
    if let Some(day) = restrictions.start_day {
        words.push(format!("from {} on", date(day)));
    }
    if let Some(day) = restrictions.end_day {
        words.push(format!("before {}", date(day)));
    }
    let mut between = |min: Option<String>, max: Option<String>, what: &str| match (min, max) {
        (Some(min), Some(max)) => words.push(format!("{what} from {min} to {max}")),
        (Some(min), None) => words.push(format!("{what} from {min} on")),
        (None, Some(max)) => words.push(format!("{what} below {max}")),
        (None, None) => {}
    };
    let number = |value: Option<i64>, scale: u32, unit: &str| {
        value.map(|value| format!("{} {unit}", Decimal::new(value, scale).normalize()))
    };
    between(number(restrictions.min_energy, 9, "kWh"), number(restrictions.max_energy, 9, "kWh"), "energy");
    between(number(restrictions.min_power, 6, "kW"), number(restrictions.max_power, 6, "kW"), "power");
    between(number(restrictions.min_current, 3, "A"), number(restrictions.max_current, 3, "A"), "current");
    between(restrictions.min_duration.map(duration), restrictions.max_duration.map(duration), "connected");
    match restrictions.reservation {
        Some(Reservation::Reserved) => words.push("for a reservation".to_owned()),
        Some(Reservation::Expires) => words.push("for a reservation that expires".to_owned()),
        None => {}
    }
    words
}

fn limit_words(limit: PriceLimit) -> String {
    let side = |cost: Option<crate::units::Cost>, word: &str| cost.map(|cost| format!("{cost} {word} tax"));
    let sides = [side(limit.excl_vat, "before"), side(limit.incl_vat, "after")];
    format!("{}.", sides.into_iter().flatten().collect::<Vec<_>>().join(" and "))
}

/// At least two decimals, as prices are written.
fn money(price: Decimal) -> String {
    let price = price.normalize();
    format!("{price:.*}", usize::try_from(price.scale().max(2)).unwrap_or(2))
}

/// A price per hour, per minute, to four decimals.
fn per_minute(price_nano: i64) -> String {
    money((Decimal::new(price_nano, 9) / Decimal::from(60)).round_dp(4))
}

fn duration(ms: i64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        _ if seconds > 0 && seconds % 3_600 == 0 => format!("{} h", seconds / 3_600),
        _ if seconds > 0 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tariff(fields: &str) -> Tariff {
        Tariff::parse(&format!(r#"{{"id": "T", "currency": "EUR", {fields}}}"#)).unwrap().tariff
    }

    #[test]
    fn one_line_has_the_order_of_the_regulation() {
        let tariff = tariff(
            r#""elements": [{"price_components": [{"type": "FLAT", "price": 0.5, "vat": 20, "step_size": 1},
                {"type": "PARKING_TIME", "price": 6, "step_size": 60}, {"type": "ENERGY", "price": 0.49, "step_size": 1}]}]"#,
        );
        let text = "EUR 0.49 per kWh + EUR 0.10 per minute parking + EUR 0.50 per session, plus VAT";
        assert_eq!(tariff.price_text(), text);
    }

    #[test]
    fn sentences_leave_no_condition_out() {
        let tariff = tariff(
            r#""tax_included": "YES", "max_price": {"before_taxes": 10, "after_taxes": 12},
            "elements": [{"price_components": [{"type": "ENERGY", "price": 0.2, "vat": 21, "step_size": 500}],
                "restrictions": {"start_time": "22:00", "end_time": "06:00", "day_of_week": ["FRIDAY"], "min_kwh": 2.5,
                                 "max_power": 22, "min_duration": 5400}},
               {"price_components": [{"type": "ENERGY", "price": 0.3, "vat": 21, "step_size": 1}]}]"#,
        );
        let text = tariff.explain();
        assert_eq!(text[1], "Energy");
        assert_eq!(
            text[2],
            "  - EUR 0.20 per kWh including 21 % VAT, in blocks of 500 Wh: from 22:00 to 06:00, on Friday, \
             energy from 2.5 kWh on, power below 22 kW, connected from 90 min on"
        );
        assert_eq!(text[3], "  - otherwise EUR 0.30 per kWh including 21 % VAT");
        assert_eq!(text[4], "A session costs at most EUR 10 before tax and EUR 12 after tax.");
        assert_eq!(tariff.price_text(), "from EUR 0.20 per kWh, tax included");
    }

    #[test]
    fn free_is_said() {
        let free = tariff(r#""elements": [{"price_components": [{"type": "FLAT", "price": 0, "step_size": 0}]}]"#);
        assert_eq!(free.price_text(), "free of charge");
    }

    /// After a public report: three prices of one dimension in an element were shown as `from` the last one, which is never
    /// charged.
    #[test]
    fn prices_that_are_never_charged_do_not_lead() {
        let tariff = tariff(
            r#""elements": [
            {"price_components": [{"type": "ENERGY", "price": 0.249, "step_size": 1}, {"type": "ENERGY", "price": 0.229, "step_size": 1}]},
            {"price_components": [{"type": "FLAT", "price": 0.1572, "step_size": 1}, {"type": "FLAT", "price": -0.1684, "step_size": 1}]},
            {"price_components": [{"type": "ENERGY", "price": 0.1, "step_size": 1}], "restrictions": {"start_time": "22:00"}}]"#,
        );
        assert_eq!(tariff.price_text(), "EUR 0.249 per kWh + EUR 0.1572 per session");
        let text = tariff.explain();
        let never = text.iter().position(|line| line.starts_with("Never charged")).unwrap();
        assert_eq!(text[2], "  - EUR 0.249 per kWh");
        assert!(
            text[..never]
                .iter()
                .all(|line| !line.contains("0.229") && !line.contains("0.1684") && !line.contains("0.10"))
        );
        assert_eq!(text[never + 1..never + 4].len(), 3);
    }

    #[test]
    fn a_window_inside_another_one_is_covered_and_no_other() {
        let restrictions = |text: &str| {
            tariff(&format!(r#""elements": [{{"price_components": [{{"type": "FLAT", "price": 1, "step_size": 1}}], "restrictions": {{{text}}}}}]"#)).elements[0].restrictions.clone()
        };
        for (outer, inner, covered) in [
            ("", r#""min_kwh": 1"#, true),
            (r#""min_kwh": 1"#, "", false),
            (r#""start_time": "08:00", "end_time": "20:00""#, r#""start_time": "09:00", "end_time": "10:00""#, true),
            (r#""start_time": "08:00", "end_time": "20:00""#, r#""start_time": "21:00", "end_time": "19:00""#, false),
            (r#""start_time": "08:00", "end_time": "20:00""#, r#""start_time": "09:00""#, false),
            (r#""start_time": "22:00", "end_time": "06:00""#, r#""start_time": "23:00", "end_time": "05:00""#, false),
            (r#""day_of_week": ["MONDAY", "FRIDAY"]"#, r#""day_of_week": ["FRIDAY"]"#, true),
            (r#""day_of_week": ["MONDAY"]"#, "", false),
            (r#""max_power": 50"#, r#""max_power": 22"#, true),
            (r#""reservation": "RESERVATION""#, "", false),
        ] {
            assert_eq!(restrictions(outer).covers(&restrictions(inner)), covered, "{outer} over {inner}");
        }
    }
}
