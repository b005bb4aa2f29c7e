//! The gate's calls: one at a time, so that a charger is never asked two things at once.

use super::{Known, OcppLink, Order, Stage, Waiting};
use crate::limits;
use crate::ocpp::{Version, frame, v2, v16};
use crate::units::{Mono, SessionKey};

impl OcppLink {
    /// Orders a stop, not more often than a charger can carry it out.
    pub(super) fn order_stop(&mut self, session: SessionKey, now: Mono) {
        let known = self.sessions.iter_mut().find(|known| known.session == session);
        let (action, payload) = match (self.settings.version, &known) {
            (Version::V16, _) => v16::stop(session),
            (Version::V201 | Version::V21, Some(Known { name: Some(name), .. })) => v2::stop(name),
            // A stop of a transaction whose name is not known cannot be ordered.
            (Version::V201 | Version::V21, _) => return,
        };
        if let Some(known) = known {
            let again = known.ordered.is_none_or(|ordered| ordered.after(limits::OCPP_STOP_AGAIN) <= now);
            if !again {
                return;
            }
            known.ordered = Some(now);
        }
        if self.orders.len() < limits::OCPP_SESSIONS_KNOWN {
            self.orders.push_back(Order { session, action, payload });
        }
    }

    /// Writes the answers that are next, and a call of the gate when none is under way.
    pub(super) fn flush(&mut self, now: Mono, reply: &mut Vec<String>) {
        while matches!(self.waiting.front(), Some(Waiting { stage: Stage::Ready(_), .. })) {
            if let Some(Waiting { stage: Stage::Ready(text), .. }) = self.waiting.pop_front() {
                reply.push(text);
            }
        }
        if self.call.is_none()
            && let Some(order) = self.orders.pop_front()
        {
            self.calls += 1;
            let id = format!("w{:x}-{}", self.began.unix_ms(), self.calls);
            reply.push(frame::call(&id, order.action, &order.payload));
            self.call = Some((id.into(), now));
        }
    }
}
