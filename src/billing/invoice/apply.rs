//! Applies an event to a series. Cannot fail; asserts the assumptions of the decision.

use super::state::{Known, Series};
use super::verify::anchor;
use super::{Event, OpenSeries};

/// Applies an event.
///
/// # Panics
/// When the event does not fit the state: then the decision or the log is wrong.
pub fn apply(series: &mut Series, event: &Event) {
    match (&mut *series, event) {
        (Series::Unopened, Event::Opened { series: id, kind, currency, .. }) => {
            *series = Series::Open(OpenSeries {
                id: id.clone(),
                kind: *kind,
                currency: *currency,
                last: 0,
                head: anchor(id),
                known: Default::default(),
                oldest: Default::default(),
            });
        }
        (Series::Open(open), Event::Finalized { issued, numbers }) => {
            assert_eq!(issued.number.number, open.last + 1, "numbers follow each other");
            assert_eq!(issued.previous, open.head, "a document hangs on the one before it");
            open.last += 1;
            open.head = issued.hash;
            let oldest = open.oldest.entry(numbers.partition).or_default();
            *oldest = numbers.oldest.max(*oldest);
            let (partition, oldest) = (numbers.partition, *oldest);
            while let Some((&recorded, _)) = open.known.range((partition, 0)..(partition, oldest)).next() {
                open.known.remove(&recorded);
            }
            let known = Known {
                document: issued.document.id,
                at: issued.at,
                number: open.last,
                content: issued.document.content,
                previous: issued.previous,
                hash: issued.hash,
            };
            let before = open.known.insert((partition, numbers.request), known);
            assert!(before.is_none(), "a document is numbered once");
        }
        (Series::Open(_), Event::Closed { .. }) => {
            if let Series::Open(open) = std::mem::take(series) {
                *series = Series::Closed(open);
            }
        }
        (Series::Unopened | Series::Open(_) | Series::Closed(_), _) => {
            panic!("a series has no such event in this state: {event:?}")
        }
    }
}
