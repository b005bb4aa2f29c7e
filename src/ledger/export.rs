//! The books for other programs: a journal for hledger, one for beancount, and a table.
//!
//! Amounts are decimals with the digits of their currency. The journals end with assertions of every balance, so that the
//! program that reads them checks that it came to the same figures.

use super::chart::Part;
use super::{Books, Entry, Kind, Leg, Name, Side};
use crate::units::{Amount, Currency, Timestamp};
use rust_decimal::Decimal;
use std::collections::BTreeSet;
use std::io::{self, Write};

/// Formats of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A journal of hledger (and, without the assertions' help, of ledger).
    Hledger,
    /// A ledger of beancount.
    Beancount,
    /// Comma-separated values, one line per leg.
    Csv,
}

/// Writes entries one by one, however many there are. Memory is one name per account.
///
/// ```
/// use wattstile::ledger::{Books, Entry, EntryId, Exporter, Format};
/// use wattstile::units::{Amount, Currency, PartitionId, ProcessorId, SessionId, Timestamp};
///
/// let (at, acme) = (Timestamp::from_unix_ms(1_796_000_000_000), ProcessorId::new("acme")?);
/// let id = EntryId::of_session(SessionId::new(at, PartitionId(0), 7), 1);
/// let entry = Entry::hold_approved(id, at, &acme, Amount::new(4_500, Currency::EUR))?;
/// let mut books = Books::default();
/// books.post(&entry);
/// let mut exporter = Exporter::new(Vec::new(), Format::Csv)?;
/// exporter.entry(&entry)?;
/// let csv = String::from_utf8(exporter.finish(&books)?)?;
/// assert_eq!(csv.lines().count(), 3, "a heading and two legs:\n{csv}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Exporter<W: Write> {
    out: W,
    format: Format,
    opened: BTreeSet<(Name, Currency)>,
    currencies: BTreeSet<Currency>,
    last: Timestamp,
}

impl<W: Write> Exporter<W> {
    /// Begins an export.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn new(mut out: W, format: Format) -> io::Result<Exporter<W>> {
        match format {
            Format::Hledger => {
                for (root, kind) in
                    [("assets", "A"), ("liabilities", "L"), ("income", "R"), ("expenses", "X"), ("memorandum", "E")]
                {
                    writeln!(out, "account {root}  ; type: {kind}")?;
                }
            }
            Format::Beancount => writeln!(out, "option \"title\" \"wattstile\"")?,
            Format::Csv => {
                writeln!(out, "entry,at,kind,corrects,code,account,side,amount,currency")?;
            }
        }
        let last = Timestamp::from_unix_ms(0);
        Ok(Exporter { out, format, opened: BTreeSet::new(), currencies: BTreeSet::new(), last })
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.last = self.last.max(entry.at());
        for leg in entry.legs() {
            self.open(leg)?;
        }
        match self.format {
            Format::Hledger => self.hledger(entry),
            Format::Beancount => self.beancount(entry),
            Format::Csv => self.csv(entry),
        }
    }

    /// Ends the export: asserts the balances that these entries make, and returns the output.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn finish(mut self, books: &Books) -> io::Result<W> {
        match self.format {
            Format::Hledger => {
                writeln!(self.out, "\n{} * balances", day(self.last))?;
                for (account, currency, balance) in books.balances() {
                    let zero = decimal(0, currency);
                    let balance = decimal(balance.net_debit(), currency);
                    writeln!(self.out, "    {account}  {currency} {zero} = {currency} {balance}")?;
                }
            }
            Format::Beancount => {
                // A balance is asserted for the beginning of a day.
                let next = self.last.saturating_add(crate::units::TimeSpan::from_secs(24 * 3_600));
                writeln!(self.out)?;
                for (account, currency, balance) in books.balances() {
                    let (name, balance) = (beancount_name(account), decimal(balance.net_debit(), currency));
                    writeln!(self.out, "{} balance {name}  {balance} {currency}", day(next))?;
                }
            }
            Format::Csv => {}
        }
        self.out.flush()?;
        Ok(self.out)
    }

    /// Writes the declarations that a format requires before an account and a currency are used.
    fn open(&mut self, leg: &Leg) -> io::Result<()> {
        let currency = leg.amount.currency;
        if self.format == Format::Hledger && self.currencies.insert(currency) {
            // The decimal mark is obligatory, also where no decimals follow.
            let decimals = "0".repeat(usize::from(currency.exponent()));
            writeln!(self.out, "commodity {currency} 1000.{decimals}")?;
        }
        if self.opened.insert((leg.account.clone(), currency)) {
            match self.format {
                Format::Hledger => writeln!(self.out, "account {}", leg.account)?,
                Format::Beancount => {
                    let other = self.opened.iter().any(|(name, used)| *name == leg.account && *used != currency);
                    if !other {
                        writeln!(self.out, "1970-01-01 open {}", beancount_name(&leg.account))?;
                    }
                }
                Format::Csv => {}
            }
        }
        Ok(())
    }

    fn hledger(&mut self, entry: &Entry) -> io::Result<()> {
        write!(self.out, "\n{} * ({}) {}", day(entry.at()), entry.id(), entry.kind())?;
        if let Some(corrects) = entry.corrects() {
            write!(self.out, "  ; corrects: {corrects}")?;
        }
        writeln!(self.out)?;
        for leg in entry.legs() {
            let currency = leg.amount.currency;
            writeln!(self.out, "    {}  {currency} {}", leg.account, signed(leg))?;
        }
        Ok(())
    }

    fn beancount(&mut self, entry: &Entry) -> io::Result<()> {
        writeln!(self.out, "\n{} * \"{}\"", day(entry.at()), entry.kind())?;
        writeln!(self.out, "  entry: \"{}\"", entry.id())?;
        if let Some(corrects) = entry.corrects() {
            writeln!(self.out, "  corrects: \"{corrects}\"")?;
        }
        for leg in entry.legs() {
            writeln!(self.out, "  {}  {} {}", beancount_name(&leg.account), signed(leg), leg.amount.currency)?;
        }
        Ok(())
    }

    fn csv(&mut self, entry: &Entry) -> io::Result<()> {
        let corrects = entry.corrects().map(|id| id.to_string()).unwrap_or_default();
        for Leg { account, side, amount } in entry.legs() {
            let side = match side {
                Side::Debit => "debit",
                Side::Credit => "credit",
            };
            // No field has a comma, a quote or a line end in it: names consist of checked ids and fixed words.
            let (id, at, kind, code) = (entry.id(), entry.at(), entry.kind(), account.code());
            let Amount { currency, .. } = amount;
            writeln!(self.out, "{id},{at},{kind},{corrects},{code},{account},{side},{},{currency}", amount.major())?;
        }
        Ok(())
    }
}

fn day(at: Timestamp) -> String {
    at.to_rfc3339().chars().take(10).collect()
}

fn signed(leg: &Leg) -> Decimal {
    match leg.side {
        Side::Debit => leg.amount.major(),
        Side::Credit => -leg.amount.major(),
    }
}

/// Minor units as a decimal of the currency. Sums of more than 28 digits do not occur in one set of books.
fn decimal(minor: i128, currency: Currency) -> Decimal {
    Decimal::from_i128_with_scale(minor, u32::from(currency.exponent()))
}

/// The name by beancount's rules: five roots, parts that begin with a capital or a digit and have only letters, digits
/// and hyphens. In an id, what does not fit is written as `-xHH`, and one that begins otherwise (or with `N-`) gets `N-` in
/// front, so that two names never become one.
pub(super) fn beancount_name(name: &Name) -> String {
    let mut path = match name.kind() {
        Kind::Asset => "Assets",
        Kind::Liability => "Liabilities",
        Kind::Income => "Income",
        Kind::Expense => "Expenses",
        Kind::Memorandum | Kind::Contra => "Equity:Memorandum",
    }
    .to_owned();
    for part in name.parts() {
        path.push(':');
        match part {
            Part::Word(word) => {
                let (first, rest) = word.split_at(1);
                path.push_str(&first.to_ascii_uppercase());
                path.push_str(rest);
            }
            Part::Id(id) => {
                let capital = id.starts_with(|first: char| first.is_ascii_uppercase() || first.is_ascii_digit());
                if !capital || id.starts_with("N-") {
                    path.push_str("N-");
                }
                for (index, byte) in id.bytes().enumerate() {
                    match byte {
                        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => path.push(char::from(byte)),
                        b'-' if !id[index + 1..].starts_with('x') => path.push('-'),
                        _ => path.push_str(&format!("-x{byte:02x}")),
                    }
                }
            }
        }
    }
    path
}
