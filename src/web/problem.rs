//! Refusals over HTTP: a status, and a problem document (RFC 9457) as the body of every answer that is none.

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
    /// The reason as text.
    pub message: String,
    /// The parameter of the request that is wrong, where it is one.
    pub parameter: Option<&'static str>,
    /// The methods that the address takes, where the request had another one.
    pub allow: Option<String>,
}

impl Problem {
    /// With HTTP's status.
    pub fn new(status: u16, message: impl ToString) -> Problem {
        Problem { status, message: message.to_string(), parameter: None, allow: None }
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
        Problem::usage(format!("unknown parameter `{shown}`; {meant}{known}"))
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
        let mut document = json!({ "title": title, "status": status.as_u16(), "detail": self.message });
        if let Some(parameter) = self.parameter {
            document["parameter"] = parameter.into();
        }
        let body = visible_json(&format!("{document:#}\n")).into_owned();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if let Some(allow) = self.allow.and_then(|methods| HeaderValue::from_str(&methods).ok()) {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        response
    }
}
