//! The chart of accounts.

use crate::stored::stored;
use crate::units::{AccountId, Fingerprint, OperatorId, ProcessorId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An account of the books. The order of the variants is the order of the trial balance; the numbers below are stored, and no
/// other account ever gets one of them.
///
/// ```
/// use wattstile::ledger::{Kind, Name};
/// use wattstile::units::ProcessorId;
///
/// let receivable = Name::ProcessorReceivable(ProcessorId::new("acme")?);
/// assert_eq!(receivable.to_string(), "assets:processor:acme:receivable");
/// assert_eq!((receivable.code(), receivable.kind()), ("1110", Kind::Asset));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Name {
    /// 1010: money in the bank.
    Bank,
    /// 1110: captured by a processor and not settled yet.
    ProcessorReceivable(ProcessorId),
    /// 1120: kept back by a processor for some time.
    ProcessorReserve(ProcessorId),
    /// 1130: owed by a driver, because less was captured than was consumed.
    Shortfall(Debtor),
    /// 1140: taken back by a processor while a dispute is open.
    DisputeReceivable(ProcessorId),
    /// 1150: taken from a prepaid account and not yet booked as a sale (or the other way round, for a moment).
    PrepaidClearing,
    /// 2010: paid money on an account.
    Prepaid(AccountId),
    /// 2011: promotional money on an account.
    Promotional(AccountId),
    /// 2020: net amounts owed to the operator that sold the energy.
    OperatorPayable(OperatorId),
    /// 2030: owed to a tax office.
    Tax(Tax),
    /// 2040: refunds that the processor has not confirmed.
    RefundInFlight(ProcessorId),
    /// 2050: settled by a processor and not matched with anything.
    Suspense(ProcessorId),
    /// 4010: our fee.
    FeeRevenue,
    /// 4020: promotional money that lapsed.
    Breakage,
    /// 5010: the processor's fee.
    ProcessorFee(ProcessorId),
    /// 5020: disputes lost.
    Chargeback,
    /// 5030: shortfalls given up.
    WriteOff,
    /// 5040: what rounding costs or brings.
    Rounding,
    /// 5050: promotional money granted.
    Promotion,
    /// M010: reserved at a processor.
    Held(ProcessorId),
    /// M020: the other side of M010.
    HeldContra(ProcessorId),
}

stored!(enum Name {
    0: Bank,
    1: ProcessorReceivable(processor_id),
    2: ProcessorReserve(processor_id),
    3: Shortfall(debtor),
    4: DisputeReceivable(processor_id),
    5: PrepaidClearing,
    6: Prepaid(account_id),
    7: Promotional(account_id),
    8: OperatorPayable(operator_id),
    9: Tax(tax),
    10: RefundInFlight(processor_id),
    11: Suspense(processor_id),
    12: FeeRevenue,
    13: Breakage,
    14: ProcessorFee(processor_id),
    15: Chargeback,
    16: WriteOff,
    17: Rounding,
    18: Promotion,
    19: Held(processor_id),
    20: HeldContra(processor_id),
});

/// The debtor of a shortfall.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Debtor {
    /// The holder of an account.
    Account(AccountId),
    /// The driver, known only by the fingerprint of the credential.
    Credential(Fingerprint),
}

stored!(enum Debtor { 0: Account(account_id), 1: Credential(fingerprint) });

/// A tax: of which country, at which rate.
///
/// ```
/// use wattstile::ledger::{Name, Tax, TaxRate};
///
/// let tax = Tax { country: *b"NL", rate: TaxRate(210_000) };
/// assert_eq!(Name::Tax(tax).to_string(), "liabilities:tax:NL:21%");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tax {
    /// ISO 3166-1 alpha-2, in capitals.
    pub country: [u8; 2],
    /// The rate.
    pub rate: TaxRate,
}

stored!(value struct Tax { 0: country, 1: rate });

/// A tax rate in ten-thousandths of a percent: 19 % is 190,000.
///
/// ```
/// use wattstile::ledger::TaxRate;
///
/// assert_eq!(TaxRate(55_000).to_string(), "5.5%");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaxRate(pub u32);

stored!(struct TaxRate(value));

/// Which of the two ledgers an account is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ledger {
    /// Our assets and liabilities, income and expenses.
    Main,
    /// Reserved money.
    Memorandum,
}

/// Kinds of accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Ours; grows by debits.
    Asset,
    /// Owed; grows by credits.
    Liability,
    /// Earned; grows by credits.
    Income,
    /// Spent; grows by debits.
    Expense,
    /// Reserved; grows by debits.
    Memorandum,
    /// The other side of the reserved amount; grows by credits.
    Contra,
}

impl Kind {
    /// Whether a debit makes it grow.
    pub const fn grows_by_debit(self) -> bool {
        match self {
            Kind::Asset | Kind::Expense | Kind::Memorandum => true,
            Kind::Liability | Kind::Income | Kind::Contra => false,
        }
    }
}

impl Name {
    /// The account's number in the chart.
    pub const fn code(&self) -> &'static str {
        match self {
            Name::Bank => "1010",
            Name::ProcessorReceivable(_) => "1110",
            Name::ProcessorReserve(_) => "1120",
            Name::Shortfall(_) => "1130",
            Name::DisputeReceivable(_) => "1140",
            Name::PrepaidClearing => "1150",
            Name::Prepaid(_) => "2010",
            Name::Promotional(_) => "2011",
            Name::OperatorPayable(_) => "2020",
            Name::Tax(_) => "2030",
            Name::RefundInFlight(_) => "2040",
            Name::Suspense(_) => "2050",
            Name::FeeRevenue => "4010",
            Name::Breakage => "4020",
            Name::ProcessorFee(_) => "5010",
            Name::Chargeback => "5020",
            Name::WriteOff => "5030",
            Name::Rounding => "5040",
            Name::Promotion => "5050",
            Name::Held(_) => "M010",
            Name::HeldContra(_) => "M020",
        }
    }

    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Name::Bank
            | Name::ProcessorReceivable(_)
            | Name::ProcessorReserve(_)
            | Name::Shortfall(_)
            | Name::DisputeReceivable(_)
            | Name::PrepaidClearing => Kind::Asset,
            Name::Prepaid(_)
            | Name::Promotional(_)
            | Name::OperatorPayable(_)
            | Name::Tax(_)
            | Name::RefundInFlight(_)
            | Name::Suspense(_) => Kind::Liability,
            Name::FeeRevenue | Name::Breakage => Kind::Income,
            Name::ProcessorFee(_) | Name::Chargeback | Name::WriteOff | Name::Rounding | Name::Promotion => {
                Kind::Expense
            }
            Name::Held(_) => Kind::Memorandum,
            Name::HeldContra(_) => Kind::Contra,
        }
    }

    /// Its ledger.
    pub const fn ledger(&self) -> Ledger {
        match self.kind() {
            Kind::Asset | Kind::Liability | Kind::Income | Kind::Expense => Ledger::Main,
            Kind::Memorandum | Kind::Contra => Ledger::Memorandum,
        }
    }

    /// Whether its balance, in the direction in which it grows, must not be below zero. Prepaid accounts have a limit
    /// of their own, which the account's machine keeps. What a processor owes us may be below zero: after a payout it deducts
    /// refunds and disputes from its next one.
    pub const fn never_negative(&self) -> bool {
        match self {
            Name::ProcessorReserve(_)
            | Name::Shortfall(_)
            | Name::DisputeReceivable(_)
            | Name::Promotional(_)
            | Name::RefundInFlight(_)
            | Name::Held(_)
            | Name::HeldContra(_) => true,
            Name::Bank
            | Name::ProcessorReceivable(_)
            | Name::PrepaidClearing
            | Name::Prepaid(_)
            | Name::OperatorPayable(_)
            | Name::Tax(_)
            | Name::Suspense(_)
            | Name::FeeRevenue
            | Name::Breakage
            | Name::ProcessorFee(_)
            | Name::Chargeback
            | Name::WriteOff
            | Name::Rounding
            | Name::Promotion => false,
        }
    }

    /// The parts of its path below its root.
    pub(super) fn parts(&self) -> Vec<Part> {
        use Part::{Id, Word};
        match self {
            Name::Bank => vec![Word("bank")],
            Name::ProcessorReceivable(id) => vec![Word("processor"), Id(id.to_string()), Word("receivable")],
            Name::ProcessorReserve(id) => vec![Word("processor"), Id(id.to_string()), Word("reserve")],
            Name::Shortfall(debtor) => vec![Word("shortfall"), Id(debtor.to_string())],
            Name::DisputeReceivable(id) => vec![Word("processor"), Id(id.to_string()), Word("dispute")],
            Name::PrepaidClearing => vec![Word("clearing"), Word("prepaid")],
            Name::Prepaid(id) => vec![Word("account"), Id(id.to_string()), Word("prepaid")],
            Name::Promotional(id) => vec![Word("account"), Id(id.to_string()), Word("promotional")],
            Name::OperatorPayable(id) => vec![Word("operator"), Id(id.to_string())],
            Name::Tax(tax) => vec![Word("tax"), Id(tax.country()), Id(tax.rate.to_string())],
            Name::RefundInFlight(id) => vec![Word("processor"), Id(id.to_string()), Word("refunds")],
            Name::Suspense(id) => vec![Word("processor"), Id(id.to_string()), Word("suspense")],
            Name::FeeRevenue => vec![Word("fee")],
            Name::Breakage => vec![Word("breakage")],
            Name::ProcessorFee(id) => vec![Word("processor"), Id(id.to_string()), Word("fee")],
            Name::Chargeback => vec![Word("chargeback")],
            Name::WriteOff => vec![Word("write-off")],
            Name::Rounding => vec![Word("rounding")],
            Name::Promotion => vec![Word("promotion")],
            Name::Held(id) => vec![Word("held"), Id(id.to_string())],
            Name::HeldContra(id) => vec![Word("contra"), Id(id.to_string())],
        }
    }
}

/// A part of an account's path.
pub(super) enum Part {
    /// A fixed part of a name.
    Word(&'static str),
    /// A name from outside.
    Id(String),
}

/// The path, from the general to the particular, with colons between: `assets:processor:acme:receivable`. A colon inside
/// an id becomes a slash, which no id contains.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut path = match self.kind() {
            Kind::Asset => "assets",
            Kind::Liability => "liabilities",
            Kind::Income => "income",
            Kind::Expense => "expenses",
            Kind::Memorandum | Kind::Contra => "memorandum",
        }
        .to_owned();
        for part in self.parts() {
            path.push(':');
            match part {
                Part::Word(word) => path.push_str(word),
                Part::Id(id) => path.push_str(&id.replace(':', "/")),
            }
        }
        f.pad(&path)
    }
}

impl fmt::Display for Debtor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Debtor::Account(id) => id.fmt(f),
            Debtor::Credential(fingerprint) => fingerprint.fmt(f),
        }
    }
}

impl Tax {
    /// The country as text.
    pub fn country(&self) -> String {
        self.country.iter().map(|byte| char::from(*byte)).collect()
    }
}

/// `19%`, `5.5%`.
impl fmt::Display for TaxRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        match rest {
            0 => write!(f, "{whole}%"),
            _ => {
                let decimals = format!("{rest:04}");
                write!(f, "{whole}.{}%", decimals.trim_end_matches('0'))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_shown_without_needless_digits() {
        assert_eq!(TaxRate(190_000).to_string(), "19%");
        assert_eq!(TaxRate(55_000).to_string(), "5.5%");
        assert_eq!(TaxRate(1).to_string(), "0.0001%");
    }

    #[test]
    fn a_name_is_a_path_that_an_id_cannot_break() {
        let id = AccountId::new("fleet:north").unwrap();
        assert_eq!(Name::Prepaid(id).to_string(), "liabilities:account:fleet/north:prepaid");
        let tax = Tax { country: *b"DE", rate: TaxRate(190_000) };
        assert_eq!(Name::Tax(tax).to_string(), "liabilities:tax:DE:19%");
    }
}
