//! Every address of the console, as one table: a method, a pattern of a path, and what answers.

use super::access::{Principal, Roles};
use super::gives::{Gives, MediaOf, Plain, ShapeOf, gives_of, ordered_of, takes_of};
use super::parameters::{
    ACCOUNT, AFTER, BATCH, CHARGER, CHECK, EVENTS_AFTER, EXPORT, FLAG, FOLLOW, FORMAT, GRACE_HOURS, ID, IDLE_MINUTES,
    KIND, KWH, LIMIT, MINUTES, PREFIX, PROCESSOR, Parameter, Q, SERIES, SINCE, SITE, START, STATE, TYPES, UNTIL, WIDTH,
};
use super::path::canonical;
use super::problem::Problem;
use super::request::{Answer, Call, Request};
use super::{documents, doors, events, orders, path, webhook_orders};
use crate::api::Views;
use crate::limits::{CONSOLE_BODY_BYTES, SETTLEMENT_PREVIEW_BYTES_MAX};
use crate::units::shape::Shapes;
use axum::http::Method;
use matchit::Router;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// An address and what answers there.
pub(super) struct Route {
    /// The path; a segment in braces stands for any text, under that name.
    pub pattern: &'static str,
    /// The roles that it takes.
    pub roles: Roles,
    /// What it gives or does, in one line.
    pub about: &'static str,
    /// What may stand behind the question mark.
    pub parameters: &'static [Parameter],
    /// The schema of the body of an order.
    pub takes: Option<ShapeOf>,
    /// The schemas of its answer.
    pub gives: MediaOf,
    /// What answers.
    pub action: Action,
}

/// What answers a request, and by which methods.
#[derive(Clone, Copy)]
pub(super) enum Action {
    /// Health and metrics: open to all clients, and independent of other requests. GET and HEAD.
    Probe(Probe),
    /// A question, by GET.
    Query(Handler),
    /// An order, by POST.
    Order(Handler, Ordering),
}

/// How an order is dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ordering {
    /// Longest body, in bytes.
    pub bytes_max: usize,
    /// What makes the same order twice one order.
    pub pin: Pin,
}

/// What a repetition of an order is recognised by, beside its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pin {
    /// Twice is as good as once, or is refused.
    Nothing,
    /// The account recognises the id of an operation, which is made of the key.
    Operation,
    /// The total to which a refund brings what is given back.
    Total,
    /// Nothing is changed: it is no order in the sense of the audit trail.
    Question,
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

const fn probe(pattern: &'static str, probe: Probe, about: &'static str) -> Route {
    let (action, gives) = (Action::Probe(probe), Plain::media as MediaOf);
    Route { pattern, roles: Roles::ALL, about, parameters: &[], takes: None, gives, action }
}

/// A question: its answer is described by what its handler returns.
macro_rules! query {
    ($pattern:literal, $handler:path, $parameters:expr, $about:literal) => {
        Route {
            pattern: $pattern,
            roles: Roles::ALL,
            about: $about,
            parameters: $parameters,
            takes: None,
            gives: gives_of($handler),
            action: Action::Query(|call| $handler(call)?.answer(call)),
        }
    };
}

/// An order: body and answer are described by the signature of its handler.
macro_rules! order {
    ($pattern:literal, $roles:expr, $handler:path, $pin:expr, $about:literal) => {
        order!($pattern, $roles, $handler, $pin, $about, body)
    };
    ($pattern:literal, $roles:expr, $handler:path, $pin:expr, $about:literal, $read:ident) => {
        Route {
            pattern: $pattern,
            roles: $roles,
            about: $about,
            parameters: &[],
            takes: Some(takes_of($handler)),
            gives: ordered_of($handler),
            action: Action::Order(
                |call| $handler(call, call.$read()?)?.answer(call),
                Ordering { bytes_max: CONSOLE_BODY_BYTES, pin: $pin },
            ),
        }
    };
}

/// Parameters of a report on settlement.
const REPORT: &[Parameter] = &[PROCESSOR, GRACE_HOURS];
/// Parameters of a list of such a report.
const REPORT_LIST: &[Parameter] = &[PROCESSOR, GRACE_HOURS, LIMIT, AFTER, FORMAT];
/// Parameters of the list of batches.
const BATCHES: &[Parameter] = &[STATE, PROCESSOR, BATCH, SINCE, UNTIL, Q, GRACE_HOURS, LIMIT, AFTER, FORMAT];
/// Parameters of the trial balance.
const TRIAL: &[Parameter] = &[ACCOUNT, Q, LIMIT, AFTER, FORMAT];

/// The whole table. The manual's page on the API lists the same addresses; a test compares them.
pub(super) static ROUTES: &[Route] = &[
    probe("/livez", Probe::Live, "The process runs"),
    probe("/readyz", Probe::Ready, "Every shard answers"),
    probe("/healthz", Probe::Ready, "Every shard answers"),
    probe("/metrics", Probe::Metrics, "Metrics for Prometheus"),
    query!("/api/v1/openapi.json", documents::openapi, &[], "This document"),
    query!("/api/v1/figures", documents::figures, &[], "Sessions, readings, money and books in sums"),
    query!("/api/v1/system", documents::system, &[], "Certificates, log and snapshots, shards, refused peers"),
    query!(
        "/api/v1/sessions",
        documents::sessions,
        &[STATE, FLAG, CHARGER, SITE, PROCESSOR, ACCOUNT, SINCE, UNTIL, Q, ID, LIMIT, AFTER, FORMAT],
        "Sessions, the newest first"
    ),
    query!("/api/v1/sessions/{id}", documents::session, &[], "One session; `id` may be its beginning, or `last`"),
    query!(
        "/api/v1/sessions/{id}/entries",
        documents::session_entries,
        &[LIMIT, AFTER, FORMAT],
        "The entries of the books that follow from a session"
    ),
    query!(
        "/api/v1/sessions/{id}/events",
        documents::session_events,
        &[LIMIT, AFTER, FORMAT],
        "The events that were sent of a session"
    ),
    order!("/api/v1/sessions/{id}/stop", Roles::OPERATING, orders::stop, Pin::Nothing, "Stops a session", body_or_none),
    order!(
        "/api/v1/sessions/{id}/quarantine/release",
        Roles::MONEY,
        orders::bill_quarantined,
        Pin::Nothing,
        "Bills energy that is kept for review"
    ),
    order!(
        "/api/v1/sessions/{id}/quarantine/drop",
        Roles::MONEY,
        orders::drop_quarantined,
        Pin::Nothing,
        "Drops energy that is kept for review"
    ),
    order!("/api/v1/sessions/{id}/refund", Roles::MONEY, orders::refund, Pin::Total, "Gives captured money back"),
    query!(
        "/api/v1/chargers",
        documents::chargers,
        &[STATE, CHARGER, SITE, Q, PREFIX, LIMIT, AFTER, FORMAT],
        "Chargers that ever connected"
    ),
    order!(
        "/api/v1/chargers/{id}/start",
        Roles::OPERATING,
        orders::start_at_charger,
        Pin::Nothing,
        "Orders an OCPP charger to begin a session"
    ),
    order!(
        "/api/v1/chargers/{id}/trigger",
        Roles::OPERATING,
        orders::trigger_at_charger,
        Pin::Nothing,
        "Orders an OCPP charger to send a message"
    ),
    order!(
        "/api/v1/chargers/{id}/meter-key",
        Roles::OPERATING,
        orders::register_meter_key,
        Pin::Nothing,
        "Registers the public key of a charger's meter"
    ),
    query!("/api/v1/accounts", documents::accounts, &[STATE, Q, LIMIT, AFTER, FORMAT], "Accounts"),
    order!("/api/v1/accounts", Roles::OPERATING_OR_MONEY, orders::open, Pin::Operation, "Opens an account"),
    query!("/api/v1/accounts/{id}", documents::account, &[], "One account and its movements"),
    order!("/api/v1/accounts/{id}/topup", Roles::MONEY, orders::top_up, Pin::Operation, "Puts money on an account"),
    order!(
        "/api/v1/accounts/{id}/promotion",
        Roles::MONEY,
        orders::promote,
        Pin::Operation,
        "Grants promotional money"
    ),
    order!("/api/v1/accounts/{id}/link", Roles::OPERATING, orders::link, Pin::Operation, "Links a credential"),
    order!("/api/v1/accounts/{id}/unlink", Roles::OPERATING, orders::unlink, Pin::Operation, "Unlinks a credential"),
    order!("/api/v1/accounts/{id}/limit", Roles::MONEY, orders::limit, Pin::Operation, "Changes the credit limit"),
    order!("/api/v1/accounts/{id}/close", Roles::MONEY, orders::close, Pin::Operation, "Closes an account"),
    query!("/api/v1/processors", documents::processors, &[STATE, Q, LIMIT, AFTER, FORMAT], "Processors"),
    query!("/api/v1/processors/{id}", documents::processor, &[], "One processor and what it declared"),
    order!(
        "/api/v1/processors/{id}/drain",
        Roles::OPERATING,
        orders::drain,
        Pin::Nothing,
        "A processor gets no new holds, or gets them again"
    ),
    order!(
        "/api/v1/processors/{id}/test",
        Roles::OPERATING,
        orders::test,
        Pin::Nothing,
        "Sends a processor a probe",
        body_or_none
    ),
    query!(
        "/api/v1/holds",
        documents::holds,
        &[STATE, PROCESSOR, ACCOUNT, Q, LIMIT, AFTER, FORMAT],
        "Holds that have not ended"
    ),
    query!("/api/v1/holds/{id}", documents::hold, &[], "One hold and its operations"),
    order!(
        "/api/v1/holds/{id}/release",
        Roles::OPERATING_OR_MONEY,
        orders::release,
        Pin::Nothing,
        "Releases what is left of a hold"
    ),
    query!(
        "/api/v1/operations",
        documents::operations,
        &[STATE, KIND, CHARGER, PROCESSOR, ACCOUNT, SINCE, UNTIL, Q, LIMIT, AFTER, FORMAT],
        "Operations at processors, the newest first"
    ),
    query!("/api/v1/operations/{id}", documents::operation, &[], "One operation"),
    query!(
        "/api/v1/invoices",
        documents::invoices,
        &[SERIES, KIND, SINCE, UNTIL, Q, LIMIT, AFTER, FORMAT],
        "Invoices and credit notes, those of the newest sessions first"
    ),
    query!(
        "/api/v1/invoices/series",
        documents::invoice_series,
        &[SERIES, CHECK, LIMIT, AFTER, FORMAT],
        "Invoice series, each checked as a whole"
    ),
    query!("/api/v1/invoices/series/{id}", documents::series_lines, &[], "The documents of a series, one in each line"),
    query!("/api/v1/invoices/{number}", documents::invoice, &[], "One document"),
    query!(
        "/api/v1/receipts",
        documents::receipts,
        &[CHARGER, SITE, SINCE, UNTIL, Q, LIMIT, AFTER, FORMAT],
        "Signed receipts, the newest session first"
    ),
    query!(
        "/api/v1/receipts/{file}",
        documents::receipt,
        &[WIDTH],
        "A receipt: `ID` or `ID.json`, `ID.txt`, `ID.html`"
    ),
    query!("/api/v1/settlement", documents::settlement, REPORT, "How many sessions, lines and batches are settled how"),
    query!(
        "/api/v1/settlement/sessions",
        documents::settled_sessions,
        &[STATE, PROCESSOR, Q, GRACE_HOURS, LIMIT, AFTER, FORMAT],
        "Sessions of which money was taken, and what settles it"
    ),
    query!("/api/v1/settlement/differs", documents::settlement_differs, REPORT_LIST, "Lines with another amount"),
    query!("/api/v1/settlement/extra", documents::settlement_extra, REPORT_LIST, "Lines that fit nothing of ours"),
    query!("/api/v1/settlement/batches", documents::settlement_batches, BATCHES, "Settlement batches"),
    query!("/api/v1/settlements", documents::settlement_batches, BATCHES, "Settlement batches"),
    query!("/api/v1/settlement/batch", documents::settlement_batch, &[PROCESSOR, BATCH], "One batch"),
    query!(
        "/api/v1/settlement/batch/lines",
        documents::batch_lines,
        &[PROCESSOR, BATCH, LIMIT, AFTER, FORMAT],
        "The lines of a batch"
    ),
    query!("/api/v1/settlement/ours", documents::our_operations, &[PROCESSOR], "Our operations as a table"),
    order!("/api/v1/settlement/parts", Roles::MONEY, orders::bring_part, Pin::Nothing, "Takes a part of a batch in"),
    Route {
        action: Action::Order(
            |call| orders::preview(call, call.body()?)?.answer(call),
            Ordering { bytes_max: SETTLEMENT_PREVIEW_BYTES_MAX, pin: Pin::Question },
        ),
        ..order!(
            "/api/v1/settlement/preview",
            Roles::MONEY,
            orders::preview,
            Pin::Question,
            "Matches a whole list, and books nothing"
        )
    },
    order!("/api/v1/settlement/revert", Roles::MONEY, orders::revert, Pin::Nothing, "Takes a batch back"),
    query!("/api/v1/ledger", documents::ledger, &[], "Whether the books balance"),
    query!("/api/v1/ledger/accounts", documents::ledger_accounts, TRIAL, "The accounts of the books"),
    query!("/api/v1/ledger/trial-balance", documents::ledger_accounts, TRIAL, "The accounts of the books"),
    query!("/api/v1/ledger/export", documents::ledger_export, &[EXPORT, SINCE], "The books for another program"),
    query!("/api/v1/tariffs", documents::tariffs, &[FORMAT], "Tariffs in force, and where they are assigned"),
    query!("/api/v1/tariffs/{id}", documents::tariff, &[], "One tariff: its text in words, findings, and its week"),
    query!(
        "/api/v1/tariffs/{id}/price",
        documents::tariff_price,
        &[START, KWH, MINUTES, IDLE_MINUTES],
        "What a session would cost"
    ),
    order!(
        "/api/v1/keys/reload",
        Roles::ADMIN,
        orders::reload_keys,
        Pin::Nothing,
        "Loads the keys of tokens again",
        body_or_none
    ),
    order!("/api/v1/backup", Roles::ADMIN, orders::back_up, Pin::Nothing, "Takes a backup"),
    query!(
        "/api/v1/events",
        events::events,
        &[EVENTS_AFTER, TYPES, FOLLOW, LIMIT],
        "What happened: a stream of server-sent events, or with `follow=false` a page of JSON Lines"
    ),
    Route {
        roles: Roles::ADMIN,
        ..query!("/api/v1/webhooks", webhook_orders::list, &[FORMAT], "Endpoints that events are pushed to")
    },
    order!("/api/v1/webhooks", Roles::ADMIN, webhook_orders::create, Pin::Nothing, "Makes an endpoint"),
    order!(
        "/api/v1/webhooks/{id}/test",
        Roles::ADMIN,
        webhook_orders::test,
        Pin::Nothing,
        "Sends an endpoint a message of type `webhook.test`",
        body_or_none
    ),
    order!(
        "/api/v1/webhooks/{id}/replay",
        Roles::ADMIN,
        webhook_orders::replay,
        Pin::Nothing,
        "Sends an endpoint what comes behind an event, again"
    ),
    order!(
        "/api/v1/webhooks/{id}/rotate",
        Roles::ADMIN,
        webhook_orders::rotate,
        Pin::Nothing,
        "Gives an endpoint another secret; the present one stays valid beside it"
    ),
    order!(
        "/api/v1/webhooks/{id}/remove",
        Roles::ADMIN,
        webhook_orders::remove,
        Pin::Nothing,
        "Removes an endpoint",
        body_or_none
    ),
    query!("/api/v1/reporting", documents::reporting, &[], "How far the reporting database has come"),
    order!(
        "/api/v1/reporting/rebuild",
        Roles::ADMIN,
        orders::rebuild_reporting,
        Pin::Nothing,
        "The reporting database is made anew",
        body_or_none
    ),
    Route { roles: Roles::ADMIN, ..query!("/api/v1/tokens", doors::tokens, &[FORMAT], "Tokens of the API") },
    order!(
        "/api/v1/tokens",
        Roles::ADMIN,
        doors::create_token,
        Pin::Nothing,
        "Makes a token; its secret is shown this once"
    ),
    order!(
        "/api/v1/tokens/{name}/revoke",
        Roles::ADMIN,
        doors::revoke_token,
        Pin::Nothing,
        "Takes a token out of use",
        body_or_none
    ),
    Route {
        roles: Roles::ADMIN,
        ..query!(
            "/api/v1/audit",
            documents::audit,
            &[LIMIT, AFTER, FORMAT],
            "Orders that came over the API, the newest first"
        )
    },
    Route {
        roles: Roles::ADMIN,
        ..query!("/api/v1/audit/check", documents::audit_check, &[], "Checks that the audit trail is whole")
    },
    order!(
        "/api/v1/logins",
        Roles::ALL,
        doors::login_link,
        Pin::Nothing,
        "A link with which a browser signs in, once",
        body_or_none
    ),
];

impl Action {
    pub const fn methods(&self) -> &'static [Method] {
        match self {
            Action::Probe(_) => &[Method::GET, Method::HEAD],
            Action::Query(_) => &[Method::GET],
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
    /// What may stand behind the question mark.
    pub parameters: &'static [Parameter],
    /// The path as the table has it.
    pub pattern: &'static str,
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
        let handler = match self.action {
            Action::Probe(_) => return Ok(None),
            Action::Query(handler) | Action::Order(handler, _) => handler,
        };
        let known: Vec<&str> = self.parameters.iter().map(|parameter| parameter.name).collect();
        match query.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(Problem::unknown_parameter(name, &known)),
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
            let (parameters, roles, pattern, action) = (route.parameters, route.roles, route.pattern, route.action);
            Ok(Found { roles, parameters, pattern, action, named: named.collect() })
        }
        None => {
            let mut allowed: Vec<&str> =
                found.value.iter().flat_map(|route| route.action.methods()).map(Method::as_str).collect();
            allowed.dedup();
            Err(Problem::method(&allowed.join(", ")))
        }
    }
}

/// The schema of the body of an order.
///
/// # Errors
/// 404 where there is no such order.
pub(super) fn body_shape(method: &Method, path: &str, shapes: &mut Shapes) -> Result<Value, Problem> {
    let pattern = find(method, path)?.pattern;
    let route = ROUTES.iter().find(|route| route.pattern == pattern && route.action.methods().contains(method));
    route.and_then(|route| route.takes).map(|takes| takes(shapes)).ok_or_else(Problem::nothing_there)
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
        Some(handler) => handler(&Call { named: found.named, ..Call::reading(views, &request.query) }),
        None => Err(Problem::nothing_there()),
    }
}

#[cfg(test)]
mod tests;
