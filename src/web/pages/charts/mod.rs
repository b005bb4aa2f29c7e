//! Charts as SVG, drawn on the server: they print, they are read by a screen reader (a title, and a table beside them), and they
//! have no style of their own, only names of the stylesheet. Coordinates are whole numbers; money is never one.

mod bars;
mod curve;
mod heat;
mod waterfall;

pub(super) use bars::{bars, hold_bar};
pub(super) use curve::{Stretch, curve};
pub(super) use heat::{Hour, heat};
pub(super) use waterfall::waterfall;

use crate::units::visible;
use minijinja::Value;
use qrcode::QrCode;
use qrcode::render::svg;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

/// A chart for a template. On a narrow screen it keeps its size and is scrolled, also by keys.
pub(super) fn safe(svg: String) -> Value {
    if svg.starts_with("<svg class=\"chart") {
        return Value::from_safe_string(format!("<div class=\"scroll\" tabindex=\"0\">{svg}</div>"));
    }
    Value::from_safe_string(svg)
}

/// A text inside of a chart.
pub(super) fn text(text: &str) -> String {
    let shown = visible(text);
    shown.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A text of so many characters at most.
fn cut(full: &str, most: usize) -> String {
    if full.chars().count() <= most {
        return text(full);
    }
    let beginning: String = full.chars().take(most - 1).collect();
    text(&format!("{beginning}…"))
}

/// Where a value stands on a line of so many units, of which `most` is the end.
fn scaled(value: Decimal, most: Decimal, units: i64) -> i64 {
    if most <= Decimal::ZERO {
        return 0;
    }
    let part = value.checked_mul(Decimal::from(units)).and_then(|value| value.checked_div(most));
    part.and_then(|part| part.round().to_i64()).unwrap_or(0).clamp(-units, units)
}

/// The head of a chart, with what it shows.
fn opened(class: &str, (width, height): (i64, i64), title: &str, about: &str) -> String {
    let (title, about) = (text(title), text(about));
    format!(
        "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>\
         <desc>{about}</desc>"
    )
}

/// A QR code of a text; none: the text is too long for one.
pub(super) fn qr(content: &str) -> Option<String> {
    let code = QrCode::new(content.as_bytes()).ok()?;
    let picture = code.render::<svg::Color<'_>>().min_dimensions(160, 160).quiet_zone(true).build();
    let picture = picture.split_once("?>").map_or(picture.clone(), |(_, svg)| svg.to_owned());
    Some(picture.replacen("<svg ", "<svg class=\"qr\" role=\"img\" aria-label=\"QR code\" ", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_on_their_line() {
        let decimal = |text: &str| text.parse::<Decimal>().unwrap();
        assert_eq!(scaled(decimal("5"), decimal("10"), 100), 50);
        assert_eq!(scaled(decimal("20"), decimal("10"), 100), 100);
        assert_eq!(scaled(decimal("-5"), decimal("10"), 100), -50);
        assert_eq!(scaled(decimal("5"), Decimal::ZERO, 100), 0);
    }

    #[test]
    fn what_peers_name_is_escaped_in_charts() {
        assert_eq!(cut("<script>", 20), "&lt;script&gt;");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert!(opened("c", (1, 1), "\"><script>", "").contains("&quot;&gt;&lt;script&gt;"));
        assert!(qr("https://example.org").unwrap().starts_with("<svg class=\"qr\""));
    }
}
