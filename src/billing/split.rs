//! The payable amount by its parts in whole minor units: what the books and a VAT return need.

use super::{BillingError, ClosedSession, VatTotal};
use crate::ledger::{Share, Tax, TaxRate};
use crate::units::{Amount, Cost, MoneyError, OperatorId, Rounding};
use rust_decimal::Decimal;

/// Net, taxes and what rounding made of their sum: together exactly the payable amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayableSplit {
    /// Without VAT.
    pub net: Amount,
    /// VAT per rate, in the order of the session's rates.
    pub taxes: Vec<(Option<Decimal>, Amount)>,
    /// The remainder between their sum and the payable amount: less than one minor unit per part.
    pub rounding: Amount,
}

impl PayableSplit {
    /// Splits a session's payable amount. Each part is rounded to the nearest minor unit, and the difference is kept.
    ///
    /// # Errors
    /// [`MoneyError`]: amounts of several currencies, or an overflow.
    pub fn of(session: &ClosedSession) -> Result<PayableSplit, MoneyError> {
        PayableSplit::new(session.net, &session.vat, session.payable)
    }

    /// The same of its parts: the exact net, the exact sums per rate, and the payable amount.
    ///
    /// # Errors
    /// [`MoneyError`]: amounts of several currencies, or an overflow.
    pub fn new(net: Cost, vat: &[VatTotal], payable: Amount) -> Result<PayableSplit, MoneyError> {
        let net = net.round(Rounding::HalfEven)?;
        let mut rounding = payable.checked_sub(net)?;
        let mut taxes = Vec::with_capacity(vat.len());
        for rate in vat {
            let tax = rate.vat.round(Rounding::HalfEven)?;
            rounding = rounding.checked_sub(tax)?;
            taxes.push((rate.percent, tax));
        }
        Ok(PayableSplit { net, taxes, rounding })
    }

    /// The same as the books take it: the operator's net amount, our fee out of it, and taxes of a country.
    ///
    /// # Errors
    /// [`BillingError::Money`]: a rate with more than four decimals of a percent, several currencies, or an overflow.
    pub fn share(&self, operator: &OperatorId, fee: Amount, country: [u8; 2]) -> Result<Share, BillingError> {
        let mut taxes = Vec::with_capacity(self.taxes.len());
        let mut net = self.net.checked_sub(fee)?;
        for (percent, amount) in &self.taxes {
            match percent {
                Some(percent) => taxes.push((Tax { country, rate: rate(*percent)? }, *amount)),
                // Without a rate there is nothing to declare; what a price limit left over is the operator's.
                None => net = net.checked_add(*amount)?,
            }
        }
        Ok(Share { operator: operator.clone(), net, fee, taxes, rounding: self.rounding })
    }
}

/// A percentage in ten-thousandths of a percent.
fn rate(percent: Decimal) -> Result<TaxRate, MoneyError> {
    let scaled = percent.checked_mul(Decimal::from(10_000)).ok_or(MoneyError::Overflow)?.normalize();
    let whole = (scaled.scale() == 0).then(|| u32::try_from(scaled.mantissa()).ok()).flatten();
    whole.map(TaxRate).ok_or_else(|| MoneyError::TooFine(percent.to_string()))
}
