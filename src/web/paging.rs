//! Pages over HTTP: the parameters `limit` and `after`, and cursors.
//!
//! A cursor is the key in a text that callers hand back as it is: the list's name and the key, a checksum, base64.

use super::problem::Problem;
use crate::api::Page;
use crate::limits::{LIST_ITEMS, LIST_ITEMS_MAX};
use crate::units::visible;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// The page that a request asks for, in its parameters `limit` and `after`.
///
/// # Errors
/// 400 for a limit that is no number from 1 to [`LIST_ITEMS_MAX`], and for a cursor that is not one of this list.
pub(super) fn wanted<K: DeserializeOwned>(query: &BTreeMap<String, String>, list: &str) -> Result<Page<K>, Problem> {
    let limit = match query.get("limit") {
        None => LIST_ITEMS,
        Some(text) => text.parse().ok().filter(|limit| (1..=LIST_ITEMS_MAX).contains(limit)).ok_or_else(|| {
            let shown: String = visible(text).chars().take(32).collect();
            Problem::usage(format!(
                "limit = {shown}: a page has 1 to {LIST_ITEMS_MAX} items; name a number from 1 to {LIST_ITEMS_MAX}, or leave \
                 it out for {LIST_ITEMS}"
            ))
            .about("limit")
        })?,
    };
    let after = match query.get("after") {
        None => None,
        Some(text) => Some(read_cursor(list, text).ok_or_else(|| {
            Problem::usage(
                "after: this is no cursor of this list; give the `next` of the page before as it is, or leave it out to \
                 begin with the first page",
            )
            .about("after")
        })?),
    };
    Ok(Page { after, limit })
}

/// The text of a cursor behind a key of a list.
pub(super) fn cursor<K: Serialize>(list: &str, key: &K) -> String {
    let mut bytes = postcard::to_stdvec(&(list, key)).expect("keys are plain values and always encode");
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The key in a cursor; none when it is not, to the last letter, one that [`cursor`] made for this list.
pub(super) fn read_cursor<K: DeserializeOwned>(list: &str, text: &str) -> Option<K> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (bytes, checksum) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(bytes) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (of, rest): (&str, &[u8]) = postcard::take_from_bytes(bytes).ok()?;
    let (key, rest) = postcard::take_from_bytes(rest).ok()?;
    (of == list && rest.is_empty()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{PartitionId, SessionId, Timestamp};
    use std::cmp::Reverse;

    fn page(parameters: &[(&str, &str)]) -> Result<Page<String>, Problem> {
        let query = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        wanted(&query, "charger-list/1")
    }

    #[test]
    fn a_cursor_leads_back_to_its_key() {
        let session = SessionId::new(Timestamp::from_unix_ms(1_763_833_500_123), PartitionId(5), 7);
        let text = cursor("session-list/1", &Reverse(session));
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')), "{text}");
        assert_eq!(read_cursor("session-list/1", &text), Some(Reverse(session)));
        for id in ["NL*WST*E0001", "ü", ""] {
            let text = cursor("charger-list/1", &id);
            assert_eq!(page(&[("after", &text)]).unwrap(), Page { after: Some(id.to_owned()), limit: LIST_ITEMS });
        }
    }

    /// The encoding is kept over restarts and versions: who walks a list while a gate is replaced goes on.
    #[test]
    fn a_cursor_is_spelt_as_ever() {
        assert_eq!(cursor("charger-list/1", &"AMS-17"), "DmNoYXJnZXItbGlzdC8xBkFNUy0xNzRhD0A");
    }

    #[test]
    fn a_mangled_cursor_and_one_of_another_list_are_refused() {
        let good = cursor("charger-list/1", &"AMS-17");
        let other = cursor("account-list/1", &"AMS-17");
        let mut mangled =
            vec![String::new(), "x".to_owned(), "AMS-17".to_owned(), other, format!("{good}A"), format!("{good}=")];
        for at in 0..good.len() {
            mangled.push(good[..at].to_owned());
            let letter = if &good[at..=at] == "A" { "B" } else { "A" };
            mangled.push(format!("{}{letter}{}", &good[..at], &good[at + 1..]));
        }
        for text in mangled {
            let refused = page(&[("after", &text)]).unwrap_err();
            assert_eq!((refused.status, refused.parameter), (400, Some("after")), "{text}");
            assert!(refused.message.contains("after") && refused.message.contains("next"), "{refused}");
        }
    }

    #[test]
    fn a_limit_outside_of_the_range_is_refused_with_the_range() {
        assert_eq!(page(&[]).unwrap(), Page::first(LIST_ITEMS));
        for limit in [1, 2, LIST_ITEMS_MAX] {
            assert_eq!(page(&[("limit", &limit.to_string())]).unwrap().limit, limit);
        }
        for limit in ["0", "1001", "-1", "ten", "", " 1", "1.5", "18446744073709551616", "99999999999999999999999999"] {
            let refused = page(&[("limit", limit)]).unwrap_err();
            assert_eq!((refused.status, refused.parameter), (400, Some("limit")), "{limit}");
            assert!(refused.message.contains("limit") && refused.message.contains("1 to 1000"), "{refused}");
        }
    }
}
