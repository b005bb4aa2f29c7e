//! Settings that are money: every amount names its currency. The spellings without one are still read.

use super::problem::Problem;
use super::setting::Setting;
use super::tree::{Entry, Origin, Table, Value};
use crate::session::Stated;
use crate::units::{Amount, Currency, typed_amount, typed_money};
use rust_decimal::Decimal;
use std::collections::BTreeSet;

/// Amounts of a setting, at most one for each currency, none below zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amounts(Vec<Amount>);

const WANTED: &str = "an amount with its currency such as \"45 EUR\", or a list such as [\"45 EUR\", \"18000 HUF\"]";

impl Amounts {
    /// The amount of a currency, in its minor units.
    pub fn minor(&self, currency: Currency) -> Option<i64> {
        self.0.iter().find(|amount| amount.currency == currency).map(|amount| amount.minor)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Amount> + '_ {
        self.0.iter().copied()
    }
}

/// The stated amounts for each currency that any of these settings names; those of `first_hold` come first.
pub(super) fn stated(
    first_hold: &Amounts,
    [total_max, partial_min, floor_limit, exposure]: [&Amounts; 4],
) -> Vec<Stated> {
    let mut seen = BTreeSet::new();
    let all = [first_hold, total_max, partial_min, floor_limit, exposure];
    let currencies = all.into_iter().flat_map(Amounts::iter).map(|amount| amount.currency);
    currencies
        .filter(|currency| seen.insert(currency.numeric()))
        .map(|currency| Stated {
            currency,
            first_hold_minor: first_hold.minor(currency),
            total_max_minor: total_max.minor(currency),
            partial_min_minor: partial_min.minor(currency),
            floor_limit_minor: floor_limit.minor(currency),
            stand_in_exposure_minor: exposure.minor(currency),
        })
        .collect()
}

/// `45 EUR`, `EUR 45,50`, `€45`.
fn amount(text: &str) -> Result<Amount, String> {
    not_below_zero(text, typed_money(text))
}

fn of_currency(number: &str, currency: Currency) -> Result<Amount, String> {
    not_below_zero(number, typed_amount(number, currency))
}

fn not_below_zero(text: &str, read: Result<Amount, String>) -> Result<Amount, String> {
    let amount = read.map_err(|why| format!("{WANTED}; {why}"))?;
    match amount.minor {
        ..0 => Err(format!("an amount of 0 or more, and `{text}` is an amount below nothing")),
        0.. => Ok(amount),
    }
}

/// Amounts of a text, separated by commas: a comma between two digits belongs to an amount.
fn parts(text: &str) -> Vec<&str> {
    let digit = |letter: Option<&u8>| letter.is_some_and(u8::is_ascii_digit);
    let bytes = text.as_bytes();
    let (mut parts, mut start) = (Vec::new(), 0);
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b',') {
        if !(digit(at.checked_sub(1).and_then(|before| bytes.get(before))) && digit(bytes.get(at + 1))) {
            parts.push(&text[start..at]);
            start = at + 1;
        }
    }
    parts.push(&text[start..]);
    parts
}

impl Amounts {
    /// So many whole euros.
    pub(super) fn euros(count: i64) -> Amounts {
        Amounts(vec![Amount::new(count * 100, Currency::EUR)])
    }
}

impl Setting for Amounts {
    fn read(value: &Value) -> Result<Amounts, String> {
        let amounts: Vec<Amount> = match value {
            Value::Text(text) => vec![amount(text)?],
            Value::Raw(text) => parts(text).into_iter().map(amount).collect::<Result<_, _>>()?,
            Value::List(items) => {
                let one = |item: &Value| match item {
                    Value::Text(text) => amount(text),
                    other => Err(format!("{WANTED}, not {}", other.what())),
                };
                items.iter().map(one).collect::<Result<_, _>>()?
            }
            Value::Table(table) => table.iter().map(of_entry).collect::<Result<_, _>>()?,
            other => return Err(format!("{WANTED}, not {}", other.what())),
        };
        let mut seen = BTreeSet::new();
        if let Some(twice) = amounts.iter().find(|amount| !seen.insert(amount.currency.numeric())) {
            return Err(format!("one amount for each currency, and {} is here twice", twice.currency));
        }
        if amounts.is_empty() { Err(WANTED.to_owned()) } else { Ok(Amounts(amounts)) }
    }

    fn write(&self) -> Option<String> {
        let texts: Vec<String> = self.0.iter().map(|amount| format!("\"{}\"", text(*amount))).collect();
        Some(if let [only] = &*texts { only.clone() } else { format!("[{}]", texts.join(", ")) })
    }
}

/// `EUR = "45.00"`
fn of_entry((code, entry): (&String, &Entry)) -> Result<Amount, String> {
    let currency: Currency = code.parse().map_err(|_| format!("{WANTED}; `{code}` is no currency"))?;
    match &entry.value {
        Value::Text(text) | Value::Raw(text) => of_currency(text.trim(), currency),
        Value::Number(number) => of_currency(&number.to_string(), currency),
        other => Err(format!("an amount such as {code} = \"45.00\", not {}", other.what())),
    }
}

fn text(amount: Amount) -> String {
    format!("{} {}", amount.major(), amount.currency)
}

/// A setting that once was a number without a currency.
struct Old {
    was: &'static str,
    is: &'static str,
    /// Whether the number counted minor units.
    minor: bool,
}

const PAYMENT: [Old; 5] = [
    Old { was: "first_hold_major", is: "first_hold", minor: false },
    Old { was: "total_max_minor", is: "total_max", minor: true },
    Old { was: "partial_min_minor", is: "partial_min", minor: true },
    Old { was: "floor_limit_minor", is: "floor_limit", minor: true },
    Old { was: "stand_in_exposure_minor", is: "stand_in_exposure", minor: true },
];
const PROCESSOR: [Old; 2] =
    [Old { was: "least_minor", is: "least", minor: true }, Old { was: "greatest_minor", is: "greatest", minor: true }];

/// A number without a currency that was read as an amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldSpelling {
    /// Where it stands.
    pub origin: Origin,
    /// What it is, what it was read as, and what to write.
    pub what: String,
}

/// Replaces numbers without a currency by amounts in the operator's main currency.
pub(super) fn modernize(root: &mut Table, problems: &mut Vec<Problem>) -> Vec<OldSpelling> {
    let mut renewal = Renewal { found: Vec::new(), problems };
    let currency = root.get("payment").and_then(|entry| match &entry.value {
        Value::Table(table) => currency_of(table.get("currency").map(|entry| &entry.value)),
        _ => None,
    });
    let currency = currency.unwrap_or(Currency::EUR);
    for (section, olds) in [("payment", &PAYMENT[..]), ("processor", &PROCESSOR[..])] {
        match root.get_mut(section).map(|entry| &mut entry.value) {
            Some(Value::Table(table)) => renewal.renew(section, olds, table, currency),
            Some(Value::Tables(tables)) => {
                for (table, _) in tables {
                    // The amounts of a processor with one currency are in that currency.
                    let only = table.get("currencies").and_then(|entry| match &entry.value {
                        Value::List(items) if items.len() == 1 => currency_of(items.first()),
                        _ => None,
                    });
                    renewal.renew(section, olds, table, only.unwrap_or(currency));
                }
            }
            _ => {}
        }
    }
    renewal.found
}

fn currency_of(value: Option<&Value>) -> Option<Currency> {
    match value {
        Some(Value::Text(text) | Value::Raw(text)) => text.parse().ok(),
        _ => None,
    }
}

/// Numbers without a currency that are replaced by amounts, and those that cannot be.
struct Renewal<'p> {
    found: Vec<OldSpelling>,
    problems: &'p mut Vec<Problem>,
}

impl Renewal<'_> {
    fn renew(&mut self, section: &str, olds: &[Old], table: &mut Table, currency: Currency) {
        for Old { was, is, minor } in olds {
            let Some(entry) = table.remove(*was) else { continue };
            let origin = entry.place.clone();
            let mut wrong = |title: String, label: String| {
                let help = Some(format!("write `{is} = \"45 {currency}\"`: an amount with its currency"));
                self.problems.push(Problem { origin: origin.clone(), title, label, help });
            };
            let number = match i64::read(&entry.value) {
                Ok(number) => number,
                Err(wanted) => {
                    wrong(format!("`{section}.{was}` cannot be this"), format!("wanted {wanted}"));
                    continue;
                }
            };
            let amount = if *minor {
                Ok(Amount::new(number, currency))
            } else {
                Amount::from_major(Decimal::from(number), currency)
            };
            match amount {
                Ok(amount) if amount.minor < 0 => {
                    wrong("an amount below nothing".to_owned(), "wanted 0 or more".to_owned())
                }
                Err(_) => wrong(format!("`{section}.{was}` cannot be this"), "the amount is too large".to_owned()),
                Ok(_) if table.contains_key(*is) => wrong(
                    format!("`{section}.{was}` is the old spelling of `{section}.{is}`"),
                    format!("`{is}` is set as well: take one of them away"),
                ),
                Ok(amount) => {
                    let text = text(amount);
                    let what = format!(
                        "`{section}.{was} = {number}` has no currency and is read as {text}; write `{is} = \"{text}\"`"
                    );
                    self.found.push(OldSpelling { origin: origin.clone(), what });
                    table.insert((*is).to_owned(), Entry { value: Value::Text(text), ..entry });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Amounts, String> {
        let value = toml::de::DeValue::parse(text).unwrap();
        Amounts::read(&super::super::tree::of_value(value.get_ref()))
    }

    #[test]
    fn amounts_are_read_as_people_write_them() {
        for text in [
            "\"45 EUR\"",
            "\"EUR 45.00\"",
            "\"45eur\"",
            "\"45,00 EUR\"",
            "\"€45\"",
            "[\"45.00 EUR\"]",
            "{ EUR = \"45\" }",
            "{ EUR = 45 }",
        ] {
            assert_eq!(read(text).unwrap().write().unwrap(), "\"45.00 EUR\"", "{text}");
        }
        let two = read("[\"45 EUR\", \"18000 HUF\"]").unwrap();
        assert_eq!((two.minor(Currency::EUR), two.minor("HUF".parse().unwrap())), (Some(4_500), Some(1_800_000)));
        assert_eq!(read(&two.write().unwrap()).unwrap(), two);
        for raw in ["45 EUR, 18000 HUF", "45,00 EUR,18000 HUF", "EUR 45, HUF 18000"] {
            assert_eq!(Amounts::read(&Value::Raw(raw.to_owned())).unwrap(), two, "{raw}");
        }
    }

    #[test]
    fn an_amount_that_cannot_be_says_what_it_lacks() {
        for (text, expected) in [
            ("45", "not a number"),
            ("\"45\"", "lacks its currency"),
            ("\"EUR\"", "lacks its figure"),
            ("\"45 EURO\"", "`EURO` is no currency"),
            ("\"1,500 EUR\"", "could be 1.50 EUR or 1500.00 EUR"),
            ("\"$45\"", "write the code"),
            ("\"99999999999999999 EUR\"", "too large"),
            ("\"45.505 EUR\"", "could be 45.505 EUR or 45505.00 EUR"),
            ("\"45.5055 EUR\"", "EUR has 2 decimals"),
            ("\"4.5 JPY\"", "JPY has 0 decimals"),
            ("\"-1 EUR\"", "below nothing"),
            ("[\"45 EUR\", \"50 EUR\"]", "EUR is here twice"),
            ("[]", "an amount with its currency"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
