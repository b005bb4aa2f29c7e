//! The gate's calls: one at a time, so that a charger is never asked two things at once.

use super::{About, Display, Known, OcppLink, Order, Outstanding, Remote, Stage, Waiting};
use crate::limits;
use crate::message::{ChargerOrder, OrderNumber, OrderOutcome};
use crate::ocpp::json::Object;
use crate::ocpp::{Version, frame, v2, v16};
use crate::payment::Credential;
use crate::units::{Mono, Now, SessionKey};
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
        }
        let about = About::Stop(session);
        let is_under_way = self.call.as_ref().is_some_and(|call| call.about == about)
            || self.orders.iter().any(|order| order.about == about);
        if !is_under_way && !self.enqueue(about, (action, payload), now) {
            return;
        }
        if let Some(known) = self.sessions.iter_mut().find(|known| known.session == session) {
            known.ordered = Some(now);
        }
    }

    /// When a stop is ordered again that the charger has not reported, or an order is too old to be sent.
    pub(super) fn orders_due(&self) -> Option<Mono> {
        let again = self.sessions.iter().filter_map(|known| Some(known.ordered?.after(limits::OCPP_STOP_AGAIN)));
        let old = self.orders.iter().filter(|order| matches!(order.about, About::Operator(_)));
        again.chain(old.map(|order| order.since.after(limits::OCPP_CALL_TIMEOUT))).min()
    }

    /// Orders stops again, and withdraws the orders of operators that have waited as long as their operators do.
    pub(super) fn repeat_orders(&mut self, now: Mono) {
        let due = |known: &&Known| known.ordered.is_some_and(|ordered| ordered.after(limits::OCPP_STOP_AGAIN) <= now);
        let again: Vec<SessionKey> = self.sessions.iter().filter(due).map(|known| known.session).collect();
        for session in again {
            self.order_stop(session, now);
        }
        let outcomes = &mut self.outcomes;
        self.orders.retain(|order| match order.about {
            About::Operator(number) if order.since.after(limits::OCPP_CALL_TIMEOUT) <= now => {
                let why = "the charger was busy with other calls: the order was not sent";
                outcomes.push((number, OrderOutcome::NotPossible(why.into())));
                false
            }
            _ => true,
        });
    }

    /// Queues a call, and returns whether there is room for it. Calls of the management system have places of their own, behind
    /// those of the gate: they never keep a stop from its charger.
    pub(super) fn enqueue(
        &mut self,
        about: About,
        (action, payload): (impl Into<Cow<'static, str>>, Value),
        now: Mono,
    ) -> bool {
        let is_forwarded = |about: About| matches!(about, About::Forwarded(_));
        let places = if is_forwarded(about) { limits::OCPP_FORWARDED_WAITING } else { limits::OCPP_SESSIONS_KNOWN };
        let taken = self.orders.iter().filter(|order| is_forwarded(order.about) == is_forwarded(about)).count();
        if taken >= places {
            return false;
        }
        let order = Order { about, action: action.into(), payload, since: now };
        match about {
            About::Stop(_) => {
                let stops = self.orders.iter().take_while(|order| matches!(order.about, About::Stop(_))).count();
                self.orders.insert(stops, order);
            }
            About::Operator(_) | About::Configuration | About::Display(..) => {
                let place = self.orders.iter().position(|order| is_forwarded(order.about));
                self.orders.insert(place.unwrap_or(self.orders.len()), order);
            }
            About::Forwarded(_) => self.orders.push_back(order),
        }
        true
    }

    /// Takes an operator's order.
    pub(super) fn order(&mut self, number: OrderNumber, order: &ChargerOrder, now: Now) {
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
        let refused = match call.map(|call| self.enqueue(About::Operator(number), call, now.mono)) {
            Some(true) => return,
            Some(false) => "too many calls wait for the charger",
            None => "the token has more than the 20 characters of OCPP 1.6",
        };
        self.outcomes.push((number, OrderOutcome::NotPossible(refused.into())));
    }

    /// Keeps the credential of an ordered start, and returns the number of the order: it grows, over connections too.
    fn remember_start(&mut self, credential: &Credential, now: Now) -> i64 {
        let before = self.remote.back().map_or(0, |remote| remote.id);
        let seconds = now.wall.unix_ms().div_euclid(1_000).rem_euclid(i64::from(i32::MAX));
        let id = seconds.max(before.saturating_add(1));
        if self.remote.len() >= limits::OCPP_STARTS_REMEMBERED {
            self.remote.pop_front();
        }
        self.remote.push_back(Remote { id, credential: credential.clone(), since: now.mono, began: None });
        id
    }

    /// The credential of the ordered start that an event names. It is good for one session, and not for ever.
    pub(super) fn ordered_credential(&mut self, id: Option<i64>, name: &str, now: Mono) -> Option<Credential> {
        let remote = self.remote.iter_mut().find(|remote| Some(remote.id) == id)?;
        match &remote.began {
            Some(began) if **began != *name => return None,
            None if remote.since.after(limits::OCPP_AUTHORIZED_MAX) <= now => return None,
            Some(_) | None => remote.began = Some(name.into()),
        }
        Some(remote.credential.clone())
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
