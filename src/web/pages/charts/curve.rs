//! Power over the time of a session, with the price of each stretch as a band below it.

use super::{opened, scaled, text};
use rust_decimal::Decimal;
use std::fmt::Write;

const WIDTH: i64 = 720;
const LEFT: i64 = 56;
const RIGHT: i64 = 16;
const TOP: i64 = 14;
const PLOT: i64 = 150;
const BAND: i64 = 26;
const HEIGHT: i64 = TOP + PLOT + BAND + 34;

/// Time at one price of energy.
#[derive(Clone, Copy, Debug)]
pub(in crate::web::pages) struct Stretch<'a> {
    /// In milliseconds.
    pub from: i64,
    /// In milliseconds, later than that.
    pub to: i64,
    /// The same as on the charger's clock.
    pub clock: (&'a str, &'a str),
    /// Average power, in kW.
    pub power: Decimal,
    /// In kWh.
    pub energy: Decimal,
    /// Per kWh.
    pub price: Decimal,
}

/// The stretches in order.
pub(in crate::web::pages) fn curve(title: &str, stretches: &[Stretch<'_>], currency: &str) -> String {
    let (Some(first), Some(last)) = (stretches.first(), stretches.last()) else { return String::new() };
    let most = stretches.iter().map(|stretch| stretch.power).max().unwrap_or_default().max(Decimal::ONE);
    let span = Decimal::from((last.to - first.from).max(1));
    let x = |ms: i64| LEFT + scaled(Decimal::from(ms - first.from), span, WIDTH - LEFT - RIGHT).max(0);
    let y = |power: Decimal| TOP + PLOT - scaled(power, most, PLOT).max(0);
    let about: Vec<String> = stretches
        .iter()
        .map(|part| {
            let Stretch { clock: (from, to), power, energy, price, .. } = part;
            format!(
                "{from} to {to}: {} kW, {} kWh at {} {currency}",
                power.normalize(),
                energy.normalize(),
                price.normalize()
            )
        })
        .collect();
    let mut svg = opened("chart curve", (WIDTH, HEIGHT), title, &about.join("; "));
    for part in [Decimal::ZERO, Decimal::new(5, 1), Decimal::ONE] {
        let level = most.saturating_mul(part);
        let at = y(level);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at}\" x2=\"{}\" y2=\"{at}\"/><text class=\"axis\" x=\"{}\" y=\"{}\">{} kW</text>",
            WIDTH - RIGHT,
            LEFT - 6,
            at + 4,
            level.round_dp(0)
        );
    }
    let prices: Vec<Decimal> = {
        let mut prices: Vec<Decimal> = stretches.iter().map(|stretch| stretch.price).collect();
        prices.sort_unstable();
        prices.dedup();
        prices
    };
    let mut line = format!("M{} {}", x(first.from), y(Decimal::ZERO));
    for part in stretches {
        let (from, to, top) = (x(part.from), x(part.to), y(part.power));
        let _ = write!(line, "L{from} {top}L{to} {top}");
        let band = prices.iter().position(|price| *price == part.price).unwrap_or(0) * 4 / prices.len().max(1);
        let shown = part.price.normalize();
        let wide = to - from;
        let _ = write!(
            svg,
            "<rect class=\"band b{band}\" x=\"{from}\" y=\"{}\" width=\"{}\" height=\"{BAND}\"><title>{shown} {currency}/kWh</title></rect>",
            TOP + PLOT + 4,
            wide.max(1),
        );
        if wide > 70 {
            let (at, below) = ((from + to) / 2, TOP + PLOT + 4 + BAND / 2 + 4);
            let _ =
                write!(svg, "<text class=\"price\" x=\"{at}\" y=\"{below}\">{}</text>", text(&format!("{shown}/kWh")));
        }
    }
    let _ = write!(line, "L{} {}Z", x(last.to), y(Decimal::ZERO));
    let _ = write!(svg, "<path class=\"area\" d=\"{line}\"/>");
    let below = HEIGHT - 6;
    let _ = write!(
        svg,
        "<text class=\"axis begin\" x=\"{LEFT}\" y=\"{below}\">{}</text><text class=\"axis\" x=\"{}\" y=\"{below}\">{}</text></svg>",
        text(first.clock.0),
        WIDTH - RIGHT,
        text(last.clock.1)
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_stand_one_behind_the_other() {
        let part = |from: i64, to: i64, power: i64, price: i64| Stretch {
            from,
            to,
            clock: ("10:00", "11:00"),
            power: Decimal::from(power),
            energy: Decimal::from(power),
            price: Decimal::new(price, 2),
        };
        let shown = curve("Power", &[part(0, 1_000, 100, 59), part(1_000, 2_000, 50, 39)], "EUR");
        assert!(shown.contains("M56 164L56 14L380 14L380 89L704 89L704 164Z"), "{shown}");
        assert!(
            shown.contains("class=\"band b2\" x=\"56\"") && shown.contains("class=\"band b0\" x=\"380\""),
            "{shown}"
        );
        assert!(shown.contains("100 kW, 100 kWh at 0.59 EUR") && shown.contains(">0.39/kWh<"), "{shown}");
        assert_eq!(curve("Power", &[], "EUR"), "");
    }
}
