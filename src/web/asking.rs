//! A request whose sender is known, on its way to its handler: the same for JSON and for pages.

use super::audit::{Order, carry_out};
use super::problem::Problem;
use super::request::{Answer, Call, Over};
use super::routes::{self, Action, Found, Ordering, Pin};
use crate::api::Views;
use axum::http::Method;
use serde_json::Value;
use std::collections::BTreeMap;

/// Who asks what of which gate.
pub(super) struct Asking<'a> {
    /// What answers.
    pub views: &'a Views,
    /// The console that the request came to, and who sent it.
    pub over: Over<'a>,
    /// From which address.
    pub from: String,
}

/// A request as it came.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    /// Its path.
    pub path: &'a str,
    /// What stands behind the question mark.
    pub query: &'a BTreeMap<String, String>,
    /// The body of an order.
    pub body: &'a [u8],
    /// Its `Idempotency-Key`.
    pub key: Option<&'a str>,
}

impl Asking<'_> {
    /// Hands a request that is permitted to its handler; an order is recorded. Returns the answer, and whether it is that of an
    /// earlier order with the same key.
    ///
    /// # Errors
    /// What it is refused with.
    pub fn carry(&self, found: Found, asked: Asked<'_>) -> Result<(Answer, bool), Problem> {
        let handler = found.handler(asked.query)?.ok_or_else(Problem::nothing_there)?;
        let (query, body) = (asked.query, asked.body);
        let call = Call { views: self.views, over: Some(self.over), named: found.named, query, body };
        match (found.action, self.over.trail) {
            (Action::Order(_, Ordering { pin, .. }), Some(trail)) if pin != Pin::Question => {
                let (principal, from) = (self.over.principal, self.from.clone());
                let order = Order { principal, from, path: asked.path, key: asked.key, pin, handler };
                carry_out(trail, &order, call)
            }
            _ => handler(&call).map(|answer| (answer, false)),
        }
    }

    /// The document at an address of the API, if the sender may have it.
    ///
    /// # Errors
    /// What the question is refused with; 403 for a role that does not suffice.
    pub fn get(&self, path: &str, query: &BTreeMap<String, String>) -> Result<Answer, Problem> {
        let path = format!("/api/v1/{path}");
        let found = routes::find(&Method::GET, &path)?;
        found.permit(self.over.principal)?;
        self.carry(found, Asked { path: &path, query, body: &[], key: None }).map(|(answer, _)| answer)
    }

    /// The same, where the answer is a JSON document.
    ///
    /// # Errors
    /// As [`Asking::get`].
    pub fn document(&self, path: &str, query: &BTreeMap<String, String>) -> Result<Value, Problem> {
        match self.get(path, query)? {
            Answer::Json(document) => Ok(document),
            Answer::Text(_, text) | Answer::Page { text, .. } => serde_json::from_str(&text).map_err(Problem::internal),
        }
    }

    /// The order at an address of the API, if the sender may give it; one that is not permitted is recorded as refused.
    ///
    /// # Errors
    /// There is no such order; 403 for a role that does not suffice.
    pub fn permitted(&self, path: &str) -> Result<Found, Problem> {
        let path = format!("/api/v1/{path}");
        let found = routes::find(&Method::POST, &path)?;
        if let Err(problem) = found.permit(self.over.principal) {
            if let (Action::Order(handler, Ordering { pin, .. }), Some(trail)) = (found.action, self.over.trail) {
                let (principal, from) = (self.over.principal, self.from.clone());
                Order { principal, from, path: &path, key: None, pin, handler }.refused(trail, &problem);
            }
            return Err(problem);
        }
        Ok(found)
    }

    /// Carries out an order of the API, if the sender may give it.
    ///
    /// # Errors
    /// What the order is refused with.
    pub fn order(&self, path: &str, body: &Value, key: Option<&str>) -> Result<Value, Problem> {
        let found = self.permitted(path)?;
        let (path, body) = (format!("/api/v1/{path}"), body.to_string());
        match self.carry(found, Asked { path: &path, query: &BTreeMap::new(), body: body.as_bytes(), key })? {
            (Answer::Json(document), _) => Ok(document),
            (Answer::Text(_, text) | Answer::Page { text, .. }, _) => Ok(text.into()),
        }
    }

    /// Whether the sender may give an order at this address of the API.
    pub fn may(&self, path: &str) -> bool {
        let found = routes::find(&Method::POST, &format!("/api/v1/{path}"));
        found.is_ok_and(|found| found.permit(self.over.principal).is_ok())
    }
}
