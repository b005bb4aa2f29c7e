//! The books of a simulated processor: what it reserved, took and gave back, per credential and per hold.
//!
//! They are the processor's own view, kept apart from the gate's, so that the two can be compared afterwards. Every
//! guard that a real processor has is here too, and each refusal that only a faulty gate can provoke is counted.

use crate::payment::{Capabilities, CredentialKind, DeclineClass, ProcessorRef};
use crate::units::{Amount, Currency, HoldId, OpId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What became of a hold. A hold leaves `Open` exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    /// Funds are reserved.
    Open,
    /// Money was taken, and what was left is released.
    Captured,
    /// Released, nothing taken.
    Voided,
    /// Lapsed by itself, nothing taken.
    Expired,
    /// Money was taken, and later it turned out that it never came.
    CaptureFailed,
}

/// One hold as the processor sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The operation that made it.
    pub authorization: OpId,
    /// The processor's name for it.
    pub processor_ref: ProcessorRef,
    /// Its state.
    pub state: HoldState,
    /// The reserved total, as last changed.
    pub authorized: Amount,
    /// Taken so far.
    pub captured_minor: i64,
    /// Given back so far.
    pub refunded_minor: i64,
    /// Taken back by the driver's bank in a dispute that was lost.
    pub charged_back_minor: i64,
    /// Reserved, but released or lapsed without being taken.
    pub released_minor: i64,
    /// How often the total was raised.
    pub increments: u8,
    /// When it lapses by itself.
    pub expires_at: Timestamp,
    /// The script that its credential or amount called for.
    pub(super) script: super::Script,
    captures: BTreeMap<OpId, Captured>,
    token: Box<[u8]>,
    /// The processor reported a capture as refused that was done: another attempt is no fault of the gate.
    pub(super) denied: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Captured {
    minor: i64,
    refunded_minor: i64,
}

/// Things that a gate must never do. All zero with a gate that keeps its promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violations {
    /// A capture of a hold that had been captured to the end by another operation.
    pub double_captures: u64,
    /// A capture of more than was authorized (and than the declared over-capture allows).
    pub over_captures: u64,
    /// A refund of more than was captured.
    pub over_refunds: u64,
    /// A capture of a hold that had been released.
    pub after_the_end: u64,
    /// An operation id used again with another body.
    pub other_bodies: u64,
    /// An amount that is zero or negative, or in another currency than the hold.
    pub wrong_amounts: u64,
    /// A second authorization of a hold under an existing id.
    pub double_holds: u64,
    /// An operation that names another processor than this one.
    pub wrong_processors: u64,
}

/// The result of working on an operation: what was done, or why not.
pub(super) type Worked = Result<Done, Refused>;

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub amount: Amount,
    pub processor_ref: ProcessorRef,
    pub expires_at: Option<Timestamp>,
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// With a class and a code of this processor.
    Declined(DeclineClass, &'static str),
    /// There is no such hold or capture.
    NotFound,
}

/// A refusal because of the hold's state.
const fn state(code: &'static str) -> Refused {
    Refused::Declined(DeclineClass::State, code)
}

/// The books.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Books {
    pub(super) holds: BTreeMap<HoldId, Hold>,
    pub(super) violations: Violations,
    by_authorization: BTreeMap<OpId, HoldId>,
    by_expiry: std::collections::BTreeSet<(Timestamp, HoldId)>,
    accounts: BTreeMap<(Box<[u8]>, Currency), i64>,
}

/// A capture that the gate requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capture {
    pub operation: OpId,
    pub hold: HoldId,
    pub amount: Amount,
    /// Whether the hold ends with it.
    pub last: bool,
}

/// An authorization, as the books need it.
pub(super) struct Reservation<'a> {
    pub hold: HoldId,
    pub operation: OpId,
    pub kind: CredentialKind,
    pub token: &'a [u8],
    pub amount: Amount,
    pub partial_ok: bool,
    pub opening_balance_minor: i64,
    pub script: super::Script,
}

impl Books {
    /// The hold of this id.
    pub fn hold(&self, id: HoldId) -> Option<&Hold> {
        self.holds.get(&id)
    }

    /// The hold that an operation made, if it made one.
    pub fn hold_of(&self, authorization: OpId) -> Option<HoldId> {
        self.by_authorization.get(&authorization).copied()
    }

    /// Every hold, by id.
    pub fn holds(&self) -> impl ExactSizeIterator<Item = (&HoldId, &Hold)> {
        self.holds.iter()
    }

    /// Taken back by drivers' banks in disputes that were lost.
    pub fn charged_back(&self) -> i64 {
        self.holds.values().map(|hold| hold.charged_back_minor).sum()
    }

    /// What a faulty gate provoked.
    pub fn violations(&self) -> Violations {
        self.violations
    }

    pub(super) fn authorize(&mut self, ask: &Reservation<'_>, caps: &Capabilities, now: Timestamp) -> Worked {
        if ask.amount.minor <= 0 {
            self.violations.wrong_amounts += 1;
            return Err(state("amount"));
        }
        if !caps.credentials.contains(&ask.kind) {
            return Err(state("credential"));
        }
        if !caps.currencies.contains(&ask.amount.currency) {
            return Err(state("currency"));
        }
        if self.holds.contains_key(&ask.hold) {
            self.violations.double_holds += 1;
            return Err(state("hold_exists"));
        }
        let account = self.account(ask.token, ask.amount.currency, ask.opening_balance_minor);
        let wanted = match ask.script.approve_at_most {
            Some(_) if !(ask.partial_ok && caps.partial_approval) => {
                return Err(Refused::Declined(DeclineClass::Soft, "51"));
            }
            Some(share) => share.of(ask.amount.minor),
            None => ask.amount.minor,
        };
        let minor = match *account {
            available if available >= wanted => wanted,
            available if available > 0 && ask.partial_ok && caps.partial_approval => available,
            _ => return Err(Refused::Declined(DeclineClass::Soft, "51")),
        };
        *account -= minor;
        let amount = Amount::new(minor, ask.amount.currency);
        let expires_at = now.saturating_add(ask.script.validity.unwrap_or(caps.hold_validity));
        let processor_ref = ProcessorRef(format!("sim-{:032x}", ask.operation.as_u128()).into());
        self.by_authorization.insert(ask.operation, ask.hold);
        self.by_expiry.insert((expires_at, ask.hold));
        self.holds.insert(
            ask.hold,
            Hold {
                authorization: ask.operation,
                processor_ref: processor_ref.clone(),
                state: HoldState::Open,
                authorized: amount,
                captured_minor: 0,
                refunded_minor: 0,
                charged_back_minor: 0,
                released_minor: 0,
                increments: 0,
                expires_at,
                script: ask.script,
                captures: BTreeMap::new(),
                token: ask.token.into(),
                denied: false,
            },
        );
        Ok(Done { amount, processor_ref, expires_at: Some(expires_at) })
    }

    /// Raises or lowers the reserved total.
    pub(super) fn adjust(&mut self, id: HoldId, total: Amount, raise: bool, caps: &Capabilities) -> Worked {
        let Books { holds, violations, accounts, .. } = self;
        // A change may still be on its way when the hold is released: one that comes too late is no fault.
        let hold = open(holds, &mut Violations::default(), id)?;
        if total.minor <= 0 || total.currency != hold.authorized.currency {
            violations.wrong_amounts += 1;
            return Err(state("amount"));
        }
        let difference = total.minor - hold.authorized.minor;
        if (raise && difference <= 0) || (!raise && (difference >= 0 || total.minor < hold.captured_minor)) {
            return Err(state("total"));
        }
        if hold.captured_minor > 0 {
            return Err(state("captured"));
        }
        if raise && hold.increments >= caps.increments_max {
            return Err(state("increments"));
        }
        let account = accounts.get_mut(&(hold.token.clone(), total.currency)).ok_or(Refused::NotFound)?;
        if *account < difference {
            return Err(Refused::Declined(DeclineClass::Soft, "61"));
        }
        *account -= difference;
        hold.authorized = total;
        hold.increments += u8::from(raise);
        Ok(Done { amount: total, processor_ref: hold.processor_ref.clone(), expires_at: Some(hold.expires_at) })
    }

    pub(super) fn capture(&mut self, ask: Capture, caps: &Capabilities) -> Worked {
        let Capture { operation, hold: id, amount, last } = ask;
        let Books { holds, violations, accounts, by_expiry, .. } = self;
        if let Some(hold) = holds.get(&id).filter(|hold| hold.state == HoldState::Captured) {
            violations.double_captures += u64::from(!hold.denied);
            return Err(state("captured"));
        }
        let hold = open(holds, violations, id)?;
        if amount.minor <= 0 || amount.currency != hold.authorized.currency {
            violations.wrong_amounts += 1;
            return Err(state("amount"));
        }
        let most = i128::from(hold.authorized.minor) * (100 + i128::from(caps.overcapture_percent)) / 100;
        let total = hold.captured_minor.checked_add(amount.minor).ok_or(state("amount"))?;
        if i128::from(total) > most {
            violations.over_captures += 1;
            return Err(state("over_capture"));
        }
        hold.captured_minor = total;
        hold.captures.insert(operation, Captured { minor: amount.minor, refunded_minor: 0 });
        if last || !caps.multiple_captures {
            by_expiry.remove(&(hold.expires_at, id));
            close(hold, HoldState::Captured, accounts);
        }
        Ok(Done { amount, processor_ref: hold.processor_ref.clone(), expires_at: None })
    }

    /// Releases the rest of a hold. Voiding an ended hold does nothing and is no fault.
    pub(super) fn void(&mut self, authorization: OpId) -> Worked {
        let id = self.hold_of(authorization).ok_or(Refused::NotFound)?;
        let Books { holds, accounts, by_expiry, .. } = self;
        let hold = holds.get_mut(&id).ok_or(Refused::NotFound)?;
        match hold.state {
            HoldState::Open => {
                by_expiry.remove(&(hold.expires_at, id));
                let end = if hold.captured_minor > 0 { HoldState::Captured } else { HoldState::Voided };
                let released = close(hold, end, accounts);
                let amount = Amount::new(released, hold.authorized.currency);
                Ok(Done { amount, processor_ref: hold.processor_ref.clone(), expires_at: None })
            }
            HoldState::Captured => Err(state("captured")),
            HoldState::Voided => Err(state("voided")),
            HoldState::Expired => Err(state("expired")),
            HoldState::CaptureFailed => Err(state("capture_failed")),
        }
    }

    /// Takes a capture back: the hold counts as captured no more.
    pub(super) fn fail_capture(&mut self, id: HoldId) -> Option<Amount> {
        let Books { holds, accounts, .. } = self;
        let hold = holds.get_mut(&id).filter(|hold| hold.state == HoldState::Captured)?;
        let amount = Amount::new(hold.captured_minor, hold.authorized.currency);
        give_back(accounts, hold, hold.captured_minor - hold.refunded_minor);
        hold.released_minor += hold.captured_minor;
        hold.captured_minor = 0;
        hold.refunded_minor = 0;
        hold.state = HoldState::CaptureFailed;
        Some(amount)
    }

    /// A dispute over a capture is lost.
    pub(super) fn charge_back(&mut self, id: HoldId, amount: Amount) {
        if let Some(hold) = self.holds.get_mut(&id) {
            hold.charged_back_minor += amount.minor;
        }
    }

    /// Takes a refund back.
    pub(super) fn fail_refund(&mut self, id: HoldId, capture: OpId, amount: Amount) {
        let Books { holds, accounts, .. } = self;
        if let Some(hold) = holds.get_mut(&id)
            && let Some(captured) = hold.captures.get_mut(&capture)
        {
            captured.refunded_minor -= amount.minor;
            hold.refunded_minor -= amount.minor;
            give_back(accounts, hold, -amount.minor);
        }
    }

    pub(super) fn refund(&mut self, id: HoldId, capture: OpId, amount: Amount) -> Worked {
        let Books { holds, violations, accounts, .. } = self;
        let hold = holds.get_mut(&id).ok_or(Refused::NotFound)?;
        let captured = hold.captures.get_mut(&capture).ok_or(Refused::NotFound)?;
        if amount.minor <= 0 || amount.currency != hold.authorized.currency {
            violations.wrong_amounts += 1;
            return Err(state("amount"));
        }
        if amount.minor > captured.minor - captured.refunded_minor {
            violations.over_refunds += 1;
            return Err(state("over_refund"));
        }
        captured.refunded_minor += amount.minor;
        hold.refunded_minor += amount.minor;
        give_back(accounts, hold, amount.minor);
        Ok(Done { amount, processor_ref: hold.processor_ref.clone(), expires_at: None })
    }

    /// Lets every open hold lapse that is due, and returns each with the released amount.
    pub(super) fn expire(&mut self, now: Timestamp) -> Vec<(HoldId, Amount)> {
        let mut lapsed = Vec::new();
        while let Some(&(at, id)) = self.by_expiry.first()
            && at <= now
        {
            self.by_expiry.pop_first();
            if let Some(hold) = self.holds.get_mut(&id) {
                let end = if hold.captured_minor > 0 { HoldState::Captured } else { HoldState::Expired };
                let released = close(hold, end, &mut self.accounts);
                lapsed.push((id, Amount::new(released, hold.authorized.currency)));
            }
        }
        lapsed
    }

    /// When the next open hold lapses.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.by_expiry.first().map(|(at, _)| *at)
    }

    /// What a credential can still spend in a currency.
    fn account(&mut self, token: &[u8], currency: Currency, opening_minor: i64) -> &mut i64 {
        self.accounts.entry((token.into(), currency)).or_insert(opening_minor)
    }
}

/// The hold, when it is open; counts the operation as a violation when it is not.
fn open<'a>(
    holds: &'a mut BTreeMap<HoldId, Hold>,
    violations: &mut Violations,
    id: HoldId,
) -> Result<&'a mut Hold, Refused> {
    let hold = holds.get_mut(&id).ok_or(Refused::NotFound)?;
    let code = match hold.state {
        HoldState::Open => return Ok(hold),
        HoldState::Captured => "captured",
        HoldState::Voided => "voided",
        // The gate may not have received the notification yet.
        HoldState::Expired => return Err(state("expired")),
        HoldState::CaptureFailed => return Err(state("capture_failed")),
    };
    violations.after_the_end += 1;
    Err(state(code))
}

fn close(hold: &mut Hold, end: HoldState, accounts: &mut BTreeMap<(Box<[u8]>, Currency), i64>) -> i64 {
    let released = (hold.authorized.minor - hold.captured_minor).max(0);
    hold.state = end;
    hold.released_minor = released;
    give_back(accounts, hold, released);
    released
}

fn give_back(accounts: &mut BTreeMap<(Box<[u8]>, Currency), i64>, hold: &Hold, minor: i64) {
    if let Some(account) = accounts.get_mut(&(hold.token.clone(), hold.authorized.currency)) {
        *account += minor;
    }
}
