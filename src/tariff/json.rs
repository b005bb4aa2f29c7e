//! JSON with positions: every value has its position in the text, and numbers keep their spelling.
//!
//! A tariff is money, so a number must not pass through a float, and a finding must point at the line that causes it.
//! Beyond RFC 8259 the reader takes a byte order mark and `//` comments, which occur in tariffs that people edit.
//!
//! It is our own because no maintained parser keeps all of this: spans of values and of names, names that occur twice,
//! numbers as text, and refusal of everything else. Examined in November 2026: `jsonc-parser` 0.34 has the spans, but takes
//! control characters in strings and white space that JSON does not have, and its errors do not say what a person mistook
//! (a decimal comma, single quotes); `jiter` 0.19 reads numbers as floats and has no spans of values; `serde_json` 1 and
//! `json-spanned-value` 0.2 keep one of two equal names; `json-syntax` 0.12 keeps its spans in a table beside the values.
//! Of these only the first takes comments.

use super::finding::Position;
use crate::limits::JSON_DEPTH_MAX;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// A value and where it stands (byte offsets into the text).
#[derive(Clone, Debug, PartialEq)]
pub struct Node<'a> {
    /// From the first byte of the value to the one after its last.
    pub span: Range<usize>,
    /// The value.
    pub value: Value<'a>,
}

/// A JSON value. Numbers are kept as text.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it was written.
    Number(&'a str),
    /// A string, unescaped.
    Text(Cow<'a, str>),
    /// An array.
    List(Vec<Node<'a>>),
    /// An object, in the order of the text; a name that occurs twice is there twice.
    Object(Vec<Member<'a>>),
}

/// A named value in an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Member<'a> {
    /// The name, unescaped.
    pub name: Cow<'a, str>,
    /// Where the name stands, with its quotes.
    pub name_span: Range<usize>,
    /// The value.
    pub node: Node<'a>,
}

/// What a text read as JSON gave: the value, and where comments stood.
#[derive(Clone, Debug, PartialEq)]
pub struct Document<'a> {
    /// The one value of the text.
    pub root: Node<'a>,
    /// Where the first `//` comment stands, if there is one.
    pub first_comment: Option<Range<usize>>,
}

/// Why a text is not JSON, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{position}: {what}")]
pub struct JsonError {
    /// Byte offset.
    pub offset: usize,
    /// Line and column of that offset.
    pub position: Position,
    /// What was found or missing.
    pub what: String,
    /// Whether it may be JSON, and is nested deeper than is read.
    pub is_too_deep: bool,
}

impl Value<'_> {
    /// Its kind, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "an array",
            Value::Object(_) => "an object",
        }
    }
}

/// Reads one JSON value; nothing but white space and comments may follow it.
///
/// # Errors
/// Text that is not JSON, nested too deeply, or followed by further text; with its position.
pub fn parse(text: &str) -> Result<Document<'_>, JsonError> {
    let mut reader = Reader { text, at: 0, first_comment: None };
    if text.starts_with('\u{feff}') {
        reader.at = '\u{feff}'.len_utf8();
    }
    reader.skip_space();
    if reader.peek().is_none() {
        return Err(reader.error("the text is empty"));
    }
    let root = reader.value(0)?;
    reader.skip_space();
    match reader.peek() {
        None => Ok(Document { root, first_comment: reader.first_comment }),
        Some(_) => Err(reader.error("something follows the end of the document")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    first_comment: Option<Range<usize>>,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Node<'a>, JsonError> {
        if depth > JSON_DEPTH_MAX {
            let what = format!("more than {JSON_DEPTH_MAX} levels of nesting");
            return Err(JsonError { is_too_deep: true, ..self.error(what) });
        }
        self.skip_space();
        let start = self.at;
        let value = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => Value::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => Value::Number(self.number()?),
            Some(b't') => self.word("true", Value::Bool(true))?,
            Some(b'f') => self.word("false", Value::Bool(false))?,
            Some(b'n') => self.word("null", Value::Null)?,
            Some(b'N' | b'I') => return Err(self.error("a value was expected: JSON has no NaN and no Infinity")),
            Some(b'\'') => return Err(self.error("a value was expected: text stands in double quotes")),
            Some(b'.' | b'+') => {
                return Err(self.error("a value was expected: a number begins with a digit or a minus"));
            }
            Some(_) => return Err(self.error("a value was expected")),
            None => return Err(self.error("the text ends where a value was expected")),
        };
        Ok(Node { span: start..self.at, value })
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, JsonError> {
        self.at += 1;
        let mut members = Vec::new();
        self.skip_space();
        if self.take(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.skip_space();
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.error(match self.peek() {
                    Some(b'0'..=b'9') if matches!(members.last(), Some(Member { node, .. }) if matches!(node.value, Value::Number(_))) => {
                        "a field name was expected: a comma separates fields, and decimals are written with a point"
                    }
                    Some(b'}') => "a field name was expected: no comma stands behind the last field",
                    Some(b'\'') => "a field name in double quotes was expected, not in single ones",
                    None => "the text ends where a field name was expected",
                    Some(_) => "a field name in double quotes was expected",
                }));
            }
            let name = self.string()?;
            let name_span = start..self.at;
            self.skip_space();
            if !self.take(b':') {
                return Err(self.expected("`:` behind the field name"));
            }
            let node = self.value(depth + 1)?;
            members.push(Member { name, name_span, node });
            self.skip_space();
            if self.take(b'}') {
                return Ok(Value::Object(members));
            }
            if !self.take(b',') {
                return Err(self.expected("`,` or `}`"));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value<'a>, JsonError> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.take(b']') {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_space();
            if self.take(b']') {
                return Ok(Value::List(items));
            }
            if !self.take(b',') {
                return Err(self.expected("`,` or `]`"));
            }
        }
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, JsonError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.error("a value was expected"));
        }
        self.at += word.len();
        Ok(value)
    }

    /// A number by the grammar of RFC 8259, not evaluated.
    fn number(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        self.take(b'-');
        if self.take(b'0') {
            if matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(self.error("a number has no leading zeros"));
            }
        } else {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.error("a digit was expected")) } else { Ok(()) }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.at += 1;
        let start = self.at;
        let mut unescaped: Option<String> = None;
        loop {
            let run = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                self.at += 1;
            }
            if let Some(text) = &mut unescaped {
                text.push_str(&self.text[run..self.at]);
            }
            match self.peek() {
                Some(b'"') => {
                    let end = self.at;
                    self.at += 1;
                    return Ok(match unescaped {
                        Some(text) => Cow::Owned(text),
                        None => Cow::Borrowed(&self.text[start..end]),
                    });
                }
                Some(b'\\') => {
                    let text = unescaped.get_or_insert_with(|| self.text[start..self.at].to_owned());
                    let mut text = std::mem::take(text);
                    text.push(self.escape()?);
                    unescaped = Some(text);
                }
                Some(_) => return Err(self.error("a control character inside a string")),
                None => return Err(self.error("the text ends inside a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        self.at += 1;
        let Some(kind) = self.peek() else { return Err(self.error("the text ends inside an escape")) };
        let plain = match kind {
            b'"' | b'\\' | b'/' => char::from(kind),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.error("an escape that JSON does not know")),
        };
        self.at += 1;
        Ok(plain)
    }

    fn unicode(&mut self) -> Result<char, JsonError> {
        let high = self.hex4()?;
        let code = match high {
            0xd800..=0xdbff => {
                if !(self.take(b'\\') && self.take(b'u')) {
                    return Err(self.error("half of a surrogate pair"));
                }
                let low = self.hex4()?;
                if !(0xdc00..=0xdfff).contains(&low) {
                    return Err(self.error("half of a surrogate pair"));
                }
                0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
            }
            _ => high,
        };
        char::from_u32(code).ok_or_else(|| self.error("half of a surrogate pair"))
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).unwrap_or_default();
        let mut code = 0;
        for digit in digits {
            let Some(value) = char::from(*digit).to_digit(16) else {
                return Err(self.error("four hexadecimal digits were expected"));
            };
            code = code * 16 + value;
        }
        if digits.len() != 4 {
            return Err(self.error("four hexadecimal digits were expected"));
        }
        self.at += 4;
        Ok(code)
    }

    fn skip_space(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.at += 1,
                Some(b'/') if self.text.as_bytes().get(self.at + 1) == Some(&b'/') => {
                    let length = self.text[self.at..].find('\n').unwrap_or(self.text.len() - self.at);
                    self.first_comment.get_or_insert(self.at..self.at + length);
                    self.at += length;
                }
                _ => return,
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
        }
        found
    }

    fn expected(&self, what: &str) -> JsonError {
        match self.peek() {
            None => self.error(format!("the text ends where {what} was expected")),
            Some(_) => self.error(format!("{what} was expected")),
        }
    }

    fn error(&self, what: impl fmt::Display) -> JsonError {
        let position = Position::of(self.text, self.at);
        JsonError { offset: self.at, position, what: what.to_string(), is_too_deep: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_where_it_stands() {
        let text = "{\n  \"price\": 0.250, // per kWh\n  \"on\": [true, null]\n}";
        let document = parse(text).unwrap();
        let Value::Object(members) = document.root.value else { panic!("an object") };
        assert_eq!(members[0].node.value, Value::Number("0.250"));
        assert_eq!(&text[members[0].node.span.clone()], "0.250");
        assert_eq!(&text[members[1].name_span.clone()], "\"on\"");
        assert_eq!(document.first_comment.map(|span| text[span].to_owned()).as_deref(), Some("// per kWh"));
    }

    #[test]
    fn escapes_are_undone() {
        let document = parse(r#""a\"\\\/\b\f\n\r\té\u20ac\ud83d\ude97z""#).unwrap();
        assert_eq!(document.root.value, Value::Text("a\"\\/\u{8}\u{c}\n\r\té€🚗z".into()));
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        for (text, place) in [
            ("{\n \"a\": }", "line 2, column 7"),
            ("[1,]", "line 1, column 4"),
            ("01", "line 1, column 2"),
            ("1.", "line 1, column 3"),
            ("\"a\nb\"", "line 1, column 3"),
            (r#""\ud83dx""#, "line 1, column 8"),
            ("nul", "line 1, column 1"),
            ("{} {}", "line 1, column 4"),
            ("", "line 1, column 1"),
            (" \n\n", "line 3, column 1"),
            ("{\"a\" 1}", "line 1, column 6"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.position.to_string(), place, "{text}: {error}");
        }
        for (text, what) in [
            ("", "the text is empty"),
            ("\u{feff}\n", "the text is empty"),
            ("{\"a\"", "the text ends where `:` behind the field name was expected"),
            ("{\"a\": 1", "the text ends where `,` or `}` was expected"),
            ("[1, ", "the text ends where a value was expected"),
            ("{\"a\": 1,", "the text ends where a field name was expected"),
        ] {
            assert_eq!(parse(text).unwrap_err().what, what, "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let text = "[".repeat(100_000);
        let error = parse(&text).unwrap_err();
        assert!(error.is_too_deep && error.what.contains("nesting"));
    }
}
