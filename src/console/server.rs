//! The HTTP server: loopback only, a token for everything but health and metrics, a thread of its own.

use super::api::{self, Answer, Refused, Request};
use super::prometheus;
use super::views::Views;
use crate::limits;
use crate::metrics::{Collector, Exporter};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};

/// Where a running gate's console is: what stands in [`PLACE_FILE`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its address.
    pub address: SocketAddr,
    /// Its token.
    pub token: String,
    /// The process.
    pub pid: u32,
}

/// Never shows the token.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("address", &self.address).field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// The file in the data directory that says where the console is; only its owner can read it.
pub const PLACE_FILE: &str = "console.json";

/// Bytes of one order.
const BODY_MAX: usize = 64 * 1024;
/// How often recorded samples are folded.
const UPKEEP: Duration = Duration::from_secs(5);

/// Says how far the start has come.
pub type Starting = Box<dyn Fn() -> String + Send + Sync>;

/// An open console.
pub struct Console {
    /// Where.
    pub address: SocketAddr,
    /// The token.
    pub token: String,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    file: Option<PathBuf>,
}

struct Shared {
    /// Room for questions: each is answered on a thread of its own.
    room: Arc<Semaphore>,
    /// The gate, once it has started.
    views: OnceLock<Arc<Views>>,
    starting: Starting,
    exporter: Exporter,
    /// SHA-256 of the token: compared in a time that tells nothing about the token.
    token: [u8; 32],
}

impl Console {
    /// Listens on a loopback address (port 0 means any), before there is a gate to show: it is live and not ready. Without a
    /// token one is made.
    pub fn listen(address: SocketAddr, token: Option<String>, starting: Starting) -> io::Result<Console> {
        if !address.ip().is_loopback() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{address} is not a loopback address")));
        }
        let token = match token {
            Some(token) => token,
            None => fresh_token()?,
        };
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let exporter = crate::metrics::install().map_err(io::Error::other)?;
        let room = Arc::new(Semaphore::new(limits::CONSOLE_QUESTIONS));
        let shared = Arc::new(Shared { room, views: OnceLock::new(), starting, exporter, token: hash(&token) });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("console")
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let serving = shared.clone();
        let thread = std::thread::Builder::new().name("console".to_owned()).spawn(move || {
            runtime.block_on(serve(listener, serving, stopped));
            runtime.shutdown_timeout(Duration::from_secs(1));
        })?;
        Ok(Console { address, token, shared, stop: Some(stop), thread: Some(thread), file: None })
    }

    /// Shows a gate, with what is measured beside its views. The command line finds it by a file in the data directory.
    pub fn show(&mut self, views: Arc<Views>, collectors: Vec<Collector>, data: Option<&Path>) -> io::Result<()> {
        self.shared.exporter.collect(prometheus::collector(&views));
        for collector in collectors {
            self.shared.exporter.collect(collector);
        }
        self.file = data.map(|data| data.join(PLACE_FILE));
        if let Some(file) = &self.file {
            write_place(file, &Place { address: self.address, token: self.token.clone(), pid: std::process::id() })?;
        }
        // A second gate in the same console is none that anybody asked for.
        let _ = self.shared.views.set(views);
        Ok(())
    }
}

async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the console cannot listen"),
    };
    let exporter = shared.exporter.clone();
    let upkeep = tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            exporter.upkeep();
        }
    });
    let routes = Router::new().fallback(answer).with_state(shared);
    let routes = routes.layer(axum::extract::DefaultBodyLimit::max(BODY_MAX));
    let served = axum::serve(listener, routes).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    if let Err(error) = served.await {
        tracing::error!(%error, "the console ended badly");
    }
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

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    Query(mut query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    let token = query.remove("token");
    let Ok(room) = Arc::clone(&shared.room).try_acquire_owned() else {
        return refusal(&Refused::new(503, "too many questions at once; ask again"));
    };
    // Views wait for shards: not on the thread that serves connections.
    let answered = tokio::task::spawn_blocking(move || match path.as_str() {
        "/livez" => Ok(Answer::Text("text/plain; charset=utf-8", "ok\n".to_owned())),
        "/readyz" | "/healthz" => readiness(&shared),
        "/metrics" => Ok(Answer::Text("text/plain; version=0.0.4; charset=utf-8", shared.exporter.render())),
        path => match path.strip_prefix("/api/") {
            None => Err(Refused::not_found("there is nothing under this address")),
            Some(_) if !shared.lets_in(&headers, token.as_deref()) => {
                Err(Refused::new(401, "the token is missing or wrong"))
            }
            Some(path) => match shared.views.get() {
                None => Err(shared.not_yet()),
                Some(views) if method == Method::GET => api::get(views, &Request { path: path.to_owned(), query }),
                Some(views) if method == Method::POST => super::orders::post(views, path, &body).map(Answer::Json),
                Some(_) => Err(Refused::new(405, "GET or POST")),
            },
        },
    });
    let answered = answered.await;
    drop(room);
    match answered {
        Ok(Ok(Answer::Json(document))) => {
            ([(header::CONTENT_TYPE, "application/json")], format!("{document:#}\n")).into_response()
        }
        Ok(Ok(Answer::Text(media, text))) => {
            let policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
            ([(header::CONTENT_TYPE, media), (header::CONTENT_SECURITY_POLICY, policy)], text).into_response()
        }
        Ok(Err(refused)) => refusal(&refused),
        Err(_) => refusal(&Refused::new(500, "the question could not be answered")),
    }
}

fn refusal(refused: &Refused) -> Response {
    let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let problem = json!({
        "title": status.canonical_reason().unwrap_or("refused"), "status": refused.status, "detail": refused.message,
    });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], format!("{problem:#}\n")).into_response()
}

/// Ready when every shard answers: recovery is over by then.
fn readiness(shared: &Shared) -> Result<Answer, Refused> {
    let Some(views) = shared.views.get() else { return Err(shared.not_yet()) };
    let heard = views.ask(|_| ());
    let (answered, expected) = (heard.answers.len(), heard.of);
    match answered == expected && expected > 0 {
        true => Ok(Answer::Text("text/plain; charset=utf-8", format!("[+] {answered} shards answer\nready\n"))),
        false => Err(Refused::new(503, format!("{answered} of {expected} shards answer"))),
    }
}

impl Shared {
    fn not_yet(&self) -> Refused {
        Refused::new(503, format!("the gate is starting: {}", (self.starting)()))
    }

    /// The token comes as a bearer's or in the address.
    fn lets_in(&self, headers: &HeaderMap, in_address: Option<&str>) -> bool {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        bearer.or(in_address).is_some_and(|token| hash(token) == self.token)
    }
}

fn hash(token: &str) -> [u8; 32] {
    digest(&SHA256, token.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn fresh_token() -> io::Result<String> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system gave no randomness"))?;
    Ok(hex::encode(bytes))
}

/// Written beside and renamed: a reader sees a whole file or none.
fn write_place(file: &Path, place: &Place) -> io::Result<()> {
    let unfinished = file.with_extension("new");
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    out.write_all(serde_json::to_string_pretty(place)?.as_bytes())?;
    out.sync_all()?;
    fs::rename(&unfinished, file)
}
