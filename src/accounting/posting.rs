//! The entries that follow from facts of sessions, top-ups and accounts: a pure fold, the same live and in replay.
//!
//! | fact | entry |
//! |---|---|
//! | hold approved, raised, lowered, released, lapsed | the memorandum ledger: the reserved amount |
//! | captured | the sale, by net, tax and rounding; the last capture of a hold ends it in the memorandum ledger |
//! | settled with a shortfall | the rest of the sale, owed by the driver with this credential |
//! | refunded, or a capture or refund undone | the sale's share is taken back, or booked again |
//! | disputed | as the processor reported it |
//!
//! A payment of a session and one of a top-up are booked by the same function; its owner names the other side.
//!
//! An entry is dated by its fact: when the gate decided it, or received the message.

use super::archive_record;
use super::pages::Pages;
use crate::account::{self, Account, TopUp, account_of};
use crate::billing::{PayableSplit, Pricing};
use crate::ledger::{Books, Debtor, Entry, EntryError, EntryId, EntryKind, Funding, Leg, Name, Sale, Share, Side, Tax};
use crate::payment::{self, Ask, Event, Hold, OperationKind, Ordinal, Payment};
use crate::session::Session;
use crate::stored::stored;
use crate::tariff::Tariff;
use crate::units::{Amount, Currency, Fingerprint, OpId, OperatorId, ProcessorId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The upper half of an entry's numbers: entries whose number follows from a reading or a report, so that they have none of
/// the few that are counted.
const UPPER: u32 = 0x8000_0000;

/// Among those, entries of sessions that went on after an end.
const CONTINUED: u32 = 0xc000_0000;

/// The books of a partition, and what went through them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionBooks {
    /// Balances.
    pub books: Books,
    /// What moved, by currency.
    pub turnover: BTreeMap<Currency, Turnover>,
    /// The entries that are not in the archive yet; not those of other partitions that were merged.
    pub pages: Pages,
}

stored!(struct PartitionBooks { 0: books, 1: turnover, 2: pages });

/// Turnover since the first record, in minor units of one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turnover {
    /// Taken.
    pub captured: i128,
    /// Reserved once and given free.
    pub released: i128,
    /// Given back after it was taken.
    pub refunded: i128,
    /// Consumed and not taken when the session was settled.
    pub shortfall: i128,
}

stored!(struct Turnover { 0: captured, 1: released, 2: refunded, 3: shortfall });

impl PartitionBooks {
    /// Posts an entry.
    pub fn post(&mut self, entry: &Entry) {
        self.books.post(entry);
        self.pages.write(entry);
        let Some(currency) = entry.legs().first().map(|leg| leg.amount.currency) else { return };
        let sum = |counts: fn(&Name) -> bool, side: Side| -> i128 {
            let legs = entry.legs().iter().filter(|leg| leg.side == side && counts(&leg.account));
            legs.map(|leg| i128::from(leg.amount.minor)).sum()
        };
        let turnover = self.turnover.entry(currency).or_default();
        let held = |name: &Name| matches!(name, Name::Held(_));
        let taken = |name: &Name| matches!(name, Name::ProcessorReceivable(_) | Name::PrepaidClearing);
        let owed = |name: &Name| matches!(name, Name::Shortfall(_));
        match entry.kind() {
            EntryKind::Sale => {
                let captured = sum(taken, Side::Debit);
                turnover.captured += captured;
                turnover.shortfall += sum(owed, Side::Debit);
                turnover.released += (sum(held, Side::Credit) - captured).max(0);
            }
            // A top-up's captures and refunds are turnover of its account, not of sessions.
            EntryKind::CaptureFailed | EntryKind::RefundAccepted | EntryKind::RefundFailed
                if of_top_up_payment(entry) => {}
            EntryKind::Correction | EntryKind::CaptureFailed => turnover.captured -= sum(taken, Side::Credit),
            EntryKind::ShortfallPaid => turnover.captured += sum(taken, Side::Debit),
            EntryKind::HoldReleased | EntryKind::HoldAdjusted => turnover.released += sum(held, Side::Credit),
            EntryKind::RefundAccepted => {
                let refunding = |name: &Name| matches!(name, Name::RefundInFlight(_) | Name::PrepaidClearing);
                turnover.refunded += sum(refunding, Side::Credit);
            }
            _ => {}
        }
    }

    /// Adds those of another partition.
    pub fn merge(&mut self, other: &PartitionBooks) {
        self.books.merge(&other.books);
        for (currency, theirs) in &other.turnover {
            let ours = self.turnover.entry(*currency).or_default();
            ours.captured += theirs.captured;
            ours.released += theirs.released;
            ours.refunded += theirs.refunded;
            ours.shortfall += theirs.shortfall;
        }
    }
}

/// Whether money at an outside processor is set against an account's holder: only a top-up's payment does that.
fn of_top_up_payment(entry: &Entry) -> bool {
    let outside = |leg: &Leg| matches!(leg.account, Name::ProcessorReceivable(_) | Name::RefundInFlight(_));
    let holder = |leg: &Leg| matches!(leg.account, Name::Shortfall(Debtor::Account(_)));
    entry.legs().iter().any(outside) && entry.legs().iter().any(holder)
}

/// Posts what follows from a fact of an account; `account` is as it is after the fact.
pub fn of_account(account: &Account, event: &account::Event, post: &mut dyn FnMut(Entry)) {
    let Some(open) = account.opened() else { return };
    match account::entries(open, event) {
        Ok(Some(entry)) => post(entry),
        Ok(None) => {}
        Err(error) => tracing::error!(account = %open.id, %error, "a fact of an account has no place in the books"),
    }
}

/// Posts what follows from a fact of a session's money; `session` is as it was before the fact.
pub fn of_session(session: &Session, tariff: &Tariff, event: &Event, post: &mut dyn FnMut(Entry)) {
    let posting = Posting { owner: Owner::Session(session, tariff), payment: &session.payment, at: event.at() };
    let mut post = |made: Result<Entry, EntryError>| match made {
        Ok(entry) => post(entry),
        // Nothing moved: a hold of the same total, a share of zero.
        Err(EntryError::Empty) => {}
        Err(error) => tracing::error!(session = %session.id, %error, "a fact of a session has no place in the books"),
    };
    posting.fact(event, &mut post);
}

/// Posts what follows from a fact of a top-up's payment; `top_up` is as it was before the fact. The capture itself is
/// booked by the account that it is for.
pub fn of_top_up(top_up: &TopUp, event: &Event, post: &mut dyn FnMut(Entry)) {
    let posting = Posting { owner: Owner::TopUp(top_up), payment: &top_up.payment, at: event.at() };
    let mut post = |made: Result<Entry, EntryError>| match made {
        Ok(entry) => post(entry),
        Err(EntryError::Empty) => {}
        Err(error) => tracing::error!(top_up = %top_up.id, %error, "a fact of a top-up has no place in the books"),
    };
    posting.fact(event, &mut post);
}

/// Posts what an account did not take of a top-up.
pub fn of_not_taken(top_up: &TopUp, op: OpId, amount: Amount, at: Timestamp, post: &mut dyn FnMut(Entry)) {
    let Some(processor) = top_up.processor() else { return };
    match Entry::top_up_not_taken(EntryId::of(op), at, processor, amount) {
        Ok(entry) => post(entry),
        Err(error) => tracing::error!(top_up = %top_up.id, %error, "a fact of a top-up has no place in the books"),
    }
}

/// A hold reserves another total from now on.
fn becoming(id: EntryId, at: Timestamp, hold: &Hold, from: Amount, to: Amount) -> Result<Entry, EntryError> {
    match (from.minor, to.minor) {
        (0, _) => Entry::hold_approved(id, at, hold.processor(), to),
        (_, 0) => Entry::hold_released(id, at, hold.processor(), from),
        (_, _) => Entry::hold_adjusted(id, at, hold.processor(), from, to),
    }
}

/// The owner of a payment: it decides which accounts stand on the other side of what the processor moved.
#[derive(Clone, Copy)]
enum Owner<'a> {
    /// A session: the captured amount is its sale.
    Session(&'a Session, &'a Tariff),
    /// A top-up: the captured amount belongs to its account.
    TopUp(&'a TopUp),
}

/// What a sale brings.
struct Proceeds {
    /// The reserved amount of the hold that ends with it.
    ends: Amount,
    captured: Amount,
    /// The consumed amount that was not captured.
    shortfall: Amount,
    share: Share,
}

/// A payment whose fact is about to be applied.
struct Posting<'a> {
    owner: Owner<'a>,
    payment: &'a Payment,
    /// When the fact was decided, received or noticed.
    at: Timestamp,
}

type Post<'a> = &'a mut dyn FnMut(Result<Entry, EntryError>);

impl Posting<'_> {
    fn fact(&self, event: &Event, post: Post<'_>) {
        match event {
            Event::Approved { operation, total, .. } | Event::PartiallyApproved { operation, total, .. } => {
                self.hold_becomes(*operation, *operation, total.minor, post);
            }
            Event::IncrementApproved { operation, total, .. } | Event::DecrementApproved { operation, total, .. } => {
                self.hold_becomes(*operation, self.hold_of(*operation), total.minor, post);
            }
            Event::Captured { operation, amount, .. } => {
                let last = self.live(*operation).is_some_and(|live| live.ask == Ask::Capture { last: true });
                self.captured(*operation, *amount, last, post);
            }
            Event::CaptureFailed { operation, .. }
            | Event::Voided { operation, .. }
            | Event::NothingToVoid { operation, .. } => {
                self.hold_becomes(*operation, self.hold_of(*operation), 0, post);
            }
            Event::HoldExpired { hold, .. } => self.hold_becomes(*hold, *hold, 0, post),
            Event::Refunded { operation, amount, .. } => self.refunded(*operation, *amount, post),
            Event::LateApproval { operation, amount, .. } => self.late(*operation, *amount, post),
            Event::CaptureReversed { hold, amount, source } => {
                self.capture_reversed(*hold, *amount, number_of(source), post);
            }
            Event::RefundReversed { hold, amount, source } => {
                self.refund_reversed(*hold, *amount, number_of(source), post);
            }
            Event::DisputeOpened { hold, amount, source } => {
                let zero = Amount::zero(amount.currency);
                let (id, at) = (self.entry(*hold).number(number_of(source)), self.at);
                self.with_processor(*hold, |processor| post(Entry::dispute_opened(id, at, processor, *amount, zero)));
            }
            Event::DisputeClosed { hold, amount, won, source } => {
                let (id, at) = (self.entry(*hold).number(number_of(source)), self.at);
                self.with_processor(*hold, |processor| {
                    post(if *won {
                        Entry::dispute_won(id, at, processor, *amount)
                    } else {
                        Entry::dispute_lost(id, at, processor, *amount, None)
                    });
                });
            }
            Event::CaptureOrdered { owed, at, .. } => self.corrected(*owed, *at, post),
            Event::Settled { shortfall, at, .. } => self.settled(*shortfall, *at, post),
            Event::HoldRequested { .. }
            | Event::OperationRequested { .. }
            | Event::OperationRepeated { .. }
            | Event::Inquired { .. }
            | Event::OutcomeUnknown { .. }
            | Event::Queued { .. }
            | Event::Accepted { .. }
            | Event::Declined { .. }
            | Event::NotExecuted { .. }
            | Event::GivenUp { .. }
            | Event::IncrementDeclined { .. }
            | Event::DecrementDeclined { .. }
            | Event::ReleaseOrdered { .. }
            | Event::CaptureDeclined { .. }
            | Event::VoidRefused { .. }
            | Event::VoidAbandoned { .. }
            | Event::RefundDeclined { .. }
            | Event::AnswerQuarantined { .. }
            | Event::Escalated { .. }
            | Event::HoldExpiring { .. }
            | Event::CaptureWindowPassed { .. }
            | Event::AnswerRepeated { .. } => {}
        }
    }

    /// The reserved amount of a hold: zero before its approval and after its end.
    fn reserved(hold: &Hold) -> i64 {
        if hold.stage == payment::Stage::Open { hold.authorized_minor } else { 0 }
    }

    /// A hold reserves another total from now on.
    fn hold_becomes(&self, cause: Ordinal, hold: Ordinal, total: i64, post: Post<'_>) {
        let Some(hold) = self.payment.hold(hold) else { return };
        let (id, at) = (self.entry(cause), self.at);
        post(becoming(id, at, hold, self.amount(Self::reserved(hold)), self.amount(total)));
    }

    fn captured(&self, operation: Ordinal, amount: Amount, last: bool, post: Post<'_>) {
        let Some(hold) = self.payment.hold(self.hold_of(operation)) else { return };
        let ends = if last { Self::reserved(hold) } else { 0 };
        let (id, at, zero) = (self.entry(operation), self.at, self.amount(0));
        if let Owner::TopUp(_) = self.owner {
            if ends > 0 {
                post(Entry::hold_captured(id, at, hold.processor(), self.amount(ends)));
            }
            return;
        }
        let before = self.payment.captured().minor;
        let sold = self.sold(before, before.saturating_add(amount.minor));
        post(sold.and_then(|share| {
            self.sale(id, at, hold, Proceeds { ends: self.amount(ends), captured: amount, shortfall: zero, share })
        }));
    }

    /// Posts the amount without a capture as owed; once for each session.
    fn settled(&self, shortfall: Amount, at: Timestamp, post: Post<'_>) {
        let (Owner::Session(session, _), Some(hold)) = (self.owner, self.payment.holds().last()) else { return };
        if session.settled_at().is_none() && shortfall.minor > 0 {
            let before = self.payment.captured().minor;
            let sold = self.sold(before, before.saturating_add(shortfall.minor));
            let (id, zero) = (EntryId::of_session(session.id, 0), self.amount(0));
            post(
                sold.and_then(|share| {
                    self.sale(id, at, hold, Proceeds { ends: zero, captured: zero, shortfall, share })
                }),
            );
        }
    }

    /// More is owed after the settlement, when every hold has ended: it is sold, and owed.
    fn corrected(&self, owed: Amount, at: Timestamp, post: Post<'_>) {
        let (Owner::Session(session, _), Some(hold)) = (self.owner, self.payment.holds().last()) else { return };
        let before = self.payment.owed().minor;
        if session.settled_at().is_some() && owed.minor > before {
            // One correction for each reading that came late, at most.
            let number = session.meter.sequence & !UPPER;
            let (id, zero) = (EntryId::of_session(session.id, number), self.amount(0));
            let more = self.amount(owed.minor.saturating_sub(before));
            let left = left(session);
            let sold = self.sold(left.saturating_sub(more.minor), left);
            post(sold.and_then(|share| {
                self.sale(id, at, hold, Proceeds { ends: zero, captured: zero, shortfall: more, share })
            }));
        }
    }

    fn refunded(&self, operation: Ordinal, amount: Amount, post: Post<'_>) {
        let Some(hold) = self.payment.hold(self.hold_of(operation)) else { return };
        let (id, at) = (self.entry(operation), self.at);
        let funding = funding_of(hold.processor());
        let amount = match self.owner {
            Owner::Session(session, _) => {
                let left = left(session);
                let share = self.sold(left.saturating_sub(amount.minor), left);
                post(share.and_then(|share| Entry::refund_accepted(id, at, &funding, &share)));
                amount
            }
            Owner::TopUp(top_up) => {
                let (whole, debited) = self.refund_parts(top_up, amount, self.payment.refunded().minor);
                post(Entry::top_up_refunded(id, at, &top_up.account, hold.processor(), debited));
                whole
            }
        };
        if let Funding::Processor(processor) = &funding {
            post(Entry::refund_confirmed(id.number(1), at, processor, amount));
        }
    }

    /// The part of a top-up's refund whose capture is in the books, and of that the part that its account bears; `before`
    /// was refunded earlier. Older versions booked neither the capture that an account did not take nor its refund.
    fn refund_parts(&self, top_up: &TopUp, amount: Amount, before: i64) -> (Amount, Amount) {
        let (credited, not_taken) = (top_up.credited_minor, top_up.undone.not_taken_minor);
        let given = not_taken.saturating_sub(before).clamp(0, amount.minor.max(0));
        let refunded = before.saturating_sub(not_taken).max(0);
        let room = credited.saturating_sub(refunded).max(0);
        let debited = amount.minor.saturating_sub(given).min(room);
        (self.amount(given.saturating_add(debited)), self.amount(debited))
    }

    /// An operation that had ended without effect took effect after all.
    fn late(&self, operation: Ordinal, amount: Amount, post: Post<'_>) {
        let Some(past) = self.payment.past_operations().iter().find(|past| past.number == operation) else { return };
        let Some(hold) = self.payment.hold(past.hold) else { return };
        let open = hold.stage == payment::Stage::Open;
        match past.kind {
            OperationKind::Increment if open => {
                self.hold_becomes(operation, hold.number, hold.authorized_minor.max(amount.minor), post);
            }
            OperationKind::Decrement if open => {
                self.hold_becomes(operation, hold.number, hold.authorized_minor.min(amount.minor), post);
            }
            OperationKind::Void if open => self.hold_becomes(operation, hold.number, 0, post),
            OperationKind::Capture => self.captured_late(operation, hold, amount, post),
            OperationKind::Refund => self.refunded(operation, amount, post),
            // Not counted as reserved: it is released in the same decision.
            OperationKind::Authorize
            | OperationKind::Increment
            | OperationKind::Decrement
            | OperationKind::Void
            | OperationKind::Inquire => {}
        }
    }

    /// A late capture pays the amount owed by then; what is beyond that is a sale that will have to be refunded.
    fn captured_late(&self, operation: Ordinal, hold: &Hold, amount: Amount, post: Post<'_>) {
        let Owner::Session(session, _) = self.owner else { return };
        let (id, at, zero) = (self.entry(operation), self.at, self.amount(0));
        let owed = match session.settled_at() {
            Some(_) => self.payment.shortfall().minor.min(amount.minor),
            None => 0,
        };
        let paid = self.amount(owed);
        let debtor = Name::Shortfall(self.debtor(hold.processor()));
        let legs = [(receivable(hold.processor()), Side::Debit), (debtor, Side::Credit)];
        if owed > 0 {
            let legs = legs.map(|(account, side)| Leg { account, side, amount: paid });
            post(Entry::new(id.number(1), at, EntryKind::ShortfallPaid, legs));
        }
        let (before, rest) = (self.payment.captured().minor.saturating_add(owed), amount.minor.saturating_sub(owed));
        let sold = self.sold(before, before.saturating_add(rest));
        post(sold.and_then(|share| {
            self.sale(id, at, hold, Proceeds { ends: zero, captured: self.amount(rest), shortfall: zero, share })
        }));
    }

    /// A capture was undone: it is owed again; before the settlement nothing of it was sold yet.
    fn capture_reversed(&self, hold: Ordinal, amount: Amount, number: u32, post: Post<'_>) {
        let Some(hold) = self.payment.hold(hold) else { return };
        let amount = match self.owner {
            Owner::Session(..) => amount,
            Owner::TopUp(top_up) => {
                // What the account did not take is waiting to be refunded.
                let credited = amount.minor.min(top_up.credited_minor);
                let not_taken = amount.minor.saturating_sub(credited).min(top_up.undone.not_taken_minor);
                let id = self.entry(hold.number).number(number.wrapping_add(1));
                post(Entry::refund_confirmed(id, self.at, hold.processor(), self.amount(not_taken)));
                self.amount(credited)
            }
        };
        let (id, at, zero) = (self.entry(hold.number).number(number), self.at, self.amount(0));
        let funding = funding_of(hold.processor());
        let settled = match self.owner {
            Owner::Session(session, _) => session.settled_at().is_some(),
            Owner::TopUp(_) => true,
        };
        post(if settled {
            Entry::capture_failed(id, at, &funding, self.debtor(hold.processor()), amount)
        } else {
            let before = self.payment.captured().minor;
            let sold = self.sold(before.saturating_sub(amount.minor), before);
            let sale = sold.and_then(|share| {
                self.sale(id, at, hold, Proceeds { ends: zero, captured: amount, shortfall: zero, share })
            });
            sale.map(|sale| sale.correction(id, at))
        });
    }

    fn refund_reversed(&self, hold: Ordinal, amount: Amount, number: u32, post: Post<'_>) {
        let Some(hold) = self.payment.hold(hold) else { return };
        let (id, at) = (self.entry(hold.number).number(number), self.at);
        let funding = funding_of(hold.processor());
        let (amount, accepted) = match self.owner {
            Owner::Session(session, _) => {
                let left = left(session);
                let share = self.sold(left, left.saturating_add(amount.minor));
                (amount, share.and_then(|share| Entry::refund_accepted(id, at, &funding, &share)))
            }
            Owner::TopUp(top_up) => {
                let before = self.payment.refunded().minor.saturating_sub(amount.minor);
                let (whole, debited) = self.refund_parts(top_up, amount, before);
                (whole, Entry::top_up_refunded(id, at, &top_up.account, hold.processor(), debited))
            }
        };
        post(accepted.map(|accepted| Entry::refund_failed(id, at, &accepted)));
        if let Funding::Processor(processor) = &funding {
            let confirmed = Entry::refund_confirmed(id, at, processor, amount);
            post(confirmed.map(|confirmed| confirmed.correction(id.number(number.wrapping_add(1)), at)));
        }
    }

    fn sale(&self, id: EntryId, at: Timestamp, hold: &Hold, proceeds: Proceeds) -> Result<Entry, EntryError> {
        let funding = funding_of(hold.processor());
        let debtor = self.debtor(hold.processor());
        let Proceeds { ends, captured, shortfall, share } = proceeds;
        Entry::sale(&Sale { id, at, funding, hold: ends, captured, shortfall, debtor, share })
    }

    /// What a session sold between these minor units; a top-up sells nothing.
    fn sold(&self, from: i64, to: i64) -> Result<Share, EntryError> {
        match self.owner {
            Owner::Session(session, tariff) => sold(session, tariff, from, to),
            Owner::TopUp(_) => Err(EntryError::Empty),
        }
    }

    fn live(&self, operation: Ordinal) -> Option<&payment::LiveOperation> {
        self.payment.live_operations().iter().find(|live| live.number == operation)
    }

    /// The hold that an operation acts on.
    fn hold_of(&self, operation: Ordinal) -> Ordinal {
        let past = || self.payment.past_operations().iter().find(|past| past.number == operation).map(|past| past.hold);
        self.live(operation).map(|live| live.hold).or_else(past).unwrap_or(operation)
    }

    fn entry(&self, operation: Ordinal) -> EntryId {
        EntryId::of(self.payment.operation_id(operation))
    }

    fn amount(&self, minor: i64) -> Amount {
        Amount::new(minor, self.payment.currency())
    }

    fn with_processor(&self, hold: Ordinal, mut each: impl FnMut(&ProcessorId)) {
        if let Some(hold) = self.payment.hold(hold) {
            each(hold.processor());
        }
    }

    fn debtor(&self, processor: &ProcessorId) -> Debtor {
        match (self.owner, account_of(processor)) {
            (Owner::TopUp(top_up), _) => Debtor::Account(top_up.account.clone()),
            (Owner::Session(..), Some(account)) => Debtor::Account(account),
            (Owner::Session(session, _), None) => Debtor::Credential(fingerprint(&session.fingerprint.to_string())),
        }
    }
}

/// Sales of a session less refunds, in minor units: more than its cost when more was captured.
pub(crate) fn left(session: &Session) -> i64 {
    let payable = session.ended().map_or(0, |ended| ended.payable.minor);
    session.payment.captured().minor.max(payable).saturating_sub(session.payment.refunded().minor)
}

/// What the money of a session between its `from`-th and its `to`-th minor unit consists of. Parts of a session always add
/// up to the whole, to the minor unit, in whatever pieces it was captured, owed and given back. The amount taken beyond the
/// price has no tax that could be named, and neither has what is taken while the price is not final yet: that is
/// put right when it is ([`of_end`]).
pub(crate) fn sold(session: &Session, tariff: &Tariff, from: i64, to: i64) -> Result<Share, EntryError> {
    let whole = match session.ended() {
        Some(_) => whole(session, tariff)?,
        None => None,
    };
    let (low, high) = (upto(session, tariff, whole.as_ref(), from)?, upto(session, tariff, whole.as_ref(), to)?);
    Ok(high.less(&low)?)
}

/// The parts of the first `minor` minor units.
fn upto(session: &Session, tariff: &Tariff, whole: Option<&Share>, minor: i64) -> Result<Share, EntryError> {
    let amount = |minor| Amount::new(minor, session.payment.currency());
    let plain = |minor| Share {
        operator: operator(tariff),
        net: amount(minor),
        fee: amount(0),
        taxes: Vec::new(),
        rounding: amount(0),
    };
    let Some(whole) = whole else { return Ok(plain(minor)) };
    let total = whole.total()?.minor;
    match minor {
        part if part < total => Ok(whole.portion(amount(part.max(0)))?),
        more => Ok(Share { net: whole.net.checked_add(amount(more - total))?, ..whole.clone() }),
    }
}

/// The parts of the whole price; `None` when it is zero, or when its parts are unknown.
fn whole(session: &Session, tariff: &Tariff) -> Result<Option<Share>, EntryError> {
    let Ok(pricing) = archive_record::priced(session, tariff) else { return Ok(None) };
    share_of(&pricing, tariff)
}

fn share_of(pricing: &Pricing, tariff: &Tariff) -> Result<Option<Share>, EntryError> {
    let payable = pricing.gross.round(pricing.rounding)?;
    let split = PayableSplit::new(pricing.net, &pricing.vat, payable)?;
    let zero = Amount::zero(payable.currency);
    let share = split.share(&operator(tariff), zero, tariff.country()).ok();
    Ok(share.filter(|_| payable.minor > 0))
}

/// Posts what follows from the end of a session: what was captured before its price was final gets its taxes. `session`
/// has just ended.
pub fn of_end(session: &Session, tariff: &Tariff, post: &mut dyn FnMut(Entry)) {
    let (captured, Some(ended)) = (session.payment.captured().minor, session.ended()) else { return };
    if captured == 0 {
        return;
    }
    let id = EntryId::of_session(session.id, 1);
    let early = sold(session, tariff, 0, captured);
    match early.and_then(|share| Entry::sold_early(id, ended.known_at, &share)) {
        Ok(entry) => post(entry),
        Err(EntryError::Empty) => {}
        Err(error) => tracing::error!(session = %session.id, %error, "an early capture has no place in the books"),
    }
}

/// Posts what follows when a session goes on that had ended: the parts of what was taken meanwhile are not final any more, as of
/// money that is taken before the end. `session` still has its end.
pub fn of_continuation(session: &Session, tariff: &Tariff, post: &mut dyn FnMut(Entry)) {
    let captured = session.payment.captured().minor;
    if captured == 0 || session.ended().is_none() {
        return;
    }
    let at = session.ended().map_or(session.meter.at, |ended| ended.known_at);
    let id = EntryId::of_session(session.id, CONTINUED | session.meter.sequence);
    let back = upto(session, tariff, None, captured)
        .and_then(|plain| plain.less(&sold(session, tariff, 0, captured)?).map_err(EntryError::from));
    match back.and_then(|back| Entry::remixed(id, at, &back)) {
        Ok(entry) => post(entry),
        Err(EntryError::Empty) => {}
        Err(error) => tracing::error!(session = %session.id, %error, "a continued session has no place in the books"),
    }
}

/// What a session would have been sold for by now: its parts and their total.
pub(crate) fn mixture(session: &Session, tariff: &Tariff) -> Option<Share> {
    let pricing = Pricing::of(tariff, &session.rating, &session.segments, session.meter.at).ok()?;
    share_of(&pricing, tariff).ok().flatten()
}

/// Posts what follows from a reading that came after the end: what was sold before it is booked with the parts that it
/// has by now, so that all that is ever sold of the session adds up to its last price, tax by tax. `session` has the
/// reading, and not its new price yet.
pub(crate) fn of_late_reading(session: &Session, tariff: &Tariff, before: &Share, post: &mut dyn FnMut(Entry)) {
    let sold = match session.settled_at() {
        Some(_) => left(session),
        None => session.payment.captured().minor.saturating_sub(session.payment.refunded().minor),
    };
    let (Some(after), true) = (mixture(session, tariff), sold > 0) else { return };
    let amount = |share: Option<&Share>| upto(session, tariff, share, sold);
    let (Ok(old), Ok(new)) = (amount(Some(before)), amount(Some(&after))) else { return };
    let at = session.ended().map_or(session.meter.at, |ended| ended.known_at.max(session.meter.at));
    // One for each late reading; above the numbers of amounts owed after a correction.
    let number = UPPER | session.meter.sequence;
    let id = EntryId::of_session(session.id, number);
    match new.less(&old).map_err(EntryError::from).and_then(|more| Entry::remixed(id, at, &more)) {
        Ok(entry) => post(entry),
        Err(EntryError::Empty) => {}
        Err(error) => tracing::error!(session = %session.id, %error, "a late reading has no place in the books"),
    }
}

/// The taxes that the first so many minor units of a session have in the books.
pub(crate) fn taxes_upto(session: &Session, tariff: &Tariff, minor: i64) -> Vec<(Tax, Amount)> {
    sold(session, tariff, 0, minor).map(|share| share.taxes).unwrap_or_default()
}

/// The operator of the tariff: OCPI's country and party.
fn operator(tariff: &Tariff) -> OperatorId {
    let country = tariff.country();
    let text = format!("{}*{}", String::from_utf8_lossy(&country), tariff.party());
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '*' { c } else { '_' };
    let text: String = text.chars().map(allowed).take(OperatorId::MAX_LEN).collect();
    OperatorId::new(&text).expect("letters, digits and stars")
}

fn funding_of(processor: &ProcessorId) -> Funding {
    match account_of(processor) {
        Some(_) => Funding::Prepaid(processor.clone()),
        None => Funding::Processor(processor.clone()),
    }
}

fn receivable(processor: &ProcessorId) -> Name {
    match account_of(processor) {
        Some(_) => Name::PrepaidClearing,
        None => Name::ProcessorReceivable(processor.clone()),
    }
}

/// The eight bytes that a credential is shown with (`card:0011223344556677`), as a name in the books.
fn fingerprint(shown: &str) -> Fingerprint {
    let mut bytes = [0; 8];
    let digits = shown.rsplit(':').next().unwrap_or(shown);
    // Another notation than this program's: still the same name for the same text.
    let known = hex::decode(digits).unwrap_or_else(|_| shown.as_bytes().to_vec());
    for (to, from) in bytes.iter_mut().zip(known) {
        *to = from;
    }
    Fingerprint(bytes)
}

/// A number for the entry of a report, different for different reports, and above those of operations. Two
/// notifications of a hold may be equal, so the message's own number is in it.
fn number_of(source: &payment::Source) -> u32 {
    UPPER | (source.digest ^ crc32fast::hash(&source.callback.0.to_be_bytes()))
}
