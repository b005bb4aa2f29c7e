//! A load generator: sessions with readings at a fixed rate, independent of the gate, and their latencies.
//!
//! Open loop: reading number i of all is due i/rate after the start, whether earlier ones were acknowledged or not,
//! and its latency counts from when it was due, so a stall of the gate counts for all readings that waited meanwhile.
//! With no rate the loop is closed: every connection keeps a number of readings unacknowledged.

mod line;
mod ocpp;
mod page;
mod stage;

pub use page::html;

use crate::sim::pace::Pace;
use crate::sim::pipe::Dialler;
use crate::units::ChargerId;
use hdrhistogram::Histogram;
use line::LoadLine;
use ocpp::OcppLoadLine;
use serde::{Deserialize, Serialize};
use stage::{Board, Stage, run};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// What is to be put on the gate.
#[derive(Clone, Debug)]
pub struct LoadSettings {
    /// Sessions, spread evenly over the chargers.
    pub sessions: u32,
    /// Readings per second of all sessions; `None`: as many as the gate acknowledges.
    pub rate: Option<u32>,
    /// How long readings are measured.
    pub duration: Duration,
    /// How long the gate is given for the last acknowledgements, and for the sessions to open.
    pub timeout: Duration,
    /// Unacknowledged readings per connection in a closed loop.
    pub window: u32,
}

/// A connection of the load generator.
pub struct LoadPeer {
    /// How to connect.
    pub dialler: Dialler,
    /// Its chargers.
    pub chargers: Vec<ChargerId>,
    /// What is spoken on it.
    pub speech: Speech,
}

/// What is spoken on a connection of the load generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Speech {
    /// The native protocol, by one charger.
    Charger,
    /// The native protocol, by a site controller.
    Site,
    /// OCPP 1.6, by one charger with one session; the dialler opens the WebSocket.
    Ocpp,
}

/// What came out, seen from the chargers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadReport {
    /// Sessions that were live when the measurement began.
    pub sessions_live: u64,
    /// Starts that were refused.
    pub sessions_refused: u64,
    /// How long it took to open them, in milliseconds.
    pub opening_ms: u64,
    /// Readings sent while it was measured.
    pub readings_sent: u64,
    /// Readings acknowledged, as a rate over the time from the first reading to the last acknowledgement in the
    /// measured time.
    pub readings_durable_per_s: u64,
    /// Readings that were never acknowledged.
    pub lost: u64,
    /// Median time from when a reading was due to its acknowledgement, in microseconds.
    pub ack_p50_us: u64,
    /// 99th percentile.
    pub ack_p99_us: u64,
    /// 99.9th percentile.
    pub ack_p999_us: u64,
    /// The longest.
    pub ack_max_us: u64,
    /// How long it was measured, in milliseconds.
    pub measured_ms: u64,
    /// Connections that broke.
    pub disconnects: u64,
    /// Why the last one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Latencies at percentiles, for a curve: (percentile in thousandths, microseconds).
    pub curve: Vec<(u32, u64)>,
}

impl LoadReport {
    /// The latencies, in microseconds, and how many readings were acknowledged in this time.
    pub fn of(latencies: &Histogram<u64>, acknowledged: u64, duration: Duration) -> LoadReport {
        let at = |thousandths: u32| latencies.value_at_quantile(f64::from(thousandths) / 100_000.0);
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1);
        LoadReport {
            readings_durable_per_s: acknowledged.saturating_mul(1_000) / ms,
            ack_p50_us: at(50_000),
            ack_p99_us: at(99_000),
            ack_p999_us: at(99_900),
            ack_max_us: latencies.max(),
            measured_ms: ms,
            curve: CURVE.iter().map(|thousandths| (*thousandths, at(*thousandths))).collect(),
            ..LoadReport::default()
        }
    }
}

/// What came out when all connections were dropped at once and came back at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StormReport {
    /// Connections that left.
    pub connections: u64,
    /// Connections with a new `HelloAck`.
    pub returned: u64,
    /// Dials that failed and were repeated.
    pub redials: u64,
    /// Live sessions whose next reading was not acknowledged.
    pub sessions_failed: u64,
    /// Live sessions whose next reading was not acknowledged.
    pub served_ms: u64,
    /// The same for the median session, in microseconds.
    pub back_p50_us: u64,
    /// And for the slowest in a hundred.
    pub back_p99_us: u64,
}

/// Where a run stands, for a progress display.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadStanding {
    /// Live sessions.
    pub live: u64,
    /// Readings sent.
    pub sent: u64,
    /// Readings acknowledged.
    pub acknowledged: u64,
}

/// A run in steps, so that the gate can be measured in between.
pub struct Load {
    settings: LoadSettings,
    board: Arc<Board>,
    stage: watch::Sender<Stage>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    begun: Instant,
    opening: Duration,
}

/// Percentiles of the curve, in thousandths of a percent.
const CURVE: [u32; 12] = [0, 10_000, 25_000, 50_000, 75_000, 90_000, 95_000, 99_000, 99_500, 99_900, 99_990, 100_000];

impl Load {
    /// Connects and opens the sessions; returns when all are decided or the time-out is over.
    pub async fn open(settings: LoadSettings, peers: Vec<LoadPeer>, mut show: impl FnMut(LoadStanding)) -> Load {
        let begun = Instant::now();
        let board = Arc::new(Board::new());
        let (stage, stages) = watch::channel(Stage::Opening);
        let pace = Pace::new(1);
        let chargers: u64 = peers.iter().map(|peer| u64::try_from(peer.chargers.len()).unwrap_or(0)).sum();
        let mut load = Load { board, stage, tasks: Vec::new(), begun, opening: Duration::ZERO, settings };
        let (mut charger, sessions) = (0_u64, u64::from(load.settings.sessions));
        let lines = peers.len();
        for peer in peers {
            // Session number n belongs to charger n·chargers/sessions: even, whatever the numbers.
            let counts = peer.chargers.iter().map(|_| {
                let (from, to) = (charger * sessions / chargers.max(1), (charger + 1) * sessions / chargers.max(1));
                charger += 1;
                from..to
            });
            let (board, stages, counts) = (Arc::clone(&load.board), stages.clone(), counts.collect::<Vec<_>>());
            let task = match peer.speech {
                Speech::Ocpp => {
                    let number = counts.first().map_or(0, |range| range.start);
                    let line = OcppLoadLine::new(number, &load.settings, &pace);
                    tokio::spawn(run(line, peer.dialler, board, stages))
                }
                speech @ (Speech::Charger | Speech::Site) => {
                    let (site, settings) = (speech == Speech::Site, (&load.settings, lines));
                    let line = LoadLine::new(peer.chargers.clone(), counts, site, settings, &pace);
                    tokio::spawn(run(line, peer.dialler, board, stages))
                }
            };
            load.tasks.push(task);
        }
        let deadline = begun + load.settings.timeout;
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let standing = load.standing();
            show(standing);
            let decided = standing.live + load.board.refused.load(Ordering::Relaxed);
            if decided >= sessions || Instant::now() >= deadline {
                break;
            }
        }
        load.opening = begun.elapsed();
        load
    }

    /// Where it stands.
    pub fn standing(&self) -> LoadStanding {
        LoadStanding {
            live: self.board.live.load(Ordering::Relaxed),
            sent: self.board.sent.load(Ordering::Relaxed),
            acknowledged: self.board.acknowledged.load(Ordering::Relaxed),
        }
    }

    /// Sends readings for the set time, waits for the last acknowledgements, and reports. The sessions stay open.
    pub async fn measure(&mut self, mut show: impl FnMut(LoadStanding)) -> LoadReport {
        // Time for all tasks to start before the first reading is due.
        let start = Instant::now() + Duration::from_millis(50);
        let end = start + self.settings.duration;
        let live = self.standing().live;
        self.stage.send_replace(Stage::Running { start, end });
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(100).min(end.saturating_duration_since(Instant::now()))).await;
            show(self.standing());
        }
        let acknowledged_in_time = self.standing().acknowledged;
        let deadline = end + self.settings.timeout;
        // Lines that were late in sending still send what was due.
        tokio::time::sleep(Duration::from_millis(200)).await;
        while self.standing().acknowledged < self.standing().sent && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.report(live, acknowledged_in_time)
    }

    /// Drops every connection at once; all come back at once, with a handshake, a hello that names their sessions, and one
    /// reading of each.
    pub async fn storm(&mut self) -> StormReport {
        self.board.latencies.lock().unwrap_or_else(PoisonError::into_inner).reset();
        let before = self.standing();
        let connections = u64::try_from(self.tasks.len()).unwrap_or(u64::MAX);
        let since = Instant::now();
        let deadline = since + self.settings.timeout;
        self.stage.send_replace(Stage::Storm { since });
        let served = |load: &Load| load.standing().acknowledged - before.acknowledged.min(before.sent);
        while served(self) < before.live && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let served_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let latencies = self.board.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        StormReport {
            connections,
            returned: self.board.returned.load(Ordering::Relaxed),
            redials: self.board.redials.load(Ordering::Relaxed),
            sessions_failed: before.live.saturating_sub(served(self)),
            served_ms,
            back_p50_us: latencies.value_at_quantile(0.5),
            back_p99_us: latencies.value_at_quantile(0.99),
        }
    }

    /// Closes the connections.
    pub async fn close(self) {
        self.stage.send_replace(Stage::Over);
        for task in self.tasks {
            let _ = task.await;
        }
    }

    fn report(&self, live: u64, acknowledged_in_time: u64) -> LoadReport {
        let standing = self.standing();
        let latencies: Histogram<u64> = self.board.latencies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        LoadReport {
            sessions_live: live,
            sessions_refused: self.board.refused.load(Ordering::Relaxed),
            opening_ms: u64::try_from(self.opening.as_millis()).unwrap_or(u64::MAX),
            readings_sent: standing.sent,
            lost: standing.sent - standing.acknowledged.min(standing.sent),
            disconnects: self.board.disconnects.load(Ordering::Relaxed),
            last_error: self.board.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            ..LoadReport::of(&latencies, acknowledged_in_time, self.settings.duration)
        }
    }

    /// How long ago it began.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}
