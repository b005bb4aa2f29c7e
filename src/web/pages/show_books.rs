//! Reconciliation, the ledger, and the gate itself.

use super::super::problem::Problem;
use super::show::{Listed, optional};
use super::view::{decimal, plain};
use super::{Page, Visit, charts};
use rust_decimal::Decimal;
use serde_json::Value as Json;

/// The map that a new settlement file begins with.
pub(super) const MAP: &str =
    "operation = \"operation\"\nreference = \"reference\"\ngross = \"gross\"\nfee = \"fee\"\nnet = \"net\"\n";

pub(super) fn reconciliation(visit: &Visit<'_>) -> Result<Page, Problem> {
    let summary = visit.document("settlement")?;
    let differs = visit.document_with("settlement/differs", &[("limit", "20")])?;
    let extra = visit.document_with("settlement/extra", &[("limit", "20")])?;
    let missing = visit.document_with("settlement/sessions", &[("state", "missing"), ("limit", "20")])?;
    let processors = visit.document("processors")?;
    let mut piles: Vec<(String, Decimal, String)> = Vec::new();
    for (state, count) in summary["states"].as_object().into_iter().flatten() {
        piles.push((state.clone(), decimal(&count.to_string()), count.to_string()));
    }
    let page = Page::new("Reconciliation", "reconciliation.html")
        .with("piles", charts::safe(charts::bars("Sessions of which money was taken, by what settles them", &piles)))
        .with("summary", plain(&summary))
        .with("differs", plain(&differs["items"]))
        .with("extra", plain(&extra["items"]))
        .with("missing", plain(&missing["items"]))
        .with("processors", plain(&processors["items"]))
        .with("map", MAP)
        .with("now", crate::host::wall_clock().to_rfc3339())
        .with("may_import", visit.asking.may("settlement/parts"));
    let takes = &["state", "processor", "since", "until", "q"];
    Listed { address: "/reconciliation", api: "settlement/batches", takes }.add_to(page, visit)
}

pub(super) fn batch(visit: &Visit<'_>) -> Result<Page, Problem> {
    let (processor, name) = (visit.parameter("processor"), visit.parameter("batch"));
    let key = [("processor", processor.unwrap_or_default()), ("batch", name.unwrap_or_default())];
    let view = visit.document_with("settlement/batch", &key)?;
    let page = Page::new(format!("Batch {}", name.unwrap_or_default()), "batch.html")
        .with("view", plain(&view))
        .with("piles", charts::safe(charts::bars("Lines by what they settle", &counts(&view))))
        .with("may_revert", visit.asking.may("settlement/revert"));
    let list =
        Listed { address: "/reconciliation/batch", api: "settlement/batch/lines", takes: &["processor", "batch"] };
    list.add_to(page, visit)
}

/// How many lines of a batch are what.
pub(super) fn counts(view: &Json) -> Vec<(String, Decimal, String)> {
    let counts = view["counts"].as_object().into_iter().flatten();
    counts.map(|(state, count)| (state.clone(), decimal(&count.to_string()), count.to_string())).collect()
}

pub(super) fn ledger(visit: &Visit<'_>) -> Result<Page, Problem> {
    let books = visit.document("ledger")?;
    let page = Page::new("Ledger", "ledger.html").with("books", plain(&books));
    let list = Listed { address: "/ledger", api: "ledger/trial-balance", takes: &["account", "q"] };
    list.add_to(page, visit)
}

pub(super) fn system(visit: &Visit<'_>) -> Result<Page, Problem> {
    let figures = visit.document("figures")?;
    let audit = visit.document_with("audit", &[("limit", "25")]);
    let events = visit.asking.get(
        "events",
        &[("follow", "false"), ("limit", "1")].map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    );
    Ok(Page::new("System", "system.html")
        .with("figures", plain(&figures))
        .with("machine", plain(&visit.document("system")?))
        .with("books", plain(&visit.document("ledger")?))
        .with("audit", optional(audit)?)
        .with("audit_check", optional(visit.document("audit/check"))?)
        .with("webhooks", optional(visit.document("webhooks"))?)
        .with("tokens", optional(visit.document("tokens"))?)
        .with("feed", events.is_ok())
        .with("version", crate::version::text())
        .with("may_test", visit.asking.may("webhooks/x/test")))
}
