//! The table of routes: what it finds, refuses and takes.

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
        ("sessions", "states", "did you mean `state`? known: state, flag, charger, site, "),
        ("sessions", "token", "`Authorization: Bearer TOKEN`; known: state"),
        ("accounts", "prefix", "known: state, q, limit, after, format"),
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
    let manual = include_str!("../../manual/api.md");
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
    ("POST /api/v1/chargers/{id}/meter-key", "oa"),
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
    ("GET /api/v1/audit", "a"),
    ("GET /api/v1/audit/check", "a"),
    ("GET /api/v1/webhooks", "a"),
    ("POST /api/v1/webhooks", "a"),
    ("POST /api/v1/webhooks/{id}/test", "a"),
    ("POST /api/v1/webhooks/{id}/replay", "a"),
    ("POST /api/v1/webhooks/{id}/rotate", "a"),
    ("POST /api/v1/webhooks/{id}/remove", "a"),
    ("POST /api/v1/reporting/rebuild", "a"),
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
        let is_question = matches!(route.action, Action::Query(_));
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
