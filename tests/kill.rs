//! The gate is killed under load, again and again: no acknowledged reading is lost, and every hold ends once. Meanwhile it
//! takes snapshots all the time and lets the log go behind them, so that most of its starts need both.

mod common;

use common::Served;
use std::time::{Duration, Instant};
use wattstile::journal::{self, DataDir, Layout, SledStore, Store};
use wattstile::sim::charger;
use wattstile::sim::dice::Dice;
use wattstile::sim::driver::{Habits, Visitors};
use wattstile::sim::fleet::{Fleet, Line};
use wattstile::sim::pace::Pace;
use wattstile::sim::processor::{Lines, Service, Settings};
use wattstile::units::{ChargerId, Energy, Power, ProcessorId, TimeSpan};
use wattstile::wire::Subject;

const CHARGERS: u16 = 24;

/// How often the gate is killed; more by `WATTSTILE_KILLS`.
fn kills() -> u32 {
    std::env::var("WATTSTILE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// Where the random moments come from; the seed of a failure is printed.
fn seed() -> u64 {
    std::env::var("WATTSTILE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_122)
}

#[test]
fn killed_at_random_moments_the_gate_loses_nothing_and_charges_nobody_twice() {
    let (kills, seed) = (kills(), seed());
    println!("WATTSTILE_KILLS={kills} WATTSTILE_SEED={seed}");
    let mut dice = Dice::of(seed, 7);
    let layout = Layout { partitions: 8, generation_blocks: 32 };
    let mut gate =
        Served::start_on(layout, &["payment.answer_authorize=2s", "journal.snapshot_every=50ms", "log.level=warn"]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let pace = Pace::new(1);
    let (fleet, service) = {
        let _in_runtime = runtime.enter();
        let id = ProcessorId::new("acme-cards").unwrap();
        let dialler = gate.dialler(&Subject::Processor(id.clone()));
        let service = Service::start(Settings::new(id, seed), &Lines { dialler, connections: 2, mac: None }, &pace);
        let lines = (1..=CHARGERS).map(|number| line(&mut gate, number, seed)).collect();
        (Fleet::start(lines, &pace, Duration::from_millis(200), false), service)
    };

    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(u64::try_from(dice.between(300, 1_500)).unwrap()));
        gate.kill();
        gate.start_again();
    }

    let fleet = runtime.block_on(fleet.finish(Duration::from_secs(120)));
    let quiet = Instant::now() + Duration::from_secs(60);
    while service.report(false).books.holds.contains_key("open") && Instant::now() < quiet {
        std::thread::sleep(Duration::from_millis(200));
    }
    let processor = runtime.block_on(service.stop(true));
    println!("{}", serde_json::to_string_pretty(&fleet).unwrap());
    println!("{}", serde_json::to_string(&processor.books.totals).unwrap());

    assert!(fleet.tally.receipts >= 20, "there was work: {:?}", fleet.tally);
    assert!(fleet.disconnects >= u64::from(kills), "the kills were felt");
    assert_eq!(fleet.tally.readings_lost, 0, "an acknowledged reading was lost");
    assert_eq!(fleet.tally.sessions_lost, 0, "an accepted session was lost");
    assert_eq!((fleet.sessions_open, fleet.readings_unacknowledged), (0, 0), "everything came to its end");

    let books = &processor.books;
    assert_eq!(books.violations, Default::default(), "the gate asked for something it should not");
    assert!(!books.holds.contains_key("open"), "orphan holds: {:?}", books.holds);
    let paid: i64 = fleet.paid_minor.values().sum();
    let taken: i64 = books.totals.values().map(|totals| totals.captured_minor).sum();
    assert_eq!(taken, paid, "what was taken is what the receipts say");
    assert_eq!(gate.terminate(), Some(0));

    let data = gate.data_dir().join("data");
    let found = journal::verify(&data).unwrap();
    assert!(found.whole, "{:?}", found.damage);
    assert!(found.partitions.iter().all(|totals| totals.snapshot_at.is_some()), "{:?}", found.partitions);
    {
        let log = SledStore::open(&DataDir::open(&data).unwrap()).unwrap();
        let mark = log.mark().unwrap();
        println!("the log begins at block {} of {}, epoch {}", mark.first_block, mark.next_block, mark.epoch);
        assert!(mark.first_block > 0, "the log was let go behind snapshots");
    }
    let figures = wattstile::app::read(&data).unwrap().figures();
    assert_eq!(figures.books().books.imbalance(), 0, "the books balance after the last start");
}

fn line(gate: &mut Served, number: u16, seed: u64) -> Line {
    let id = ChargerId::new(&format!("KILL-{number:03}")).unwrap();
    let dialler = gate.dialler(&Subject::Charger(id.clone()));
    let habits = Habits {
        pause_max: TimeSpan::from_ms(1_500),
        energy: (Energy::from_watt_hours(20).unwrap(), Energy::from_watt_hours(150).unwrap()),
        idle_max: TimeSpan::from_ms(500),
        ..Habits::default()
    };
    let settings = charger::Settings {
        id,
        connectors: vec![Power::from_watts(150_000).unwrap()],
        interval: TimeSpan::from_ms(100),
        visitors: Visitors::Random(habits),
        seed: seed.wrapping_add(u64::from(number)),
        kept_max: 100_000,
    };
    Line { dialler, chargers: vec![settings], site: false }
}
