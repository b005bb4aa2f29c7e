//! The report of a measurement as one page that needs nothing else, with the charts of the console.

use crate::web::{BarChart, report as page};
use rust_decimal::Decimal;
use serde_json::Value;

/// A page with the figures of a report (any JSON object), its latencies by percentile, and a chart for each figure of its runs.
pub fn html(title: &str, report: &Value) -> String {
    let mut charts = vec![latencies(report)];
    charts.extend(runs(report));
    let members = report.as_object().into_iter().flatten();
    let figures = members.filter(|(_, value)| !value.is_array() && !value.is_object());
    let figures: Vec<(String, String)> = figures.map(|(name, value)| (name.replace('_', " "), shown(value))).collect();
    page(title, &charts, &figures)
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn latencies(report: &Value) -> BarChart {
    let points = report["curve"].as_array().into_iter().flatten();
    let bars = points.filter_map(|point| {
        let (percentile, us) = (point[0].as_u64()?, point[1].as_u64()?);
        let percentile = Decimal::from(percentile).checked_div(Decimal::from(1_000))?.normalize();
        Some((format!("p{percentile}"), Decimal::from(us), format!("{us} µs")))
    });
    let title = "Time from when a reading was due to its acknowledgement, by percentile".to_owned();
    BarChart { title, bars: bars.collect() }
}

/// The figures of each run side by side. The first member of a run names it.
fn runs(report: &Value) -> Vec<BarChart> {
    let runs: Vec<_> = report["runs"].as_array().into_iter().flatten().filter_map(Value::as_object).collect();
    let names = runs.first().into_iter().flat_map(|run| run.keys().skip(1));
    let charts = names.filter(|name| name.ends_with("_us") || name.ends_with("_per_s")).map(|name| {
        let bars = runs.iter().filter_map(|run| {
            let (first, of) = run.iter().next()?;
            let value = run.get(name)?.as_u64()?;
            Some((format!("{} {}", shown(of), first.replace('_', " ")), Decimal::from(value), value.to_string()))
        });
        BarChart { title: name.replace("_us", ", µs").replace('_', " "), bars: bars.collect() }
    });
    charts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_page_has_figures_and_latencies_and_escapes_what_it_shows() {
        let report = json!({
            "readings_durable_per_s": 500_000, "last_error": "<b>", "curve": [[50_000, 800], [99_900, 12_000]],
        });
        let page = html("load", &report);
        for part in ["500000", "readings durable per s", "p99.9", "12000 µs", "&lt;b&gt;", "chart bars"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<b>"));
    }

    #[test]
    fn each_figure_of_the_runs_has_a_chart() {
        let run = |in_flight: u64, p99: u64| json!({ "in_flight": in_flight, "operations": 7, "p99_us": p99 });
        let page = html("callbacks", &json!({ "runs": [run(1, 90), run(256, 4_000)] }));
        for part in ["p99, µs", "1 in flight", "256 in flight", "4000"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<h2>operations"));
    }
}
