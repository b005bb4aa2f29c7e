//! Settlement files: every processor has its own columns, so a map says which is which.

use super::{Flow, LineKind, Ours, SettlementLine, amount};
use crate::limits;
use crate::units::{Amount, Currency, MoneyError, OpId, Timestamp};
use rust_decimal::Decimal;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;

/// Which column of a file is what. Columns are named by the file's first line.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnMap {
    /// Our operation's id.
    pub operation: Option<String>,
    /// The processor's reference.
    pub reference: Option<String>,
    /// What the line is about; without it, captures are positive and refunds negative.
    pub kind: Option<String>,
    /// The words of that column.
    #[serde(default)]
    pub kinds: BTreeMap<String, LineKind>,
    /// The amount before fees.
    pub gross: String,
    /// The fee; without it, gross less net, or nothing.
    pub fee: Option<String>,
    /// The amount after fees; without it, gross less fee.
    pub net: Option<String>,
    /// The currency's code; without it, that of the batch.
    pub currency: Option<String>,
    /// What separates columns: one character.
    #[serde(default = "comma")]
    pub separator: char,
    /// What separates decimals.
    #[serde(default)]
    pub decimal_mark: DecimalMark,
    /// Whether amounts are in minor units.
    #[serde(default)]
    pub minor_units: bool,
    /// Whether fees are written as negative figures.
    #[serde(default)]
    pub fees_negative: bool,
}

/// What separates decimals; the other one may separate thousands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecimalMark {
    /// `1,234.56`
    #[default]
    Point,
    /// `1.234,56`
    Comma,
}

/// Why a file is not taken. Nothing of it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// Not a table.
    #[error("not a table: {0}")]
    Table(String),
    /// A column that the map names is not there.
    #[error("there is no column `{0}`")]
    Column(String),
    /// A field that cannot be read.
    #[error("line {line}, column `{column}`: {what}")]
    Field {
        /// The line of the file.
        line: u64,
        /// The column.
        column: String,
        /// What is wrong with it.
        what: String,
    },
    /// More lines than are taken.
    #[error("the file has more than {0} lines")]
    TooLong(usize),
    /// A separator that is not one byte.
    #[error("`{0}` cannot separate columns")]
    Separator(char),
}

/// Reads a settlement file.
pub fn read_csv(file: impl Read, map: &ColumnMap, currency: Currency) -> Result<Vec<SettlementLine>, CsvError> {
    let separator = u8::try_from(map.separator).ok().filter(u8::is_ascii);
    let separator = separator.ok_or(CsvError::Separator(map.separator))?;
    let mut reader = ::csv::ReaderBuilder::new().delimiter(separator).trim(::csv::Trim::All).from_reader(file);
    let table = |error: ::csv::Error| CsvError::Table(error.to_string());
    let headers = reader.headers().map_err(table)?.clone();
    let columns = Columns::find(map, &headers)?;
    let mut lines = Vec::new();
    for record in reader.records() {
        let record = record.map_err(table)?;
        if lines.len() >= limits::SETTLEMENT_LINES_MAX {
            return Err(CsvError::TooLong(limits::SETTLEMENT_LINES_MAX));
        }
        let row = Row { map, record: &record, line: record.position().map_or(0, ::csv::Position::line) };
        lines.push(row.read(&columns, currency)?);
    }
    Ok(lines)
}

/// Reads our side from a table with the columns `operation`, `kind` (`capture` or `refund`), `reference`, `amount` (major
/// units, above zero), `currency` and `at` (RFC 3339).
pub fn read_ours(file: impl Read) -> Result<Vec<Ours>, CsvError> {
    let mut reader = ::csv::ReaderBuilder::new().trim(::csv::Trim::All).from_reader(file);
    let table = |error: ::csv::Error| CsvError::Table(error.to_string());
    let headers = reader.headers().map_err(table)?.clone();
    let mut columns = [0; 6];
    for (index, name) in columns.iter_mut().zip(OUR_COLUMNS) {
        let found = headers.iter().position(|header| header == name);
        *index = found.ok_or_else(|| CsvError::Column(name.to_owned()))?;
    }
    let mut ours = Vec::new();
    for record in reader.records() {
        let record = record.map_err(table)?;
        if ours.len() >= limits::SETTLEMENT_LINES_MAX {
            return Err(CsvError::TooLong(limits::SETTLEMENT_LINES_MAX));
        }
        let line = record.position().map_or(0, ::csv::Position::line);
        let field = |column: usize| record.get(columns[column]).unwrap_or_default();
        let wrong =
            |column: usize, what: String| CsvError::Field { line, column: OUR_COLUMNS[column].to_owned(), what };
        let operation = field(0).parse::<OpId>().map_err(|error| wrong(0, error.to_string()))?;
        let kind = match field(1) {
            "capture" => Flow::Capture,
            "refund" => Flow::Refund,
            other => return Err(wrong(1, format!("`{other}` is neither `capture` nor `refund`"))),
        };
        let currency: Currency = field(4).parse().map_err(|error: MoneyError| wrong(4, error.to_string()))?;
        let figure: Decimal = field(3).parse().map_err(|_| wrong(3, format!("`{}` is not an amount", field(3))))?;
        let amount = amount(figure, currency).map_err(|error| wrong(3, error.to_string()))?;
        if amount.minor <= 0 {
            return Err(wrong(3, format!("`{}` is not above zero", field(3))));
        }
        let at = Timestamp::parse_rfc3339(field(5)).map_err(|error| wrong(5, error.to_string()))?;
        ours.push(Ours { operation, kind, reference: field(2).into(), amount, at });
    }
    Ok(ours)
}

/// The columns of our own side.
const OUR_COLUMNS: [&str; 6] = ["operation", "kind", "reference", "amount", "currency", "at"];

/// Where the columns are: name and index.
struct Columns<'m> {
    operation: Option<(&'m str, usize)>,
    reference: Option<(&'m str, usize)>,
    kind: Option<(&'m str, usize)>,
    gross: (&'m str, usize),
    fee: Option<(&'m str, usize)>,
    net: Option<(&'m str, usize)>,
    currency: Option<(&'m str, usize)>,
}

impl<'m> Columns<'m> {
    fn find(map: &'m ColumnMap, headers: &::csv::StringRecord) -> Result<Columns<'m>, CsvError> {
        let one = |name: &'m str| {
            // A byte order mark stands before the first name in files of some spreadsheets.
            let index = headers.iter().position(|header| header.trim_start_matches('\u{feff}') == name);
            index.map(|index| (name, index)).ok_or_else(|| CsvError::Column(name.to_owned()))
        };
        let maybe = |name: &'m Option<String>| name.as_deref().map(one).transpose();
        Ok(Columns {
            operation: maybe(&map.operation)?,
            reference: maybe(&map.reference)?,
            kind: maybe(&map.kind)?,
            gross: one(&map.gross)?,
            fee: maybe(&map.fee)?,
            net: maybe(&map.net)?,
            currency: maybe(&map.currency)?,
        })
    }
}

struct Row<'r> {
    map: &'r ColumnMap,
    record: &'r ::csv::StringRecord,
    line: u64,
}

impl Row<'_> {
    fn read(&self, columns: &Columns<'_>, batch: Currency) -> Result<SettlementLine, CsvError> {
        let currency = match columns.currency {
            Some(column) => self.field(column).parse().map_err(|error| self.wrong(column, error))?,
            None => batch,
        };
        let gross = self.money(columns.gross, currency)?;
        let operation = match columns.operation.filter(|column| !self.field(*column).is_empty()) {
            Some(column) => Some(self.field(column).parse::<OpId>().map_err(|error| self.wrong(column, error))?),
            None => None,
        };
        let reference = columns.reference.map(|column| self.field(column)).filter(|text| !text.is_empty());
        let kind = match columns.kind {
            Some(column) => {
                let word = self.field(column);
                let kind = self.map.kinds.get(word).copied();
                kind.ok_or_else(|| self.wrong(column, format!("`{word}` is not among the known kinds")))?
            }
            None if gross.minor < 0 => LineKind::Refund,
            None => LineKind::Capture,
        };
        let net = columns.net.map(|column| self.money(column, currency)).transpose()?;
        let fee = match (columns.fee, net) {
            (Some(column), _) => {
                let fee = self.money(column, currency)?;
                if self.map.fees_negative { self.difference(column, Amount::new(0, currency), fee)? } else { fee }
            }
            (None, Some(net)) => self.difference(columns.gross, gross, net)?,
            (None, None) => Amount::new(0, currency),
        };
        let net = match net {
            Some(net) => net,
            None => self.difference(columns.gross, gross, fee)?,
        };
        Ok(SettlementLine { row: self.line, kind, operation, reference: reference.map(Into::into), gross, fee, net })
    }

    fn field(&self, column: (&str, usize)) -> &str {
        self.record.get(column.1).unwrap_or_default()
    }

    fn money(&self, column: (&str, usize), currency: Currency) -> Result<Amount, CsvError> {
        let text = self.field(column);
        let (thousands, decimal) = match self.map.decimal_mark {
            DecimalMark::Point => (',', '.'),
            DecimalMark::Comma => ('.', ','),
        };
        let plain: String = text.chars().filter(|c| *c != thousands).collect::<String>().replace(decimal, ".");
        let figure: Decimal = plain.parse().map_err(|_| self.wrong(column, format!("`{text}` is not an amount")))?;
        match self.map.minor_units {
            false => amount(figure, currency).map_err(|error| self.wrong(column, error)),
            true => {
                let whole = figure.normalize();
                let minor = (whole.scale() == 0).then(|| i64::try_from(whole.mantissa()).ok()).flatten();
                let minor = minor.ok_or_else(|| self.wrong(column, format!("`{text}` is not in minor units")))?;
                Ok(Amount::new(minor, currency))
            }
        }
    }

    fn difference(&self, column: (&str, usize), left: Amount, right: Amount) -> Result<Amount, CsvError> {
        left.checked_sub(right).map_err(|error| self.wrong(column, error))
    }

    fn wrong(&self, column: (&str, usize), what: impl ToString) -> CsvError {
        CsvError::Field { line: self.line, column: column.0.to_owned(), what: what.to_string() }
    }
}

const fn comma() -> char {
    ','
}
