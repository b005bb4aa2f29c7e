//! A management system behind the gate: it gets what is not about money, and calls the charger as if nothing was between them.
//!
//! ```text
//!   charger ── about money ───────────────▶ gate
//!           ── boot, status, heartbeat ──▶ gate, and a copy ──▶ management system
//!           ── anything else ────────────────────────────────▶ management system, which answers
//!           ◀── its calls, one at a time with those of the gate ──
//! ```
//!
//! Ids of calls are rewritten both ways. Where the management system is away or slow the gate answers itself, as it does
//! without one: a charger never waits for it longer than [`limits::OCPP_FORWARD_TIMEOUT`], and money does not wait at all.

use super::{About, OcppLink, Stage};
use crate::limits;
use crate::ocpp::frame::{self, Frame};
use crate::units::{Mono, Now};
use serde_json::Value;
use std::collections::VecDeque;

/// What is known of the management system.
#[derive(Default)]
pub(super) struct Forwarding {
    state: State,
    /// Texts for it, in their order.
    texts: VecDeque<String>,
    /// Calls that were passed to it so far.
    calls: u64,
    /// Its calls that the charger has not answered: our number, its id.
    theirs: VecDeque<(u64, Box<str>)>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// It is dialled for the first time: what is for it waits.
    #[default]
    Dialled,
    /// It is there.
    Open,
    /// It is away: the gate answers itself.
    Away,
}

/// Who gets a call of a charger.
enum Receiver {
    /// The gate alone: it is about money.
    Gate,
    /// The gate answers, and the management system gets a copy.
    Both,
    /// The management system answers.
    Behind,
}

fn receiver(action: &str) -> Receiver {
    match action {
        "Authorize" | "StartTransaction" | "StopTransaction" | "MeterValues" | "TransactionEvent"
        | "NotifySettlement" => Receiver::Gate,
        "BootNotification" | "Heartbeat" | "StatusNotification" => Receiver::Both,
        _ => Receiver::Behind,
    }
}

impl OcppLink {
    /// The management system is there.
    pub fn behind_opened(&mut self) {
        if let Some(behind) = &mut self.behind {
            behind.state = State::Open;
        }
    }

    /// The management system is away: what waits for it is answered here.
    pub fn behind_closed(&mut self) {
        let Some(behind) = &mut self.behind else { return };
        **behind = Forwarding { state: State::Away, calls: behind.calls, ..Forwarding::default() };
        self.orders.retain(|order| !matches!(order.about, About::Forwarded(_)));
        for waiting in &mut self.waiting {
            waiting.stage.answer_here();
        }
    }

    /// Takes a message of the management system. Messages for the charger are appended to `reply`; what goes on by it goes on
    /// in [`OcppLink::on_deadline`], which is due at once then.
    pub fn receive_from_behind(&mut self, text: &[u8], now: Now, reply: &mut Vec<String>) {
        match frame::read(text) {
            Ok(Frame::Call { id, action, payload }) => {
                self.order_from_behind(id, (String::from(action), payload), now.mono);
            }
            // 2.1: nothing that the gate or the charger waits for.
            Ok(Frame::Send { .. }) => {}
            Ok(Frame::Result { id, payload }) if payload.is_object() => {
                self.answered_from_behind(&id, |call| frame::result(call, &payload));
            }
            // No answer that a charger could read: the gate answers itself when the time is over.
            Ok(Frame::Result { .. }) => {}
            Ok(Frame::Error { id, code, description }) => {
                self.answered_from_behind(&id, |call| frame::error(call, &code, &description));
            }
            Err(error) => {
                let refused = frame::error(error.id(), error.code(self.settings.version), &error.to_string());
                self.tell_behind(refused);
            }
        }
        self.flush(now.mono, reply);
    }

    /// Texts for the management system, in their order.
    pub fn texts_for_behind(&mut self) -> impl Iterator<Item = String> + '_ {
        let open = self.behind.as_mut().filter(|behind| behind.state == State::Open);
        open.into_iter().flat_map(|behind| behind.texts.drain(..))
    }

    /// Passes a call of the charger on, and returns its id there where the management system is to answer it.
    pub(super) fn pass_behind(&mut self, action: &str, payload: &Value) -> Option<Box<str>> {
        let behind = self.behind.as_mut().filter(|behind| behind.state != State::Away)?;
        let answers = match receiver(action) {
            Receiver::Gate => return None,
            Receiver::Both => false,
            Receiver::Behind => true,
        };
        if behind.texts.len() >= limits::OCPP_FORWARDED_WAITING {
            return None;
        }
        behind.calls += 1;
        let id: Box<str> = format!("g{:x}-{}", self.began.unix_ms(), behind.calls).into();
        behind.texts.push_back(frame::call(&id, action, payload));
        answers.then_some(id)
    }

    /// Passes on what the charger sends without waiting for an answer (2.1).
    pub(super) fn pass_unanswered(&mut self, action: &str, payload: &Value) {
        if matches!(receiver(action), Receiver::Behind)
            && let Some(behind) = &self.behind
        {
            let id = format!("s{:x}-{}", self.began.unix_ms(), behind.calls);
            self.tell_behind(frame::send(&id, action, payload));
        }
    }

    /// When a call is answered here that the management system has not answered.
    pub(super) fn own_answer_due(&self) -> Option<Mono> {
        let forwarded = self.waiting.iter().filter(|waiting| matches!(waiting.stage, Stage::Forwarded { .. }));
        forwarded.map(|waiting| waiting.since.after(limits::OCPP_FORWARD_TIMEOUT)).min()
    }

    /// Answers here what the management system has not answered in time.
    pub(super) fn answer_instead(&mut self, now: Mono) {
        for waiting in &mut self.waiting {
            if waiting.since.after(limits::OCPP_FORWARD_TIMEOUT) <= now {
                waiting.stage.answer_here();
            }
        }
    }

    /// Gives the management system the charger's answer to its call.
    pub(super) fn answer_behind(&mut self, number: u64, answer: Result<&Value, (&str, &str)>) {
        let Some(behind) = &mut self.behind else { return };
        let place = behind.theirs.iter().position(|(ours, _)| *ours == number);
        let Some((_, id)) = place.and_then(|place| behind.theirs.remove(place)) else { return };
        self.tell_behind(match answer {
            Ok(payload) => frame::result(&id, payload),
            Err((code, description)) => frame::error(&id, code, description),
        });
    }

    /// The management system calls the charger.
    fn order_from_behind(&mut self, id: Box<str>, call: (String, Value), now: Mono) {
        let Some(behind) = &mut self.behind else { return };
        if behind.theirs.iter().any(|(_, waiting)| *waiting == id) {
            // The same call again while it is under way.
            return;
        }
        behind.calls += 1;
        let number = behind.calls;
        behind.theirs.push_back((number, id));
        if !self.enqueue(About::Forwarded(number), call, now) {
            self.answer_behind(number, Err(("GenericError", "too many calls wait for the charger")));
        }
    }

    fn answered_from_behind(&mut self, id: &str, answer: impl FnOnce(&str) -> String) {
        let waiting = self
            .waiting
            .iter_mut()
            .find(|waiting| matches!(&waiting.stage, Stage::Forwarded { id: there, .. } if **there == *id));
        if let Some(waiting) = waiting {
            waiting.stage = Stage::Ready(answer(&waiting.id));
        }
    }

    fn tell_behind(&mut self, text: String) {
        if let Some(behind) = &mut self.behind
            && behind.state == State::Open
            && behind.texts.len() < limits::OCPP_FORWARDED_WAITING
        {
            behind.texts.push_back(text);
        }
    }
}

impl Stage {
    /// The gate answers what the management system does not.
    fn answer_here(&mut self) {
        if let Stage::Forwarded { .. } = self
            && let Stage::Forwarded { own, .. } = std::mem::replace(self, Stage::Ready(String::new()))
        {
            *self = Stage::Unread(own);
        }
    }
}
