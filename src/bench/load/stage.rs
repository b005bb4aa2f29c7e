//! What the connections of a load generator have in common: the stage of the run, the figures that they add to, and how each of
//! them dials, leaves in the storm and comes back.

use crate::sim::pipe::{Dialler, Pipe};
use crate::units::Power;
use hdrhistogram::Histogram;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// What all lines do now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stage {
    /// Connect, open sessions.
    Opening,
    /// Send readings.
    Running { start: Instant, end: Instant },
    /// Drop the connection, come back with whatever is open, and send one reading of every session.
    Storm { since: Instant },
    /// Close.
    Over,
}

/// What all lines add to.
pub(super) struct Board {
    pub live: AtomicU64,
    pub refused: AtomicU64,
    pub sent: AtomicU64,
    pub acknowledged: AtomicU64,
    pub disconnects: AtomicU64,
    /// Lines that reconnected after the storm.
    pub returned: AtomicU64,
    /// Dials that failed in the storm, and were repeated.
    pub redials: AtomicU64,
    pub latencies: Mutex<Histogram<u64>>,
    pub last_error: Mutex<Option<String>>,
}

impl Board {
    pub fn new() -> Board {
        let latencies = Histogram::new_with_bounds(1, 120_000_000, 3).expect("bounds that a histogram can have");
        Board {
            live: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            disconnects: AtomicU64::new(0),
            returned: AtomicU64::new(0),
            redials: AtomicU64::new(0),
            latencies: Mutex::new(latencies),
            last_error: Mutex::new(None),
        }
    }
}

/// Why a line left its connection.
pub(super) enum Left {
    /// All is over.
    Over,
    /// To come back at once.
    Storm,
}

/// Bytes that may wait for the gate.
pub(super) const BACKLOG_MAX: usize = 256 * 1_024;
/// Interval at which a fully loaded line checks its sessions, so that readings share records.
pub(super) const QUANTUM: Duration = Duration::from_millis(2);
/// After a dial that failed.
pub(super) const REDIAL: Duration = Duration::from_millis(50);
/// What every session draws.
pub(super) const POWER: Power = Power::from_milliwatts(11_000_000);

/// A connection of the load generator.
pub(super) trait Line: Send {
    /// Speaks over one connection until the run is over or the storm begins.
    fn serve(
        &mut self,
        pipe: Pipe,
        board: &Board,
        stages: &mut watch::Receiver<Stage>,
    ) -> impl Future<Output = Result<Left, String>> + Send;

    /// It left in the storm, and the next connection is its return.
    fn come_back(&mut self);
}

/// Runs a line: dials, and dials again after it left in the storm.
pub(super) async fn run(mut line: impl Line, dialler: Dialler, board: Arc<Board>, mut stages: watch::Receiver<Stage>) {
    let mut outcome = match dialler.dial().await {
        Ok(stream) => line.serve(Pipe::new(stream), &board, &mut stages).await,
        Err(error) => Err(error.to_string()),
    };
    while let Ok(Left::Storm) = outcome {
        outcome = match dialler.dial().await {
            Ok(stream) => {
                line.come_back();
                line.serve(Pipe::new(stream), &board, &mut stages).await
            }
            Err(_) => {
                board.redials.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(REDIAL).await;
                Ok(Left::Storm)
            }
        };
    }
    if let Err(error) = outcome {
        board.disconnects.fetch_add(1, Ordering::Relaxed);
        *board.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
