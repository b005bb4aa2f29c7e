//! One payment after the other against reference processors, over a network that loses, repeats, reorders and delays,
//! with a gate that dies at any moment. After every step the books are compared.
//!
//! The number of steps comes from `WATTSTILE_MODEL_STEPS`; a failure prints the seed of its run, which
//! `WATTSTILE_MODEL_SEED` repeats.

use super::harness::{eur, everything, processor, token};
use super::processor::{Processor, Rng};
use proptest::prelude::*;
use std::collections::BTreeMap;
use wattstile::payment::{
    AcknowledgeCode, Alarm, Answer, CallbackId, Command, Decision, Effect, Ending, Event, Extent, HoldCapabilities,
    Notification, Operation, OperationKind, Outcome, Payment, Phase, Policy, Request, Stage, VoidReason, apply, decide,
    resume,
};
use wattstile::stored::{from_bytes, to_bytes};
use wattstile::units::{Currency, Mono, Now, OpId, PartitionId, PaymentId, TimeSpan, Timestamp};

const NAMES: [&str; 2] = ["acme", "other"];

/// Rolls of a seed.
struct Seeded(wattstile::units::rng::Rng);

impl Rng for Seeded {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0.below(sides)
    }
}

/// Rolls that were written down, so that proptest can shrink them; zero ever after.
struct Script(Vec<u16>, usize);

impl Rng for Script {
    fn roll(&mut self, sides: u64) -> u64 {
        let rolled = self.0.get(self.1).copied().unwrap_or(0);
        self.1 += 1;
        u64::from(rolled) % sides.max(1)
    }
}

enum Mail {
    Request(Operation),
    Answer(usize, Answer),
    Report(CallbackId),
}

/// One payment and its world.
struct World<D> {
    rng: D,
    policy: Policy,
    payment: Payment,
    /// The journal: decisions, each durable or not, with the effects that wait for it.
    journal: Vec<Vec<u8>>,
    pending: Vec<(Vec<Vec<u8>>, Vec<Effect>)>,
    now: Now,
    processors: [Processor; 2],
    mail: Vec<(Timestamp, Mail)>,
    callbacks: u128,
    /// What a processor reported unasked and has no acknowledgement for.
    reports: BTreeMap<CallbackId, (usize, Notification)>,
    owed: i64,
    calm: bool,
    steps: u64,
    history: Vec<String>,
    settled_events: u32,
    unresolved: bool,
}

impl<D: Rng> World<D> {
    fn new(mut rng: D) -> World<D> {
        let start = Timestamp::from_unix_ms(1_763_833_500_000);
        let mut capabilities = everything();
        capabilities.overcapture_percent = [0, 0, 15][rng.roll(3) as usize];
        capabilities.multiple_captures = rng.once_in(3);
        capabilities.replay_after_error_safe = rng.once_in(2);
        capabilities.increments_max = 3;
        capabilities.idempotent_replay = TimeSpan::from_secs([0, 600, 86_400 * 90][rng.roll(3) as usize]);
        capabilities.inquiry_authoritative_after =
            [None, Some(TimeSpan::from_secs(30)), Some(TimeSpan::from_secs(60))][rng.roll(3) as usize];
        if capabilities.idempotent_replay.whole_secs() > 86_400 && rng.once_in(2) {
            capabilities.kinds.retain(|kind| *kind != OperationKind::Inquire);
        }
        let policy = Policy { double_hold: rng.once_in(2), ..Policy::default() };
        let payment = PaymentId::new(start, PartitionId(1), rng.roll(1 << 40));
        World {
            rng,
            policy,
            payment: Payment::new(payment, Currency::EUR),
            journal: Vec::new(),
            pending: Vec::new(),
            now: Now { wall: start, mono: Mono(1_000) },
            processors: [Processor::new(capabilities.clone()), Processor::new(capabilities)],
            mail: Vec::new(),
            callbacks: 0,
            reports: BTreeMap::new(),
            owed: 0,
            calm: false,
            steps: 0,
            history: Vec::new(),
            settled_events: 0,
            unresolved: false,
        }
    }

    fn order(&mut self, command: Command) {
        let happened = format!("{} {command:?}", self.now.wall);
        let decision = decide(&self.payment, command, self.now, &self.policy);
        self.history.push(format!("{happened} -> {:?}", decision.events));
        self.commit(decision);
    }

    fn commit(&mut self, decision: Decision) {
        let mut stored = Vec::new();
        for event in &decision.events {
            apply(&mut self.payment, event);
            stored.push(to_bytes(event));
        }
        self.payment.arm(self.now, &self.policy);
        self.pending.push((stored, decision.effects.into_vec()));
    }

    /// Pending data becomes durable, and its effects leave.
    fn flush(&mut self) {
        for (events, effects) in std::mem::take(&mut self.pending) {
            for event in &events {
                let event: Event = from_bytes(event).expect("an event decodes");
                self.settled_events += u32::from(matches!(event, Event::Settled { .. }));
            }
            self.journal.extend(events);
            for effect in effects {
                match effect {
                    Effect::Send(operation) => self.post(operation),
                    Effect::Alarm { alarm, .. } => self.unresolved |= alarm == Alarm::Unresolved,
                    // A premature message is repeated, like an unacknowledged one.
                    Effect::Acknowledge { code: AcknowledgeCode::Early, .. } | Effect::Refuse(_) => {}
                    Effect::Acknowledge { callback, .. } => drop(self.reports.remove(&callback)),
                }
            }
        }
    }

    /// Notifications of a processor, in random order.
    fn report_later(&mut self, from: usize) {
        for (hold, kind, minor) in std::mem::take(&mut self.processors[from].reports) {
            self.callbacks += 1;
            let callback = CallbackId(self.callbacks);
            let report = Notification { callback, hold, kind, amount: eur(minor), occurred_at: self.now.wall };
            self.reports.insert(callback, (from, report));
            self.deliver_later(Mail::Report(callback));
        }
    }

    /// The payment rebuilt from the durable journal.
    fn replayed(&self) -> Payment {
        let mut payment = Payment::new(self.payment.id(), Currency::EUR);
        for event in &self.journal {
            apply(&mut payment, &from_bytes(event).expect("an event decodes"));
        }
        payment
    }

    /// An operation leaves the gate: its fact is durable, or this is a violation.
    fn post(&mut self, operation: Operation) {
        let about = match operation.request {
            Request::Inquire { target } => target,
            _ => operation.id,
        };
        let durable = self.replayed();
        let known = durable.live_operations().iter().map(|op| op.number);
        let known = known.chain(durable.past_operations().iter().map(|op| op.number));
        let ids: Vec<OpId> = known.map(|number| durable.operation_id(number)).collect();
        assert!(ids.contains(&about), "{about} left before it was durable");
        if !self.calm && self.rng.once_in(12) {
            let (operation, attempt) = (operation.id, operation.attempt);
            return self.order(Command::NotSent { operation, attempt });
        }
        if !self.calm && self.rng.once_in(12) {
            // The connection breaks on the way; the operation may have arrived or not.
            let (id, attempt) = (operation.id, operation.attempt);
            if self.rng.once_in(2) {
                self.deliver_later(Mail::Request(operation));
            }
            return self.order(Command::ConnectionLost { operation: id, attempt });
        }
        if !self.calm && self.rng.once_in(8) {
            return;
        }
        let recognises = self.processors[0].capabilities.idempotent_replay > TimeSpan::ZERO;
        if !self.calm && recognises && self.rng.once_in(10) {
            self.deliver_later(Mail::Request(operation.clone()));
        }
        self.deliver_later(Mail::Request(operation));
    }

    fn deliver_later(&mut self, mail: Mail) {
        // A request lives for 30 seconds at most; an answer may take much longer.
        let slow = match mail {
            Mail::Request(_) => 29_000,
            Mail::Answer(..) | Mail::Report(_) => 200_000,
        };
        let delay = if self.calm {
            50
        } else {
            match self.rng.roll(4) {
                0 => self.rng.roll(slow),
                _ => self.rng.roll(500),
            }
        };
        self.mail.push((self.now.wall.saturating_add(TimeSpan::from_ms(delay as i64)), mail));
    }

    fn answer_later(&mut self, from: usize, operation: &Operation, outcome: Outcome) {
        if !self.calm && self.rng.once_in(8) {
            return;
        }
        self.callbacks += 1;
        let callback = CallbackId(self.callbacks);
        let answer = Answer { callback, operation: operation.id, hold: operation.hold, outcome };
        if !self.calm && self.rng.once_in(8) {
            self.deliver_later(Mail::Answer(from, answer.clone()));
        }
        if !self.calm && self.rng.once_in(16) {
            // The same again under another number.
            self.callbacks += 1;
            let again = Answer { callback: CallbackId(self.callbacks), ..answer.clone() };
            self.deliver_later(Mail::Answer(from, again));
        }
        self.deliver_later(Mail::Answer(from, answer));
    }

    /// Delivers everything that is due, in random order.
    fn deliver(&mut self) {
        for from in 0..2 {
            for (operation, outcome) in self.processors[from].decide_pending(self.now.wall, &mut self.rng) {
                self.answer_later(from, &operation, outcome);
            }
        }
        while let Some(index) = self.pick_due() {
            match self.mail.swap_remove(index).1 {
                Mail::Request(operation) => {
                    let to = NAMES.iter().position(|name| *name == operation.processor.as_str()).expect("a processor");
                    let outcome = self.processors[to].receive(&operation, self.now.wall, &mut self.rng);
                    self.history.push(format!("{} {to} got {operation:?} -> {outcome:?}", self.now.wall));
                    self.answer_later(to, &operation, outcome);
                    self.report_later(to);
                }
                Mail::Report(callback) => {
                    let Some((from, notification)) = self.reports.get(&callback).cloned() else { continue };
                    let again = self.now.wall.saturating_add(TimeSpan::from_secs(15));
                    self.mail.push((again, Mail::Report(callback)));
                    if self.calm || !self.rng.once_in(8) {
                        self.order(Command::Notification { from: processor(NAMES[from]), notification });
                    }
                }
                Mail::Answer(from, answer) => self.order(Command::Answer { from: processor(NAMES[from]), answer }),
            }
            if self.calm || !self.rng.once_in(5) {
                self.flush();
            }
        }
    }

    fn pick_due(&mut self) -> Option<usize> {
        let due: Vec<usize> = (0..self.mail.len()).filter(|index| self.mail[*index].0 <= self.now.wall).collect();
        let count = due.len() as u64;
        (count > 0).then(|| due[self.rng.roll(count) as usize])
    }

    /// Lets time pass: to the next deadline, delivery or decision, at most `span`.
    fn pass(&mut self, span: TimeSpan) {
        self.flush();
        let end = self.now.wall.saturating_add(span);
        let deadline = self.payment.next_deadline(self.now, &self.policy);
        let tick = deadline.map(|due| self.now.wall.saturating_add(due.since(self.now.mono)));
        let mail = self.mail.iter().map(|(at, _)| *at).min();
        let next = [tick, mail].into_iter().flatten().filter(|at| *at > self.now.wall).fold(end, Timestamp::min);
        let next = if tick.is_some_and(|tick| tick <= self.now.wall) { self.now.wall } else { next };
        let step = next.since(self.now.wall);
        self.now = Now { wall: next, mono: self.now.mono.after(step) };
        if self.payment.next_deadline(self.now, &self.policy).is_some_and(|due| due <= self.now.mono) {
            self.order(Command::Tick);
        }
        self.deliver();
    }

    /// The process crashes: facts that were not durable are gone, and so are the timers.
    fn crash(&mut self) {
        self.history.push("crash".into());
        self.pending.clear();
        self.payment = self.replayed();
        self.now.mono = Mono(1);
        let decision = resume(&self.payment, self.now, &self.policy).decision;
        self.history.push(format!("resumed -> {:?}", decision.events));
        self.commit(decision);
    }

    fn step(&mut self) {
        self.steps += 1;
        match self.rng.roll(40) {
            0..=3 => self.authorize(),
            4..=6 => {
                let total = self.payment.authorized().minor + 1 + self.rng.roll(2_000) as i64;
                self.order(Command::IncreaseTo(eur(total)));
            }
            7 => {
                let total = self.rng.roll(4_000) as i64 - 10;
                self.order(Command::DecreaseTo(eur(total)));
            }
            8 | 9 => {
                self.owed += self.rng.roll(900) as i64;
                self.order(Command::Capture { owed: eur(self.owed), extent: Extent::Interim });
            }
            10 if self.rng.once_in(3) => {
                self.owed += self.rng.roll(6_000) as i64;
                self.order(Command::Capture { owed: eur(self.owed), extent: Extent::Final });
            }
            11 if self.rng.once_in(4) => self.order(Command::Release(VoidReason::NoStart)),
            12 | 13 => {
                let amount = self.rng.roll(1_500) as i64 - 20;
                self.order(Command::Refund(eur(amount)));
            }
            14 if self.rng.once_in(3) => {
                let count = self.payment.holds().len() as u64;
                let index = self.rng.roll(count.max(1)) as usize;
                if let Some(hold) = self.payment.holds().get(index).map(|hold| hold.number) {
                    self.order(Command::ReleaseByOperator { hold });
                }
            }
            15 => self.crash(),
            16..=18 => self.flush(),
            19 if self.rng.once_in(4) => self.pass(TimeSpan::from_secs(86_400)),
            _ => self.pass(TimeSpan::from_secs(60)),
        }
        self.check();
    }

    fn authorize(&mut self) {
        let to = self.rng.roll(2) as usize;
        let capabilities = HoldCapabilities::of(&self.processors[to].capabilities);
        let amount = eur(1 + self.rng.roll(5_000) as i64);
        let processor = processor(NAMES[to]);
        let command = if self.rng.once_in(5) {
            Command::StandIn { processor, capabilities, credential: token(), amount, floor: eur(1_000) }
        } else {
            Command::Authorize { processor, capabilities, credential: token(), amount, partial_ok: self.rng.once_in(2) }
        };
        self.order(command);
    }

    /// What holds at every moment.
    fn check(&self) {
        let payment = &self.payment;
        assert!(payment.refunded().minor <= payment.captured().minor, "more given back than taken: {payment:?}");
        assert!(payment.refundable().minor >= 0 && payment.spendable().minor >= 0);
        for hold in payment.holds() {
            let over = hold.authorized_minor * i64::from(hold.capabilities().overcapture_percent) / 100;
            assert!(hold.captured_minor <= hold.authorized_minor + over, "over-captured: {hold:?}");
        }
        for processor in &self.processors {
            assert!(processor.violations.is_empty(), "{:?}", processor.violations);
        }
    }

    /// No more faults, a final order, and time to come to rest; then both books are compared.
    fn finish(&mut self) {
        self.calm = true;
        self.processors.iter_mut().for_each(|processor| processor.quiet = true);
        self.flush();
        if self.owed > 0 {
            self.order(Command::Capture { owed: eur(self.owed), extent: Extent::Final })
        } else {
            self.order(Command::Release(VoidReason::NoStart))
        }
        for _ in 0..3_000 {
            self.steps += 1;
            self.pass(TimeSpan::from_secs(86_400));
            self.check();
            let deadline = self.payment.next_deadline(self.now, &self.policy);
            if self.mail.is_empty() && self.pending.is_empty() && deadline.is_none() {
                break;
            }
        }
        self.flush();
        let payment = &self.payment;
        assert_eq!(self.replayed(), *payment, "replayed and live are the same");
        let stuck = payment.live_operations().iter().all(|op| matches!(op.phase, Phase::Unknown { .. }));
        if !payment.is_settled() {
            // Only where the processor offers no way to find out: no replay any more, and no binding inquiry.
            let can = &self.processors[0].capabilities;
            let inquires = can.kinds.contains(&OperationKind::Inquire) && can.inquiry_authoritative_after.is_some();
            let replays = can.idempotent_replay.whole_secs() > 600 && can.replay_after_error_safe;
            let no_way = !inquires && !replays;
            assert!(stuck && no_way && self.unresolved, "does not come to rest: {payment:?}");
        }
        // What can never be found out leaves a hold to lapse by its age, and only that.
        let later = if payment.is_settled() { 0 } else { 8 };
        let at = self.now.wall.saturating_add(TimeSpan::from_secs(later * 86_400));
        for processor in &mut self.processors {
            assert_eq!(processor.open_holds(at), 0, "orphan hold: {:?}", processor.holds);
        }
        let mut refundable_minor = 0;
        for hold in payment.holds() {
            assert!(matches!(hold.stage, Stage::Closed(_)) || !payment.is_settled(), "{hold:?}");
            let number = NAMES.iter().position(|name| *name == hold.processor().as_str()).expect("a processor");
            let id = payment.hold_id(hold.number);
            let known = payment.live_operations().iter().all(|op| op.hold != hold.number);
            let Some(books) = self.processors[number].holds.get(&id) else {
                assert_eq!((hold.captured_minor, hold.refunded_minor), (0, 0), "{hold:?}");
                continue;
            };
            if known {
                let refundable = books.captured - books.refunded - books.disputed;
                refundable_minor += refundable.max(0);
                let ours = (hold.captured_minor, hold.refunded_minor);
                assert_eq!(ours, (books.captured, books.refunded), "{hold:?} {books:?}");
            }
            assert_ne!(hold.stage, Stage::Closed(Ending::NotExecuted), "a hold that exists was executed");
        }
        if payment.live_operations().is_empty() {
            assert!(self.reports.is_empty(), "never taken in: {:?}", self.reports);
            assert_eq!(payment.refundable().minor, refundable_minor, "disputes are known: {payment:?}");
        }
        let settles = self.settled_events;
        assert!(settles >= 1 || !payment.is_settled(), "the end was not announced: {payment:?}");
    }
}

fn run(rng: impl Rng, steps: u64) -> (u64, Vec<String>, std::thread::Result<()>) {
    let mut world = World::new(rng);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..steps {
            world.step();
        }
        world.finish();
    }));
    (world.steps, world.history, outcome)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

#[test]
fn random_payments_keep_every_promise() {
    let total = number("WATTSTILE_MODEL_STEPS").unwrap_or(30_000);
    let only = number("WATTSTILE_MODEL_SEED");
    let mut seed = only.unwrap_or(1);
    let mut done = 0;
    let mut payments = 0_u64;
    while done < total {
        let length = 20 + Seeded(wattstile::units::rng::Rng::new(seed ^ 0x5eed)).roll(180);
        let (steps, history, outcome) = run(Seeded(wattstile::units::rng::Rng::new(seed)), length);
        if let Err(panic) = outcome {
            for line in history.iter().rev().take(150).rev() {
                println!("{line}");
            }
            println!("repeat with WATTSTILE_MODEL_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
        done += steps;
        payments += 1;
        seed += 1;
        if only.is_some() {
            break;
        }
    }
    println!("{done} steps in {payments} payments");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn scripted_payments_keep_every_promise(script in proptest::collection::vec(any::<u16>(), 0..600)) {
        let (_, _, outcome) = run(Script(script, 0), 60);
        prop_assert!(outcome.is_ok());
    }
}
