//! The HTTP server: loopback only, a token for everything but health and metrics, a thread of its own; and beside it,
//! where it is configured, a listener for probes that answers only health and metrics, to all clients.

use super::access::{Access, COMMAND_LINE, Principal, Role, Shown, TOKENS_FILE, Tokens, same_origin, secret};
use super::asking::{self, Asking};
use super::audit::{AUDIT_FILE, Order, Trail};
use super::connections::{self, Asked};
use super::doors;
use super::events::{self, Streams};
use super::hosts::Hosts;
use super::pages;
use super::problem::Problem;
use super::prometheus;
use super::request::{Answer, Call, Over, idempotency_key, parameters};
use super::routes::{self, Action, Found, Ordering, Probe};
use super::webhooks::{WebhookSettings, Webhooks};
use crate::api::Views;
use crate::host::{Durability, cannot_listen, replace_file, wall_clock};
use crate::limits;
use crate::metrics::{Collector, Exporter, READY};
use crate::units::visible_json;
use axum::body::{Body, to_bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::{Body as _, Incoming};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Type};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::future::poll_fn;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, watch};

/// Address of a running gate's console: the content of [`ENDPOINT_FILE`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleEndpoint {
    /// Its address.
    pub address: SocketAddr,
    /// Its token: that of the command line.
    pub token: String,
    /// A link that signs a browser in, once and until five minutes after the start; `wattstile console login` prints another.
    #[serde(default)]
    pub login: String,
    /// The process.
    pub pid: u32,
}

/// Never shows the token and the link.
impl fmt::Debug for ConsoleEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("address", &self.address).field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// The file in the data directory with the console's address; only its owner can read it.
pub const ENDPOINT_FILE: &str = "console.json";

/// How long the body of an order may take.
const BODY_TIME: Duration = Duration::from_millis(limits::CONSOLE_BODY_MAX.ms().unsigned_abs());
/// How long a body that is refused is read and dropped.
const LINGER: Duration = Duration::from_secs(1);
/// How long an answer about readiness, or metrics, is reused for further requests.
const PROBED_FOR: Duration = Duration::from_millis(250);
/// Interval at which recorded samples are folded.
const UPKEEP: Duration = Duration::from_secs(5);

/// Returns a text on the progress of the start.
pub type Starting = Box<dyn Fn() -> String + Send + Sync>;

/// Address and access of a console.
pub struct Listening {
    /// A loopback address; port 0 means any.
    pub address: SocketAddr,
    /// Host names beside those of the loopback that requests may use.
    pub hosts: Vec<String>,
    /// Address of the listener with only health and metrics, open to all clients.
    pub probes: Option<SocketAddr>,
    /// The token; without one it is made.
    pub token: Option<String>,
    /// Which targets webhooks may have.
    pub webhooks: WebhookSettings,
}

impl Listening {
    /// On a loopback address, without a listener for probes; webhooks may go to the loopback.
    pub fn on(address: SocketAddr, token: Option<String>) -> Listening {
        let allow = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        let webhooks = WebhookSettings { allow, roots_file: None };
        Listening { address, hosts: Vec::new(), probes: None, token, webhooks }
    }
}

/// Why a console cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// A listener; `setting` is the key of the section `console`.
    #[error("console.{setting} = \"{address}\": {}", why(.address, .error))]
    Listen {
        /// Which setting.
        setting: &'static str,
        /// Where.
        address: SocketAddr,
        /// The error of the operating system.
        error: io::Error,
    },
    /// Anything else.
    #[error(transparent)]
    System(#[from] io::Error),
}

fn why(address: &SocketAddr, error: &io::Error) -> String {
    cannot_listen(*address, error)
}

/// An open console.
pub struct Console {
    /// Where.
    pub address: SocketAddr,
    /// Where probes are answered, if there is a listener for them.
    pub probes: Option<SocketAddr>,
    /// The token of the command line.
    pub token: String,
    shared: Arc<Shared>,
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    file: Option<PathBuf>,
}

struct Shared {
    /// Room for questions: each is answered on a thread of its own.
    room: Arc<Semaphore>,
    readiness: SharedAnswer,
    metrics: SharedAnswer,
    /// The gate, once it has started.
    views: OnceLock<Arc<Views>>,
    starting: Starting,
    exporter: Exporter,
    hosts: Hosts,
    /// Who may ask and order what.
    access: Access,
    /// Every order, once the data directory is known.
    trail: OnceLock<Trail>,
    /// Clients that follow the feed.
    streams: Streams,
    webhook_settings: WebhookSettings,
    /// Endpoints that events are pushed to, once the data directory is known.
    webhooks: OnceLock<Webhooks>,
    address: SocketAddr,
}

impl Console {
    /// Listens before the gate has started: it is live and not ready.
    ///
    /// # Errors
    /// An address is taken, or the console's is none of the loopback.
    pub fn listen(listening: Listening, starting: Starting) -> Result<Console, ConsoleError> {
        let Listening { address, hosts, probes, token, webhooks: webhook_settings } = listening;
        if !address.ip().is_loopback() {
            let text = "not a loopback address; for probes and scrapers elsewhere set `console.probes_listen`";
            let error = io::Error::new(io::ErrorKind::InvalidInput, text);
            return Err(ConsoleError::Listen { setting: "listen", address, error });
        }
        let token = match token {
            Some(token) => token,
            None => secret::<32>()?,
        };
        let (listener, address) = bind("listen", address)?;
        let probes = probes.map(|probes| bind("probes_listen", probes)).transpose()?;
        let exporter = crate::metrics::install().map_err(io::Error::other)?;
        let shared = Arc::new(Shared {
            room: Arc::new(Semaphore::new(limits::CONSOLE_QUESTIONS)),
            readiness: SharedAnswer::new(),
            metrics: SharedAnswer::new(),
            views: OnceLock::new(),
            starting,
            exporter,
            hosts: Hosts::new(address, &hosts),
            access: Access::new(&token),
            trail: OnceLock::new(),
            streams: Streams::new(),
            webhook_settings,
            webhooks: OnceLock::new(),
            address,
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("console")
            .enable_all()
            .build()?;
        let (stop, stopped) = watch::channel(());
        let serving = shared.clone();
        let (probes, probes_at) = probes.unzip();
        let thread = std::thread::Builder::new().name("console".to_owned()).spawn(move || {
            runtime.block_on(serve(listener, probes, serving, stopped));
            runtime.shutdown_timeout(Duration::from_secs(1));
        })?;
        Ok(Console { address, probes: probes_at, token, shared, stop: Some(stop), thread: Some(thread), file: None })
    }

    /// Shows a gate, with measured figures beside its views. The command line finds it by a file in the data directory.
    ///
    /// # Errors
    /// The file with the address cannot be written.
    pub fn show(&mut self, views: Arc<Views>, collectors: Vec<Collector>, data: Option<&Path>) -> io::Result<()> {
        self.shared.exporter.collect(prometheus::collector(&views));
        for collector in collectors {
            self.shared.exporter.collect(collector);
        }
        if let Some(data) = data {
            self.shared.access.take(Tokens::open(&data.join(TOKENS_FILE)));
            // It is set once; that of a second gate in the same console is ignored.
            let _ = self.shared.trail.set(Trail::open(&data.join(AUDIT_FILE))?);
            let settings = self.shared.webhook_settings.clone();
            let _ = self.shared.webhooks.set(Webhooks::start(data, views.clone(), settings)?);
        }
        self.file = data.map(|data| data.join(ENDPOINT_FILE));
        if let Some(file) = &self.file {
            let (address, token, pid) = (self.address, self.token.clone(), std::process::id());
            write_place(file, &ConsoleEndpoint { address, token, login: self.login()?, pid })?;
        }
        // Views are set once; a second gate in the same console is ignored.
        let _ = self.shared.views.set(views);
        Ok(())
    }

    /// A link that signs a browser in with every right: it works once, and for five minutes.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn login(&self) -> io::Result<String> {
        let principal = Principal { name: COMMAND_LINE.to_owned(), role: Role::Admin };
        let code = self.shared.access.link(principal, wall_clock())?;
        Ok(doors::link(self.address, &code))
    }
}

fn bind(setting: &'static str, address: SocketAddr) -> Result<(std::net::TcpListener, SocketAddr), ConsoleError> {
    let open = || {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(limits::LISTEN_BACKLOG)?;
        let listener = std::net::TcpListener::from(socket);
        let local = listener.local_addr()?;
        Ok((listener, local))
    };
    open().map_err(|error| ConsoleError::Listen { setting, address, error })
}

async fn serve(
    listener: std::net::TcpListener,
    probes: Option<std::net::TcpListener>,
    shared: Arc<Shared>,
    stopped: watch::Receiver<()>,
) {
    let opened = tokio::net::TcpListener::from_std(listener)
        .and_then(|listener| Ok((listener, probes.map(tokio::net::TcpListener::from_std).transpose()?)));
    let (listener, probes) = match opened {
        Ok(opened) => opened,
        Err(error) => return tracing::error!(%error, "the console cannot listen"),
    };
    let exporter = shared.exporter.clone();
    let upkeep = tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            exporter.upkeep();
        }
    });
    let of_probes = shared.clone();
    let answer_probe = move |place, request: hyper::Request<Incoming>| {
        let shared = of_probes.clone();
        async move {
            let _asked = Asked::at(place);
            let (head, _) = request.into_parts();
            match routes::find(&head.method, head.uri.path()) {
                Ok(Found { action: Action::Probe(asked), .. }) => probe(&shared, asked).await,
                // What the other listener has is not there, whatever the method.
                Err(problem) if problem.status == 405 && routes::is_probe(head.uri.path()) => problem.into_response(),
                _ => Problem::not_found("only /livez, /readyz and /metrics are answered here").into_response(),
            }
        }
    };
    let answer = move |place, request| answer(shared.clone(), place, request);
    let console = connections::serve(listener, limits::CONSOLE_CONNECTIONS, answer, stopped.clone());
    let probes = async {
        if let Some(probes) = probes {
            connections::serve(probes, limits::PROBE_CONNECTIONS, answer_probe, stopped).await;
        }
    };
    tokio::join!(console, probes);
    upkeep.abort();
}

impl Console {
    /// Closes it.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(file) = self.file.take() {
            let _ = fs::remove_file(file);
        }
        if let Some(webhooks) = self.shared.webhooks.get() {
            webhooks.stop();
        }
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.end();
    }
}

async fn answer(shared: Arc<Shared>, place: Arc<connections::Slot>, request: hyper::Request<Incoming>) -> Response {
    let (head, body) = request.into_parts();
    // Checked before the body is read, for every request.
    if let Err(problem) = shared.hosts.check(&head.uri, &head.headers) {
        return problem.into_response();
    }
    let found = routes::find(&head.method, head.uri.path());
    let principal = shared.access.principal(&head.headers, wall_clock());
    let page = pages::find(&head.method, head.uri.path());
    let bytes_max = match (&found, &page) {
        // Only authorized clients may send more than a usual order has.
        _ if principal.is_none() => limits::CONSOLE_BODY_BYTES,
        (Ok(Found { action: Action::Order(_, ordering), .. }), _) => ordering.bytes_max,
        (_, Ok(page)) => page.bytes_max(),
        _ => limits::CONSOLE_BODY_BYTES,
    };
    let text = format!("the body has more than {bytes_max} bytes, or is broken");
    // A body that states its length is refused by it, before it comes.
    if body.size_hint().lower() > bytes_max as u64 {
        tokio::spawn(discard(body));
        return Problem::new(413, text).into_response();
    }
    let body = match tokio::time::timeout(BODY_TIME, to_bytes(Body::new(body), bytes_max)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return Problem::new(413, text).into_response(),
        Err(_) => return Problem::new(408, "the body did not come in time").into_response(),
    };
    let from = place.peer.to_string();
    let asked_at = Asked::at(place);
    if let Ok(Found { action: Action::Probe(asked), .. }) = found {
        return probe(&shared, asked).await;
    }
    let is_page = pages::wants_page(&head.headers);
    let shown =
        |problem: Problem| if is_page { pages::refused(&problem, &head.headers) } else { problem.into_response() };
    if let Some(door) = doors::find(&head.method, head.uri.path()) {
        return door.answer(&shared.access, &head).unwrap_or_else(shown);
    }
    if let Some(asset) = pages::asset(head.uri.path()).filter(|_| head.method == Method::GET) {
        return asset.response(&head.headers);
    }
    if !head.uri.path().starts_with("/api/") {
        let page = match page {
            Ok(page) => page,
            Err(problem) => return shown(problem),
        };
        let Some((principal, shown_by)) = principal else {
            return shown(Problem::new(401, doors::SIGN_IN));
        };
        let permitted = if shown_by == Shown::Cookie { same_origin(&head.method, &head.headers) } else { Ok(()) };
        if let Err(problem) = permitted {
            return shown(problem);
        }
        if shared.views.get().is_none() {
            return shown(shared.not_yet());
        }
        let Ok(room) = Arc::clone(&shared.room).try_acquire_owned() else {
            return shown(Problem::new(503, "too many questions at once; ask again"));
        };
        let answered = tokio::task::spawn_blocking(move || {
            let views = shared.views.get().ok_or_else(|| shared.not_yet())?;
            let (access, trail, webhooks) = (&shared.access, shared.trail.get(), shared.webhooks.get());
            let over = Over { access, trail, webhooks, address: shared.address, principal: &principal };
            Ok(pages::serve(&page, &Asking { views, over, from }, &head, &body))
        });
        let failed = |_| Err(Problem::internal("the page could not be made"));
        let answered = answered.await.unwrap_or_else(failed);
        drop(room);
        drop(asked_at);
        return answered.unwrap_or_else(Problem::into_response);
    }
    // Without the token it stays unknown which addresses of the API there are.
    let Some((principal, shown)) = principal else {
        // Made tokens are read with the gate's data: until then none of them is known to be wrong.
        if shared.views.get().is_none() && head.headers.contains_key(header::AUTHORIZATION) {
            return shared.not_yet().into_response();
        }
        let in_address = head.uri.query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("token=")));
        return Problem::no_token(in_address).into_response();
    };
    if let Err(problem) = permitted(&found, &principal, shown, &head) {
        if let (Ok(Found { action: Action::Order(handler, Ordering { pin, .. }), .. }), true) =
            (&found, shared.trail.get().is_some())
        {
            let (handler, pin, refusal) = (*handler, *pin, problem.clone());
            let record = move || {
                let order = Order { principal: &principal, from, path: head.uri.path(), key: None, pin, handler };
                shared.trail.get().into_iter().for_each(|trail| order.refused(trail, &refusal));
            };
            // The refusal does not depend on the record.
            let _ = tokio::task::spawn_blocking(record).await;
        }
        return problem.into_response();
    }
    if shared.views.get().is_none() {
        return shared.not_yet().into_response();
    }
    let asked = found.and_then(|found| {
        let query = parameters(&head.uri)?;
        found.handler(&query)?.ok_or_else(Problem::nothing_there)?;
        Ok((found, query))
    });
    let (found, query) = match asked {
        Ok(asked) => asked,
        Err(problem) => return problem.into_response(),
    };
    let Ok(room) = Arc::clone(&shared.room).try_acquire_owned() else {
        return Problem::new(503, "too many questions at once; ask again").into_response();
    };
    if found.pattern == events::PATTERN {
        match shared.stream_of(&query, &head.headers) {
            Ok(None) => {}
            Ok(Some((wanted, views, place))) => {
                let (theirs, who) = (shared.clone(), principal.clone());
                let may_follow = Box::new(move || theirs.access.is_still(&who, wall_clock()));
                let streaming = events::Streaming { views, place, asked: asked_at, may_follow };
                return events::stream(wanted, streaming).unwrap_or_else(Problem::into_response);
            }
            Err(problem) => return problem.into_response(),
        }
    }
    let known = head.headers.get(header::IF_NONE_MATCH).cloned();
    // Views wait for shards: not on the thread that serves connections.
    let answered = tokio::task::spawn_blocking(move || {
        let views = shared.views.get().ok_or_else(|| shared.not_yet())?;
        let (access, trail, address) = (&shared.access, shared.trail.get(), shared.address);
        let webhooks = shared.webhooks.get();
        let over = Over { access, trail, webhooks, address, principal: &principal };
        let key = if matches!(found.action, Action::Order(..)) { idempotency_key(&head)? } else { None };
        let asked = asking::Asked { path: head.uri.path(), query: &query, body: &body, key: key.as_deref() };
        Asking { views, over, from }.carry(found, asked)
    });
    let answered = answered.await;
    drop(room);
    drop(asked_at);
    match answered {
        Ok(Ok((answer, again))) => {
            let mut response = tagged(response(answer), known.as_ref());
            if again {
                response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
            }
            response
        }
        Ok(Err(problem)) => problem.into_response(),
        Err(_) => Problem::internal("the question could not be answered").into_response(),
    }
}

/// Whether the one who sent a request may send it.
fn permitted(found: &Result<Found, Problem>, principal: &Principal, shown: Shown, head: &Parts) -> Result<(), Problem> {
    if shown == Shown::Cookie {
        same_origin(&head.method, &head.headers)?;
    }
    found.as_ref().map_or(Ok(()), |found| found.permit(principal))
}

/// Reads a body that is refused for a moment: a connection that is closed with unread bytes takes its answer with it.
async fn discard(mut body: Incoming) {
    let frames = async { while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {} };
    // It ends when the client closes, or here.
    let _ = tokio::time::timeout(LINGER, frames).await;
}

/// What an answer and its tag are made of.
struct Tagged {
    media: &'static str,
    text: String,
    next: Option<String>,
}

/// The answer with a tag of its content; 304 without content where the client has it already.
fn tagged((tagged, mut response): (Tagged, Response), known: Option<&HeaderValue>) -> Response {
    let Tagged { media, text, next } = tagged;
    let digest = digest(&SHA256, text.as_bytes());
    let tag = format!("\"{}\"", hex::encode(&digest.as_ref()[..16]));
    let known = known.and_then(|known| known.to_str().ok()).unwrap_or_default();
    let is_known =
        known.split(',').any(|each| matches!(each.trim(), "*") || each.trim().trim_start_matches("W/") == tag);
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        *response.body_mut() = Body::from(text);
    }
    let headers = [(header::ETAG, tag), (header::CACHE_CONTROL, "private, no-cache".to_owned())];
    let next = next.map(|next| (HeaderName::from_static("x-next"), next));
    for (name, value) in headers.into_iter().chain(next) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// An answer without its content.
fn response(answer: Answer) -> (Tagged, Response) {
    match answer {
        // A terminal or a page that shows it is not moved by what is in it.
        Answer::Json(document) => {
            let text = visible_json(&format!("{document:#}\n")).into_owned();
            (Tagged { media: "application/json", text, next: None }, Response::default())
        }
        Answer::Page { media, text, next } => (Tagged { media, text, next }, Response::default()),
        Answer::Text(media, text) => {
            let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
            let response = [(header::CONTENT_SECURITY_POLICY, policy)].into_response();
            (Tagged { media, text, next: None }, response)
        }
    }
}

async fn probe(shared: &Arc<Shared>, asked: Probe) -> Response {
    let same = Arc::clone(shared);
    let answered = match asked {
        // No thread, shard or lock is involved: an answer means that the process runs.
        Probe::Live => Ok(Answer::Text("text/plain; charset=utf-8", "ok\n".to_owned())),
        Probe::Metrics => {
            let render = move || Ok(Answer::Text("text/plain; version=0.0.4; charset=utf-8", same.metrics()));
            shared.metrics.answer(render).await
        }
        Probe::Ready => shared.readiness.answer(move || readiness(&same)).await,
    };
    answered.map_or_else(Problem::into_response, |answer| tagged(response(answer), None))
}

/// A request with the same answer for all clients: one is processed at a time, and the others that wait share its
/// answer.
struct SharedAnswer {
    waiting: Semaphore,
    last: Mutex<Option<(Instant, Result<Answer, Problem>)>>,
}

impl SharedAnswer {
    fn new() -> SharedAnswer {
        SharedAnswer { waiting: Semaphore::new(limits::PROBES_WAITING), last: Mutex::default() }
    }

    async fn answer(&self, ask: impl FnOnce() -> Result<Answer, Problem> + Send + 'static) -> Result<Answer, Problem> {
        let busy = |_| Problem::new(503, "many ask the same; ask again");
        let _waiting = self.waiting.try_acquire().map_err(busy)?;
        let mut last = self.last.lock().await;
        if let Some((at, answer)) = &*last
            && at.elapsed() < PROBED_FOR
        {
            return answer.clone();
        }
        let answered = tokio::task::spawn_blocking(ask).await;
        let answer = answered.unwrap_or_else(|_| Err(Problem::new(500, "the question could not be answered")));
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}

/// Ready when every shard answers: recovery is over by then.
fn readiness(shared: &Shared) -> Result<Answer, Problem> {
    let Some(views) = shared.views.get() else { return Err(shared.not_yet()) };
    let received = views.awake();
    let (answered, expected) = (received.answers.len(), received.of);
    if answered == expected && expected > 0 {
        Ok(Answer::Text("text/plain; charset=utf-8", format!("[+] {answered} shards answer\nready\n")))
    } else {
        Err(Problem::new(503, format!("{answered} of {expected} shards answer")))
    }
}

impl Shared {
    /// Metrics and readiness, also before the gate has started.
    fn metrics(&self) -> String {
        let mut text = self.exporter.render();
        READY.write_head(&mut text);
        READY.write_series(&mut text, &[], u8::from(readiness(self).is_ok()));
        text
    }

    /// What a request for events wants, where it is for a stream; none: it is for a page.
    fn stream_of(
        &self,
        query: &BTreeMap<String, String>,
        headers: &HeaderMap,
    ) -> Result<Option<(events::Wanted, Arc<Views>, OwnedSemaphorePermit)>, Problem> {
        let views = self.views.get().ok_or_else(|| self.not_yet())?;
        let call = Call::reading(views, query);
        if !events::is_stream(&call, headers)? {
            return Ok(None);
        }
        let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
        let wanted = events::Wanted::of(&call, last)?;
        Ok(Some((wanted, views.clone(), self.streams.enter()?)))
    }

    fn not_yet(&self) -> Problem {
        Problem::starting(&(self.starting)())
    }
}

/// Written beside and renamed: a reader sees a whole file or none.
fn write_place(file: &Path, place: &ConsoleEndpoint) -> io::Result<()> {
    let text = serde_json::to_string_pretty(place)?;
    replace_file(file, 0o600, Durability::Power, |file| file.write_all(text.as_bytes()))
}
