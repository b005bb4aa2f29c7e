//! Signals of the operating system to the process.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A wish from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// SIGTERM: take no new sessions, finish work in progress, end.
    Terminate,
    /// SIGINT: the same, from a terminal.
    Interrupt,
    /// SIGHUP: load certificates and revocation lists again.
    Reload,
}

/// The signals that the process listens to, from the moment this exists.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes the signals over. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// A signal handler cannot be installed.
    pub fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal. A second one to end while ending may end the process at once.
    pub async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Terminate,
            _ = self.interrupt.recv() => Wish::Interrupt,
            _ = self.hangup.recv() => Wish::Reload,
        }
    }
}
