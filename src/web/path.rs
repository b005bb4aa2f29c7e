//! Paths of the console. What an operator types stands in them, so each segment is escaped as URIs have it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What is escaped in a segment: all but letters, digits and marks that mean nothing between two slashes.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'*')
    .remove(b':')
    .remove(b'@')
    .remove(b'=');

/// Returns a text as one segment of a path: none of its characters ends the segment or the path.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// A path with each segment escaped in the one way of [`segment`], as the table of routes is matched. An empty segment
/// becomes [`EMPTY`], so that it is a segment like others and a name that is missing is refused as one.
pub(super) fn canonical(path: &str) -> String {
    let after_root = path.strip_prefix('/').unwrap_or(path);
    let segments = after_root.split('/').map(|text| match text {
        "" => EMPTY.to_owned(),
        text => segment(&decoded(text)),
    });
    segments.fold(String::with_capacity(path.len() + 1), |whole, segment| whole + "/" + &segment)
}

/// An empty segment of a canonical path: no escaped text is a lone percent sign.
const EMPTY: &str = "%";

/// The text of a segment of a canonical path.
pub(super) fn unescaped(segment: &str) -> String {
    if segment == EMPTY { String::new() } else { decoded(segment) }
}

fn decoded(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_any_kind_is_one_segment() {
        for text in ["NL*WST*E0001", "a b", "a/b", "a?b=c#d", "100%", "ü", "", "%2F", "|", "..", "\u{1b}[2J"] {
            let path = format!("/accounts/{}/topup", segment(text));
            let segments: Vec<String> = canonical(&path).split('/').skip(1).map(unescaped).collect();
            assert_eq!(segments, ["accounts", text, "topup"], "{path}");
            assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path}");
        }
        assert_eq!(canonical("a%zz%4/b%//%61%+1"), "/a%25zz%254/b%25/%/a%25%2B1");
    }
}
