//! The console's pages: each is made of the documents of the API that its sender may have, and each of its forms is an order of
//! the API. No page has a rule, a filter or a right of its own.
//!
//! ```text
//!   request ─▶ table ─┬─▶ show ──▶ documents of the API ─▶ charts, template ─▶ HTML
//!                     └─▶ forms ─▶ dry run ─▶ the amount typed again ─▶ order of the API
//! ```

mod assets;
mod charts;
mod forms;
mod import;
mod report;
mod respond;
mod search;
mod show;
mod show_books;
mod show_money;
mod show_session;
mod show_tariffs;
mod table;
mod view;

pub(super) use assets::{Asset, asset};
pub use report::{BarChart, report};
pub(super) use respond::{refused, serve, wants_page};
pub(super) use table::{FoundPage, find};

use super::asking::Asking;
use super::problem::Problem;
use minijinja::Value;
use std::collections::BTreeMap;

/// A page that is to be shown.
#[derive(Debug)]
pub(super) struct Page {
    /// HTTP's status.
    status: u16,
    /// Its title.
    title: String,
    /// Its template.
    template: &'static str,
    /// What the template shows.
    values: BTreeMap<&'static str, Value>,
    /// Another address that the browser is sent to instead.
    elsewhere: Option<String>,
}

impl Page {
    fn new(title: impl Into<String>, template: &'static str) -> Page {
        Page { status: 200, title: title.into(), template, values: BTreeMap::new(), elsewhere: None }
    }

    /// The same with something more to show.
    fn with(mut self, name: &'static str, value: impl Into<Value>) -> Page {
        self.values.insert(name, value.into());
        self
    }

    /// The browser is sent to another page of the console.
    fn elsewhere(address: impl Into<String>) -> Page {
        Page { elsewhere: Some(address.into()), ..Page::new("", "message.html") }
    }

    /// A refusal as a page.
    fn of_problem(problem: &Problem) -> Page {
        let title = match problem.status {
            404 => "Nothing there",
            403 => "Not permitted",
            503 => "Not now",
            status if status >= 500 => "A failure of the gate",
            _ => "That does not work",
        };
        let page = Page::new(title, "message.html").with("message", problem.message.clone()).with("code", problem.code);
        Page { status: problem.status, ..page }
    }
}

/// What a page is asked for.
pub(super) struct Visit<'a> {
    /// What answers its questions.
    pub asking: &'a Asking<'a>,
    /// The named segments of its address.
    pub named: &'a BTreeMap<String, String>,
    /// What stands behind the question mark.
    pub query: &'a BTreeMap<String, String>,
}

impl Visit<'_> {
    /// A named segment.
    fn name(&self, name: &str) -> &str {
        self.named.get(name).map(String::as_str).unwrap_or_default()
    }

    /// A parameter that is not empty.
    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A document of the API.
    fn document(&self, path: &str) -> Result<serde_json::Value, Problem> {
        self.asking.document(path, &BTreeMap::new())
    }

    /// The same with parameters.
    fn document_with(&self, path: &str, parameters: &[(&str, &str)]) -> Result<serde_json::Value, Problem> {
        let query = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.asking.document(path, &query)
    }
}

/// Shows a page, or carries its form out.
fn answer(found: &FoundPage, visit: &Visit<'_>, fields: Option<&forms::Fields>) -> Page {
    let shown = match (found.page.form, fields) {
        (Some(form), Some(fields)) => forms::carry_out(form, found, visit, fields),
        _ => (found.page.show)(visit),
    };
    shown.unwrap_or_else(|problem| Page::of_problem(&problem))
}
