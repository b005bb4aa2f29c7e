//! Reading fields out of JSON objects with findings instead of failures wherever a price is not at stake.

use super::finding::{Finding, FindingKind, Position, Severity};
use super::json::{Document, Member, Node, Value};
use super::model::{TariffError, TariffFault};
use super::names::{self, Meant};
use super::read::date_time;
use crate::limits::FINDINGS_MAX;
use crate::units::Timestamp;
use rust_decimal::{Decimal, RoundingStrategy};
use std::collections::HashMap;
use std::ops::Range;

/// Decimals that OCPI numbers have (types, `number`).
const NUMBER_DECIMALS: u32 = 4;

/// Text being read, and what was found so far.
pub(super) struct Reader<'t> {
    pub(super) text: &'t str,
    pub(super) findings: Vec<Finding>,
    faults: Vec<TariffError>,
    /// Findings and faults beyond the listed ones.
    left_out: (usize, usize),
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
        Reader { text, findings: Vec::new(), faults: Vec::new(), left_out: (0, 0) }
    }

    /// Notes a fault and goes on with the default, so that the faults behind it are found as well.
    pub(super) fn keep<T: Default>(&mut self, result: Result<T, TariffError>) -> T {
        result.unwrap_or_else(|fault| {
            self.note(fault);
            T::default()
        })
    }

    pub(super) fn note(&mut self, fault: TariffError) {
        if self.faults.len() < FINDINGS_MAX {
            self.faults.push(fault);
        } else {
            self.left_out.1 = self.left_out.1.saturating_add(1);
        }
    }

    pub(super) fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// The faults noted so far, in the order of the text.
    pub(super) fn faults(&mut self) -> Vec<TariffError> {
        let mut faults = std::mem::take(&mut self.faults);
        faults.sort_by_key(|fault| fault.span.start);
        if self.left_out.1 > 0 {
            faults.push(self.fault("$", self.text.len()..self.text.len(), TariffFault::More(self.left_out.1)));
        }
        faults
    }

    /// The findings so far, in the order of the text.
    pub(super) fn findings(&mut self) -> Vec<Finding> {
        let mut findings = std::mem::take(&mut self.findings);
        findings.sort_by_key(|finding| finding.span.start);
        if self.left_out.0 > 0 {
            let span = self.text.len()..self.text.len();
            let position = Position::of(self.text, span.start);
            let message = format!("{} more remarks are not listed", self.left_out.0);
            let path = "$".to_owned();
            let severity = Severity::Warning;
            findings.push(Finding { severity, code: "more", path, span, position, message, help: None });
        }
        findings
    }

    /// Notes every field of the document that is written twice in one object.
    pub(super) fn doubled(&mut self, path: &str, node: &Node<'_>) {
        match &node.value {
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    if matches!(item.value, Value::List(_) | Value::Object(_)) {
                        self.doubled(&format!("{path}[{index}]"), item);
                    }
                }
            }
            Value::Object(members) => {
                let mut first: HashMap<&str, &Member<'_>> = HashMap::with_capacity(members.len());
                for member in members {
                    let name = member.name.as_ref();
                    if let Some(earlier) = first.get(name) {
                        let line = Position::of(self.text, earlier.name_span.start).line;
                        let reason = TariffFault::Twice { name: name.to_owned(), first: line };
                        let fault = self.fault(&format!("{path}.{name}"), member.name_span.clone(), reason);
                        self.note(fault);
                    } else {
                        first.insert(name, member);
                    }
                    if matches!(member.node.value, Value::List(_) | Value::Object(_)) {
                        self.doubled(&format!("{path}.{name}"), &member.node);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
        }
    }

    /// Adds a finding at a field.
    pub(super) fn report(
        &mut self,
        FindingKind { severity, code }: FindingKind,
        (path, span): (impl AsRef<str>, Range<usize>),
        message: String,
        help: Option<&str>,
    ) {
        if self.findings.len() >= FINDINGS_MAX {
            self.left_out.0 = self.left_out.0.saturating_add(1);
            return;
        }
        let position = Position::of(self.text, span.start);
        let help = help.map(str::to_owned);
        self.findings.push(Finding { severity, code, path: path.as_ref().to_owned(), span, position, message, help });
    }

    pub(super) fn fault(&self, path: &str, span: Range<usize>, reason: TariffFault) -> TariffError {
        let position = Position::of(self.text, span.start);
        TariffError { path: path.to_owned(), span, position, reason, others: Vec::new() }
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
            self.report(FindingKind::note("comment"), ("$", span), message, None);
        }
    }

    /// The members of an object. A field that is not known gives a finding, or, where it stands for one that decides the
    /// price, a fault.
    pub(super) fn object<'n, 'a>(
        &mut self,
        path: &str,
        node: &'n Node<'a>,
        known: &'static [&'static str],
    ) -> Result<Fields<'n, 'a>, TariffError> {
        let Value::Object(members) = &node.value else {
            let reason = TariffFault::Type { expected: "an object", found: node.value.kind() };
            return Err(self.fault(path, node.span.clone(), reason));
        };
        for member in members.iter().filter(|member| !known.contains(&member.name.as_ref())) {
            self.unknown(&format!("{path}.{}", member.name), member, known);
        }
        Ok(Fields { path: path.to_owned(), span: node.span.clone(), members })
    }

    fn unknown(&mut self, path: &str, member: &Member<'_>, known: &'static [&'static str]) {
        let name = member.name.as_ref();
        let span = member.name_span.clone();
        let own_name = name.to_owned();
        let restricts = known == names::RESTRICTION_FIELDS;
        let reason = match names::meant(name, known) {
            // null is the same as nothing, in every field of OCPI.
            _ if member.node.value == Value::Null => None,
            Meant::Money(meant) => Some(TariffFault::Misspelled { name: own_name, meant }),
            Meant::Restriction => Some(TariffFault::Misplaced(own_name)),
            Meant::Unknown if restricts => Some(TariffFault::UnknownRestriction(own_name)),
            Meant::Unknown if holds_restrictions(&member.node) => {
                Some(TariffFault::Misspelled { name: own_name, meant: "restrictions" })
            }
            Meant::Plain(meant) => {
                let message = format!("`{name}` is not a field of OCPI and has no effect");
                let help = format!("did you mean `{meant}`?");
                return self.report(FindingKind::warning("misspelled_field"), (path, span), message, Some(&help));
            }
            Meant::Own | Meant::Unknown => None,
        };
        match reason {
            Some(reason) => {
                let fault = self.fault(path, span, reason);
                self.note(fault);
            }
            None => {
                let message = format!("`{name}` is not a field of OCPI and has no effect");
                self.report(FindingKind::warning("unknown_field"), (path, span), message, None);
            }
        }
    }

    /// Fields of an object that stand for one that decides the price; others of its fields may be anything.
    pub(super) fn misspelled(&mut self, fields: &Fields<'_, '_>, known: &'static [&'static str], others: &[&str]) {
        for member in fields.members {
            let name = member.name.as_ref();
            if known.contains(&name) || others.contains(&name) || member.node.value == Value::Null {
                continue;
            }
            if let Meant::Money(meant) = names::meant(name, known) {
                let reason = TariffFault::Misspelled { name: name.to_owned(), meant };
                let fault = self.fault(&fields.path_of(name), member.name_span.clone(), reason);
                self.note(fault);
            }
        }
    }

    pub(super) fn missing(&mut self, fields: &Fields<'_, '_>, name: &'static str) {
        let span = fields.span.start..fields.span.start + usize::from(!fields.span.is_empty());
        let message = format!("the field `{name}` is missing");
        self.report(FindingKind::note("missing_field"), (&fields.path, span), message, None);
    }

    pub(super) fn upper(&mut self, fields: &Fields<'_, '_>, name: &str, text: &str) {
        if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            let message = format!("`{text}` is written in capital letters in OCPI");
            self.report(
                FindingKind::note("incorrect_case"),
                (&fields.path_of(name), fields.span_of(name)),
                message,
                None,
            );
        }
    }

    pub(super) fn length(&mut self, fields: &Fields<'_, '_>, name: &str, text: &str, max: usize) {
        if text.chars().count() > max {
            let message = format!("`{text}` has more than {max} characters");
            self.report(
                FindingKind::note("string_too_long"),
                (&fields.path_of(name), fields.span_of(name)),
                message,
                None,
            );
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
                self.report(
                    FindingKind::note("invalid_type"),
                    (&fields.path_of(name), fields.span_of(name)),
                    message,
                    None,
                );
                Ok(Some((*number).to_owned()))
            }
            Some(other) => Err(self.wrong_type(fields, name, "a string", other)),
        }
    }

    /// A number as an exact decimal; a string that holds one is taken with a finding.
    pub(super) fn opt_number(&mut self, fields: &Fields<'_, '_>, name: &str) -> Result<Option<Decimal>, TariffError> {
        let (text, expected) = match fields.get(name).map(|node| &node.value) {
            None => return Ok(None),
            Some(Value::Number(text)) => (*text, "a number that can be kept: it has more than 28 digits"),
            Some(Value::Text(text)) => {
                let message = "a number is written as a string".to_owned();
                self.report(
                    FindingKind::note("number_as_text"),
                    (&fields.path_of(name), fields.span_of(name)),
                    message,
                    None,
                );
                (text.trim(), "a number (of at most 28 digits, with a decimal point)")
            }
            Some(other) => return Err(self.wrong_type(fields, name, "a number", other)),
        };
        match decimal(text) {
            Some(number) => Ok(Some(number)),
            None => Err(self.value(fields, name, text, expected)),
        }
    }

    pub(super) fn opt_time(&mut self, fields: &Fields<'_, '_>, name: &str) -> Result<Option<Timestamp>, TariffError> {
        let Some(text) = self.opt_text(fields, name)? else { return Ok(None) };
        match date_time(&text) {
            Some(at) => Ok(Some(at)),
            None => Err(self.value(fields, name, &text, "a date and time (RFC 3339)")),
        }
    }

    /// `number × 10^scale` as a whole number, rounded half-even where it is finer, with a finding beyond [`NUMBER_DECIMALS`].
    pub(super) fn scaled(
        &mut self,
        fields: &Fields<'_, '_>,
        name: &str,
        number: Decimal,
        scale: u32,
    ) -> Result<i64, TariffError> {
        let decimals = number.normalize().scale();
        if decimals > scale {
            let message = format!("{number} is rounded to {scale} decimals");
            self.report(
                FindingKind::warning("excessive_precision"),
                (&fields.path_of(name), fields.span_of(name)),
                message,
                None,
            );
        } else if decimals > NUMBER_DECIMALS {
            let message = format!("{number} has more than {NUMBER_DECIMALS} decimals");
            self.report(
                FindingKind::note("excessive_precision"),
                (&fields.path_of(name), fields.span_of(name)),
                message,
                None,
            );
        }
        match scaled(number, scale) {
            Some(whole) => Ok(whole),
            None => Err(self.value(fields, name, &number.to_string(), "a number that fits: it is too large")),
        }
    }
}

/// A JSON number (exponents too) as an exact decimal.
pub(super) fn decimal(text: &str) -> Option<Decimal> {
    let number = if text.contains(['e', 'E']) { Decimal::from_scientific(text) } else { text.parse() };
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

/// Whether a value is an object with restrictions in it.
fn holds_restrictions(node: &Node<'_>) -> bool {
    let Value::Object(members) = &node.value else { return false };
    members.iter().any(|member| names::restriction(&member.name))
}
