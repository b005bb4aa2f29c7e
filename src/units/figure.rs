//! Amounts as people and files write them: decimal marks, separators of thousands, currency signs.

use super::shape::{Described, Shapes};
use super::{Amount, Currency, MoneyError};
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::fmt;

/// The character before the decimals; the other one may separate thousands.
///
/// ```
/// use wattstile::units::DecimalMark;
///
/// assert_eq!(DecimalMark::Comma.read("1.234,56").map(|figure| figure.to_string()).as_deref(), Ok("1234.56"));
/// let error = DecimalMark::Point.read("23,40").unwrap_err();
/// assert!(error.is_other_mark(), "{error}");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecimalMark {
    /// `1,234.56`
    #[default]
    Point,
    /// `1.234,56`
    Comma,
}

impl DecimalMark {
    const fn chars(self) -> (char, char) {
        match self {
            DecimalMark::Point => ('.', ','),
            DecimalMark::Comma => (',', '.'),
        }
    }

    const fn other(self) -> DecimalMark {
        match self {
            DecimalMark::Point => DecimalMark::Comma,
            DecimalMark::Comma => DecimalMark::Point,
        }
    }

    /// Reads a figure. Thousands are separated by the other mark, a space or an apostrophe, and only before groups of
    /// exactly three digits: `1,250.00`, never `23,40`.
    ///
    /// # Errors
    /// The text is not a figure; [`FigureError`] states the expected form, and whether it is one with the other mark.
    pub fn read(self, text: &str) -> Result<Decimal, FigureError> {
        let error = || FigureError {
            text: text.to_owned(),
            mark: self,
            likely_other: parse(text, self.other().chars()).is_some(),
        };
        parse(text, self.chars()).ok_or_else(error)
    }

    /// Reads a figure that may name its currency, before or behind it: `-110,70 €`, `EUR 5`.
    ///
    /// # Errors
    /// Those of [`DecimalMark::read`]; and a figure that names another currency than this.
    pub fn read_in(self, text: &str, currency: Currency) -> Result<Decimal, String> {
        let (figure, name) = match parse(text, self.chars()) {
            Some(figure) => return Ok(figure),
            None => figure_and_name(text),
        };
        match name {
            Some(name) if !figure.is_empty() && is_known_name(name) => {
                if is_named(currency, name) {
                    self.read(&figure).map_err(|error| FigureError { text: text.to_owned(), ..error }.to_string())
                } else {
                    Err(format!("`{text}`: {}", other_name(name, currency)))
                }
            }
            _ => self.read(text).map_err(|error| error.to_string()),
        }
    }
}

impl fmt::Display for DecimalMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DecimalMark::Point => "point",
            DecimalMark::Comma => "comma",
        })
    }
}

/// A text that is not a figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FigureError {
    text: String,
    mark: DecimalMark,
    likely_other: bool,
}

impl FigureError {
    /// Whether the figure can be read with the other decimal mark.
    pub const fn is_other_mark(&self) -> bool {
        self.likely_other
    }
}

impl fmt::Display for FigureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let example = match self.mark {
            DecimalMark::Point => "1,234.50",
            DecimalMark::Comma => "1.234,50",
        };
        write!(f, "`{}` is not an amount with a decimal {}; expected is one like {example}", self.text, self.mark)?;
        if self.likely_other {
            write!(f, "; it seems to be written with decimal_mark = \"{}\"", self.mark.other())?;
        }
        Ok(())
    }
}

impl std::error::Error for FigureError {}

/// Longest figure that is parsed, in characters: more digits fit no amount.
const FIGURE_CHARS_MAX: usize = 64;

const MINUS: [char; 2] = ['-', '\u{2212}'];

/// Whether a figure is below zero, and the figure without what says so: a minus before or behind it, or brackets around it.
fn unsigned(text: &str) -> (bool, &str) {
    if let Some(inner) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        return (true, inner.trim());
    }
    if let Some(rest) = text.strip_prefix(MINUS) {
        return (true, rest.trim_start());
    }
    match text.strip_suffix(MINUS) {
        Some(rest) => (true, rest.trim_end()),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn parse(text: &str, (decimal, thousands): (char, char)) -> Option<Decimal> {
    let text = text.trim();
    if text.len() > FIGURE_CHARS_MAX {
        return None;
    }
    let (negative, text) = unsigned(text);
    let (whole, fraction) = text.split_once(decimal).unwrap_or((text, ""));
    let separators = [thousands, ' ', '\u{a0}', '\u{202f}', '\'', '\u{2019}'];
    let separator = whole.chars().find(|c| separators.contains(c));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let mut plain = String::from(if negative { "-" } else { "" });
    match separator {
        Some(separator) => {
            for (index, group) in whole.split(separator).enumerate() {
                let fits = if index == 0 { (1..=3).contains(&group.len()) } else { group.len() == 3 };
                if !fits || !digits(group) {
                    return None;
                }
                plain.push_str(group);
            }
        }
        None => plain.push_str(whole),
    }
    if !digits(fraction) || (separator.is_none() && !digits(whole)) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    if whole.is_empty() {
        plain.push('0');
    }
    if !fraction.is_empty() {
        plain.push('.');
        plain.push_str(fraction);
    }
    Decimal::from_str_exact(&plain).ok()
}

/// Reads an amount as people type it: `1.50`, `1,50`, `€5`, `5 EUR`, `EUR 5`. A sign or a code of another currency than
/// `currency` is refused.
///
/// # Errors
/// The text is no amount in `currency`, or could mean two amounts (`1,500`); the text of the error states what is
/// expected.
pub fn typed_amount(text: &str, currency: Currency) -> Result<Amount, String> {
    let (figure, name) = figure_and_name(text);
    match name.filter(|name| !is_named(currency, name)) {
        Some(name) => Err(not_an_amount(text, currency, &other_name(name, currency))),
        None => read_typed(text, &figure, currency),
    }
}

/// Reads an amount that names its currency: `45 EUR`, `EUR 45,50`, `€5`.
///
/// # Errors
/// The text lacks a currency, or is no amount in it; the text of the error states the expected form.
pub fn typed_money(text: &str) -> Result<Amount, String> {
    let (figure, name) = figure_and_name(text);
    let name = name.ok_or_else(|| format!("`{text}` lacks its currency"))?;
    let currency = match name {
        "€" => Currency::EUR,
        "£" => "GBP".parse().map_err(|error: MoneyError| error.to_string())?,
        sign @ ("$" | "¥") => {
            return Err(format!("`{sign}` is the sign of several currencies: write the code, like `45 USD`"));
        }
        code => code.to_ascii_uppercase().parse().map_err(|_| format!("`{code}` is no currency"))?,
    };
    if figure.is_empty() {
        return Err(format!("`{text}` lacks its figure"));
    }
    read_typed(text, &figure, currency)
}

fn other_name(name: &str, currency: Currency) -> String {
    format!("it is written in `{name}` where {currency} is meant")
}

fn is_named(currency: Currency, name: &str) -> bool {
    match name {
        "€" => currency.code() == "EUR",
        "£" => currency.code() == "GBP",
        "$" => currency.code().ends_with('D'),
        "¥" => matches!(currency.code(), "JPY" | "CNY"),
        code => code.eq_ignore_ascii_case(currency.code()),
    }
}

fn is_known_name(name: &str) -> bool {
    matches!(name, "€" | "£" | "$" | "¥") || name.to_ascii_uppercase().parse::<Currency>().is_ok()
}

/// The figure, and what stands before or behind it. A minus may also stand before the name: `-€5`.
fn figure_and_name(text: &str) -> (Cow<'_, str>, Option<&str>) {
    let trimmed = text.trim();
    if let (true, rest) = unsigned(trimmed)
        && let (figure, Some(name)) = split(rest)
        && !figure.is_empty()
        && unsigned(figure) == (false, figure)
    {
        return (Cow::Owned(format!("-{figure}")), Some(name));
    }
    let (figure, name) = split(trimmed);
    (Cow::Borrowed(figure), name)
}

fn split(trimmed: &str) -> (&str, Option<&str>) {
    let in_figure = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '-' | '+' | '\u{2212}' | '(' | ')');
    let Some(start) = trimmed.find(in_figure) else { return ("", Some(trimmed).filter(|name| !name.is_empty())) };
    let end =
        trimmed.char_indices().rfind(|(_, c)| in_figure(*c)).map_or(start, |(at, c)| at.saturating_add(c.len_utf8()));
    let (before, figure, behind) = (trimmed[..start].trim(), &trimmed[start..end], trimmed[end..].trim());
    match (before.is_empty(), behind.is_empty()) {
        (true, true) => (figure, None),
        (false, true) => (figure, Some(before)),
        (true, false) => (figure, Some(behind)),
        (false, false) if before.eq_ignore_ascii_case(behind) => (figure, Some(behind)),
        // Two names: the text does not determine which one is meant.
        (false, false) => (figure, Some(trimmed)),
    }
}

fn not_an_amount(text: &str, currency: Currency, why: &str) -> String {
    let example = Amount::new(5 * 10_i64.pow(u32::from(currency.exponent())), currency).major();
    format!("`{text}` is not an amount: {why}; write it like `{example}` or `{example} {currency}`")
}

fn read_typed(text: &str, figure: &str, currency: Currency) -> Result<Amount, String> {
    let wrong = |why: &str| not_an_amount(text, currency, why);
    if figure.is_empty() {
        return Err(wrong("it has no figure"));
    }
    let readings = [DecimalMark::Point, DecimalMark::Comma].map(|mark| mark.read(figure).ok());
    let decimals = u32::from(currency.exponent());
    let major = match readings {
        [Some(point), Some(comma)] if point != comma => {
            match (decimals, figure.contains('.')) {
                // Without decimals a mark can only separate thousands; three decimals stand behind a point.
                (0, _) => point.max(comma),
                (3, true) => point,
                // A leading zero has no separator of thousands after it.
                _ if figure.trim_start_matches(['-', '+', '\u{2212}']).starts_with('0') => {
                    if point.abs() < comma.abs() { point } else { comma }
                }
                (_, _) => {
                    let [low, high] = [point.min(comma), point.max(comma)].map(|major| {
                        let mut shown = major.normalize();
                        shown.rescale(shown.scale().max(decimals));
                        shown
                    });
                    let (fine, coarse) = if low.abs() < high.abs() { (low, high) } else { (high, low) };
                    // Of a figure that is finer than the currency the amounts beside it are named.
                    let strategies = [RoundingStrategy::ToZero, RoundingStrategy::AwayFromZero];
                    let mut meant = vec![coarse];
                    meant.extend(strategies.map(|strategy| fine.round_dp_with_strategy(decimals, strategy)));
                    meant.dedup();
                    meant.iter_mut().for_each(|amount| amount.rescale(decimals));
                    let meant: Vec<String> = meant.iter().map(|amount| format!("`{amount}`")).collect();
                    let (last, others) = meant.split_last().expect("at least two amounts are meant");
                    let example = format!("{} or {last}", others.join(", "));
                    return Err(format!(
                        "`{text}` could be {low} {currency} or {high} {currency}; write {example}, with a point before the decimals"
                    ));
                }
            }
        }
        [Some(one), _] | [None, Some(one)] => one,
        [None, None] if figure.bytes().filter(u8::is_ascii_digit).count() > 20 => {
            return Err(wrong(&too_large(currency)));
        }
        [None, None] => return Err(wrong("its figure cannot be read")),
    };
    Amount::from_major(major, currency).map_err(|error| match error {
        MoneyError::TooFine(_) => wrong(&format!("{currency} has {decimals} decimals")),
        _ => wrong(&too_large(currency)),
    })
}

fn too_large(currency: Currency) -> String {
    format!("it is too large; at most {} can be counted", Amount::new(i64::MAX, currency).major())
}

/// An amount as a person typed it, until its currency is known.
///
/// ```
/// use wattstile::units::{Amount, Currency, Typed};
///
/// let typed: Typed = serde_json::from_str("\"1,50\"")?;
/// assert_eq!(typed.amount(Currency::EUR), Ok(Amount::new(150, Currency::EUR)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Typed(String);

/// A decimal as text; a JSON number is taken as well.
impl Described for Typed {
    fn shape(_: &mut Shapes) -> Value {
        json!({ "type": "string", "examples": ["1.50"] })
    }
}

impl Typed {
    /// The amount in this currency.
    ///
    /// # Errors
    /// As [`typed_amount`].
    pub fn amount(&self, currency: Currency) -> Result<Amount, String> {
        typed_amount(&self.0, currency)
    }
}

/// As it was typed.
impl fmt::Display for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An empty text.
impl Default for Typed {
    fn default() -> Typed {
        Typed("0".to_owned())
    }
}

impl std::str::FromStr for Typed {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Typed, Self::Err> {
        Ok(Typed(text.to_owned()))
    }
}

/// From a string or a number in JSON.
impl<'de> Deserialize<'de> for Typed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Typed, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum TextOrNumber {
            Text(String),
            Number(serde_json::Number),
        }
        Ok(match TextOrNumber::deserialize(deserializer)? {
            TextOrNumber::Text(text) => Typed(text),
            TextOrNumber::Number(number) => Typed(number.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After a public report: 110.7 was read as 1107 and 23,40 as 2340.
    #[test]
    fn thousands_stand_before_three_digits_only() {
        let read = |mark: DecimalMark, text: &str| mark.read(text).map(|figure| figure.to_string()).ok();
        for (text, point, comma) in [
            ("110.7", Some("110.7"), None),
            ("23,40", None, Some("23.40")),
            ("1,250.00", Some("1250.00"), None),
            ("1.250,00", None, Some("1250.00")),
            ("-3.000", Some("-3.000"), Some("-3000")),
            ("1,234,567", Some("1234567"), None),
            ("1234,567", None, Some("1234.567")),
            ("1 234.5", Some("1234.5"), None),
            ("1'234.5", Some("1234.5"), None),
            ("12,34,567", None, None),
            ("1,2345", None, Some("1.2345")),
            ("--5", None, None),
            ("", None, None),
            ("-", None, None),
            ("1e5", None, None),
            ("1,,000", None, None),
            (",5", None, Some("0.5")),
            ("99999999999999999999999999999999", None, None),
            ("5.00-", Some("-5.00"), None),
            ("(1,250.00)", Some("-1250.00"), None),
            ("-(5)", None, None),
            ("(-5)", None, None),
            ("-5-", None, None),
            ("()", None, None),
        ] {
            assert_eq!(read(DecimalMark::Point, text).as_deref(), point, "point {text}");
            assert_eq!(read(DecimalMark::Comma, text).as_deref(), comma, "comma {text}");
        }
        let error = DecimalMark::Point.read("23,40").unwrap_err().to_string();
        assert!(error.contains("`23,40`") && error.contains("decimal_mark = \"comma\""), "{error}");
    }

    /// After a public report: a column of amounts with the currency's sign in each.
    #[test]
    fn a_figure_of_a_file_may_name_its_currency() {
        let read = |text: &str| DecimalMark::Comma.read_in(text, Currency::EUR).map(|figure| figure.to_string());
        for text in ["-110,70 €", "-€110,70", "EUR -110,70", "-110,70 eur", "110,70-", "(110,70 €)", "−110,70"]
        {
            assert_eq!(read(text), Ok("-110.70".to_owned()), "{text}");
        }
        for (text, why) in [
            ("110,70 $", "`110,70 $`: it is written in `$` where EUR is meant"),
            ("USD 5", "`USD 5`: it is written in `USD` where EUR is meant"),
            ("110.7 €", "`110.7 €` is not an amount with a decimal comma"),
            ("110.7 €", "decimal_mark = \"point\""),
            ("5 pieces", "`5 pieces` is not an amount"),
            ("€", "`€` is not an amount"),
            ("--5 €", "`--5 €` is not an amount"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn people_type_amounts_in_several_ways() {
        let minor = |text: &str| typed_amount(text, Currency::EUR).map(|amount| amount.minor);
        for text in ["5", "5.00", "5,00", "€5", "5 €", "5 EUR", "EUR 5", "eur 5,0"] {
            assert_eq!(minor(text), Ok(500), "{text}");
        }
        assert_eq!(minor("1,50"), Ok(150));
        assert_eq!(minor("1.234,56"), Ok(123_456));
        for text in ["EUR -5", "-5 EUR", "-€5", "- € 5", "€-5", "-EUR 5,00", "−€5", "-5,00€", "5-", "(5 EUR)", "€(5)"]
        {
            assert_eq!(minor(text), Ok(-500), "{text}");
        }
        for text in ["--5", "-€-5", "-(5)", "€", "-", "-€", "()"] {
            assert!(minor(text).unwrap_err().contains("write it like"), "{text}");
        }
        for text in ["", "EUR", "5 USD", "$5", "0.005", "1;50", "EUR 5 USD", "1.2.3"] {
            let error = minor(text).unwrap_err();
            assert!(error.contains(&format!("`{text}`")) && error.contains("write it like"), "{error}");
        }
        for text in ["99999999999999999999", "92233720368547758.08", "EUR 1e30"] {
            let error = minor(text).unwrap_err();
            assert!(error.contains("too large") || text.contains('e'), "{error}");
        }
    }

    /// `1,500` is fifteen hundred to some and one and a half to others.
    #[test]
    fn a_figure_with_two_meanings_is_told_with_both() {
        let read = |text: &str, code: &str| typed_amount(text, code.parse().unwrap()).map(|amount| amount.minor);
        let both =
            "`1,500` could be 1.50 EUR or 1500.00 EUR; write `1500.00` or `1.50`, with a point before the decimals";
        assert_eq!(read("1,500", "EUR"), Err(both.to_owned()));
        // What is suggested is taken: 1.005 was suggested, and refused for its third decimal.
        let fine = "`1.005` could be 1.005 EUR or 1005.00 EUR; write `1005.00`, `1.00` or `1.01`, with a point before the \
                    decimals";
        assert_eq!(read("1.005", "EUR"), Err(fine.to_owned()));
        for suggested in ["1005.00", "1.00", "1.01", "1500.00", "1.50"] {
            assert!(read(suggested, "EUR").is_ok(), "{suggested}");
        }
        assert!(read("-1,005", "EUR").unwrap_err().contains("`-1.00` or `-1.01`"));
        assert!(read("1.500 EUR", "EUR").unwrap_err().contains("could be 1.50 EUR or 1500.00 EUR"));
        assert_eq!((read("1,500", "JPY"), read("1.500", "JPY")), (Ok(1_500), Ok(1_500)));
        assert_eq!((read("1.500", "KWD"), read("1,500", "KWD").is_err()), (Ok(1_500), true));
        assert_eq!(read("1,500.00", "EUR"), Ok(150_000));
    }

    #[test]
    fn an_amount_may_name_its_currency() {
        for text in ["45 EUR", "EUR 45.00", "45eur", "€45", "45,00 €", "EUR45"] {
            assert_eq!(typed_money(text).unwrap(), Amount::new(4_500, Currency::EUR), "{text}");
        }
        for (text, lacks) in [
            ("45", "lacks its currency"),
            ("EUR", "lacks its figure"),
            ("$5", "write the code"),
            ("5 EURO", "`EURO` is no currency"),
        ] {
            assert!(typed_money(text).unwrap_err().contains(lacks), "{text}");
        }
    }
}
