//! Tests of a running gate without a network: in-process load, snapshots, backups.

use super::{Data, Gate, InProcessLoad, InProcessSettings, Settings, SnapshotPolicy};
use crate::actors::shard_actor::ShardActor;
use crate::actors::snapshot_scheduler::Backup;
use crate::actors::turn::{Attach, ChargerOutlet};
use crate::api::{self, Filter, Page, Request, SessionRow, Views};
use crate::app::Figures;
use crate::host::SystemClock;
use crate::journal::{self, Layout, backup};
use crate::message::{Channel, Code, ToCharger};
use crate::node::ConnectionId;
use crate::node::driver::ReadBatch;
use crate::node::shard::Shard;
use crate::tariff::Tariff;
use crate::units::{SessionId, Timestamp};
use actix::Addr;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

const TARIFF: &str = r#"{
    "country_code": "NL", "party_id": "WST", "id": "TEST", "currency": "EUR",
    "elements": [{ "price_components": [{ "type": "ENERGY", "price": 0.29, "vat": 21, "step_size": 1 }] }],
    "last_updated": "2026-01-01T00:00:00Z"
}"#;

const TIMEOUT: Duration = Duration::from_secs(60);

fn gate(data: &Path, snapshot_policy: SnapshotPolicy) -> Gate {
    let tariff = Tariff::parse(TARIFF).unwrap().tariff;
    let data =
        Data::Directory { path: data.to_owned(), layout: Layout { partitions: 6, generation_blocks: 8 }, owner: None };
    Gate::start(Settings {
        shards: 2,
        tariff_resolver: Box::new(super::Assigned::everywhere(tariff, "UTC").unwrap()),
        snapshot_policy,
        ..Settings::bare(data)
    })
    .unwrap()
}

fn wait_for(in_process: &InProcessLoad, readings: u64) {
    let deadline = Instant::now() + TIMEOUT;
    while in_process.durable() < readings {
        assert!(Instant::now() < deadline, "{} of {readings} readings came", in_process.durable());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A log that is always at its bound makes readings wait for every round of snapshots, and loses none.
#[test]
fn readings_wait_while_the_log_is_made_shorter() {
    let place = tempfile::tempdir().unwrap();
    let gate = gate(&place.path().join("data"), SnapshotPolicy::log_below(0, Duration::from_secs(3_600)));
    let mut in_process =
        InProcessLoad::new(&gate, InProcessSettings::one_each(60), Arc::new(SystemClock::new())).unwrap();
    in_process.open(&gate, TIMEOUT).unwrap();
    for round in 1..=20 {
        in_process.round(|_| Some(Instant::now()));
        wait_for(&in_process, round * 60);
    }
    gate.stop();
}

/// Old facts are in the state, not in the log: the directory grows with live sessions, not with the number of
/// messages.
#[test]
fn the_log_stays_below_its_bound_while_the_gate_runs() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let bound = 2 * 1024 * 1024;
    let gate = gate(&data, SnapshotPolicy::log_below(bound, Duration::from_secs(3_600)));
    let mut in_process =
        InProcessLoad::new(&gate, InProcessSettings::one_each(200), Arc::new(SystemClock::new())).unwrap();
    in_process.open(&gate, TIMEOUT).unwrap();
    let (mut readings, mut most) = (0, 0);
    while gate.log().written() < 4 * bound {
        in_process.round(|_| Some(Instant::now()));
        readings += 200;
        wait_for(&in_process, readings);
        most = most.max(gate.log().used());
    }
    assert!(most <= bound, "{most} bytes of log, {} were written", gate.log().written());
    // Nothing is different afterwards.
    drop(gate);
    let found = journal::verify(&data).unwrap();
    assert!(found.whole && found.bytes <= bound, "{found:?}");
    assert!(found.snapshot_bytes < 2 * 200 * 2_048, "two snapshots of two hundred sessions: {}", found.snapshot_bytes);
    let figures = super::read(&data).unwrap().figures().unwrap();
    assert_eq!((figures.sessions_charging, figures.readings), (200, readings));
    assert_eq!(figures.books_imbalance_minor, 0);
}

/// The state of a gate that stopped in good order is in its snapshots: the next start has nothing to replay.
#[test]
fn a_gate_that_stops_takes_its_last_snapshots_and_one_with_a_short_log_does_not() {
    for (rounds, takes) in [(300, true), (2, false)] {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data");
        let gate = gate(&data, SnapshotPolicy::log_below(1 << 40, Duration::from_secs(3_600)));
        let mut in_process =
            InProcessLoad::new(&gate, InProcessSettings::one_each(100), Arc::new(SystemClock::new())).unwrap();
        in_process.open(&gate, TIMEOUT).unwrap();
        for round in 1..=rounds {
            in_process.round(|_| Some(Instant::now()));
            wait_for(&in_process, round * 100);
        }
        gate.stop();
        let found = journal::verify(&data).unwrap();
        assert!(found.whole, "{found:?}");
        let settled = found.partitions.iter().filter(|each| each.snapshot_at == Some(each.last)).count();
        assert_eq!(settled, if takes { found.partitions.len() } else { 0 }, "{} bytes of log", found.bytes);
    }
}

#[test]
fn a_backup_is_taken_beside_running_chargers_and_makes_the_same_gate_again() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let running = gate(&at("data"), SnapshotPolicy::default());
    let mut in_process =
        InProcessLoad::new(&running, InProcessSettings::one_each(60), Arc::new(SystemClock::new())).unwrap();
    in_process.open(&running, TIMEOUT).unwrap();
    in_process.round(|_| Some(Instant::now()));
    wait_for(&in_process, 60);
    assert!(running.take_snapshots(TIMEOUT));
    in_process.round(|_| Some(Instant::now()));
    wait_for(&in_process, 120);
    let (reply, taken) = mpsc::channel();
    assert!(running.directory().snapshot_scheduler().unwrap().try_send(Backup { to: at("backup"), reply }).is_ok());
    // It goes on meanwhile.
    for round in 3..10 {
        in_process.round(|_| Some(Instant::now()));
        wait_for(&in_process, round * 60);
    }
    let manifest = taken.recv_timeout(TIMEOUT).unwrap().unwrap();
    assert_eq!(backup::check(&at("backup")).unwrap(), manifest);
    let (reply, again) = mpsc::channel();
    assert!(running.directory().snapshot_scheduler().unwrap().try_send(Backup { to: at("backup"), reply }).is_ok());
    assert!(again.recv_timeout(TIMEOUT).unwrap().is_err(), "never over another one");
    running.stop();

    backup::restore(&at("backup"), &at("restored")).unwrap();
    assert!(journal::verify(&at("restored")).unwrap().whole);
    let again = gate(&at("restored"), SnapshotPolicy::default());
    let figures = Figures::gather(again.directory()).unwrap();
    assert_eq!((figures.sessions_charging, figures.books_imbalance_minor), (60, 0));
    assert!((120..=540).contains(&figures.readings), "what was durable when it was taken: {}", figures.readings);
    again.stop();
}

/// A connection whose shard hangs when it lets it read on.
struct Hanging(Mutex<mpsc::Receiver<()>>);

impl ChargerOutlet for Hanging {
    fn send(&self, _: Channel, _: &ToCharger) {}

    fn resume(&self) {
        let _ = self.0.lock().unwrap().recv();
    }

    fn close(&self, _: Channel, _: Code) {}
}

/// Hangs a shard until what is returned is dropped.
fn hang(shard: &Addr<ShardActor>) -> mpsc::Sender<()> {
    let (go_on, blocked) = mpsc::channel();
    let connection = ConnectionId(u64::MAX);
    let outlet = Arc::new(Hanging(Mutex::new(blocked)));
    assert!(shard.try_send(Attach { connection, outlet }).is_ok());
    let nothing = ReadBatch { connection, arrived: Instant::now(), messages: Vec::new().into_iter() };
    assert!(shard.try_send(nothing).is_ok());
    go_on
}

/// What a shard has that does not answer is not known. That is never the same as that it is not there, nor a shorter list.
#[test]
fn a_silent_shard_is_not_taken_for_one_that_has_nothing() {
    let place = tempfile::tempdir().unwrap();
    let gate = gate(&place.path().join("data"), SnapshotPolicy::default());
    let mut in_process =
        InProcessLoad::new(&gate, InProcessSettings::one_each(60), Arc::new(SystemClock::new())).unwrap();
    in_process.open(&gate, TIMEOUT).unwrap();
    let patiently = || Views::running(gate.directory().clone(), gate.archive().cloned());
    let rows = patiently().sessions(&Filter::default(), &Page::first(60)).unwrap().items;
    let shard_of = |row: &SessionRow| Shard::of(row.id.parse::<SessionId>().unwrap().partition(), 2);
    let [silent, awake] = [0, 1].map(|shard| rows.iter().find(|row| shard_of(row) == shard).unwrap().id.clone());

    let go_on = hang(&gate.directory().shards()[0]);
    let views = patiently().with_patience(Duration::from_millis(50));
    let get = |path: &str| api::get(&views, &Request { path: path.to_owned(), ..Request::default() });
    let operation = |session: &str| session.parse::<SessionId>().unwrap().operation(1);
    let id = silent.trim_start_matches("ses_");
    for path in [
        "figures",
        "sessions",
        "sessions/last",
        &format!("sessions/{silent}"),
        &format!("sessions/{}", &id[..id.len() - 2]),
        "chargers",
        "accounts",
        "holds",
        &format!("holds/{}", operation(&silent)),
        &format!("operations/{}", operation(&silent)),
        "invoices",
        "invoices/series",
        "invoices/R1-000001",
        "settlement",
        "settlement/sessions",
        "settlement/differs",
        "settlement/extra",
        "settlement/batches",
        "settlement/ours",
        "ledger",
        "ledger/accounts",
        "ledger/export",
    ] {
        let refused = get(path).map(|_| ()).expect_err(path);
        assert!(refused.status == 504 && refused.message.contains("did not answer in time"), "{path}: {refused:?}");
    }
    // What the other one has is shown, and what it has not is not there.
    assert!(get(&format!("sessions/{awake}")).is_ok());
    assert!(get(&format!("operations/{}", operation(&awake))).is_ok());
    let never = SessionId::new(Timestamp::from_unix_ms(1), awake.parse::<SessionId>().unwrap().partition(), 1);
    assert_eq!(get(&format!("sessions/{never}")).map(|_| ()).unwrap_err().status, 404);

    drop(go_on);
    assert!(api::get(&patiently(), &Request { path: format!("sessions/{silent}"), ..Request::default() }).is_ok());
    gate.stop();
}
