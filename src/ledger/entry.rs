//! One balanced fact.

use super::{Ledger, Name};
use crate::stored::{Body, Stored, StoredError, begin, end, stored};
use crate::units::{Amount, Currency, OpId, SessionId, Timestamp};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::fmt;

/// Identity of an entry: its cause and a number. The same cause always gives the same entry, so replay makes the same
/// books.
///
/// ```
/// use wattstile::ledger::EntryId;
/// use wattstile::units::{PartitionId, SessionId, Timestamp};
///
/// let session = SessionId::new(Timestamp::from_unix_ms(1_796_000_000_000), PartitionId(0), 7);
/// let id = EntryId::of_session(session, 1);
/// assert_eq!(id, EntryId::of_session(session, 1), "replay gives the same entry");
/// assert_ne!(id, id.number(2));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryId {
    /// The operation that caused it; the operation with the number 0 stands for the session itself.
    pub cause: OpId,
    /// Which of the entries that this cause has.
    pub number: u32,
}

stored!(value struct EntryId { 0: cause, 1: number });

impl EntryId {
    /// The only (or first) entry of an operation.
    pub const fn of(cause: OpId) -> EntryId {
        EntryId { cause, number: 0 }
    }

    /// An entry that follows from a session and from none of its operations.
    pub fn of_session(session: SessionId, number: u32) -> EntryId {
        EntryId { cause: session.payment().operation(0), number }
    }

    /// Another entry of the same cause.
    pub const fn number(self, number: u32) -> EntryId {
        EntryId { cause: self.cause, number }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.cause, self.number))
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The kind of fact that an entry books. The numbers are in the journal and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum EntryKind {
    /// A hold was approved.
    HoldApproved = 1,
    /// A hold has another total.
    HoldAdjusted = 2,
    /// A hold (or its rest) was released.
    HoldReleased = 3,
    /// A session was paid, in full or with a shortfall.
    Sale = 4,
    /// A session's price was taken from a prepaid account.
    PrepaidCapture = 5,
    /// Money was paid onto a prepaid account.
    TopUp = 6,
    /// Promotional money was granted.
    PromotionGranted = 7,
    /// Promotional money lapsed.
    PromotionExpired = 8,
    /// A processor paid out.
    Settlement = 9,
    /// A refund was requested.
    RefundAccepted = 10,
    /// A refund was carried out.
    RefundConfirmed = 11,
    /// A refund was not carried out.
    RefundFailed = 12,
    /// A refund was credited to a prepaid account.
    PrepaidRefund = 13,
    /// A processor took disputed money back.
    DisputeOpened = 14,
    /// The disputed money was returned.
    DisputeWon = 15,
    /// The disputed money is lost.
    DisputeLost = 16,
    /// A driver paid a shortfall.
    ShortfallPaid = 17,
    /// A shortfall was given up.
    ShortfallWrittenOff = 18,
    /// An operator was paid.
    OperatorPaid = 19,
    /// A settlement line matches no operation.
    Unmatched = 20,
    /// A settlement line was matched after all.
    Matched = 21,
    /// An account's money was paid out to its holder.
    AccountPaidOut = 22,
    /// An earlier entry was wrong and is taken back.
    Correction = 23,
    /// A capture that had been approved failed after all.
    CaptureFailed = 24,
    /// Balances as another program takes them over.
    BroughtForward = 25,
    /// A hold ended because its money was taken, which another entry books.
    HoldCaptured = 26,
    /// A top-up failed, was charged back or was refunded, and its account is debited.
    TopUpUndone = 27,
}

stored!(enum EntryKind {
    1: HoldApproved,
    2: HoldAdjusted,
    3: HoldReleased,
    4: Sale,
    5: PrepaidCapture,
    6: TopUp,
    7: PromotionGranted,
    8: PromotionExpired,
    9: Settlement,
    10: RefundAccepted,
    11: RefundConfirmed,
    12: RefundFailed,
    13: PrepaidRefund,
    14: DisputeOpened,
    15: DisputeWon,
    16: DisputeLost,
    17: ShortfallPaid,
    18: ShortfallWrittenOff,
    19: OperatorPaid,
    20: Unmatched,
    21: Matched,
    22: AccountPaidOut,
    23: Correction,
    24: CaptureFailed,
    25: BroughtForward,
    26: HoldCaptured,
    27: TopUpUndone,
});

/// A short text without a comma, used by exports.
impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            EntryKind::HoldApproved => "hold approved",
            EntryKind::HoldAdjusted => "hold adjusted",
            EntryKind::HoldCaptured => "hold captured",
            EntryKind::HoldReleased => "hold released",
            EntryKind::Sale => "sale",
            EntryKind::PrepaidCapture => "prepaid capture",
            EntryKind::TopUp => "top-up",
            EntryKind::TopUpUndone => "top-up undone",
            EntryKind::PromotionGranted => "promotion granted",
            EntryKind::PromotionExpired => "promotion expired",
            EntryKind::Settlement => "settlement",
            EntryKind::RefundAccepted => "refund accepted",
            EntryKind::RefundConfirmed => "refund confirmed",
            EntryKind::RefundFailed => "refund failed",
            EntryKind::PrepaidRefund => "prepaid refund",
            EntryKind::DisputeOpened => "dispute opened",
            EntryKind::DisputeWon => "dispute won",
            EntryKind::DisputeLost => "dispute lost",
            EntryKind::ShortfallPaid => "shortfall paid",
            EntryKind::ShortfallWrittenOff => "shortfall written off",
            EntryKind::OperatorPaid => "operator paid",
            EntryKind::Unmatched => "unmatched",
            EntryKind::Matched => "matched",
            EntryKind::AccountPaidOut => "account paid out",
            EntryKind::Correction => "correction",
            EntryKind::CaptureFailed => "capture failed",
            EntryKind::BroughtForward => "brought forward",
        })
    }
}

/// The two sides of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Side {
    /// Left.
    Debit,
    /// Right.
    Credit,
}

stored!(enum Side { 0: Debit, 1: Credit });

impl Side {
    /// The other side.
    pub const fn opposite(self) -> Side {
        match self {
            Side::Debit => Side::Credit,
            Side::Credit => Side::Debit,
        }
    }
}

/// One line of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// The account.
    pub account: Name,
    /// The side.
    pub side: Side,
    /// The amount: always above zero.
    pub amount: Amount,
}

stored!(struct Leg { 0: account, 1: side, 2: amount });

/// A balanced fact. It is constructed balanced and never changed: an error is reversed by [`Entry::correction`].
///
/// ```
/// use wattstile::ledger::{Entry, EntryId, EntryKind, Leg, Name, Side};
/// use wattstile::units::{Amount, Currency, PartitionId, SessionId, Timestamp};
///
/// let at = Timestamp::from_unix_ms(1_796_000_000_000);
/// let id = EntryId::of_session(SessionId::new(at, PartitionId(0), 7), 1);
/// let leg = Leg { account: Name::Bank, side: Side::Debit, amount: Amount::new(100, Currency::EUR) };
/// let refused = Entry::new(id, at, EntryKind::HoldApproved, [leg]);
/// assert!(refused.is_err(), "debits are credits, or it is no entry");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    id: EntryId,
    at: Timestamp,
    kind: EntryKind,
    corrects: Option<EntryId>,
    legs: SmallVec<[Leg; 4]>,
}

/// Why legs do not make an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// No legs at all.
    #[error("an entry needs at least two legs")]
    Empty,
    /// A leg of zero or less.
    #[error("the leg of {amount} on {account} is not above zero")]
    NotPositive {
        /// The leg's account.
        account: Name,
        /// Its amount.
        amount: Amount,
    },
    /// Debits and credits differ.
    #[error("debits of {debits} and credits of {credits} minor units of {currency} do not balance")]
    Unbalanced {
        /// In which currency.
        currency: Currency,
        /// Sum of the debits in minor units.
        debits: i128,
        /// Sum of the credits in minor units.
        credits: i128,
    },
    /// The parts of what was sold do not add up to what was paid.
    #[error("amounts of one fact do not fit each other: {0}")]
    Money(#[from] crate::units::MoneyError),
}

impl Entry {
    /// Makes an entry of legs that balance.
    ///
    /// # Errors
    /// [`EntryError::Empty`], [`EntryError::NotPositive`], or [`EntryError::Unbalanced`] for any currency and ledger.
    pub fn new(
        id: EntryId,
        at: Timestamp,
        kind: EntryKind,
        legs: impl IntoIterator<Item = Leg>,
    ) -> Result<Entry, EntryError> {
        let entry = Entry { id, at, kind, corrects: None, legs: legs.into_iter().collect() };
        entry.check()?;
        Ok(entry)
    }

    /// The entry that takes this one back, leg by leg.
    pub fn correction(&self, id: EntryId, at: Timestamp) -> Entry {
        self.reversed(id, at, EntryKind::Correction)
    }

    /// The same legs on the other sides.
    pub(super) fn reversed(&self, id: EntryId, at: Timestamp, kind: EntryKind) -> Entry {
        let legs = self.legs.iter().map(|leg| Leg { side: leg.side.opposite(), ..leg.clone() }).collect();
        Entry { id, at, kind, corrects: Some(self.id), legs }
    }

    /// Which entry this is.
    pub const fn id(&self) -> EntryId {
        self.id
    }

    /// When it happened.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// The kind of fact.
    pub const fn kind(&self) -> EntryKind {
        self.kind
    }

    /// The entry that this one takes back.
    pub const fn corrects(&self) -> Option<EntryId> {
        self.corrects
    }

    /// The lines.
    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }

    fn check(&self) -> Result<(), EntryError> {
        if self.legs.len() < 2 {
            return Err(EntryError::Empty);
        }
        let mut sums: BTreeMap<(Ledger, Currency), (i128, i128)> = BTreeMap::new();
        for Leg { account, side, amount } in &self.legs {
            if amount.minor <= 0 {
                return Err(EntryError::NotPositive { account: account.clone(), amount: *amount });
            }
            let (debits, credits) = sums.entry((account.ledger(), amount.currency)).or_default();
            match side {
                Side::Debit => *debits += i128::from(amount.minor),
                Side::Credit => *credits += i128::from(amount.minor),
            }
        }
        match sums.into_iter().find(|(_, (debits, credits))| debits != credits) {
            Some(((_, currency), (debits, credits))) => Err(EntryError::Unbalanced { currency, debits, credits }),
            None => Ok(()),
        }
    }
}

/// Stored entries are checked like constructed ones.
impl Stored for Entry {
    fn store(&self, out: &mut Vec<u8>) {
        let Entry { id, at, kind, corrects, legs } = self;
        let begun = begin(out);
        id.store(out);
        at.store(out);
        kind.store(out);
        corrects.store(out);
        legs.store(out);
        end(begun, out);
    }

    fn load(from: &mut &[u8]) -> Result<Entry, StoredError> {
        let mut body = Body::open("Entry", from)?;
        let entry = Entry {
            id: body.field(0, "id")?,
            at: body.field(1, "at")?,
            kind: body.field(2, "kind")?,
            corrects: body.field(3, "corrects")?,
            legs: body.field(4, "legs")?,
        };
        entry.check().map_err(StoredError::invalid)?;
        Ok(entry)
    }
}

#[cfg(test)]
impl crate::stored::Example for Entry {
    fn make(index: usize, most: &mut usize) -> Entry {
        use crate::stored::example;
        let (id, at, kind) = (example(index, most), example(index, most), example(index, most));
        let account: Name = example(index, most);
        let legs = [Side::Debit, Side::Credit].map(|side| {
            let amount = Amount::new(4_500, Currency::EUR);
            Leg { account: account.clone(), side, amount }
        });
        let corrects = example(index, most);
        Entry { id, at, kind, corrects, legs: legs.into_iter().collect() }
    }
}

/// Deserialized entries are checked like constructed ones.
impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Entry, D::Error> {
        #[derive(Deserialize)]
        struct Unchecked {
            id: EntryId,
            at: Timestamp,
            kind: EntryKind,
            corrects: Option<EntryId>,
            legs: SmallVec<[Leg; 4]>,
        }
        let Unchecked { id, at, kind, corrects, legs } = Unchecked::deserialize(deserializer)?;
        let entry = Entry { id, at, kind, corrects, legs };
        entry.check().map_err(serde::de::Error::custom)?;
        Ok(entry)
    }
}
