//! Extreme values of every number at every input: the result is a fact or a typed refusal, never the end of the
//! process.

use super::*;
use crate::accounting::archive_record::{self, Billing};
use crate::billing::{Issuer, SigningKey};
use crate::units::{Current, Fingerprint};
use proptest::prelude::*;

/// The ends of the range, what lies around zero, and what a careful peer would send.
fn number() -> impl Strategy<Value = i64> + Clone {
    prop_oneof![
        Just(i64::MIN),
        Just(i64::MIN + 1),
        Just(-1_i64),
        Just(0),
        Just(1),
        Just(i64::MAX - 1),
        Just(i64::MAX),
        any::<i64>(),
        -1_000_000..1_000_000_000_i64,
        Just(300_000_000_000_000_000),
    ]
}

/// An instant: near the gate's clock, or anywhere.
fn instant() -> impl Strategy<Value = i64> + Clone {
    prop_oneof![4 => (-3_600_000_i64..90_000).prop_map(|ms| START + ms), 1 => number(), 1 => Just(4_102_444_800_000)]
}

#[derive(Clone, Debug)]
enum Step {
    /// A reading, or a stop with the same figures.
    Meter { stop: bool, ahead: u32, at: i64, register: i64, power: Option<i64>, current: Option<i64> },
    /// A reading that continues the last good one: so much later and higher.
    Onward { ms: i64, rise: i64, power: Option<i64> },
    /// The processor's answer to the last request.
    Answer { minor: i64, expires_at: Option<i64>, declined: bool },
    /// Time passes, by the gate's own clocks.
    Pass(i64),
    /// An order of the operator: what, and how much.
    Order { what: u8, minor: i64, at: i64 },
    /// The process crashes and restarts.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let some = |strategy: BoxedStrategy<i64>| prop::option::of(strategy);
    prop_oneof![
        4 => (any::<bool>(), 0_u32..3, instant(), number(), some(number().boxed()), some(number().boxed())).prop_map(
            |(stop, ahead, at, register, power, current)| Step::Meter { stop, ahead, at, register, power, current }
        ),
        4 => (number(), number(), some(number().boxed())).prop_map(|(ms, rise, power)| Step::Onward { ms, rise, power }),
        2 => (0_i64..90_000, 0_i64..1_000_000_000, Just(None)).prop_map(|(ms, rise, power)| Step::Onward { ms, rise, power }),
        3 => (number(), some(number().boxed()), any::<bool>())
            .prop_map(|(minor, expires_at, declined)| Step::Answer { minor, expires_at, declined }),
        2 => (1_i64..4_000).prop_map(Step::Pass),
        2 => (0_u8..5, number(), number()).prop_map(|(what, minor, at)| Step::Order { what, minor, at }),
        1 => Just(Step::Crash),
    ]
}

#[derive(Clone, Debug)]
struct Extremes {
    tariff: String,
    clocks: bool,
    power_max: i64,
    start: (i64, i64),
    steps: Vec<Step>,
}

fn tariff() -> impl Strategy<Value = String> {
    let price = prop::sample::select(vec!["0", "0.25", "-5", "0.000000001", "9000000000", "123456789.123456789"]);
    let step = prop::sample::select(vec!["1", "900", "4294967295"]);
    let currency = prop::sample::select(vec!["EUR", "JPY", "KWD"]);
    (prop::array::uniform4(price), step, currency).prop_map(|([energy, time, parking, flat], step, currency)| {
        format!(
            r#"{{"country_code": "NL", "party_id": "WST", "id": "T", "currency": "{currency}", "elements": [
                {{"price_components": [{{"type": "FLAT", "price": {flat}, "vat": 21, "step_size": 1}},
                                       {{"type": "TIME", "price": {time}, "vat": 100, "step_size": {step}}}],
                  "restrictions": {{"max_duration": 1800}}}},
                {{"price_components": [{{"type": "ENERGY", "price": {energy}, "vat": 21, "step_size": {step}}},
                                       {{"type": "PARKING_TIME", "price": {parking}, "vat": 21, "step_size": 60}}]}}
            ], "last_updated": "2026-01-01T00:00:00Z"}}"#
        )
    })
}

fn extremes() -> impl Strategy<Value = Extremes> {
    (tariff(), any::<bool>(), number(), (instant(), number()), prop::collection::vec(step(), 1..40))
        .prop_map(|(tariff, clocks, power_max, start, steps)| Extremes { tariff, clocks, power_max, start, steps })
}

struct Run {
    scene: Scene,
    policy: Policy,
    extremes: Extremes,
    /// Sequence, time and register of the last reading that was sent.
    last: (u32, i64, i64),
}

impl Run {
    fn new(extremes: Extremes) -> Run {
        let mut policy = Policy::default();
        if !extremes.clocks {
            (policy.clock_ahead_max, policy.backlog_max) = (None, None);
        }
        let node_config = house_of(policy.clone(), &extremes.tariff);
        let scene = Scene::in_house(MemoryStore::new(64), node_config, Scene::beginning());
        let last = (0, extremes.start.0, extremes.start.1);
        Run { scene, policy, extremes, last }
    }

    fn begin(&mut self) {
        self.greet();
        let credential = Credential { kind: CredentialKind::CardToken, token: b"tok_visa"[..].into() };
        let (at, register) = self.extremes.start;
        self.scene.send(FromCharger::Start(StartSession {
            session: SessionKey(1),
            connector: ConnectorId(1),
            credential,
            at: Timestamp::from_unix_ms(at),
            register: Energy::from_microwatt_hours(register),
        }));
        // Mostly admitted: what comes then is more.
        let asked = std::mem::take(&mut self.scene.operations);
        asked.iter().for_each(|operation| self.scene.approve(operation));
    }

    fn greet(&mut self) {
        let hello = ChargerHello {
            numbering: Default::default(),
            charger: ChargerId::new("AMS-0007").unwrap(),
            connectors: vec![ConnectorInfo {
                id: ConnectorId(1),
                power_max: Power::from_milliwatts(self.extremes.power_max),
            }],
            firmware: "1.0".into(),
            clock: Timestamp::from_unix_ms(self.extremes.start.0),
            sessions: Vec::new(),
        };
        self.scene.shard.hello(self.scene.link, &hello, self.scene.now).unwrap();
        self.scene.settle();
    }

    fn meter(&mut self, stop: bool, reading: MeterReading) {
        self.last = (reading.sequence, reading.at.unix_ms(), reading.register.microwatt_hours());
        let session = SessionKey(1);
        self.scene.send(if stop {
            FromCharger::Stop { session, last: reading, reason: StopReason::Local }
        } else {
            FromCharger::Reading { session, reading }
        });
    }

    fn take(mut self, step: Step) -> Run {
        match step {
            Step::Meter { stop, ahead, at, register, power, current } => {
                let reading = MeterReading {
                    sequence: self.last.0.saturating_add(ahead),
                    at: Timestamp::from_unix_ms(at),
                    register: Energy::from_microwatt_hours(register),
                    power: power.map(Power::from_milliwatts),
                    current: current.map(Current::from_milliamperes),
                };
                self.meter(stop, reading);
            }
            Step::Onward { ms, rise, power } => {
                let reading = MeterReading {
                    sequence: self.last.0.saturating_add(1),
                    at: Timestamp::from_unix_ms(self.last.1.saturating_add(ms)),
                    register: Energy::from_microwatt_hours(self.last.2.saturating_add(rise)),
                    power: power.map(Power::from_milliwatts),
                    current: None,
                };
                self.meter(false, reading);
            }
            Step::Answer { minor, expires_at, declined } => {
                let asked = std::mem::take(&mut self.scene.operations);
                for operation in &asked {
                    let outcome = if declined {
                        Outcome::Declined(Decline {
                            class: DeclineClass::Hard,
                            code: "no".into(),
                            retry_after: expires_at.map(TimeSpan::from_ms),
                        })
                    } else {
                        Outcome::Approved {
                            amount: Amount::new(minor, self.currency()),
                            processor_ref: ProcessorRef("auth-1".into()),
                            expires_at: expires_at.map(Timestamp::from_unix_ms),
                        }
                    };
                    self.scene.answer(operation, outcome);
                    self.scene.answer(operation, Outcome::NotFound);
                }
            }
            Step::Pass(seconds) => self.scene.pass(seconds),
            Step::Order { what, minor, at } => self.order(what, minor, at),
            Step::Crash => {
                let node_config = house_of(self.policy.clone(), &self.extremes.tariff);
                let next = self.scene.next_callback + 1_000;
                let now = self.scene.now;
                self.scene = Scene::in_house(self.scene.store, node_config, now);
                self.scene.next_callback = next;
                self.greet();
            }
        }
        self
    }

    fn currency(&self) -> Currency {
        Tariff::parse(&self.extremes.tariff).unwrap().tariff.currency()
    }

    fn order(&mut self, what: u8, minor: i64, at: i64) {
        let amount = Amount::new(minor, Currency::EUR);
        let at = Timestamp::from_unix_ms(at);
        self.scene.order("driver:7", |op| match what {
            0 => account::Command::Open {
                op,
                account: AccountId::new("driver:7").unwrap(),
                currency: Currency::EUR,
                credit_limit: amount,
            },
            1 => account::Command::TopUp { op, amount, source: account::TopUpSource::Bank },
            2 => account::Command::GrantPromotion { op, amount, expires_at: Some(at) },
            3 => account::Command::SetCreditLimit { op, limit: amount },
            _ => account::Command::LinkCredential { op, credential: Fingerprint(minor.to_le_bytes()) },
        });
    }

    /// Figures of every session, whatever it went through.
    fn check_all(&self) {
        let tariff = Tariff::parse(&self.extremes.tariff).unwrap().tariff;
        let random = ring::rand::SystemRandom::new();
        let key = SigningKey::from_pkcs8(&SigningKey::generate(&random).unwrap()).unwrap();
        let billing =
            Billing { key, issuer: Issuer::default(), receipt_base: String::new(), sites: Default::default() };
        for partition in self.scene.shard.partitions() {
            for (_, hosted) in partition.sessions.iter() {
                let session = hosted.state();
                let _ = archive_record::closed(session, &tariff).map(|closed| closed.check());
                let _ = archive_record::receipt(session, &tariff, &billing).map(|signed| signed.receipt.to_text());
                assert!(
                    session.payment.captured().minor
                        <= session.payment.authorized().minor.max(0).max(
                            session
                                .payment
                                .holds()
                                .iter()
                                .map(|hold| hold.authorized_minor)
                                .fold(0, i64::saturating_add)
                        )
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_number_at_any_door_ends_the_process(extremes in extremes()) {
        let steps = extremes.steps.clone();
        let mut run = Run::new(extremes);
        run.begin();
        for step in steps {
            run = run.take(step);
            run.check_all();
        }
    }
}

/// No meter shows more than a terawatt hour, and no clock the year 1999: recorded, not billed, and the next reading goes on.
#[test]
fn implausible_figures_are_recorded_and_not_billed() {
    let mut scene = Scene::with(|policy| (policy.clock_ahead_max, policy.backlog_max) = (None, None));
    scene.hello("AMS-0007", Vec::new());
    scene.start(1, CredentialKind::CardToken, "tok_visa");
    let authorize = scene.asked();
    scene.approve(&authorize);
    scene.received();
    let good = scene.reading_of(1, 0);
    let (register, at) = (crate::limits::REGISTER_MAX, crate::limits::READ_UNTIL);
    let wrong = [
        (MeterReading { register: Energy::from_microwatt_hours(register + 1), ..good }, Code::RegisterJumps),
        (MeterReading { register: Energy::from_microwatt_hours(-register - 1), ..good }, Code::RegisterFalls),
        (MeterReading { at: Timestamp::from_unix_ms(at), ..good }, Code::TimeImplausible),
        (MeterReading { at: Timestamp::from_unix_ms(crate::limits::READ_FROM - 1), ..good }, Code::TimeImplausible),
    ];
    for (sequence, (reading, expected)) in (1..).zip(wrong) {
        let reading = MeterReading { sequence, ..reading };
        scene.send(FromCharger::Reading { session: SessionKey(1), reading });
        let received = scene.received();
        assert!(
            matches!(&received[..], [ToCharger::SessionRejected { code, .. }] if *code == expected),
            "{received:?}"
        );
    }
    scene.reading(1, 5, 300);
    assert!(matches!(scene.received()[..], [ToCharger::MeterAck(ack)] if ack.up_to == 5));
    assert_eq!(scene.session().meter.energy(), Energy::from_watt_hours(300).unwrap());
}

/// As it was found: a register at one end of the range, and a connector of 300 TW.
#[test]
fn a_register_at_the_end_of_the_range_is_a_reading_that_is_not_believed() {
    for register in [i64::MIN, i64::MAX] {
        let extremes = Extremes {
            tariff: TARIFF.to_owned(),
            clocks: false,
            power_max: 300_000_000_000_000_000,
            start: (START - 3_600_000, register),
            steps: Vec::new(),
        };
        let mut run = Run::new(extremes);
        run.begin();
        for (ms, rise) in [(3_000_000, i64::MAX), (600_000, i64::MAX), (1, i64::MIN), (1, 0), (1, i64::MAX)] {
            run = run.take(Step::Onward { ms, rise, power: Some(i64::MAX) });
        }
        run.check_all();
    }
}
