//! Every address of the pages, as one table.

use super::super::path;
use super::super::problem::Problem;
use super::forms::{Form, Typed};
use super::{Page, Visit, search, show, show_books, show_money, show_session, show_tariffs};
use crate::limits::{CONSOLE_BODY_BYTES, CONSOLE_FILE_BYTES};
use axum::http::Method;
use matchit::Router;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// An address and what is shown there.
pub(in crate::web) struct PageRoute {
    /// The path; a segment in braces stands for any text, under that name.
    pub pattern: &'static str,
    /// The entry of the navigation that it belongs to.
    pub tab: &'static str,
    /// What makes the page.
    pub show: fn(&Visit<'_>) -> Result<Page, Problem>,
    /// The form that is sent there by POST; then there is no page to ask for.
    pub form: Option<Form>,
}

/// A page that a request is for.
pub(in crate::web) struct FoundPage {
    /// The page.
    pub page: &'static PageRoute,
    /// The named segments, unescaped.
    pub named: BTreeMap<String, String>,
    /// The path, with each segment escaped.
    pub path: String,
}

impl FoundPage {
    /// Longest body of its form, in bytes.
    pub fn bytes_max(&self) -> usize {
        if self.page.pattern == "/reconciliation/import" { CONSOLE_FILE_BYTES } else { CONSOLE_BODY_BYTES }
    }
}

const fn page(pattern: &'static str, tab: &'static str, show: fn(&Visit<'_>) -> Result<Page, Problem>) -> PageRoute {
    PageRoute { pattern, tab, show, form: None }
}

const fn form(pattern: &'static str, tab: &'static str, form: Form) -> PageRoute {
    PageRoute { pattern, tab, show: |_| Err(Problem::method("POST")), form: Some(form) }
}

/// The forms are orders of the API under the same path.
static PAGES: &[PageRoute] = &[
    page("/", "overview", show::overview),
    page("/sessions", "sessions", show_session::list),
    page("/sessions/{id}", "sessions", show_session::one),
    form("/sessions/{id}/stop", "sessions", Form::new("Stop the session", "/sessions/{id}", Typed::Nothing)),
    form("/sessions/{id}/refund", "sessions", Form::new("Give money back", "/sessions/{id}", Typed::Operations)),
    form(
        "/sessions/{id}/quarantine/release",
        "sessions",
        Form::new("Bill energy kept for review", "/sessions/{id}", Typed::Member("payable")),
    ),
    form(
        "/sessions/{id}/quarantine/drop",
        "sessions",
        Form::new("Drop energy kept for review", "/sessions/{id}", Typed::Nothing),
    ),
    form("/holds/{id}/release", "sessions", Form::new("Release the hold", "/operations/{id}", Typed::Member("held"))),
    page("/operations/{id}", "sessions", show_session::operation),
    page("/receipts", "receipts", show_money::receipts),
    page("/receipts/{id}", "receipts", show_money::receipt),
    page("/invoices", "receipts", show_money::invoices),
    page("/chargers", "chargers", show::chargers),
    page("/chargers/{id}", "chargers", show::charger),
    page("/processors", "processors", show::processors),
    page("/processors/{id}", "processors", show::processor),
    form("/processors/{id}/drain", "processors", Form::new("New holds", "/processors/{id}", Typed::Nothing)),
    form("/processors/{id}/test", "processors", Form::new("Test the processor", "/processors/{id}", Typed::Nothing)),
    page("/accounts", "accounts", show_money::accounts),
    form("/accounts", "accounts", Form::new("Open an account", "/accounts", Typed::Nothing)),
    page("/accounts/{id}", "accounts", show_money::account),
    form("/accounts/{id}/topup", "accounts", Form::new("Top up", "/accounts/{id}", Typed::Member("amount"))),
    form("/accounts/{id}/promotion", "accounts", Form::new("Promotion", "/accounts/{id}", Typed::Member("amount"))),
    form(
        "/accounts/{id}/limit",
        "accounts",
        Form::new("Credit limit", "/accounts/{id}", Typed::Member("credit_limit_after")),
    ),
    form(
        "/accounts/{id}/close",
        "accounts",
        Form::new("Close the account", "/accounts/{id}", Typed::Member("paid_out")),
    ),
    page("/reconciliation", "reconciliation", show_books::reconciliation),
    page("/reconciliation/batch", "reconciliation", show_books::batch),
    form("/reconciliation/import", "reconciliation", Form::of_file("Settlement file", "/reconciliation")),
    form("/settlement/revert", "reconciliation", Form::new("Take a batch back", "/reconciliation", Typed::Nothing)),
    page("/ledger", "ledger", show_books::ledger),
    page("/tariffs", "tariffs", show_tariffs::list),
    page("/tariffs/{id}", "tariffs", show_tariffs::one),
    page("/system", "system", show_books::system),
    form("/webhooks/{id}/test", "system", Form::new("Test the webhook", "/system", Typed::Nothing)),
    page("/search", "", search::search),
];

type Methods = Vec<&'static PageRoute>;

static ROUTER: LazyLock<Router<Methods>> = LazyLock::new(|| {
    let mut router = Router::new();
    for route in PAGES {
        let same: Methods = PAGES.iter().filter(|other| other.pattern == route.pattern).collect();
        // The second page of a pattern finds the first one's entry, which has both.
        if std::ptr::eq(same[0], route) {
            let pattern = if route.pattern == "/" { "/%" } else { route.pattern };
            router.insert(pattern, same).expect("patterns of the table do not overlap");
        }
    }
    router
});

/// Finds the page of a request.
///
/// # Errors
/// 404 where there is no such page, 405 where it takes another method.
pub(in crate::web) fn find(method: &Method, path: &str) -> Result<FoundPage, Problem> {
    let path = path::canonical(path);
    let found = ROUTER.at(&path).map_err(|_| Problem::nothing_there())?;
    let takes = |page: &&&PageRoute| if page.form.is_some() { *method == Method::POST } else { *method == Method::GET };
    let Some(page) = found.value.iter().find(takes) else {
        let allowed: Vec<&str> =
            found.value.iter().map(|page| if page.form.is_some() { "POST" } else { "GET" }).collect();
        return Err(Problem::method(&allowed.join(", ")));
    };
    let named = found.params.iter().map(|(name, text)| (name.to_owned(), path::unescaped(text))).collect();
    Ok(FoundPage { page, named, path })
}

#[cfg(test)]
mod tests {
    use super::super::super::routes;
    use super::*;

    /// A form without an order of the API behind it would need a right of its own.
    #[test]
    fn every_form_is_an_order_of_the_api() {
        for page in PAGES.iter().filter(|page| page.form.is_some()) {
            let path = page.pattern.replace("{id}", "x").replace("/reconciliation/import", "/settlement/parts");
            assert!(routes::find(&Method::POST, &format!("/api/v1{path}")).is_ok(), "{path}");
        }
    }

    #[test]
    fn pages_are_found_by_method_and_path() {
        assert_eq!(find(&Method::GET, "/").map(|found| found.page.tab).unwrap(), "overview");
        let found = find(&Method::GET, "/sessions/a%2Fb").unwrap();
        assert_eq!((found.named["id"].as_str(), found.path.as_str()), ("a/b", "/sessions/a%2Fb"));
        assert_eq!(find(&Method::POST, "/sessions").map(|_| ()).unwrap_err().status, 405);
        assert_eq!(find(&Method::GET, "/sessions/x/stop").map(|_| ()).unwrap_err().status, 405);
        assert_eq!(find(&Method::GET, "/nothing").map(|_| ()).unwrap_err().status, 404);
    }
}
