//! Replays recorded sessions to the gate, each by its own charger, as fast as the gate acknowledges.
//!
//! Every charger of the recording has its own connection under its own name; the sessions of one connector follow
//! each other as recorded, those of different connectors and chargers run side by side. Times in the readings are
//! those of the recording, so the gate must not limit the age of readings.

use super::charger::Settings;
use super::driver::Visitors;
use super::fleet::{Fleet, FleetReport, Line, Speaks};
use super::pace::Pace;
use super::pipe::Dialler;
use super::recording::RecordedSession;
use crate::payment::Credential;
use crate::units::{ChargerId, Cost, Power, TimeSpan};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The actual value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplayReport {
    /// Sessions in the recording.
    pub sessions: u64,
    /// Sessions with a receipt.
    pub settled: u64,
    /// Sessions with a receipt for exactly the recorded cost, unrounded.
    pub cost_equal_to_billed: u64,
    /// The largest difference between a receipt's exact cost and the recorded one, in major units of the currency.
    pub max_difference: String,
    /// Examples of sessions that differ, at most ten.
    pub different: Vec<Difference>,
    /// Chargers, each with its own connection.
    pub chargers: u64,
    /// Readings taken, stops included.
    pub ticks: u64,
    /// Readings that the gate never acknowledged, or forgot.
    pub ticks_lost: u64,
    /// Starts that were refused, by code.
    pub refused: BTreeMap<u16, u64>,
    /// Readings and stops that were refused, by code.
    pub rejected: BTreeMap<u16, u64>,
    /// Connections that broke.
    pub disconnects: u64,
    /// Why the last one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// From the first dial to the last receipt, in milliseconds.
    pub elapsed_ms: u64,
    /// The same in seconds, as a decimal number.
    pub seconds: serde_json::Number,
}

/// A session with a receipt for another cost than the recorded one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The session's key in messages to the gate.
    pub session: u64,
    /// The charger.
    pub charger: String,
    /// What was recorded.
    pub billed: String,
    /// The cost in the receipt.
    pub cost: String,
}

/// Settings of a replay.
#[derive(Clone, Debug)]
pub struct Telling {
    /// Time between two readings, in session time.
    pub interval: TimeSpan,
    /// What every driver presents.
    pub credential: Credential,
    /// How long nothing may happen before it is given up.
    pub timeout: Duration,
}

/// Unacknowledged readings that a charger keeps per session; the gate's window is about as large.
const KEPT_MAX: usize = 2_048;
/// A connector is declared to give at least this much.
const POWER_LEAST: Power = Power::from_milliwatts(22_000_000);

/// The chargers of a recording, each with its sessions in the order of their starts.
pub fn by_charger(sessions: Vec<RecordedSession>) -> BTreeMap<ChargerId, Vec<Arc<RecordedSession>>> {
    let mut chargers: BTreeMap<ChargerId, Vec<Arc<RecordedSession>>> = BTreeMap::new();
    for session in sessions {
        chargers.entry(session.charger.clone()).or_default().push(Arc::new(session));
    }
    for sessions in chargers.values_mut() {
        sessions.sort_by_key(|session| (session.start, session.end));
    }
    chargers
}

/// Sends the recording to a gate. `progress` is called with the state several times a second.
pub async fn replay(
    chargers: &BTreeMap<ChargerId, Vec<Arc<RecordedSession>>>,
    dialler_of: impl Fn(&ChargerId) -> Dialler,
    telling: &Telling,
    mut progress: impl FnMut(&FleetReport),
) -> ReplayReport {
    let started = Instant::now();
    let lines = chargers.iter().map(|(id, sessions)| Line {
        dialler: dialler_of(id),
        chargers: vec![Settings {
            id: id.clone(),
            connectors: connectors(sessions),
            interval: telling.interval,
            visitors: Visitors::Recorded { sessions: sessions.clone(), credential: telling.credential.clone() },
            seed: 0,
            kept_max: KEPT_MAX,
        }],
        speaks: Speaks::Native,
    });
    let fleet = Fleet::start(lines.collect(), &Pace::new(1), Duration::ZERO, true);
    let (mut seen, mut moved) = ((0, 0), Instant::now());
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let snapshot = fleet.counts();
        progress(&snapshot);
        if snapshot.chargers > 0 && snapshot.sessions_open + snapshot.sessions_to_come == 0 {
            break;
        }
        let now = (snapshot.tally.receipts, snapshot.tally.readings_acked);
        if now != seen {
            (seen, moved) = (now, Instant::now());
        } else if moved.elapsed() > telling.timeout {
            break;
        }
    }
    let elapsed = started.elapsed();
    report(chargers, &fleet.stop().await, elapsed)
}

/// The connectors that the sessions need: as powerful as the fastest session on each, and a little more.
fn connectors(sessions: &[Arc<RecordedSession>]) -> Vec<Power> {
    let count = sessions.iter().map(|session| session.connector.0).max().unwrap_or(1).max(1);
    let mut connectors = vec![POWER_LEAST; usize::from(count)];
    for session in sessions {
        let place = usize::from(session.connector.0.max(1)) - 1;
        let needed = Power::from_milliwatts(session.power().milliwatts() / 20 * 21);
        connectors[place] = connectors[place].max(needed);
    }
    connectors
}

fn report(
    chargers: &BTreeMap<ChargerId, Vec<Arc<RecordedSession>>>,
    fleet: &FleetReport,
    elapsed: Duration,
) -> ReplayReport {
    let mut equal = 0;
    let mut different = Vec::new();
    let mut most: Option<Cost> = None;
    for finished in &fleet.finished {
        let Some(recorded) = &finished.recording else { continue };
        if finished.cost == recorded.billed {
            equal += 1;
            continue;
        }
        let difference = match finished.cost.checked_sub(recorded.billed) {
            Ok(difference) => Cost::from_parts(difference.parts().abs(), difference.currency()),
            // Another currency: all of it is different.
            Err(_) => recorded.billed,
        };
        most = Some(most.map_or(difference, |most| if difference.parts() > most.parts() { difference } else { most }));
        if different.len() < 10 {
            different.push(Difference {
                session: recorded.key.0,
                charger: recorded.charger.to_string(),
                billed: recorded.billed.to_string(),
                cost: finished.cost.to_string(),
            });
        }
    }
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let seconds = format!("{}.{:03}", elapsed_ms / 1_000, elapsed_ms % 1_000);
    ReplayReport {
        sessions: chargers.values().map(|sessions| u64::try_from(sessions.len()).unwrap_or(u64::MAX)).sum(),
        settled: u64::try_from(fleet.finished.len()).unwrap_or(u64::MAX),
        cost_equal_to_billed: equal,
        max_difference: most.map_or("0".to_owned(), |cost| cost.major().to_string()),
        different,
        chargers: u64::try_from(chargers.len()).unwrap_or(u64::MAX),
        ticks: fleet.tally.readings,
        ticks_lost: fleet.tally.readings - fleet.tally.readings_acked.min(fleet.tally.readings)
            + fleet.tally.readings_lost,
        refused: fleet.tally.refused.clone(),
        rejected: fleet.tally.rejected.clone(),
        disconnects: fleet.disconnects,
        last_error: fleet.last_error.clone(),
        elapsed_ms,
        seconds: seconds.parse().expect("digits, a point and three digits are a JSON number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Subject;
    use crate::payment::CredentialKind;
    use crate::sim::recording::read_sessions;
    use crate::sim::testing::{FakeGate, dialler};

    /// Source of the data: tests/data/README.md.
    #[tokio::test]
    async fn every_recorded_session_reaches_the_gate_whole() {
        let sample = include_str!("../../tests/data/charging-sessions-sap-sample.csv");
        let chargers = by_charger(read_sessions(sample.as_bytes()).unwrap());
        let gate = Arc::new(FakeGate { cut_after: 9_000, ..FakeGate::default() });
        let telling = Telling {
            interval: TimeSpan::from_secs(60),
            credential: Credential { kind: CredentialKind::CardToken, token: (*b"replay").into() },
            timeout: Duration::from_secs(60),
        };
        let dial = |id: &ChargerId| dialler(&gate, Subject::Charger(id.clone()));
        let report = replay(&chargers, dial, &telling, |_| ()).await;
        assert_eq!((report.sessions, report.settled, report.cost_equal_to_billed), (299, 299, 299));
        assert_eq!((report.max_difference.as_str(), report.ticks_lost), ("0", 0));
        let ticks: usize =
            chargers.values().flatten().map(|one| one.readings(Default::default(), telling.interval).len()).sum();
        assert_eq!(report.ticks, u64::try_from(ticks).unwrap());
        assert!(report.disconnects > 0, "connections broke on the way");
        assert_eq!(report.rejected, BTreeMap::new());
    }
}
