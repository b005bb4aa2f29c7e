//! The week of a tariff: an hour is a cell, the darker the dearer.

use super::{opened, text};
use rust_decimal::Decimal;
use std::fmt::Write;

const CELL: (i64, i64) = (25, 22);
const LEFT: i64 = 44;
const TOP: i64 = 18;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// An hour of the week.
#[derive(Clone, Copy, Debug)]
pub(in crate::web::pages) struct Hour {
    /// 0 is Monday.
    pub day: usize,
    /// From 0 to 23.
    pub hour: usize,
    /// Price per kWh; none: energy has no price then.
    pub price: Option<Decimal>,
}

/// The hours of a week.
pub(in crate::web::pages) fn heat(title: &str, hours: &[Hour], currency: &str) -> String {
    if hours.is_empty() {
        return String::new();
    }
    let mut prices: Vec<Decimal> = hours.iter().filter_map(|hour| hour.price).collect();
    prices.sort_unstable();
    prices.dedup();
    let range = match (prices.first(), prices.last()) {
        (Some(least), Some(most)) => format!("from {} to {} {currency} per kWh", least.normalize(), most.normalize()),
        _ => "energy has no price".to_owned(),
    };
    let (wide, high) = CELL;
    let mut svg = opened("chart heat", (LEFT + 24 * wide + 4, TOP + 7 * high + 4), title, &range);
    for hour in (0..24).step_by(3) {
        let _ = write!(svg, "<text class=\"axis begin\" x=\"{}\" y=\"12\">{hour:02}</text>", LEFT + hour * wide);
    }
    for (day, row) in DAYS.iter().zip(0_i64..) {
        let _ = write!(svg, "<text class=\"axis\" x=\"{}\" y=\"{}\">{day}</text>", LEFT - 8, TOP + row * high + 15);
    }
    for Hour { day, hour, price } in hours.iter().filter(|hour| hour.day < 7 && hour.hour < 24) {
        let (x, y) = (LEFT + i64::try_from(*hour).unwrap_or(0) * wide, TOP + i64::try_from(*day).unwrap_or(0) * high);
        let (class, shown) = match price {
            Some(price) => {
                let place = prices.iter().position(|known| known == price).unwrap_or(0);
                (format!("b{}", place * 5 / prices.len().max(1)), format!("{} {currency}/kWh", price.normalize()))
            }
            None => ("none".to_owned(), "no price".to_owned()),
        };
        let _ = write!(
            svg,
            "<rect class=\"cell {class}\" x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"2\"><title>{} {hour:02}:00: {}</title></rect>",
            wide - 2,
            high - 2,
            DAYS[*day],
            text(&shown)
        );
    }
    svg + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dearer_hours_are_darker() {
        let hour =
            |hour: usize, price: Option<i64>| Hour { day: 0, hour, price: price.map(|price| Decimal::new(price, 2)) };
        let shown = heat("Week", &[hour(0, Some(36)), hour(7, Some(59)), hour(23, None)], "EUR");
        assert!(shown.contains("cell b0") && shown.contains("cell b2") && shown.contains("cell none"), "{shown}");
        assert!(
            shown.contains("from 0.36 to 0.59 EUR per kWh") && shown.contains("Mon 07:00: 0.59 EUR/kWh"),
            "{shown}"
        );
        assert_eq!(heat("Week", &[], "EUR"), "");
    }
}
