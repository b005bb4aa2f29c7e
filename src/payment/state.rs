//! What is known of a payment: its holds, the operations under way, and enough of the past to recognise late answers.

use super::policy::step;
use super::{
    Ask, CallbackId, Capabilities, Credential, Operation, OperationKind, Policy, ProcessorRef, Request, Source,
    UnknownCause, VoidReason,
};
use crate::units::{Amount, Currency, HoldId, Mono, Now, OpId, ProcessorId, SessionId, TimeSpan, Timestamp};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::fmt;

/// The holds of one session and everything asked about them.
///
/// Equality and serialization leave out the running timers: a payment replayed from its events equals the live one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    pub(super) session: SessionId,
    pub(super) holds: SmallVec<[Hold; 1]>,
    /// Operations without a final outcome, oldest first.
    pub(super) live: Vec<LiveOperation>,
    /// Operations with a final outcome, in the order in which they ended.
    pub(super) past: Vec<PastOperation>,
    pub(super) rare: Option<Box<Rare>>,
    /// What is owed in all, in minor units, as far as a capture was ordered.
    pub(super) owed: i64,
    pub(super) currency: Currency,
    /// Number of the last operation.
    pub(super) last: u16,
    pub(super) finish: Finish,
}

/// An operation's number in its payment, counted from 1; a hold has the number of its authorization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ordinal(pub u16);

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How the payment is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Finish {
    /// It goes on.
    No,
    /// Take what is owed and release the rest.
    Capture,
    /// Release everything.
    Release(VoidReason),
    /// Every hold ended, and that was said.
    Settled,
}

/// Funds reserved, or asked for, at one processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The processor that it is pinned to.
    pub processor: ProcessorId,
    /// The processor's name for it, once known.
    pub processor_ref: Option<ProcessorRef>,
    /// Confirmed authorized total, in minor units.
    pub authorized_minor: i64,
    /// Confirmed captured, in minor units.
    pub captured_minor: i64,
    /// Confirmed given back, in minor units.
    pub refunded_minor: i64,
    /// When it lapses; before an approval: when it would at the latest.
    pub expires_at: Timestamp,
    /// When its authorization was last sent.
    pub(super) asked_at: Timestamp,
    /// Where it stands.
    pub stage: Stage,
    #[serde(skip)]
    pub(super) timer: Timer,
    /// What its processor can do.
    pub capabilities: HoldCapabilities,
    /// Its number: that of its authorization.
    pub number: Ordinal,
    /// Increments asked for so far.
    pub(super) increments: u8,
    /// Captures or voids refused since the last one that was not.
    pub(super) refusals: u8,
    /// It is to be released, for this reason, whatever else happens.
    pub(super) release: Option<VoidReason>,
    /// A refused capture or void is tried again after a pause.
    pub(super) again: Again,
    pub(super) expiry_announced: bool,
    /// It was approved while a void was under way, which may have overtaken the authorization: void once more.
    pub(super) approved_late: bool,
}

/// Where a hold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Asked for; no final answer yet.
    Authorizing,
    /// Asked for while energy flows on our own risk.
    StandIn {
        /// How much may be spent, in minor units.
        floor_minor: i64,
    },
    /// Funds are reserved.
    Open,
    /// Given up without an answer; being released whatever it was.
    Reversing,
    /// It ended.
    Closed(Ending),
}

/// How a hold ended. Every hold ends once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// Refused.
    Declined,
    /// Refused after energy had been given on our own risk.
    StandInLost,
    /// The authorization never left the gate, or never reached the processor.
    NotExecuted,
    /// Given up and reversed.
    Reversed,
    /// Released.
    Voided,
    /// Captured; the rest is released.
    Captured,
    /// The capture was refused for good.
    CaptureFailed,
    /// Lapsed.
    Expired,
}

/// What follows a refusal, after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Again {
    No,
    Capture,
    Void,
}

/// An operation without a final outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveOperation {
    /// New total, amount to take or to give back, or what is believed held, in minor units.
    pub amount_minor: i64,
    /// When it was requested.
    pub requested_at: Timestamp,
    /// When it was last sent.
    pub(super) sent_at: Timestamp,
    /// What the driver presented; only for authorizations.
    pub(super) credential: Option<Box<Credential>>,
    pub(super) seen: Option<Seen>,
    #[serde(skip)]
    pub(super) timer: Timer,
    /// Where it stands.
    pub phase: Phase,
    /// What it asks for.
    pub ask: Ask,
    /// Its number.
    pub number: Ordinal,
    /// The hold it acts on.
    pub hold: Ordinal,
    /// How often it was sent.
    pub attempts: u16,
    /// How often the processor was asked what became of it.
    pub inquiries: u8,
    /// Some attempt may have reached the processor without an answer.
    pub(super) possibly_sent: bool,
    pub(super) escalated: bool,
    /// An answer was quarantined.
    pub(super) disputed: bool,
    /// How much of its capture window was announced as passed, in percent.
    pub(super) window_percent: u8,
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Journaled, and sent or about to be: after a crash nobody can tell.
    Asked,
    /// Definitely not sent; waits for a connection.
    Queued,
    /// The processor decides later.
    Accepted {
        /// When it means to know.
        decide_by: Timestamp,
    },
    /// Nobody knows what became of it.
    Unknown {
        /// Why.
        cause: UnknownCause,
    },
}

/// An operation with a final outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastOperation {
    /// What the processor acted on; without an approval: what was asked. In minor units.
    pub amount_minor: i64,
    pub(super) seen: Option<Seen>,
    /// Its number.
    pub number: Ordinal,
    /// The hold it acted on.
    pub hold: Ordinal,
    /// For a refund: the capture.
    pub(super) refers: Ordinal,
    /// What it asked for.
    pub kind: OperationKind,
    /// How it ended.
    pub result: Final,
    pub(super) disputed: bool,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Final {
    /// Done.
    Approved,
    /// Refused; for ever under this number.
    Declined,
    /// Never happened.
    NotExecuted,
    /// Not waited for; it is being, or was, reversed.
    GivenUp,
    /// Its hold ended before its outcome was known.
    Superseded,
    /// Approved, and undone by the processor later.
    Undone,
}

/// The last message about an operation: enough to recognise it again. (Halves of a number, to stay small.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    callback: [u64; 2],
    pub(super) digest: u32,
}

/// What most payments never need.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rare {
    /// Reports that were taken in, oldest first.
    pub(super) reports: Vec<Source>,
    /// Disputes: the hold, the amount in minor units, and whether it is still open.
    pub(super) disputes: Vec<(Ordinal, i64, bool)>,
}

/// A deadline on the monotonic clock. It dies with the process: it is neither stored nor compared.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timer(pub(super) Option<Mono>);

impl PartialEq for Timer {
    fn eq(&self, _: &Timer) -> bool {
        true
    }
}

impl Eq for Timer {}

/// What a processor can do, as far as a hold needs to know: 20 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldCapabilities {
    /// How long a repeated operation is recognised, in seconds; zero: never.
    pub replay_s: u32,
    /// The longest time an operation can be on its way and still take effect, in milliseconds.
    pub request_life_ms: u32,
    /// How old an operation must be for "not found" to mean that it never happened, in milliseconds.
    /// [`HoldCapabilities::NEVER`]: it never means that.
    pub inquiry_authoritative_ms: u32,
    /// How long a hold lives, unless an approval says otherwise, in seconds.
    pub validity_s: u32,
    /// Most increments of one hold.
    pub increments_max: u8,
    /// How much more than authorized may be captured, in percent.
    pub overcapture_percent: u8,
    /// Bit n is set when the processor takes operations of kind number n.
    kinds: u8,
    flags: u8,
}

impl HoldCapabilities {
    /// See [`HoldCapabilities::inquiry_authoritative_ms`].
    pub const NEVER: u32 = u32::MAX;
    const REPLAY_AFTER_ERROR: u8 = 1;
    const MULTIPLE_CAPTURES: u8 = 2;

    /// What a hold needs to know of a processor's declaration. Spans that do not fit are held at the end of the range.
    pub fn of(capabilities: &Capabilities) -> HoldCapabilities {
        let ms = |span: TimeSpan| u32::try_from(span.ms().max(0)).unwrap_or(u32::MAX - 1);
        let secs = |span: TimeSpan| u32::try_from(span.whole_secs().max(0)).unwrap_or(u32::MAX);
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        HoldCapabilities {
            replay_s: secs(capabilities.idempotent_replay),
            request_life_ms: ms(capabilities.request_life_max),
            inquiry_authoritative_ms: capabilities.inquiry_authoritative_after.map_or(HoldCapabilities::NEVER, ms),
            validity_s: secs(capabilities.hold_validity),
            increments_max: capabilities.increments_max,
            overcapture_percent: capabilities.overcapture_percent,
            kinds: capabilities.kinds.iter().fold(0, |bits, kind| bits | 1 << (*kind as u8)),
            flags: flag(capabilities.replay_after_error_safe, HoldCapabilities::REPLAY_AFTER_ERROR)
                | flag(capabilities.multiple_captures, HoldCapabilities::MULTIPLE_CAPTURES),
        }
    }

    /// Whether the processor takes operations of this kind.
    pub const fn takes(self, kind: OperationKind) -> bool {
        self.kinds & 1 << (kind as u8) != 0
    }

    /// Whether a repetition after an error is worked on again.
    pub const fn replay_after_error_safe(self) -> bool {
        self.flags & HoldCapabilities::REPLAY_AFTER_ERROR != 0
    }

    /// Whether several captures of one hold are possible.
    pub const fn multiple_captures(self) -> bool {
        self.flags & HoldCapabilities::MULTIPLE_CAPTURES != 0
    }
}

impl Seen {
    pub(super) fn callback(self) -> CallbackId {
        CallbackId(u128::from(self.callback[0]) << 64 | u128::from(self.callback[1]))
    }
}

impl From<Source> for Seen {
    fn from(source: Source) -> Seen {
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).expect("masked to 64 bits");
        Seen { callback: [half(source.callback.0 >> 64), half(source.callback.0)], digest: source.digest }
    }
}

impl Ask {
    /// Its kind.
    pub const fn kind(self) -> OperationKind {
        match self {
            Ask::Authorize { .. } => OperationKind::Authorize,
            Ask::Increment => OperationKind::Increment,
            Ask::Decrement => OperationKind::Decrement,
            Ask::Capture { .. } => OperationKind::Capture,
            Ask::Void { .. } => OperationKind::Void,
            Ask::Refund { .. } => OperationKind::Refund,
        }
    }
}

/// Inquiries have numbers of their own above those of operations: bit 15, seven bits that count, eight bits that name
/// the target. So an answer to an inquiry leads to its operation without any table, however late it comes.
const INQUIRY: u16 = 0x8000;

/// The number of the inquiry with this index (modulo 128) about an operation.
pub(super) fn inquiry_number(target: Ordinal, index: u8) -> Ordinal {
    Ordinal(INQUIRY | u16::from(index & 0x7f) << 8 | (target.0 & 0xff))
}

/// The operation that a number is about, and whether it is the number of an inquiry.
pub(super) fn target_of(number: Ordinal) -> (Ordinal, bool) {
    match number.0 & INQUIRY {
        0 => (number, false),
        _ => (Ordinal(number.0 & 0xff), true),
    }
}

impl Payment {
    /// A payment of which nothing was asked yet.
    pub fn new(session: SessionId, currency: Currency) -> Payment {
        Payment {
            session,
            holds: SmallVec::new(),
            live: Vec::new(),
            past: Vec::new(),
            rare: None,
            owed: 0,
            currency,
            last: 0,
            finish: Finish::No,
        }
    }

    /// The session, or top-up, that it belongs to.
    pub fn session(&self) -> SessionId {
        self.session
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

    /// The id of an operation.
    pub fn operation_id(&self, number: Ordinal) -> OpId {
        self.session.operation(number.0)
    }

    /// The id of a hold.
    pub fn hold_id(&self, number: Ordinal) -> HoldId {
        HoldId(self.operation_id(number))
    }

    /// Confirmed authorized over all open holds: what is reserved of the driver's money, as far as is known.
    pub fn authorized(&self) -> Amount {
        self.sum(|hold| if hold.stage == Stage::Open { hold.authorized_minor } else { 0 })
    }

    /// What the session may still count on: reserved and not being released, taken or lowered; for a stand-in its floor.
    /// Pending increments never count.
    pub fn spendable(&self) -> Amount {
        self.sum(|hold| match hold.stage {
            Stage::StandIn { floor_minor } if hold.release.is_none() => floor_minor,
            Stage::Open if hold.release.is_none() && self.live_on(hold, OperationKind::Void).is_none() => {
                self.usable_minor(hold).saturating_sub(hold.captured_minor).saturating_sub(self.capturing_minor(hold))
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

    /// What can still be given back: captured, less refunds made or under way, less what is disputed.
    pub fn refundable(&self) -> Amount {
        self.sum(|hold| self.refundable_minor(hold))
    }

    /// What is owed by the last order to capture and neither taken nor being taken.
    pub fn shortfall(&self) -> Amount {
        let open = self.owed.saturating_sub(self.captured().minor).saturating_sub(self.capturing().minor);
        self.amount(open.max(0))
    }

    /// Whether nothing is under way and every hold ended.
    pub fn is_settled(&self) -> bool {
        self.live.is_empty() && self.holds.iter().all(Hold::is_over)
    }

    /// Whether an authorization is under way, or being reversed.
    pub fn is_authorizing(&self) -> bool {
        self.holds.iter().any(|hold| matches!(hold.stage, Stage::Authorizing | Stage::Reversing))
    }

    /// Starts the timers that are not running yet, and says when the next one is due. Called after every decision was
    /// applied, and once after replay (after [`resume`](super::resume)).
    pub fn arm(&mut self, now: Now, policy: &Policy) -> Option<Mono> {
        for operation in &mut self.live {
            if operation.timer.0.is_none() {
                let hold =
                    self.holds.iter().find(|hold| hold.number == operation.hold).expect("operations have a hold");
                operation.timer.0 = operation.pause(hold, now, policy).map(|pause| now.mono.after(pause));
            }
        }
        for hold in &mut self.holds {
            if hold.timer.0.is_none() {
                hold.timer.0 = hold.pause(policy).map(|pause| now.mono.after(pause));
            }
        }
        self.next_deadline(now, policy)
    }

    /// When [`Command::Tick`](super::Command::Tick) is due, as far as timers are running. Instants on the wall clock
    /// (expiry) are translated with `now`.
    pub fn next_deadline(&self, now: Now, policy: &Policy) -> Option<Mono> {
        let timers = self.live.iter().map(|operation| operation.timer.0).chain(self.holds.iter().map(Hold::due));
        let dates = self.holds.iter().filter_map(|hold| self.next_date(hold, policy));
        timers.flatten().chain(dates.map(|date| now.mono.after(date.since(now.wall)))).min()
    }

    /// The next instant on the wall clock at which something is to be decided about a hold.
    pub(super) fn next_date(&self, hold: &Hold, policy: &Policy) -> Option<Timestamp> {
        let capture = self.live_on(hold, OperationKind::Capture);
        match (hold.stage, capture) {
            (Stage::StandIn { .. } | Stage::Authorizing, _) => None,
            (_, Some(capture)) => capture.window_ends(hold),
            (Stage::Open, None) if !hold.expiry_announced => {
                Some(hold.expires_at.saturating_add(TimeSpan::from_ms(-policy.expiry_guard.ms())))
            }
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

    pub(super) fn live(&self, number: Ordinal) -> Option<&LiveOperation> {
        self.live.iter().find(|operation| operation.number == number)
    }

    pub(super) fn past(&self, number: Ordinal) -> Option<&PastOperation> {
        self.past.iter().find(|operation| operation.number == number)
    }

    /// The operation of this kind that is under way on a hold.
    pub(super) fn live_on(&self, hold: &Hold, kind: OperationKind) -> Option<&LiveOperation> {
        self.live.iter().find(|operation| operation.hold == hold.number && operation.ask.kind() == kind)
    }

    /// The confirmed total, or the lower one that a decrement under way asks for.
    pub(super) fn usable_minor(&self, hold: &Hold) -> i64 {
        match self.live_on(hold, OperationKind::Decrement) {
            Some(decrement) => hold.authorized_minor.min(decrement.amount_minor),
            None => hold.authorized_minor,
        }
    }

    /// What may be captured in all: the usable total and what the processor allows above it.
    pub(super) fn capturable_minor(&self, hold: &Hold) -> i64 {
        let usable = i128::from(self.usable_minor(hold));
        let most = usable + usable * i128::from(hold.capabilities.overcapture_percent) / 100;
        i64::try_from(most).unwrap_or(i64::MAX)
    }

    pub(super) fn capturing_minor(&self, hold: &Hold) -> i64 {
        self.live_on(hold, OperationKind::Capture).map_or(0, |capture| capture.amount_minor)
    }

    /// Refunds under way on a hold, reserved until they are answered.
    pub(super) fn refunding_minor(&self, hold: &Hold) -> i64 {
        let refunds = self.live.iter().filter(|op| op.hold == hold.number && op.ask.kind() == OperationKind::Refund);
        refunds.map(|refund| refund.amount_minor).fold(0, i64::saturating_add)
    }

    pub(super) fn refundable_minor(&self, hold: &Hold) -> i64 {
        let disputes = self.rare.iter().flat_map(|rare| &rare.disputes);
        let disputed = disputes.filter(|(number, _, _)| *number == hold.number).map(|(_, amount, _)| *amount);
        let left = hold.captured_minor.saturating_sub(hold.refunded_minor).saturating_sub(self.refunding_minor(hold));
        left.saturating_sub(disputed.fold(0, i64::saturating_add)).max(0)
    }

    /// The message for an operation as it stands.
    pub(super) fn message(&self, operation: &LiveOperation, now: Now, policy: &Policy) -> Operation {
        let hold = self.hold(operation.hold).expect("operations have a hold");
        let wait = policy.answer_within(operation.ask.kind(), operation.attempts);
        Operation {
            id: self.operation_id(operation.number),
            hold: self.hold_id(hold.number),
            processor: hold.processor.clone(),
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
                processor_ref: hold.processor_ref.clone(),
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

    fn due(&self) -> Option<Mono> {
        self.timer.0.filter(|_| self.again != Again::No)
    }

    /// The pause before a refused capture or void is tried again.
    fn pause(&self, policy: &Policy) -> Option<TimeSpan> {
        let index = u16::from(self.refusals.saturating_sub(1));
        match self.again {
            Again::No => None,
            Again::Capture => Some(step(&policy.capture_again_schedule, index)),
            // A reversal that found nothing is meaningless until the original cannot arrive any more.
            Again::Void => {
                let life = TimeSpan::from_ms(i64::from(self.capabilities.request_life_ms));
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
            Phase::Unknown { .. } => match self.has_next_step(hold, now.wall) || !self.escalated {
                true => Some(step(&policy.inquiry_schedule, u16::from(self.inquiries))),
                false => None,
            },
        }
    }

    /// Whether the gate can do something about its unknown outcome.
    pub(super) fn has_next_step(&self, hold: &Hold, at: Timestamp) -> bool {
        let gives_up = matches!(self.ask, Ask::Authorize { stand_in: false, .. } | Ask::Void { .. });
        gives_up || hold.capabilities.takes(OperationKind::Inquire) || self.may_repeat(hold, at)
    }

    /// Whether the processor will recognise a repetition and work on it.
    pub(super) fn may_repeat(&self, hold: &Hold, at: Timestamp) -> bool {
        if matches!(self.ask, Ask::Void { .. }) {
            return true;
        }
        let error = matches!(self.phase, Phase::Unknown { cause: UnknownCause::Error });
        let window = TimeSpan::from_secs(i64::from(hold.capabilities.replay_s));
        at.since(self.requested_at) < window && (!error || hold.capabilities.replay_after_error_safe())
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
