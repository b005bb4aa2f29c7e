//! An account's events in the books.

use super::{DebitCause, Event, OpenAccount, Parts, TopUpSource};
use crate::ledger::{Entry, EntryError, EntryId};
use crate::units::OpId;

/// The number of the account's entry of an operation. The session has an entry of its own under number 0.
const ACCOUNT_SIDE: u32 = 1;

/// The number of the entry for the first part of a grant that lapses.
const FIRST_LAPSE: u32 = 2;

fn entry_of(op: OpId) -> EntryId {
    EntryId::of(op).number(ACCOUNT_SIDE)
}

/// The entries that follow from an event. `account` is the account as it is after the event (or before: only its name
/// and currency are used).
///
/// Reserving money is no entry here: the reserving session posts it in the memorandum ledger, for all processors
/// alike. A capture moves the money to the clearing account, from which the session's sale takes it.
///
/// # Errors
/// [`EntryError`]: amounts that do not add up, which is a defect of the decision.
pub fn entries(account: &OpenAccount, event: &Event) -> Result<Option<Entry>, EntryError> {
    let id = &account.id;
    let amounts = |parts: &Parts| (account.amount(parts.paid), account.amount(parts.promotional));
    let entry = match event {
        Event::Captured { at, op, taken, .. } => {
            let (paid, promotional) = amounts(taken);
            Entry::prepaid_capture(entry_of(*op), *at, id, paid, promotional)?
        }
        Event::Refunded { at, op, returned, .. } => {
            let (paid, promotional) = amounts(returned);
            Entry::prepaid_refund(entry_of(*op), *at, id, paid, promotional)?
        }
        Event::ToppedUp { at, op, amount, source } => match source {
            TopUpSource::Processor(processor) => Entry::top_up(entry_of(*op), *at, id, Some(processor), *amount)?,
            TopUpSource::Bank => Entry::top_up(entry_of(*op), *at, id, None, *amount)?,
            TopUpSource::RefundFailed(_) => Entry::top_up_returned(entry_of(*op), *at, id, *amount)?,
        },
        Event::Debited { at, op, amount, cause } => {
            let lost = *cause == DebitCause::DisputeLost;
            Entry::top_up_undone(entry_of(*op), *at, id, *amount, lost)?
        }
        Event::PromotionGranted { at, op, amount, .. } => Entry::promotion_granted(entry_of(*op), *at, id, *amount)?,
        Event::PromotionExpired { at, grant, part, amount } => Entry::promotion_expired(
            EntryId::of(*grant).number(FIRST_LAPSE.saturating_add(u32::from(*part))),
            *at,
            id,
            *amount,
        )?,
        Event::Closed { at, op, paid_out, forfeited } => match paid_out.minor.saturating_add(forfeited.minor) {
            0 => return Ok(None),
            _ => Entry::account_paid_out(entry_of(*op), *at, id, *paid_out, *forfeited)?,
        },
        Event::Opened { .. }
        | Event::HoldPlaced { .. }
        | Event::Refused { .. }
        | Event::HoldAdjusted { .. }
        | Event::Released { .. }
        | Event::Reversed { .. }
        | Event::CreditLimitSet { .. }
        | Event::CredentialLinked { .. }
        | Event::CredentialUnlinked { .. } => return Ok(None),
    };
    Ok(Some(entry))
}
