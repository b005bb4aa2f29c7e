//! What the operating system asks of the process.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A wish from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// SIGTERM: take no new sessions, finish what is under way, end.
    Terminate,
    /// SIGINT: the same, asked for at a terminal.
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
    pub fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next wish. Whoever gets a second one to end while ending may end at once.
    pub async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Terminate,
            _ = self.interrupt.recv() => Wish::Interrupt,
            _ = self.hangup.recv() => Wish::Reload,
        }
    }
}
