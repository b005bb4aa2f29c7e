//! The node's answers: calls of the charger that waited for them are answered, or go on.

use super::{About, Beginning, Decided, Fenced, Known, OcppLink, Stage};
use crate::limits;
use crate::message::{Answer, Bill, Ticket};
use crate::ocpp::call::{Event, TokenAnswer, major};
use crate::ocpp::{Version, frame, v2, v16};
use crate::units::{Now, SessionKey};
use serde_json::json;

impl OcppLink {
    pub(super) fn answered(&mut self, answer: &Answer, now: Now) {
        match answer {
            Answer::Authorized { ticket, refused } => self.authorized(*ticket, &TokenAnswer::new(*refused), now),
            Answer::Funds { ticket, funds } => {
                self.authorized(*ticket, &TokenAnswer::with(funds.refused, funds), now);
                self.change_beginning(|beginning| {
                    (beginning.ticket == *ticket).then(|| beginning.funds = Some(funds.clone())).is_some()
                });
            }
            Answer::Begun { ticket, session, is_new, funds_follow } => {
                let mut name = None;
                self.change_beginning(|beginning| {
                    if beginning.ticket != *ticket {
                        return false;
                    }
                    (beginning.session, beginning.funds_follow) = (Some((*session, *is_new)), *funds_follow);
                    name = Some(beginning.event.as_ref().map(|event| event.name.clone()));
                    true
                });
                if let Some(name) = name {
                    self.know(*session, name);
                }
            }
            Answer::Passed { ticket, bill } => self.passed(*ticket, *bill, now),
            Answer::Open { session, name } => self.know(*session, name.clone()),
        }
    }

    fn authorized(&mut self, ticket: Ticket, token: &TokenAnswer, now: Now) {
        let payload = self.authorized_as(token, now.wall);
        for waiting in &mut self.waiting {
            if let Stage::Authorizing { ticket: of, credential } = &waiting.stage
                && *of == ticket
            {
                self.authorized = token.refused.is_none().then(|| (credential.clone(), waiting.since));
                waiting.stage = Stage::Ready(frame::result(&waiting.id, &payload));
                return;
            }
        }
    }

    pub(super) fn decided(&mut self, session: SessionKey, decided: Decided) {
        self.change_beginning(|beginning| {
            let is_it = beginning.session.is_some_and(|(of, _)| of == session);
            is_it.then(|| beginning.decided = Some(decided)).is_some()
        });
    }

    /// Changes the beginning that `change` knows, and lets its call go on when everything is known.
    fn change_beginning(&mut self, mut change: impl FnMut(&mut Beginning) -> bool) {
        let sessions = &mut self.sessions;
        for waiting in &mut self.waiting {
            let Stage::Beginning(beginning) = &mut waiting.stage else { continue };
            if !change(beginning) {
                continue;
            }
            if let Some((session, token)) = beginning.outcome() {
                if let Some(known) = sessions.iter_mut().find(|known| known.session == session) {
                    known.limit = token.limit.filter(|_| token.refused.is_none());
                }
                waiting.stage = match beginning.event.take() {
                    None => Stage::Ready(frame::result(&waiting.id, &v16::started(session, &token))),
                    Some(event) => {
                        let token = event.has_token.then_some(token);
                        Stage::Decided(event, token)
                    }
                };
            }
            return;
        }
    }

    fn passed(&mut self, ticket: Ticket, bill: Option<Bill>, now: Now) {
        let version = self.settings.version;
        let mut ended = None;
        for waiting in &mut self.waiting {
            let Stage::Fenced { ticket: of, answer } = &waiting.stage else { continue };
            if *of != ticket {
                continue;
            }
            let payload = match answer {
                Fenced::Plain(payload) => payload.clone(),
                Fenced::Event { ends, name, token, limit } => {
                    ended = ends.then(|| name.clone());
                    // Of a session that goes on after the end of its transaction nothing final is known.
                    let bill = bill.filter(|bill| bill.is_final || !ends);
                    let mut answer = v2::event_answered(version, bill, token.as_ref(), now.wall);
                    if let (Some(limit), Version::V21) = (limit, version) {
                        answer["transactionLimit"] = json!({"maxCost": major(*limit)});
                    }
                    answer
                }
            };
            waiting.stage = Stage::Ready(frame::result(&waiting.id, &payload));
            break;
        }
        if let Some(name) = ended {
            self.sessions.retain(|known| known.name.as_ref() != Some(&name));
        }
        match bill {
            Some(bill) if bill.is_final => self.forget(bill.session),
            Some(bill) => self.show_running(bill, now),
            None => {}
        }
    }

    fn know(&mut self, session: SessionKey, name: Option<Box<str>>) {
        self.sessions.retain(|known| known.session != session && (name.is_none() || known.name != name));
        if self.sessions.len() >= limits::OCPP_SESSIONS_KNOWN {
            self.sessions.pop_front();
        }
        self.sessions.push_back(Known { session, name, ordered: None, register: None, displayed: None, limit: None });
    }

    /// A session is over: nothing is ordered for it any more.
    pub(super) fn forget(&mut self, session: SessionKey) {
        self.sessions.retain(|known| known.session != session);
        self.orders.retain(|order| order.about != About::Stop(session));
    }
}

impl Beginning {
    pub(super) fn new(ticket: Ticket, event: Option<Box<Event>>) -> Beginning {
        Beginning {
            ticket,
            token: Box::default(),
            session: None,
            event,
            funds_follow: false,
            funds: None,
            decided: None,
        }
    }

    /// The session and what is decided about its credential, when all of it has come.
    pub(super) fn outcome(&self) -> Option<(SessionKey, TokenAnswer)> {
        let ((session, is_new), Decided { refused, held }) = (self.session?, self.decided?);
        let Some(funds) = &self.funds else {
            return (!self.funds_follow).then(|| (session, TokenAnswer::new(refused)));
        };
        // A hold that was there before is not in what is available now.
        let held = held.filter(|_| !is_new);
        let limit = funds.available.map(|available| match held.map(|held| available.checked_add(held)) {
            Some(Ok(limit)) => limit,
            Some(Err(_)) | None => available,
        });
        Some((session, TokenAnswer { limit, ..TokenAnswer::with(refused, funds) }))
    }
}
