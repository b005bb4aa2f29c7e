//! Refusals over HTTP: a status, and a problem document (RFC 9457) as the body of every answer that is none.

use super::access::{Principal, Roles};
use crate::api::{Refused, Unanswered, Why};
use crate::units::{did_you_mean, visible, visible_json};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// HTTP's status.
    pub status: u16,
    /// The kind of problem, for programs: one of [`CODES`].
    pub code: &'static str,
    /// The reason as text.
    pub message: String,
    /// The parameter of the request that is wrong, where it is one.
    pub parameter: Option<&'static str>,
    /// The methods that the address takes, where the request had another one.
    pub allow: Option<String>,
}

/// Every code, with the status that it comes with and its meaning. A code keeps its meaning.
pub const CODES: &[(&str, u16, &str)] = &[
    ("bad_request", 400, "a parameter, a segment of the address or the body is wrong"),
    ("unknown_parameter", 400, "the address does not take this parameter"),
    ("unauthenticated", 401, "a token or a sign-in is missing or wrong"),
    ("forbidden", 403, "the role does not suffice"),
    ("other_origin", 403, "an order with a cookie did not come from a page of the console"),
    ("not_found", 404, "there is no such address or item"),
    ("method_not_allowed", 405, "the address does not take the method; `Allow` names those that it takes"),
    ("too_slow", 408, "the body did not come in time"),
    ("refused", 409, "a rule, or the state of the item, is against it"),
    ("idempotency_key_in_use", 409, "an order with this key is being carried out"),
    ("done_already", 409, "an order with this key was carried out, and its answer was not kept"),
    ("too_large", 413, "the body has more bytes than the address takes"),
    ("foreign_host", 421, "the console does not answer under this name"),
    ("idempotency_key_reused", 422, "another order came with this key before"),
    ("failed", 500, "a failure of the gate itself"),
    ("busy", 503, "too much to do at the moment: ask again"),
    ("starting", 503, "the gate has not started yet: ask again"),
    ("no_answer", 504, "no answer came in time; an order may have been carried out"),
];

impl Problem {
    /// With HTTP's status.
    pub fn new(status: u16, message: impl ToString) -> Problem {
        let of_status = CODES.iter().find(|(_, of, _)| *of == status);
        let code = of_status.map_or("failed", |(code, ..)| code);
        Problem { status, code, message: message.to_string(), parameter: None, allow: None }
    }

    /// The same under another code of its status.
    fn coded(self, code: &'static str) -> Problem {
        Problem { code, ..self }
    }

    /// The role of the request does not suffice.
    pub(super) fn forbidden(principal: &Principal, wanted: Roles) -> Problem {
        let Principal { name, role } = principal;
        Problem::new(403, format!("`{name}` has the role {role}; this takes {wanted}"))
    }

    /// An order with a cookie that does not come from a page of the console.
    pub(super) fn other_origin() -> Problem {
        let text = "an order of a signed-in browser comes from a page of this console, with its `Origin`; programs send a token";
        Problem::new(403, text).coded("other_origin")
    }

    /// A sign-in link that does not work any more.
    pub(super) fn used_link() -> Problem {
        Problem::new(
            401,
            "this link was used, is older than five minutes, or is none; `wattstile console login` prints another",
        )
    }

    /// An order whose key is that of another order.
    pub(super) fn key_reused() -> Problem {
        Problem::new(422, "another order came with this Idempotency-Key before: each order has a key of its own")
    }

    /// An order that is being carried out.
    pub(super) fn key_in_use() -> Problem {
        Problem::new(409, "an order with this Idempotency-Key is being carried out; ask again")
            .coded("idempotency_key_in_use")
    }

    /// An order that was carried out, whose answer has a secret or is long.
    pub(super) fn done_already() -> Problem {
        Problem::new(409, "the order with this Idempotency-Key was carried out; its answer was not kept")
            .coded("done_already")
    }

    /// The refusal of an earlier order with the same key.
    pub(super) fn again(status: u16, code: Option<&str>, message: String) -> Problem {
        let known = CODES.iter().find(|(known, ..)| code == Some(known));
        let problem = Problem::new(status, message);
        known.map_or(problem.clone(), |(code, ..)| problem.coded(code))
    }

    /// The gate has not started yet.
    pub(super) fn starting(progress: &str) -> Problem {
        let progress = if progress.is_empty() { "ask again in a moment" } else { progress };
        Problem::new(503, format!("the gate is starting: {progress}")).coded("starting")
    }

    /// The same, because of this parameter.
    pub(super) fn about(self, parameter: &'static str) -> Problem {
        Problem { parameter: Some(parameter), ..self }
    }

    /// The request makes no sense.
    pub(super) fn usage(message: impl ToString) -> Problem {
        Problem::new(400, message)
    }

    /// The requested item does not exist.
    pub(super) fn not_found(message: impl ToString) -> Problem {
        Problem::new(404, message)
    }

    /// There is no such address.
    pub(super) fn nothing_there() -> Problem {
        Problem::not_found("there is nothing under this address")
    }

    /// The address is right and the method is not.
    pub(super) fn method(allowed: &str) -> Problem {
        let message = format!("this address takes {}", allowed.replace(", ", " or "));
        Problem { allow: Some(allowed.to_owned()), ..Problem::new(405, message) }
    }

    /// The token is missing or wrong; one in the address is not read, because addresses stand in the logs of proxies.
    pub(super) fn no_token(in_address: bool) -> Problem {
        let header = "it is sent as `Authorization: Bearer TOKEN`";
        let why = if in_address { "is not taken from the address" } else { "is missing or wrong" };
        Problem::new(401, format!("the token {why}; {header}"))
    }

    /// A parameter that the address does not take.
    pub(super) fn unknown_parameter(name: &str, known: &[&str]) -> Problem {
        let shown: String = visible(name).chars().take(32).collect();
        let meant = match did_you_mean(name, known.iter().copied()) {
            _ if name == "token" => "the token is sent as `Authorization: Bearer TOKEN`; ".to_owned(),
            Some(meant) => format!("did you mean `{meant}`? "),
            None => String::new(),
        };
        let known = if known.is_empty() {
            "this address takes none".to_owned()
        } else {
            format!("known: {}", known.join(", "))
        };
        Problem::usage(format!("unknown parameter `{shown}`; {meant}{known}")).coded("unknown_parameter")
    }

    /// A failure of the gate itself.
    pub(super) fn internal(error: impl ToString) -> Problem {
        Problem::new(500, error)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        let status = match refused.why {
            Why::Usage => 400,
            Why::NotFound => 404,
            Why::Conflict => 409,
            Why::Failed => 500,
            Why::Busy => 503,
            Why::NoAnswer => 504,
        };
        Problem::new(status, refused.message)
    }
}

impl From<Unanswered> for Problem {
    fn from(why: Unanswered) -> Problem {
        Problem::from(Refused::from(why))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let title = status.canonical_reason().unwrap_or("refused");
        let mut document = json!({
            "type": format!("urn:wattstile:problem:{}", self.code), "title": title, "status": status.as_u16(),
            "code": self.code, "detail": self.message,
        });
        if let Some(parameter) = self.parameter {
            document["parameter"] = parameter.into();
        }
        let body = visible_json(&format!("{document:#}\n")).into_owned();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if let Some(allow) = self.allow.and_then(|methods| HeaderValue::from_str(&methods).ok()) {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        if self.status == 401 {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Programs decide by codes, so the manual lists each of them.
    #[test]
    fn the_manual_lists_every_code() {
        let manual = include_str!("../manual/api.md");
        for (code, status, meaning) in CODES {
            let line = format!("| `{code}` | {status} | {meaning} |");
            assert!(manual.lines().any(|listed| listed == line), "{line}");
        }
    }
}
