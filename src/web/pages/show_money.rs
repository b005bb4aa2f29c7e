//! Receipts, invoices and accounts.

use super::super::path::segment;
use super::super::problem::Problem;
use super::super::request::Answer;
use super::show::{Listed, optional};
use super::view::{plain, template};
use super::{Page, Visit, charts};
use crate::billing::verify_receipt;
use minijinja::Value;
use std::collections::BTreeMap;

pub(super) fn receipts(visit: &Visit<'_>) -> Result<Page, Problem> {
    let takes = &["charger", "site", "since", "until", "q"];
    Listed { address: "/receipts", api: "receipts", takes }.add_to(Page::new("Receipts", "receipts.html"), visit)
}

/// A receipt as the billing room makes it, in the console's own template, with the state of its signature.
pub(super) fn receipt(visit: &Visit<'_>) -> Result<Page, Problem> {
    let id = visit.name("id");
    let signed = match visit.asking.get(&format!("receipts/{}", segment(&format!("{id}.json"))), &BTreeMap::new())? {
        Answer::Text(_, text) => text,
        Answer::Json(document) => document.to_string(),
        Answer::Page { text, .. } => text,
    };
    let (sheet, fault) = match verify_receipt(signed.as_bytes(), None) {
        Ok(receipt) => (Some(receipt.to_html_with(template("receipt_sheet.html")).map_err(Problem::internal)?), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let document: serde_json::Value = serde_json::from_str(&signed).map_err(Problem::internal)?;
    let text = |name: &str| document["receipt"][name].as_str().unwrap_or_default().to_owned();
    let title = match text("number") {
        number if number.is_empty() => "Receipt".to_owned(),
        number => format!("Receipt {number}"),
    };
    Ok(Page::new(title, "receipt.html")
        .with("sheet", sheet.map_or(Value::UNDEFINED, charts::safe))
        .with("fault", fault.map_or(Value::UNDEFINED, Value::from))
        .with("key_id", plain(&document["signature"]["key_id"]))
        .with("session", text("session")))
}

pub(super) fn invoices(visit: &Visit<'_>) -> Result<Page, Problem> {
    let takes = &["series", "kind", "since", "until", "q"];
    let page = Page::new("Invoices", "invoices.html");
    let page = Listed { address: "/invoices", api: "invoices", takes }.add_to(page, visit)?;
    // A check reads every document of a series, so it is made on demand.
    let check = visit.parameter("check").filter(|check| *check == "true").unwrap_or("false");
    let series = optional(visit.document_with("invoices/series", &[("check", check)]))?;
    Ok(page.with("series", series).with("is_checked", check == "true"))
}

pub(super) fn accounts(visit: &Visit<'_>) -> Result<Page, Problem> {
    let page = Page::new("Accounts", "accounts.html").with("may_open", visit.asking.may("accounts"));
    Listed { address: "/accounts", api: "accounts", takes: &["state", "q"] }.add_to(page, visit)
}

pub(super) fn account(visit: &Visit<'_>) -> Result<Page, Problem> {
    let id = visit.name("id");
    let account = visit.document(&format!("accounts/{}", segment(id)))?;
    let mut movements: Vec<Value> = account["movements"].as_array().into_iter().flatten().map(plain).collect();
    movements.reverse();
    let sessions = visit.document_with("sessions", &[("account", id), ("limit", "20")])?;
    let is_open = account["state"] == "open";
    Ok(Page::new(id, "account.html")
        .with("account", plain(&account))
        .with("movements", movements)
        .with("sessions", plain(&sessions["items"]))
        .with("may_pay", is_open && visit.asking.may("accounts/x/topup"))
        .with("may_limit", is_open && visit.asking.may("accounts/x/limit"))
        .with("may_close", is_open && visit.asking.may("accounts/x/close")))
}
