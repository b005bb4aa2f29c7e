//! Messages between the gate and a processor: operations one way, answers and notifications the other.

use crate::stored::stored;
use crate::units::{Amount, Currency, HoldId, OpId, ProcessorId, TimeSpan, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The credential that the driver presents. Opaque to the gate: it is passed to a processor and shown only as a
/// fingerprint. Between arrival and processor its token is sealed ([`vault`](super::vault)).
///
/// ```
/// use wattstile::payment::{Credential, CredentialKind};
///
/// let credential = Credential { kind: CredentialKind::CardToken, token: b"tok_secret".as_slice().into() };
/// assert_eq!(format!("{credential:?}"), "CardToken(…10 bytes)", "a log never shows a token");
/// assert!(!credential.has_card_number());
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// What kind of thing it is; decides which processors can take it.
    pub kind: CredentialKind,
    /// The token itself, at most [`Credential::MAX_TOKEN`] bytes, never a card number; or the same, sealed.
    pub token: Box<[u8]>,
}

stored!(struct Credential { 0: kind, 1: token });

impl Credential {
    /// The longest token, in bytes.
    pub const MAX_TOKEN: usize = 128;
}

/// The token never reaches a log.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}(…{} bytes)", self.kind, self.token.len())
    }
}

/// Kinds of credentials. The numbers are on the wire and in the journal, and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum CredentialKind {
    /// A token that stands for a payment card.
    CardToken = 1,
    /// A token from a device wallet.
    WalletToken = 2,
    /// An e-mobility account id (a contract), as in plug and charge.
    EvAccount = 3,
    /// The UID of an RFID card that belongs to an account.
    Rfid = 4,
}

stored!(enum CredentialKind { 1: CardToken, 2: WalletToken, 3: EvAccount, 4: Rfid });

impl CredentialKind {
    /// Every kind.
    pub const ALL: [CredentialKind; 4] =
        [CredentialKind::CardToken, CredentialKind::WalletToken, CredentialKind::EvAccount, CredentialKind::Rfid];
}

/// One request to a processor. Durable before its first byte is sent; repeated with the same `id` and the same body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The idempotency key.
    pub id: OpId,
    /// The hold it acts on (for an authorization: the hold that it creates).
    pub hold: HoldId,
    /// The processor it is pinned to.
    pub processor: ProcessorId,
    /// 1 for the first sending, counted up with each repetition.
    pub attempt: u16,
    /// Set when the processor may have received it already: after a lost connection, a time-out or a restart of the
    /// gate.
    pub possible_duplicate: bool,
    /// Latest time of the answer; afterwards the gate treats the outcome as unknown.
    pub decide_by: Timestamp,
    /// The request.
    pub request: Request,
}

/// The request of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Reserve funds for a new hold.
    Authorize {
        /// The driver's credential.
        credential: Credential,
        /// The amount to reserve.
        amount: Amount,
        /// Whether less than `amount` may be approved.
        partial_ok: bool,
        /// Set when energy was already given on the gate's own risk (floor limit) and this requests the funds
        /// afterwards.
        stand_in: bool,
    },
    /// Raise the reserved total.
    Increment {
        /// The processor's name for the hold.
        processor_ref: ProcessorRef,
        /// The whole new total, never the difference.
        new_total: Amount,
    },
    /// Lower the reserved total.
    Decrement {
        /// The processor's name for the hold.
        processor_ref: ProcessorRef,
        /// The whole new total, never the difference.
        new_total: Amount,
    },
    /// Take money out of the hold.
    Capture {
        /// The processor's name for the hold.
        processor_ref: ProcessorRef,
        /// The amount to capture.
        amount: Amount,
        /// Whether the rest of the hold is to be released.
        last: bool,
    },
    /// Release the hold (or reverse an authorization whose outcome is unknown).
    Void {
        /// The operation that made the hold.
        authorization: OpId,
        /// The processor's name for the hold, where it is known.
        processor_ref: Option<ProcessorRef>,
        /// The reason.
        reason: VoidReason,
    },
    /// Give captured money back.
    Refund {
        /// The capture it refers to.
        capture: OpId,
        /// The processor's name for the hold.
        processor_ref: ProcessorRef,
        /// The amount to refund.
        amount: Amount,
    },
    /// Request the outcome of an operation. Changes nothing at the processor.
    Inquire {
        /// The operation whose outcome is unknown.
        target: OpId,
    },
}

/// Kinds of operations, for capabilities, breakers, metrics and tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum OperationKind {
    /// [`Request::Authorize`]
    Authorize = 1,
    /// [`Request::Increment`]
    Increment = 2,
    /// [`Request::Decrement`]
    Decrement = 3,
    /// [`Request::Capture`]
    Capture = 4,
    /// [`Request::Void`]
    Void = 5,
    /// [`Request::Refund`]
    Refund = 6,
    /// [`Request::Inquire`]
    Inquire = 7,
}

stored!(enum OperationKind { 1: Authorize, 2: Increment, 3: Decrement, 4: Capture, 5: Void, 6: Refund, 7: Inquire });

impl Request {
    /// Its kind.
    pub const fn kind(&self) -> OperationKind {
        match self {
            Request::Authorize { .. } => OperationKind::Authorize,
            Request::Increment { .. } => OperationKind::Increment,
            Request::Decrement { .. } => OperationKind::Decrement,
            Request::Capture { .. } => OperationKind::Capture,
            Request::Void { .. } => OperationKind::Void,
            Request::Refund { .. } => OperationKind::Refund,
            Request::Inquire { .. } => OperationKind::Inquire,
        }
    }
}

/// Why a hold is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum VoidReason {
    /// The session never started, or ended without cost.
    NoStart = 1,
    /// The driver cancelled before energy flowed.
    DriverCancelled = 2,
    /// The authorization's outcome is unknown; reverse it, whatever it was.
    OutcomeUnknown = 3,
    /// The authorization was approved after it had been given up.
    LateApproval = 4,
    /// The approved part is too small to be useful.
    PartialTooSmall = 5,
    /// The part of a hold that the capture did not take.
    Remainder = 6,
}

stored!(enum VoidReason {
    1: NoStart,
    2: DriverCancelled,
    3: OutcomeUnknown,
    4: LateApproval,
    5: PartialTooSmall,
    6: Remainder,
});

/// A processor's own reference (at most 64 bytes of text), needed to address a hold later.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessorRef(pub Box<str>);

stored!(struct ProcessorRef(value));

impl ProcessorRef {
    /// The longest reference, in bytes.
    pub const MAX_LEN: usize = 64;
}

/// A processor's answer to an operation. Acknowledged to the processor only when what follows from it is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The processor's number for this message; a repeated number is the same message again.
    pub callback: CallbackId,
    /// The operation that is answered.
    pub operation: OpId,
    /// The hold that the processor acted on; must be the operation's.
    pub hold: HoldId,
    /// Its outcome.
    pub outcome: Outcome,
}

/// A processor's number for one of its messages to the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallbackId(pub u128);

stored!(struct CallbackId(value));

/// The outcome of an operation, as the processor reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done, for this amount: the total authorized (authorize, increment, decrement), the amount captured or
    /// refunded, or the amount released (void). Less than requested is a partial approval.
    Approved {
        /// The amount that the processor acted on.
        amount: Amount,
        /// The processor's name for the hold.
        processor_ref: ProcessorRef,
        /// When the hold lapses by itself, if the processor states it.
        expires_at: Option<Timestamp>,
    },
    /// Refused; nothing changed at the processor.
    Declined(Decline),
    /// Taken in; the outcome comes later.
    Pending {
        /// Announced time of the decision.
        decide_by: Timestamp,
    },
    /// The processor never saw the operation that was inquired after (or reversed).
    NotFound,
    /// The processor failed in a way that leaves the outcome open.
    Error,
}

/// Why a processor refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decline {
    /// The class, which determines further attempts.
    pub class: DeclineClass,
    /// The processor's own code (at most 16 bytes), kept and shown.
    pub code: Box<str>,
    /// How long to wait before another attempt, where the processor advises.
    pub retry_after: Option<TimeSpan>,
}

stored!(struct Decline { 0: class, 1: code, 2: retry_after });

/// Classes of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum DeclineClass {
    /// May succeed later or for less: insufficient funds, limit reached.
    Soft = 1,
    /// Will never succeed: closed account, stolen card.
    Hard = 2,
    /// Suspicion of fraud.
    Fraud = 3,
    /// The processor or its network has a problem.
    Technical = 4,
    /// The operation is not possible in the hold's present state, or exceeds what it allows.
    State = 5,
}

stored!(enum DeclineClass { 1: Soft, 2: Hard, 3: Fraud, 4: Technical, 5: State });

/// An event that a processor reports without a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// The processor's number for this message.
    pub callback: CallbackId,
    /// The hold it is about.
    pub hold: HoldId,
    /// The kind of event.
    pub kind: NotificationKind,
    /// The amount concerned.
    pub amount: Amount,
    /// When it happened, by the processor's clock.
    pub occurred_at: Timestamp,
}

/// Kinds of notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum NotificationKind {
    /// The hold lapsed.
    AuthorizationExpired = 1,
    /// A capture that had been approved failed after all.
    CaptureFailed = 2,
    /// A refund that had been approved failed after all.
    RefundFailed = 3,
    /// The issuer took the money back.
    DisputeOpened = 4,
    /// A dispute ended in our favour.
    DisputeWon = 5,
    /// A dispute ended against us.
    DisputeLost = 6,
}

/// What a processor can do, declared when it connects and kept with every hold it approves.
///
/// ```
/// use wattstile::payment::{Capabilities, OperationKind};
/// use wattstile::units::Currency;
///
/// let capabilities = Capabilities { increments_max: 0, ..Capabilities::everything(Currency::EUR) };
/// assert!(capabilities.kinds.contains(&OperationKind::Refund));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Kinds of operations it takes.
    pub kinds: Vec<OperationKind>,
    /// Credentials it takes.
    pub credentials: Vec<CredentialKind>,
    /// Currencies it takes.
    pub currencies: Vec<Currency>,
    /// How long a repeated operation is recognised by its id; zero: never.
    pub idempotent_replay: TimeSpan,
    /// Whether a repetition after an error is worked on again (otherwise the stored error comes back).
    pub replay_after_error_safe: bool,
    /// The longest time an operation can be on its way and still take effect.
    pub request_life_max: TimeSpan,
    /// How old an operation must be for "not found" to mean that it never happened; `None`: it never means that.
    pub inquiry_authoritative_after: Option<TimeSpan>,
    /// Most increments of one hold.
    pub increments_max: u8,
    /// How much more than authorized may be captured, in percent.
    pub overcapture_percent: u8,
    /// Whether less than requested may be approved.
    pub partial_approval: bool,
    /// Whether several captures of one hold are possible.
    pub multiple_captures: bool,
    /// Validity of a hold, unless an approval states another.
    pub hold_validity: TimeSpan,
    /// Most operations that may be unanswered at once.
    pub inflight_max: u32,
}

impl Capabilities {
    /// Everything that a processor can take in one currency, but for more than was authorized and several captures. The base
    /// of what simulated processors, the bench's and those of tests declare.
    pub fn everything(currency: Currency) -> Capabilities {
        use OperationKind::{Authorize, Capture, Decrement, Increment, Inquire, Refund, Void};
        Capabilities {
            kinds: vec![Authorize, Increment, Decrement, Capture, Void, Refund, Inquire],
            credentials: CredentialKind::ALL.to_vec(),
            currencies: vec![currency],
            idempotent_replay: TimeSpan::from_secs(24 * 3_600),
            replay_after_error_safe: true,
            request_life_max: TimeSpan::from_secs(60),
            inquiry_authoritative_after: Some(TimeSpan::from_secs(60)),
            increments_max: 10,
            overcapture_percent: 0,
            partial_approval: true,
            multiple_captures: false,
            hold_validity: TimeSpan::from_secs(7 * 24 * 3_600),
            inflight_max: 1_024,
        }
    }
}

stored!(struct Capabilities {
    0: kinds, 1: credentials, 2: currencies, 3: idempotent_replay, 4: replay_after_error_safe, 5: request_life_max,
    6: inquiry_authoritative_after, 7: increments_max, 8: overcapture_percent, 9: partial_approval,
    10: multiple_captures, 11: hold_validity, 12: inflight_max,
});
