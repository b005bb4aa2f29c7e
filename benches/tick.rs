//! What a meter reading costs: the decision alone, and the whole way from the charger's message to the acknowledgement.
//!
//! `cargo bench --bench tick`

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use jiff::tz::TimeZone;
use std::sync::Arc;
use wattstile::account;
use wattstile::journal::{Log, MemoryStore, Sequences};
use wattstile::message::{Channel, ChargerHello, Code, ConnectorInfo, FromCharger, StartSession};
use wattstile::node::credential_links::LocalCredentialLinks;
use wattstile::node::credentials::Credentials;
use wattstile::node::input::Input;
use wattstile::node::node_config::NodeConfig;
use wattstile::node::offline_authorizations::LocalOfflineAuthorizations;
use wattstile::node::output::Output;
use wattstile::node::reply::ReplyTo;
use wattstile::node::routing::LocalProcessorRegistry;
use wattstile::node::shard::Shard;
use wattstile::node::tariff_assignment::TariffAssignments;
use wattstile::node::tariff_assignment::{TariffAssignment, TariffResolver};
use wattstile::node::{ConnectionId, Link};
use wattstile::payment::{Credential, CredentialKind};
use wattstile::session::{self, Command, Context, Policy};
use wattstile::tariff::Tariff;
use wattstile::units::{
    AccountId, Amount, ChargerId, ConnectorId, Currency, Energy, MeterReading, Mono, Now, PartitionId, Power,
    SessionId, SessionKey, TimeSpan, Timestamp,
};

const TARIFF: &str = r#"{
  "country_code": "NL", "party_id": "WST", "id": "BENCH", "currency": "EUR",
  "elements": [
    {"price_components": [{"type": "FLAT", "price": 0.50, "vat": 21.0, "step_size": 1},
                          {"type": "ENERGY", "price": 0.36, "vat": 21.0, "step_size": 1}],
     "restrictions": {"start_time": "23:00", "end_time": "06:00"}},
    {"price_components": [{"type": "FLAT", "price": 0.50, "vat": 21.0, "step_size": 1},
                          {"type": "ENERGY", "price": 0.42, "vat": 21.0, "step_size": 1},
                          {"type": "PARKING_TIME", "price": 3.00, "vat": 21.0, "step_size": 60}]}
  ],
  "last_updated": "2026-01-01T00:00:00Z"
}"#;

/// One tariff everywhere.
struct Everywhere(Arc<Tariff>);

impl TariffResolver for Everywhere {
    fn place(&self, _: &ChargerId, _: ConnectorId, _: Timestamp) -> Result<TariffAssignment, Code> {
        Ok(TariffAssignment { tariff: self.0.clone(), zone: TimeZone::UTC, zone_name: "UTC".into() })
    }
}

const CHARGERS: u32 = 10_000;
const START: i64 = 1_763_800_000_000;

/// Ten thousand sessions that charge, on one shard with its log in memory.
struct Scene {
    shard: Shard,
    log: Log,
    tariff: Arc<Tariff>,
    policy: Arc<Policy>,
    now: Now,
    acknowledged: u64,
}

impl Scene {
    fn new() -> Scene {
        let tariff = Arc::new(Tariff::parse(TARIFF).expect("a tariff").tariff);
        let policy = Arc::new(Policy::default());
        let tariff_resolver: Box<dyn TariffResolver> = Box::new(Everywhere(tariff.clone()));
        let rng = std::sync::atomic::AtomicU64::new(1);
        let node_config = Arc::new(NodeConfig {
            partitions: 8,
            shards: 1,
            policy: policy.clone(),
            tariffs: TariffAssignments::new(tariff_resolver),
            routing: Box::new(LocalProcessorRegistry::default()),
            offline_authorizations: Box::new(LocalOfflineAuthorizations::default()),
            random: Box::new(move || rng.fetch_add(1, std::sync::atomic::Ordering::Relaxed)),
            credentials: Credentials::new(
                b"bench",
                wattstile::payment::vault::Keyring::fixed([7; 32]),
                Box::new(LocalCredentialLinks::default()),
            ),
            receipt_base: String::new(),
            series: Default::default(),
        });
        let now = Now { wall: Timestamp::from_unix_ms(START), mono: Mono(1) };
        let shard = Shard::new(node_config, 0, now);
        let (log, _) = Log::open(Box::new(MemoryStore::new(64)), &Sequences::new(8), &mut |_| Ok(())).expect("a log");
        let mut scene = Scene { shard, log, tariff, policy, now, acknowledged: 0 };
        for number in 0..CHARGERS {
            scene.admit(number);
        }
        scene
    }

    /// A driver with an account of their own begins to charge.
    fn admit(&mut self, number: u32) {
        let id = AccountId::new(&format!("driver-{number}")).expect("an id");
        let order = SessionId::new(self.now.wall, PartitionId::of(id.as_str(), 8), u64::from(number));
        let commands = [
            account::Command::Open {
                op: order.payment().operation(1),
                account: id.clone(),
                currency: Currency::EUR,
                credit_limit: Amount::zero(Currency::EUR),
            },
            account::Command::TopUp {
                op: order.payment().operation(2),
                amount: Amount::new(100_000_000, Currency::EUR),
                source: account::TopUpSource::Bank,
            },
        ];
        for command in commands {
            let input = Input::Order(id.clone(), Box::new(command), ReplyTo::NONE);
            self.shard.take(input, self.now).expect("room");
        }
        let hello = ChargerHello {
            numbering: Default::default(),
            charger: ChargerId::new(&format!("BENCH-{number}")).expect("an id"),
            connectors: vec![ConnectorInfo { id: ConnectorId(1), power_max: Power::from_watts(22_000).expect("fits") }],
            firmware: "1".into(),
            clock: self.now.wall,
            sessions: Vec::new(),
        };
        self.shard.hello(link(number), &hello, self.now).expect("room");
        let start = StartSession {
            session: SessionKey(1),
            connector: ConnectorId(1),
            credential: Credential { kind: CredentialKind::EvAccount, token: id.as_str().as_bytes().into() },
            at: self.now.wall,
            register: Energy::ZERO,
        };
        self.shard.on_charger_message(link(number), FromCharger::Start(start), self.now).expect("room");
        self.settle();
    }

    /// One reading of every session, and everything that follows until it is acknowledged.
    fn round(&mut self, sequence: u32) {
        self.now.wall = Timestamp::from_unix_ms(START + i64::from(sequence) * 60_000);
        self.now.mono = self.now.mono.after(TimeSpan::from_secs(1));
        for number in 0..CHARGERS {
            let message = FromCharger::Reading { session: SessionKey(1), reading: self.reading(sequence) };
            self.shard.on_charger_message(link(number), message, self.now).expect("room");
            if number % 256 == 255 {
                self.settle();
            }
        }
        self.settle();
    }

    fn reading(&self, sequence: u32) -> MeterReading {
        let register = Energy::from_watt_hours(i64::from(sequence) * 180).expect("fits");
        MeterReading { sequence, at: self.now.wall, register, power: None, current: None }
    }

    fn settle(&mut self) {
        loop {
            while let Some(batch) = self.shard.take_batch() {
                self.log.commit(std::slice::from_ref(&batch)).expect("memory holds");
                self.shard.committed(batch);
            }
            let Some(output) = self.shard.release() else { return };
            match output {
                Output::MeterAck { .. } => self.acknowledged += 1,
                Output::Account(ask) => {
                    self.shard.take(Input::AskAccount(ask.0, Box::new(ask.1)), self.now).expect("room");
                }
                Output::AccountAnswer(answer) => {
                    self.shard.take(Input::Answer(answer.0, Box::new(answer.1)), self.now).expect("room");
                }
                _ => {}
            }
        }
    }
}

fn link(number: u32) -> Link {
    Link { connection: ConnectionId(u64::from(number) + 1), channel: Channel::ZERO }
}

fn decide(c: &mut Criterion) {
    let mut scene = Scene::new();
    scene.round(1);
    let session = scene.shard.partitions()[0].sessions.iter().next().expect("a session").1.state().clone();
    let zone = TimeZone::UTC;
    scene.now.wall = Timestamp::from_unix_ms(START + 120_000);
    let reading = scene.reading(2);
    let router: &dyn session::Router = &**scene.shard.node_config();
    let around = Context { now: scene.now, tariff: &scene.tariff, zone: &zone, policy: &scene.policy, router };
    let mut group = c.benchmark_group("session");
    group.throughput(Throughput::Elements(1));
    group.bench_function("decide one reading", |b| {
        b.iter(|| session::decide(&session, Command::Reading(reading), &around));
    });
    group.finish();
}

fn tick(c: &mut Criterion) {
    let mut scene = Scene::new();
    let mut sequence = 0;
    let mut group = c.benchmark_group("tick");
    group.throughput(Throughput::Elements(u64::from(CHARGERS)));
    group.sample_size(10);
    group.bench_function("to acknowledgement, 10,000 sessions, log in memory", |b| {
        b.iter_batched(
            || {
                sequence += 1;
                sequence
            },
            |sequence| scene.round(sequence),
            BatchSize::PerIteration,
        );
    });
    group.finish();
    assert_eq!(scene.acknowledged, u64::from(sequence) * u64::from(CHARGERS), "every reading was acknowledged");
}

criterion_group!(benches, decide, tick);
criterion_main!(benches);
