//! A price, component by component: each bar begins where the one before it ends, and the last one is the sum.

use super::{cut, opened, scaled, text};
use rust_decimal::Decimal;
use std::fmt::Write;

const ROW: i64 = 30;
const NAME: i64 = 220;
const BAR: i64 = 290;
const WIDTH: i64 = 640;

/// The steps with their amounts, and the total to which they add up.
pub(in crate::web::pages) fn waterfall(
    title: &str,
    steps: &[(String, Decimal)],
    total: Decimal,
    currency: &str,
) -> String {
    if steps.is_empty() {
        return String::new();
    }
    let mut at = Decimal::ZERO;
    let mut most = total.max(Decimal::ZERO);
    for (_, amount) in steps {
        at = at.saturating_add(*amount);
        most = most.max(at);
    }
    let rows = i64::try_from(steps.len()).unwrap_or(0) + 1;
    let about: Vec<String> =
        steps.iter().map(|(name, amount)| format!("{name}: {} {currency}", amount.normalize())).collect();
    let about = format!("{}; total: {total} {currency}", about.join(", "));
    let mut svg = opened("chart waterfall", (WIDTH, ROW * rows), title, &about);
    at = Decimal::ZERO;
    for ((name, amount), row) in steps.iter().zip(0_i64..) {
        let end = at.saturating_add(*amount);
        let (from, to) = (scaled(at.min(end), most, BAR).max(0), scaled(at.max(end), most, BAR).max(0));
        let class = if amount.is_sign_negative() { "bar less" } else { "bar" };
        let shown = amount.normalize().to_string();
        draw(&mut svg, row, &Bar { name, class, from, to, shown: &shown });
        if row + 1 < rows {
            let (x, y) = (NAME + scaled(end, most, BAR).max(0), row * ROW + 24);
            let _ = write!(svg, "<line class=\"joint\" x1=\"{x}\" y1=\"{y}\" x2=\"{x}\" y2=\"{}\"/>", y + 12);
        }
        at = end;
    }
    let shown = format!("{total} {currency}");
    draw(
        &mut svg,
        rows - 1,
        &Bar { name: "Total", class: "bar total", from: 0, to: scaled(total, most, BAR).max(0), shown: &shown },
    );
    svg + "</svg>"
}

struct Bar<'a> {
    name: &'a str,
    class: &'a str,
    from: i64,
    to: i64,
    shown: &'a str,
}

fn draw(svg: &mut String, row: i64, bar: &Bar<'_>) {
    let Bar { name, class, from, to, shown } = bar;
    let y = row * ROW;
    let _ = write!(
        svg,
        "<text class=\"name\" x=\"{}\" y=\"{}\">{}</text><rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"18\" \
         rx=\"2\"/><text class=\"value\" x=\"{}\" y=\"{}\">{}</text>",
        NAME - 12,
        y + 20,
        cut(name, 31),
        NAME + from,
        y + 6,
        (to - from).max(1),
        NAME + to + 8,
        y + 20,
        text(shown)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_begin_where_the_one_before_ends() {
        let decimal = |text: &str| text.parse::<Decimal>().unwrap();
        let steps = [
            ("Start".to_owned(), decimal("2")),
            ("Energy".to_owned(), decimal("8")),
            ("Limit".to_owned(), decimal("-5")),
        ];
        let shown = waterfall("Price", &steps, decimal("5.00"), "EUR");
        for part in [
            "x=\"220\" y=\"6\" width=\"58\"",
            "x=\"278\" y=\"36\" width=\"232\"",
            "bar less",
            "5.00 EUR",
            "Limit: -5 EUR",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert_eq!(waterfall("Price", &[], Decimal::ZERO, "EUR"), "");
    }
}
