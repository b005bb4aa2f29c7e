//! Signing in and out, and the tokens of the API.

use super::access::{
    Access, COOKIE, Created, LINK_LIFE, Principal, Role, Shown, TokenError, TokenRow, TokenWish, same_origin,
};
use super::gives::{List, Sheet};
use super::problem::Problem;
use super::request::{Call, NoMembers};
use crate::host::wall_clock;
use crate::units::shape::described;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Addresses beside the API, for browsers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// The first page.
    Home,
    /// A link that signs in.
    In,
    /// The end of a sign-in.
    Out,
}

/// How long a browser keeps the cookie, in seconds; the gate ends the sign-in by itself.
const COOKIE_SECS: u32 = 12 * 3_600;

/// The door at an address.
pub(super) fn find(method: &Method, path: &str) -> Option<Door> {
    match (method, path) {
        (&Method::GET, "/") => Some(Door::Home),
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
    /// 401 for a link that does not work, and for the first page without a sign-in; 403 for a sign-out from elsewhere.
    pub fn answer(
        self,
        access: &Access,
        head: &Parts,
        principal: Option<(Principal, Shown)>,
    ) -> Result<Response, Problem> {
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
                Ok((StatusCode::NO_CONTENT, cleared).into_response())
            }
            Door::Home => {
                let (principal, _) = principal.ok_or_else(|| {
                    Problem::new(401, "`wattstile console login` prints a link with which a browser signs in")
                })?;
                Ok(home(&principal))
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

fn home(principal: &Principal) -> Response {
    let Principal { name, role } = principal;
    // A name of a token has no character that HTML would read.
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>wattstile</title><h1>wattstile</h1>\
         <p>Signed in as {name}, role {role}.</p><p><a href=\"/api/v1/figures\">Figures</a>, \
         <a href=\"/api/v1/sessions\">sessions</a>.</p></html>\n"
    );
    let policy = "default-src 'none'; frame-ancestors 'none'";
    ([(header::CONTENT_SECURITY_POLICY, policy), (header::CACHE_CONTROL, "no-store")], Html(page)).into_response()
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
