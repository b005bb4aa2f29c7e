//! The feed over HTTP: a page as JSON Lines, or a stream of server-sent events.

use super::connections::Asked;
use super::gives::EventLines;
use super::paging::{cursor, read_cursor};
use super::problem::Problem;
use super::request::Call;
use crate::api::Views;
use crate::api::feed::{Cursor, EVENT_TYPES, Event, Events, Feed};
use crate::limits::{EVENT_STREAMS_MAX, LIST_ITEMS, LIST_ITEMS_MAX, LIST_ROUNDS_MAX};
use crate::units::{did_you_mean, visible};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

/// Its address.
pub(super) const PATTERN: &str = "/api/v1/events";
/// The name of the list that cursors of events are of.
const LIST: &str = "events";
/// A stream without events has a comment so often, so that both sides see a broken connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a stream waits for an event before it looks whether it is still wanted.
const WAIT: Duration = Duration::from_millis(500);
/// Parts of a stream that wait for a slow client.
const PARTS_WAITING: usize = 16;

/// Which events a request is for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    types: Option<Vec<String>>,
    after: Cursor,
    limit: usize,
}

impl Wanted {
    /// As the parameters have it; a stream that was broken goes on behind its `Last-Event-ID`.
    ///
    /// # Errors
    /// 400 for a type that there is not, a cursor that is none, a limit out of range.
    pub fn of(call: &Call<'_>, last: Option<&str>) -> Result<Wanted, Problem> {
        let types = call.parameter("types").map(read_types).transpose()?;
        let after = match last.or(call.parameter("after")) {
            None | Some("") => Cursor::BEGINNING,
            Some("now") => feed(call.views)?.end(),
            Some(text) => read_cursor(LIST, text).ok_or_else(|| {
                Problem::usage(
                    "after: no cursor of an event; give the `cursor` of the last one as it is, `now`, or leave it out",
                )
                .about("after")
            })?,
        };
        let limit = call.number::<usize>("limit")?.unwrap_or(LIST_ITEMS);
        if !(1..=LIST_ITEMS_MAX).contains(&limit) {
            return Err(Problem::usage(format!("limit: a page has 1 to {LIST_ITEMS_MAX} events")).about("limit"));
        }
        Ok(Wanted { types, after, limit })
    }

    fn has(&self, event: &Event) -> bool {
        self.types.as_ref().is_none_or(|types| types.iter().any(|wanted| matches_type(wanted, &event.r#type)))
    }
}

/// A list of types; `capture.*` stands for all that begin so.
///
/// # Errors
/// 400 for a type that there is not.
pub(super) fn read_types(text: &str) -> Result<Vec<String>, Problem> {
    let names = || EVENT_TYPES.iter().map(|(name, _)| *name);
    let read = |wanted: &str| {
        let wanted = wanted.trim();
        if names().any(|name| matches_type(wanted, name)) {
            return Ok(wanted.to_owned());
        }
        let meant = did_you_mean(wanted, names()).map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
        Err(Problem::usage(format!("types: there are no events of type `{}`{meant}", visible(wanted))).about("types"))
    };
    text.split(',').map(read).collect()
}

/// Whether a type is one that is wanted.
pub(super) fn matches_type(wanted: &str, name: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => wanted == name,
    }
}

fn feed(views: &Views) -> Result<&Feed, Problem> {
    views.feed().ok_or_else(|| Problem::new(409, "no gate is running: there is no feed of events"))
}

/// An event as it is sent: with the cursor behind it.
pub(super) fn sent(event: Event, behind: &Cursor) -> Event {
    Event { cursor: Some(cursor(LIST, behind)), ..event }
}

/// A page of events, as JSON Lines. The header `X-Next` has the cursor with which the feed goes on, also behind events of
/// other types.
pub(super) fn events(call: &Call<'_>) -> Result<EventLines, Problem> {
    let wanted = Wanted::of(call, None)?;
    let (feed, mut after, mut lines) = (feed(call.views)?, wanted.after, Vec::new());
    for _ in 0..LIST_ROUNDS_MAX {
        let Events { events, next, more } = feed.behind(call.views, after)?;
        let mut full = None;
        for (event, behind) in events {
            // A page ends only behind all events of one fact.
            if full.is_some_and(|full| full != behind) {
                break;
            }
            if wanted.has(&event) {
                lines.push(sent(event, &behind));
            }
            if lines.len() >= wanted.limit {
                full = Some(behind);
            }
        }
        after = full.unwrap_or(next);
        if full.is_some() || !more {
            break;
        }
    }
    Ok(EventLines { events: lines, next: cursor(LIST, &after) })
}

/// Room for streams.
pub(super) struct Streams(Arc<Semaphore>);

impl Streams {
    pub fn new() -> Streams {
        Streams(Arc::new(Semaphore::new(EVENT_STREAMS_MAX)))
    }

    /// A place for one more stream.
    ///
    /// # Errors
    /// 503 when all are taken.
    pub fn enter(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let busy = |_| Problem::new(503, format!("{EVENT_STREAMS_MAX} clients follow the feed already; ask again"));
        Arc::clone(&self.0).try_acquire_owned().map_err(busy)
    }
}

/// Whether a request for events is for a stream: it says so, or it takes server-sent events only.
pub(super) fn is_stream(call: &Call<'_>, headers: &HeaderMap) -> Result<bool, Problem> {
    Ok(match call.one_of("follow", &["true", "false"])? {
        Some(follow) => follow == "true",
        None => true,
    } || headers.get(header::ACCEPT).is_some_and(|accept| accept == "text/event-stream"))
}

/// What a stream needs beside the request.
pub(super) struct Streaming {
    /// The gate.
    pub views: Arc<Views>,
    /// Its place among streams.
    pub place: OwnedSemaphorePermit,
    /// Its connection is not pushed out.
    pub asked: Asked,
    /// Whether the one who follows may still do so.
    pub may_follow: Box<dyn Fn() -> bool + Send>,
}

/// A stream of server-sent events: each with its cursor as `id`, its type, and its document.
///
/// # Errors
/// 500 where no thread can be started.
pub(super) fn stream(wanted: Wanted, streaming: Streaming) -> Result<Response, Problem> {
    let (parts, came) = mpsc::channel(PARTS_WAITING);
    let work = move || follow(&wanted, streaming, &parts);
    std::thread::Builder::new().name("events".to_owned()).spawn(work).map_err(Problem::internal)?;
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(came)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

type Part = Result<Bytes, Infallible>;

/// Sends events until the client is gone, may follow no longer, or the feed cannot be read: the client comes back with the id
/// of the last one.
fn follow(wanted: &Wanted, streaming: Streaming, parts: &mpsc::Sender<Part>) {
    let Streaming { views, place: _place, asked: _asked, may_follow } = streaming;
    let Some(feed) = views.feed() else { return };
    let (mut after, mut sent_at) = (wanted.after, Instant::now());
    let send = |text: String| parts.blocking_send(Ok(text.into())).is_ok();
    if !send("retry: 1000\n\n".to_owned()) {
        return;
    }
    while !parts.is_closed() && may_follow() {
        let Ok(Events { events, next, more }) = feed.behind(&views, after) else { return };
        let mut text = String::new();
        for (event, behind) in events.into_iter().filter(|(event, _)| wanted.has(event)) {
            let event = sent(event, &behind);
            let id = event.cursor.as_deref().unwrap_or_default();
            let data = serde_json::to_string(&event).unwrap_or_default();
            text.push_str(&format!("id: {id}\nevent: {}\ndata: {data}\n\n", event.r#type));
        }
        if text.is_empty() && sent_at.elapsed() >= HEARTBEAT {
            text.push_str(": nothing happened\n\n");
        }
        if !text.is_empty() {
            sent_at = Instant::now();
            if !send(text) {
                return;
            }
        }
        after = next;
        if !more {
            feed.wait(&after, WAIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_with_stars_and_misspelt_ones_are_named() {
        assert_eq!(read_types("capture.*, session.settled").unwrap(), ["capture.*", "session.settled"]);
        assert!(read_types("*").is_ok());
        let refused = read_types("capture.suceeded").unwrap_err();
        assert!(refused.message.contains("`capture.succeeded`") && refused.parameter == Some("types"), "{refused}");
        assert!(matches_type("capture.*", "capture.failed") && !matches_type("capture", "capture.failed"));
    }

    /// Programs decide by types, so the manual lists each of them.
    #[test]
    fn the_manual_lists_every_type() {
        let manual = include_str!("../manual/events.md");
        for (name, meaning) in EVENT_TYPES {
            let line = format!("| `{name}` | {meaning} |");
            assert!(manual.lines().any(|listed| listed == line), "{line}");
        }
    }
}
