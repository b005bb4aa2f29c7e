//! Connections of the console and of the listener for probes. They are counted, each step of a request has a time
//! limit, and when all places are taken the oldest connection without a request is closed for a new one.

use crate::limits;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, Sleep};

/// How long the head of a request may take, and a connection be idle between two.
const HEAD: Duration = Duration::from_millis(limits::CONSOLE_HEAD_MAX.ms().unsigned_abs());
/// How long a client may take nothing of an answer.
const STALL: Duration = Duration::from_millis(limits::WRITE_STALL_MAX.ms().unsigned_abs());
/// How long answers that are in progress may take when it is stopped.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long nothing is accepted after the system could not give a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A place that a connection has.
pub(super) struct Slot {
    number: u64,
    /// The address of its peer.
    pub peer: SocketAddr,
    /// It has sent a whole request that is not answered yet.
    asked: AtomicBool,
    leave: Notify,
    gone: Notify,
    places: Arc<Slots>,
}

struct Slots {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    by: BTreeMap<u64, Arc<Slot>>,
}

/// While it exists, its connection waits for an answer and is not pushed out.
pub(super) struct Asked(Arc<Slot>);

impl Asked {
    pub fn at(place: Arc<Slot>) -> Asked {
        place.asked.store(true, Ordering::Release);
        Asked(place)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.asked.store(false, Ordering::Release);
    }
}

impl Slots {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a new connection; an earlier connection on it is closed by then. `None`: all are processing
    /// requests.
    async fn enter(self: &Arc<Self>, peer: SocketAddr) -> Option<Arc<Slot>> {
        loop {
            let pushed = {
                let mut taken = self.taken();
                if taken.by.len() < self.most {
                    let (number, asked) = (taken.next, AtomicBool::new(false));
                    let (leave, gone, places) = (Notify::new(), Notify::new(), Arc::clone(self));
                    let place = Arc::new(Slot { number, peer, asked, leave, gone, places });
                    taken.next += 1;
                    taken.by.insert(number, Arc::clone(&place));
                    return Some(place);
                }
                taken.by.values().find(|place| !place.asked.load(Ordering::Acquire)).cloned()
            };
            let pushed = pushed?;
            pushed.leave.notify_one();
            pushed.gone.notified().await;
        }
    }
}

impl Slots {
    /// Waits until all have left, for a moment at most.
    async fn emptied(&self) {
        let until = Instant::now() + FAREWELL;
        while !self.taken().by.is_empty() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Gives the place back when the connection is over.
struct Leaving(Arc<Slot>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.places.taken().by.remove(&self.0.number);
        self.0.gone.notify_one();
    }
}

/// Serves connections, at most so many at once, until it is stopped; requests that are answered by then get their answers.
pub(super) async fn serve<A, F>(listener: TcpListener, most: usize, answer: A, mut stopped: watch::Receiver<()>)
where
    A: Fn(Arc<Slot>, Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let places = Arc::new(Slots { most, taken: Mutex::default() });
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return places.emptied().await,
        };
        match accepted {
            Ok((tcp, peer)) => {
                let _ = tcp.set_nodelay(true);
                if let Some(place) = places.enter(peer).await {
                    tokio::spawn(connection(tcp, place, answer.clone(), stopped.clone()));
                }
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    tracing::error!(%error, "the console cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn connection<A, F>(tcp: TcpStream, place: Arc<Slot>, answer: A, mut stopped: watch::Receiver<()>)
where
    A: Fn(Arc<Slot>, Request<Incoming>) -> F,
    F: Future<Output = Response<Body>>,
{
    // Dropped last, when the socket is closed.
    let _leaving = Leaving(Arc::clone(&place));
    let asked_at = Arc::clone(&place);
    let service = service_fn(move |request| {
        let answered = answer(Arc::clone(&asked_at), request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let mut served = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(limits::CONSOLE_HEAD_BYTES)
            .serve_connection(TokioIo::new(Stalling::new(tcp)), service)
    );
    let mut goes_on = true;
    loop {
        tokio::select! {
            // A slow or broken client affects no other connection.
            _ = served.as_mut() => break,
            () = place.leave.notified() => break,
            _ = stopped.changed(), if goes_on => {
                goes_on = false;
                served.as_mut().graceful_shutdown();
            }
        }
    }
}

/// A stream that breaks when none of its bytes are taken for too long.
struct Stalling {
    tcp: TcpStream,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Stalling {
    fn new(tcp: TcpStream) -> Stalling {
        Stalling { tcp, stalled: None }
    }

    fn watched<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + STALL)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Stalling {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stalling {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        self.watched(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, parts);
        self.watched(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.tcp).poll_flush(cx);
        self.watched(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.tcp).poll_shutdown(cx);
        self.watched(cx, shut)
    }
}
