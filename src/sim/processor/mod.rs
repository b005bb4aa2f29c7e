//! A simulated payment processor: stateful, repeatable by seed, and with the faults of real ones on demand.
//!
//! [`Processor::decide`] takes an operation and the time, updates its books, and returns actions with their times:
//! answers, notifications, a closed connection. It has no clock, no socket and no timer; the caller waits. Faults are
//! selected by the credential (magic tokens), by the amount (magic amounts) or at random ([`Rates`]), by numbers that
//! depend on the seed and the operation alone, not on the order in which operations arrive.

mod books;
mod memory;
mod report;
mod script;
mod service;
mod settle;

pub use books::{Books, Hold, HoldState, Violations};
pub use report::{BooksReport, HoldLine, Totals};
pub use script::{MAGIC_AMOUNT_MINOR, MAGIC_WORDS, Misbehaviour, Rates};
pub use service::{Lines, Service, ServiceReport};

use crate::message::SettlementPart;
use crate::payment::{
    Answer, CallbackId, Capabilities, Decline, DeclineClass, Notification, NotificationKind, Operation, OperationKind,
    Outcome, Request,
};
use crate::units::rng::Rng;
use crate::units::{Amount, Currency, HoldId, OpId, ProcessorId, TimeSpan, Timestamp};
use books::{Capture, Refused, Reservation, Worked};
pub use memory::{Memory, MemoryError};
use script::{Aftermath, Script};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How a simulated processor is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its name; operations for another one are refused.
    pub id: ProcessorId,
    /// Repeats everything random.
    pub seed: u64,
    /// What it declares, and keeps to.
    pub capabilities: Capabilities,
    /// How long it takes to answer.
    pub latency: Latency,
    /// How often it misbehaves by itself.
    pub rates: Rates,
    /// Funds of every credential in every currency, in minor units, unless its token sets another amount.
    pub opening_balance_minor: i64,
}

/// How long a processor takes to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// In the middle: half of the answers take longer. Spread evenly from half of this to one and a half.
    pub median: TimeSpan,
    /// One answer in a hundred takes this long.
    pub tail: TimeSpan,
}

/// What a processor does about an operation, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// How long after the decision.
    pub after: TimeSpan,
    /// The kind of entry.
    pub act: Act,
}

/// What a processor does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Sends an answer.
    Answer(Answer),
    /// Reports something unasked.
    Notify(Notification),
    /// Sends a part of a settlement batch.
    Settle(SettlementPart),
    /// Closes the connection on which the operation came.
    Close,
    /// Gives this operation to [`Processor::arrive`]: it was stuck until now.
    Arrive(Box<Operation>),
}

/// A simulated processor with its books.
/// Its state can be written down; [`Settings`] come with the process.
#[derive(Clone, Debug)]
pub struct Processor {
    settings: Settings,
    books: Books,
    seen: BTreeMap<OpId, Seen>,
    tally: BTreeMap<OperationKind, u64>,
    misbehaved: BTreeMap<Misbehaviour, u64>,
    next_callback: u128,
    /// Operations that a batch has.
    settled: BTreeSet<OpId>,
    /// Nothing goes wrong any more, whatever was rolled or scripted.
    behaves: bool,
}

/// The known state of an operation id.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Seen {
    /// How often it came in, lost requests included.
    arrivals: u16,
    /// What was made of it, when it was worked on.
    worked: Option<WorkedOn>,
    /// Whether an error was answered; it comes back on a repetition unless that is declared safe.
    error: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct WorkedOn {
    at: Timestamp,
    hold: HoldId,
    request: Request,
    outcome: Outcome,
}

impl Settings {
    /// A processor that takes everything, in euro, and answers in 80 ms.
    pub fn new(id: ProcessorId, seed: u64) -> Settings {
        let hold_validity = TimeSpan::from_secs(5 * 24 * 3_600);
        let capabilities = Capabilities { hold_validity, ..Capabilities::everything(Currency::EUR) };
        Settings {
            id,
            seed,
            capabilities,
            latency: Latency { median: TimeSpan::from_ms(80), tail: TimeSpan::from_ms(400) },
            rates: Rates::default(),
            opening_balance_minor: 100_000_000,
        }
    }

    /// Answers at once and never misbehaves by itself: for replays and load.
    pub fn instant(id: ProcessorId) -> Settings {
        let latency = Latency { median: TimeSpan::ZERO, tail: TimeSpan::ZERO };
        let mut settings = Settings { latency, opening_balance_minor: i64::MAX / 4, ..Settings::new(id, 0) };
        settings.capabilities.inflight_max = 65_536;
        settings
    }
}

impl Processor {
    /// A processor with empty books. `born` makes its message numbers differ from those of an earlier run.
    pub fn new(settings: Settings, born: Timestamp) -> Processor {
        Processor {
            settings,
            books: Books::default(),
            seen: BTreeMap::new(),
            tally: BTreeMap::new(),
            misbehaved: BTreeMap::new(),
            next_callback: u128::from(born.unix_ms().unsigned_abs()) << 64,
            settled: BTreeSet::new(),
            behaves: false,
        }
    }

    /// How it is set up.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How often it misbehaves by itself from now on.
    pub fn set_rates(&mut self, rates: Rates) {
        self.settings.rates = rates;
    }

    /// From now on every operation is worked on and answered once, whatever token or amount is presented.
    pub fn behave(&mut self) {
        self.behaves = true;
    }

    /// Its books.
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// How many operations of each kind came in.
    pub fn received(&self) -> &BTreeMap<OperationKind, u64> {
        &self.tally
    }

    /// How often it misbehaved, and how.
    pub fn misbehaved(&self) -> &BTreeMap<Misbehaviour, u64> {
        &self.misbehaved
    }

    /// Processes an operation and returns the actions that follow.
    pub fn decide(&mut self, operation: &Operation, now: Timestamp) -> Vec<Step> {
        let kind = operation.request.kind();
        *self.tally.entry(kind).or_default() += 1;
        if operation.processor != self.settings.id {
            self.books.violations.wrong_processors += 1;
            return vec![self.answer(operation, declined(DeclineClass::State, "processor"), TimeSpan::ZERO)];
        }
        let seen = self.seen.entry(operation.id).or_default();
        seen.arrivals = seen.arrivals.saturating_add(1);
        let (arrivals, repeated) = (seen.arrivals, seen.worked.is_some());
        let mut rng = self.rng(operation.id, arrivals);
        let misbehaviour = self.misbehaviour(operation, arrivals, repeated, &mut rng);
        let latency = self.settings.latency.roll(&mut rng);
        match misbehaviour {
            None => {
                let mut steps = Vec::new();
                self.work_and_answer(operation, now, latency, &mut steps);
                steps
            }
            Some(misbehaviour) => {
                *self.misbehaved.entry(misbehaviour).or_default() += 1;
                self.misbehave(misbehaviour, operation, now, latency)
            }
        }
    }

    /// Takes in an operation that was stuck: it is worked on and answered well.
    pub fn arrive(&mut self, operation: &Operation, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        self.work_and_answer(operation, now, TimeSpan::ZERO, &mut steps);
        steps
    }

    /// Lets holds lapse that are due, and returns the notifications.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Notification> {
        let lapsed = self.books.expire(now);
        let mut notifications = Vec::with_capacity(lapsed.len());
        for (hold, amount) in lapsed {
            notifications.push(self.notification(hold, NotificationKind::AuthorizationExpired, amount, now));
        }
        notifications
    }

    /// When [`Processor::expire`] has something to do next.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.books.next_expiry()
    }

    fn rng(&self, operation: OpId, arrivals: u16) -> Rng {
        Rng::of(self.settings.seed, operation.as_u128() ^ u128::from(arrivals) << 48)
    }

    /// The fault for this arrival of an operation, by script or at random.
    fn misbehaviour(
        &self,
        operation: &Operation,
        arrivals: u16,
        repeated: bool,
        rng: &mut Rng,
    ) -> Option<Misbehaviour> {
        if self.behaves {
            return None;
        }
        let kind = operation.request.kind();
        let script = match &operation.request {
            Request::Authorize { credential, amount, .. } => Script::of(&credential.token, amount.minor),
            Request::Void { authorization, .. } => {
                let hold = self.books.hold_of(*authorization);
                hold.and_then(|hold| self.books.hold(hold)).map(|hold| hold.script).unwrap_or_default()
            }
            Request::Increment { .. }
            | Request::Decrement { .. }
            | Request::Capture { .. }
            | Request::Refund { .. }
            | Request::Inquire { .. } => self.books.hold(operation.hold).map(|hold| hold.script).unwrap_or_default(),
        };
        if let Some((scripted, misbehaviour)) = script.misbehave
            && scripted == kind
            && arrivals == 1
        {
            return Some(misbehaviour);
        }
        let rates = &self.settings.rates;
        if rates.well_from_attempt > 0 && arrivals >= rates.well_from_attempt {
            return None;
        }
        let rolled = rates.per_ten_thousand.iter().find(|(_, rate)| rng.chance(*rate)).map(|(found, _)| *found)?;
        // A repetition has its answer already: only the way of delivering it can still go wrong.
        let contradicts = matches!(
            rolled,
            Misbehaviour::Pending
                | Misbehaviour::ApprovedThenDeclined
                | Misbehaviour::DeclinedThenApproved
                | Misbehaviour::Delayed
        ) || rolled.decline().is_some();
        (rolled.rolled_for(kind) && !(repeated && contradicts)).then_some(rolled)
    }

    fn misbehave(
        &mut self,
        misbehaviour: Misbehaviour,
        operation: &Operation,
        now: Timestamp,
        latency: TimeSpan,
    ) -> Vec<Step> {
        // A clock far from the gate's must not make an answer wait for hours.
        let left = operation.decide_by.since(now).ms().clamp(1_000, 60_000);
        let late = TimeSpan::from_ms(left + left / 4);
        let moment = TimeSpan::from_ms(latency.ms() + left / 8);
        let mut steps = Vec::new();
        if let Some((class, code)) = misbehaviour.decline() {
            let outcome = declined(
                class,
                if operation.request.kind() == OperationKind::Increment && code == "51" { "61" } else { code },
            );
            self.remember(operation, now, &outcome);
            return vec![self.answer(operation, outcome, latency)];
        }
        match misbehaviour {
            Misbehaviour::Timeout => {}
            Misbehaviour::Drop => steps.push(Step { after: latency, act: Act::Close }),
            Misbehaviour::ErrorLost => {
                self.seen.entry(operation.id).or_default().error = true;
                steps.push(self.answer(operation, Outcome::Error, latency));
            }
            Misbehaviour::Delayed => {
                steps.push(Step { after: late, act: Act::Arrive(Box::new(operation.clone())) });
            }
            Misbehaviour::Silent => {
                self.work(operation, now, &mut steps);
            }
            Misbehaviour::DropDone => {
                self.work(operation, now, &mut steps);
                steps.push(Step { after: latency, act: Act::Close });
            }
            Misbehaviour::Error => {
                self.work(operation, now, &mut steps);
                self.seen.entry(operation.id).or_default().error = true;
                steps.push(self.answer(operation, Outcome::Error, latency));
            }
            Misbehaviour::Slow => {
                let after = TimeSpan::from_ms(left - left / 4);
                self.work_and_answer(operation, now, after, &mut steps);
            }
            Misbehaviour::Late => self.work_and_answer(operation, now, late, &mut steps),
            Misbehaviour::Duplicate => {
                self.work_and_answer(operation, now, latency, &mut steps);
                let again = steps.last().cloned();
                steps.extend(again.map(|step| Step { after: moment, ..step }));
            }
            Misbehaviour::DuplicateOther => {
                let outcome = self.work(operation, now, &mut steps);
                steps.push(self.answer(operation, outcome.clone(), latency));
                steps.push(self.answer(operation, outcome, moment));
            }
            Misbehaviour::ApprovedThenDeclined => {
                let outcome = self.work(operation, now, &mut steps);
                // On several connections the refusal may arrive first.
                self.denies(operation);
                steps.push(self.answer(operation, outcome, latency));
                steps.push(self.answer(operation, declined(DeclineClass::Technical, "96"), moment));
            }
            Misbehaviour::DeclinedThenApproved => {
                let outcome = self.work(operation, now, &mut steps);
                self.denies(operation);
                steps.push(self.answer(operation, declined(DeclineClass::Technical, "91"), latency));
                steps.push(self.answer(operation, outcome, moment));
            }
            Misbehaviour::Pending => {
                let outcome = self.work(operation, now, &mut steps);
                let decide_by = now.saturating_add(moment).saturating_add(moment);
                steps.push(self.answer(operation, Outcome::Pending { decide_by }, latency));
                steps.push(self.answer(operation, outcome, moment));
            }
            Misbehaviour::WrongAmount => {
                let outcome = self.work(operation, now, &mut steps);
                let mut wrong = outcome.clone();
                if let Outcome::Approved { amount, .. } = &mut wrong {
                    amount.minor += 1;
                }
                steps.push(self.answer(operation, wrong, latency));
                steps.push(self.answer(operation, outcome, moment));
            }
            Misbehaviour::WrongHold => {
                let outcome = self.work(operation, now, &mut steps);
                let other = HoldId(operation.hold.payment().operation(operation.hold.0.ordinal() ^ 0x8000));
                let mut wrong = self.answer(operation, outcome.clone(), latency);
                if let Act::Answer(answer) = &mut wrong.act {
                    answer.hold = other;
                }
                steps.push(wrong);
                steps.push(self.answer(operation, outcome, moment));
            }
            Misbehaviour::DeclineSoft
            | Misbehaviour::DeclineHard
            | Misbehaviour::DeclineFraud
            | Misbehaviour::DeclineTechnical => unreachable!("a refusal has been answered above"),
        }
        steps
    }

    /// Records that an executed operation was reported as refused.
    fn denies(&mut self, operation: &Operation) {
        if let Some(hold) = self.books.holds.get_mut(&operation.hold) {
            hold.denied = true;
        }
    }

    fn work_and_answer(&mut self, operation: &Operation, now: Timestamp, after: TimeSpan, steps: &mut Vec<Step>) {
        let outcome = self.work(operation, now, steps);
        steps.push(self.answer(operation, outcome, after));
    }

    /// Works on an operation once, and gives the same outcome for it ever after. `steps` takes what follows later.
    fn work(&mut self, operation: &Operation, now: Timestamp, steps: &mut Vec<Step>) -> Outcome {
        let caps = &self.settings.capabilities;
        if !caps.kinds.contains(&operation.request.kind()) {
            return declined(DeclineClass::State, "kind");
        }
        if let Some(seen) = self.seen.get(&operation.id) {
            if seen.error && !caps.replay_after_error_safe {
                return Outcome::Error;
            }
            if let Some(worked) = &seen.worked
                && now.since(worked.at).ms() < caps.idempotent_replay.ms()
            {
                if worked.request == operation.request && worked.hold == operation.hold {
                    return worked.outcome.clone();
                }
                self.books.violations.other_bodies += 1;
                return declined(DeclineClass::State, "other_body");
            }
        }
        let outcome = self.execute(operation, now, steps);
        self.remember(operation, now, &outcome);
        outcome
    }

    /// Keeps an outcome for repetitions and inquiries. "Not found" is no outcome: the same question later may find.
    fn remember(&mut self, operation: &Operation, now: Timestamp, outcome: &Outcome) {
        if operation.request.kind() == OperationKind::Inquire || *outcome == Outcome::NotFound {
            return;
        }
        self.seen.entry(operation.id).or_default().worked = Some(WorkedOn {
            at: now,
            hold: operation.hold,
            request: operation.request.clone(),
            outcome: outcome.clone(),
        });
    }

    fn execute(&mut self, operation: &Operation, now: Timestamp, steps: &mut Vec<Step>) -> Outcome {
        let caps = &self.settings.capabilities;
        let worked: Worked = match &operation.request {
            Request::Authorize { credential, amount, partial_ok, stand_in: _ } => {
                let script = Script::of(&credential.token, amount.minor);
                let reservation = Reservation {
                    hold: operation.hold,
                    operation: operation.id,
                    kind: credential.kind,
                    token: &credential.token,
                    amount: *amount,
                    partial_ok: *partial_ok,
                    opening_balance_minor: script.balance_minor.unwrap_or(self.settings.opening_balance_minor),
                    script,
                };
                self.books.authorize(&reservation, caps, now)
            }
            Request::Increment { new_total, processor_ref: _ } => {
                self.books.adjust(operation.hold, *new_total, true, caps)
            }
            Request::Decrement { new_total, processor_ref: _ } => {
                self.books.adjust(operation.hold, *new_total, false, caps)
            }
            Request::Capture { amount, last, processor_ref: _ } => {
                let (hold, amount, last) = (operation.hold, *amount, *last);
                self.books.capture(Capture { operation: operation.id, hold, amount, last }, caps)
            }
            Request::Void { authorization, processor_ref: _, reason: _ } => self.books.void(*authorization),
            Request::Refund { capture, amount, processor_ref: _ } => {
                self.books.refund(operation.hold, *capture, *amount)
            }
            Request::Inquire { target } => {
                let worked = self.seen.get(target).and_then(|seen| seen.worked.as_ref());
                return worked.map_or(Outcome::NotFound, |worked| worked.outcome.clone());
            }
        };
        match worked {
            Ok(done) => {
                self.aftermath(operation, done.amount, now, steps);
                Outcome::Approved {
                    amount: done.amount,
                    processor_ref: done.processor_ref,
                    expires_at: done.expires_at,
                }
            }
            Err(Refused::Declined(class, code)) => declined(class, code),
            Err(Refused::NotFound) => Outcome::NotFound,
        }
    }

    /// Actions of the hold's script after money moved.
    fn aftermath(&mut self, operation: &Operation, amount: Amount, now: Timestamp, steps: &mut Vec<Step>) {
        let Some(aftermath) = self.books.hold(operation.hold).and_then(|hold| hold.script.aftermath) else { return };
        let soon = TimeSpan::from_secs(2);
        let later = TimeSpan::from_secs(4);
        let mut reports: Vec<(TimeSpan, NotificationKind)> = Vec::new();
        match (&operation.request, aftermath) {
            (Request::Capture { .. }, Aftermath::CaptureFailed) => {
                if self.books.fail_capture(operation.hold).is_some() {
                    reports.push((soon, NotificationKind::CaptureFailed));
                }
            }
            (Request::Refund { capture, .. }, Aftermath::RefundFailed) => {
                self.books.fail_refund(operation.hold, *capture, amount);
                reports.push((soon, NotificationKind::RefundFailed));
            }
            (Request::Capture { .. }, Aftermath::Dispute) => reports.push((soon, NotificationKind::DisputeOpened)),
            (Request::Capture { .. }, Aftermath::DisputeWon) => {
                reports.extend([(soon, NotificationKind::DisputeOpened), (later, NotificationKind::DisputeWon)]);
            }
            (Request::Capture { .. }, Aftermath::DisputeLost) => {
                self.books.charge_back(operation.hold, amount);
                reports.extend([(soon, NotificationKind::DisputeOpened), (later, NotificationKind::DisputeLost)]);
            }
            (_, _) => {}
        }
        for (after, kind) in reports {
            let notification = self.notification(operation.hold, kind, amount, now.saturating_add(after));
            steps.push(Step { after, act: Act::Notify(notification) });
        }
    }

    fn answer(&mut self, operation: &Operation, outcome: Outcome, after: TimeSpan) -> Step {
        let callback = self.callback();
        Step { after, act: Act::Answer(Answer { callback, operation: operation.id, hold: operation.hold, outcome }) }
    }

    fn notification(
        &mut self,
        hold: HoldId,
        kind: NotificationKind,
        amount: Amount,
        occurred_at: Timestamp,
    ) -> Notification {
        Notification { callback: self.callback(), hold, kind, amount, occurred_at }
    }

    fn callback(&mut self) -> CallbackId {
        self.next_callback += 1;
        CallbackId(self.next_callback)
    }
}

impl Latency {
    fn roll(self, rng: &mut Rng) -> TimeSpan {
        if rng.chance(100) {
            return self.tail;
        }
        let median = self.median.ms();
        TimeSpan::from_ms(rng.between(median / 2, median + median / 2))
    }
}

fn declined(class: DeclineClass, code: &str) -> Outcome {
    Outcome::Declined(Decline { class, code: code.into(), retry_after: None })
}

#[cfg(test)]
mod tests;
