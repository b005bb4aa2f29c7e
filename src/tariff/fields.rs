//! Reading fields out of JSON objects with findings instead of failures wherever a price is not at stake.

use super::finding::{Finding, Position, Severity};
use super::json::{Document, Member, Node, Value};
use super::model::{TariffError, TariffFault};
use super::read::date_time;
use crate::units::Timestamp;
use rust_decimal::{Decimal, RoundingStrategy};
use std::ops::Range;

/// Text being read, and what was found so far.
pub(super) struct Reader<'t> {
    pub(super) text: &'t str,
    pub(super) findings: Vec<Finding>,
}

/// An object's members, with the object's path.
pub(super) struct Fields<'n, 't> {
    pub(super) path: String,
    pub(super) span: Range<usize>,
    pub(super) members: &'n [Member<'t>],
}

impl<'n, 't> Fields<'n, 't> {
    /// The value of a field; `null` counts as not there.
    pub(super) fn get(&self, name: &str) -> Option<&'n Node<'t>> {
        let member = self.members.iter().find(|member| member.name == name)?;
        (member.node.value != Value::Null).then_some(&member.node)
    }

    pub(super) fn path_of(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    pub(super) fn span_of(&self, name: &str) -> Range<usize> {
        self.get(name).map_or_else(|| self.span.clone(), |node| node.span.clone())
    }
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Reader<'t> {
        Reader { text, findings: Vec::new() }
    }

    pub(super) fn say(
        &mut self,
        severity: Severity,
        code: &'static str,
        path: &str,
        span: Range<usize>,
        message: String,
        help: Option<&str>,
    ) {
        let position = Position::of(self.text, span.start);
        let help = help.map(str::to_owned);
        self.findings.push(Finding { severity, code, path: path.to_owned(), span, position, message, help });
    }

    pub(super) fn fault(&self, path: &str, span: Range<usize>, reason: TariffFault) -> TariffError {
        let position = Position::of(self.text, span.start);
        TariffError { path: path.to_owned(), span, position, reason }
    }

    /// The fault of a field with a value that cannot be.
    pub(super) fn value(
        &self,
        fields: &Fields<'_, '_>,
        name: &str,
        value: &str,
        expected: &'static str,
    ) -> TariffError {
        let value = value.to_owned();
        self.fault(&fields.path_of(name), fields.span_of(name), TariffFault::Value { value, expected })
    }

    /// The fault of a field of a wrong JSON type.
    pub(super) fn wrong_type(
        &self,
        fields: &Fields<'_, '_>,
        name: &str,
        expected: &'static str,
        found: &Value<'_>,
    ) -> TariffError {
        let reason = TariffFault::Type { expected, found: found.kind() };
        self.fault(&fields.path_of(name), fields.span_of(name), reason)
    }

    pub(super) fn comments(&mut self, document: &Document<'_>) {
        if let Some(span) = document.first_comment.clone() {
            let message = "JSON has no comments; they are skipped".to_owned();
            self.say(Severity::Note, "comment", "$", span, message, None);
        }
    }

    /// The members of an object; fields that are not known give findings.
    pub(super) fn object<'n, 'a>(
        &mut self,
        path: &str,
        node: &'n Node<'a>,
        known: &[&str],
    ) -> Result<Fields<'n, 'a>, TariffError> {
        let Value::Object(members) = &node.value else {
            let reason = TariffFault::Type { expected: "an object", found: node.value.kind() };
            return Err(self.fault(path, node.span.clone(), reason));
        };
        for (index, member) in members.iter().enumerate() {
            let name = member.name.as_ref();
            let path = format!("{path}.{name}");
            if members[..index].iter().any(|earlier| earlier.name == member.name) {
                let message = format!("`{name}` is written twice; the first one counts");
                self.say(Severity::Warning, "duplicate_field", &path, member.name_span.clone(), message, None);
            } else if !known.contains(&name) {
                self.unknown(&path, member, known);
            }
        }
        Ok(Fields { path: path.to_owned(), span: node.span.clone(), members })
    }

    fn unknown(&mut self, path: &str, member: &Member<'_>, known: &[&str]) {
        let name = member.name.as_ref();
        let span = member.name_span.clone();
        let (code, message, help) = match known.iter().find(|known| looks_like(name, known)) {
            Some(meant) => (
                "misspelled_field",
                format!("`{name}` is not a field of OCPI and has no effect"),
                Some(format!("did you mean `{meant}`?")),
            ),
            None => ("unknown_field", format!("`{name}` is not a field of OCPI and has no effect"), None),
        };
        self.say(Severity::Warning, code, path, span, message, help.as_deref());
    }

    pub(super) fn missing(&mut self, fields: &Fields<'_, '_>, name: &'static str) {
        let span = fields.span.start..fields.span.start + usize::from(!fields.span.is_empty());
        let message = format!("the field `{name}` is missing");
        self.say(Severity::Note, "missing_field", &fields.path, span, message, None);
    }

    pub(super) fn upper(&mut self, fields: &Fields<'_, '_>, name: &str, text: &str) {
        if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            let message = format!("`{text}` is written in capital letters in OCPI");
            self.say(Severity::Note, "incorrect_case", &fields.path_of(name), fields.span_of(name), message, None);
        }
    }

    pub(super) fn length(&mut self, fields: &Fields<'_, '_>, name: &str, text: &str, max: usize) {
        if text.chars().count() > max {
            let message = format!("`{text}` has more than {max} characters");
            self.say(Severity::Note, "string_too_long", &fields.path_of(name), fields.span_of(name), message, None);
        }
    }

    pub(super) fn list<'n, 'a>(
        &mut self,
        fields: &Fields<'n, 'a>,
        name: &'static str,
    ) -> Result<&'n [Node<'a>], TariffError> {
        match fields.get(name) {
            Some(Node { value: Value::List(items), .. }) => Ok(items),
            Some(node) => Err(self.wrong_type(fields, name, "an array", &node.value)),
            None => Err(self.fault(&fields.path, fields.span.clone(), TariffFault::Missing(name))),
        }
    }

    pub(super) fn opt_text(&mut self, fields: &Fields<'_, '_>, name: &str) -> Result<Option<String>, TariffError> {
        match fields.get(name).map(|node| &node.value) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text.to_string())),
            Some(Value::Number(number)) => {
                let message = "a number stands where OCPI has a string".to_owned();
                self.say(Severity::Note, "invalid_type", &fields.path_of(name), fields.span_of(name), message, None);
                Ok(Some((*number).to_owned()))
            }
            Some(other) => Err(self.wrong_type(fields, name, "a string", other)),
        }
    }

    /// A number as an exact decimal; a string that holds one is taken with a finding.
    pub(super) fn opt_number(&mut self, fields: &Fields<'_, '_>, name: &str) -> Result<Option<Decimal>, TariffError> {
        let text = match fields.get(name).map(|node| &node.value) {
            None => return Ok(None),
            Some(Value::Number(text)) => *text,
            Some(Value::Text(text)) => {
                let message = "a number is written as a string".to_owned();
                self.say(Severity::Note, "number_as_text", &fields.path_of(name), fields.span_of(name), message, None);
                text.trim()
            }
            Some(other) => return Err(self.wrong_type(fields, name, "a number", other)),
        };
        match decimal(text) {
            Some(number) => Ok(Some(number)),
            None => Err(self.value(fields, name, text, "a number that can be kept")),
        }
    }

    pub(super) fn opt_time(&mut self, fields: &Fields<'_, '_>, name: &str) -> Result<Option<Timestamp>, TariffError> {
        let Some(text) = self.opt_text(fields, name)? else { return Ok(None) };
        match date_time(&text) {
            Some(at) => Ok(Some(at)),
            None => Err(self.value(fields, name, &text, "a date and time (RFC 3339)")),
        }
    }

    /// `number × 10^scale` as a whole number, rounded half-even where it is finer, with a finding beyond `usual` decimals.
    pub(super) fn scaled(
        &mut self,
        fields: &Fields<'_, '_>,
        name: &str,
        number: Decimal,
        scale: u32,
        usual: u32,
    ) -> Result<i64, TariffError> {
        let decimals = number.normalize().scale();
        if decimals > scale {
            let message = format!("{number} is rounded to {scale} decimals");
            self.say(
                Severity::Warning,
                "excessive_precision",
                &fields.path_of(name),
                fields.span_of(name),
                message,
                None,
            );
        } else if decimals > usual {
            let message = format!("{number} has more than {usual} decimals");
            self.say(Severity::Note, "excessive_precision", &fields.path_of(name), fields.span_of(name), message, None);
        }
        match scaled(number, scale) {
            Some(whole) => Ok(whole),
            None => Err(self.value(fields, name, &number.to_string(), "a number that can be kept")),
        }
    }
}

/// A JSON number (exponents too) as an exact decimal.
pub(super) fn decimal(text: &str) -> Option<Decimal> {
    let number = match text.contains(['e', 'E']) {
        true => Decimal::from_scientific(text),
        false => text.parse(),
    };
    number.ok()
}

/// Rounded half-even to so many decimals.
pub(super) fn rounded(number: Decimal, decimals: u32) -> Decimal {
    number.round_dp_with_strategy(decimals, RoundingStrategy::MidpointNearestEven)
}

/// `number × 10^scale`, rounded half-even; `None` when it does not fit.
pub(super) fn scaled(number: Decimal, scale: u32) -> Option<i64> {
    let factor = Decimal::from(10_i64.checked_pow(scale)?);
    i64::try_from(rounded(rounded(number, scale).checked_mul(factor)?, 0)).ok()
}

/// The same word in another spelling: `dayOfWeek` for `day_of_week`, `priceComponents`, a letter more or less.
fn looks_like(name: &str, known: &str) -> bool {
    let plain = |text: &str| -> String {
        text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    };
    let (name, known) = (plain(name), plain(known));
    name == known || (name.len() > 3 && one_edit(name.as_bytes(), known.as_bytes()))
}

/// Whether two words differ by one letter that was changed, added or left out.
fn one_edit(left: &[u8], right: &[u8]) -> bool {
    let (short, long) = if left.len() <= right.len() { (left, right) } else { (right, left) };
    if long.len() - short.len() > 1 {
        return false;
    }
    let same = short.iter().zip(long).take_while(|(a, b)| a == b).count();
    let skip = usize::from(short.len() == long.len());
    short.get(same + skip..) == long.get(same + 1..)
}
