//! Signing in and out, and the tokens of the API.

use super::access::{
    Access, COOKIE, Created, LINK_LIFE, Principal, Role, TokenError, TokenRow, TokenWish, same_origin,
};
use super::gives::{List, Sheet};
use super::problem::Problem;
use super::request::{Call, NoMembers};
use crate::host::wall_clock;
use crate::units::shape::described;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Addresses beside the API, for browsers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// A link that signs in.
    In,
    /// The end of a sign-in.
    Out,
}

/// What a browser that is not signed in is told.
pub(super) const SIGN_IN: &str = "`wattstile console login` prints a link with which a browser signs in";

/// How long a browser keeps the cookie, in seconds; the gate ends the sign-in by itself.
const COOKIE_SECS: u32 = 12 * 3_600;

/// The door at an address.
pub(super) fn find(method: &Method, path: &str) -> Option<Door> {
    match (method, path) {
        (&Method::GET, "/login") => Some(Door::In),
        (&Method::POST, "/logout") => Some(Door::Out),
        _ => None,
    }
}

/// A link that signs in.
pub(super) fn link(address: SocketAddr, code: &str) -> String {
    format!("http://{address}/login?code={code}")
}

impl Door {
    /// Answers a request.
    ///
    /// # Errors
    /// 401 for a link that does not work; 403 for a sign-out from elsewhere.
    pub fn answer(self, access: &Access, head: &Parts) -> Result<Response, Problem> {
        match self {
            Door::In => {
                let query = head.uri.query().unwrap_or_default();
                let code = query.split('&').find_map(|pair| pair.strip_prefix("code=")).unwrap_or_default();
                let cookie = access.sign_in(code, wall_clock())?;
                Ok(([(header::SET_COOKIE, set_cookie(head, &cookie, COOKIE_SECS))], Redirect::to("/")).into_response())
            }
            Door::Out => {
                same_origin(&head.method, &head.headers)?;
                access.sign_out(&head.headers);
                let cleared = [(header::SET_COOKIE, set_cookie(head, "", 0))];
                // A browser that sent a form shows the page that comes after it.
                Ok(if super::pages::wants_page(&head.headers) {
                    (cleared, Redirect::to("/")).into_response()
                } else {
                    (StatusCode::NO_CONTENT, cleared).into_response()
                })
            }
        }
    }
}

/// The header that sets the cookie. A proxy that takes TLS says so; a cookie of such a browser is sent by TLS only.
fn set_cookie(head: &Parts, value: &str, seconds: u32) -> String {
    let by_tls = head.headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
    let secure = if by_tls { "; Secure" } else { "" };
    format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

described! {
/// A link is wanted with which a browser signs in.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginWish {
    /// With which role; none: that of the request.
    #[serde(default)]
    pub role: Option<Role>,
}
}

described! {
/// A link with which a browser signs in, once.
#[derive(Clone, Serialize, Deserialize)]
pub struct Login {
    /// `wattstile.login/1`
    pub schema: String,
    /// The link.
    pub login: String,
    /// Until when it works.
    pub expires_at: String,
    /// The role of who comes by it.
    pub role: Role,
}
}

pub(super) fn login_link(call: &Call<'_>, wish: LoginWish) -> Result<Sheet<Login>, Problem> {
    let over = call.over()?;
    let role = wish.role.unwrap_or(over.principal.role);
    if role != over.principal.role && over.principal.role != Role::Admin {
        let own = over.principal.role;
        return Err(Problem::new(403, format!("the role {own} makes links for {own} only")));
    }
    let now = wall_clock();
    let principal = Principal { name: over.principal.name.clone(), role };
    let code = over.access.link(principal, now).map_err(Problem::internal)?;
    Ok(Sheet(Login {
        schema: "wattstile.login/1".to_owned(),
        login: link(over.address, &code),
        expires_at: now.saturating_add(LINK_LIFE).to_string(),
        role,
    }))
}

pub(super) fn tokens(call: &Call<'_>) -> Result<List<TokenRow>, Problem> {
    let items = call.over()?.access.tokens()?.rows(wall_clock())?;
    Ok(List { schema: "token-list/1", items, next: None })
}

pub(super) fn create_token(call: &Call<'_>, wish: TokenWish) -> Result<Sheet<Created>, Problem> {
    Ok(Sheet(call.over()?.access.tokens()?.create(&wish, wall_clock())?))
}

pub(super) fn revoke_token(call: &Call<'_>, NoMembers {}: NoMembers) -> Result<Sheet<Revoked>, Problem> {
    let name = call.text("name");
    if !call.over()?.access.tokens()?.revoke(name)? {
        return Err(Problem::not_found(format!("there is no token `{name}`")));
    }
    Ok(Sheet(Revoked::of(name)))
}

described! {
/// Something was taken out of use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Revoked {
    /// `wattstile.order/1`
    pub schema: String,
    /// Its name.
    pub name: String,
    /// True.
    pub revoked: bool,
}
}

impl Revoked {
    /// A token, or a webhook.
    pub fn of(name: &str) -> Revoked {
        Revoked { schema: "wattstile.order/1".to_owned(), name: name.to_owned(), revoked: true }
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Problem {
        match error {
            TokenError::Name | TokenError::Over(_) => Problem::usage(error),
            TokenError::Taken(_) | TokenError::Many => Problem::new(409, error),
            TokenError::File { .. } | TokenError::Content { .. } => Problem::internal(error),
        }
    }
}
