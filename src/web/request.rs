//! What a handler is given of a request: the segments that its pattern names, the parameters and the body, all typed.

use super::access::{Access, Principal};
use super::audit::Trail;
use super::problem::Problem;
use super::webhooks::Webhooks;
use crate::api::Views;
use crate::units::Timestamp;
use crate::units::shape::described;
use crate::units::visible;
use axum::extract::Query;
use axum::http::Uri;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;

described! {
/// An order that its address states in full.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoMembers {
}
}

/// A question about a gate or its data, without a method and a body.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The path, without `/api/` in front.
    pub path: String,
    /// What stands behind the question mark.
    pub query: BTreeMap<String, String>,
}

/// An answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A document.
    Json(Value),
    /// A text of this media type.
    Text(&'static str, String),
    /// A page of a list as text.
    Page {
        /// Its media type.
        media: &'static str,
        /// The rows.
        text: String,
        /// Where the list goes on.
        next: Option<String>,
    },
}

/// The console that a request came to.
#[derive(Clone, Copy)]
pub(super) struct Over<'a> {
    /// Its tokens and sign-ins.
    pub access: &'a Access,
    /// Endpoints that events are pushed to, where the gate keeps a data directory.
    pub webhooks: Option<&'a Webhooks>,
    /// Every order, where the gate keeps a data directory.
    pub trail: Option<&'a Trail>,
    /// Its address, as links have it.
    pub address: SocketAddr,
    /// Who sent the request.
    pub principal: &'a Principal,
}

/// A request for a route of the API.
pub(super) struct Call<'a> {
    /// What answers.
    pub views: &'a Views,
    /// The console that it came to, and who sent it; none: the command line reads data without a gate.
    pub over: Option<Over<'a>>,
    /// The segments that the route's pattern names, by name and unescaped.
    pub named: Vec<(String, String)>,
    /// What stands behind the question mark.
    pub query: &'a BTreeMap<String, String>,
    /// The body of an order.
    pub body: &'a [u8],
}

impl<'a> Call<'a> {
    /// A question that came over no console.
    pub fn reading(views: &'a Views, query: &'a BTreeMap<String, String>) -> Call<'a> {
        Call { views, over: None, named: Vec::new(), query, body: &[] }
    }

    /// A parameter that is a time.
    ///
    /// # Errors
    /// 400 for a text that is neither a time (RFC 3339) nor a day.
    pub fn time(&self, name: &'static str) -> Result<Option<Timestamp>, Problem> {
        let read = |text: &str| {
            let whole_day = format!("{text}T00:00:00Z");
            let day = Timestamp::parse_rfc3339(&whole_day).or_else(|_| Timestamp::parse_rfc3339(text));
            day.map_err(|error| Problem::usage(error).about(name))
        };
        self.parameter(name).map(read).transpose()
    }

    /// The console that it came to.
    ///
    /// # Errors
    /// 409: the command line reads data without a gate.
    pub fn over(&self) -> Result<Over<'a>, Problem> {
        self.over.ok_or_else(|| Problem::new(409, "no gate is running"))
    }

    /// The text of a named segment.
    pub fn text(&self, name: &str) -> &str {
        let found = self.named.iter().find(|(named, _)| named == name);
        found.map(|(_, text)| text.as_str()).expect("a handler reads the segments that its route names")
    }

    /// A named segment as a value.
    ///
    /// # Errors
    /// 400 for a text that is no such value.
    pub fn segment<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, Problem> {
        self.text(name).parse().map_err(Problem::usage)
    }

    /// A parameter as text.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// A parameter that is a whole number.
    ///
    /// # Errors
    /// 400 for a text that is no whole number.
    pub fn number<N: FromStr>(&self, name: &'static str) -> Result<Option<N>, Problem> {
        let Some(text) = self.parameter(name) else { return Ok(None) };
        let shown: String = text.escape_debug().take(32).collect();
        let wrong = || Problem::usage(format!("{name} = {shown}: wanted a whole number, 0 or more")).about(name);
        text.parse().map(Some).map_err(|_| wrong())
    }

    /// A parameter that takes a value of a closed list; a refusal names the list.
    ///
    /// # Errors
    /// 400 for another value, with those that are known.
    pub fn one_of(&self, name: &'static str, known: &[&str]) -> Result<Option<&str>, Problem> {
        match self.parameter(name) {
            Some(value) if !known.contains(&value) => {
                Err(Problem::usage(format!("unknown {name} `{value}`; known: {}", known.join(", "))).about(name))
            }
            value => Ok(value),
        }
    }

    /// The body as a value.
    ///
    /// # Errors
    /// 400 for a body that is empty, no JSON, no object, or an object with other members than the order has.
    pub fn body<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        crate::api::object::parse(self.body).map_err(Problem::from)
    }

    /// The body of an order whose members may all be left out: an empty one is an object without members.
    ///
    /// # Errors
    /// As [`Call::body`]; a member that the order does not have, which would be ignored otherwise: `dry_run`, for one.
    pub fn body_or_none<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let body = if self.body.trim_ascii().is_empty() { b"{}" } else { self.body };
        crate::api::object::parse(body).map_err(Problem::from)
    }
}

/// The `Idempotency-Key` of an order.
///
/// # Errors
/// 400 for one that is no text, or is there twice.
pub(super) fn idempotency_key(head: &Parts) -> Result<Option<String>, Problem> {
    let mut keys = head.headers.get_all("idempotency-key").iter();
    match (keys.next(), keys.next()) {
        (None, _) => Ok(None),
        (Some(key), None) => {
            let text = key.to_str().map_err(|_| Problem::usage("the Idempotency-Key is not text"))?;
            // As a structured header the key stands in quotation marks.
            let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            Ok(Some(bare.unwrap_or(text).to_owned()))
        }
        (Some(_), Some(_)) => Err(Problem::usage("the Idempotency-Key is there twice")),
    }
}

/// What stands behind the question mark.
///
/// # Errors
/// 400 for text that cannot be read, and for a parameter that is there twice.
pub(super) fn parameters(uri: &Uri) -> Result<BTreeMap<String, String>, Problem> {
    let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
        return Err(Problem::usage("what stands behind the question mark cannot be read"));
    };
    let mut query: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in pairs {
        if let Some((name, _)) = query.get_key_value(&name) {
            let shown: String = visible(name).chars().take(32).collect();
            return Err(Problem::usage(format!("the parameter `{shown}` is there twice")));
        }
        query.insert(name, value);
    }
    Ok(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_without_members_take_none() {
        let views = Views::opened(Vec::new(), None);
        let call = |body: &'static str| {
            let (named, query) = (Vec::new(), &BTreeMap::new());
            let call = Call { views: &views, over: None, named, query, body: body.as_bytes() };
            call.body_or_none::<NoMembers>().map(|NoMembers {}| ()).map_err(|problem| problem.status)
        };
        for body in ["", " ", "{}", " {} "] {
            assert_eq!(call(body), Ok(()), "{body}");
        }
        for body in ["[]", "null", "x", "{} {}", r#"{"dry_run": true}"#] {
            assert_eq!(call(body), Err(400), "{body}");
        }
    }
}
