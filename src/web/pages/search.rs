//! The search box: what is typed may be the beginning of a session's id, an operation, a charger, the number of a receipt, or an
//! account.

use super::super::path::segment;
use super::super::problem::Problem;
use super::view::plain;
use super::{Page, Visit};
use minijinja::{Value, context};
use serde_json::Value as Json;

/// Most hits of one kind.
const HITS: &str = "10";

pub(super) fn search(visit: &Visit<'_>) -> Result<Page, Problem> {
    let Some(q) = visit.parameter("q").map(str::trim).filter(|q| !q.is_empty()) else {
        return Ok(Page::new("Search", "search.html").with("groups", Vec::<Value>::new()));
    };
    if q.starts_with("op_") || q.starts_with("hold_") {
        let operation = q.replacen("hold_", "op_", 1);
        if visit.document(&format!("operations/{}", segment(&operation))).is_ok() {
            return Ok(Page::elsewhere(format!("/operations/{}", segment(&operation))));
        }
    }
    let mut groups: Vec<(&str, Vec<(String, Value)>)> = Vec::new();
    let digits = q.strip_prefix("ses_").unwrap_or(q);
    if digits.len() >= 2 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let found = visit.document_with("sessions", &[("id", q), ("limit", HITS)]);
        groups.push(("Sessions", hits(found, "/sessions/", "id")?));
    }
    // A number of a document has a dash, and to look through all of them takes long.
    if q.contains('-') {
        let found = visit.document(&format!("invoices/{}", segment(q)));
        let found = found.map(|found| serde_json::json!({ "items": [found] }));
        let rows = hits(found, "/receipts/", "session")?;
        groups.push(("Receipts and invoices", rows));
    }
    let found = visit.document_with("chargers", &[("prefix", q), ("limit", HITS)]);
    groups.push(("Chargers", hits(found, "/chargers/", "id")?));
    let found = visit.document_with("accounts", &[("q", q), ("limit", HITS)]);
    groups.push(("Accounts", hits(found, "/accounts/", "id")?));
    let found = visit.document_with("processors", &[("q", q), ("limit", HITS)]);
    groups.push(("Processors", hits(found, "/processors/", "id")?));
    groups.retain(|(_, rows)| !rows.is_empty());
    if let [(_, rows)] = groups.as_slice()
        && let [(address, _)] = rows.as_slice()
    {
        return Ok(Page::elsewhere(address));
    }
    let groups: Vec<Value> = groups
        .into_iter()
        .map(|(name, rows)| {
            let rows: Vec<Value> = rows.into_iter().map(|(address, row)| context! { address, row }).collect();
            context! { name, rows }
        })
        .collect();
    Ok(Page::new("Search", "search.html").with("groups", groups))
}

/// The items of a list with their addresses; a list that takes no such text has none.
fn hits(found: Result<Json, Problem>, address: &str, member: &str) -> Result<Vec<(String, Value)>, Problem> {
    let found = match found {
        Ok(found) => found,
        Err(problem) if matches!(problem.status, 400 | 404 | 409) => return Ok(Vec::new()),
        Err(problem) => return Err(problem),
    };
    let items = found["items"].as_array().into_iter().flatten();
    Ok(items
        .map(|item| (format!("{address}{}", segment(item[member].as_str().unwrap_or_default())), plain(item)))
        .collect())
}
