//! What a fact does to a charger's state. Never fails.

use super::{Charger, Event, OpenSession, PastSession};

/// Folds one fact into the state.
pub fn apply(charger: &mut Charger, event: &Event) {
    match event {
        Event::Described(description) => {
            charger.connectors = description.connectors.iter().copied().collect();
            charger.firmware = description.firmware.clone();
        }
        Event::SessionOpened { key, session, connector } => {
            debug_assert!(charger.open_session(*key).is_none(), "session {session} opened twice");
            charger.open.push(OpenSession { key: *key, session: *session, connector: *connector });
        }
        Event::SessionEnded { key, at, sequence, refused } => {
            // Said again of a session that ended in silence: its charger has told more since.
            if let Some(past) = charger.past.iter_mut().find(|past| past.key == *key) {
                past.sequence = past.sequence.max(*sequence);
                return;
            }
            let Some(index) = charger.open.iter().position(|open| open.key == *key) else { return };
            let ended = charger.open.swap_remove(index);
            charger.forget_one();
            charger.past.push(PastSession {
                key: ended.key,
                session: ended.session,
                sequence: *sequence,
                refused: *refused,
                closed: false,
            });
            if *refused {
                charger.refusals = charger.refusals.saturating_add(1);
                charger.refused_at = *at;
            } else {
                charger.refusals = 0;
            }
        }
        Event::SessionClosed { key } => {
            if let Some(past) = charger.past.iter_mut().find(|past| past.key == *key) {
                past.closed = true;
            }
        }
    }
}
