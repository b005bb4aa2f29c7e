//! Every address of the console, as one table: a method, a pattern of a path, and what answers.

use super::path::canonical;
use super::problem::Problem;
use super::request::{Answer, Call, Request};
use super::{documents, orders, path};
use crate::api::Views;
use crate::limits::{CONSOLE_BODY_BYTES, SETTLEMENT_PREVIEW_BYTES_MAX};
use axum::http::Method;
use matchit::Router;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// An address and what answers there.
pub(super) struct Route {
    /// The path; a segment in braces stands for any text, under that name.
    pub pattern: &'static str,
    /// What answers.
    pub action: Action,
}

/// What answers a request, and by which methods.
#[derive(Clone, Copy)]
pub(super) enum Action {
    /// Health and metrics: open to all clients, and independent of other requests. GET and HEAD.
    Probe(Probe),
    /// A question, by GET, with the parameters that it takes.
    Query(Handler, &'static [&'static str]),
    /// An order with a body of at most so many bytes, by POST.
    Order(Handler, usize),
}

/// What a probe is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    /// The process runs.
    Live,
    /// Every shard answers.
    Ready,
    /// Metrics in Prometheus's text format.
    Metrics,
}

/// Answers a request from views.
pub(super) type Handler = fn(&Call<'_>) -> Result<Answer, Problem>;

const fn probe(pattern: &'static str, probe: Probe) -> Route {
    Route { pattern, action: Action::Probe(probe) }
}

const fn query(pattern: &'static str, handler: Handler, parameters: &'static [&'static str]) -> Route {
    Route { pattern, action: Action::Query(handler, parameters) }
}

const fn order(pattern: &'static str, handler: Handler) -> Route {
    Route { pattern, action: Action::Order(handler, CONSOLE_BODY_BYTES) }
}

/// Parameters of every list.
const LIST: &[&str] = &["limit", "after"];
/// Parameters of a report on settlement.
const REPORT: &[&str] = &["processor", "grace_hours"];
/// Parameters of a list of such a report.
const REPORT_LIST: &[&str] = &["processor", "grace_hours", "limit", "after"];

/// The whole table. The manual's page on operations lists the same addresses; a test compares them.
pub(super) static ROUTES: &[Route] = &[
    probe("/livez", Probe::Live),
    probe("/readyz", Probe::Ready),
    probe("/healthz", Probe::Ready),
    probe("/metrics", Probe::Metrics),
    query("/api/figures", documents::figures, &[]),
    query("/api/sessions", documents::sessions, &["state", "charger", "id", "limit", "after"]),
    query("/api/sessions/{id}", documents::session, &[]),
    order("/api/sessions/{id}/stop", orders::stop),
    order("/api/sessions/{id}/refund", orders::refund),
    query("/api/chargers", documents::chargers, &["prefix", "limit", "after"]),
    order("/api/chargers/{id}/start", orders::start_at_charger),
    order("/api/chargers/{id}/trigger", orders::trigger_at_charger),
    query("/api/accounts", documents::accounts, LIST),
    order("/api/accounts", orders::open),
    query("/api/accounts/{id}", documents::account, &[]),
    order("/api/accounts/{id}/topup", orders::top_up),
    order("/api/accounts/{id}/promotion", orders::promote),
    order("/api/accounts/{id}/link", orders::link),
    order("/api/accounts/{id}/unlink", orders::unlink),
    order("/api/accounts/{id}/limit", orders::limit),
    order("/api/accounts/{id}/close", orders::close),
    query("/api/processors", documents::processors, LIST),
    query("/api/processors/{id}", documents::processor, &[]),
    order("/api/processors/{id}/drain", orders::drain),
    order("/api/processors/{id}/test", orders::test),
    query("/api/holds", documents::holds, LIST),
    query("/api/holds/{id}", documents::hold, &[]),
    order("/api/holds/{id}/release", orders::release),
    query("/api/operations/{id}", documents::operation, &[]),
    query("/api/invoices", documents::invoices, &["series", "limit", "after"]),
    query("/api/invoices/series", documents::invoice_series, &["series", "limit", "after"]),
    query("/api/invoices/series/{id}", documents::series_lines, &[]),
    query("/api/invoices/{number}", documents::invoice, &[]),
    query("/api/receipts/{file}", documents::receipt, &["width"]),
    query("/api/settlement", documents::settlement, REPORT),
    query("/api/settlement/sessions", documents::settled_sessions, REPORT_LIST),
    query("/api/settlement/differs", documents::settlement_differs, REPORT_LIST),
    query("/api/settlement/extra", documents::settlement_extra, REPORT_LIST),
    query(
        "/api/settlement/batches",
        documents::settlement_batches,
        &["processor", "grace_hours", "batch", "limit", "after"],
    ),
    query("/api/settlement/batch", documents::settlement_batch, &["processor", "batch"]),
    query("/api/settlement/batch/lines", documents::batch_lines, &["processor", "batch", "limit", "after"]),
    query("/api/settlement/ours", documents::our_operations, &["processor"]),
    order("/api/settlement/parts", orders::bring_part),
    Route { pattern: "/api/settlement/preview", action: Action::Order(orders::preview, SETTLEMENT_PREVIEW_BYTES_MAX) },
    order("/api/settlement/revert", orders::revert),
    query("/api/ledger", documents::ledger, &[]),
    query("/api/ledger/accounts", documents::ledger_accounts, LIST),
    query("/api/ledger/export", documents::ledger_export, &["format", "since"]),
    order("/api/keys/reload", orders::reload_keys),
    order("/api/backup", orders::back_up),
];

impl Action {
    const fn methods(&self) -> &'static [Method] {
        match self {
            Action::Probe(_) => &[Method::GET, Method::HEAD],
            Action::Query(..) => &[Method::GET],
            Action::Order(..) => &[Method::POST],
        }
    }
}

/// The routes with one pattern: one for each of their methods.
type Methods = Vec<&'static Route>;

static ROUTER: LazyLock<Router<Methods>> = LazyLock::new(|| {
    let mut router = Router::new();
    for route in ROUTES {
        let same: Methods = ROUTES.iter().filter(|other| other.pattern == route.pattern).collect();
        // The second route of a pattern finds the first one's entry, which has both.
        if std::ptr::eq(same[0], route) {
            router.insert(route.pattern, same).expect("patterns of the table do not overlap");
        }
    }
    router
});

/// The route that a request is for, and the segments that its pattern names.
pub(super) struct Found {
    /// What answers.
    pub action: Action,
    /// The named segments, unescaped.
    pub named: Vec<(String, String)>,
}

impl Found {
    /// The handler of a question or an order, with the parameters that it takes; none for a probe.
    ///
    /// # Errors
    /// 400 for a parameter that the address does not take: a filter that is misspelt would list everything.
    pub fn handler(&self, query: &BTreeMap<String, String>) -> Result<Option<Handler>, Problem> {
        let (handler, known) = match self.action {
            Action::Probe(_) => return Ok(None),
            Action::Query(handler, parameters) => (handler, parameters),
            Action::Order(handler, _) => (handler, &[] as &[&str]),
        };
        match query.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(Problem::unknown_parameter(name, known)),
            None => Ok(Some(handler)),
        }
    }
}

/// Finds the route of a request.
///
/// # Errors
/// 404 where the table has no such path, 405 with the methods of the path where it has no such method.
pub(super) fn find(method: &Method, path: &str) -> Result<Found, Problem> {
    let path = canonical(path);
    let found = ROUTER.at(&path).map_err(|_| Problem::not_found("there is nothing under this address"))?;
    match found.value.iter().find(|route| route.action.methods().contains(method)) {
        Some(route) => {
            let named = found.params.iter().map(|(name, text)| (name.to_owned(), path::unescaped(text)));
            Ok(Found { action: route.action, named: named.collect() })
        }
        None => {
            let mut allowed: Vec<&str> =
                found.value.iter().flat_map(|route| route.action.methods()).map(Method::as_str).collect();
            allowed.dedup();
            Err(Problem::method(&allowed.join(", ")))
        }
    }
}

/// Whether health or metrics are under this path.
pub(super) fn is_probe(path: &str) -> bool {
    find(&Method::GET, path).is_ok_and(|found| matches!(found.action, Action::Probe(_)))
}

/// Answers a question without HTTP: from a gate in this process, or from data that is only read.
///
/// # Errors
/// As over HTTP: an unknown path, a parameter that is wrong, an item that does not exist, data that cannot be read.
pub fn get(views: &Views, request: &Request) -> Result<Answer, Problem> {
    let found = find(&Method::GET, &format!("/api/{}", request.path))?;
    match found.handler(&request.query)? {
        Some(handler) => handler(&Call { views, named: found.named, query: &request.query, body: &[] }),
        None => Err(Problem::not_found("there is nothing under this address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Archive;
    use crate::units::{PartitionId, SessionId, Timestamp};
    use std::collections::BTreeSet;
    use std::sync::Arc;

    fn refused(method: Method, path: &str) -> (u16, Option<String>) {
        let problem = find(&method, path).map(|_| ()).expect_err(path);
        (problem.status, problem.allow)
    }

    #[test]
    fn an_address_with_another_method_is_405_with_its_methods() {
        for (method, path, allowed) in [
            (Method::POST, "/livez", "GET, HEAD"),
            (Method::DELETE, "/metrics", "GET, HEAD"),
            (Method::POST, "/api/figures", "GET"),
            (Method::HEAD, "/api/figures", "GET"),
            (Method::PUT, "/api/accounts", "GET, POST"),
            (Method::GET, "/api/sessions/x/stop", "POST"),
            (Method::POST, "/api/accounts/a%2Fb", "GET"),
            (Method::OPTIONS, "/api/backup", "POST"),
        ] {
            assert_eq!(refused(method, path), (405, Some(allowed.to_owned())), "{path}");
        }
    }

    #[test]
    fn unknown_parameters_are_refused_with_the_known_ones() {
        let views = Views::opened(Vec::new(), None);
        for (path, name, known) in [
            ("sessions", "states", "did you mean `state`? known: state, charger, id, limit, after"),
            ("sessions", "token", "`Authorization: Bearer TOKEN`; known: state"),
            ("accounts", "prefix", "known: limit, after"),
            ("figures", "limit", "this address takes none"),
        ] {
            let query = [(name.to_owned(), "x".to_owned())].into();
            let problem = get(&views, &Request { path: path.to_owned(), query }).map(|_| ()).expect_err(path);
            assert_eq!(problem.status, 400, "{path}");
            assert!(problem.message.contains(&format!("`{name}`")) && problem.message.contains(known), "{problem}");
        }
        let order = find(&Method::POST, "/api/accounts/x/close").map(|found| found.handler(&BTreeMap::new()).is_ok());
        assert_eq!(order, Ok(true));
        let refused = find(&Method::POST, "/api/accounts/x/close").unwrap();
        assert_eq!(
            refused.handler(&[("dry_run".to_owned(), "true".to_owned())].into()).map(|_| ()).unwrap_err().status,
            400
        );
    }

    #[test]
    fn an_address_outside_of_the_table_is_404() {
        for path in
            ["", "/", "/api", "/api/", "/api/nothing", "/livez/", "/livez/x", "//livez", "/api/../livez", "/LIVEZ"]
        {
            assert_eq!(refused(Method::GET, path), (404, None), "{path}");
        }
        assert_eq!(refused(Method::POST, "/api/accounts/x/y/z"), (404, None));
    }

    #[test]
    fn named_segments_are_unescaped() {
        let named = |path: &str| find(&Method::GET, path).expect(path).named;
        let id = |text: &str| vec![("id".to_owned(), text.to_owned())];
        assert_eq!(named("/api/accounts/a%2Fb%20c"), id("a/b c"));
        assert_eq!(named("/api/accounts/"), id(""), "a name that is missing is refused by its handler");
        assert_eq!(named("/api/%61ccounts/x"), id("x"));
        assert_eq!(named("/api/invoices/series"), [], "a literal segment goes before a named one");
        assert_eq!(named("/api/invoices/series/A"), id("A"));
    }

    /// The manual names each address with its method, and no other.
    #[test]
    fn the_manual_lists_every_address() {
        let manual = include_str!("../manual/operations.md");
        let listed: BTreeSet<(&str, &str)> = manual
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`')?.0.split_once(' '))
            .filter(|(method, path)| matches!(*method, "GET" | "POST") && path.starts_with('/'))
            .collect();
        let routes = ROUTES.iter().map(|route| (route.action.methods()[0].as_str(), route.pattern)).collect();
        let missing: Vec<_> = listed.symmetric_difference(&routes).collect();
        assert!(missing.is_empty(), "only in the manual or only in the table: {missing:?}");
        assert_eq!(routes.len(), ROUTES.len(), "no route is there twice");
    }

    #[test]
    fn what_the_archive_cannot_give_is_named_and_never_left_out() {
        let id = |number| SessionId::new(Timestamp::from_unix_ms(1_000), PartitionId(3), number);
        let archive = Arc::new(Archive::in_memory());
        archive.put(id(7), Timestamp::from_unix_ms(2_000), b"no archive record").unwrap();
        let views = Views::opened(Vec::new(), Some(archive.clone()));
        let status = |path: &str| {
            let answer = get(&views, &Request { path: path.to_owned(), ..Request::default() });
            answer.map(|_| ()).map_err(|problem| (problem.status, problem.message))
        };
        for damaged in [false, true] {
            for path in [
                format!("sessions/{}", id(7)),
                format!("receipts/{}.json", id(7)),
                format!("holds/{}", id(7).payment().operation(1)),
                format!("operations/{}", id(7).payment().operation(1)),
                "sessions".to_owned(),
                "invoices".to_owned(),
                "settlement".to_owned(),
                "settlement/ours".to_owned(),
                "ledger/export".to_owned(),
            ] {
                let (status, message) = status(&path).expect_err(&path);
                let is_named = message.contains(&id(7).to_string()) || message.contains("archive");
                assert!(status == 500 && is_named, "{path}: {status} {message}");
            }
            assert_eq!(status(&format!("sessions/{}", id(8))).unwrap_err().0, 404, "no other session is affected");
            assert!(damaged || archive.flip_bit(id(7), 99));
        }
    }
}
