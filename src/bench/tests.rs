//! Tests of a running gate without a network: in-process load, snapshots, backups.

use super::{InProcessLoad, InProcessSettings};
use crate::account;
use crate::actors::blocked_shard::BlockedShard;
use crate::actors::directory::{Directory, NotOrdered};
use crate::actors::hosting::HostingError;
use crate::actors::snapshot_scheduler::Backup;
use crate::actors::turn::{Attach, ChargerOutlet, Detach};
use crate::api::{Filter, Page, SessionRow, Views};
use crate::app::{Assigned, Data, Figures, Gate, Settings, SnapshotPolicy, read};
use crate::host::SystemClock;
use crate::journal::{self, Layout, backup};
use crate::message::{Channel, ChargerHello, Code, ConnectorInfo, FromCharger, Received, SessionMark, ToCharger};
use crate::node::ConnectionId;
use crate::node::driver::ReadBatch;
use crate::node::input::{Input, NotTaken};
use crate::node::reply::Ordered;
use crate::node::shard::Shard;
use crate::session::StopReason;
use crate::tariff::Tariff;
use crate::units::{
    AccountId, Amount, ChargerId, Clock, ConnectorId, Currency, Energy, MeterReading, OpId, PartitionId, PaymentId,
    Power, SessionId, SessionKey, Timestamp,
};
use crate::web::{self, Request};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
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
        tariff_resolver: Box::new(Assigned::everywhere(tariff, "UTC").unwrap()),
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
    let figures = read(&data).unwrap().figures().unwrap();
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
    assert!(running.snapshot_scheduler().try_send(Backup { to: at("backup"), reply }).is_ok());
    // It goes on meanwhile.
    for round in 3..10 {
        in_process.round(|_| Some(Instant::now()));
        wait_for(&in_process, round * 60);
    }
    let manifest = taken.recv_timeout(TIMEOUT).unwrap().unwrap();
    assert_eq!(backup::check(&at("backup")).unwrap(), manifest);
    let (reply, again) = mpsc::channel();
    assert!(running.snapshot_scheduler().try_send(Backup { to: at("backup"), reply }).is_ok());
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

/// What a shard has that does not answer is not known. That is never the same as that it is not there, nor a shorter list.
#[test]
fn a_silent_shard_is_not_taken_for_one_that_has_nothing() {
    let place = tempfile::tempdir().unwrap();
    let gate = gate(&place.path().join("data"), SnapshotPolicy::default());
    let mut in_process =
        InProcessLoad::new(&gate, InProcessSettings::one_each(60), Arc::new(SystemClock::new())).unwrap();
    in_process.open(&gate, TIMEOUT).unwrap();
    let views_with_default_timeout = || Views::running(gate.directory().clone(), gate.archive().cloned());
    let rows = views_with_default_timeout().sessions(&Filter::default(), &Page::first(60)).unwrap().items;
    let shard_of = |row: &SessionRow| Shard::of(row.id.parse::<SessionId>().unwrap().partition(), 2);
    let [silent, awake] = [0, 1].map(|shard| rows.iter().find(|row| shard_of(row) == shard).unwrap().id.clone());

    let blocked = BlockedShard::block(&gate.directory().shards()[0]);
    let views = views_with_default_timeout().with_timeout(Duration::from_millis(50));
    let get = |path: &str| web::get(&views, &Request { path: path.to_owned(), ..Request::default() });
    let operation = |session: &str| session.parse::<PaymentId>().unwrap().operation(1);
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

    drop(blocked);
    assert!(
        web::get(&views_with_default_timeout(), &Request { path: format!("sessions/{silent}"), ..Request::default() })
            .is_ok()
    );
    gate.stop();
}

/// What a charger's connection has received.
#[derive(Default)]
struct Arrived {
    acked: AtomicU32,
    rejected: AtomicU32,
    closed: AtomicBool,
}

impl ChargerOutlet for Arrived {
    fn send(&self, _: Channel, message: &ToCharger) {
        match message {
            ToCharger::MeterAck(ack) => drop(self.acked.fetch_max(ack.up_to, Ordering::AcqRel)),
            ToCharger::SessionRejected { .. } => drop(self.rejected.fetch_add(1, Ordering::AcqRel)),
            _ => {}
        }
    }

    fn resume(&self) {}

    fn close(&self, _: Channel, _: Code) {
        self.closed.store(true, Ordering::Release);
    }
}

/// A charger that repeats unacknowledged messages, and comes back when it is sent away. Returns how many readings were
/// acknowledged, and how often it came back.
fn drive(directory: &Directory, charger: &ChargerId, over: &AtomicBool) -> (u32, u64) {
    let (clock, session) = (SystemClock::new(), SessionKey(1));
    let home = Shard::of(PartitionId::of(charger.as_str(), 6), 2);
    let (mut acked, mut connections) = (0, 0);
    while !over.load(Ordering::Acquire) {
        let Some(shard) = directory.places().shard(home).cloned() else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        connections += 1;
        let (connection, outlet) = (ConnectionId(1 << 40 | connections), Arc::new(Arrived::default()));
        let hello = ChargerHello {
            numbering: Default::default(),
            charger: charger.clone(),
            connectors: vec![ConnectorInfo { id: ConnectorId(1), power_max: Power::from_watts(22_000).unwrap() }],
            firmware: "1".into(),
            clock: clock.now().wall,
            sessions: vec![SessionMark { session, last_sequence: acked }],
        };
        assert!(shard.try_send(Attach { connection, outlet: outlet.clone() }).is_ok());
        let send = |message| {
            let messages = vec![Received { channel: Channel(1), message }].into_iter();
            assert!(shard.try_send(ReadBatch { connection, arrived: Instant::now(), messages }).is_ok());
        };
        send(FromCharger::Hello(hello));
        let is_closed = || outlet.closed.load(Ordering::Acquire);
        while !over.load(Ordering::Acquire) && !is_closed() {
            let (sequence, at) = (acked + 1, clock.now().wall);
            let reading = MeterReading { sequence, at, register: Energy::ZERO, power: None, current: None };
            send(FromCharger::Reading { session, reading });
            let until = Instant::now() + TIMEOUT;
            while outlet.acked.load(Ordering::Acquire) < sequence && !is_closed() {
                assert!(Instant::now() < until, "reading {sequence} was not acknowledged");
                std::thread::sleep(Duration::from_micros(200));
            }
            acked = acked.max(outlet.acked.load(Ordering::Acquire));
            assert_eq!(outlet.rejected.load(Ordering::Acquire), 0, "every reading is the next one");
        }
        assert!(shard.try_send(Detach(connection)).is_ok());
    }
    (acked, connections)
}

/// A shard is closed and opened again, as a whole, while its charger sends readings and its account is topped up: nothing is
/// lost, nothing happens twice, and the other shard goes on.
#[test]
fn a_shard_is_closed_and_opened_again_under_traffic() {
    let place = tempfile::tempdir().unwrap();
    let gate = gate(&place.path().join("data"), SnapshotPolicy::default());
    let mut in_process =
        InProcessLoad::new(&gate, InProcessSettings::one_each(60), Arc::new(SystemClock::new())).unwrap();
    in_process.open(&gate, TIMEOUT).unwrap();
    let views = Views::running(gate.directory().clone(), gate.archive().cloned());
    let rows = views.sessions(&Filter::default(), &Page::first(60)).unwrap().items;
    let row = rows.iter().find(|row| Shard::of(row.id.parse::<SessionId>().unwrap().partition(), 2) == 0).unwrap();
    let charger = ChargerId::new(&row.charger).unwrap();
    let on_first = |name: &String| Shard::of(PartitionId::of(name, 6), 2) == 0;
    let account = AccountId::new(&(1..).map(|number| format!("driver-{number}")).find(on_first).unwrap()).unwrap();
    let order = |number: u32, command: &dyn Fn(OpId) -> account::Command| {
        let partition = PartitionId::of(account.as_str(), 6);
        let op = PaymentId::new(crate::host::wall_clock(), partition, u64::from(number)).operation(1);
        let mut refused = 0;
        loop {
            let input = |to| Input::Order(account.clone(), Box::new(command(op)), to);
            match gate.directory().order::<Ordered>(TIMEOUT, input) {
                Ok(asker) => match asker.wait().unwrap() {
                    Ordered::Done(_) => return refused,
                    other => panic!("{other:?}"),
                },
                Err(NotOrdered::NotTaken(NotTaken::NotHere | NotTaken::Busy)) => refused += 1,
                Err(other) => panic!("{other}"),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let (id, currency) = (account.clone(), Currency::EUR);
    let zero = Amount::zero(currency);
    order(1, &|op| account::Command::Open { op, account: id.clone(), currency, credit_limit: zero });

    const ROUNDS: usize = 8;
    let over = AtomicBool::new(false);
    let (acked, connections, top_ups) = std::thread::scope(|threads| {
        let driven = threads.spawn(|| drive(gate.directory(), &charger, &over));
        let topped = threads.spawn(|| {
            let (mut number, mut refused) = (1, 0);
            while !over.load(Ordering::Acquire) {
                number += 1;
                let source = account::TopUpSource::Bank;
                refused += order(number, &|op| account::Command::TopUp {
                    op,
                    amount: Amount::new(100, currency),
                    source: source.clone(),
                });
            }
            assert!(refused > 0, "an order came while the shard was closed");
            number - 1
        });
        for round in 0..ROUNDS {
            std::thread::sleep(Duration::from_millis(30));
            let shard = gate.close_shard(0, TIMEOUT).unwrap();
            assert!(shard.is_settled(), "what it decided is durable and has left");
            assert_eq!(gate.close_shard(0, TIMEOUT).err(), Some(HostingError::IsNotOpen));
            let stop =
                Input::StopSession(SessionId::new(Timestamp::from_unix_ms(1), PartitionId(0), 1), StopReason::Operator);
            let refused = gate.directory().post(stop).map_err(|undelivered| undelivered.why);
            assert_eq!(refused, Err(NotTaken::NotHere), "round {round}");
            std::thread::sleep(Duration::from_millis(10));
            assert!(gate.open_shard(shard).is_ok());
        }
        std::thread::sleep(Duration::from_millis(100));
        over.store(true, Ordering::Release);
        let ((acked, connections), top_ups) = (driven.join().unwrap(), topped.join().unwrap());
        (acked, connections, top_ups)
    });
    assert!(acked > 0 && connections > ROUNDS as u64 / 2, "{acked} readings on {connections} connections");
    let figures = Figures::gather(gate.directory()).unwrap();
    assert_eq!((figures.sessions_charging, figures.books_imbalance_minor), (60, 0));
    let kept = views.session(row.id.parse().unwrap()).unwrap().unwrap().row.readings;
    assert!((acked..=acked + 1).contains(&kept), "{acked} readings were acknowledged and {kept} are kept");
    let paid = views.account(&account).unwrap().unwrap().row.paid;
    assert_eq!(paid, Amount::new(i64::from(top_ups) * 100, currency).major(), "each order once");
    gate.stop();
}
