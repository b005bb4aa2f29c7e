//! Notifications to a service manager by sd_notify(3) of systemd: one datagram for each change.
//!
//! Without `NOTIFY_SOCKET` nothing is sent. A send error is logged and not fatal.

use crate::actors::directory::Directory;
use crate::api::Figures;
use crate::transport::Live;
use rustix::time::{ClockId, clock_gettime};
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// How long the manager may leave a message unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// How often the status line is made anew.
const STATUS_EVERY: Duration = Duration::from_secs(30);
/// How much longer a start may take after each sign that it goes on.
const START_EXTENSION: Duration = Duration::from_secs(60);

/// The way to the service manager.
pub struct ServiceManager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
    /// The last reload left something as it was.
    reload_failed: AtomicBool,
}

impl ServiceManager {
    /// The manager that started this process, by its environment.
    pub fn of_process() -> ServiceManager {
        let address = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty());
        let socket = address.and_then(|address| match connect(&address) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(address = %address.display(), %error, "the service manager cannot be notified");
                None
            }
        });
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|micros| ours && *micros > 0).map(Duration::from_micros);
        ServiceManager { socket, watchdog, reload_failed: AtomicBool::new(false) }
    }

    /// The start goes on; it may take a while longer.
    pub fn starting(&self, how_far: &str) {
        self.send(&format!("STATUS=starting: {how_far}\nEXTEND_TIMEOUT_USEC={}", START_EXTENSION.as_micros()));
    }

    /// Peers can connect.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// The configuration is being loaded again; [`ServiceManager::reloaded`] follows.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1_000);
        self.send(&format!(
            "RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=loading certificates and configuration again"
        ));
    }

    /// It is loaded, or refused and the one before stays.
    pub fn reloaded(&self, whole: bool) {
        self.reload_failed.store(!whole, Ordering::Relaxed);
        self.ready(if whole { "ready: loaded again" } else { "ready: not all could be loaded again, see the log" });
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping: what was decided becomes durable, connections are closed");
    }

    /// Sends the gate's state, and the watchdog's signal while every shard answers, until the handle is dropped.
    ///
    /// # Errors
    /// The socket of the service manager cannot be used.
    pub fn attend(self: &Arc<ServiceManager>, directory: Arc<Directory>, live: Option<Live>) -> io::Result<Attending> {
        let (stop, stopped) = channel();
        let every = self.watchdog.map_or(STATUS_EVERY, |watchdog| (watchdog / 2).min(STATUS_EVERY));
        if self.socket.is_some() {
            let manager = self.clone();
            std::thread::Builder::new().name("service-manager".to_owned()).spawn(move || {
                while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                    manager.beat(&directory, live.as_ref());
                }
            })?;
        }
        Ok(Attending { _stop: stop })
    }

    fn beat(&self, directory: &Directory, live: Option<&Live>) {
        match Figures::gather(directory) {
            Ok(figures) => {
                let connected = |role| live.map_or(0, |live| live.of_role(role));
                let status = format!(
                    "ready: {} chargers online, {} connections of processors, {} sessions charging, {} settling{}",
                    figures.chargers_online,
                    connected("processor"),
                    figures.sessions_charging,
                    figures.sessions_settling,
                    if self.reload_failed.load(Ordering::Relaxed) {
                        "; the last reload failed, see the log"
                    } else {
                        ""
                    },
                );
                let fed = if self.watchdog.is_some() { "WATCHDOG=1\n" } else { "" };
                self.send(&format!("{fed}STATUS={status}"));
            }
            Err(error) => self.send(&format!("STATUS=not ready: {error}")),
        }
    }

    fn send(&self, lines: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(lines.as_bytes()) {
            tracing::warn!(%error, "the service manager does not listen");
        }
    }
}

/// Sends the gate's state to the service manager until it is dropped.
pub struct Attending {
    _stop: Sender<()>,
}

/// A socket in the file system, or in the abstract name space where the name begins with `@`.
fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(address)?,
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "wanted a path, or a name behind @")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
    Ok(socket)
}
