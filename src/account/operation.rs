//! The account as a processor: the same operations as every other, and what it declares about itself.

use super::{Command, Direction};
use crate::payment::{Capabilities, CredentialKind, Operation, Request};
use crate::units::{Currency, Fingerprint, TimeSpan};

/// Most operations of one account that may be unanswered at once; what limits them is the mailbox, not the account.
pub const CAPABILITIES_INFLIGHT_MAX: u32 = 4_096;

/// Capabilities of the built-in processor, like those that an outside one declares.
pub fn capabilities(currencies: Vec<Currency>) -> Capabilities {
    Capabilities {
        credentials: vec![CredentialKind::EvAccount, CredentialKind::Rfid],
        idempotent_replay: crate::limits::ACCOUNT_MEMORY,
        increments_max: u8::MAX,
        multiple_captures: true,
        hold_validity: TimeSpan::from_secs(365 * 24 * 3_600),
        inflight_max: CAPABILITIES_INFLIGHT_MAX,
        currencies,
        ..Capabilities::everything(Currency::EUR)
    }
}

impl Command {
    /// Translates an operation. `credential` is the fingerprint of an authorization's credential, made by the actor
    /// that has the key; `None` when the router of the operation has checked the credential already. `is_alone`: the account may
    /// pay for one session at a time.
    pub fn from_operation(operation: &Operation, credential: Option<Fingerprint>, is_alone: bool) -> Command {
        let (op, hold) = (operation.id, operation.hold);
        match &operation.request {
            Request::Authorize { amount, partial_ok, credential: _, stand_in: _ } => Command::Hold {
                op,
                amount: *amount,
                partial_ok: *partial_ok,
                credential,
                decide_by: operation.decide_by,
                is_alone,
            },
            Request::Increment { new_total, processor_ref: _ } => {
                Command::Adjust { op, hold, direction: Direction::Up, new_total: *new_total }
            }
            Request::Decrement { new_total, processor_ref: _ } => {
                Command::Adjust { op, hold, direction: Direction::Down, new_total: *new_total }
            }
            Request::Capture { amount, last, processor_ref: _ } => {
                Command::Capture { op, hold, amount: *amount, last: *last }
            }
            Request::Void { authorization: _, processor_ref: _, reason: _ } => Command::Release { op, hold },
            Request::Refund { capture, amount, processor_ref: _ } => {
                Command::Refund { op, hold, capture: *capture, amount: *amount }
            }
            Request::Inquire { target } => Command::Inquire { op, attempt: operation.attempt, hold, target: *target },
        }
    }
}
