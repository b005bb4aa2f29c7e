//! The entries of every money event.

use super::{Debtor, Entry, EntryError, EntryId, EntryKind, Leg, Name, Side, Tax};
use crate::units::{AccountId, Amount, MoneyError, OperatorId, ProcessorId, Timestamp};
use serde::{Deserialize, Serialize};

/// Source of a session's money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Funding {
    /// An outside processor.
    Processor(ProcessorId),
    /// An account of ours, by way of the built-in processor with this name. The account's own machine posts its side.
    Prepaid(ProcessorId),
}

impl Funding {
    fn processor(&self) -> &ProcessorId {
        match self {
            Funding::Processor(id) | Funding::Prepaid(id) => id,
        }
    }

    /// The asset that a capture makes.
    fn receivable(&self) -> Name {
        match self {
            Funding::Processor(id) => Name::ProcessorReceivable(id.clone()),
            Funding::Prepaid(_) => Name::PrepaidClearing,
        }
    }

    /// Where a refund waits to be carried out.
    fn refunding(&self) -> Name {
        match self {
            Funding::Processor(id) => Name::RefundInFlight(id.clone()),
            Funding::Prepaid(_) => Name::PrepaidClearing,
        }
    }
}

/// The parts of a session's price.
///
/// ```
/// use wattstile::ledger::{Share, Tax, TaxRate};
/// use wattstile::units::{Amount, Currency, OperatorId};
///
/// let eur = |minor| Amount::new(minor, Currency::EUR);
/// let tax = Tax { country: *b"NL", rate: TaxRate(210_000) };
/// let (operator, taxes) = (OperatorId::new("NL*WST")?, vec![(tax, eur(210))]);
/// let share = Share { operator, net: eur(950), fee: eur(50), taxes, rounding: eur(0) };
/// assert_eq!(share.total()?, eur(1_210));
///
/// let half = share.portion(eur(605))?;
/// assert_eq!((half.net, half.fee, half.taxes[0].1), (eur(475), eur(25), eur(105)));
/// assert_eq!(share.less(&half)?.total()?, eur(605), "parts of a price add up to it");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The operator that sold the energy.
    pub operator: OperatorId,
    /// The operator's net amount.
    pub net: Amount,
    /// Our own fee.
    pub fee: Amount,
    /// Taxes by rate.
    pub taxes: Vec<(Tax, Amount)>,
    /// Difference that rounding made to the price; negative when it reduced it.
    pub rounding: Amount,
}

impl Share {
    /// The sum of all parts.
    ///
    /// # Errors
    /// The parts have several currencies, or their sum overflows.
    pub fn total(&self) -> Result<Amount, MoneyError> {
        let sum = self.net.checked_add(self.fee)?.checked_add(self.rounding)?;
        self.taxes.iter().try_fold(sum, |sum, (_, tax)| sum.checked_add(*tax))
    }

    /// The same mixture for a part of the total: taxes and fee in proportion, what remains is the operator's.
    ///
    /// # Errors
    /// `of` is not between zero and the total, the total is not above zero, or currencies differ.
    pub fn portion(&self, of: Amount) -> Result<Share, MoneyError> {
        let total = self.total()?;
        if total.minor <= 0 || of.minor < 0 || of.minor > total.minor {
            return Err(MoneyError::Overflow);
        }
        let part = |amount: Amount| -> Result<Amount, MoneyError> {
            let scaled = i128::from(amount.minor) * i128::from(of.minor) / i128::from(total.minor);
            let minor = i64::try_from(scaled).map_err(|_| MoneyError::Overflow)?;
            Ok(Amount::new(minor, amount.currency))
        };
        let taxes: Vec<(Tax, Amount)> =
            self.taxes.iter().map(|(tax, amount)| Ok((*tax, part(*amount)?))).collect::<Result<_, MoneyError>>()?;
        let (fee, rounding) = (part(self.fee)?, part(self.rounding)?);
        let rest = taxes.iter().try_fold(of, |rest, (_, tax)| rest.checked_sub(*tax))?;
        let net = rest.checked_sub(fee)?.checked_sub(rounding)?;
        Ok(Share { operator: self.operator.clone(), net, fee, taxes, rounding })
    }

    /// The difference to a smaller share of the same mixture.
    ///
    /// # Errors
    /// Currencies differ, or a difference overflows.
    pub fn less(&self, smaller: &Share) -> Result<Share, MoneyError> {
        let mut taxes = self.taxes.clone();
        for (tax, amount) in &smaller.taxes {
            match taxes.iter_mut().find(|(known, _)| known == tax) {
                Some((_, known)) => *known = known.checked_sub(*amount)?,
                None => taxes.push((*tax, Amount::zero(amount.currency).checked_sub(*amount)?)),
            }
        }
        Ok(Share {
            operator: self.operator.clone(),
            net: self.net.checked_sub(smaller.net)?,
            fee: self.fee.checked_sub(smaller.fee)?,
            taxes,
            rounding: self.rounding.checked_sub(smaller.rounding)?,
        })
    }

    fn legs(&self, side: Side) -> Vec<Leg> {
        let taxes = self.taxes.iter().flat_map(|(tax, amount)| leg(Name::Tax(*tax), side, *amount));
        leg(Name::OperatorPayable(self.operator.clone()), side, self.net)
            .into_iter()
            .chain(taxes)
            .chain(leg(Name::FeeRevenue, side, self.fee))
            .chain(leg(Name::Rounding, side, self.rounding))
            .collect()
    }
}

/// A session's end: what was consumed, how it was paid.
///
/// ```
/// use wattstile::ledger::{Debtor, Entry, EntryId, Funding, Sale, Share};
/// use wattstile::units::{
///     AccountId, Amount, Currency, OperatorId, PartitionId, ProcessorId, SessionId, Timestamp,
/// };
///
/// let eur = |minor| Amount::new(minor, Currency::EUR);
/// let at = Timestamp::from_unix_ms(1_796_000_000_000);
/// let share =
///     Share { operator: OperatorId::new("NL*WST")?, net: eur(1_420), fee: eur(0), taxes: vec![], rounding: eur(0) };
/// let sale = Sale {
///     id: EntryId::of_session(SessionId::new(at, PartitionId(0), 7), 1),
///     at,
///     funding: Funding::Processor(ProcessorId::new("acme")?),
///     hold: eur(4_500),
///     captured: eur(1_420),
///     shortfall: eur(0),
///     debtor: Debtor::Account(AccountId::new("ACCT-0001")?),
///     share,
/// };
/// assert!(Entry::sale(&sale).is_ok());
/// assert!(Entry::sale(&Sale { captured: eur(1_419), ..sale }).is_err(), "an entry that does not balance is refused");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sale {
    /// Which entry this is.
    pub id: EntryId,
    /// When.
    pub at: Timestamp,
    /// The source of the money.
    pub funding: Funding,
    /// The reserved amount of the hold that this capture ends.
    pub hold: Amount,
    /// The captured amount.
    pub captured: Amount,
    /// The consumed amount that was not captured.
    pub shortfall: Amount,
    /// The debtor of the shortfall.
    pub debtor: Debtor,
    /// The parts of the price; their total is captured + shortfall.
    pub share: Share,
}

impl Entry {
    /// A hold was approved.
    ///
    /// # Errors
    /// [`EntryError::Empty`] for an amount of zero.
    pub fn hold_approved(
        id: EntryId,
        at: Timestamp,
        processor: &ProcessorId,
        amount: Amount,
    ) -> Result<Entry, EntryError> {
        Entry::new(id, at, EntryKind::HoldApproved, held(processor, Side::Debit, amount))
    }

    /// A hold went from one total to another; refused when they are the same.
    ///
    /// # Errors
    /// [`EntryError::Empty`] when the totals are equal; [`EntryError::Money`] when they do not mix.
    pub fn hold_adjusted(
        id: EntryId,
        at: Timestamp,
        processor: &ProcessorId,
        from: Amount,
        to: Amount,
    ) -> Result<Entry, EntryError> {
        let change = to.checked_sub(from)?;
        Entry::new(id, at, EntryKind::HoldAdjusted, held(processor, Side::Debit, change))
    }

    /// A hold, or what was left of it, was released.
    ///
    /// # Errors
    /// [`EntryError::Empty`] for an amount of zero.
    pub fn hold_released(
        id: EntryId,
        at: Timestamp,
        processor: &ProcessorId,
        amount: Amount,
    ) -> Result<Entry, EntryError> {
        Entry::new(id, at, EntryKind::HoldReleased, held(processor, Side::Credit, amount))
    }

    /// A hold ended because its money was taken; what it was taken for is booked by another entry.
    ///
    /// # Errors
    /// [`EntryError::Empty`] for an amount of zero.
    pub fn hold_captured(
        id: EntryId,
        at: Timestamp,
        processor: &ProcessorId,
        amount: Amount,
    ) -> Result<Entry, EntryError> {
        Entry::new(id, at, EntryKind::HoldCaptured, held(processor, Side::Credit, amount))
    }

    /// A session was paid, in full or with a shortfall. Ends the hold in the memorandum ledger.
    ///
    /// # Errors
    /// [`EntryError::Unbalanced`] when captured and shortfall do not come to the share's total; [`EntryError::Empty`]
    /// when all amounts are zero.
    pub fn sale(sale: &Sale) -> Result<Entry, EntryError> {
        let Sale { id, at, funding, hold, captured, shortfall, debtor, share } = sale;
        let legs = leg(funding.receivable(), Side::Debit, *captured)
            .into_iter()
            .chain(leg(Name::Shortfall(debtor.clone()), Side::Debit, *shortfall))
            .chain(share.legs(Side::Credit))
            .chain(held(funding.processor(), Side::Credit, *hold));
        Entry::new(*id, *at, EntryKind::Sale, legs)
    }

    /// Corrects a sale that was booked before its price was final, to the operator alone: moves taxes, fee and
    /// rounding out of it.
    ///
    /// # Errors
    /// [`EntryError::Money`] when the share's parts do not add up; [`EntryError::Empty`] when it has only a net
    /// amount.
    pub fn sold_early(id: EntryId, at: Timestamp, share: &Share) -> Result<Entry, EntryError> {
        let plain =
            leg(Name::OperatorPayable(share.operator.clone()), Side::Debit, share.total()?.checked_sub(share.net)?);
        let parts = share.legs(Side::Credit).into_iter().filter(|leg| !matches!(leg.account, Name::OperatorPayable(_)));
        Entry::new(id, at, EntryKind::Sale, plain.into_iter().chain(parts))
    }

    /// Corrects the parts of a sale: `more` is the difference of the new mixture to the booked one, and its total is
    /// zero.
    ///
    /// # Errors
    /// [`EntryError::Unbalanced`] when the total of `more` is not zero; [`EntryError::Empty`] when all parts are
    /// zero.
    pub fn remixed(id: EntryId, at: Timestamp, more: &Share) -> Result<Entry, EntryError> {
        Entry::new(id, at, EntryKind::Correction, more.legs(Side::Credit))
    }

    /// A capture failed after it had been approved: the driver owes it.
    ///
    /// # Errors
    /// [`EntryError::Empty`] for an amount of zero.
    pub fn capture_failed(
        id: EntryId,
        at: Timestamp,
        funding: &Funding,
        debtor: Debtor,
        amount: Amount,
    ) -> Result<Entry, EntryError> {
        let legs = transfer(Name::Shortfall(debtor), funding.receivable(), amount);
        Entry::new(id, at, EntryKind::CaptureFailed, legs)
    }

    /// A session's price left a prepaid account, paid and promotional money apart.
    ///
    /// # Errors
    /// [`EntryError::Money`] when the amounts do not add up; [`EntryError::Empty`] when both are zero.
    pub fn prepaid_capture(
        id: EntryId,
        at: Timestamp,
        account: &AccountId,
        paid: Amount,
        promotional: Amount,
    ) -> Result<Entry, EntryError> {
        let taken = paid.checked_add(promotional)?;
        let legs = on_account(account, Side::Debit, paid, promotional).into_iter().chain(leg(
            Name::PrepaidClearing,
            Side::Credit,
            taken,
        ));
        Entry::new(id, at, EntryKind::PrepaidCapture, legs)
    }

    /// A refund was credited to a prepaid account.
    ///
    /// # Errors
    /// [`EntryError::Money`] when the amounts do not add up; [`EntryError::Empty`] when both are zero.
    pub fn prepaid_refund(
        id: EntryId,
        at: Timestamp,
        account: &AccountId,
        paid: Amount,
        promotional: Amount,
    ) -> Result<Entry, EntryError> {
        let returned = paid.checked_add(promotional)?;
        let legs = leg(Name::PrepaidClearing, Side::Debit, returned).into_iter().chain(on_account(
            account,
            Side::Credit,
            paid,
            promotional,
        ));
        Entry::new(id, at, EntryKind::PrepaidRefund, legs)
    }

    /// Money was credited to a prepaid account: captured by a processor, or (`None`) received at the bank.
    ///
    /// # Errors
    /// [`EntryError::Empty`] for an amount of zero.
    pub fn top_up(
        id: EntryId,
        at: Timestamp,
        account: &AccountId,
        processor: Option<&ProcessorId>,
        amount: Amount,
    ) -> Result<Entry, EntryError> {
        let from = processor.map_or(Name::Bank, |id| Name::ProcessorReceivable(id.clone()));
        Entry::new(id, at, EntryKind::TopUp, transfer(from, Name::Prepaid(account.clone()), amount))
    }

    /// Money of a top-up's payment left its account again: the account bears what its payment has lost. `lost` by a
    /// dispute, or else by a capture that failed or by a refund.
    ///
    /// # Errors
    /// [`EntryError::Empty`] for an amount of zero.
    pub fn top_up_undone(
        id: EntryId,
        at: Timestamp,
        account: &AccountId,
        amount: Amount,
        lost: bool,
    ) -> Result<Entry, EntryError> {
        let from = if lost { Name::Chargeback } else { owed_by(account) };
        Entry::new(id, at, EntryKind::TopUpUndone, transfer(Name::Prepaid(account.clone()), from, amount))
    }

    /// A refund of a top-up failed: its account has the money again.
    ///
    /// # Errors
    /// [`EntryError::Empty`] for an amount of zero.
    pub fn top_up_returned(
        id: EntryId,
        at: Timestamp,
        account: &AccountId,
        amount: Amount,
    ) -> Result<Entry, EntryError> {
        Entry::new(id, at, EntryKind::TopUp, transfer(owed_by(account), Name::Prepaid(account.clone()), amount))
    }

    /// A processor captured a top-up that its account does not take: it is on its way back.
    ///
    /// # Errors
    /// [`EntryError::Empty`] for an amount of zero.
    pub fn top_up_not_taken(
        id: EntryId,
        at: Timestamp,
        processor: &ProcessorId,
        amount: Amount,
    ) -> Result<Entry, EntryError> {
        let (receivable, back) =
            (Name::ProcessorReceivable(processor.clone()), Name::RefundInFlight(processor.clone()));
        Entry::new(id, at, EntryKind::TopUp, transfer(receivable, back, amount))
    }

    /// A refund of a top-up was accepted.
    ///
    /// # Errors
    /// [`EntryError::Empty`] for an amount of zero.
    pub fn top_up_refunded(
        id: EntryId,
        at: Timestamp,
        account: &AccountId,
        processor: &ProcessorId,
        amount: Amount,
    ) -> Result<Entry, EntryError> {
        let legs = transfer(owed_by(account), Name::RefundInFlight(processor.clone()), amount);
        Entry::new(id, at, EntryKind::RefundAccepted, legs)
    }

    /// An account's paid money was paid out; promotional money is forfeited.
    ///
    /// # Errors
    /// [`EntryError::Money`] when the amounts do not add up; [`EntryError::Empty`] when both are zero.
    pub fn account_paid_out(
        id: EntryId,
        at: Timestamp,
        account: &AccountId,
        paid: Amount,
        promotional: Amount,
    ) -> Result<Entry, EntryError> {
        let legs = on_account(account, Side::Debit, paid, promotional)
            .into_iter()
            .chain(leg(Name::Bank, Side::Credit, paid))
            .chain(leg(Name::Breakage, Side::Credit, promotional));
        Entry::new(id, at, EntryKind::AccountPaidOut, legs)
    }

    /// Promotional money was granted.
    ///
    /// # Errors
    /// [`EntryError::Empty`] for an amount of zero.
    pub fn promotion_granted(
        id: EntryId,
        at: Timestamp,
        account: &AccountId,
        amount: Amount,
    ) -> Result<Entry, EntryError> {
        let legs = transfer(Name::Promotion, Name::Promotional(account.clone()), amount);
        Entry::new(id, at, EntryKind::PromotionGranted, legs)
    }

    /// Promotional money lapsed.
    ///
    /// # Errors
    /// [`EntryError::Empty`] for an amount of zero.
    pub fn promotion_expired(
        id: EntryId,
        at: Timestamp,
        account: &AccountId,
        amount: Amount,
    ) -> Result<Entry, EntryError> {
        let legs = transfer(Name::Promotional(account.clone()), Name::Breakage, amount);
        Entry::new(id, at, EntryKind::PromotionExpired, legs)
    }

    /// A processor paid out captured money and kept its fee.
    ///
    /// # Errors
    /// [`EntryError::Money`] when the amounts do not add up; [`EntryError::Empty`] when all are zero.
    pub fn settlement(
        id: EntryId,
        at: Timestamp,
        processor: &ProcessorId,
        gross: Amount,
        fee: Amount,
    ) -> Result<Entry, EntryError> {
        let legs = leg(Name::Bank, Side::Debit, gross.checked_sub(fee)?)
            .into_iter()
            .chain(leg(Name::ProcessorFee(processor.clone()), Side::Debit, fee))
            .chain(leg(Name::ProcessorReceivable(processor.clone()), Side::Credit, gross));
        Entry::new(id, at, EntryKind::Settlement, legs)
    }

    /// A refund was requested: the sale is reversed by its parts, and the money is in transit.
    ///
    /// # Errors
    /// [`EntryError::Money`] when the share's parts do not add up; [`EntryError::Empty`] when they are zero.
    pub fn refund_accepted(id: EntryId, at: Timestamp, funding: &Funding, share: &Share) -> Result<Entry, EntryError> {
        let legs = share.legs(Side::Debit).into_iter().chain(leg(funding.refunding(), Side::Credit, share.total()?));
        Entry::new(id, at, EntryKind::RefundAccepted, legs)
    }

    /// A processor carried the refund out. (Onto a prepaid account it is carried out by [`Entry::prepaid_refund`].)
    ///
    /// # Errors
    /// [`EntryError::Empty`] for an amount of zero.
    pub fn refund_confirmed(
        id: EntryId,
        at: Timestamp,
        processor: &ProcessorId,
        amount: Amount,
    ) -> Result<Entry, EntryError> {
        let legs =
            transfer(Name::RefundInFlight(processor.clone()), Name::ProcessorReceivable(processor.clone()), amount);
        Entry::new(id, at, EntryKind::RefundConfirmed, legs)
    }

    /// A refund was not carried out: what [`Entry::refund_accepted`] booked is taken back.
    pub fn refund_failed(id: EntryId, at: Timestamp, accepted: &Entry) -> Entry {
        accepted.reversed(id, at, EntryKind::RefundFailed)
    }

    /// A processor took disputed money back, and a fee for it.
    ///
    /// # Errors
    /// [`EntryError::Money`] when the amounts do not add up; [`EntryError::Empty`] when both are zero.
    pub fn dispute_opened(
        id: EntryId,
        at: Timestamp,
        processor: &ProcessorId,
        amount: Amount,
        fee: Amount,
    ) -> Result<Entry, EntryError> {
        let legs = leg(Name::DisputeReceivable(processor.clone()), Side::Debit, amount)
            .into_iter()
            .chain(leg(Name::ProcessorFee(processor.clone()), Side::Debit, fee))
            .chain(leg(Name::ProcessorReceivable(processor.clone()), Side::Credit, amount.checked_add(fee)?));
        Entry::new(id, at, EntryKind::DisputeOpened, legs)
    }

    /// The disputed money was returned.
    ///
    /// # Errors
    /// [`EntryError::Empty`] for an amount of zero.
    pub fn dispute_won(
        id: EntryId,
        at: Timestamp,
        processor: &ProcessorId,
        amount: Amount,
    ) -> Result<Entry, EntryError> {
        let legs =
            transfer(Name::ProcessorReceivable(processor.clone()), Name::DisputeReceivable(processor.clone()), amount);
        Entry::new(id, at, EntryKind::DisputeWon, legs)
    }

    /// The disputed money is lost: by us, or (`liable`) by the operator that sold the energy.
    ///
    /// # Errors
    /// [`EntryError::Empty`] for an amount of zero.
    pub fn dispute_lost(
        id: EntryId,
        at: Timestamp,
        processor: &ProcessorId,
        amount: Amount,
        liable: Option<&OperatorId>,
    ) -> Result<Entry, EntryError> {
        let to = liable.map_or(Name::Chargeback, |operator| Name::OperatorPayable(operator.clone()));
        let legs = transfer(to, Name::DisputeReceivable(processor.clone()), amount);
        Entry::new(id, at, EntryKind::DisputeLost, legs)
    }

    /// A driver paid a shortfall through a processor.
    ///
    /// # Errors
    /// [`EntryError::Empty`] for an amount of zero.
    pub fn shortfall_paid(
        id: EntryId,
        at: Timestamp,
        processor: &ProcessorId,
        debtor: Debtor,
        amount: Amount,
    ) -> Result<Entry, EntryError> {
        let legs = transfer(Name::ProcessorReceivable(processor.clone()), Name::Shortfall(debtor), amount);
        Entry::new(id, at, EntryKind::ShortfallPaid, legs)
    }

    /// A shortfall was given up.
    ///
    /// # Errors
    /// [`EntryError::Empty`] for an amount of zero.
    pub fn shortfall_written_off(
        id: EntryId,
        at: Timestamp,
        debtor: Debtor,
        amount: Amount,
    ) -> Result<Entry, EntryError> {
        let legs = transfer(Name::WriteOff, Name::Shortfall(debtor), amount);
        Entry::new(id, at, EntryKind::ShortfallWrittenOff, legs)
    }

    /// An operator was paid.
    ///
    /// # Errors
    /// [`EntryError::Empty`] for an amount of zero.
    pub fn operator_paid(
        id: EntryId,
        at: Timestamp,
        operator: &OperatorId,
        amount: Amount,
    ) -> Result<Entry, EntryError> {
        let legs = transfer(Name::OperatorPayable(operator.clone()), Name::Bank, amount);
        Entry::new(id, at, EntryKind::OperatorPaid, legs)
    }

    /// A processor withheld money for later (negative), or released it.
    ///
    /// # Errors
    /// [`EntryError::Empty`] for an amount of zero.
    pub fn reserved(id: EntryId, at: Timestamp, processor: &ProcessorId, net: Amount) -> Result<Entry, EntryError> {
        let legs = transfer(Name::Bank, Name::ProcessorReserve(processor.clone()), net);
        Entry::new(id, at, EntryKind::Settlement, legs)
    }

    /// A settlement line that matches no operation: the money arrived without a known purpose. Negative when it was
    /// withheld.
    ///
    /// # Errors
    /// [`EntryError::Empty`] for an amount of zero.
    pub fn unmatched(id: EntryId, at: Timestamp, processor: &ProcessorId, net: Amount) -> Result<Entry, EntryError> {
        let legs = transfer(Name::Bank, Name::Suspense(processor.clone()), net);
        Entry::new(id, at, EntryKind::Unmatched, legs)
    }

    /// An unmatched line was matched with captured money later.
    ///
    /// # Errors
    /// [`EntryError::Money`] when the amounts do not add up; [`EntryError::Empty`] when all are zero.
    pub fn matched(
        id: EntryId,
        at: Timestamp,
        processor: &ProcessorId,
        net: Amount,
        fee: Amount,
    ) -> Result<Entry, EntryError> {
        let legs = leg(Name::Suspense(processor.clone()), Side::Debit, net)
            .into_iter()
            .chain(leg(Name::ProcessorFee(processor.clone()), Side::Debit, fee))
            .chain(leg(Name::ProcessorReceivable(processor.clone()), Side::Credit, net.checked_add(fee)?));
        Entry::new(id, at, EntryKind::Matched, legs)
    }
}

/// A leg, or none for zero; a negative amount goes to the other side.
fn leg(account: Name, side: Side, amount: Amount) -> Option<Leg> {
    match amount.minor.signum() {
        0 => None,
        1 => Some(Leg { account, side, amount }),
        _ => {
            // The smallest i64 has no opposite; as it is, the entry refuses it.
            let minor = amount.minor.checked_neg().unwrap_or(amount.minor);
            Some(Leg { account, side: side.opposite(), amount: Amount::new(minor, amount.currency) })
        }
    }
}

/// What a top-up's payment and its account owe each other.
fn owed_by(account: &AccountId) -> Name {
    Name::Shortfall(Debtor::Account(account.clone()))
}

fn transfer(debit: Name, credit: Name, amount: Amount) -> Vec<Leg> {
    leg(debit, Side::Debit, amount).into_iter().chain(leg(credit, Side::Credit, amount)).collect()
}

/// The two legs in the memorandum ledger; `side` is that of the account that shows the reserved amount.
fn held(processor: &ProcessorId, side: Side, amount: Amount) -> Vec<Leg> {
    leg(Name::Held(processor.clone()), side, amount)
        .into_iter()
        .chain(leg(Name::HeldContra(processor.clone()), side.opposite(), amount))
        .collect()
}

fn on_account(account: &AccountId, side: Side, paid: Amount, promotional: Amount) -> Vec<Leg> {
    leg(Name::Prepaid(account.clone()), side, paid)
        .into_iter()
        .chain(leg(Name::Promotional(account.clone()), side, promotional))
        .collect()
}
