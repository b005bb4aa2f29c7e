//! The report of a load run as one page that needs nothing else.

use serde_json::Value;
use std::fmt::Write;

/// A page with the figures of a report (any JSON object) and the curve of its latencies.
pub fn html(title: &str, report: &Value) -> String {
    let mut page = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    let style = "body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}\
        table{border-collapse:collapse}td{padding:.15rem 1rem .15rem 0;font-variant-numeric:tabular-nums}\
        td+td{text-align:right}svg{width:100%;height:auto}text{font-size:11px}\
        @media(prefers-color-scheme:dark){body{background:#111;color:#ddd}svg{color:#ddd}}";
    // Writing to a string cannot fail.
    let _ = writeln!(page, "<title>{}</title><style>{style}</style></head><body>", escape(title));
    let _ = writeln!(page, "<h1>{}</h1>", escape(title));
    page.push_str(&curve(report));
    page.push_str("<table>\n");
    if let Some(members) = report.as_object() {
        for (name, value) in members.iter().filter(|(_, value)| !value.is_array() && !value.is_object()) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let _ = writeln!(page, "<tr><td>{}</td><td>{}</td></tr>", escape(name), escape(&value));
        }
    }
    page.push_str("</table>\n</body></html>\n");
    page
}

/// Percentiles on the x axis, one step each; latency on a logarithmic y axis.
fn curve(report: &Value) -> String {
    let points: Vec<(u64, u64)> = report["curve"]
        .as_array()
        .map(|points| points.iter().filter_map(|point| Some((point[0].as_u64()?, point[1].as_u64()?))).collect())
        .unwrap_or_default();
    if points.len() < 2 {
        return String::new();
    }
    let (width, height, left) = (700_u32, 260_u32, 60_u32);
    // Thousandths of the base-2 logarithm, from the bit length and the bits below the highest: whole numbers suffice.
    let log = |us: u64| {
        let us = us.max(1);
        let bits = 63 - us.leading_zeros();
        u64::from(bits) * 1_000 + ((us * 1_000) >> bits) - 1_000
    };
    let top = points.iter().map(|(_, us)| log(*us)).max().unwrap_or(1).max(1);
    let last = u32::try_from(points.len() - 1).unwrap_or(1);
    let mut line = String::new();
    let mut labels = String::new();
    for ((percentile, us), place) in points.iter().zip(0_u32..) {
        let x = left + place * (width - left - 20) / last;
        let y = u64::from(height - 40) - log(*us) * u64::from(height - 70) / top + 10;
        let _ = write!(line, "{x},{y} ");
        let _ = write!(labels, "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{us}</text>", y.saturating_sub(6));
        let percentile = format!("{}.{:03}", percentile / 1_000, percentile % 1_000);
        let percentile = percentile.trim_end_matches('0').trim_end_matches('.');
        let _ = write!(labels, "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">p{percentile}</text>", height - 8);
    }
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"latency in microseconds by percentile\">\
         <polyline points=\"{line}\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"2\"/>\
         <g fill=\"currentColor\">{labels}</g></svg>\n<p>Time from when a reading was due to its acknowledgement, in \
         microseconds, by percentile.</p>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_figures_and_curve_and_escapes_what_it_shows() {
        let report = serde_json::json!({
            "readings_durable_per_s": 500_000, "last_error": "<b>", "curve": [[50_000, 800], [99_900, 12_000]],
        });
        let page = html("load", &report);
        assert!(page.contains("500000") && page.contains("p99.9") && page.contains("12000"), "{page}");
        assert!(page.contains("&lt;b&gt;") && !page.contains("<b>"));
    }
}
