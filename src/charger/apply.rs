//! Applies a fact to a charger's state. Never fails.

use super::{Begun, CellNumber, Charger, Event, OpenSession, PastSession};
use crate::units::Common;

/// Folds one fact into the state.
pub fn apply(charger: &mut Charger, event: &Event) {
    match event {
        Event::Described(description) => {
            charger.described = Common::new(description.clone());
        }
        Event::MeterKeyRegistered { der } => charger.numbered.get_or_insert_default().meter_key.clone_from(der),
        Event::SessionOpened { key, session, connector, mark } => {
            debug_assert!(charger.open_session(*key).is_none(), "session {session} opened twice");
            let cell = CellNumber::default();
            charger.open.push(OpenSession { key: *key, session: *session, connector: *connector, cell });
            if let Some(mark) = mark {
                charger.remember(Begun { key: *key, mark: *mark, refused: None, estimated: false, apart: None });
            }
        }
        Event::SessionEnded { key, at, sequence, refused, estimated, apart } => {
            charger.set_apart(*key, *apart);
            charger.set_estimated(*key, *estimated);
            // Repeated for a session that was ended for missing messages: its charger has reported more since.
            let mut remembered = charger.past.iter_mut().flat_map(|past| &mut past.sessions);
            if let Some(past) = remembered.find(|past| past.key == *key) {
                past.sequence = past.sequence.max(*sequence);
                return;
            }
            let Some(index) = charger.open.iter().position(|open| open.key == *key) else { return };
            let ended = charger.open.swap_remove(index);
            let past = charger.past.get_or_insert_default();
            past.forget_one();
            past.sessions.push(PastSession {
                key: ended.key,
                session: ended.session,
                sequence: *sequence,
                refused: *refused,
                closed: false,
            });
            if *refused {
                past.refusals = past.refusals.saturating_add(1);
                past.refused_at = *at;
            } else {
                past.refusals = 0;
            }
        }
        Event::SessionContinued { key, session, connector } => {
            if let Some(past) = &mut charger.past {
                past.sessions.retain(|past| past.key != *key);
            }
            let cell = CellNumber::default();
            charger.open.push(OpenSession { key: *key, session: *session, connector: *connector, cell });
            charger.set_estimated(*key, false);
        }
        Event::SessionClosed { key } => {
            let mut remembered = charger.past.iter_mut().flat_map(|past| &mut past.sessions);
            if let Some(past) = remembered.find(|past| past.key == *key) {
                past.closed = true;
            }
        }
        Event::StartRefused { key, mark, code } => {
            charger.refuse(*key, *mark, *code);
        }
        Event::WentOnline { at: _ } => charger.is_online = true,
        Event::WentOffline { at: _ } => charger.is_online = false,
        Event::Faulted { connector, at: _ } => {
            let faulted = &mut charger.numbered.get_or_insert_default().faulted;
            if !faulted.contains(connector) {
                faulted.push(*connector);
            }
        }
        Event::Recovered { connector, at: _ } => {
            if let Some(numbered) = &mut charger.numbered {
                numbered.faulted.retain(|known| known != connector);
            }
        }
    }
}
