//! For any scenario of the meter and any answers of the processor, the cost stays within the authorized amount.
//!
//! The slack that physics needs is `stop_latency`: what the session may cost in that time at the connector's full power is
//! kept back. Two thirds of it are for the next reading to come, or for the clock to notice that none does; in the last
//! third a reading is on its way, the order to stop travels, and the contactor opens.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

/// How a processor takes an operation that raises or lowers a total.
#[derive(Clone, Copy, Debug)]
enum Reply {
    Approves,
    ApprovesPart(u16),
    Declines(DeclineClass),
    NeverReached,
    Silent,
}

/// A stretch between two readings.
#[derive(Clone, Copy, Debug)]
struct Interval {
    seconds: u16,
    /// Power, in thousandths of the connector's.
    power: u16,
    /// How long the reading is on its way, in thousandths of a third of the stop latency.
    lag: u16,
}

#[derive(Clone, Debug)]
struct Scenario {
    tariff: String,
    power_kw: i64,
    first_hold_major: u32,
    stop_latency: u16,
    /// How long the charger takes to stop, in thousandths of a third of the stop latency less what its readings lag.
    stopping: u16,
    intervals: Vec<Interval>,
    replies: Vec<(Reply, u16)>,
    increments_max: u8,
}

fn tariffs() -> impl Strategy<Value = String> {
    let price = |most: u32| (0..most).prop_map(|cents| format!("{}.{:02}", cents / 100, cents % 100));
    let steps = prop_oneof![Just(1_u32), Just(60), Just(900)];
    (price(120), price(400), price(1_500), price(300), steps, price(120), 1_u32..6).prop_map(
        |(energy, time, parking, flat, step, later, hours)| {
            format!(
                r#"{{"country_code": "NL", "party_id": "WST", "id": "T", "currency": "EUR",
                "elements": [
                  {{"price_components": [{{"type": "FLAT", "price": {flat}, "vat": 21.0, "step_size": 1}}]}},
                  {{"price_components": [{{"type": "ENERGY", "price": {energy}, "vat": 21.0, "step_size": {step}}},
                                         {{"type": "TIME", "price": {time}, "vat": 21.0, "step_size": {step}}}],
                    "restrictions": {{"max_duration": {}}}}},
                  {{"price_components": [{{"type": "ENERGY", "price": {later}, "vat": 21.0, "step_size": 1}},
                                         {{"type": "PARKING_TIME", "price": {parking}, "vat": 21.0, "step_size": 60}}]}}
                ], "last_updated": "2026-01-01T00:00:00Z"}}"#,
                hours * 1_800
            )
        },
    )
}

fn courses() -> impl Strategy<Value = Scenario> {
    let reply = prop_oneof![
        6 => Just(Reply::Approves),
        2 => (1_u16..1_000).prop_map(Reply::ApprovesPart),
        2 => Just(Reply::Declines(DeclineClass::Soft)),
        1 => Just(Reply::Declines(DeclineClass::Hard)),
        1 => Just(Reply::NeverReached),
        1 => Just(Reply::Silent),
    ];
    let first = prop_oneof![4 => Just(Reply::Approves), 1 => (200_u16..1_000).prop_map(Reply::ApprovesPart)];
    let seconds = prop_oneof![8 => 1_u16..60, 2 => 60_u16..400];
    let power = prop_oneof![4 => Just(1_000_u16), 3 => 0_u16..1_000, 1 => Just(0_u16)];
    let interval = (seconds, power, 0_u16..1_000).prop_map(|(seconds, power, lag)| Interval { seconds, power, lag });
    (
        tariffs(),
        prop_oneof![Just(4_i64), Just(11), Just(22), Just(150), Just(350)],
        1_u32..40,
        prop_oneof![Just(30_u16), Just(90), Just(180)],
        0_u16..1_000,
        proptest::collection::vec(interval, 1..60),
        (first, proptest::collection::vec((reply, 0_u16..40), 0..12)),
        0_u8..12,
    )
        .prop_map(
            |(tariff, power_kw, first_hold_major, stop_latency, stopping, intervals, replies, increments_max)| {
                Scenario {
                    replies: std::iter::once((replies.0, 1)).chain(replies.1).collect(),
                    tariff,
                    power_kw,
                    first_hold_major,
                    stop_latency,
                    stopping,
                    intervals,
                    increments_max,
                }
            },
        )
}

/// A charger, its meter, and a processor that answers in its own time.
struct Drive {
    scene: Scene,
    scenario: Scenario,
    /// µWh since the start, in thousandths.
    register: i128,
    sequence: u32,
    asked: usize,
    answers: VecDeque<(i64, Operation, Reply)>,
    /// Readings on their way, by the second in which they arrive.
    on_the_way: VecDeque<(i64, MeterReading)>,
    second: i64,
    stop_at: Option<i64>,
}

impl Drive {
    fn new(scenario: Scenario) -> Drive {
        let policy = Policy {
            first_hold_minor: i64::from(scenario.first_hold_major) * 100,
            stop_latency: TimeSpan::from_secs(i64::from(scenario.stop_latency)),
            ..Policy::default()
        };
        let node_config = house_of(policy, &scenario.tariff);
        let mut scene = Scene::in_house(MemoryStore::new(64), node_config, Scene::beginning());
        scene.routes(|routes| {
            let can = &mut routes.registry.processors.get_mut(&acme()).unwrap().capabilities;
            can.increments_max = scenario.increments_max;
        });
        let hello = ChargerHello {
            numbering: Default::default(),
            charger: ChargerId::new("AMS-0007").unwrap(),
            connectors: vec![ConnectorInfo {
                id: ConnectorId(1),
                power_max: Power::from_watts(scenario.power_kw * 1_000).unwrap(),
            }],
            firmware: "1.0".into(),
            clock: scene.now.wall,
            sessions: Vec::new(),
        };
        scene.shard.hello(scene.link, &hello, scene.now).unwrap();
        scene.settle();
        scene.start(1, CredentialKind::CardToken, "tok_visa");
        Drive {
            scene,
            scenario,
            register: 0,
            sequence: 0,
            asked: 0,
            answers: VecDeque::new(),
            on_the_way: VecDeque::new(),
            second: 0,
            stop_at: None,
        }
    }

    fn third(&self) -> i64 {
        i64::from(self.scenario.stop_latency) / 3
    }

    fn lag(&self, interval: Interval) -> i64 {
        i64::from(interval.lag) * (self.third() / 2) / 1_000
    }

    /// Runs to the end of the session, and returns whether energy was ever given.
    fn run(&mut self, lateness: i64) -> bool {
        self.listen(lateness);
        while !self.answers.is_empty() && !self.admitted() {
            self.pass(0, lateness);
            if self.second > 200 || self.scene.session().ended().is_some() {
                return false;
            }
        }
        if !self.admitted() {
            return false;
        }
        for interval in self.scenario.intervals.clone() {
            for _ in 0..interval.seconds {
                self.pass(interval.power, lateness);
                if self.over(false) {
                    return true;
                }
            }
            let reading = self.reading();
            self.on_the_way.push_back((self.second + self.lag(interval), reading));
        }
        self.over(true);
        true
    }

    fn admitted(&self) -> bool {
        matches!(self.scene.session().stage, crate::session::Stage::Charging { .. })
    }

    fn reading(&mut self) -> MeterReading {
        self.sequence += 1;
        let uwh = i64::try_from(self.register / 1_000).unwrap();
        let register =
            Energy::from_watt_hours(909_000).unwrap().checked_add(Energy::from_microwatt_hours(uwh)).unwrap();
        MeterReading { sequence: self.sequence, at: self.scene.now.wall, register, power: None, current: None }
    }

    /// A second: the car takes what it takes, answers and readings arrive.
    fn pass(&mut self, power: u16, lateness: i64) {
        self.second += 1;
        let milliwatts = i128::from(self.scenario.power_kw) * 1_000_000 * i128::from(power) / 1_000;
        self.register += milliwatts * 1_000 * 1_000 / 3_600;
        self.scene.pass(1);
        self.listen(lateness);
        while let Some((_, reading)) = self.on_the_way.pop_front_if(|(at, _)| *at <= self.second) {
            self.scene.send(FromCharger::Reading { session: SessionKey(1), reading });
            self.listen(lateness);
        }
        let due: Vec<usize> = (0..self.answers.len()).rev().filter(|n| self.answers[*n].0 <= self.second).collect();
        for index in due {
            let (_, operation, reply) = self.answers.remove(index).unwrap();
            self.answer(&operation, reply);
            self.listen(lateness);
        }
    }

    fn listen(&mut self, lateness: i64) {
        for operation in std::mem::take(&mut self.scene.operations) {
            let (reply, delay) = self.scenario.replies[self.asked % self.scenario.replies.len()];
            self.asked += 1;
            self.answers.push_back((self.second + i64::from(delay), operation, reply));
        }
        for message in self.scene.received() {
            if matches!(message, ToCharger::StopNow { .. }) && self.stop_at.is_none() {
                let longest = (self.third() - self.third() / 2).max(0);
                let wait = longest * i64::from(self.scenario.stopping) / 1_000;
                self.stop_at = Some(self.second + wait + lateness);
            }
        }
    }

    fn answer(&mut self, operation: &Operation, reply: Reply) {
        let kind = operation.request.kind();
        let raising = matches!(kind, OperationKind::Authorize | OperationKind::Increment);
        match reply {
            _ if kind == OperationKind::Inquire => self.scene.answer(operation, Outcome::NotFound),
            Reply::ApprovesPart(part) if raising => {
                let (Request::Authorize { amount: asked, .. } | Request::Increment { new_total: asked, .. }) =
                    operation.request
                else {
                    return;
                };
                let minor = (asked.minor * i64::from(part) / 1_000).max(1);
                let outcome = Outcome::Approved {
                    amount: Amount::new(minor, Currency::EUR),
                    processor_ref: ProcessorRef("auth-1".into()),
                    expires_at: None,
                };
                self.scene.answer(operation, outcome);
            }
            Reply::Declines(class) if raising || kind == OperationKind::Decrement => {
                self.scene.decline(operation, class);
            }
            Reply::NeverReached if raising => self.scene.not_sent(operation),
            Reply::Silent if raising => {}
            _ => self.scene.approve(operation),
        }
    }

    /// The energy has stopped as ordered, or (`now`) the driver ends it: the last reading is on its way.
    fn over(&mut self, now: bool) -> bool {
        if self.scene.session().ended().is_some() {
            return true;
        }
        if !now && self.stop_at.is_none_or(|at| self.second < at) {
            return false;
        }
        while let Some((_, reading)) = self.on_the_way.pop_front() {
            self.scene.send(FromCharger::Reading { session: SessionKey(1), reading });
        }
        let last = self.reading();
        self.scene.send(FromCharger::Stop { session: SessionKey(1), last, reason: StopReason::Remote });
        // All open requests are answered in the end.
        for _ in 0..400 {
            self.pass(0, 0);
        }
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_cost_never_exceeds_what_is_authorized_for_any_course_of_the_meter(scenario in courses()) {
        let mut drive = Drive::new(scenario);
        if drive.run(0) {
            let session = drive.scene.session();
            let payable = session.ended().expect("it is over").payable;
            prop_assert_eq!(session.payment.shortfall().minor, 0, "nothing is owed beyond what was held");
            prop_assert_eq!(session.payment.captured(), payable, "and all of it is taken");
        }
    }

    #[test]
    fn not_even_a_charger_that_does_not_stop_makes_the_gate_take_more_than_is_authorized(
        scenario in courses(),
        lateness in 60_i64..2_000,
    ) {
        let mut drive = Drive::new(scenario);
        if drive.run(lateness) {
            let session = drive.scene.session();
            let payable = session.ended().expect("it is over").payable;
            for hold in session.payment.holds() {
                prop_assert!(hold.captured_minor <= hold.authorized_minor);
            }
            let (captured, shortfall) = (session.payment.captured(), session.payment.shortfall());
            prop_assert_eq!(captured.checked_add(shortfall).unwrap(), payable, "the rest is owed, and not forgotten");
        }
    }
}

/// The reserve is what makes the difference: without it the same scenario ends with a debt.
#[test]
fn without_a_reserve_the_same_course_ends_with_a_debt() {
    let scenario = |stop_latency| Scenario {
        tariff: TARIFF.replace("0.14", "1.00"),
        power_kw: 350,
        first_hold_major: 30,
        stop_latency,
        stopping: 999,
        intervals: vec![Interval { seconds: 55, power: 1_000, lag: 0 }; 10],
        replies: vec![(Reply::Approves, 0), (Reply::Declines(DeclineClass::Hard), 0), (Reply::Approves, 0)],
        increments_max: 10,
    };
    let owed = |stop_latency, lateness| {
        let mut drive = Drive::new(scenario(stop_latency));
        assert!(drive.run(lateness));
        drive.scene.session().payment.shortfall().minor
    };
    assert_eq!(owed(90, 0), 0);
    assert!(owed(3, 30) > 0, "a charger that needs half a minute, and a gate that believes in three seconds");
}

/// An approval of more funds without a new reading must not reset the watch: the car may have used energy since the
/// last reading, and the same time could be spent twice.
#[test]
fn funds_that_come_while_the_charger_is_quiet_do_not_make_its_silence_shorter() {
    let reading_then_silence = [30, 2_000].map(|seconds| Interval { seconds, power: 1_000, lag: 0 });
    let scenario = Scenario {
        tariff: TARIFF.replace("0.14", "1.00"),
        power_kw: 150,
        first_hold_major: 10,
        stop_latency: 30,
        stopping: 999,
        intervals: reading_then_silence.to_vec(),
        replies: vec![(Reply::Approves, 1), (Reply::ApprovesPart(200), 18), (Reply::Declines(DeclineClass::Hard), 0)],
        increments_max: 1,
    };
    let first_hold = i64::from(scenario.first_hold_major) * 100;
    let mut drive = Drive::new(scenario);
    assert!(drive.run(0));
    let session = drive.scene.session();
    assert_eq!(session.payment.shortfall().minor, 0, "nothing is owed beyond what was held");
    let captured = session.payment.captured().minor;
    assert!(captured > first_hold, "the funds did come: {captured}");
}
