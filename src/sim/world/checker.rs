//! Checker of a simulated world: compares the gate's outputs with its durable facts, step by step.
//!
//! The cheap checks run on everything that a step changed; their own state is kept here, outside of the gate, so that
//! lost state of the gate is detected.

use super::process::Process;
use crate::accounting::archive_record::ArchiveRecord;
use crate::billing::verify_receipt;
use crate::ledger::Ledger;
use crate::message::{Code, ToCharger};
use crate::node::output::Output;
use crate::node::reference::ChargerRef;
use crate::node::shard::Shard;
use crate::payment::{Ending, Operation, OperationKind, Ordinal, Payment, Stage as HoldStage};
use crate::session::{Session, Stage};
use crate::sim::charger::{Charger, Finished};
use crate::sim::ocpp::{EndedSession, Name};
use crate::units::{ChargerId, Cost, OpId, PartitionId, SessionId, SessionKey};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// An invariant that was violated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The seed of the world.
    pub seed: u64,
    /// The step at which it was noticed.
    pub step: u64,
    /// The moment of the world, in milliseconds.
    pub at_ms: u64,
    /// What was broken.
    pub what: String,
}

/// Checks that held so far, and violations.
pub(super) struct Checker {
    pub seed: u64,
    pub step: u64,
    pub now: u64,
    pub violations: Vec<Violation>,
    /// Readings that were acknowledged and are not there.
    pub readings_lost: u64,
    pub tally: Tally,
    /// Readings that were acknowledged, of sessions without a receipt, with the running cost.
    acknowledged: HashMap<(ChargerId, SessionKey), Acknowledged>,
    /// Operations that were sent in this run of the gate.
    sent: Vec<OpId>,
    /// Receipts that were sent in this run.
    receipts: Vec<SessionId>,
    /// Endings of the holds of live sessions.
    seen: HashMap<SessionId, Seen>,
    /// Entries in the books of each partition when they were last found balanced.
    entries: BTreeMap<PartitionId, u64>,
    /// Sessions that were archived, as they were the last time.
    pub closed: HashMap<SessionId, Closed>,
    /// Checksums of what was archived of each.
    pub archived: HashMap<SessionId, u32>,
    /// Every receipt that was given out: total and cost.
    pub sent_receipts: HashMap<SessionId, Vec<(i64, String)>>,
    /// Sessions that brought money, with how much: some of it may be given back.
    pub sold: Vec<(SessionId, i64)>,
    /// Sessions with receipts, as their chargers report them.
    pub finished: Vec<Finished>,
    /// Sessions that OCPP chargers have ended, with their chargers.
    pub ended: Vec<(ChargerId, EndedSession)>,
    /// Archived sessions of OCPP chargers, by their charger and transaction.
    pub transactions: BTreeMap<(ChargerId, Name), Vec<SessionId>>,
    /// Whether times to settle are measured now.
    pub is_calm_since: Option<u64>,
}

/// What went through the gate.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub operations: BTreeMap<&'static str, u64>,
    pub callbacks: u64,
    pub refused_callbacks: u64,
    pub looks: u64,
    pub settle: Settle,
}

/// How long it took from the end of a session until its hold had ended, in milliseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Settle {
    pub captures: Vec<u32>,
    pub voids: Vec<u32>,
    pub calm_captures: Vec<u32>,
    pub calm_voids: Vec<u32>,
}

/// A session that was archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub payable: i64,
    pub cost: Cost,
    pub admitted: bool,
    pub energy: i64,
    pub suspects: u16,
    pub sequence: u32,
}

/// An acknowledgement of readings.
#[derive(Clone, Copy)]
struct Ack {
    key: SessionKey,
    up_to: u32,
    running: Cost,
}

/// Readings of a session that were acknowledged.
#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    session: SessionId,
    up_to: u32,
    running: Cost,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    sequence: u32,
    operations: (usize, usize),
    endings: Vec<(Ordinal, Ending)>,
}

/// Violations that are reported; further ones add nothing new.
const VIOLATIONS_MAX: usize = 50;
/// A cost may fall by less than one block of energy when a price changes, because `step_size` counts at the price of the last
/// component alone (the manual on pricing): 1 Wh here, at less than 1.00 per kWh.
const BLOCK: i128 = Cost::PARTS_PER_MAJOR / 1_000;
/// One receipt in so many has its signature checked.
const SIGNATURES_CHECKED: u64 = 16;

impl Checker {
    pub fn new(seed: u64) -> Checker {
        Checker {
            seed,
            step: 0,
            now: 0,
            violations: Vec::new(),
            readings_lost: 0,
            tally: Tally::default(),
            acknowledged: HashMap::new(),
            sent: Vec::new(),
            receipts: Vec::new(),
            seen: HashMap::new(),
            entries: BTreeMap::new(),
            closed: HashMap::new(),
            archived: HashMap::new(),
            sent_receipts: HashMap::new(),
            sold: Vec::new(),
            finished: Vec::new(),
            ended: Vec::new(),
            transactions: BTreeMap::new(),
            is_calm_since: None,
        }
    }

    /// Records a violation.
    pub fn violated(&mut self, what: impl FnOnce() -> String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation { seed: self.seed, step: self.step, at_ms: self.now, what: what() });
        }
    }

    fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violated(what);
        }
    }

    /// An output has passed the gate.
    pub fn released(&mut self, shard: &Shard, output: &Output) {
        match output {
            Output::MeterAck { charger, session, up_to, running } => {
                let (key, up_to, running) = (*session, *up_to, *running);
                self.acknowledged(shard, *charger, Ack { key, up_to, running });
            }
            Output::Charger(charger, message) => self.sent_to_charger(shard, *charger, message),
            Output::Operation(operation) => self.sent(shard, operation),
            Output::Account(asked) => self.sent(shard, &asked.1),
            Output::Callback { refused, .. } => self.callback(*refused),
            Output::Archive(session) => {
                if shard.unchanged(session).is_some() {
                    self.check_session(session);
                }
            }
            Output::AccountAnswer(_)
            | Output::AskFunds(_)
            | Output::Notify(_)
            | Output::AskNumber(_)
            | Output::Numbered(_)
            | Output::ReceiptAgain(..)
            | Output::LoadArchived(..)
            | Output::ArchivePage(..)
            | Output::BatchDue(_)
            | Output::SettlementAnswer(..)
            | Output::Ordered(_) => {}
        }
    }

    /// Readings are acknowledged: never fewer than before, never more than there are, at a cost that never falls.
    fn acknowledged(&mut self, shard: &Shard, charger: ChargerRef, Ack { key, up_to, running }: Ack) {
        let partition = &shard.partitions()[usize::from(charger.partition)];
        let Some(hosted) = partition.chargers.get(charger.slot) else { return };
        let id = hosted.state().id.clone();
        let session = hosted.session(key).and_then(|cell| partition.sessions.get(cell)).map(|hosted| hosted.state());
        if let Some(session) = session {
            self.check(up_to <= session.meter.sequence, || {
                format!("{} acknowledges {up_to} of {} readings", session.id, session.meter.sequence)
            });
            self.check_session(session);
        }
        let session = session.map(|session| session.id);
        match (self.acknowledged.get_mut(&(id.clone(), key)), session) {
            (Some(known), _) => {
                let was = *known;
                (known.up_to, known.running) = (was.up_to.max(up_to), running);
                self.check(was.up_to <= up_to, || {
                    format!("{}: {} was acknowledged, now {up_to}", was.session, was.up_to)
                });
                self.check(was.running.parts() < running.parts() + BLOCK, || {
                    format!("L14: {}: the running cost falls from {} to {running}", was.session, was.running)
                });
            }
            (None, Some(session)) => {
                self.acknowledged.insert((id, key), Acknowledged { session, up_to, running });
            }
            (None, None) => {}
        }
    }

    /// Another message is sent to a charger.
    fn sent_to_charger(&mut self, shard: &Shard, charger: ChargerRef, message: &ToCharger) {
        let partition = &shard.partitions()[usize::from(charger.partition)];
        let Some(hosted) = partition.chargers.get(charger.slot) else { return };
        match message {
            ToCharger::Receipt(receipt) => {
                self.acknowledged.remove(&(hosted.state().id.clone(), receipt.session));
                if let Ok(id) = receipt.receipt.parse() {
                    self.receipts.push(id);
                    self.sent_receipts.entry(id).or_default().push((receipt.total.minor, receipt.cost.to_string()));
                }
            }
            ToCharger::StartAccepted { session, .. }
            | ToCharger::LimitChanged { session, .. }
            | ToCharger::StopNow { session, .. }
            | ToCharger::SessionRejected { session, .. } => {
                let cell = hosted.session(*session);
                if let Some(session) = cell.and_then(|cell| partition.sessions.get(cell)) {
                    self.check_session(session.state());
                }
            }
            ToCharger::StartRejected { .. }
            | ToCharger::HelloAck(_)
            | ToCharger::MeterAck(_)
            | ToCharger::GoAway(_)
            | ToCharger::HeartbeatAck { .. }
            | ToCharger::Answer(_)
            | ToCharger::Order { .. } => {}
        }
    }

    /// An operation is sent: its session knows of it, and will after a crash.
    fn sent(&mut self, shard: &Shard, operation: &Operation) {
        let kind = match operation.request.kind() {
            OperationKind::Authorize => "authorize",
            OperationKind::Increment => "increment",
            OperationKind::Decrement => "decrement",
            OperationKind::Capture => "capture",
            OperationKind::Void => "void",
            OperationKind::Refund => "refund",
            OperationKind::Inquire => "inquire",
        };
        *self.tally.operations.entry(kind).or_default() += 1;
        let Some(hosted) = shard.session(operation.id.payment().session()) else { return };
        let known = knows(&hosted.state().payment, operation.id);
        self.check(known, || format!("{} is sent, and its session does not know it", operation.id));
        self.check_session(hosted.state());
        self.sent.push(operation.id);
    }

    /// A processor's message was dealt with.
    fn callback(&mut self, refused: Option<Code>) {
        match refused {
            None => self.tally.callbacks += 1,
            Some(_) => self.tally.refused_callbacks += 1,
        }
    }

    /// The guards on one session's money and meter.
    pub fn check_session(&mut self, session: &Session) {
        self.tally.looks += 1;
        let payment = &session.payment;
        let operations = (payment.live_operations().len(), payment.past_operations().len());
        let seen = self.seen.entry(session.id).or_default();
        let (sequence_was, same) = (seen.sequence, seen.operations == operations);
        (seen.sequence, seen.operations) = (session.meter.sequence, operations);
        if sequence_was > session.meter.sequence {
            self.violated(|| format!("{}: the meter goes back to reading {}", session.id, session.meter.sequence));
        }
        if !same {
            self.check_money(session);
        }
    }

    fn check_money(&mut self, session: &Session) {
        let (id, payment) = (session.id, &session.payment);
        let mut room = 0_i128;
        for hold in payment.holds() {
            let over = i128::from(hold.authorized_minor) * i128::from(hold.capabilities().overcapture_percent) / 100;
            let most = i128::from(hold.authorized_minor) + over;
            room += most;
            self.check(i128::from(hold.captured_minor) <= most, || {
                format!("L6: {id}: hold {} captured {} of {}", hold.number, hold.captured_minor, hold.authorized_minor)
            });
            self.check(0 <= hold.refunded_minor && hold.refunded_minor <= hold.captured_minor, || {
                format!("L6: {id}: hold {} gave back {} of {}", hold.number, hold.refunded_minor, hold.captured_minor)
            });
            let now = match hold.stage {
                HoldStage::Closed(ending) => Some(ending),
                _ => None,
            };
            let seen = self.seen.entry(id).or_default();
            let was = seen.endings.iter_mut().find(|(number, _)| *number == hold.number);
            match (was, now) {
                (Some((_, was)), Some(now)) => {
                    let before = std::mem::replace(was, now);
                    self.check(may_become(before, now), || {
                        format!("L5: {id}: hold {} ended as {before:?} and then as {now:?}", hold.number)
                    });
                }
                (Some((_, was)), None) => {
                    let was = *was;
                    self.violated(|| format!("L5: {id}: hold {} ended as {was:?} and lives again", hold.number));
                }
                (None, Some(now)) => seen.endings.push((hold.number, now)),
                (None, None) => {}
            }
        }
        // After a refused capture was approved late, its replacement is still in flight: its processor refuses it, and
        // counts it if it does not.
        let again = payment.live_operations().iter().filter(|live| {
            let hold = payment.hold(live.hold);
            let single = hold.is_some_and(|hold| hold.captured_minor > 0 && !hold.capabilities().multiple_captures());
            single && live.ask.kind() == OperationKind::Capture
        });
        let again: i128 = again.map(|live| i128::from(live.amount_minor)).sum();
        let taking = i128::from(payment.captured().minor) + i128::from(payment.capturing().minor) - again;
        self.check(taking <= room, || format!("L6: {id}: {taking} captured or being captured of {room}"));
        self.check(session.meter.energy().microwatt_hours() >= 0, || format!("{id}: negative energy"));
    }

    /// The books of every partition balance, entry by entry.
    pub fn check_books<'a>(&mut self, shards: impl Iterator<Item = &'a Shard>) {
        for partition in shards.flat_map(Shard::partitions) {
            let entries = partition.books.books.entries();
            if self.entries.insert(partition.id, entries) == Some(entries) {
                continue;
            }
            let (mut main, mut memo) = (0, 0);
            for (name, _, balance) in partition.books.books.balances() {
                match name.ledger() {
                    Ledger::Main => main += balance.net_debit(),
                    Ledger::Memorandum => memo += balance.net_debit(),
                }
            }
            self.check(main == 0 && memo == 0, || {
                format!("L2: the books of partition {} are off by {main}, {memo}", partition.id)
            });
        }
    }

    /// A closed session is archived: its hold has ended once, and its figures agree with its receipt.
    pub fn archived(&mut self, archive_record: &ArchiveRecord, bytes: &[u8]) {
        let session = &archive_record.session;
        self.archived.insert(session.id, crc32fast::hash(bytes));
        self.seen.remove(&session.id);
        let (Stage::Closed(ended), id) = (&session.stage, session.id) else {
            return self.violated(|| format!("{} is put away and not closed", session.id));
        };
        // The session's readings are archived with it, whatever its charger's state has.
        if let Some(known) = self.acknowledged.remove(&(session.charger.clone(), session.key)) {
            let sequence = session.meter.sequence;
            self.check(known.up_to <= sequence, || {
                format!("{id} is put away with {sequence} of {} readings", known.up_to)
            });
        }
        let closed = Closed {
            payable: ended.payable.minor,
            cost: ended.cost,
            admitted: ended.admitted,
            energy: session.meter.energy().microwatt_hours(),
            suspects: session.meter.suspects,
            sequence: session.meter.sequence,
        };
        if let Some(origin) = &session.origin {
            let number = || Name::Number(i64::try_from(session.key.0).unwrap_or(0));
            let name = origin.name.as_ref().map_or_else(number, |name| Name::Text(name.to_string()));
            let known = self.transactions.entry((session.charger.clone(), name)).or_default();
            if !known.contains(&id) {
                known.push(id);
            }
        }
        match self.closed.insert(id, closed) {
            Some(before) if before != closed => {
                // A charger may report more after its session was ended: a correction, and never downward.
                let grows = before.sequence <= closed.sequence && before.payable <= closed.payable;
                let grows =
                    grows && before.energy <= closed.energy && before.cost.parts() < closed.cost.parts() + BLOCK;
                self.check(grows, || format!("{id} was put away as {before:?} and is now {closed:?}"));
            }
            Some(_) => {}
            None => {
                if closed.payable > 0 {
                    self.sold.push((id, closed.payable));
                }
                self.settled(session, ended);
            }
        }
        match &archive_record.receipt {
            None => self.violated(|| format!("{id} has no receipt")),
            Some(receipt) if (id.as_u128() >> 16) % u128::from(SIGNATURES_CHECKED) == 0 => {
                match verify_receipt(receipt.as_bytes(), None) {
                    Ok(signed) => {
                        let total = ended.payable.major();
                        self.check(signed.receipt.total == total, || {
                            format!("{id}: the receipt says {}, the session {total}", signed.receipt.total)
                        });
                    }
                    Err(error) => self.violated(|| format!("{id}: {error}")),
                }
            }
            Some(_) => {}
        }
    }

    fn settled(&mut self, session: &Session, ended: &crate::session::Ended) {
        let Some(at) = session.settled_at() else { return };
        let took = u32::try_from(at.since(ended.known_at).ms().max(0)).unwrap_or(u32::MAX);
        let settle = &mut self.tally.settle;
        let calm = self.is_calm_since.is_some_and(|since| self.now.saturating_sub(u64::from(took)) >= since + 300_000);
        let captured = session.payment.captured().minor > 0;
        let approved = session.payment.holds().iter().any(|hold| hold.authorized_minor > 0);
        if captured {
            settle.captures.push(took);
            if calm {
                settle.calm_captures.push(took);
            }
        } else if approved {
            settle.voids.push(took);
            if calm {
                settle.calm_voids.push(took);
            }
        }
    }

    /// A charger has its receipt.
    pub fn finished(&mut self, charger: &Charger, finished: Finished) {
        self.acknowledged.remove(&(charger.id().clone(), finished.key));
        self.finished.push(finished);
    }

    /// The gate restarted: everything that it had sent is in its state.
    pub fn recovered(&mut self, process: &Process) {
        self.seen.clear();
        self.entries.clear();
        let mut lost = Vec::new();
        for known in self.acknowledged.values() {
            let live = process.session(known.session).map(|session| session.meter.sequence);
            let found = live.or_else(|| self.closed.get(&known.session).map(|closed| closed.sequence));
            if found.is_none_or(|found| found < known.up_to) {
                lost.push((known.session, known.up_to, found));
            }
        }
        lost.sort();
        for (session, up_to, found) in lost {
            self.readings_lost += u64::from(up_to - found.unwrap_or(0));
            self.violated(|| format!("L8: {session}: {up_to} readings were acknowledged, {found:?} are there"));
        }
        for operation in std::mem::take(&mut self.sent) {
            let known = match process.session(operation.payment().session()) {
                Some(session) => knows(&session.payment, operation),
                None => self.closed.contains_key(&operation.payment().session()),
            };
            self.check(known, || format!("L8: {operation} was sent, and is not known after the restart"));
        }
        for receipt in std::mem::take(&mut self.receipts) {
            let closed = match process.session(receipt) {
                Some(session) => matches!(session.stage, Stage::Closed(_)),
                None => self.closed.contains_key(&receipt),
            };
            self.check(closed, || format!("{receipt} had its receipt, and is not closed after the restart"));
        }
    }

    /// The last operation that was sent, for a forged message.
    pub fn last_sent(&self) -> Option<OpId> {
        self.sent.last().copied()
    }
}

/// Whether a payment has an operation; inquiries have numbers of their own and are not stored.
fn knows(payment: &Payment, operation: OpId) -> bool {
    let number = operation.ordinal();
    number >= 0x8000
        || payment.live_operations().iter().any(|live| live.number.0 == number)
        || payment.past_operations().iter().any(|past| past.number.0 == number)
}

/// A hold ends once; later messages may only correct that end.
fn may_become(before: Ending, now: Ending) -> bool {
    before == now
}
