//! Numbers that the gate makes for a charger whose protocol has none.
//!
//! OCPP numbers neither sessions nor readings, and what such a charger repeats it may repeat with another message id, another
//! time and, after a restart, an old name. The gate does it, in this machine:
//!
//! * **Session.** Its key is a number of the partition's counter: n × partitions + partition, n from 1, at most 2³¹ − 1 in all,
//!   so that it is a transaction id of OCPP 1.6 as well. The counter follows from the facts that use it: a session's opening, or
//!   a start that was refused. It is never set back; when it is used up, starts are refused.
//! * **Beginning.** Each has a [`Mark`]: a digest of everything that it says (`exact`), and one without its time (`loose`). In
//!   1.6 that is connector, credential and register; in 2.x the charger's own name. The same exact mark is the same beginning,
//!   for as long as it is remembered. The same loose mark is the same beginning while the session is open and has no reading,
//!   or where the message is not certainly a beginning. Any other is a new session: names come back. A session that is open on
//!   the connector then ends on its last total, as one whose stop never came.
//! * **Reading.** The session gives it the next sequence, unless it is a repetition ([`crate::session`]): the same time and
//!   register as the last one or the suspect, or older without a higher register. Registers are totals, so nothing is lost.
//! * **End.** A stop without a reading ends the session on its last total; one that is repeated changes nothing. Messages for a
//!   session that ended on an estimate correct it, as those of any charger.
//!
//! A charger that numbers itself has no such state, and costs eight bytes for it.

use super::{Charger, PastSession};
use crate::limits::{KEYS_REMEMBERED, KEYS_REMEMBERED_MAX};
use crate::stored::stored;
use crate::units::{ConnectorId, Energy, SessionKey, Timestamp};
use ring::digest;
use serde::{Deserialize, Serialize};

/// Recognises a beginning when it is repeated. Digests of 64 bits, over a credential's fingerprint and never over the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mark {
    /// Of everything that it says, its time included.
    pub exact: u64,
    /// Of everything but its time.
    pub loose: u64,
}

stored!(value struct Mark { 0: exact, 1: loose });

impl Mark {
    /// Of the parts of a beginning, and its time as the charger wrote it.
    pub fn new(parts: &[&[u8]], stated: &[u8]) -> Mark {
        Mark { exact: digest_of(parts.iter().copied().chain([stated])), loose: digest_of(parts.iter().copied()) }
    }
}

fn digest_of<'a>(parts: impl Iterator<Item = &'a [u8]>) -> u64 {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        // No two lists of parts are the same bytes.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    u64::from_be_bytes(*context.finish().as_ref().first_chunk().expect("SHA-256 has 32 bytes"))
}

/// What few chargers have: sessions that the gate numbers, a key of the meter, faults. The others pay nothing for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Numbered {
    /// In the order in which they began.
    pub(super) begun: Vec<Begun>,
    /// The public key of its meter, as a SubjectPublicKeyInfo in DER.
    pub(super) meter_key: Option<Box<[u8]>>,
    /// Connectors with a fault.
    #[serde(skip)]
    pub(super) faulted: Vec<ConnectorId>,
}

stored!(struct Numbered { 0: begun, 1: meter_key or None, 2: faulted or Vec::new() });

/// A beginning that the gate has numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The number.
    pub key: SessionKey,
    /// How it is recognised.
    pub mark: Mark,
    /// It was refused: the number of the code.
    pub refused: Option<u16>,
    /// Its session ended on an estimate, which later messages correct.
    pub estimated: bool,
    /// It was opened for reports that named no session, is over, and no start has adopted it.
    #[serde(skip)]
    pub apart: Option<Apart>,
}

stored!(struct Begun { 0: key, 1: mark, 2: refused, 3: estimated, 4: apart or None });

/// What was reported of a session whose start never came, or comes too late to adopt it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Apart {
    /// Where.
    pub connector: ConnectorId,
    /// The register at the first reading.
    pub first: Energy,
    /// The register up to which it is decided on.
    pub last: Energy,
    /// When the last reading was taken.
    pub last_at: Timestamp,
}

stored!(struct Apart { 0: connector, 1: first, 2: last, 3: last_at });

impl Charger {
    /// Whether the gate numbers its sessions: it did once.
    pub fn is_numbered_by_gate(&self) -> bool {
        self.numbered.as_ref().is_some_and(|numbered| !numbered.begun.is_empty())
    }

    /// The public key of its meter that an operator registered, as a SubjectPublicKeyInfo in DER.
    pub fn meter_key(&self) -> Option<&[u8]> {
        self.numbered.as_ref()?.meter_key.as_deref()
    }

    /// Whether a connector has a fault, by what the charger reported.
    pub fn is_faulted(&self, connector: ConnectorId) -> bool {
        self.numbered.as_ref().is_some_and(|numbered| numbered.faulted.contains(&connector))
    }

    /// Beginnings that the gate has numbered and still remembers, the newest first.
    pub fn begun(&self) -> impl Iterator<Item = &Begun> {
        self.numbered.iter().flat_map(|numbered| numbered.begun.iter().rev())
    }

    /// Remembers a beginning. Those whose sessions are neither open nor remembered are forgotten, and so are the oldest refused
    /// ones.
    pub(super) fn remember(&mut self, begun: Begun) {
        let mut numbered = self.numbered.take().unwrap_or_default();
        numbered.begun.retain(|known| {
            known.refused.is_some() || self.open_session(known.key).is_some() || self.past_session(known.key).is_some()
        });
        let refused = |known: &Begun| known.refused.is_some() && self.open_session(known.key).is_none();
        while numbered.begun.iter().filter(|known| refused(known)).count() >= KEYS_REMEMBERED {
            if let Some(oldest) = numbered.begun.iter().position(refused) {
                numbered.begun.remove(oldest);
            }
        }
        debug_assert!(numbered.begun.len() <= 2 * KEYS_REMEMBERED_MAX, "bounded by the sessions that are remembered");
        numbered.begun.push(begun);
        self.numbered = Some(numbered);
    }

    /// The beginning with this number is refused: it is remembered, if it is not yet.
    pub(super) fn refuse(&mut self, key: SessionKey, mark: Mark, code: u16) {
        let mut begun = self.numbered.iter_mut().flat_map(|numbered| &mut numbered.begun);
        match begun.find(|begun| begun.key == key) {
            Some(begun) => begun.refused = Some(code),
            None => self.remember(Begun { key, mark, refused: Some(code), estimated: false, apart: None }),
        }
    }

    /// What was reported under this number is decided on apart from any start, or is not. What it once reached stays so.
    pub(super) fn set_apart(&mut self, key: SessionKey, apart: Option<Apart>) {
        let mut begun = self.numbered.iter_mut().flat_map(|numbered| &mut numbered.begun);
        if let Some(begun) = begun.find(|begun| begun.key == key) {
            let before = begun.apart.map_or(Energy::ZERO, |before| before.last);
            begun.apart = apart.map(|apart| Apart { last: apart.last.max(before), ..apart });
        }
    }

    /// The session with this number ended on an estimate, or the charger's own end has come.
    pub(super) fn set_estimated(&mut self, key: SessionKey, estimated: bool) {
        let mut begun = self.numbered.iter_mut().flat_map(|numbered| &mut numbered.begun);
        if let Some(begun) = begun.find(|begun| begun.key == key) {
            begun.estimated = estimated;
        }
    }
}

/// What a beginning is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognised {
    /// A new one.
    New,
    /// That of an open session.
    Open(SessionKey),
    /// That of a session that is over.
    Past(PastSession),
    /// One that was refused, for this code.
    Refused(SessionKey, u16),
}

/// Recognises a beginning. `is_first`: it is no later event of a session that may have begun. `unread`: whether an open session
/// has no reading yet.
pub fn recognise(charger: &Charger, mark: Mark, is_first: bool, unread: impl Fn(SessionKey) -> bool) -> Recognised {
    let same = |begun: &Begun| match (begun.refused, charger.open_session(begun.key)) {
        (Some(code), _) => Some(Recognised::Refused(begun.key, code)),
        (None, Some(open)) => Some(Recognised::Open(open.key)),
        (None, None) => charger.past_session(begun.key).map(|past| Recognised::Past(*past)),
    };
    let exact = charger.begun().filter(|begun| begun.mark.exact == mark.exact).find_map(same);
    let moved = || {
        let begun = charger.begun().find(|begun| begun.mark.loose == mark.loose && begun.refused.is_none())?;
        let is_open = charger.open_session(begun.key).is_some();
        (!is_first || (is_open && unread(begun.key))).then(|| same(begun)).flatten()
    };
    exact.or_else(moved).unwrap_or(Recognised::New)
}

#[cfg(test)]
mod tests {
    use super::super::{Event, apply};
    use super::*;
    use crate::units::{ChargerId, PartitionId, SessionId};

    const NOW: Timestamp = Timestamp::from_unix_ms(1_000_000);

    fn mark(name: &str, stated: &str) -> Mark {
        Mark::new(&[name.as_bytes()], stated.as_bytes())
    }

    fn open(charger: &mut Charger, key: u64, mark: Mark) {
        let (session, connector) = (SessionId::new(NOW, PartitionId(0), key), ConnectorId(1));
        apply(charger, &Event::SessionOpened { key: SessionKey(key), session, connector, mark: Some(mark) });
    }

    fn end(charger: &mut Charger, key: u64, estimated: bool) {
        let (key, at) = (SessionKey(key), NOW);
        let event = Event::SessionEnded { key, at, sequence: 3, refused: false, estimated, apart: None };
        apply(charger, &event);
    }

    fn charger() -> Charger {
        Charger::new(ChargerId::new("CP-1").unwrap())
    }

    #[test]
    fn the_same_content_is_the_same_beginning_before_and_after_the_end() {
        let mut charger = charger();
        let first = mark("tx-1", "12:00");
        assert_eq!(recognise(&charger, first, true, |_| true), Recognised::New);
        open(&mut charger, 17, first);
        for is_first in [true, false] {
            assert_eq!(recognise(&charger, first, is_first, |_| false), Recognised::Open(SessionKey(17)));
        }
        end(&mut charger, 17, false);
        assert!(
            matches!(recognise(&charger, first, true, |_| true), Recognised::Past(past) if past.key == SessionKey(17))
        );
    }

    #[test]
    fn a_moved_time_is_the_same_beginning_only_while_no_reading_has_come() {
        let mut charger = charger();
        open(&mut charger, 17, mark("tx-1", "12:00"));
        let moved = mark("tx-1", "12:01");
        assert_eq!(recognise(&charger, moved, true, |_| true), Recognised::Open(SessionKey(17)));
        assert_eq!(recognise(&charger, moved, true, |_| false), Recognised::New, "a name that came back");
        assert_eq!(
            recognise(&charger, moved, false, |_| false),
            Recognised::Open(SessionKey(17)),
            "a later event of it"
        );
        end(&mut charger, 17, false);
        assert_eq!(recognise(&charger, moved, true, |_| true), Recognised::New);
        assert!(matches!(recognise(&charger, moved, false, |_| true), Recognised::Past(_)), "it is not opened again");
    }

    #[test]
    fn a_refused_beginning_keeps_its_number_and_they_are_bounded() {
        let mut charger = charger();
        for key in 1..=100 {
            let mark = mark("card", &key.to_string());
            apply(&mut charger, &Event::StartRefused { key: SessionKey(key), mark, code: 308 });
        }
        assert_eq!(recognise(&charger, mark("card", "100"), true, |_| true), Recognised::Refused(SessionKey(100), 308));
        assert_eq!(recognise(&charger, mark("card", "1"), true, |_| true), Recognised::New);
        assert_eq!(charger.begun().count(), KEYS_REMEMBERED);
        for key in 101..1_000 {
            open(&mut charger, key, mark("card", &key.to_string()));
            end(&mut charger, key, false);
            apply(&mut charger, &Event::SessionClosed { key: SessionKey(key) });
        }
        assert!(charger.begun().count() <= 2 * KEYS_REMEMBERED + 1);
    }

    #[test]
    fn an_estimated_end_is_known_until_the_chargers_own_comes() {
        let mut charger = charger();
        open(&mut charger, 17, mark("tx-1", "12:00"));
        let estimated = |charger: &Charger| charger.begun().next().map(|begun| begun.estimated);
        for expected in [true, false] {
            end(&mut charger, 17, expected);
            assert_eq!(estimated(&charger), Some(expected));
        }
    }

    #[test]
    fn parts_that_run_together_are_different_marks() {
        let digest = |parts: &[&[u8]]| Mark::new(parts, b"").loose;
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_ne!(digest(&[b"a"]), digest(&[b"a", b""]));
        assert_ne!(Mark::new(&[b"a"], b"1").exact, Mark::new(&[b"a"], b"2").exact);
    }
}
