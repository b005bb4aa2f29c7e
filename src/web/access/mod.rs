//! Who may ask and order what: roles, tokens of the API, and browsers that signed in.
//!
//! ```text
//!   Authorization: Bearer ─▶ the command line's own token, or one of `tokens.json` ─┐
//!   Cookie ────────────────▶ a browser that came by a sign-in link ─────────────────┴─▶ Principal ─▶ Roles of the route
//! ```
//!
//! Only SHA-256 of tokens, links and cookies is kept, and each comparison takes as long for any text.

mod roles;
mod sign_in;
mod tokens;

pub use roles::{Role, Roles};
pub use tokens::{COMMAND_LINE, Created, Expiry, TOKENS_FILE, TokenError, TokenRow, TokenWish, Tokens};

use super::problem::Problem;
use crate::units::Timestamp;
use axum::http::{HeaderMap, Method, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use sign_in::SignIns;
use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

pub(super) use sign_in::{COOKIE, LINK_LIFE};

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The name of the token, or of the token behind a sign-in.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

/// How a request showed who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// A token in the header: no page of another site can add it.
    Token,
    /// A cookie, which a browser adds by itself.
    Cookie,
}

/// SHA-256 of a secret.
pub(super) type Digest = [u8; 32];

/// The doors of a console.
pub(super) struct Access {
    /// The command line's own token.
    own: Digest,
    /// Those of the data directory, once it is known.
    tokens: OnceLock<Tokens>,
    sign_ins: Mutex<SignIns>,
}

impl Access {
    /// With the command line's token alone.
    pub fn new(own: &str) -> Access {
        Access { own: sha256(own), tokens: OnceLock::new(), sign_ins: Mutex::default() }
    }

    /// Takes the tokens of a data directory as well.
    pub fn take(&self, tokens: Tokens) {
        // They are set once; those of a second gate in the same console are ignored.
        let _ = self.tokens.set(tokens);
    }

    /// The tokens of the data directory.
    ///
    /// # Errors
    /// 409: the gate keeps no data directory.
    pub fn tokens(&self) -> Result<&Tokens, Problem> {
        self.tokens.get().ok_or_else(|| Problem::new(409, "this gate keeps no data directory, and so no tokens"))
    }

    /// Who sent a request, and how that was shown; none: no token and no cookie, or one that is not right.
    pub fn principal(&self, headers: &HeaderMap, now: Timestamp) -> Option<(Principal, Shown)> {
        let mut sent = headers.get_all(header::AUTHORIZATION).iter();
        if let Some(value) = sent.next() {
            let (scheme, token) = value.to_str().ok()?.split_once(' ').filter(|_| sent.next().is_none())?;
            // The name of a scheme has no case (RFC 9110, 11.1).
            let is_bearer = scheme.eq_ignore_ascii_case("Bearer");
            return is_bearer
                .then(|| self.by_token(&sha256(token.trim_start()), now))
                .flatten()
                .map(|it| (it, Shown::Token));
        }
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let named = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, cookie) = named.into_iter().find(|(name, _)| *name == COOKIE)?;
        let found = self.sign_ins().of_cookie(&sha256(cookie), now)?;
        self.still(found, now).map(|principal| (principal, Shown::Cookie))
    }

    fn by_token(&self, shown: &Digest, now: Timestamp) -> Option<Principal> {
        if same(shown, &self.own) {
            return Some(Principal { name: COMMAND_LINE.to_owned(), role: Role::Admin });
        }
        self.tokens.get()?.find(shown, now)
    }

    /// Whether a principal that was let in would be let in now.
    pub fn is_still(&self, principal: &Principal, now: Timestamp) -> bool {
        self.still(principal.clone(), now).is_some()
    }

    /// A sign-in ends with the token that it was made with.
    fn still(&self, principal: Principal, now: Timestamp) -> Option<Principal> {
        if principal.name == COMMAND_LINE {
            return Some(principal);
        }
        self.tokens.get().is_some_and(|tokens| tokens.is_valid(&principal.name, now)).then_some(principal)
    }

    /// The code of a link with which a browser signs in, once.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn link(&self, principal: Principal, now: Timestamp) -> io::Result<String> {
        let code = secret::<16>()?;
        self.sign_ins().add_link(sha256(&code), principal, now);
        Ok(code)
    }

    /// Signs a browser in by the code of a link: the value of its cookie.
    ///
    /// # Errors
    /// 401 for a code that was used, is too old, or is none; 500 where the system gives no randomness.
    pub fn sign_in(&self, code: &str, now: Timestamp) -> Result<String, Problem> {
        let found = self.sign_ins().take_link(&sha256(code), now).and_then(|found| self.still(found, now));
        let principal = found.ok_or_else(Problem::used_link)?;
        let cookie = secret::<32>().map_err(Problem::internal)?;
        self.sign_ins().add_cookie(sha256(&cookie), principal, now);
        Ok(cookie)
    }

    /// Ends the sign-in of a browser.
    pub fn sign_out(&self, headers: &HeaderMap) {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let named = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        for (_, cookie) in named.filter(|(name, _)| *name == COOKIE) {
            self.sign_ins().end(&sha256(cookie));
        }
    }

    fn sign_ins(&self) -> MutexGuard<'_, SignIns> {
        self.sign_ins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks that a request with a cookie that changes something comes from a page of this console: a browser adds the cookie
/// to requests of other sites' pages too, where it is older than `SameSite`.
///
/// # Errors
/// 403 where `Origin` and `Sec-Fetch-Site` do not show it.
pub(super) fn same_origin(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let fetched = text("sec-fetch-site");
    if fetched.is_some_and(|site| site != "same-origin") {
        return Err(Problem::other_origin());
    }
    let own = text("host").unwrap_or_default();
    let is_own = |origin: &str| {
        let named = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        named.is_some_and(|named| !named.is_empty() && named.eq_ignore_ascii_case(own))
    };
    match text("origin") {
        Some(origin) if is_own(origin) => Ok(()),
        None if fetched.is_some() => Ok(()),
        _ => Err(Problem::other_origin()),
    }
}

pub(super) fn sha256(text: &str) -> Digest {
    digest(&SHA256, text.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Compares in a time that does not depend on where the two differ.
pub(super) fn same(one: &Digest, other: &Digest) -> bool {
    let differing = one.iter().zip(other).fold(0, |differing, (one, other)| differing | (one ^ other));
    std::hint::black_box(differing) == 0
}

/// So many random bytes as text, with nothing in it that an address or a header would escape.
pub(super) fn secret<const BYTES: usize>() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system gave no randomness"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::TimeSpan;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    #[test]
    fn a_link_signs_in_once_and_for_five_minutes() {
        let access = Access::new("own");
        let admin = Principal { name: COMMAND_LINE.to_owned(), role: Role::Viewer };
        let code = access.link(admin.clone(), at(0)).unwrap();
        assert_eq!(access.sign_in("guess", at(1)).unwrap_err().status, 401);
        let cookie = access.sign_in(&code, at(1)).unwrap();
        assert_eq!(access.sign_in(&code, at(2)).unwrap_err().status, 401, "a second time");
        let sent = headers(&[("cookie", &format!("other=1; {COOKIE}={cookie}"))]);
        assert_eq!(access.principal(&sent, at(3)), Some((admin.clone(), Shown::Cookie)));
        assert_eq!(access.principal(&headers(&[("cookie", &format!("{COOKIE}=guess"))]), at(3)), None);
        // A header with a wrong token is not mended by a cookie.
        let both = headers(&[("cookie", &format!("{COOKIE}={cookie}")), ("authorization", "Bearer guess")]);
        assert_eq!(access.principal(&both, at(3)), None);
        access.sign_out(&sent);
        assert_eq!(access.principal(&sent, at(4)), None);

        let late = access.link(admin, at(0)).unwrap();
        let over = at(0).saturating_add(LINK_LIFE);
        assert_eq!(access.sign_in(&late, over).unwrap_err().status, 401, "too late");
    }

    #[test]
    fn a_sign_in_ends_with_its_token_and_with_time() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::new("own");
        access.take(Tokens::open(&folder.path().join(TOKENS_FILE)));
        let wish = TokenWish { name: "ops".to_owned(), role: Role::Operator, expires: None };
        let created = access.tokens().unwrap().create(&wish, at(0)).unwrap();
        let bearer = headers(&[("authorization", &format!("Bearer {}", created.token))]);
        let (principal, shown) = access.principal(&bearer, at(1)).unwrap();
        assert_eq!((principal.role, shown), (Role::Operator, Shown::Token));
        let lower = headers(&[("authorization", &format!("bearer {}", created.token))]);
        assert!(access.principal(&lower, at(1)).is_some());
        let basic = headers(&[("authorization", &format!("Basic {}", created.token))]);
        assert!(access.principal(&basic, at(1)).is_none());
        let sign_in = || {
            let code = access.link(principal.clone(), at(1)).unwrap();
            headers(&[("cookie", &format!("{COOKIE}={}", access.sign_in(&code, at(1)).unwrap()))])
        };
        let cookie = sign_in();
        assert!(access.principal(&cookie, at(2)).is_some());
        assert!(access.principal(&cookie, at(0).saturating_add(TimeSpan::from_secs(13 * 3_600))).is_none());
        let cookie = sign_in();
        assert!(access.tokens().unwrap().revoke("ops").unwrap());
        assert!(access.principal(&cookie, at(3)).is_none() && access.principal(&bearer, at(3)).is_none());
    }

    #[test]
    fn a_cookie_orders_only_from_a_page_of_the_console() {
        let check = |pairs: &[(&'static str, &str)]| {
            let host = [("host", "127.0.0.1:8490")];
            same_origin(&Method::POST, &headers(&[&host, pairs].concat())).map_err(|problem| problem.status)
        };
        for good in [
            &[("origin", "http://127.0.0.1:8490")][..],
            &[("origin", "https://127.0.0.1:8490")],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:8490")],
        ] {
            assert_eq!(check(good), Ok(()), "{good:?}");
        }
        for bad in [
            &[][..],
            &[("origin", "null")],
            &[("origin", "http://")],
            &[("origin", "http://evil.example")],
            &[("origin", "http://127.0.0.1:8491")],
            &[("origin", "http://127.0.0.1:8490.evil.example")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:8490")],
            &[("sec-fetch-site", "same-origin"), ("origin", "http://evil.example")],
        ] {
            assert_eq!(check(bad), Err(403), "{bad:?}");
        }
        assert!(same_origin(&Method::GET, &HeaderMap::new()).is_ok());
    }

    #[test]
    fn digests_are_compared_whole() {
        let one = sha256("a");
        assert!(same(&one, &sha256("a")));
        for at in 0..32 {
            let mut other = one;
            other[at] ^= 1;
            assert!(!same(&one, &other));
        }
    }
}
