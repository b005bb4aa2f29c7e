//! Documents of a partition that wait for their numbers.
//!
//! Each is recorded without a number before a request is sent to its series' home, and stays here until the number is
//! recorded too. A request is repeated until it is answered: after a lost message, a full mailbox or a crash.

use super::{Document, Issued, RequestNumbers, SeriesFamily};
use crate::limits;
use crate::stored::stored;
use crate::units::{Mono, PartitionId, SessionId, TimeSpan};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A request to the home of a family for the number of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The family.
    pub family: SeriesFamily,
    /// Which request this is.
    pub numbers: RequestNumbers,
    /// The document.
    pub document: Document,
}

/// Facts of the requests of a partition. The numbers below are stored, and no other fact ever gets one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestEvent {
    /// A document is final, and has no number yet.
    Requested {
        /// The family that will number it.
        family: SeriesFamily,
        /// The document.
        document: Box<Document>,
    },
    /// Its number is known.
    Recorded {
        /// The family.
        family: SeriesFamily,
        /// The request, counted from 0.
        request: u64,
        /// The document with its number.
        issued: Box<Issued>,
    },
}

stored!(enum RequestEvent {
    0: Requested { 0: family, 1: document },
    1: Recorded { 0: family, 1: request, 2: issued },
});

/// The documents of a partition that wait for their numbers, and the number of earlier requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    families: BTreeMap<SeriesFamily, Family>,
    /// Sessions with a waiting document; one each at most.
    sessions: BTreeSet<SessionId>,
}

stored!(struct Requests { 0: families, 1: sessions });

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Family {
    /// The next request.
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
}

stored!(struct Family { 0: next, 1: waiting });

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    document: Document,
    #[serde(skip)]
    asked: Asked,
}

stored!(struct Waiting { 0: document } without asked);

/// Time of the last request to a home; it belongs to this process only, so it makes no difference between two states.
#[derive(Clone, Copy, Debug, Default)]
struct Asked(Option<Mono>);

impl PartialEq for Asked {
    fn eq(&self, _: &Asked) -> bool {
        true
    }
}

impl Eq for Asked {}

/// Time without an answer after which a request is repeated.
const REPEAT_AFTER: TimeSpan = TimeSpan::from_secs(2);

impl Requests {
    /// Applies a fact, live and in replay.
    pub fn apply(&mut self, event: &RequestEvent) {
        match event {
            RequestEvent::Requested { family, document } => {
                self.sessions.insert(document.id.payment().session());
                let family = self.families.entry(family.clone()).or_default();
                let waiting = Waiting { document: Document::clone(document), asked: Asked::default() };
                family.waiting.insert(family.next, waiting);
                family.next += 1;
            }
            RequestEvent::Recorded { family, request, issued } => {
                self.sessions.remove(&issued.document.id.payment().session());
                if let Some(family) = self.families.get_mut(family) {
                    family.waiting.remove(request);
                }
            }
        }
    }

    /// Whether no document waits.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Number of waiting documents.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether a document of this session waits.
    pub fn waits(&self, session: SessionId) -> bool {
        self.sessions.contains(&session)
    }

    /// Every document that waits and may have a number by now, with its family: [`limits::DOCUMENTS_ASKED`] of each at most.
    pub fn documents(&self) -> impl Iterator<Item = (&SeriesFamily, &Document)> {
        self.families.iter().flat_map(|(id, family)| {
            let oldest = family.waiting.keys().next().copied().unwrap_or(0);
            let asked = family.waiting.range(..oldest.saturating_add(limits::DOCUMENTS_ASKED));
            asked.map(move |(_, one)| (id, &one.document))
        })
    }

    /// The fact of an answer; `None` when it was recorded before, or no document waits for it.
    pub fn record(&self, family: &SeriesFamily, numbers: RequestNumbers, issued: Box<Issued>) -> Option<RequestEvent> {
        let waiting = self.families.get(family)?.waiting.get(&numbers.request)?;
        let fits = waiting.document == issued.document && family.has(&issued.number);
        fits.then(|| RequestEvent::Recorded { family: family.clone(), request: numbers.request, issued })
    }

    /// Returns the requests that are due, at most `most`: new ones, and those without an answer for a while.
    /// Of each family only the oldest [`limits::DOCUMENTS_ASKED`] are in progress; the others wait for them.
    pub fn due(&mut self, partition: PartitionId, now: Mono, most: usize) -> Vec<Request> {
        let mut due = Vec::new();
        for (id, family) in &mut self.families {
            let Some((&oldest, _)) = family.waiting.first_key_value() else { continue };
            for (&request, waiting) in family.waiting.range_mut(..oldest.saturating_add(limits::DOCUMENTS_ASKED)) {
                if due.len() == most {
                    return due;
                }
                if waiting.asked.0.is_none_or(|asked| now >= asked.after(REPEAT_AFTER)) {
                    waiting.asked = Asked(Some(now));
                    let numbers = RequestNumbers { partition, request, oldest };
                    due.push(Request { family: id.clone(), numbers, document: waiting.document.clone() });
                }
            }
        }
        due
    }
}
