//! Read access to a payment: sums, deadlines, and the message for an operation.

use super::history::{History, HistoryEntry};
use super::policy::step;
use super::state::{Again, Finish, Raise, Timer, target_of};
use super::{
    Ask, Credential, Dispute, DisputeState, Final, Hold, LiveOperation, Operation, OperationKind, Ordinal,
    PastOperation, Payment, Phase, Policy, ProcessorRef, Rejection, Request, Stage,
};
use crate::limits::HOLDS_PER_PAYMENT;
use crate::units::{Amount, Currency, HoldId, Mono, Now, OpId, PaymentId, TimeSpan, Timestamp};
use smallvec::SmallVec;

/// An operation of a payment.
#[derive(Clone, Copy, Debug)]
pub struct FoundOperation<'a> {
    /// The hold that it acts on.
    pub hold: &'a Hold,
    /// Its kind.
    pub kind: OperationKind,
    /// New total, amount to take or to give back, in minor units.
    pub amount_minor: i64,
}

impl Payment {
    /// A payment without operations.
    pub fn new(id: PaymentId, currency: Currency) -> Payment {
        Payment {
            id,
            holds: SmallVec::new(),
            live: Box::default(),
            past: SmallVec::new(),
            history: History::default(),
            rare: None,
            owed: 0,
            currency,
            last: 0,
            finish: Finish::No,
        }
    }

    /// Its id.
    pub fn id(&self) -> PaymentId {
        self.id
    }

    /// Its currency.
    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// Its holds, oldest first.
    pub fn holds(&self) -> &[Hold] {
        &self.holds
    }

    /// The operations without a final outcome.
    pub fn live_operations(&self) -> &[LiveOperation] {
        &self.live
    }

    /// The operations with a final outcome.
    pub fn past_operations(&self) -> &[PastOperation] {
        &self.past
    }

    /// The history of its operations, in order, as far as it is kept ([`History`]).
    pub fn history(&self) -> impl Iterator<Item = HistoryEntry> + '_ {
        self.history.entries()
    }

    /// Whether the history is full, so that repetitions and inquiries are no longer recorded.
    pub fn history_is_full(&self) -> bool {
        self.history.is_full()
    }

    /// An operation with its hold; for the id of an inquiry, the operation that it is about.
    pub fn find_operation(&self, id: OpId) -> Option<FoundOperation<'_>> {
        let (number, _) = target_of(Ordinal(id.ordinal()));
        let live = self.live.iter().find(|live| live.number == number);
        let live = live.map(|live| (live.hold, live.ask.kind(), live.amount_minor));
        let past = || self.past.iter().find(|past| past.number == number);
        let (hold, kind, amount_minor) =
            live.or_else(|| past().map(|past| (past.hold, past.kind, past.amount_minor)))?;
        let hold = self.holds.iter().find(|of| of.number == hold)?;
        Some(FoundOperation { hold, kind, amount_minor })
    }

    /// The id of an operation.
    pub fn operation_id(&self, number: Ordinal) -> OpId {
        self.id.operation(number.0)
    }

    /// The id of a hold.
    pub fn hold_id(&self, number: Ordinal) -> HoldId {
        HoldId(self.operation_id(number))
    }

    /// Confirmed authorized over all open holds: the reserved amount of the driver's money, as far as is known.
    pub fn authorized(&self) -> Amount {
        self.sum(|hold| if hold.stage == Stage::Open { hold.authorized_minor } else { 0 })
    }

    /// A number that reads what [`Payment::spendable`] and [`Payment::closing_at`] will, so that they find it near: what it is
    /// does not matter.
    #[inline]
    pub fn prefetch(&self) -> u64 {
        let hold = self.holds.first().map_or(0, |hold| hold.authorized_minor ^ hold.expires_at.unix_ms());
        (hold ^ self.owed).cast_unsigned() ^ self.live.len() as u64
    }

    /// The amount that may be spent: reserved and not being released, taken or lowered; for a stand-in its
    /// floor. Pending increments never count.
    pub fn spendable(&self) -> Amount {
        self.sum(|hold| match hold.stage {
            Stage::StandIn { floor_minor } if hold.release.is_none() => floor_minor,
            Stage::Open if hold.release.is_none() && self.live_on(hold, OperationKind::Void).is_none() => {
                let taken = hold.captured_minor.saturating_add(self.capturing_minor(hold));
                self.usable_minor(hold).saturating_sub(taken).max(0)
            }
            _ => 0,
        })
    }

    /// Confirmed captured.
    pub fn captured(&self) -> Amount {
        self.sum(|hold| hold.captured_minor)
    }

    /// Captures without an outcome yet.
    pub fn capturing(&self) -> Amount {
        self.sum(|hold| self.capturing_minor(hold))
    }

    /// Confirmed given back.
    pub fn refunded(&self) -> Amount {
        self.sum(|hold| hold.refunded_minor)
    }

    /// The amount that can still be refunded: captured, less refunds made or in progress, less disputes.
    pub fn refundable(&self) -> Amount {
        self.sum(|hold| self.refundable_minor(hold))
    }

    /// The amount owed by the last capture order and neither captured nor being captured.
    pub fn shortfall(&self) -> Amount {
        let open = self.owed.saturating_sub(self.captured().minor).saturating_sub(self.capturing().minor);
        self.amount(open.max(0))
    }

    /// Whether energy flows on our own risk: the authorization follows, and has no answer yet.
    pub fn stands_in(&self) -> bool {
        self.holds.iter().any(|hold| matches!(hold.stage, Stage::StandIn { .. }))
    }

    /// Whether it was ordered to end, or has ended.
    pub fn is_ending(&self) -> bool {
        self.finish != Finish::No
    }

    /// Whether money can be taken from some open hold more than once.
    pub fn takes_several_captures(&self) -> bool {
        self.holds.iter().any(|hold| hold.stage == Stage::Open && hold.capabilities().multiple_captures())
    }

    /// The total owed, as far as a capture was ordered.
    pub fn owed(&self) -> Amount {
        self.amount(self.owed)
    }

    /// Refunds without an outcome yet.
    pub fn refunding(&self) -> Amount {
        self.sum(|hold| self.refunding_minor(hold))
    }

    /// What the driver presented for an authorization that has no outcome yet.
    pub fn credential(&self, authorization: Ordinal) -> Option<&Credential> {
        self.live(authorization)?.credential.as_deref()
    }

    /// When the energy has to stop so that the amount owed can still be taken: `closing`, or an eighth of the processor's
    /// validity if that is shorter, before the first open hold lapses.
    pub fn closing_at(&self, closing: TimeSpan) -> Option<Timestamp> {
        let open = self.holds.iter().filter(|hold| hold.stage == Stage::Open && hold.release.is_none());
        open.map(|hold| {
            let closing = closing.min(TimeSpan::from_ms(hold.capabilities().validity().ms() / 8));
            hold.expires_at.saturating_add(TimeSpan::from_ms(-closing.ms()))
        })
        .min()
    }

    /// The total requested by the last increment, if that was refused: a lower one may be possible.
    pub fn refused_total(&self) -> Option<Amount> {
        let last = self.past.iter().rev().find(|past| past.kind == OperationKind::Increment)?;
        let refused = (last.result == Final::Declined).then_some(last)?;
        let others = self.holds.iter().filter(|hold| hold.stage == Stage::Open && hold.number != last.hold);
        let others = others.map(|hold| hold.authorized_minor).fold(0, i64::saturating_add);
        Some(self.amount(refused.amount_minor.saturating_add(others)))
    }

    /// Number of decrements so far.
    pub fn decrements(&self) -> usize {
        let past = self.past.iter().filter(|past| past.kind == OperationKind::Decrement).count();
        past + self.live.iter().filter(|live| live.ask == Ask::Decrement).count()
    }

    /// Whether an operation of this kind is in progress.
    pub fn is_under_way(&self, kind: OperationKind) -> bool {
        self.live.iter().any(|live| live.ask.kind() == kind)
    }

    /// Whether nothing is in progress and every hold ended.
    pub fn is_settled(&self) -> bool {
        self.live.is_empty() && self.holds.iter().all(Hold::is_over)
    }

    /// CRC-32 of all that is stored of it: equal payments have equal ones.
    pub fn fingerprint(&self) -> u32 {
        crc32fast::hash(&postcard::to_stdvec(self).expect("a payment is a plain value and always encodes"))
    }

    /// Whether an authorization is in progress, or being reversed.
    pub fn is_authorizing(&self) -> bool {
        self.holds.iter().any(|hold| matches!(hold.stage, Stage::Authorizing | Stage::Reversing))
    }

    /// Starts the timers that are not running yet, and returns when the next one is due. Called after every decision
    /// was applied, and once after replay (after [`resume`](super::resume)).
    pub fn arm(&mut self, now: Now, policy: &Policy) -> Option<Mono> {
        for operation in &mut self.live {
            operation.clocked.start(now);
            operation.sent.start(now);
            if operation.timer.due().is_none() {
                let hold =
                    self.holds.iter().find(|hold| hold.number == operation.hold).expect("operations have a hold");
                operation.timer = Timer::after(now, operation.pause(hold, now, policy));
            }
        }
        for hold in &mut self.holds {
            if hold.timer.due().is_none() {
                hold.timer = Timer::after(now, hold.pause(policy));
            }
        }
        self.next_deadline(now, policy)
    }

    /// When [`Command::Tick`](super::Command::Tick) is due, as far as timers are running. Instants on the wall clock
    /// (expiry) are translated with `now`.
    pub fn next_deadline(&self, now: Now, policy: &Policy) -> Option<Mono> {
        let timers = self.live.iter().map(|operation| operation.timer.due()).chain(self.holds.iter().map(Hold::due));
        let dates = self.holds.iter().filter_map(|hold| self.next_date(hold, policy));
        timers.flatten().chain(dates.map(|date| now.mono.after(date.since(now.wall)))).min()
    }

    /// The next instant on the wall clock at which something is to be decided about a hold.
    pub(super) fn next_date(&self, hold: &Hold, policy: &Policy) -> Option<Timestamp> {
        let capture = self.live_on(hold, OperationKind::Capture);
        match (hold.stage, capture) {
            (Stage::StandIn { .. } | Stage::Authorizing, _) => None,
            (_, Some(capture)) => capture.window_ends(hold),
            (Stage::Open, None) if !hold.expiry_announced => Some(hold.before_its_end(policy.expiry_guard)),
            (Stage::Open | Stage::Reversing, None) => Some(hold.expires_at),
            (Stage::Closed(_), None) => hold.release.map(|_| hold.expires_at),
        }
    }

    pub(super) fn amount(&self, minor: i64) -> Amount {
        Amount::new(minor, self.currency)
    }

    fn sum(&self, of: impl Fn(&Hold) -> i64) -> Amount {
        self.amount(self.holds.iter().map(of).fold(0, i64::saturating_add))
    }

    /// The hold with this number.
    pub fn hold(&self, number: Ordinal) -> Option<&Hold> {
        self.holds.iter().find(|hold| hold.number == number)
    }

    /// The numbers of all holds, oldest first.
    pub(super) fn hold_numbers(&self) -> SmallVec<[Ordinal; HOLDS_PER_PAYMENT]> {
        self.holds.iter().map(|hold| hold.number).collect()
    }

    pub(super) fn live(&self, number: Ordinal) -> Option<&LiveOperation> {
        self.live.iter().find(|operation| operation.number == number)
    }

    pub(super) fn past(&self, number: Ordinal) -> Option<&PastOperation> {
        self.past.iter().find(|operation| operation.number == number)
    }

    /// The operation of this kind that is in progress on a hold.
    pub(super) fn live_on(&self, hold: &Hold, kind: OperationKind) -> Option<&LiveOperation> {
        self.live.iter().find(|operation| operation.hold == hold.number && operation.ask.kind() == kind)
    }

    /// The confirmed total, or the lower one that a decrement in progress requests.
    pub(super) fn usable_minor(&self, hold: &Hold) -> i64 {
        match self.live_on(hold, OperationKind::Decrement) {
            Some(decrement) => hold.authorized_minor.min(decrement.amount_minor),
            None => hold.authorized_minor,
        }
    }

    /// The total that may be captured: the usable total and what the processor allows above it.
    pub(super) fn capturable_minor(&self, hold: &Hold) -> i64 {
        let usable = i128::from(self.usable_minor(hold));
        let most = usable + usable * i128::from(hold.capabilities().overcapture_percent) / 100;
        i64::try_from(most).unwrap_or(i64::MAX)
    }

    pub(super) fn capturing_minor(&self, hold: &Hold) -> i64 {
        self.live_on(hold, OperationKind::Capture).map_or(0, |capture| capture.amount_minor)
    }

    /// Refunds in progress on a hold, reserved until they are answered.
    pub(super) fn refunding_minor(&self, hold: &Hold) -> i64 {
        let refunds = self.live.iter().filter(|op| op.hold == hold.number && op.ask.kind() == OperationKind::Refund);
        refunds.map(|refund| refund.amount_minor).fold(0, i64::saturating_add)
    }

    pub(super) fn refundable_minor(&self, hold: &Hold) -> i64 {
        self.disputable_minor(hold).saturating_sub(self.refunding_minor(hold)).max(0)
    }

    /// The amount that an issuer can still dispute: captured, less refunds, less disputes.
    pub(super) fn disputable_minor(&self, hold: &Hold) -> i64 {
        let left = hold.captured_minor.saturating_sub(hold.refunded_minor);
        left.saturating_sub(self.disputed_minor(hold.number)).max(0)
    }

    /// Open and lost disputes of a hold.
    pub(super) fn disputed_minor(&self, hold: Ordinal) -> i64 {
        let of_hold = self.disputes().filter(|dispute| dispute.hold == hold && dispute.state != DisputeState::Won);
        of_hold.map(|dispute| dispute.amount_minor).fold(0, i64::saturating_add)
    }

    /// Every dispute of its captures, oldest first.
    pub fn disputes(&self) -> impl Iterator<Item = &Dispute> {
        self.rare.iter().flat_map(|rare| &rare.disputes)
    }

    /// The message for an operation as it stands.
    pub(super) fn message(&self, operation: &LiveOperation, now: Now, policy: &Policy) -> Operation {
        let hold = self.hold(operation.hold).expect("operations have a hold");
        let wait = policy.answer_within(operation.ask.kind(), operation.attempts);
        Operation {
            id: self.operation_id(operation.number),
            hold: self.hold_id(hold.number),
            processor: hold.processor().clone(),
            attempt: operation.attempts,
            possible_duplicate: operation.possibly_sent,
            decide_by: now.wall.saturating_add(wait),
            request: self.request(operation, hold),
        }
    }

    fn request(&self, operation: &LiveOperation, hold: &Hold) -> Request {
        let amount = self.amount(operation.amount_minor);
        // Requests that need the processor's name are made only on approved holds; an approval always brings one.
        let processor_ref = || hold.processor_ref.clone().unwrap_or(ProcessorRef(Box::default()));
        match operation.ask {
            Ask::Authorize { partial_ok, stand_in } => Request::Authorize {
                credential: *operation.credential.clone().expect("an authorization under way keeps its credential"),
                amount,
                partial_ok,
                stand_in,
            },
            Ask::Increment => Request::Increment { processor_ref: processor_ref(), new_total: amount },
            Ask::Decrement => Request::Decrement { processor_ref: processor_ref(), new_total: amount },
            Ask::Capture { last } => Request::Capture { processor_ref: processor_ref(), amount, last },
            Ask::Void { reason } => Request::Void {
                authorization: self.operation_id(hold.number),
                processor_ref: hold.processor_ref.clone().filter(|_| operation.referenced),
                reason,
            },
            Ask::Refund { capture } => {
                Request::Refund { capture: self.operation_id(capture), processor_ref: processor_ref(), amount }
            }
        }
    }
}

impl Hold {
    /// Whether it ended and nothing of it is left to release.
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Closed(_)) && self.release.is_none()
    }

    /// So long before it lapses, or a quarter of its processor's validity if that is shorter.
    fn before_its_end(&self, guard: TimeSpan) -> Timestamp {
        let guard = guard.min(TimeSpan::from_ms(self.capabilities().validity().ms() / 4));
        self.expires_at.saturating_add(TimeSpan::from_ms(-guard.ms()))
    }

    /// Whether its total may be raised, after increments that were refused.
    pub(super) fn may_be_raised(&self, now: Now) -> Result<(), Rejection> {
        match (self.raise, self.timer.due()) {
            (Raise::Free, _) => Ok(()),
            (Raise::Later | Raise::Paused, Some(due)) if due <= now.mono => Ok(()),
            (Raise::Later | Raise::Paused, _) => Err(Rejection::IncrementTooSoon),
            (Raise::Never, _) => Err(Rejection::IncrementsRefused),
        }
    }

    fn due(&self) -> Option<Mono> {
        self.timer.due().filter(|_| self.again != Again::No)
    }

    /// The pause before a refused capture or void is tried again, or a refused increment may be.
    fn pause(&self, policy: &Policy) -> Option<TimeSpan> {
        let index = u16::from(self.refusals.saturating_sub(1));
        match self.again {
            Again::No => matches!(self.raise, Raise::Later | Raise::Paused).then_some(policy.increment_pause),
            Again::Capture => Some(step(&policy.capture_again_schedule, index)),
            // A reversal that found nothing is meaningless until the original cannot arrive any more.
            Again::Void => {
                let life = TimeSpan::from_ms(i64::from(self.capabilities().request_life_ms));
                Some(step(&policy.void_again_schedule, index).max(if self.refusals == 1 {
                    life
                } else {
                    TimeSpan::ZERO
                }))
            }
        }
    }
}

impl LiveOperation {
    /// The pause before its next step, or `None` when only the processor can move it.
    fn pause(&self, hold: &Hold, now: Now, policy: &Policy) -> Option<TimeSpan> {
        let kind = self.ask.kind();
        match self.phase {
            Phase::Asked => Some(policy.answer_within(kind, self.attempts)),
            Phase::Queued => Some(step(&policy.queue_schedule, self.attempts.saturating_sub(1))),
            Phase::Accepted { decide_by } => {
                Some(decide_by.since(now.wall).max(policy.answer_within(kind, self.attempts)))
            }
            Phase::Unknown { .. } => {
                if self.has_next_step(hold, now) || !self.escalated {
                    Some(step(&policy.inquiry_schedule, u16::from(self.inquiries)))
                } else {
                    None
                }
            }
        }
    }

    /// How long ago it was requested, at most. A clock that was set back makes nothing younger.
    fn most_age(&self, now: Now) -> TimeSpan {
        let measured = self.clocked.due().map_or(TimeSpan::ZERO, |since| now.mono.since(since));
        now.wall.since(self.requested_at).max(measured)
    }

    /// How long ago it was last sent, at least. A clock that was set forward, or a restart, makes nothing older.
    pub(super) fn least_age(&self, now: Now) -> TimeSpan {
        let measured = self.sent.due().map_or(TimeSpan::ZERO, |since| now.mono.since(since));
        now.wall.since(self.sent_at).min(measured)
    }

    /// Whether the gate can do something about its unknown outcome.
    pub(super) fn has_next_step(&self, hold: &Hold, now: Now) -> bool {
        let gives_up = matches!(self.ask, Ask::Authorize { stand_in: false, .. } | Ask::Void { .. });
        gives_up || hold.capabilities().takes(OperationKind::Inquire) || self.may_repeat(hold, now)
    }

    /// Whether the processor will recognise a repetition that is sent now, and work on it.
    pub(super) fn may_repeat(&self, hold: &Hold, now: Now) -> bool {
        if self.is_spoiled(hold) {
            return false;
        }
        if matches!(self.ask, Ask::Void { .. }) {
            return true;
        }
        let arrives = self.most_age(now).ms().saturating_add(i64::from(hold.capabilities().request_life_ms));
        arrives < i64::from(hold.capabilities().replay_s) * 1_000
    }

    /// Whether a repetition would only bring back a stored error.
    pub(super) fn is_spoiled(&self, hold: &Hold) -> bool {
        self.failed && !hold.capabilities().replay_after_error_safe()
    }

    /// When the next part of its capture window has passed: 50 and 90 percent of the time until the hold lapses.
    pub(super) fn window_ends(&self, hold: &Hold) -> Option<Timestamp> {
        let window = hold.expires_at.since(self.requested_at).ms().max(0);
        let part = match self.window_percent {
            0 => window / 2,
            50 => window / 10 * 9,
            _ => return None,
        };
        Some(self.requested_at.saturating_add(TimeSpan::from_ms(part)))
    }
}
