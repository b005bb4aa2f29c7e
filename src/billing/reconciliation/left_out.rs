//! Columns with amounts that a map leaves out, and what to write into the map instead.
//!
//! Many files have debit and credit in two columns. By a map that names one of them the lines of the other would be read as
//! nothing, so it is refused once for the whole file, with the key and the column that is left out.

use super::CsvError;
use super::map::{ColumnMap, Columns};
use super::table::{BadRows, shortened};
use crate::units::{Currency, counted};
use csv::StringRecord;
use std::collections::BTreeSet;

/// Words in the names of two columns that belong together: what comes in, and what goes out.
const SIDES: [(&str, &str); 7] = [
    ("credit", "debit"),
    ("crédit", "débit"),
    ("kredit", "debet"),
    ("haben", "soll"),
    ("plus", "minus"),
    ("cr", "dr"),
    ("in", "out"),
];

/// Words in the names of columns with amounts.
const AMOUNTS: [&str; 18] = [
    "amount", "net", "gross", "total", "sum", "value", "betrag", "brutto", "netto", "bedrag", "montant", "importe",
    "importo", "valor", "belopp", "beløp", "beløb", "payout",
];

/// Lines that a message names one by one.
const LINES_LISTED: usize = 10;

/// What was seen of the columns that the map does not name.
pub(super) struct LeftOut<'f> {
    map: &'f ColumnMap,
    names: &'f StringRecord,
    kind: Option<usize>,
    sides: Vec<Side>,
    /// Columns that may have the amounts of lines without any, and in how many of those they have one.
    others: Vec<(usize, u64)>,
    /// Lines without an amount: their number, the first of them, and the words of their kind.
    empty: u64,
    first: Vec<String>,
    words: BTreeSet<String>,
}

/// A column beside one that the map names: the other side of it.
struct Side {
    key: &'static str,
    named: usize,
    column: usize,
    /// Lines with an amount in it, and the first of them.
    count: u64,
    first: Option<(u64, String)>,
}

impl<'f> LeftOut<'f> {
    pub(super) fn of(map: &'f ColumnMap, columns: &Columns<'_>, names: &'f StringRecord) -> LeftOut<'f> {
        let keys = [("gross", &columns.gross), ("fee", &columns.fee), ("net", &columns.net)];
        let used: BTreeSet<usize> =
            keys.iter().flat_map(|(_, figures)| figures.iter().map(|figure| figure.1)).collect();
        let mut sides = Vec::new();
        for (key, figures) in keys {
            for named in figures.iter().map(|figure| figure.1) {
                let other = other_side(names.get(named).unwrap_or_default());
                let found = other.and_then(|(other, _)| names.iter().position(|name| name.to_lowercase() == other));
                if let Some(column) = found.filter(|column| !used.contains(column)) {
                    sides.push(Side { key, named, column, count: 0, first: None });
                }
            }
        }
        let is_amount = |name: &str| {
            let words = name.to_lowercase();
            other_side(name).is_some() || AMOUNTS.iter().any(|word| words.contains(word))
        };
        let others = names.iter().enumerate().filter(|(column, name)| !used.contains(column) && is_amount(name));
        let others = others.map(|(column, _)| (column, 0)).collect();
        let kind = columns.kind.map(|(_, index)| index);
        LeftOut { map, names, kind, sides, others, empty: 0, first: Vec::new(), words: BTreeSet::new() }
    }

    fn has_amount(&self, record: &StringRecord, column: usize, currency: Currency) -> bool {
        let text = record.get(column).unwrap_or_default();
        !text.is_empty() && self.map.decimal_mark.read_in(text, currency).is_ok_and(|figure| !figure.is_zero())
    }

    /// Looks at a line that the map does not skip.
    pub(super) fn check_row(&mut self, record: &StringRecord, line: u64, currency: Currency) {
        for at in 0..self.sides.len() {
            let column = self.sides[at].column;
            if self.has_amount(record, column, currency) {
                let side = &mut self.sides[at];
                side.count += 1;
                side.first.get_or_insert_with(|| (line, shortened(record.get(column).unwrap_or_default())));
            }
        }
    }

    /// Notes a line that has no amount where the map looks for one.
    pub(super) fn without(&mut self, record: &StringRecord, line: u64, currency: Currency) {
        self.empty += 1;
        if self.first.len() < LINES_LISTED {
            self.first.push(line.to_string());
        }
        if let Some(word) = self.kind.and_then(|kind| record.get(kind)).filter(|_| self.words.len() < LINES_LISTED) {
            self.words.insert(shortened(word));
        }
        for at in 0..self.others.len() {
            if self.has_amount(record, self.others[at].0, currency) {
                self.others[at].1 += 1;
            }
        }
    }

    fn name(&self, column: usize) -> &str {
        self.names.get(column).unwrap_or_default()
    }

    /// # Errors
    /// The columns that are the other side of named ones and have amounts, with what to write.
    pub(super) fn other_sides(&self) -> Result<(), CsvError> {
        let (mut what, mut write) = (Vec::new(), Vec::new());
        for side in &self.sides {
            let Some((line, text)) = &side.first else { continue };
            let (named, column) = (self.name(side.named), self.name(side.column));
            what.push(format!(
                "`{}` of the map names `{named}` and leaves out `{column}`, which has amounts in {} (line {line}: `{text}`)",
                side.key,
                counted(side.count, "line")
            ));
            write.push(self.written(side.key, &[side.column]));
        }
        write.dedup();
        if what.is_empty() { Ok(()) } else { Err(CsvError::LeftOut { what: what.join("; "), write: write.join(", ") }) }
    }

    /// Reports the lines without an amount, all in one, and what would read them.
    pub(super) fn show_empty(&self, bad: &mut BadRows) {
        if self.empty == 0 {
            return;
        }
        let more = self.empty.saturating_sub(u64::try_from(self.first.len()).unwrap_or(u64::MAX));
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let lines = if self.empty == 1 { "line" } else { "lines" };
        let columns: Vec<String> = self.map.amounts().map(|name| format!("`{}`", shortened(name))).collect();
        bad.push_several(
            self.empty,
            format!(
                "{lines} {}{more}: no amount in {}, the columns of the map",
                self.first.join(", "),
                columns.join(", ")
            ),
        );
        let skip = self.kind.map(|kind| {
            let words: Vec<String> = self.words.iter().map(|word| format!("{word:?}")).collect();
            format!("leave such lines out with skip = {{ {:?} = [{}] }}", shortened(self.name(kind)), words.join(", "))
        });
        let skip = skip.unwrap_or_else(|| "leave such lines out with `skip`".to_owned());
        let likely = self
            .others
            .iter()
            .filter(|(_, count)| *count > 0)
            .max_by_key(|(column, count)| (*count, std::cmp::Reverse(*column)));
        bad.mend = Some(match likely {
            Some((column, count)) => {
                let key = if self.map.has("net") && !self.map.has("gross") { "gross" } else { "net" };
                let both = [*column].into_iter().chain(self.beside(*column)).collect::<Vec<_>>();
                let (name, written) = (self.name(*column), self.written(key, &both));
                format!("`{name}` has amounts in {count} of these: write {written} in the map, or {skip}")
            }
            None => format!("name the columns that have their amounts, like net = [\"Credit\", \"-Debit\"], or {skip}"),
        });
    }

    /// The column that is the other side of this one.
    fn beside(&self, column: usize) -> Option<usize> {
        let (other, _) = other_side(self.name(column))?;
        self.names.iter().position(|name| name.to_lowercase() == other)
    }

    /// A key with its columns and more of them: what comes in first, what goes out with a minus (of a fee the other way round).
    fn written(&self, key: &str, more: &[usize]) -> String {
        let named = self.map.columns_of(key).iter().map(String::as_str);
        let all: Vec<&str> = named.chain(more.iter().map(|column| self.name(*column))).collect();
        let mut signed: Vec<(bool, String)> = all
            .into_iter()
            .map(|name| {
                let bare = if self.names.iter().any(|found| found == name) {
                    name
                } else {
                    name.trim_start_matches('-').trim_start()
                };
                let goes_out = other_side(bare).is_some_and(|(_, outgoing)| outgoing);
                let negative = if other_side(bare).is_some() { goes_out != (key == "fee") } else { bare != name };
                (negative, format!("{:?}", if negative { format!("-{bare}") } else { bare.to_owned() }))
            })
            .collect();
        signed.sort_by_key(|(negative, _)| *negative);
        signed.dedup();
        let names: Vec<String> = signed.into_iter().map(|(_, name)| name).collect();
        match names.as_slice() {
            [one] => format!("{key} = {one}"),
            several => format!("{key} = [{}]", several.join(", ")),
        }
    }
}

/// The name of the column's other side, in small letters, and whether the column is that of what goes out.
fn other_side(name: &str) -> Option<(String, bool)> {
    let name = name.to_lowercase();
    let pairs = SIDES.iter().flat_map(|(comes, goes)| [(*comes, *goes, false), (*goes, *comes, true)]);
    for (own, other, outgoing) in pairs {
        let stands_alone = |at: usize| {
            let is_letter = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
            !is_letter(name[..at].chars().next_back()) && !is_letter(name[at + own.len()..].chars().next())
        };
        // Long words may be a part of another, as in `NetCredit`.
        let found = name.match_indices(own).map(|(at, _)| at).find(|at| own.len() > 3 || stands_alone(*at));
        if let Some(at) = found {
            return Some((format!("{}{other}{}", &name[..at], &name[at + own.len()..]), outgoing));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sides_of_an_amount_are_recognised() {
        for (name, other, outgoing) in [
            ("Gross Credit (GC)", "gross debit (gc)", false),
            ("Net Debit (NC)", "net credit (nc)", true),
            ("NetCredit", "netdebit", false),
            ("net_credits", "net_debits", false),
            ("Soll", "haben", true),
            ("Paid in", "paid out", false),
            ("DR", "cr", true),
            ("Crédito", "débito", false),
        ] {
            assert_eq!(other_side(name), Some((other.to_owned(), outgoing)), "{name}");
        }
        for name in ["Invoice", "Drive", "Increment", "Gross", ""] {
            assert_eq!(other_side(name), None, "{name}");
        }
    }
}
