//! Bars beside each other, and how much of a hold is used.

use super::{cut, opened, scaled, text};
use rust_decimal::Decimal;
use std::fmt::Write;

const ROW: i64 = 26;
const NAME: i64 = 170;
const WIDTH: i64 = 560;
const BAR: i64 = 300;

/// A bar for each row: its name, its value, and the value as text.
pub(in crate::web::pages) fn bars(title: &str, rows: &[(String, Decimal, String)]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let most = rows.iter().map(|(_, value, _)| *value).max().unwrap_or_default();
    let about: Vec<String> = rows.iter().map(|(name, _, shown)| format!("{name}: {shown}")).collect();
    let height = ROW * i64::try_from(rows.len()).unwrap_or(0);
    let mut svg = opened("chart bars", (WIDTH, height), title, &about.join(", "));
    for ((name, value, shown), row) in rows.iter().zip(0_i64..) {
        let y = row * ROW;
        let long = scaled(*value, most, BAR).max(i64::from(!value.is_zero()));
        let _ = write!(
            svg,
            "<text class=\"name\" x=\"{}\" y=\"{}\">{}</text><rect class=\"bar\" x=\"{NAME}\" y=\"{}\" width=\"{long}\" \
             height=\"16\" rx=\"3\"/><text class=\"value\" x=\"{}\" y=\"{}\">{}</text>",
            NAME - 12,
            y + 18,
            cut(name, 24),
            y + 5,
            NAME + long + 8,
            y + 18,
            text(shown)
        );
    }
    svg + "</svg>"
}

/// How much of what is held is used: more than 85 % of it stands out.
pub(in crate::web::pages) fn hold_bar(cost: &Decimal, held: &Decimal) -> String {
    if *held <= Decimal::ZERO {
        return String::new();
    }
    let used = scaled(*cost, *held, 100).max(0);
    let class = if used > 85 { "hold high" } else { "hold" };
    format!(
        "<svg class=\"{class}\" viewBox=\"0 0 100 6\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{used} % of the hold is \
         used\"><title>{used} % of the hold is used</title><rect class=\"back\" width=\"100\" height=\"6\"/><rect class=\"used\" \
         width=\"{used}\" height=\"6\"/></svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_is_the_largest_value() {
        let row = |name: &str, value: i64| (name.to_owned(), Decimal::from(value), value.to_string());
        let shown = bars("Lines", &[row("matched", 40), row("differs <&>", 10), row("none", 0)]);
        assert!(
            shown.contains("width=\"300\"") && shown.contains("width=\"75\"") && shown.contains("width=\"0\""),
            "{shown}"
        );
        assert!(shown.contains("<desc>matched: 40, differs &lt;&amp;&gt;: 10, none: 0</desc>"), "{shown}");
        assert_eq!(bars("Nothing", &[]), "");
    }

    #[test]
    fn a_hold_that_is_nearly_used_up_stands_out() {
        let bar = |cost: i64| hold_bar(&Decimal::from(cost), &Decimal::from(100));
        assert!(bar(10).contains("class=\"hold\"") && bar(86).contains("class=\"hold high\""));
        assert!(bar(300).contains("100 % of the hold"));
        assert_eq!(hold_bar(&Decimal::ONE, &Decimal::ZERO), "");
    }
}
