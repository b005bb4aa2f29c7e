//! What an event changes. Cannot fail; asserts what the decision believed.

use super::state::{Known, Series};
use super::verify::anchor;
use super::{Event, OpenSeries};
use crate::limits;

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
                order: Default::default(),
                forgotten_until: None,
            });
        }
        (Series::Open(open), Event::Finalized(issued)) => {
            assert_eq!(issued.number.number, open.last + 1, "numbers follow each other");
            assert_eq!(issued.previous, open.head, "a document hangs on the one before it");
            open.last += 1;
            open.head = issued.hash;
            let document = &issued.document;
            let known =
                Known { number: open.last, final_at: document.final_at, content: document.content, hash: issued.hash };
            let before = open.known.insert(document.id, known);
            assert!(before.is_none(), "a document is numbered once");
            open.order.push_back(document.id);
            if open.order.len() > limits::INVOICES_REMEMBERED {
                let oldest = open.order.pop_front().expect("it is not empty");
                let forgotten = open.known.remove(&oldest).expect("both hold the same documents");
                open.forgotten_until = open.forgotten_until.max(Some(forgotten.final_at));
            }
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
