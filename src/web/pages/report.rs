//! A page that needs no gate and no other file: figures and charts of a measurement, drawn as the console draws them.

use super::charts;
use rust_decimal::Decimal;
use std::fmt::Write;

/// A chart of bars: a title, and of each bar its name, its value, and the value as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarChart {
    /// What it shows.
    pub title: String,
    /// Its bars.
    pub bars: Vec<(String, Decimal, String)>,
}

/// A page with charts, and a table of figures by their names.
pub fn report(title: &str, charts: &[BarChart], figures: &[(String, String)]) -> String {
    let shown = charts::text(title);
    let style = super::assets::asset("/assets/console.css").map(|asset| asset.text).unwrap_or_default();
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{shown}</title>\n<style>{style}</style></head>\n<body><main>\
         <h1>{shown}</h1>\n"
    );
    // Writing to a string cannot fail.
    for BarChart { title, bars } in charts.iter().filter(|chart| !chart.bars.is_empty()) {
        let drawn = charts::bars(title, bars);
        let _ = writeln!(page, "<section class=\"card\"><h2>{}</h2>{drawn}</section>", charts::text(title));
    }
    page.push_str("<section class=\"card flush\"><h2>Figures</h2><table><tbody>\n");
    for (name, value) in figures {
        let _ = writeln!(page, "<tr><td>{}</td><td class=\"n\">{}</td></tr>", charts::text(name), charts::text(value));
    }
    page.push_str("</tbody></table></section>\n</main></body></html>\n");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_else_and_escapes_what_it_shows() {
        let bars = vec![("p50".to_owned(), Decimal::from(800), "800 µs".to_owned())];
        let chart = BarChart { title: "Time & more".to_owned(), bars };
        let page = report("<bench>", &[chart], &[("last error".to_owned(), "<b>".to_owned())]);
        for part in
            ["&lt;bench&gt;", "<h2>Time &amp; more</h2><svg class=\"chart bars\"", "800 µs", "&lt;b&gt;", ".chart .bar"]
        {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<b>") && !page.contains("href=") && !page.contains("src="), "{page}");
    }
}
