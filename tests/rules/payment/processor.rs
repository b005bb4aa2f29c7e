//! A stateful reference processor: what a payment is checked against. Simple on purpose, and without any code of the
//! machine under test.

use std::collections::BTreeMap;
use wattstile::payment::{
    Capabilities, Decline, DeclineClass, NotificationKind, Operation, OperationKind, Outcome, ProcessorRef, Request,
};
use wattstile::units::{Amount, Currency, HoldId, OpId, Timestamp};

/// Where the model's decisions come from.
pub trait Rng {
    /// A number below `sides`.
    fn roll(&mut self, sides: u64) -> u64;

    /// True once in `sides` rolls.
    fn once_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

/// A hold in the processor's own books.
#[derive(Clone, Debug)]
pub struct Account {
    pub authorized: i64,
    pub captured: i64,
    pub refunded: i64,
    /// In a dispute that is open or lost.
    pub disputed: i64,
    /// A capture of it turned out to have failed: further requests are refused.
    failed: bool,
    pub open: bool,
    pub expires_at: Timestamp,
}

/// The processor's record of an operation.
struct Memory {
    outcome: Outcome,
    at: Timestamp,
    due: Option<(Timestamp, Operation)>,
}

pub struct Processor {
    pub capabilities: Capabilities,
    pub holds: BTreeMap<HoldId, Account>,
    memory: BTreeMap<OpId, Memory>,
    /// Ids that were answered with an error without being worked on.
    spoiled: BTreeMap<OpId, Timestamp>,
    /// Everything that must never happen.
    pub violations: Vec<String>,
    /// No more mischief: every operation is worked on, answered, and approved where possible.
    pub quiet: bool,
    /// What it has to report unasked: about one capture of one payment.
    pub reports: Vec<(HoldId, NotificationKind, i64)>,
    has_reported: bool,
}

impl Processor {
    pub fn new(capabilities: Capabilities) -> Processor {
        Processor {
            capabilities,
            holds: BTreeMap::new(),
            memory: BTreeMap::new(),
            spoiled: BTreeMap::new(),
            violations: Vec::new(),
            quiet: false,
            reports: Vec::new(),
            has_reported: false,
        }
    }

    /// A capture that was approved may turn out to have failed, or be disputed; a dispute is won or lost in the end.
    fn aftermath(&mut self, id: HoldId, minor: i64, rng: &mut impl Rng) {
        if self.has_reported || self.quiet || !rng.once_in(6) {
            return;
        }
        let Some(hold) = self.holds.get_mut(&id) else { return };
        self.has_reported = true;
        if rng.once_in(2) {
            hold.captured -= minor;
            hold.failed = true;
            return self.reports.push((id, NotificationKind::CaptureFailed, minor));
        }
        let won = rng.once_in(2);
        hold.disputed = if won { 0 } else { minor };
        let closed = if won { NotificationKind::DisputeWon } else { NotificationKind::DisputeLost };
        self.reports.extend([(id, NotificationKind::DisputeOpened, minor), (id, closed, minor)]);
    }

    /// An operation arrives. The outcome is the answer.
    pub fn receive(&mut self, operation: &Operation, now: Timestamp, rng: &mut impl Rng) -> Outcome {
        self.lapse(now);
        if let Request::Inquire { target } = operation.request {
            return match self.memory.get(&target) {
                Some(memory) => memory.outcome.clone(),
                None => Outcome::NotFound,
            };
        }
        let window = self.capabilities.idempotent_replay;
        let void = operation.request.kind() == OperationKind::Void;
        if let Some(memory) = self.memory.get(&operation.id)
            && (void || now.since(memory.at) < window)
        {
            return memory.outcome.clone();
        }
        if let Some(at) = self.spoiled.get(&operation.id)
            && !self.capabilities.replay_after_error_safe
            && now.since(*at) < window
        {
            return Outcome::Error;
        }
        if let Some(memory) = self.memory.get(&operation.id)
            && matches!(memory.outcome, Outcome::Approved { .. })
        {
            self.violations.push(format!("{operation:?} is executed a second time"));
        }
        if !self.quiet && rng.once_in(12) {
            self.spoiled.insert(operation.id, now);
            return Outcome::Error;
        }
        if !self.quiet && rng.once_in(12) {
            let decide_by = Timestamp::from_unix_ms(now.unix_ms() + 1_000 + rng.roll(90_000) as i64);
            let due = Some((decide_by, operation.clone()));
            self.memory.insert(operation.id, Memory { outcome: Outcome::Pending { decide_by }, at: now, due });
            return Outcome::Pending { decide_by };
        }
        if let Request::Void { authorization, .. } = operation.request {
            self.cancel_pending(authorization);
        }
        let outcome = self.execute(operation, now, rng);
        if let (Request::Capture { .. }, Outcome::Approved { amount, .. }) = (&operation.request, &outcome) {
            self.aftermath(operation.hold, amount.minor, rng);
        }
        // "Not found" is not an outcome to be recorded: the original may still arrive.
        if outcome != Outcome::NotFound {
            self.memory.insert(operation.id, Memory { outcome: outcome.clone(), at: now, due: None });
        }
        // Done, and yet the answer is an error.
        if !self.quiet && rng.once_in(12) { Outcome::Error } else { outcome }
    }

    /// Operations whose decision is due by now, with their outcomes.
    pub fn decide_pending(&mut self, now: Timestamp, rng: &mut impl Rng) -> Vec<(Operation, Outcome)> {
        self.lapse(now);
        let due: Vec<Operation> = self
            .memory
            .values()
            .filter_map(|memory| {
                memory.due.as_ref().filter(|(at, _)| *at <= now).map(|(_, operation)| operation.clone())
            })
            .collect();
        let mut decided = Vec::new();
        for operation in due {
            let outcome = match self.execute(&operation, now, rng) {
                Outcome::NotFound => refuse(DeclineClass::State),
                outcome => outcome,
            };
            self.memory.insert(operation.id, Memory { outcome: outcome.clone(), at: now, due: None });
            decided.push((operation, outcome));
        }
        decided
    }

    /// A void of an authorization that waits for its decision decides it.
    fn cancel_pending(&mut self, authorization: OpId) {
        if let Some(memory) = self.memory.get_mut(&authorization)
            && memory.due.take().is_some()
        {
            memory.outcome = refuse(DeclineClass::State);
        }
    }

    /// Holds that are older than their validity are open no longer.
    fn lapse(&mut self, now: Timestamp) {
        for hold in self.holds.values_mut() {
            hold.open &= now < hold.expires_at;
        }
    }

    pub fn open_holds(&mut self, now: Timestamp) -> usize {
        self.lapse(now);
        self.holds.values().filter(|hold| hold.open).count()
    }

    fn execute(&mut self, operation: &Operation, now: Timestamp, rng: &mut impl Rng) -> Outcome {
        let id = operation.hold;
        let quiet = self.quiet;
        let over = i64::from(self.capabilities.overcapture_percent);
        let multiple = self.capabilities.multiple_captures;
        let partial = self.capabilities.partial_approval;
        let validity = self.capabilities.hold_validity;
        let refused = |rng: &mut dyn FnMut(u64) -> u64, one_in: u64| !quiet && rng(one_in) == 0;
        let mut roll = |sides: u64| rng.roll(sides);
        match &operation.request {
            Request::Authorize { amount, partial_ok, .. } => {
                if refused(&mut roll, 6) {
                    return refuse([DeclineClass::Soft, DeclineClass::Hard, DeclineClass::Technical][roll(3) as usize]);
                }
                if self.holds.contains_key(&id) {
                    self.violations.push(format!("{id} is authorized twice"));
                }
                let less = partial && *partial_ok && refused(&mut roll, 5);
                let total = if less { 1 + roll(amount.minor as u64) as i64 } else { amount.minor };
                let expires_at = now.saturating_add(validity);
                let account = Account {
                    authorized: total,
                    captured: 0,
                    refunded: 0,
                    disputed: 0,
                    failed: false,
                    open: true,
                    expires_at,
                };
                self.holds.insert(id, account);
                approve(*amount, total)
            }
            Request::Increment { new_total, .. } | Request::Decrement { new_total, .. } => {
                match self.holds.get_mut(&id) {
                    Some(hold) if hold.open && hold.captured == 0 && !refused(&mut roll, 4) => {
                        hold.authorized = new_total.minor;
                        approve(*new_total, new_total.minor)
                    }
                    Some(hold) if hold.open => refuse(DeclineClass::Soft),
                    Some(_) | None => refuse(DeclineClass::State),
                }
            }
            Request::Capture { amount, last, .. } => {
                let Some(hold) = self.holds.get_mut(&id) else { return Outcome::NotFound };
                if !hold.open || hold.captured > 0 && !multiple {
                    return refuse(DeclineClass::State);
                }
                if refused(&mut roll, 6) {
                    return refuse([DeclineClass::Technical, DeclineClass::Hard][roll(2) as usize]);
                }
                let taken = hold.captured + amount.minor;
                if taken > hold.authorized + hold.authorized * over / 100 {
                    self.violations.push(format!("{operation:?} takes more than {hold:?} allows"));
                    return refuse(DeclineClass::State);
                }
                hold.captured = taken;
                hold.open &= !*last && multiple;
                approve(*amount, amount.minor)
            }
            Request::Void { .. } => match self.holds.get_mut(&id) {
                None => Outcome::NotFound,
                Some(hold) if hold.open && !refused(&mut roll, 8) => {
                    hold.open = false;
                    approve(Amount::zero(Currency::EUR), (hold.authorized - hold.captured).max(0))
                }
                Some(hold) if hold.open => refuse(DeclineClass::Technical),
                Some(_) => refuse(DeclineClass::State),
            },
            Request::Refund { amount, .. } => {
                let Some(hold) = self.holds.get_mut(&id) else { return Outcome::NotFound };
                if hold.failed {
                    return refuse(DeclineClass::State);
                }
                if refused(&mut roll, 6) {
                    return refuse(DeclineClass::Soft);
                }
                if hold.refunded + amount.minor > hold.captured || amount.minor <= 0 {
                    self.violations.push(format!("{operation:?} gives back more than {hold:?} took"));
                    return refuse(DeclineClass::State);
                }
                // What an issuer took back is not given back a second time.
                if hold.refunded + amount.minor > hold.captured - hold.disputed {
                    return refuse(DeclineClass::State);
                }
                hold.refunded += amount.minor;
                approve(*amount, amount.minor)
            }
            Request::Inquire { .. } => Outcome::NotFound,
        }
    }
}

fn approve(like: Amount, minor: i64) -> Outcome {
    let amount = Amount::new(minor, like.currency);
    Outcome::Approved { amount, processor_ref: ProcessorRef("ref".into()), expires_at: None }
}

fn refuse(class: DeclineClass) -> Outcome {
    Outcome::Declined(Decline { class, code: "no".into(), retry_after: None })
}
