//! The gate's calls: one at a time, so that a charger is never asked two things at once.

use super::{About, Display, Known, OcppLink, Order, Outstanding, Remote, Stage, Waiting};
use crate::limits;
use crate::message::{ChargerOrder, OrderNumber, OrderOutcome};
use crate::ocpp::json::Object;
use crate::ocpp::{Version, frame, v2, v16};
use crate::payment::Credential;
use crate::units::{Mono, SessionKey, Timestamp};
use serde_json::Value;
use std::borrow::Cow;

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
        self.enqueue(About::Stop(session), (action, payload));
    }

    /// Queues a call of the gate, and returns whether there is room for it.
    pub(super) fn enqueue(&mut self, about: About, (action, payload): (impl Into<Cow<'static, str>>, Value)) -> bool {
        let has_room = self.orders.len() < limits::OCPP_SESSIONS_KNOWN;
        let order = Order { about, action: action.into(), payload };
        match about {
            _ if !has_room => {}
            About::Stop(_) => self.orders.push_front(order),
            About::Operator(_) | About::Forwarded(_) | About::Configuration | About::Display(..) => {
                self.orders.push_back(order);
            }
        }
        has_room
    }

    /// Takes an operator's order.
    pub(super) fn order(&mut self, number: OrderNumber, order: &ChargerOrder, now: Timestamp) {
        let version = self.settings.version;
        let call = match order {
            ChargerOrder::Start { connector, credential } => {
                let id = self.remember_start(credential, now);
                match version {
                    Version::V16 => v16::start(credential, *connector),
                    Version::V201 | Version::V21 => Some(v2::start(version, credential, *connector, id)),
                }
            }
            ChargerOrder::Trigger { message, connector } => Some(match version {
                Version::V16 => v16::trigger(*message, *connector),
                Version::V201 | Version::V21 => v2::trigger(*message, *connector),
            }),
        };
        let refused = match call.map(|call| self.enqueue(About::Operator(number), call)) {
            Some(true) => return,
            Some(false) => "too many calls wait for the charger",
            None => "the token has more than the 20 characters of OCPP 1.6",
        };
        self.outcomes.push((number, OrderOutcome::NotPossible(refused.into())));
    }

    /// Keeps the credential of an ordered start, and returns the number of the order: it grows, over connections too.
    fn remember_start(&mut self, credential: &Credential, now: Timestamp) -> i64 {
        let before = self.remote.back().map_or(0, |remote| remote.id);
        let seconds = now.unix_ms().div_euclid(1_000).rem_euclid(i64::from(i32::MAX));
        let id = seconds.max(before.saturating_add(1));
        if self.remote.len() >= limits::OCPP_STARTS_REMEMBERED {
            self.remote.pop_front();
        }
        self.remote.push_back(Remote { id, credential: credential.clone() });
        id
    }

    /// A token that comes back from an ordered start is of the kind that was ordered: the protocols name other kinds, or none.
    pub(super) fn as_ordered(&self, credential: Credential) -> Credential {
        let ordered = self.remote.iter().rev().find(|remote| remote.credential.token == credential.token);
        ordered.map_or(credential, |remote| remote.credential.clone())
    }

    /// The charger answers a call of the gate.
    pub(super) fn call_answered(&mut self, about: About, payload: &Value) {
        let status = Object::of(payload).text("status").unwrap_or_default();
        match about {
            About::Operator(number) => {
                let outcome = match &*status {
                    "Accepted" => OrderOutcome::Accepted,
                    "NotImplemented" | "NotSupported" => {
                        OrderOutcome::NotPossible("the charger does not support the order".into())
                    }
                    other => OrderOutcome::Refused(super::name(other).into()),
                };
                self.outcomes.push((number, outcome));
            }
            About::Configuration => {
                self.display = if v16::shows_costs(payload) { Display::Shows } else { Display::Absent };
            }
            About::Forwarded(number) => self.answer_behind(number, Ok(payload)),
            About::Display(..) if status != "Accepted" => self.display = Display::Absent,
            About::Display(..) | About::Stop(_) => {}
        }
    }

    /// The charger answers a call of the gate by an error.
    pub(super) fn call_refused(&mut self, about: About, code: &str, description: &str) {
        match about {
            About::Operator(number) => {
                let outcome = match code {
                    "NotImplemented" | "NotSupported" => {
                        OrderOutcome::NotPossible("the charger does not support the order".into())
                    }
                    other => OrderOutcome::Refused(super::name(other).into()),
                };
                self.outcomes.push((number, outcome));
            }
            About::Forwarded(number) => self.answer_behind(number, Err((code, description))),
            About::Configuration | About::Display(..) => self.display = Display::Absent,
            About::Stop(_) => {}
        }
    }

    /// The charger has not answered a call of the gate in time.
    pub(super) fn call_unanswered(&mut self, about: About) {
        match about {
            About::Operator(number) => self.outcomes.push((number, OrderOutcome::Unanswered)),
            About::Forwarded(number) => {
                self.answer_behind(number, Err(("GenericError", "the charger has not answered in time")));
            }
            About::Configuration | About::Display(..) => self.display = Display::Absent,
            About::Stop(_) => {}
        }
    }

    /// Writes the answers that are next, and a call of the gate when none is under way.
    pub(super) fn flush(&mut self, now: Mono, reply: &mut Vec<String>) {
        let mut place = 0;
        while let Some(waiting) = self.waiting.get(place) {
            match waiting.stage {
                Stage::Ready(_) => {
                    if let Some(Waiting { stage: Stage::Ready(text), .. }) = self.waiting.remove(place) {
                        reply.push(text);
                    }
                }
                // Money does not wait for the management system.
                Stage::Forwarded { .. } => place += 1,
                _ => break,
            }
        }
        if self.call.is_none()
            && let Some(order) = self.orders.pop_front()
        {
            self.calls += 1;
            let id = format!("w{:x}-{}", self.began.unix_ms(), self.calls);
            reply.push(frame::call(&id, &order.action, &order.payload));
            self.call = Some(Outstanding { id: id.into(), since: now, about: order.about });
        }
    }
}
