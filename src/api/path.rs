//! Paths of the API. What an operator types stands in them, so each segment is escaped as URIs have it.

use std::fmt::Write;

/// A text as one segment of a path: whatever is in it, it neither ends the segment nor the path.
pub fn segment(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'*' | b':' | b'@' | b'=' => {
                escaped.push(char::from(byte));
            }
            other => write!(escaped, "%{other:02X}").expect("writing to a String cannot fail"),
        }
    }
    escaped
}

/// The segments of a path, as they were before they were escaped.
pub fn segments(path: &str) -> Vec<String> {
    path.split('/').map(unescaped).collect()
}

fn unescaped(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, after @ ..] = rest {
        let escape = (*first == b'%').then(|| after.get(..2)).flatten();
        let byte = escape.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_any_kind_is_one_segment() {
        for text in ["NL*WST*E0001", "a b", "a/b", "a?b=c#d", "100%", "ü", "", "%2F", "|", "..", "\u{1b}[2J"] {
            let path = format!("accounts/{}/topup", segment(text));
            assert_eq!(segments(&path), ["accounts", text, "topup"], "{path}");
            assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path}");
        }
        assert_eq!(segments("a%zz%4/b%"), ["a%zz%4", "b%"]);
    }
}
