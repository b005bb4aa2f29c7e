//! Amounts as people and files write them: decimal marks, separators of thousands, currency signs.

use super::{Amount, Currency, MoneyError};
use rust_decimal::Decimal;
use serde::Deserialize;
use std::fmt;

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
    /// Says what is expected, and names the other mark when the figure is written with that one.
    pub fn read(self, text: &str) -> Result<Decimal, FigureError> {
        let error = || FigureError {
            text: text.to_owned(),
            mark: self,
            likely_other: parse(text, self.other().chars()).is_some(),
        };
        parse(text, self.chars()).ok_or_else(error)
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

/// Longest figure that is looked at: more digits fit no amount.
const FIGURE_CHARS_MAX: usize = 64;

fn parse(text: &str, (decimal, thousands): (char, char)) -> Option<Decimal> {
    let text = text.trim();
    if text.len() > FIGURE_CHARS_MAX {
        return None;
    }
    let (negative, text) = match text.strip_prefix(['-', '\u{2212}']) {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
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
/// Says what is expected: a figure that could mean two amounts (`1,250`) is never guessed.
pub fn typed_amount(text: &str, currency: Currency) -> Result<Amount, String> {
    let wrong = |why: &str| {
        let example = Amount::new(5 * 10_i64.pow(u32::from(currency.exponent())), currency).major();
        format!("`{text}` is not an amount: {why}; write it like `{example}` or `{example} {currency}`")
    };
    let trimmed = text.trim();
    let is_figure = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '-' | '+' | '\u{2212}');
    let start = trimmed.find(is_figure).ok_or_else(|| wrong("it has no figure"))?;
    let end = trimmed
        .rfind(is_figure)
        .map_or(trimmed.len(), |at| at + trimmed[at..].chars().next().map_or(0, char::len_utf8));
    let (before, figure, behind) = (trimmed[..start].trim(), &trimmed[start..end], trimmed[end..].trim());
    for name in [before, behind].into_iter().filter(|name| !name.is_empty()) {
        let fits = match name {
            "€" => currency.code() == "EUR",
            "£" => currency.code() == "GBP",
            "$" => currency.code().ends_with('D'),
            "¥" => matches!(currency.code(), "JPY" | "CNY"),
            code => code.eq_ignore_ascii_case(currency.code()),
        };
        if !fits {
            return Err(wrong(&format!("it is told in `{name}` where {currency} is meant")));
        }
    }
    let readings = [DecimalMark::Point, DecimalMark::Comma].map(|mark| mark.read(figure).ok());
    let major = match readings {
        [Some(one), Some(other)] if one != other => return Err(wrong("`,` or `.` could mean thousands or decimals")),
        [Some(one), _] | [None, Some(one)] => one,
        [None, None] => return Err(wrong("its figure cannot be read")),
    };
    Amount::from_major(major, currency).map_err(|error| match error {
        MoneyError::TooFine(_) => wrong(&format!("{currency} has {} decimals", currency.exponent())),
        _ => wrong("it is too large"),
    })
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
        ] {
            assert_eq!(read(DecimalMark::Point, text).as_deref(), point, "point {text}");
            assert_eq!(read(DecimalMark::Comma, text).as_deref(), comma, "comma {text}");
        }
        let error = DecimalMark::Point.read("23,40").unwrap_err().to_string();
        assert!(error.contains("`23,40`") && error.contains("decimal_mark = \"comma\""), "{error}");
    }

    #[test]
    fn people_type_amounts_in_several_ways() {
        let minor = |text: &str| typed_amount(text, Currency::EUR).map(|amount| amount.minor);
        for text in ["5", "5.00", "5,00", "€5", "5 €", "5 EUR", "EUR 5", "eur 5,0"] {
            assert_eq!(minor(text), Ok(500), "{text}");
        }
        assert_eq!(minor("1,50"), Ok(150));
        assert_eq!(minor("1.234,56"), Ok(123_456));
        for text in ["", "EUR", "1,250", "5 USD", "$5", "0.005", "1;50", "99999999999999999999"] {
            let error = minor(text).unwrap_err();
            assert!(error.contains(&format!("`{text}`")) && error.contains("write it like"), "{error}");
        }
    }
}
