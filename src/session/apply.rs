//! Applies a fact to a session's state. Never fails.

use super::{Event, Metered, Quarantine, Session, Stage};
use crate::payment::{self, Shown};
use crate::units::Amount;

/// Folds one fact into the state.
pub fn apply(session: &mut Session, event: &Event) {
    match event {
        // The state was made from it.
        Event::Opened(opening) => debug_assert_eq!(opening.id, session.id),
        Event::Restored(archived) => debug_assert_eq!(archived.id, session.id),
        Event::Metered(Metered { reading, slices }) => {
            session.rating.apply(slices);
            session.segments.add(slices);
            session.meter.record(reading);
        }
        Event::Decided(slices) => {
            session.rating.apply(slices);
            session.segments.add(slices);
        }
        Event::RegisterJumped(jump) => session.meter.jump(*jump),
        Event::Suspected { reading, doubt: _ } => session.meter.doubt(reading),
        Event::Admitted { limit, at: _ } => {
            let stop_asked = match &session.stage {
                Stage::Charging { stop_asked, .. } => *stop_asked,
                Stage::Authorizing | Stage::Settling(_) | Stage::Closed(_) => None,
            };
            session.stage = Stage::Charging { limit: *limit, stop_asked };
        }
        Event::StopAsked { reason, at: _ } => {
            if let Stage::Charging { stop_asked, .. } = &mut session.stage {
                *stop_asked = Some(*reason);
            }
        }
        Event::Ended(ended) => session.stage = Stage::Settling(ended.clone()),
        Event::Corrected(ended) => {
            session.stage = match &session.stage {
                Stage::Closed(_) => Stage::Closed(ended.clone()),
                Stage::Authorizing | Stage::Charging { .. } | Stage::Settling(_) => Stage::Settling(ended.clone()),
            };
        }
        Event::Payment(event) => {
            payment::apply(&mut session.payment, event);
            if let payment::Event::Settled { at, .. } = &**event {
                session.outcome.get_or_insert_default().settled_at.get_or_insert(*at);
            }
        }
        Event::Quarantined { cause, at: _ } => {
            session.outcome.get_or_insert_default().quarantine = Some(Quarantine { cause: *cause, ruled: None });
            let limit = Amount::zero(session.payment.currency());
            session.stage = Stage::Charging { limit, stop_asked: cause.refused() };
        }
        Event::Continued { limit, at: _ } => {
            session.stage = Stage::Charging { limit: *limit, stop_asked: None };
        }
        Event::Noted(note) => session.outcome.get_or_insert_default().notes.push(*note),
        Event::Signed(judged) => session.outcome.get_or_insert_default().signed.push((**judged).clone()),
        Event::Presented(fingerprint) => session.fingerprint = Shown::from(&**fingerprint),
        Event::Ruled(ruled) => {
            let quarantine = &mut session.outcome.get_or_insert_default().quarantine;
            quarantine.get_or_insert(Quarantine::DOUBTED).ruled = Some(*ruled);
        }
        Event::Closed { at: _ } => {
            let ended = session.ended().copied().expect("a session ends before it closes");
            session.stage = Stage::Closed(Box::new(ended));
        }
    }
}
