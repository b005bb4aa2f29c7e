//! Every address of the console, as one table: a method, a pattern of a path, and what answers.

use super::access::{Principal, Roles};
use super::path::canonical;
use super::problem::Problem;
use super::request::{Answer, Call, Request};
use super::{documents, doors, orders, path};
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
    /// The roles that it takes.
    pub roles: Roles,
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
    Route { pattern, roles: Roles::ALL, action: Action::Probe(probe) }
}

const fn query(pattern: &'static str, handler: Handler, parameters: &'static [&'static str]) -> Route {
    Route { pattern, roles: Roles::ALL, action: Action::Query(handler, parameters) }
}

const fn order(pattern: &'static str, roles: Roles, handler: Handler) -> Route {
    Route { pattern, roles, action: Action::Order(handler, CONSOLE_BODY_BYTES) }
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
    query("/api/v1/figures", documents::figures, &[]),
    query("/api/v1/sessions", documents::sessions, &["state", "charger", "id", "flag", "limit", "after"]),
    query("/api/v1/sessions/{id}", documents::session, &[]),
    order("/api/v1/sessions/{id}/stop", Roles::OPERATING, orders::stop),
    order("/api/v1/sessions/{id}/refund", Roles::MONEY, orders::refund),
    order("/api/v1/sessions/{id}/quarantine/release", Roles::MONEY, orders::bill_quarantined),
    order("/api/v1/sessions/{id}/quarantine/drop", Roles::MONEY, orders::drop_quarantined),
    query("/api/v1/chargers", documents::chargers, &["prefix", "limit", "after"]),
    order("/api/v1/chargers/{id}/start", Roles::OPERATING, orders::start_at_charger),
    order("/api/v1/chargers/{id}/trigger", Roles::OPERATING, orders::trigger_at_charger),
    query("/api/v1/accounts", documents::accounts, LIST),
    order("/api/v1/accounts", Roles::OPERATING_OR_MONEY, orders::open),
    query("/api/v1/accounts/{id}", documents::account, &[]),
    order("/api/v1/accounts/{id}/topup", Roles::MONEY, orders::top_up),
    order("/api/v1/accounts/{id}/promotion", Roles::MONEY, orders::promote),
    order("/api/v1/accounts/{id}/link", Roles::OPERATING, orders::link),
    order("/api/v1/accounts/{id}/unlink", Roles::OPERATING, orders::unlink),
    order("/api/v1/accounts/{id}/limit", Roles::MONEY, orders::limit),
    order("/api/v1/accounts/{id}/close", Roles::MONEY, orders::close),
    query("/api/v1/processors", documents::processors, LIST),
    query("/api/v1/processors/{id}", documents::processor, &[]),
    order("/api/v1/processors/{id}/drain", Roles::OPERATING, orders::drain),
    order("/api/v1/processors/{id}/test", Roles::OPERATING, orders::test),
    query("/api/v1/holds", documents::holds, LIST),
    query("/api/v1/holds/{id}", documents::hold, &[]),
    order("/api/v1/holds/{id}/release", Roles::OPERATING_OR_MONEY, orders::release),
    query("/api/v1/operations/{id}", documents::operation, &[]),
    query("/api/v1/invoices", documents::invoices, &["series", "limit", "after"]),
    query("/api/v1/invoices/series", documents::invoice_series, &["series", "limit", "after"]),
    query("/api/v1/invoices/series/{id}", documents::series_lines, &[]),
    query("/api/v1/invoices/{number}", documents::invoice, &[]),
    query("/api/v1/receipts/{file}", documents::receipt, &["width"]),
    query("/api/v1/settlement", documents::settlement, REPORT),
    query("/api/v1/settlement/sessions", documents::settled_sessions, REPORT_LIST),
    query("/api/v1/settlement/differs", documents::settlement_differs, REPORT_LIST),
    query("/api/v1/settlement/extra", documents::settlement_extra, REPORT_LIST),
    query(
        "/api/v1/settlement/batches",
        documents::settlement_batches,
        &["processor", "grace_hours", "batch", "limit", "after"],
    ),
    query("/api/v1/settlement/batch", documents::settlement_batch, &["processor", "batch"]),
    query("/api/v1/settlement/batch/lines", documents::batch_lines, &["processor", "batch", "limit", "after"]),
    query("/api/v1/settlement/ours", documents::our_operations, &["processor"]),
    order("/api/v1/settlement/parts", Roles::MONEY, orders::bring_part),
    Route {
        pattern: "/api/v1/settlement/preview",
        roles: Roles::MONEY,
        action: Action::Order(orders::preview, SETTLEMENT_PREVIEW_BYTES_MAX),
    },
    order("/api/v1/settlement/revert", Roles::MONEY, orders::revert),
    query("/api/v1/ledger", documents::ledger, &[]),
    query("/api/v1/ledger/accounts", documents::ledger_accounts, LIST),
    query("/api/v1/ledger/export", documents::ledger_export, &["format", "since"]),
    order("/api/v1/keys/reload", Roles::ADMIN, orders::reload_keys),
    order("/api/v1/backup", Roles::ADMIN, orders::back_up),
    Route { roles: Roles::ADMIN, ..query("/api/v1/tokens", doors::tokens, &[]) },
    order("/api/v1/tokens", Roles::ADMIN, doors::create_token),
    order("/api/v1/tokens/{name}/revoke", Roles::ADMIN, doors::revoke_token),
    order("/api/v1/logins", Roles::ALL, doors::login_link),
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
    /// The roles that it takes.
    pub roles: Roles,
    /// What answers.
    pub action: Action,
    /// The named segments, unescaped.
    pub named: Vec<(String, String)>,
}

impl Found {
    /// Whether a role suffices for the route: the one place that decides it.
    ///
    /// # Errors
    /// 403 with the roles that suffice.
    pub fn permit(&self, principal: &Principal) -> Result<(), Problem> {
        if self.roles.has(principal.role) { Ok(()) } else { Err(Problem::forbidden(principal, self.roles)) }
    }

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
    let path = versioned(canonical(path));
    let found = ROUTER.at(&path).map_err(|_| Problem::nothing_there())?;
    match found.value.iter().find(|route| route.action.methods().contains(method)) {
        Some(route) => {
            let named = found.params.iter().map(|(name, text)| (name.to_owned(), path::unescaped(text)));
            Ok(Found { roles: route.roles, action: route.action, named: named.collect() })
        }
        None => {
            let mut allowed: Vec<&str> =
                found.value.iter().flat_map(|route| route.action.methods()).map(Method::as_str).collect();
            allowed.dedup();
            Err(Problem::method(&allowed.join(", ")))
        }
    }
}

/// Addresses of the API before it had versions are those of version 1.
fn versioned(path: String) -> String {
    match path.strip_prefix("/api/") {
        Some(rest) if !rest.starts_with("v1/") && rest != "v1" => format!("/api/v1/{rest}"),
        _ => path,
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
    let found = find(&Method::GET, &format!("/api/v1/{}", request.path))?;
    match found.handler(&request.query)? {
        Some(handler) => handler(&Call { views, over: None, named: found.named, query: &request.query, body: &[] }),
        None => Err(Problem::nothing_there()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Archive;
    use crate::units::{PartitionId, SessionId, Timestamp};
    use crate::web::access::Role;
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
            (Method::POST, "/api/v1/figures", "GET"),
            (Method::PUT, "/api/v1/accounts", "GET, POST"),
        ] {
            assert_eq!(refused(method, path), (405, Some(allowed.to_owned())), "{path}");
        }
    }

    #[test]
    fn unknown_parameters_are_refused_with_the_known_ones() {
        let views = Views::opened(Vec::new(), None);
        for (path, name, known) in [
            ("sessions", "states", "did you mean `state`? known: state, charger, id, flag, limit, after"),
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
        for path in [
            "",
            "/",
            "/api",
            "/api/",
            "/api/nothing",
            "/api/v1",
            "/api/v1/",
            "/api/v1/v1/figures",
            "/api/v2/figures",
            "/livez/",
            "/livez/x",
            "//livez",
            "/api/../livez",
            "/LIVEZ",
        ] {
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

    /// The manual names each address with its method and roles, and no other.
    #[test]
    fn the_manual_lists_every_address() {
        let manual = include_str!("../manual/api.md");
        let listed: BTreeSet<(&str, &str, String)> = manual
            .lines()
            .filter_map(|line| {
                let (address, rest) = line.strip_prefix("| `")?.split_once('`')?;
                let roles = rest.trim_end_matches([' ', '|']).rsplit('|').next()?.trim();
                let (method, path) = address.split_once(' ')?;
                Some((method, path, roles.to_owned()))
            })
            .filter(|(method, path, _)| matches!(*method, "GET" | "POST") && path.starts_with('/'))
            .collect();
        let shown = |route: &Route| match route.action {
            Action::Probe(_) => "anyone".to_owned(),
            _ if route.roles == Roles::ALL => "all".to_owned(),
            _ if route.roles == Roles::ADMIN => "admin".to_owned(),
            // An administrator may do everything, and is not named each time.
            _ => route.roles.names().filter(|role| *role != "admin").collect::<Vec<_>>().join(", "),
        };
        let routes = ROUTES.iter().map(|route| (route.action.methods()[0].as_str(), route.pattern, shown(route)));
        let routes = routes.collect();
        let missing: Vec<_> = listed.symmetric_difference(&routes).collect();
        assert!(missing.is_empty(), "only in the manual or only in the table: {missing:?}");
        assert_eq!(routes.len(), ROUTES.len(), "no route is there twice");
    }

    /// Who may do what, written a second time: v(iewer), o(perator), f(inance), a(dmin).
    const MAY: &[(&str, &str)] = &[
        ("POST /api/v1/sessions/{id}/stop", "oa"),
        ("POST /api/v1/sessions/{id}/refund", "fa"),
        ("POST /api/v1/sessions/{id}/quarantine/release", "fa"),
        ("POST /api/v1/sessions/{id}/quarantine/drop", "fa"),
        ("POST /api/v1/chargers/{id}/start", "oa"),
        ("POST /api/v1/chargers/{id}/trigger", "oa"),
        ("POST /api/v1/accounts", "ofa"),
        ("POST /api/v1/accounts/{id}/topup", "fa"),
        ("POST /api/v1/accounts/{id}/promotion", "fa"),
        ("POST /api/v1/accounts/{id}/link", "oa"),
        ("POST /api/v1/accounts/{id}/unlink", "oa"),
        ("POST /api/v1/accounts/{id}/limit", "fa"),
        ("POST /api/v1/accounts/{id}/close", "fa"),
        ("POST /api/v1/processors/{id}/drain", "oa"),
        ("POST /api/v1/processors/{id}/test", "oa"),
        ("POST /api/v1/holds/{id}/release", "ofa"),
        ("POST /api/v1/settlement/parts", "fa"),
        ("POST /api/v1/settlement/preview", "fa"),
        ("POST /api/v1/settlement/revert", "fa"),
        ("POST /api/v1/keys/reload", "a"),
        ("POST /api/v1/backup", "a"),
        ("GET /api/v1/tokens", "a"),
        ("POST /api/v1/tokens", "a"),
        ("POST /api/v1/tokens/{name}/revoke", "a"),
        ("POST /api/v1/logins", "vofa"),
    ];

    #[test]
    fn each_route_permits_its_roles_and_no_other() {
        let mut seen = BTreeSet::new();
        for route in ROUTES.iter().filter(|route| !matches!(route.action, Action::Probe(_))) {
            let method = &route.action.methods()[0];
            let address = format!("{method} {}", route.pattern);
            let listed = MAY.iter().find(|(known, _)| *known == address).map(|(_, may)| *may);
            let is_question = matches!(route.action, Action::Query(..));
            assert!(listed.is_some() || is_question, "{address}: it is not stated who may order it");
            let may = listed.unwrap_or("vofa");
            seen.extend(listed.map(|_| address.clone()));
            let path = route.pattern.replace(['{', '}'], "");
            let found = find(method, &path).expect(&address);
            for role in Role::ALL {
                let principal = Principal { name: "till".to_owned(), role };
                let permitted = found.permit(&principal).map_err(|problem| (problem.status, problem.code));
                let expected = if may.contains(&role.name()[..1]) { Ok(()) } else { Err((403, "forbidden")) };
                assert_eq!(permitted, expected, "{address} by {role}");
            }
        }
        assert_eq!(seen.len(), MAY.len(), "each line is about a route");
    }

    #[test]
    fn addresses_without_a_version_are_those_of_version_1() {
        for path in ["/api/figures", "/api/v1/figures"] {
            assert_eq!(find(&Method::GET, path).map(|found| found.named), Ok(Vec::new()), "{path}");
        }
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
