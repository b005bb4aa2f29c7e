//! Pages as answers to HTTP: what a browser may do with them, and compressed where it takes that.

use super::super::asking::Asking;
use super::super::problem::Problem;
use super::super::request::parameters;
use super::forms::read_fields;
use super::{Asset, FoundPage, Page, Visit, view};
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::io::Write;

/// Nothing from elsewhere, no inline script or style, no frame, and forms only to the console itself.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// A shorter text is not compressed.
const COMPRESSED_FROM: usize = 1_024;

/// A text that may go out compressed.
pub(in crate::web) trait Compressed {
    /// The response with this text, compressed where the client takes gzip.
    fn with_text(self, text: &str, sent: &HeaderMap) -> Response;
}

impl Compressed for Response {
    fn with_text(mut self, text: &str, sent: &HeaderMap) -> Response {
        let takes = sent.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let takes_gzip = takes.flat_map(|value| value.split(',')).any(|coding| {
            let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
            name.trim().eq_ignore_ascii_case("gzip")
                && !matches!(quality.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
        });
        self.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if takes_gzip && text.len() >= COMPRESSED_FROM {
            let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::default());
            if let Ok(bytes) = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()) {
                self.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                *self.body_mut() = Body::from(bytes);
                return self;
            }
        }
        *self.body_mut() = Body::from(text.to_owned());
        self
    }
}

/// Whether a request is a browser's for a page.
pub(in crate::web) fn wants_page(headers: &HeaderMap) -> bool {
    let takes = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    takes.flat_map(|value| value.split(',')).any(|media| media.trim().starts_with("text/html"))
}

impl Page {
    /// The response. `visit`: who asks; none: the reader is not signed in.
    pub fn response(&self, tab: &str, visit: Option<&Visit<'_>>, sent: &HeaderMap) -> Response {
        if let Some(address) = &self.elsewhere {
            let location = HeaderValue::from_str(address).unwrap_or(HeaderValue::from_static("/"));
            return (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response();
        }
        let text = match view::html(self, tab, visit) {
            Ok(text) => text,
            Err(error) => {
                tracing::error!(template = self.template, %error, "a page cannot be shown");
                return Problem::internal("this page cannot be shown; the log has the reason").into_response();
            }
        };
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let headers = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::CACHE_CONTROL, "no-store"),
            (header::REFERRER_POLICY, "same-origin"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        (status, headers).into_response().with_text(&text, sent)
    }
}

impl Asset {
    /// The response: a browser that has it already gets it not again, and keeps it under the digest in its address.
    pub fn response(&self, sent: &HeaderMap) -> Response {
        let tag = self.tag();
        let known = sent.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok()).unwrap_or_default();
        let is_known = known.split(',').any(|each| each.trim().trim_start_matches("W/") == tag || each.trim() == "*");
        let tag = HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""));
        let headers = [
            (header::ETAG, tag),
            (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
            (header::CONTENT_TYPE, HeaderValue::from_static(self.media)),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ];
        if is_known {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        headers.into_response().with_text(self.text, sent)
    }
}

/// Answers a request for a page, or for what its form leads to.
pub(in crate::web) fn serve(page: &FoundPage, asking: &Asking<'_>, head: &Parts, body: &[u8]) -> Response {
    let (query, none) = (parameters(&head.uri), BTreeMap::new());
    let fields = if page.page.form.is_some() { read_fields(body).map(Some) } else { Ok(None) };
    let visit = Visit { asking, named: &page.named, query: query.as_ref().unwrap_or(&none) };
    let shown = match (&query, fields) {
        (Err(problem), _) => Page::of_problem(problem),
        (_, Err(problem)) => Page::of_problem(&problem),
        (Ok(_), Ok(fields)) => super::answer(page, &visit, fields.as_ref()),
    };
    shown.response(page.page.tab, Some(&visit), &head.headers)
}

/// A refusal of a client that may not be signed in, as a page.
pub(in crate::web) fn refused(problem: &Problem, sent: &HeaderMap) -> Response {
    let page = match problem.status {
        401 => Page { status: 401, ..Page::new("Sign in", "sign_in.html") }.with("message", problem.message.clone()),
        _ => Page::of_problem(problem),
    };
    page.response("", None, sent)
}
