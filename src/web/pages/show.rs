//! The overview, chargers and processors; and what every list has.

use super::super::path::segment;
use super::super::problem::Problem;
use super::view::{decimal, plain};
use super::{Page, Visit, charts};
use minijinja::{Value, context};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rust_decimal::Decimal;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// Rows of a page.
const ROWS: &str = "50";

/// A list of the API as a page.
pub(super) struct Listed<'a> {
    /// The page's own address.
    pub address: &'a str,
    /// That of the API.
    pub api: &'a str,
    /// The parameters that it hands on.
    pub takes: &'a [&'a str],
}

impl Listed<'_> {
    /// Adds a list to a page: its rows, where it goes on, the same as a table for other programs, and the filters. A filter that
    /// is wrong is named above an empty list.
    ///
    /// # Errors
    /// What the list is refused with, but for a wrong filter.
    pub fn add_to(&self, page: Page, visit: &Visit<'_>) -> Result<Page, Problem> {
        let mut query: BTreeMap<String, String> = BTreeMap::new();
        for name in self.takes.iter().chain(&["after", "limit"]) {
            query.extend(visit.parameter(name).map(|value| ((*name).to_owned(), value.to_owned())));
        }
        let filters: BTreeMap<String, Value> = self
            .takes
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), Value::from(query.get(*name)?.as_str()))))
            .collect();
        let is_filtered = !filters.is_empty();
        let csv = with_query(&format!("/api/v1/{}", self.api), &query, &[("format", "csv"), ("limit", "1000")]);
        query.entry("limit".to_owned()).or_insert_with(|| ROWS.to_owned());
        let (items, next, wrong) = match visit.asking.document(self.api, &query) {
            Ok(document) => (plain(&document["items"]), document["next"].as_str().map(str::to_owned), None),
            Err(problem) if problem.status == 400 => (Value::from(Vec::<Value>::new()), None, Some(problem)),
            Err(problem) => return Err(problem),
        };
        query.remove("limit");
        let next = next.map(|next| with_query(self.address, &query, &[("after", &next)]));
        let status = if wrong.is_some() { 400 } else { page.status };
        let page = page
            .with("items", items)
            .with("next", next.map_or(Value::UNDEFINED, Value::from))
            .with("is_first", !query.contains_key("after"))
            .with("csv", csv)
            .with("filters", filters)
            .with("is_filtered", is_filtered)
            .with("wrong", wrong.map_or(Value::UNDEFINED, |problem| problem.message.into()))
            .with("address", self.address.to_owned());
        Ok(Page { status, ..page })
    }
}

/// An address with parameters; those in `more` go before others of their names.
pub(super) fn with_query(address: &str, query: &BTreeMap<String, String>, more: &[(&str, &str)]) -> String {
    let kept = query.iter().filter(|(name, _)| !more.iter().any(|(known, _)| known == name));
    let pairs = kept.map(|(name, value)| (name.as_str(), value.as_str())).chain(more.iter().copied());
    let text: Vec<String> =
        pairs.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))).collect();
    if text.is_empty() { address.to_owned() } else { format!("{address}?{}", text.join("&")) }
}

/// A part of a page that its reader may not see, or that is not there, is left out; the rest is shown.
pub(super) fn optional(found: Result<Json, Problem>) -> Result<Value, Problem> {
    match found {
        Ok(document) => Ok(plain(&document)),
        Err(problem) if matches!(problem.status, 403 | 404 | 409) => Ok(Value::UNDEFINED),
        Err(problem) => Err(problem),
    }
}

pub(super) fn overview(visit: &Visit<'_>) -> Result<Page, Problem> {
    let figures = visit.document("figures")?;
    let books = visit.document("ledger")?;
    let processors = visit.document("processors")?;
    let newest = visit.document_with("sessions", &[("limit", "12")])?;
    let mut differing = 0;
    for list in ["settlement/differs", "settlement/extra"] {
        let found = visit.document_with(list, &[("limit", "100")])?;
        differing += found["items"].as_array().map_or(0, Vec::len);
    }
    let money: Vec<Value> = figures["money"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(currency, sums)| context! { currency, sums => plain(sums) })
        .collect();
    let states = [("charging", "charging"), ("authorizing", "authorizing"), ("settling", "settling")];
    let bars: Vec<(String, Decimal, String)> = states
        .iter()
        .map(|(name, member)| {
            let count = figures[format!("sessions_{member}")].to_string();
            ((*name).to_owned(), decimal(&count), count)
        })
        .collect();
    let mut by_charger: Vec<(String, Decimal, String)> = Vec::new();
    let charging = visit.document_with("sessions", &[("state", "charging"), ("limit", "200")])?;
    for session in charging["items"].as_array().into_iter().flatten() {
        let energy = session["energy_kwh"].as_str().unwrap_or_default();
        let charger = session["charger"].as_str().unwrap_or_default().to_owned();
        by_charger.push((charger, decimal(energy), format!("{} kWh", decimal(energy).round_dp(2))));
    }
    by_charger.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    by_charger.truncate(8);
    Ok(Page::new("Overview", "overview.html")
        .with("figures", plain(&figures))
        .with(
            "energy",
            decimal(&figures["energy_wh"].to_string())
                .checked_div(Decimal::ONE_THOUSAND)
                .unwrap_or_default()
                .to_string(),
        )
        .with("books", plain(&books))
        .with("money", money)
        .with("processors", plain(&processors["items"]))
        .with("sessions", plain(&newest["items"]))
        .with("differing", Value::from(differing))
        .with("open_bars", charts::safe(charts::bars("Open sessions by state", &bars)))
        .with("energy_bars", charts::safe(charts::bars("Sessions with the most energy so far", &by_charger))))
}

pub(super) fn chargers(visit: &Visit<'_>) -> Result<Page, Problem> {
    let list = Listed { address: "/chargers", api: "chargers", takes: &["state", "site", "q", "prefix"] };
    list.add_to(Page::new("Chargers", "chargers.html"), visit)
}

pub(super) fn charger(visit: &Visit<'_>) -> Result<Page, Problem> {
    let id = visit.name("id");
    let found = visit.document_with("chargers", &[("prefix", id), ("limit", "1")])?;
    let charger = found["items"].as_array().and_then(|items| items.iter().find(|item| item["id"] == id));
    let charger = charger.ok_or_else(|| {
        Problem::new(404, format!("no charger `{id}` ever connected; the list of chargers has those that did"))
    })?;
    let sessions = visit.document_with("sessions", &[("charger", id), ("limit", "20")])?;
    Ok(Page::new(id, "charger.html")
        .with("charger", plain(charger))
        .with("sessions", plain(&sessions["items"]))
        .with("qr", charts::qr(&format!("charger:{id}")).map_or(Value::UNDEFINED, charts::safe))
        .with("may_start", visit.asking.may("chargers/x/start")))
}

pub(super) fn processors(visit: &Visit<'_>) -> Result<Page, Problem> {
    let list = Listed { address: "/processors", api: "processors", takes: &["state", "q"] };
    list.add_to(Page::new("Processors", "processors.html"), visit)
}

pub(super) fn processor(visit: &Visit<'_>) -> Result<Page, Problem> {
    let id = visit.name("id");
    let sheet = visit.document(&format!("processors/{}", segment(id)))?;
    let operations = visit.document_with("operations", &[("processor", id), ("limit", "100")])?;
    let rows = || operations["items"].as_array().into_iter().flatten();
    let mut outcomes: BTreeMap<String, i64> = BTreeMap::new();
    for row in rows() {
        let (kind, state) = (row["kind"].as_str().unwrap_or_default(), row["state"].as_str().unwrap_or_default());
        *outcomes.entry(format!("{kind}: {state}")).or_default() += 1;
    }
    let outcomes: Vec<_> =
        outcomes.into_iter().map(|(name, count)| (name, Decimal::from(count), count.to_string())).collect();
    Ok(Page::new(id, "processor.html")
        .with("processor", plain(&sheet))
        .with("operations", rows().take(25).map(plain).collect::<Vec<_>>())
        .with("outcomes", charts::safe(charts::bars("Outcomes of the last 100 operations", &outcomes)))
        .with("latencies", charts::safe(charts::bars("How long the last answers took", &latencies(rows()))))
        .with("may_drain", visit.asking.may("processors/x/drain"))
        .with("may_test", visit.asking.may("processors/x/test")))
}

/// Answers by how long they took.
fn latencies<'a>(rows: impl Iterator<Item = &'a Json>) -> Vec<(String, Decimal, String)> {
    const STEPS: [(i64, &str); 7] = [
        (50, "up to 50 ms"),
        (100, "up to 100 ms"),
        (250, "up to 250 ms"),
        (1_000, "up to 1 s"),
        (5_000, "up to 5 s"),
        (30_000, "up to 30 s"),
        (i64::MAX, "longer"),
    ];
    let mut counts = [0_i64; STEPS.len()];
    for row in rows {
        let at = |name: &str| row[name].as_str().and_then(|at| crate::units::Timestamp::parse_rfc3339(at).ok());
        if let (Some(asked), Some(answered)) = (at("requested_at"), at("answered_at")) {
            let took = answered.since(asked).ms();
            let step = STEPS.iter().position(|(most, _)| took <= *most).unwrap_or(STEPS.len() - 1);
            counts[step] += 1;
        }
    }
    let rows = STEPS
        .iter()
        .zip(counts)
        .map(|((_, name), count)| ((*name).to_owned(), Decimal::from(count), count.to_string()));
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_keep_their_filters() {
        let query = [("q", "a b&c"), ("after", "old")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(with_query("/x", &query.into(), &[("after", "new")]), "/x?q=a%20b%26c&after=new");
        assert_eq!(with_query("/x", &BTreeMap::new(), &[]), "/x");
    }

    #[test]
    fn answers_are_counted_by_what_they_took() {
        let row = |ms: u32| json!({ "requested_at": "2026-01-01T00:00:00.000Z", "answered_at": format!("2026-01-01T00:00:00.{ms:03}Z") });
        let found = latencies([row(50), row(51), row(999), json!({ "requested_at": null })].iter());
        let counts: Vec<&str> = found.iter().map(|(_, _, count)| count.as_str()).collect();
        assert_eq!(counts, ["1", "1", "0", "1", "0", "0", "0"]);
    }
}
