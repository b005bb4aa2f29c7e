//! Lists page by page: which part of a list is wanted, and where the next one begins.
//!
//! A list is ordered by a key of its items that never changes, and a page begins behind a key, not behind a count: items that
//! come and go meanwhile move no other one out of its page or into a second one. Each shard selects at most one item more than
//! a page has, and so does the merge of their answers, so memory is bounded by the page and not by the list.
//!
//! A cursor is the key in a text that callers hand back as it is: the list's name and the key, a checksum, base64.

use super::documents::{Refused, Request};
use crate::limits::{LIST_ITEMS, LIST_ITEMS_MAX};
pub(super) use crate::node::query::First;
pub use crate::node::query::Page;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paged<K, T> {
    /// Its items, in the order of the list.
    pub items: Vec<T>,
    /// The key behind which the list goes on; none: it ends here.
    pub next: Option<K>,
}

impl<K: Ord + Clone, T> Paged<K, T> {
    /// The first of what was found, which is in order. `until`: what comes behind this key was not looked at.
    pub(super) fn cut(mut found: Vec<(K, T)>, limit: usize, until: Option<K>) -> Paged<K, T> {
        if let Some(until) = &until {
            found.retain(|(key, _)| key <= until);
        }
        let goes_on = found.len() > limit;
        found.truncate(limit);
        let last = found.last().map(|(key, _)| key.clone());
        let next = if goes_on { last } else { until };
        Paged { items: found.into_iter().map(|(_, item)| item).collect(), next }
    }
}

/// The page that a request asks for, in its parameters `limit` and `after`.
///
/// # Errors
/// 400 for a limit that is no number from 1 to [`LIST_ITEMS_MAX`], and for a cursor that is not one of this list.
pub(super) fn wanted<K: DeserializeOwned>(request: &Request, list: &str) -> Result<Page<K>, Refused> {
    let limit = match request.query.get("limit") {
        None => LIST_ITEMS,
        Some(text) => text.parse().ok().filter(|limit| (1..=LIST_ITEMS_MAX).contains(limit)).ok_or_else(|| {
            let shown: String = text.escape_debug().take(32).collect();
            Refused::usage(format!(
                "limit = {shown}: a page has 1 to {LIST_ITEMS_MAX} items; name a number from 1 to {LIST_ITEMS_MAX}, or leave \
                 it out for {LIST_ITEMS}"
            ))
            .about("limit")
        })?,
    };
    let after = match request.query.get("after") {
        None => None,
        Some(text) => Some(read_cursor(list, text).ok_or_else(|| {
            Refused::usage(
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
fn read_cursor<K: DeserializeOwned>(list: &str, text: &str) -> Option<K> {
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
    use proptest::prelude::*;
    use std::cmp::Reverse;

    fn request(parameters: &[(&str, &str)]) -> Request {
        let query = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Request { path: String::new(), query }
    }

    fn page(parameters: &[(&str, &str)]) -> Result<Page<String>, Refused> {
        wanted(&request(parameters), "charger-list/1")
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

    #[test]
    fn a_page_that_was_not_looked_through_to_its_end_goes_on_where_that_was() {
        let found = || vec![(1, 'a'), (3, 'b'), (5, 'c')];
        assert_eq!(Paged::cut(found(), 5, None), Paged { items: vec!['a', 'b', 'c'], next: None });
        assert_eq!(Paged::cut(found(), 3, None), Paged { items: vec!['a', 'b', 'c'], next: None });
        assert_eq!(Paged::cut(found(), 2, None), Paged { items: vec!['a', 'b'], next: Some(3) });
        assert_eq!(Paged::cut(found(), 5, Some(4)), Paged { items: vec!['a', 'b'], next: Some(4) });
        assert_eq!(Paged::cut(found(), 1, Some(4)), Paged { items: vec!['a'], next: Some(1) });
        assert_eq!(Paged::cut(found(), 5, Some(0)), Paged { items: vec![], next: Some(0) });
    }

    /// A document is with its session and already in the archive: it is one.
    #[test]
    fn the_same_item_from_two_places_takes_one_place() {
        let mut first = First::behind(None, 1);
        for (key, place) in [(4, "live"), (7, "live"), (4, "archived"), (7, "archived"), (9, "archived")] {
            first.offer(key, place);
        }
        assert_eq!(Paged::cut(first.into_sorted(), 1, None), Paged { items: vec!["live"], next: Some(4) });
    }

    proptest! {
        /// Over any number of shards, with items that come and go between two pages: what was there all the time is seen
        /// exactly once, in order.
        #[test]
        fn pages_show_each_item_once(
            lasting in prop::collection::btree_set(0_u16..500, 0..120),
            passing in prop::collection::vec(prop::collection::btree_set(0_u16..500, 0..40), 1..40),
            (limit, shards) in (1_usize..20, 1_u16..5),
        ) {
            let (mut after, mut seen) = (None, Vec::new());
            for round in 0.. {
                let others = &passing[round % passing.len()];
                let mut found = Vec::new();
                for shard in 0..shards {
                    let mut first = First::behind(after, limit);
                    let all = lasting.union(others).filter(|number| **number % shards == shard);
                    // In an order of the shard's own.
                    let mut all: Vec<u16> = all.copied().collect();
                    all.sort_by_key(|number| number.wrapping_mul(40_503));
                    all.into_iter().for_each(|number| first.offer(number, number));
                    let kept = first.into_sorted();
                    prop_assert!(kept.len() <= limit + 1 && kept.is_sorted());
                    found.extend(kept);
                }
                found.sort_unstable();
                let page = Paged::cut(found, limit, None);
                prop_assert!(page.items.len() <= limit);
                seen.extend(page.items);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            prop_assert!(seen.is_sorted_by(|a, b| a < b), "each once, in order");
            let seen: Vec<u16> = seen.into_iter().filter(|number| lasting.contains(number)).collect();
            prop_assert!(seen.into_iter().eq(lasting));
        }
    }
}
