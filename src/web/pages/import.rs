//! A settlement file that is brought by a page: matched first, and booked when that was looked at.

use super::super::problem::Problem;
use super::forms::Fields;
use super::show::with_query;
use super::show_books::counts;
use super::view::{object, plain};
use super::{Page, Visit, charts};
use crate::api::{BatchLine, BatchPart};
use crate::billing::reconciliation::{ColumnMap, SettlementLine, read_rows};
use crate::limits::SETTLEMENT_LINES_PER_PART;
use crate::units::{Currency, counted};
use minijinja::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long it is waited until a batch is booked.
const BOOKED_WITHIN: Duration = Duration::from_secs(20);

/// The fields of the form again.
fn kept(fields: &Fields) -> Value {
    object(fields.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))))
}

/// Tries a settlement file, and books it when its form says that this was seen.
///
/// # Errors
/// A file or a map that cannot be read, with the line; what the order is refused with.
pub(super) fn import(visit: &Visit<'_>, fields: &Fields) -> Result<Page, Problem> {
    visit.asking.permitted("settlement/parts")?;
    let field = |name: &str| fields.get(name).map(|text| text.trim()).unwrap_or_default();
    let wrong = |message: String| {
        let page = Page::new("Settlement file", "preview.html").with("fields", kept(fields));
        Ok(Page { status: 400, ..page.with("wrong", message) })
    };
    let currency: Currency = match field("currency").parse() {
        Ok(currency) => currency,
        Err(error) => return wrong(format!("the currency: {error}")),
    };
    let columns: ColumnMap = match toml::from_str(field("map")) {
        Ok(columns) => columns,
        Err(error) => return wrong(format!("the map of the columns: {}", error.to_string().trim_end())),
    };
    let text = fields.get("file").map(String::as_str).unwrap_or_default();
    let found = match read_rows(text.as_bytes(), &columns, currency) {
        Ok(found) => found,
        Err(error) => return wrong(format!("the file: {error}")),
    };
    if !found.bad.is_empty() {
        return wrong(format!("the file: {}", found.bad));
    }
    if found.rows.is_empty() {
        return wrong("the file has no line; drop it on the page, or paste its text".to_owned());
    }
    let key = [("processor", field("processor")), ("batch", field("batch"))];
    let known = match visit.document_with("settlement/batch", &key) {
        Ok(known) => Some(known),
        Err(problem) if problem.status == 404 => None,
        Err(problem) => return Err(problem),
    };
    let revision = known.as_ref().map_or(1, |known| {
        let revision = known["batch"]["revision"].as_u64().unwrap_or(1);
        if known["batch"]["state"] == "reverted" { revision + 1 } else { revision }
    });
    let part = |number: usize, lines: &[SettlementLine], last: bool| {
        let lines: Vec<BatchLine> = lines.iter().map(|line| BatchLine::of(line, currency)).collect();
        let part = BatchPart {
            processor: field("processor").to_owned(),
            batch: field("batch").to_owned(),
            revision: u32::try_from(revision).unwrap_or(u32::MAX),
            part: u32::try_from(number).unwrap_or(u32::MAX),
            last,
            at: field("at").to_owned(),
            currency: currency.code().to_owned(),
            lines,
            new_processor: false,
        };
        serde_json::to_value(part).map_err(Problem::internal)
    };
    if !fields.contains_key("confirmed") {
        let view = match visit.asking.order("settlement/preview", &part(1, &found.rows, true)?, None) {
            Ok(view) => view,
            Err(problem) if problem.status == 400 => return wrong(problem.message),
            Err(problem) => return Err(problem),
        };
        return Ok(Page::new("Settlement file", "preview.html")
            .with("fields", kept(fields))
            .with("view", plain(&view))
            .with("known", known.as_ref().map_or(Value::UNDEFINED, plain))
            .with("lines", counted(found.rows.len() as u64, "line"))
            .with("piles", charts::safe(charts::bars("Lines by what they settle", &counts(&view)))));
    }
    let parts: Vec<&[SettlementLine]> = found.rows.chunks(SETTLEMENT_LINES_PER_PART).collect();
    for (index, lines) in parts.iter().enumerate() {
        visit.asking.order("settlement/parts", &part(index + 1, lines, index + 1 == parts.len())?, None)?;
    }
    let until = Instant::now() + BOOKED_WITHIN;
    while Instant::now() < until {
        let view = visit.document_with("settlement/batch", &key)?;
        if view["batch"]["state"] == "booked" {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(Page::elsewhere(with_query("/reconciliation/batch", &BTreeMap::new(), &key)))
}
