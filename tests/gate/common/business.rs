//! Drivers that charge at a gate, and a processor, during a disturbance of the gate.

use super::Served;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use wattstile::message::Subject;
use wattstile::sim::charger;
use wattstile::sim::driver::{Habits, Visitors};
use wattstile::sim::fleet::{Fleet, FleetReport, Line, Speaks};
use wattstile::sim::pace::Pace;
use wattstile::sim::processor::{Lines, Service, ServiceReport, Settings};
use wattstile::units::{ChargerId, Energy, Power, ProcessorId, TimeSpan};

/// Chargers with a driver each, over mutual TLS, and one processor on two connections.
pub struct Business {
    runtime: Runtime,
    fleet: Fleet,
    service: Service,
}

/// The final figures of the peers.
pub struct Outcome {
    pub fleet: FleetReport,
    pub processor: ServiceReport,
    /// Sessions of others that go on.
    others: u64,
}

impl Business {
    /// Connects all peers; those that lose the connection dial again.
    pub fn begin(gate: &mut Served, chargers: u16, seed: u64) -> Business {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let pace = Pace::new(1);
        let (fleet, service) = {
            let _in_runtime = runtime.enter();
            let id = ProcessorId::new("acme-cards").unwrap();
            let dialler = gate.dialler(&Subject::Processor(id.clone()));
            let service = Service::start(Settings::new(id, seed), &Lines { dialler, connections: 2, mac: None }, &pace);
            let lines = (1..=chargers).map(|number| line(gate, number, seed)).collect();
            (Fleet::start(lines, &pace, Duration::from_millis(200), false), service)
        };
        Business { runtime, fleet, service }
    }

    /// Drivers leave, and everything that is open comes to its end.
    pub fn finish(self) -> Outcome {
        self.finish_beside(0)
    }

    /// The same where so many sessions of others go on.
    pub fn finish_beside(self, others: u64) -> Outcome {
        let fleet = self.runtime.block_on(self.fleet.finish(Duration::from_secs(120)));
        let quiet = Instant::now() + Duration::from_secs(60);
        let open = || self.service.report(false).books.holds.get("open").copied().unwrap_or(0);
        while open() > others && Instant::now() < quiet {
            std::thread::sleep(Duration::from_millis(200));
        }
        let processor = self.runtime.block_on(self.service.stop(true));
        println!("{}", serde_json::to_string_pretty(&fleet).unwrap());
        println!("{}", serde_json::to_string(&processor.books.totals).unwrap());
        Outcome { fleet, processor, others }
    }
}

impl Outcome {
    /// No acknowledged reading was lost, every hold ended once, and the captures equal the receipts.
    pub fn assert_nothing_lost(&self) {
        self.assert_promises_kept();
        let paid: i64 = self.fleet.paid_minor.values().sum();
        let taken: i64 = self.processor.books.totals.values().map(|totals| totals.captured_minor).sum();
        assert_eq!(taken, paid, "what was taken is what the receipts say");
    }

    /// The same with further traffic, whose receipts are not here.
    pub fn assert_promises_kept(&self) {
        let Outcome { fleet, processor, others } = self;
        assert_eq!(fleet.tally.readings_lost, 0, "an acknowledged reading was lost");
        assert_eq!(fleet.tally.sessions_lost, 0, "an accepted session was lost");
        assert_eq!(fleet.tally.receipts_missed, 0, "a receipt was lost");
        assert_eq!((fleet.sessions_open, fleet.readings_unacknowledged), (0, 0), "everything came to its end");
        let books = &processor.books;
        assert_eq!(books.violations, Default::default(), "the gate asked for something it should not");
        assert_eq!(books.holds.get("open").copied().unwrap_or(0), *others, "orphan holds: {:?}", books.holds);
    }
}

fn line(gate: &mut Served, number: u16, seed: u64) -> Line {
    let id = ChargerId::new(&format!("CHG-{number:03}")).unwrap();
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
    Line { dialler, chargers: vec![settings], speaks: Speaks::Native }
}
