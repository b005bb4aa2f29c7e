//! Settlement files: processors use different columns, which a map assigns to fields.

use super::left_out::LeftOut;
use super::map::{ColumnMap, Columns, Figures, Meaning};
use super::table::{self, BadRows, Encoding, Finder, TextFault, read_text, shortened, wrong_fields};
use super::{Flow, LineKind, Ours, SettlementLine};
use crate::limits;
use crate::units::{Amount, Currency, DecimalMark, MoneyError, OpId, Timestamp};
use rust_decimal::Decimal;
use std::io::Read;

/// Why a file is not taken. Nothing of it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// Not a table, or not text.
    #[error("{0}")]
    Table(String),
    /// A column that the map names is not there.
    #[error("{0}")]
    Column(String),
    /// A field that cannot be read.
    #[error("line {line}, column `{column}`: {what}")]
    Field {
        /// The line of the file.
        line: u64,
        /// The column.
        column: String,
        /// The fault.
        what: String,
    },
    /// A row that has too few or too many fields.
    #[error("line {line}: {what}")]
    Fields {
        /// The line of the file.
        line: u64,
        /// How many it has, and how many the line of names has.
        what: String,
    },
    /// Columns with amounts that the map does not name.
    #[error("{what}; write {write} in the map")]
    LeftOut {
        /// Which, and where they have amounts.
        what: String,
        /// What names them.
        write: String,
    },
    /// Rows that cannot be read: all of them are reported at once.
    #[error("{0}")]
    Rows(BadRows),
    /// More lines than are taken.
    #[error("the file has more than {0} lines")]
    TooLong(usize),
    /// A map that cannot be used.
    #[error("the map: {0}")]
    Map(String),
}

/// What could be read of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRows<T> {
    /// The good rows.
    pub rows: Vec<T>,
    /// The bad ones.
    pub bad: BadRows,
}

impl<T> ReadRows<T> {
    /// The rows, if all of them are good.
    ///
    /// # Errors
    /// The bad rows, all at once.
    pub fn all(self) -> Result<Vec<T>, CsvError> {
        if self.bad.is_empty() { Ok(self.rows) } else { Err(CsvError::Rows(self.bad)) }
    }
}

/// Reads a settlement file; one bad row refuses it.
///
/// # Errors
/// See [`read_rows`]; and [`CsvError::Rows`] with every bad row.
pub fn read_csv(file: impl Read, map: &ColumnMap, currency: Currency) -> Result<Vec<SettlementLine>, CsvError> {
    read_rows(file, map, currency)?.all()
}

/// Reads a settlement file: the rows that are good, and the fault in the others.
///
/// # Errors
/// When the map or the table as a whole cannot be used: a column that is not there, bytes that are not text.
pub fn read_rows(file: impl Read, map: &ColumnMap, currency: Currency) -> Result<ReadRows<SettlementLine>, CsvError> {
    let separator = map.checked().map_err(CsvError::Map)?;
    let (text, skipped) = text_of(file, map.encoding, map.header_line).map_err(|fault| {
        let mend = ", or say which encoding it has in the map: encoding = \"latin-1\", or \"utf-16\"";
        CsvError::Table(format!("{fault}{}", if fault.of_encoding { mend } else { "" }))
    })?;
    let (mut reader, headers) = table::open(&text, separator).map_err(CsvError::Table)?;
    let columns = Columns::find(map, &headers).map_err(CsvError::Column)?;
    let mut left_out = LeftOut::of(map, &columns, &headers);
    let mut found = ReadRows { rows: Vec::new(), bad: BadRows::default() };
    for (index, record) in reader.records().enumerate() {
        if index >= limits::SETTLEMENT_LINES_MAX {
            return Err(CsvError::TooLong(limits::SETTLEMENT_LINES_MAX));
        }
        let record = record.map_err(|error| CsvError::Table(error.to_string()))?;
        if record.iter().all(str::is_empty) || columns.skips(&record, map) {
            continue;
        }
        let line = record.position().map_or(0, ::csv::Position::line).saturating_add(skipped);
        left_out.check_row(&record, line, currency);
        let row = Row { map, record: &record, line };
        match fields(&record, &headers, line).and_then(|()| row.read(&columns, currency)) {
            Ok(Found::Line(line)) => found.rows.push(line),
            Ok(Found::Skipped) => {}
            Ok(Found::NoAmount) => left_out.without(&record, line, currency),
            Err(error) => found.bad.push(error),
        }
    }
    left_out.other_sides()?;
    left_out.show_empty(&mut found.bad);
    Ok(found)
}

/// What a row is.
enum Found {
    Line(SettlementLine),
    /// Its kind says that it is left out.
    Skipped,
    /// There is no amount where the map looks for one.
    NoAmount,
}

/// The text behind the lines that stand before the names, and how many lines those are.
fn text_of(file: impl Read, encoding: Encoding, header_line: u32) -> Result<(String, u64), TextFault> {
    let text = read_text(file, encoding, limits::SETTLEMENT_FILE_BYTES_MAX)?;
    let before = usize::try_from(header_line.saturating_sub(1)).unwrap_or(usize::MAX);
    let start: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
    let text = if start == 0 { text } else { text[start..].to_owned() };
    Ok((text, u64::from(header_line.saturating_sub(1))))
}

fn fields(record: &::csv::StringRecord, headers: &::csv::StringRecord, line: u64) -> Result<(), CsvError> {
    let (found, expected) = (record.len(), headers.len());
    // Some exports end every row with one more separator.
    let more_are_empty = found > expected && record.iter().skip(expected).all(str::is_empty);
    if found == expected || more_are_empty {
        Ok(())
    } else {
        Err(CsvError::Fields { line, what: wrong_fields(record, expected) })
    }
}

/// Reads our side from a table with the columns `operation`, `kind` (`capture`, `refund`, `dispute` or
/// `dispute_won`), `reference`, `amount` (major
/// units, above zero), `currency` and `at` (RFC 3339).
///
/// # Errors
/// A column that is not there, or every row that cannot be read.
pub fn read_ours(file: impl Read) -> Result<Vec<Ours>, CsvError> {
    let (text, _) = text_of(file, Encoding::Utf8, 1).map_err(|fault| CsvError::Table(fault.to_string()))?;
    let (mut reader, headers) = table::open(&text, b',').map_err(CsvError::Table)?;
    let mut finder = Finder::of(&headers);
    let columns = OUR_COLUMNS.map(|name| finder.find(name));
    finder.done().map_err(CsvError::Column)?;
    let mut found = ReadRows { rows: Vec::new(), bad: BadRows::default() };
    for (index, record) in reader.records().enumerate() {
        if index >= limits::SETTLEMENT_LINES_MAX {
            return Err(CsvError::TooLong(limits::SETTLEMENT_LINES_MAX));
        }
        let record = record.map_err(|error| CsvError::Table(error.to_string()))?;
        let line = record.position().map_or(0, ::csv::Position::line);
        match fields(&record, &headers, line).and_then(|()| own_row(&record, &columns, line)) {
            Ok(ours) => found.rows.push(ours),
            Err(error) => found.bad.push(error),
        }
    }
    found.all()
}

fn own_row(record: &::csv::StringRecord, columns: &[usize; 6], line: u64) -> Result<Ours, CsvError> {
    let field = |column: usize| record.get(columns[column]).unwrap_or_default();
    let wrong = |column: usize, what: String| CsvError::Field { line, column: OUR_COLUMNS[column].to_owned(), what };
    let operation = field(0).parse::<OpId>().map_err(|error| wrong(0, error.to_string()))?;
    let kind = Flow::ALL.iter().find(|(_, name)| *name == field(1)).map(|(flow, _)| *flow);
    let kind = kind.ok_or_else(|| {
        let names = Flow::ALL.map(|(_, name)| format!("`{name}`")).join(", ");
        wrong(1, format!("`{}` is none of {names}", shortened(field(1))))
    })?;
    let currency: Currency = field(4).parse().map_err(|error: MoneyError| wrong(4, error.to_string()))?;
    let figure = DecimalMark::Point.read_in(field(3), currency).map_err(|error| wrong(3, error))?;
    let amount = Amount::from_major(figure, currency).map_err(|error| wrong(3, error.to_string()))?;
    if amount.minor <= 0 {
        return Err(wrong(3, format!("`{}` is not above zero", field(3))));
    }
    let at = Timestamp::parse_rfc3339(field(5)).map_err(|error| wrong(5, error.to_string()))?;
    Ok(Ours { operation, kind, reference: field(2).into(), amount, at })
}

/// The columns of our own side.
const OUR_COLUMNS: [&str; 6] = ["operation", "kind", "reference", "amount", "currency", "at"];

struct Row<'r> {
    map: &'r ColumnMap,
    record: &'r ::csv::StringRecord,
    line: u64,
}

impl Row<'_> {
    fn read(&self, columns: &Columns<'_>, batch: Currency) -> Result<Found, CsvError> {
        let currency = match columns.currency.filter(|column| !self.field(*column).is_empty()) {
            Some(column) => self.field(column).parse().map_err(|error| self.wrong(column.0, error))?,
            None => batch,
        };
        let kind = match columns.kind {
            Some(column) => match self.map.kinds.get(self.field(column)) {
                // Such lines are left out before their fields are counted.
                Some(Meaning::Skip) => return Ok(Found::Skipped),
                Some(Meaning::Line(kind)) => Some(*kind),
                None => return Err(self.wrong(column.0, self.map.unknown_kind(self.field(column)))),
            },
            None => None,
        };
        let zero = Amount::zero(currency);
        let at = columns.first();
        let is_debit = columns.is_debit(self.record);
        let signed = |sum: Option<Amount>| match sum {
            Some(amount) if is_debit && amount.minor < 0 => {
                let what = format!(
                    "{amount} is below zero in a line that `debits` of the map names: its amounts have no sign"
                );
                Err(self.wrong(at, what))
            }
            Some(amount) if is_debit => self.difference(at, zero, amount).map(Some),
            sum => Ok(sum),
        };
        let (gross, net) = (self.sum(&columns.gross, currency)?, self.sum(&columns.net, currency)?);
        let stated = (signed(gross)?, self.sum(&columns.fee, currency)?, signed(net)?);
        let fee_stated = match stated.1 {
            Some(fee) if self.map.fees_negative => Some(self.difference(at, zero, fee)?),
            fee => fee,
        };
        let (gross, fee, net) = match (stated.0, fee_stated, stated.2) {
            (Some(gross), Some(fee), Some(net)) => (gross, fee, net),
            (Some(gross), None, Some(net)) if columns.fee.is_empty() => (gross, self.difference(at, gross, net)?, net),
            (Some(gross), None, Some(net)) => (gross, zero, net),
            (Some(gross), fee, None) => {
                let fee = fee.unwrap_or(zero);
                (gross, fee, self.difference(at, gross, fee)?)
            }
            // A fee without gross is all fee; of anything else the fee was taken already.
            (None, None, Some(net)) if kind == Some(LineKind::Fee) => (zero, self.difference(at, zero, net)?, net),
            (None, fee, Some(net)) => {
                let fee = fee.unwrap_or(zero);
                (net.checked_add(fee).map_err(|error| self.wrong(at, error))?, fee, net)
            }
            (None, Some(fee), None) if kind == Some(LineKind::Fee) => (zero, fee, self.difference(at, zero, fee)?),
            (None, _, None) => return Ok(Found::NoAmount),
        };
        let kind = kind.unwrap_or(if gross.minor < 0 { LineKind::Refund } else { LineKind::Capture });
        let operation = match columns.operation.filter(|column| !self.field(*column).is_empty()) {
            Some(column) => match self.field(column).parse::<OpId>() {
                Ok(operation) => Some(operation),
                // A fee or a payout is about no operation, whatever stands in the column.
                Err(_) if kind.flow().is_none() => None,
                Err(error) => return Err(self.wrong(column.0, error)),
            },
            None => None,
        };
        let reference = columns.reference.map(|column| self.field(column)).filter(|text| !text.is_empty());
        Ok(Found::Line(SettlementLine {
            row: self.line,
            kind,
            operation,
            reference: reference.map(Into::into),
            gross,
            fee,
            net,
        }))
    }

    fn field(&self, column: (&str, usize)) -> &str {
        self.record.get(column.1).unwrap_or_default()
    }

    /// The sum over the columns that are not empty; `None` when all are.
    fn sum(&self, columns: &Figures<'_>, currency: Currency) -> Result<Option<Amount>, CsvError> {
        let mut sum: Option<Amount> = None;
        for (name, index, negative) in columns {
            if self.field((name, *index)).is_empty() {
                continue;
            }
            let amount = self.money((name, *index), currency)?;
            let before = sum.unwrap_or(Amount::zero(currency));
            let after = if *negative { before.checked_sub(amount) } else { before.checked_add(amount) };
            sum = Some(after.map_err(|error| self.wrong(name, error))?);
        }
        Ok(sum)
    }

    fn money(&self, column: (&str, usize), currency: Currency) -> Result<Amount, CsvError> {
        let text = self.field(column);
        let figure = self.map.decimal_mark.read_in(text, currency).map_err(|error| self.wrong(column.0, error))?;
        let major = if self.map.minor_units {
            let whole = figure.normalize();
            if whole.scale() != 0 {
                return Err(self.wrong(column.0, format!("`{text}` is not in minor units: expected is a whole number")));
            }
            let exponent = self.map.exponents.get(currency.code()).copied().unwrap_or(currency.exponent());
            Decimal::try_from_i128_with_scale(whole.mantissa(), u32::from(exponent))
                .map_err(|_| self.wrong(column.0, MoneyError::Overflow))?
        } else {
            figure
        };
        Amount::from_major(major, currency).map_err(|error| {
            let what = match error {
                MoneyError::TooFine(_) => {
                    let decimals = currency.exponent();
                    format!("`{text}` has more decimals than are kept: {currency} has {decimals}")
                }
                other => other.to_string(),
            };
            self.wrong(column.0, what)
        })
    }

    fn difference(&self, column: &str, left: Amount, right: Amount) -> Result<Amount, CsvError> {
        left.checked_sub(right).map_err(|error| self.wrong(column, error))
    }

    fn wrong(&self, column: &str, what: impl ToString) -> CsvError {
        CsvError::Field { line: self.line, column: column.to_owned(), what: what.to_string() }
    }
}
