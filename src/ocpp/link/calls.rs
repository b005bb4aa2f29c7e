//! The charger's calls: what each reports leaves for the node, and which of them may be taken now.

use super::{Beginning, Early, Fenced, OcppLink, Stage, Token, name, to_node, unnumbered};
use crate::billing::meter_signature::SignedValue;
use crate::limits;
use crate::message::{Begin, Code, ConnectorStatus, FromCharger, Received, SessionName, StopReason, Unnumbered};
use crate::ocpp::call::{Call, Event, EventKind, Noted, Start, TokenAnswer};
use crate::ocpp::{Version, frame, v2, v16};
use crate::payment::Credential;
use crate::units::{Amount, ConnectorId, MeterReading, Now, Timestamp};
use serde_json::{Value, json};

impl OcppLink {
    /// The call that is next to be taken.
    fn next(&self) -> Option<usize> {
        for (place, waiting) in self.waiting.iter().enumerate() {
            match waiting.stage {
                Stage::Unread(_) | Stage::Decided(..) => return Some(place),
                Stage::Beginning(_) => return None,
                Stage::Authorizing { .. } | Stage::Forwarded { .. } | Stage::Fenced { .. } | Stage::Ready(_) => {}
            }
        }
        None
    }

    pub(super) fn may_go_on(&self) -> bool {
        self.next().is_some() || !self.outcomes.is_empty()
    }

    /// Takes calls until one has to wait, and writes what can be answered.
    pub(super) fn advance(&mut self, now: Now, messages: &mut Vec<Received<FromCharger>>, reply: &mut Vec<String>) {
        while let Some(place) = self.next() {
            let Some(waiting) = self.waiting.get_mut(place) else { break };
            let stage = std::mem::replace(&mut waiting.stage, Stage::Ready(String::new()));
            let id = waiting.id.clone();
            let stage = match stage {
                Stage::Unread(call) => self.take(&id, call, now, messages),
                Stage::Decided(event, token) => self.report(*event, token, messages),
                other @ (Stage::Authorizing { .. }
                | Stage::Forwarded { .. }
                | Stage::Beginning(_)
                | Stage::Fenced { .. }
                | Stage::Ready(_)) => other,
            };
            if let Some(waiting) = self.waiting.get_mut(place) {
                waiting.stage = stage;
            }
        }
        for (number, outcome) in self.outcomes.drain(..) {
            messages.push(unnumbered(Unnumbered::Ordered { number, outcome }));
        }
        self.flush(now.mono, reply);
    }

    /// Takes one call.
    fn take(&mut self, id: &str, call: Call, now: Now, messages: &mut Vec<Received<FromCharger>>) -> Stage {
        let ready = |payload: Value| Stage::Ready(frame::result(id, &payload));
        match call {
            Call::Boot { firmware, is_triggered } => {
                messages.push(to_node(FromCharger::Hello(self.hello(now, &name(&firmware)))));
                if !is_triggered {
                    messages.push(unnumbered(Unnumbered::Restarted));
                }
                self.ask_display(now.mono);
                let interval = self.settings.heartbeat.whole_secs();
                ready(json!({"currentTime": now.wall.to_rfc3339(), "interval": interval, "status": "Accepted"}))
            }
            Call::Heartbeat => ready(json!({"currentTime": now.wall.to_rfc3339()})),
            Call::Status { connector, state, at } => {
                if let (Some(connector), Some(state)) = (connector, state) {
                    let status = ConnectorStatus { connector, state, at, text: Box::default() };
                    let power_max = self.settings.power_max;
                    messages.push(unnumbered(Unnumbered::Status { status, power_max }));
                }
                ready(json!({}))
            }
            Call::Authorize { credential: None } => {
                let token = TokenAnswer::new(Some(Code::CredentialNotAccepted));
                ready(self.authorized_as(&token, now.wall))
            }
            Call::Authorize { credential: Some(credential) } => {
                let ticket = self.ticket();
                messages.push(unnumbered(Unnumbered::Authorize { ticket, credential: credential.clone() }));
                Stage::Authorizing { ticket, credential }
            }
            Call::Start(start) => self.begin_16(*start, messages),
            Call::Readings { session: None, .. } => ready(json!({})),
            Call::Readings { session: Some(session), readings, signed } => {
                self.note_register(&session, &readings);
                sign(&session, signed, messages);
                sample(&session, readings, messages);
                self.fence(Some(session), Fenced::Plain(json!({})), messages)
            }
            Call::Stop { session, readings, signed, reason, has_token, credential } => {
                sign(&session, signed, messages);
                end(&session, readings, (reason, credential), messages);
                let answer = if has_token { v16::authorized(&TokenAnswer::default()) } else { json!({}) };
                self.fence(Some(session), Fenced::Plain(answer), messages)
            }
            Call::Event(event) => self.event(*event, now, messages),
            Call::Noted(noted) => ready(match noted {
                Noted::Empty => json!({}),
                Noted::UnknownVendor => json!({"status": "UnknownVendorId"}),
                Noted::Rejected => json!({"status": "Rejected"}),
                Noted::Accepted => json!({"status": "Accepted"}),
            }),
            Call::Refused { is_known } => {
                let code = if is_known { "NotSupported" } else { "NotImplemented" };
                Stage::Ready(frame::error(id, code, "this is not served here"))
            }
        }
    }

    pub(super) fn authorized_as(&self, token: &TokenAnswer, now: Timestamp) -> Value {
        match self.settings.version {
            Version::V16 => v16::authorized(token),
            Version::V201 | Version::V21 => v2::authorized(token, now),
        }
    }

    /// A StartTransaction. One without a token that can be read begins a session that is refused: it needs a number.
    fn begin_16(&mut self, start: Start, messages: &mut Vec<Received<FromCharger>>) -> Stage {
        let Start { connector, credential, at, register } = start;
        let credential = credential.map(|credential| self.as_ordered(credential));
        let token = credential.as_ref().map(|credential| String::from_utf8_lossy(&credential.token).into());
        let begin = Begin {
            ticket: self.ticket(),
            name: None,
            stated: at.text,
            is_first: true,
            protocol: self.settings.version.protocol(),
            connector,
            power_max: self.settings.power_max,
            credential,
            at: at.at,
            register,
        };
        let beginning = Beginning { token: token.unwrap_or_default(), ..Beginning::new(begin.ticket, None) };
        messages.push(unnumbered(Unnumbered::Begin(Box::new(begin))));
        Stage::Beginning(beginning)
    }

    /// A TransactionEvent: it begins a session when its transaction has a credential for the first time.
    fn event(&mut self, event: Event, now: Now, messages: &mut Vec<Received<FromCharger>>) -> Stage {
        let known = self.sessions.iter().any(|known| known.name.as_deref() == Some(&*event.name));
        let begins = match event.kind {
            EventKind::Started => true,
            EventKind::Updated => !known,
            EventKind::Ended => false,
        };
        let remote = begins.then(|| self.ordered_credential(event.remote, &event.name, now.mono)).flatten();
        let presented = || {
            let (credential, at) = self.authorized.as_ref()?;
            // Some chargers present a credential in an Authorize only.
            (event.is_charging && at.after(limits::OCPP_AUTHORIZED_MAX) > now.mono).then(|| credential.clone())
        };
        let own = event.credential.clone().map(|credential| self.as_ordered(credential));
        let credential = begins.then(|| own.or(remote).or_else(presented)).flatten();
        let Some(credential) = credential else {
            if event.kind == EventKind::Started {
                self.remember_early(&event);
            }
            let refused = event.credential.is_none().then_some(Code::CredentialNotAccepted);
            let token = event.has_token.then(|| TokenAnswer::new(refused));
            return self.report(event, token, messages);
        };
        let early = self.early.iter().position(|early| early.name == event.name);
        let early = early.and_then(|place| self.early.remove(place));
        let (mut event, ticket) = (event, self.ticket());
        let register = event.begin.or(early.as_ref().and_then(|early| early.register));
        let register = match register {
            Some(register) => Some(register),
            // The first value that is reported is the one at the beginning.
            None if !event.readings.is_empty() => Some(event.readings.remove(0).register),
            None => None,
        };
        let begin = Begin {
            ticket,
            name: Some(event.name.clone()),
            stated: early.as_ref().map_or_else(|| event.at.text.clone(), |early| early.stated.clone()),
            is_first: event.kind == EventKind::Started,
            protocol: self.settings.version.protocol(),
            connector: event.connector.or(early.and_then(|early| early.connector)).unwrap_or(ConnectorId(1)),
            power_max: self.settings.power_max,
            credential: Some(credential),
            at: event.at.at,
            register,
        };
        messages.push(unnumbered(Unnumbered::Begin(Box::new(begin))));
        Stage::Beginning(Beginning::new(ticket, Some(Box::new(event))))
    }

    fn remember_early(&mut self, event: &Event) {
        self.early.retain(|early| early.name != event.name);
        if self.early.len() >= limits::OCPP_SESSIONS_KNOWN {
            self.early.pop_front();
        }
        self.early.push_back(Early {
            name: event.name.clone(),
            stated: event.at.text.clone(),
            connector: event.connector,
            register: event.begin.or(event.readings.first().map(|reading| reading.register)),
        });
    }

    /// The limit of the gate, where the charger has set itself a higher one.
    fn overruled(&self, event: &Event) -> Option<Amount> {
        let known = self.sessions.iter().find(|known| known.name.as_deref() == Some(&*event.name))?;
        known.limit.filter(|limit| event.cost_limit.is_some_and(|stated| stated > limit.major()))
    }

    /// What an event reports, when it is decided whether its session may have energy.
    fn report(&mut self, event: Event, token: Token, messages: &mut Vec<Received<FromCharger>>) -> Stage {
        let limit = self.overruled(&event);
        let session = SessionName::Text(event.name.clone());
        if event.resumes {
            messages.push(unnumbered(Unnumbered::Resumed { session: session.clone() }));
        }
        sign(&session, event.signed, messages);
        match event.kind {
            EventKind::Started | EventKind::Updated => sample(&session, event.readings, messages),
            EventKind::Ended => end(&session, event.readings, (event.reason, event.credential), messages),
        }
        let (sequence, is_offline) = (event.sequence, event.is_offline);
        if sequence.is_some() || is_offline {
            let session = session.clone();
            messages.push(unnumbered(Unnumbered::Event { session, sequence, is_offline }));
        }
        let answer = Fenced::Event { ends: event.kind == EventKind::Ended, name: event.name, token, limit };
        self.fence(Some(session), answer, messages)
    }

    fn fence(
        &mut self,
        session: Option<SessionName>,
        answer: Fenced,
        messages: &mut Vec<Received<FromCharger>>,
    ) -> Stage {
        let ticket = self.ticket();
        messages.push(unnumbered(Unnumbered::Fence { ticket, session }));
        Stage::Fenced { ticket, answer }
    }
}

fn sign(session: &SessionName, signed: Vec<SignedValue>, messages: &mut Vec<Received<FromCharger>>) {
    for value in signed {
        messages.push(unnumbered(Unnumbered::Signed { session: session.clone(), value: Box::new(value) }));
    }
}

fn sample(session: &SessionName, readings: Vec<MeterReading>, messages: &mut Vec<Received<FromCharger>>) {
    for reading in readings {
        messages.push(unnumbered(Unnumbered::Sample { session: session.clone(), reading }));
    }
}

/// The last reading ends the session.
fn end(
    session: &SessionName,
    mut readings: Vec<MeterReading>,
    (reason, credential): (StopReason, Option<Credential>),
    messages: &mut Vec<Received<FromCharger>>,
) {
    let last = readings.pop();
    sample(session, readings, messages);
    messages.push(unnumbered(Unnumbered::End { session: session.clone(), last, reason, credential }));
}
