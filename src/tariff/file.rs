//! Files of tariffs: bytes that may be no text, and texts that may be one tariff, a list of them, or the answer of an
//! OCPI interface with a list in it.

use super::fields::Reader;
use super::finding::{Finding, Position, Severity};
use super::json::{self, Node, Value};
use super::lint::{Profiles, lint};
use super::model::{Parsed, Tariff, TariffError, TariffFault};
use crate::limits::CDR_BYTES_MAX;
use std::ops::Range;

/// A tariff of a file: where it stands, and its text.
///
/// ```
/// use wattstile::tariff::tariffs_in;
///
/// let answer = r#"{ "status_code": 1000, "data": [{ "id": "DAY" }, { "id": "NIGHT" }] }"#;
/// assert_eq!(tariffs_in(answer)?.len(), 2, "a tariff, a list of them, or the answer of an OCPI interface");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TariffText<'t> {
    /// The file's text.
    file: &'t str,
    /// Its place in the file: `$`, `$[3]`, `$.data[0]`.
    pub path: String,
    span: Range<usize>,
}

/// The text of a file.
///
/// # Errors
///
/// Bytes that are not UTF-8: their position, the probable encoding, and how the file is converted.
pub fn text_of(bytes: &[u8]) -> Result<&str, TariffError> {
    let fault = |offset: usize, message: String| TariffError {
        path: "$".to_owned(),
        span: offset..offset,
        position: Position::of_bytes(bytes, offset),
        reason: TariffFault::Encoding(message),
        others: Vec::new(),
    };
    let convert = |from: &str| format!("convert it with `iconv -f {from} -t UTF-8 FILE > NEW`");
    let utf16 = match bytes {
        [0xff, 0xfe, ..] => Some("UTF-16LE"),
        [0xfe, 0xff, ..] => Some("UTF-16BE"),
        [b'{' | b'[', 0, ..] => Some("UTF-16LE"),
        [0, b'{' | b'[', ..] => Some("UTF-16BE"),
        _ => None,
    };
    if let Some(name) = utf16 {
        return Err(fault(0, format!("the file is {name}, and UTF-8 is read: {}", convert("UTF-16"))));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let offset = error.valid_up_to();
        let byte = bytes.get(offset).copied().unwrap_or_default();
        let message = format!(
            "byte {} (0x{byte:02x}) is not UTF-8; if the file is Latin-1 or of a Windows editor, {}",
            offset.saturating_add(1),
            convert("WINDOWS-1252")
        );
        fault(offset, message)
    })
}

/// The tariffs of a file, in its order. One that is not JSON, or neither object nor list, is one text, which is refused where
/// it is read.
///
/// # Errors
///
/// A file that is too large, a list without tariffs, an answer of an interface without data.
pub fn tariffs_in(file: &str) -> Result<Vec<TariffText<'_>>, TariffError> {
    let reader = Reader::new(file);
    if file.len() > CDR_BYTES_MAX {
        let what = format!("a file of {} bytes", file.len());
        return Err(reader.fault("$", 0..0, TariffFault::TooLarge { what, max: CDR_BYTES_MAX }));
    }
    let whole = || vec![TariffText { file, path: "$".to_owned(), span: 0..file.len() }];
    let Ok(document) = json::parse(file) else { return Ok(whole()) };
    let (path, list) = match &document.root.value {
        Value::List(_) => ("$", &document.root),
        Value::Object(members) if members.iter().all(|member| member.name != "elements") => {
            match members.iter().find(|member| member.name == "data") {
                Some(data) => ("$.data", &data.node),
                None => return Ok(whole()),
            }
        }
        _ => return Ok(whole()),
    };
    let text = |path: String, node: &Node<'_>| TariffText { file, path, span: node.span.clone() };
    match &list.value {
        Value::List(items) if items.is_empty() => {
            let reason = TariffFault::Contradiction("the list is empty: there is no tariff in it".to_owned());
            Err(reader.fault(path, list.span.clone(), reason))
        }
        Value::List(items) => {
            Ok(items.iter().enumerate().map(|(index, node)| text(format!("{path}[{index}]"), node)).collect())
        }
        Value::Object(_) => Ok(vec![text(path.to_owned(), list)]),
        other => {
            let reason = TariffFault::Type { expected: "a tariff or a list of tariffs", found: other.kind() };
            Err(reader.fault(path, list.span.clone(), reason))
        }
    }
}

impl TariffText<'_> {
    /// Whether it is one of several of its file, or part of something else.
    pub fn is_part(&self) -> bool {
        self.path != "$"
    }

    /// Its index in the list, for messages: `[3]`; nothing where the file is the tariff.
    pub fn index(&self) -> &str {
        self.path.find('[').and_then(|at| self.path.get(at..)).unwrap_or_default()
    }

    fn text(&self) -> &str {
        self.file.get(self.span.clone()).unwrap_or_default()
    }

    /// Reads the tariff; places in findings and errors are those in the file.
    ///
    /// # Errors
    ///
    /// Those of [`Tariff::parse`].
    pub fn parse(&self) -> Result<Parsed, TariffError> {
        match Tariff::parse(self.text()) {
            Ok(parsed) => {
                let warnings = parsed.warnings.into_iter().map(|finding| self.moved(finding)).collect();
                Ok(Parsed { warnings, ..parsed })
            }
            Err(error) => Err(self.moved_error(error)),
        }
    }

    /// Returns all findings: the faults that make it unusable, or those of the linter.
    pub fn lint(&self, profiles: Profiles) -> Vec<Finding> {
        let found = check(self.text(), profiles);
        found.into_iter().map(|finding| self.moved(finding)).collect()
    }

    fn moved(&self, mut finding: Finding) -> Finding {
        if self.is_part() {
            finding.path = self.path_in_file(&finding.path);
            finding.span = self.span_in_file(&finding.span);
            finding.position = Position::of(self.file, finding.span.start);
        }
        finding
    }

    fn moved_error(&self, mut error: TariffError) -> TariffError {
        if self.is_part() {
            error.path = self.path_in_file(&error.path);
            error.span = self.span_in_file(&error.span);
            error.position = Position::of(self.file, error.span.start);
            error.others = error.others.into_iter().map(|other| self.moved_error(other)).collect();
        }
        error
    }

    fn path_in_file(&self, path: &str) -> String {
        format!("{}{}", self.path, path.strip_prefix('$').unwrap_or(path))
    }

    fn span_in_file(&self, span: &Range<usize>) -> Range<usize> {
        self.span.start.saturating_add(span.start)..self.span.start.saturating_add(span.end)
    }
}

/// Returns all findings of a text: the faults that make it unusable with further findings, or those of the linter.
pub fn check(text: &str, profiles: Profiles) -> Vec<Finding> {
    let (tariff, findings) = super::read::examine(text, false);
    let mut found = match tariff {
        Ok(tariff) => return lint(&Parsed { tariff, warnings: findings }, profiles),
        Err(error) => error.each().map(unusable).collect::<Vec<_>>(),
    };
    found.extend(findings);
    found.sort_by_key(|finding| finding.span.start);
    found
}

/// What makes a text unusable, as a finding like any other.
pub fn unusable(error: &TariffError) -> Finding {
    let code = match error.reason {
        TariffFault::Misspelled { .. } => "misspelled_field",
        TariffFault::UnknownRestriction(_) => "unknown_restriction",
        TariffFault::Misplaced(_) => "misplaced_restriction",
        TariffFault::Twice { .. } => "duplicate_field",
        TariffFault::Encoding(_) => "not_utf8",
        _ => "unusable",
    };
    let help = error.reason.help();
    Finding {
        severity: Severity::Error,
        code,
        path: error.path.clone(),
        span: error.span.clone(),
        position: error.position,
        message: error.reason.to_string(),
        help: help.or_else(|| Some("the tariff cannot be used: a start that it applies to is refused".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"{"id": "A", "currency": "EUR",
 "elements": [{"price_components": [{"type": "ENERGY", "price": 0.3, "step_size": 1}]}]}"#;

    #[test]
    fn a_list_is_read_by_index_with_places_in_the_file() {
        let bad = ONE.replace("EUR", "EUX").replace("\"A\"", "\"B\"");
        for (text, path) in [
            (format!("[{ONE},\n{bad}]"), "$[1]"),
            (format!("{{\"data\": [{ONE},\n{bad}], \"status_code\": 1000}}"), "$.data[1]"),
        ] {
            let tariffs = tariffs_in(&text).unwrap();
            assert_eq!(tariffs[0].parse().unwrap().tariff.id().as_str(), "A");
            assert_eq!((tariffs.len(), tariffs[1].path.as_str(), tariffs[1].index()), (2, path, "[1]"));
            let error = tariffs[1].parse().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("line 3, column 25: {path}.currency: unknown currency `EUX`")),
                "{error}"
            );
            let findings = tariffs[1].lint(Profiles::default());
            let first = findings.iter().find(|finding| finding.severity == Severity::Error).unwrap();
            assert_eq!((first.position.line, text.get(first.span.clone())), (3, Some("\"EUX\"")));
        }
        let whole = tariffs_in(ONE).unwrap();
        assert!(!whole[0].is_part() && whole[0].parse().unwrap().tariff.source() == ONE);
    }

    #[test]
    fn a_list_without_tariffs_is_said() {
        for (text, wording) in [
            ("[]", "line 1, column 1: $: the list is empty"),
            ("{\"data\": []}", "line 1, column 10: $.data: the list is empty"),
            ("{\"data\": null, \"status_code\": 2001}", "a tariff or a list of tariffs was expected, this is null"),
        ] {
            let error = tariffs_in(text).unwrap_err().to_string();
            assert!(error.contains(wording), "{error}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_told_with_their_place_and_the_mend() {
        let error = text_of(b"{\"id\":\n \"\xe9nergie\"}").unwrap_err();
        assert_eq!(error.position.to_string(), "line 2, column 3");
        let text = error.to_string();
        assert!(
            text.contains("byte 10 (0xe9) is not UTF-8") && text.contains("iconv -f WINDOWS-1252 -t UTF-8"),
            "{text}"
        );
        for bytes in [b"\xff\xfe{\0".as_slice(), b"\xfe\xff\0{", b"{\0\"\0", b"\0[\0{"] {
            let text = text_of(bytes).unwrap_err().to_string();
            assert!(text.contains("UTF-16") && text.contains("iconv -f UTF-16"), "{text}");
        }
        assert_eq!(text_of("{\"é\": 1}".as_bytes()), Ok("{\"é\": 1}"));
    }
}
