//! State of a payment: its holds, the operations in progress, and enough of the past to recognise late
//! answers.

use super::history::History;
use super::{
    Ask, CallbackId, Credential, HoldCapabilities, OperationKind, ProcessorRef, Source, UnknownCause, VoidReason,
};
use crate::stored::{Stored, StoredError, stored};
use crate::units::{Common, Currency, Mono, Now, PaymentId, ProcessorId, TimeSpan, Timestamp, few};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};

/// The holds of one payment with all of their operations.
///
/// Equality and serialization leave out the running timers: a payment replayed from its events equals the live one.
///
/// ```
/// use wattstile::payment::{
///     Capabilities, Command, Credential, CredentialKind, Effect, HoldCapabilities, Payment, Policy, apply, decide,
/// };
/// use wattstile::units::{Amount, Currency, Mono, Now, PartitionId, PaymentId, ProcessorId, Timestamp};
///
/// let now = Now { wall: Timestamp::from_unix_ms(1_796_000_000_000), mono: Mono(0) };
/// let mut payment = Payment::new(PaymentId::new(now.wall, PartitionId(0), 7), Currency::EUR);
/// let authorize = Command::Authorize {
///     processor: ProcessorId::new("acme")?,
///     capabilities: HoldCapabilities::of(&Capabilities::everything(Currency::EUR)),
///     credential: Credential { kind: CredentialKind::CardToken, token: b"tok_1".as_slice().into() },
///     amount: Amount::new(4_500, Currency::EUR),
///     partial_ok: false,
/// };
/// // Deciding changes nothing: the events do, and the effects wait until these are durable.
/// let decision = decide(&payment, authorize, now, &Policy::default());
/// decision.events.iter().for_each(|event| apply(&mut payment, event));
/// assert!(matches!(decision.effects.as_slice(), [Effect::Send(operation)] if operation.processor.as_str() == "acme"));
/// assert_eq!(payment.authorized().minor, 0, "nothing is authorized until the processor approves");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    pub(super) id: PaymentId,
    pub(super) holds: SmallVec<[Hold; 1]>,
    /// Operations without a final outcome, oldest first.
    pub(super) live: Box<[LiveOperation]>,
    /// Operations with a final outcome, in the order in which they ended.
    pub(super) past: SmallVec<[PastOperation; 1]>,
    /// The history of all operations.
    pub(super) history: History,
    pub(super) rare: Option<Box<Rare>>,
    /// The amount owed in all, in minor units, as far as a capture was ordered.
    pub(super) owed: i64,
    pub(super) currency: Currency,
    /// Number of the last operation.
    pub(super) last: u16,
    pub(super) finish: Finish,
}

stored!(struct Payment {
    0: id, 1: holds, 2: live, 3: past, 4: history, 5: rare, 6: owed, 7: currency, 8: last, 9: finish,
});

/// An operation's number in its payment, counted from 1; a hold has the number of its authorization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ordinal(pub u16);

stored!(struct Ordinal(value));

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The ordered end of the payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Finish {
    /// It goes on.
    No,
    /// Take the amount owed and release the rest.
    Capture,
    /// Release everything.
    Release(VoidReason),
    /// Every hold ended, and the owner was notified.
    Settled,
}

stored!(enum Finish { 0: No, 1: Capture, 2: Release(void_reason), 3: Settled });

/// Funds reserved, or requested, at one processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The processor.
    pub(super) party: Common<Party>,
    /// The processor's name for it, once known.
    pub processor_ref: Option<ProcessorRef>,
    /// Confirmed authorized total, in minor units.
    pub authorized_minor: i64,
    /// Confirmed captured, in minor units.
    pub captured_minor: i64,
    /// Confirmed given back, in minor units.
    pub refunded_minor: i64,
    /// When it lapses; before an approval: one validity after its authorization was last sent.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub stage: Stage,
    #[serde(skip)]
    pub(super) timer: Timer,
    /// Its number: that of its authorization.
    pub number: Ordinal,
    /// Increments requested so far.
    pub(super) increments: u8,
    /// Captures or voids refused since the last one that was not.
    pub(super) refusals: u8,
    /// It is to be released, for this reason, whatever else happens.
    pub(super) release: Option<VoidReason>,
    /// A refused capture or void is tried again after a pause.
    pub(super) again: Again,
    pub(super) raise: Raise,
    pub(super) expiry_announced: bool,
    /// It was approved while a void was in progress, which may have overtaken the authorization: void once more.
    pub(super) approved_late: bool,
}

stored!(struct Hold {
    0: party, 1: processor_ref, 2: authorized_minor, 3: captured_minor, 4: refunded_minor, 5: expires_at, 6: stage,
    7: number, 8: increments, 9: refusals, 10: release, 11: again, 12: raise, 13: expiry_announced, 14: approved_late,
} without timer);

/// The processor that a hold is pinned to, with its capabilities at the time of the request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Party {
    pub(super) processor: ProcessorId,
    pub(super) capabilities: HoldCapabilities,
}

stored!(struct Party { 0: processor, 1: capabilities });

few!(Party);

/// Where a hold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Requested; no final answer yet.
    Authorizing,
    /// Requested while energy flows on our own risk.
    StandIn {
        /// How much may be spent, in minor units.
        floor_minor: i64,
    },
    /// Funds are reserved.
    Open,
    /// Given up without an answer; being released whatever it was.
    Reversing,
    /// Ended.
    Closed(Ending),
}

stored!(enum Stage { 0: Authorizing, 1: StandIn { 0: floor_minor }, 2: Open, 3: Reversing, 4: Closed(ending) });

/// The end of a hold. Every hold ends once.
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

stored!(enum Ending {
    0: Declined,
    1: StandInLost,
    2: NotExecuted,
    3: Reversed,
    4: Voided,
    5: Captured,
    6: CaptureFailed,
    7: Expired,
});

/// Whether the hold's total may be raised, after increments that were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Raise {
    Free,
    /// After a pause, once more.
    Later,
    Never,
    /// After a pause, as if nothing had been requested: the last increment never left the gate.
    Paused,
}

stored!(enum Raise { 0: Free, 1: Later, 2: Never, 3: Paused });

/// The next attempt after a refusal and a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Again {
    No,
    Capture,
    Void,
}

stored!(enum Again { 0: No, 1: Capture, 2: Void });

/// An operation without a final outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveOperation {
    /// New total, amount to capture or refund, or the amount presumed held, in minor units.
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
    /// When this process first knew of it.
    #[serde(skip)]
    pub(super) clocked: Timer,
    /// When this process last sent it, or first knew that it had been sent.
    #[serde(skip)]
    pub(super) sent: Timer,
    /// Where it stands.
    pub phase: Phase,
    /// Its request.
    pub ask: Ask,
    /// Its number.
    pub number: Ordinal,
    /// The hold it acts on.
    pub hold: Ordinal,
    /// Number of times that it was sent.
    pub attempts: u16,
    /// Number of inquiries about it.
    pub inquiries: u8,
    /// Number of the last inquiries that are binding: sent so long after the last sending that "not found" means
    /// "never".
    pub(super) binding: u8,
    /// Some attempt may have reached the processor without an answer.
    pub(super) possibly_sent: bool,
    /// The processor answered with an error once; it may have stored that for ever.
    pub(super) failed: bool,
    /// The processor's reference existed when it was requested: a repetition carries the same body as the first
    /// attempt.
    pub(super) referenced: bool,
    pub(super) escalated: bool,
    /// An answer was quarantined.
    pub(super) disputed: bool,
    /// How much of its capture window was announced as passed, in percent.
    pub(super) window_percent: u8,
}

stored!(struct LiveOperation {
    0: amount_minor, 1: requested_at, 2: sent_at, 3: credential, 4: seen, 5: phase, 6: ask, 7: number, 8: hold,
    9: attempts, 10: inquiries, 11: binding, 12: possibly_sent, 13: failed, 14: referenced, 15: escalated,
    16: disputed, 17: window_percent,
} without timer, clocked, sent);

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Journaled, and sent or about to be: after a crash either is possible.
    Asked,
    /// Definitely not sent; waits for a connection.
    Queued,
    /// The processor decides later.
    Accepted {
        /// Announced time of the decision.
        decide_by: Timestamp,
    },
    /// The outcome is unknown.
    Unknown {
        /// The reason.
        cause: UnknownCause,
    },
}

stored!(enum Phase { 0: Asked, 1: Queued, 2: Accepted { 0: decide_by }, 3: Unknown { 0: cause } });

/// An operation with a final outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastOperation {
    /// The amount that the processor acted on; without an approval the requested one. In minor units.
    pub amount_minor: i64,
    pub(super) seen: Option<Seen>,
    /// Its number.
    pub number: Ordinal,
    /// The hold it acted on.
    pub hold: Ordinal,
    /// For a refund: the capture.
    pub(super) refers: Ordinal,
    /// Its kind.
    pub kind: OperationKind,
    /// Its end.
    pub result: Final,
    pub(super) disputed: bool,
    /// Its answer came again.
    pub(super) repeated: bool,
}

stored!(struct PastOperation {
    0: amount_minor, 1: seen, 2: number, 3: hold, 4: refers, 5: kind, 6: result, 7: disputed, 8: repeated,
});

/// The end of an operation.
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

stored!(enum Final { 0: Approved, 1: Declined, 2: NotExecuted, 3: GivenUp, 4: Superseded, 5: Undone });

/// The last message about an operation: enough to recognise it again. (Quarters of a number, to stay small.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    callback: [u32; 4],
    digest: NonZeroU32,
}

impl Stored for Seen {
    fn store(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.callback().0.to_be_bytes());
        self.digest.store(out);
    }

    fn load(from: &mut &[u8]) -> Result<Seen, StoredError> {
        let callback = CallbackId(u128::from_be_bytes(Stored::load(from)?));
        Ok(Seen::new(callback, Stored::load(from)?))
    }
}

#[cfg(test)]
impl crate::stored::Example for Seen {
    fn make(_: usize, _: &mut usize) -> Seen {
        Seen::new(CallbackId(1 << 100 | 7), NonZeroU32::MAX)
    }
}

/// Data that most payments lack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rare {
    /// Reports that were taken in, oldest first.
    pub(super) reports: Vec<Source>,
    /// Every dispute, oldest first; those that were won too, because settlement lists name them.
    pub(super) disputes: Vec<Dispute>,
}

stored!(struct Rare { 0: reports, 1: disputes });

/// Money that an issuer took back from a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispute {
    /// The hold that was captured.
    pub hold: Ordinal,
    /// How much, in minor units.
    pub amount_minor: i64,
    /// Its state.
    pub state: DisputeState,
}

stored!(struct Dispute { 0: hold, 1: amount_minor, 2: state });

/// State of a dispute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DisputeState {
    /// The money stays with the issuer.
    Lost,
    /// Not decided yet.
    Open,
    /// The money came back.
    Won,
}

stored!(enum DisputeState { 0: Lost, 1: Open, 2: Won });

/// A deadline on the monotonic clock. It is valid in this process only: neither stored nor compared.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timer(Option<NonZeroU64>);

impl Timer {
    pub(super) const OFF: Timer = Timer(None);

    /// Due after a pause, or never.
    pub(super) fn after(now: Now, pause: Option<TimeSpan>) -> Timer {
        Timer(pause.and_then(|pause| NonZeroU64::new(now.mono.after(pause).0.max(1))))
    }

    /// Starts at this moment, unless it runs already.
    pub(super) fn start(&mut self, now: Now) {
        if self.0.is_none() {
            *self = Timer::after(now, Some(TimeSpan::ZERO));
        }
    }

    pub(super) fn due(self) -> Option<Mono> {
        self.0.map(|due| Mono(due.get()))
    }
}

impl PartialEq for Timer {
    fn eq(&self, _: &Timer) -> bool {
        true
    }
}

impl Eq for Timer {}

impl Seen {
    pub(super) fn callback(self) -> CallbackId {
        CallbackId(self.callback.iter().fold(0, |bits, quarter| bits << 32 | u128::from(*quarter)))
    }

    fn new(callback: CallbackId, digest: NonZeroU32) -> Seen {
        let quarter = |bits: u128| u32::try_from(bits & u128::from(u32::MAX)).expect("masked to 32 bits");
        Seen { callback: [96, 64, 32, 0].map(|low| quarter(callback.0 >> low)), digest }
    }
}

impl From<Source> for Seen {
    fn from(source: Source) -> Seen {
        Seen::new(source.callback, NonZeroU32::new(source.digest).unwrap_or(NonZeroU32::MAX))
    }
}

impl Hold {
    /// The processor that it is pinned to.
    pub fn processor(&self) -> &ProcessorId {
        &self.party.processor
    }

    /// Capabilities of its processor.
    pub fn capabilities(&self) -> &HoldCapabilities {
        &self.party.capabilities
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

/// Inquiries about one operation that have ids of their own; after as many the numbers start again.
pub(super) const INQUIRY_IDS: u8 = 128;

/// The number of the inquiry with this index (modulo 128) about an operation.
pub(super) fn inquiry_number(target: Ordinal, index: u8) -> Ordinal {
    Ordinal(INQUIRY | u16::from(index & 0x7f) << 8 | (target.0 & 0xff))
}

/// The operation that a number is about, and the index (modulo 128) if it is the number of an inquiry.
pub(super) fn target_of(number: Ordinal) -> (Ordinal, Option<u8>) {
    match number.0 & INQUIRY {
        0 => (number, None),
        _ => (Ordinal(number.0 & 0xff), u8::try_from(number.0 >> 8 & 0x7f).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Millions of payments are resident at once.
    #[test]
    fn a_payment_stays_small() {
        let sizes = [size_of::<Payment>(), size_of::<Hold>(), size_of::<LiveOperation>(), size_of::<PastOperation>()];
        assert!(sizes[0] <= 224 && sizes[1] <= 96 && sizes[2] <= 120 && sizes[3] <= 40, "{sizes:?}");
    }

    #[test]
    fn an_inquiry_leads_to_its_operation() {
        for (target, index) in [(1, 0), (255, 0), (7, 127), (7, 128), (255, 255)] {
            let number = inquiry_number(Ordinal(target), index);
            assert_eq!(target_of(number), (Ordinal(target), Some(index % INQUIRY_IDS)));
        }
        assert_eq!(inquiry_number(Ordinal(7), 0), inquiry_number(Ordinal(7), 128));
        assert_eq!(target_of(Ordinal(255)), (Ordinal(255), None));
    }
}
