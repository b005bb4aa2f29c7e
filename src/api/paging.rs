//! Lists page by page: which part of a list is wanted, and where the next one begins.
//!
//! A list is ordered by a key of its items that never changes, and a page begins behind a key, not behind a count: items that
//! come and go meanwhile move no other one out of its page or into a second one. Each shard selects at most one item more than
//! a page has, and so does the merge of their answers, so memory is bounded by the page and not by the list.

pub(super) use crate::node::query::First;
pub use crate::node::query::Page;

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
