//! Tests of a fleet with a simple gate.

use super::*;
use crate::message::Subject;
use crate::sim::driver::{Habits, Visitors};
use crate::sim::testing::{FakeGate, cost_of, dialler};
use crate::units::{Power, SiteId, TimeSpan};
use std::collections::BTreeMap;

fn settings(id: &ChargerId) -> Settings {
    let energy = Energy::from_microwatt_hours(5_000_000_000);
    let habits = Habits {
        pause_max: TimeSpan::from_secs(60),
        energy: (energy, energy),
        idle_max: TimeSpan::from_secs(60),
        ..Habits::default()
    };
    Settings {
        id: id.clone(),
        connectors: vec![Power::from_milliwatts(22_000_000); 2],
        interval: TimeSpan::from_secs(30),
        visitors: Visitors::Random(habits),
        seed: 3,
        kept_max: 1_000,
    }
}

/// Runs until there are at least this many receipts, then lets all sessions finish.
async fn run(fleet: Fleet, receipts: u64) -> FleetReport {
    while fleet.counts().tally.receipts < receipts {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fleet.finish(Duration::from_secs(60)).await
}

fn check(report: &FleetReport, gate: &FakeGate) {
    assert_eq!((report.sessions_open, report.readings_unacknowledged), (0, 0));
    assert_eq!((report.tally.readings_lost, report.tally.sessions_lost), (0, 0));
    assert_eq!(report.tally.readings, report.tally.readings_acked);
    assert_eq!(report.tally.rejected, BTreeMap::new());
    assert_eq!(report.finished.len(), gate.sessions.lock().unwrap().len());
    for finished in &report.finished {
        assert_eq!(finished.cost, cost_of(finished.energy), "what the gate billed is what the meter showed");
    }
}

#[tokio::test]
async fn chargers_on_their_own_connections() {
    let gate = Arc::new(FakeGate::default());
    let names = charger_names("SIM-", 5).unwrap();
    let lines = names.iter().map(|id| Line {
        dialler: dialler(&gate, Subject::Charger(id.clone())),
        chargers: vec![settings(id)],
        speaks: Speaks::Native,
    });
    let fleet = Fleet::start(lines.collect(), &Pace::new(3_600), Duration::from_millis(50), true);
    let report = run(fleet, 20).await;
    check(&report, &gate);
    assert_eq!((report.chargers, report.dials), (5, 5));
}

#[tokio::test]
async fn broken_connections_lose_nothing() {
    let gate = Arc::new(FakeGate { cut_after: 40, ..FakeGate::default() });
    let names = charger_names("SIM-", 12).unwrap();
    let line = Line {
        dialler: dialler(&gate, Subject::Site(SiteId::new("depot").unwrap())),
        chargers: names.iter().map(settings).collect(),
        speaks: Speaks::Site,
    };
    let fleet = Fleet::start(vec![line], &Pace::new(3_600), Duration::ZERO, true);
    let report = run(fleet, 30).await;
    check(&report, &gate);
    assert!(report.disconnects > 3, "{} disconnects", report.disconnects);
}
