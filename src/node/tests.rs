//! Scenarios: a shard on a journal in memory, with scripted inputs and checked outputs.

use super::charger::{ConnectionId, Link};
use super::input::Input;
use super::node_config::NodeConfig;
use super::output::Output;
use super::reply::{NodeNumber, Ordered, ReplyTo};
use super::routing::Routes;
use super::shard::Shard;
use super::tariff_assignment::{TariffAssignment, TariffResolver};
use crate::account;
use crate::billing::reconciliation::register::Refusal;
use crate::journal::{Log, MemoryStore, Sequences};
use crate::message::{
    Channel, ChargerHello, Code, ConnectorInfo, FromCharger, SessionMark, Standing, StartSession, StopReason, ToCharger,
};
use crate::node::credential_links::LocalCredentialLinks;
use crate::node::credentials::Credentials;
use crate::node::offline_authorizations::LocalOfflineAuthorizations;
use crate::node::routing::LocalProcessorRegistry;
use crate::node::tariff_assignment::TariffAssignments;
use crate::payment::routing::Listed;
use crate::payment::{Answer, CallbackId, Capabilities, Credential, CredentialKind, Operation, OperationKind, Outcome};
use crate::payment::{Decline, DeclineClass, ProcessorRef, Request};
use crate::session::Policy;
use crate::tariff::Tariff;
use crate::units::rng::Rng;
use crate::units::{
    AccountId, Amount, ChargerId, ConnectorId, Currency, Energy, MeterReading, Mono, Now, PartitionId, PaymentId,
    Power, ProcessorId, SessionId, SessionKey, SiteId, TimeSpan, Timestamp,
};
use jiff::tz::TimeZone;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

mod archive;
mod catalogue;
mod corrections;
mod covered;
mod credentials;
mod disputes;
mod driver;
mod extremes;
mod funds;
mod golden;
mod invoices;
mod log_lines;
mod long;
mod money;
mod ocpp;
mod orders;
mod outage;
mod presence;
mod replaced;
mod routing;
mod settlement;
mod silent;
mod sizes;
mod snapshots;
mod starts;
mod top_ups;

const START: i64 = 1_763_800_000_000;

/// 0.14 EUR/kWh without VAT: what the recorded sessions were billed with.
const TARIFF: &str = r#"{
    "country_code": "FR", "party_id": "SAP", "id": "FLAT-14", "currency": "EUR",
    "elements": [{"price_components": [{"type": "ENERGY", "price": 0.14, "step_size": 1}]}],
    "last_updated": "2017-06-01T00:00:00Z"
}"#;

/// 0.59 EUR/kWh and 19 % VAT on top.
const TARIFF_WITH_VAT: &str = r#"{
    "country_code": "DE", "party_id": "TNM", "id": "VAT-59", "currency": "EUR",
    "elements": [{"price_components": [{"type": "ENERGY", "price": 0.59, "vat": 19.0, "step_size": 1}]}],
    "last_updated": "2025-06-01T00:00:00Z"
}"#;

struct OneTariff(Arc<Tariff>);

impl TariffResolver for OneTariff {
    fn place(&self, charger: &ChargerId, _: ConnectorId, _: Timestamp) -> Result<TariffAssignment, Code> {
        match charger.as_str() {
            "NO-TARIFF" => Err(Code::NoTariff),
            taxed if taxed.starts_with("VAT-") => {
                let tariff = Arc::new(Tariff::parse(TARIFF_WITH_VAT).unwrap().tariff);
                Ok(TariffAssignment { tariff, zone: TimeZone::UTC, zone_name: "UTC".into() })
            }
            _ => Ok(TariffAssignment { tariff: self.0.clone(), zone: TimeZone::UTC, zone_name: "UTC".into() }),
        }
    }

    /// `SITE-A-1` stands at `A`.
    fn site(&self, charger: &ChargerId) -> Option<SiteId> {
        let (site, _) = charger.as_str().strip_prefix("SITE-")?.split_once('-')?;
        SiteId::new(site).ok()
    }
}

fn node_config() -> Arc<NodeConfig> {
    house_with(Policy::default())
}

/// A processor as it stands when it has connected.
fn listed() -> Listed {
    Listed { capabilities: capabilities(), connections: 1, draining: false, inflight: 0 }
}

fn house_with(policy: Policy) -> Arc<NodeConfig> {
    house_of(policy, TARIFF)
}

fn house_of(policy: Policy, tariff: &str) -> Arc<NodeConfig> {
    // Each shared state has its own random numbers, like a restarted gate: else two sessions would have one id.
    static SEEDS: AtomicU64 = AtomicU64::new(0);
    let random = Mutex::new(Rng::new(SEEDS.fetch_add(1, Ordering::Relaxed)));
    let tariff = Arc::new(Tariff::parse(tariff).unwrap().tariff);
    let tariff_resolver: Box<dyn TariffResolver> = Box::new(OneTariff(tariff));
    let mut routes = Routes::default();
    routes.registry.processors.insert(acme(), listed());
    Arc::new(NodeConfig {
        partitions: 8,
        shards: 1,
        policy: Arc::new(policy),
        tariffs: TariffAssignments::new(tariff_resolver),
        routing: Box::new(LocalProcessorRegistry::new(routes)),
        offline_authorizations: Box::new(LocalOfflineAuthorizations::default()),
        random: Box::new(move || random.lock().unwrap().bits()),
        credentials: Credentials::new(
            b"test",
            crate::payment::vault::Keyring::fixed([7; 32]),
            Box::new(LocalCredentialLinks::default()),
        ),
        receipt_base: String::new(),
        series: Default::default(),
    })
}

fn acme() -> ProcessorId {
    ProcessorId::new("acme-cards").unwrap()
}

fn capabilities() -> Capabilities {
    Capabilities {
        credentials: vec![CredentialKind::CardToken],
        request_life_max: TimeSpan::from_secs(20),
        inquiry_authoritative_after: Some(TimeSpan::from_secs(30)),
        inflight_max: 64,
        ..Capabilities::everything(Currency::EUR)
    }
}

/// The operator whose replies are kept.
const OPERATOR: ReplyTo = ReplyTo { node: NodeNumber(0), number: 1 };

/// A shard, its log, and its outputs so far.
struct Scene {
    shard: Shard,
    log: Log,
    store: MemoryStore,
    now: Now,
    link: Link,
    sent: Vec<ToCharger>,
    operations: Vec<Operation>,
    callbacks: Vec<(CallbackId, Option<Code>)>,
    ordered: Vec<Ordered>,
    /// Replies about settlement batches.
    settled: Vec<Option<Refusal>>,
    next_callback: u128,
    whole_batches: usize,
    /// What was archived; `None`: there is no archive.
    archive: Option<std::collections::BTreeMap<SessionId, (crate::session::Session, Box<str>)>>,
    /// Questions for which the archive has no room yet.
    archive_full: usize,
    /// Inputs that are lost between partitions.
    loses: fn(&Output) -> bool,
}

impl Scene {
    fn new() -> Scene {
        Scene::on(MemoryStore::new(64))
    }

    /// Opens (or reopens) whatever the store holds.
    /// A charger whose first session is authorized and charges, and the authorization.
    fn charging() -> (Scene, Operation) {
        let mut scene = Scene::new();
        scene.hello("AMS-0007", Vec::new());
        scene.start(1, CredentialKind::CardToken, "tok_visa");
        let authorize = scene.asked();
        scene.approve(&authorize);
        (scene, authorize)
    }

    fn on(store: MemoryStore) -> Scene {
        Scene::in_house(store, node_config(), Scene::beginning())
    }

    /// A gate with rules of its own.
    fn with(change: impl FnOnce(&mut Policy)) -> Scene {
        let mut policy = Policy::default();
        change(&mut policy);
        Scene::in_house(MemoryStore::new(64), house_with(policy), Scene::beginning())
    }

    fn beginning() -> Now {
        Now { wall: Timestamp::from_unix_ms(START), mono: Mono(1_000) }
    }

    fn in_house(store: MemoryStore, node_config: Arc<NodeConfig>, now: Now) -> Scene {
        let mut shard = Shard::new(node_config, 0, now);
        let (log, _) = Log::open(Box::new(store.clone()), &Sequences::new(8), &mut |record| shard.replay(record, now))
            .expect("the log opens");
        shard.continue_after(log.sequences().clone());
        let link = Link { connection: ConnectionId(1), channel: Channel::ZERO };
        let mut scene = Scene {
            shard,
            log,
            store,
            now,
            link,
            sent: Vec::new(),
            operations: Vec::new(),
            callbacks: Vec::new(),
            ordered: Vec::new(),
            settled: Vec::new(),
            next_callback: 1,
            whole_batches: 0,
            archive: None,
            archive_full: 0,
            loses: |_| false,
        };
        scene.shard.resume(now);
        scene.settle();
        scene
    }

    /// The process ends and restarts on the same disk; chargers and processors are disconnected.
    fn crash(self) -> Scene {
        let node_config = house_with(Policy::clone(&self.shard.node_config().policy));
        let mut after = Scene::in_house(self.store, node_config, self.now);
        after.next_callback = self.next_callback + 1_000;
        after
    }

    fn pass(&mut self, seconds: i64) {
        let span = TimeSpan::from_secs(seconds);
        self.now = Now { wall: self.now.wall.saturating_add(span), mono: self.now.mono.after(span) };
        self.shard.tick(self.now);
        self.settle();
    }

    /// Makes everything durable and lets it out, until nothing more happens.
    fn settle(&mut self) {
        loop {
            while let Some(batch) = self.shard.take_batch() {
                self.log.commit(std::slice::from_ref(&batch)).unwrap();
                self.shard.committed(batch);
            }
            let Some(output) = self.shard.release() else { return };
            match output {
                lost if (self.loses)(&lost) => {}
                Output::MeterAck { session, up_to, running, .. } => {
                    let ack = crate::message::MeterAck { session, up_to, cost: Some(running) };
                    self.sent.push(ToCharger::MeterAck(ack));
                }
                Output::Charger(charger, message) if self.shard.link(charger).is_some() => self.sent.push(*message),
                // The charger is not connected: it repeats what it misses.
                Output::Charger(..) => {}
                Output::Operation(operation) => self.operations.push(*operation),
                Output::Account(ask) => self.take(Input::AskAccount(ask.0, Box::new(ask.1))),
                Output::AccountAnswer(answer) => self.take(Input::Answer(answer.0, Box::new(answer.1))),
                Output::AskFunds(query) => self.take(Input::AskFunds(query)),
                Output::Notify(notify) => self.take(Input::Notify(notify.0, notify.1, Box::new(notify.2))),
                Output::AskNumber(request) => self.take(Input::AskNumber(request)),
                Output::Numbered(numbered) => self.take(Input::Numbered(numbered)),
                Output::Callback { callback, refused, .. } => self.callbacks.push((callback, refused)),
                Output::Archive(session) => self.archived(*session),
                Output::ReceiptAgain(..) => {}
                Output::LoadArchived(..) if self.archive_full > 0 => self.archive_full -= 1,
                Output::LoadArchived(id, waiting_input) => {
                    let found = self.archive.as_ref().and_then(|archive| archive.get(&id)).cloned();
                    self.take(match found {
                        Some((session, tariff)) => Input::Restored(Box::new(session), tariff, waiting_input),
                        None => Input::NotArchived(waiting_input),
                    });
                }
                Output::ArchivePage(..) => {}
                Output::BatchDue(_) => self.whole_batches += 1,
                Output::SettlementAnswer(_, refused) => self.settled.push(refused),
                Output::Ordered(ordered) if ordered.0 == ReplyTo::NONE => {}
                Output::Ordered(ordered) => self.ordered.push(ordered.1),
            }
        }
    }

    fn archived(&mut self, session: crate::session::Session) {
        let (Some(archive), Some(live)) = (&mut self.archive, self.shard.unchanged(&session)) else { return };
        archive.insert(session.id, (session.clone(), live.tariff().source().into()));
        self.take(Input::Archived(Box::new(session)));
    }

    fn take(&mut self, input: Input) {
        self.shard.take(input, self.now).expect("the journal has room");
        self.settle();
    }

    fn hello(&mut self, charger: &str, sessions: Vec<SessionMark>) -> Option<Link> {
        let hello = ChargerHello {
            numbering: Default::default(),
            charger: ChargerId::new(charger).unwrap(),
            connectors: vec![ConnectorInfo { id: ConnectorId(1), power_max: Power::from_watts(22_000).unwrap() }],
            firmware: "1.0".into(),
            clock: self.now.wall,
            sessions,
        };
        let replaced = self.shard.hello(self.link, &hello, self.now).unwrap();
        self.settle();
        replaced
    }

    fn send(&mut self, message: FromCharger) {
        assert!(self.shard.knows(self.link), "the channel is bound");
        self.shard.on_charger_message(self.link, message, self.now).unwrap();
        self.settle();
    }

    fn start(&mut self, key: u64, kind: CredentialKind, token: &str) {
        let credential = Credential { kind, token: token.as_bytes().into() };
        let register = Energy::from_watt_hours(909_000).unwrap();
        let (session, connector) = (SessionKey(key), ConnectorId(1));
        self.send(FromCharger::Start(StartSession { session, connector, credential, at: self.now.wall, register }));
    }

    fn reading(&mut self, key: u64, sequence: u32, wh: i64) {
        self.pass(60);
        let reading = self.reading_of(sequence, wh);
        self.send(FromCharger::Reading { session: SessionKey(key), reading });
    }

    fn stop(&mut self, key: u64, sequence: u32, wh: i64) {
        self.pass(60);
        let last = self.reading_of(sequence, wh);
        self.send(FromCharger::Stop { session: SessionKey(key), last, reason: StopReason::Local });
    }

    fn reading_of(&self, sequence: u32, wh: i64) -> MeterReading {
        let register = Energy::from_watt_hours(909_000 + wh).unwrap();
        MeterReading { sequence, at: self.now.wall, register, power: None, current: None }
    }

    fn answer(&mut self, operation: &Operation, outcome: Outcome) {
        let answer = self.answered(operation, outcome);
        self.take(answer);
    }

    fn answered(&mut self, operation: &Operation, outcome: Outcome) -> Input {
        let callback = CallbackId(self.next_callback);
        self.next_callback += 1;
        let answer = Answer { callback, operation: operation.id, hold: operation.hold, outcome };
        Input::Answer(operation.processor.clone(), Box::new(answer))
    }

    fn approve(&mut self, operation: &Operation) {
        let approval = self.approval(operation);
        self.take(approval);
    }

    fn approval(&mut self, operation: &Operation) -> Input {
        let amount = match &operation.request {
            Request::Authorize { amount, .. } | Request::Capture { amount, .. } | Request::Refund { amount, .. } => {
                *amount
            }
            Request::Increment { new_total, .. } | Request::Decrement { new_total, .. } => *new_total,
            Request::Void { .. } | Request::Inquire { .. } => Amount::zero(Currency::EUR),
        };
        let outcome = Outcome::Approved { amount, processor_ref: ProcessorRef("auth-1".into()), expires_at: None };
        self.answered(operation, outcome)
    }

    fn order(&mut self, account: &str, command: impl FnOnce(crate::units::OpId) -> account::Command) {
        let account = AccountId::new(account).unwrap();
        let op =
            PaymentId::new(self.now.wall, PartitionId::of(account.as_str(), 8), self.next_callback as u64).operation(1);
        self.next_callback += 1;
        self.take(Input::Order(account, Box::new(command(op)), OPERATOR));
    }

    /// Opens an account without credit and tops it up, in cents.
    fn open_account(&mut self, account: &str, minor: i64) {
        self.order(account, |op| account::Command::Open {
            op,
            account: AccountId::new(account).unwrap(),
            currency: Currency::EUR,
            credit_limit: Amount::zero(Currency::EUR),
        });
        let amount = Amount::new(minor, Currency::EUR);
        self.order(account, |op| account::Command::TopUp { op, amount, source: account::TopUpSource::Bank });
    }

    /// Links a contract to an account, so that the account pays.
    fn link_contract(&mut self, account: &str, contract: &str) {
        let token = contract.as_bytes().into();
        let credential = self.shard.node_config().mark(&Credential { kind: CredentialKind::EvAccount, token });
        self.order(account, |op| account::Command::LinkCredential { op, credential });
    }

    fn decline(&mut self, operation: &Operation, class: DeclineClass) {
        self.answer(operation, Outcome::Declined(Decline { class, code: "no".into(), retry_after: None }));
    }

    /// Changes the known state of the processors.
    fn routes(&self, change: impl Fn(&mut Routes)) {
        self.shard.node_config().routing.change(&change);
    }

    /// Disconnects a processor's last connection, or restores it.
    fn connections(&self, id: &ProcessorId, connections: u32) {
        self.routes(|routes| routes.registry.processors.get_mut(id).unwrap().connections = connections);
    }

    /// No connection could take this operation.
    fn not_sent(&mut self, operation: &Operation) {
        self.take(Input::NotSent(operation.id, operation.attempt));
    }

    /// The only session there is.
    fn session(&self) -> &crate::session::Session {
        let mut live = self.shard.partitions().iter().flat_map(|partition| partition.sessions.iter());
        let (_, only) = live.next().expect("a session");
        assert!(live.next().is_none(), "one session");
        only.state()
    }

    /// Messages since the last call.
    fn received(&mut self) -> Vec<ToCharger> {
        std::mem::take(&mut self.sent)
    }

    fn asked(&mut self) -> Operation {
        assert_eq!(self.operations.len(), 1, "one operation: {:?}", self.operations);
        self.operations.remove(0)
    }
}

#[test]
fn a_card_session_from_the_credential_to_the_receipt() {
    let mut scene = Scene::new();
    scene.hello("AMS-0007", Vec::new());
    assert!(matches!(scene.received().as_slice(), [ToCharger::HelloAck(_)]));

    scene.start(1, CredentialKind::CardToken, "tok_visa");
    assert!(scene.received().is_empty(), "no energy before the processor has spoken");
    let authorize = scene.asked();
    assert!(matches!(authorize.request, Request::Authorize { .. }));
    scene.approve(&authorize);
    assert!(matches!(scene.received().as_slice(), [ToCharger::StartAccepted { .. }]));

    scene.reading(1, 1, 300);
    let received = scene.received();
    let [ToCharger::MeterAck(ack)] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!((ack.up_to, ack.cost.unwrap().major().to_string().as_str()), (1, "0.042"));

    scene.stop(1, 2, 650);
    assert!(matches!(scene.received().as_slice(), [ToCharger::MeterAck(ack)] if ack.up_to == 2));
    let capture = scene.asked();
    let Request::Capture { amount, last: true, .. } = capture.request else { panic!("{capture:?}") };
    assert_eq!(amount, Amount::new(9, Currency::EUR), "0.65 kWh at 0.14 is 0.091, rounded once");

    scene.approve(&capture);
    let received = scene.received();
    let [ToCharger::Receipt(receipt)] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!((receipt.total.minor, receipt.cost.major().to_string().as_str()), (9, "0.091"));
    assert_eq!(scene.callbacks.len(), 2, "each answer is acknowledged");
}

#[test]
fn a_prepaid_account_is_a_processor_like_any_other() {
    let mut scene = Scene::new();
    scene.open_account("driver-1", 6_000);
    scene.link_contract("driver-1", "DE-8AA-C00000001");
    scene.hello("AMS-0007", Vec::new());
    scene.start(1, CredentialKind::EvAccount, "DE-8AA-C00000001");
    assert!(matches!(scene.received().as_slice(), [ToCharger::HelloAck(_), ToCharger::StartAccepted { .. }]));
    scene.stop(1, 1, 300);
    let received = scene.received();
    assert!(matches!(received.as_slice(), [ToCharger::MeterAck(_), ToCharger::Receipt(_)]), "{received:?}");
    assert!(scene.operations.is_empty());
}

#[test]
fn repeated_readings_are_acknowledged_again_and_gaps_are_refused() {
    let (mut scene, _) = Scene::charging();
    scene.reading(1, 1, 100);
    scene.received();
    scene.reading(1, 1, 100);
    assert!(matches!(scene.received().as_slice(), [ToCharger::MeterAck(ack)] if ack.up_to == 1));
    scene.reading(1, 3, 300);
    let received = scene.received();
    let [ToCharger::SessionRejected { code, expected, .. }] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!((*code, *expected), (Code::SequenceGap, Some(2)));
    scene.send(FromCharger::Reading { session: SessionKey(77), reading: scene.reading_of(1, 0) });
    assert!(matches!(scene.received().as_slice(), [ToCharger::SessionRejected { code: Code::SessionUnknown, .. }]));
}

#[test]
fn a_register_that_falls_is_recorded_and_not_billed() {
    let (mut scene, _) = Scene::charging();
    scene.reading(1, 1, 300);
    scene.received();
    scene.reading(1, 2, -5_000);
    let received = scene.received();
    let [ToCharger::SessionRejected { code, expected, .. }] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!((*code, *expected), (Code::RegisterFalls, Some(3)));
    scene.reading(1, 3, 400);
    let received = scene.received();
    let [ToCharger::MeterAck(ack)] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!((ack.up_to, ack.cost.unwrap().major().to_string().as_str()), (3, "0.056"));
}

#[test]
fn a_crash_at_any_moment_changes_nothing_for_the_charger() {
    let mut scene = Scene::new();
    scene.hello("AMS-0007", Vec::new());
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.asked();

    // The gate crashes after the authorization has left, before it is answered: it is repeated under the same id.
    let mut scene = scene.crash();
    let again = scene.asked();
    assert!(again.id == authorize.id || matches!(again.request, Request::Inquire { target } if target == authorize.id));
    scene.approve(&authorize);
    scene.hello("AMS-0007", vec![SessionMark { session: SessionKey(1), last_sequence: 0 }]);
    let received = scene.received();
    let [ToCharger::HelloAck(ack)] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!(ack.sessions[0].standing, Standing::Open { durable: 0 });
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    assert!(matches!(scene.received().as_slice(), [ToCharger::StartAccepted { .. }]));
    scene.reading(1, 1, 300);

    // It crashes again while charging: the session continues where it was.
    let mut scene = scene.crash();
    scene.hello("AMS-0007", vec![SessionMark { session: SessionKey(1), last_sequence: 1 }]);
    let received = scene.received();
    let [ToCharger::HelloAck(ack)] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!(ack.sessions[0].standing, Standing::Open { durable: 1 });
    scene.stop(1, 2, 650);
    let capture = scene.asked();

    // And once more while the capture is in progress: never under another id.
    let mut scene = scene.crash();
    let again = scene.asked();
    assert!(again.id == capture.id || matches!(again.request, Request::Inquire { target } if target == capture.id));
    scene.approve(&capture);
    scene.hello("AMS-0007", vec![SessionMark { session: SessionKey(1), last_sequence: 2 }]);
    let received = scene.received();
    assert!(
        received.iter().any(|message| matches!(message, ToCharger::Receipt(receipt) if receipt.total.minor == 9)),
        "{received:?}"
    );
}

#[test]
fn without_a_tariff_there_is_no_session_and_no_price_of_zero() {
    let mut scene = Scene::new();
    scene.hello("NO-TARIFF", Vec::new());
    scene.received();
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    assert!(matches!(scene.received().as_slice(), [ToCharger::StartRejected { code: Code::NoTariff, .. }]));
}

#[test]
fn a_newer_connection_takes_over_and_the_older_is_not_heard() {
    let mut scene = Scene::new();
    scene.hello("AMS-0007", Vec::new());
    let older = scene.link;
    scene.link = Link { connection: ConnectionId(2), channel: Channel::ZERO };
    assert_eq!(scene.hello("AMS-0007", Vec::new()), Some(older), "the older one is to be closed");
    assert!(!scene.shard.knows(older));
    scene.shard.disconnected(older.connection);
    assert!(scene.shard.knows(scene.link));
}

#[test]
fn silence_ends_a_session_on_its_last_known_total() {
    let (mut scene, _) = Scene::charging();
    scene.reading(1, 1, 300);
    while scene.operations.is_empty() {
        scene.pass(30);
        assert!(scene.now.mono < Mono(3_600_000), "silence is not endless");
    }
    let capture = scene.asked();
    assert!(matches!(capture.request, Request::Capture { amount, .. } if amount.minor == 4), "{capture:?}");
}
