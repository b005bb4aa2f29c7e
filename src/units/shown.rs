//! Text from outside as it may be shown: on a terminal, on a page, in a document.
//!
//! A charger, a processor, a tariff or an operator gives names and references. A control character in one of them moves a
//! terminal's cursor, and a mark of writing direction turns a line around, so that an amount reads as another one.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character changes how its surroundings are shown: control characters, line separators, marks of direction,
/// and characters without a width.
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// The text with such characters written as `\u{1b}`; everything else as it is.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_hidden(character) {
            write!(shown, "\\u{{{:x}}}", u32::from(character)).expect("writing to a String cannot fail")
        } else {
            shown.push(character)
        }
    }
    Cow::Owned(shown)
}

/// The same JSON document with such characters escaped as JSON does it. Nothing else in a JSON document can hold them but a
/// string, and line feeds between its members.
pub fn visible_json(document: &str) -> Cow<'_, str> {
    let hidden = |character: char| is_hidden(character) && character != '\n';
    if !document.chars().any(hidden) {
        return Cow::Borrowed(document);
    }
    let mut shown = String::with_capacity(document.len() + 8);
    for character in document.chars() {
        if hidden(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(shown, "\\u{unit:04x}").expect("writing to a String cannot fail");
            }
        } else {
            shown.push(character)
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_a_cursor_or_turns_a_line_is_written_out() {
        assert_eq!(visible("Zürich, 7 €"), "Zürich, 7 €");
        assert_eq!(visible("a\u{1b}[2Jb\u{202e}c\nd\u{7f}\u{9b}"), "a\\u{1b}[2Jb\\u{202e}c\\u{a}d\\u{7f}\\u{9b}");
    }

    #[test]
    fn a_json_document_stays_the_same_document() {
        let value = serde_json::json!({ "name": "a\u{1b}\u{202e}\u{9b}\u{e0001}b", "line": "x\ny" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = visible_json(&text);
        assert!(shown.chars().all(|character| character == '\n' || !is_hidden(character)), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
