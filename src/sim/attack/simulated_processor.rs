//! A processor in an attacker's hands with sessions of its own: an attacker's charger presents what only it takes.

use super::charger_line::{ANSWER, ChargerLine, Incoming, charger_id, reading, start};
use super::processor_line::{ProcessorLine, processor_id};
use super::{Field, Trouble};
use crate::message::{Code, FromProcessor, ToCharger, ToProcessor};
use crate::payment::{Answer, CallbackId, CredentialKind, Operation, OperationKind, Outcome, ProcessorRef, Request};
use crate::units::{Amount, Energy, Power, ProcessorId, TimeSpan};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// A processor's connection, and what the gate made of its messages.
pub struct SimulatedProcessor {
    /// The connection.
    pub line: ProcessorLine,
    /// Its name.
    pub id: ProcessorId,
    /// The last operation of each kind that came in.
    pub operations: BTreeMap<OperationKind, Operation>,
    /// Messages without an answer yet.
    open: BTreeMap<CallbackId, SentMessage>,
}

/// A message, and what becomes of it where the gate is right.
#[derive(Clone, Debug)]
pub struct SentMessage {
    /// The message.
    pub message: FromProcessor,
    /// What it is.
    pub what: &'static str,
    /// Codes of right refusals; 0: acknowledged.
    pub right: &'static [u16],
}

/// What an attacker answers to an operation.
pub type Answering<'a> = &'a mut (dyn FnMut(&mut ProcessorLine, &Operation) -> Vec<SentMessage> + Send);

/// Acknowledged, or refused because it is not waited for any more: what becomes of an ordinary message.
const ORDINARY: &[u16] = &[0, 501, 507];

/// Validity of a hold that an attacker approves.
const HOLD_LIVES: TimeSpan = TimeSpan::from_secs(3_600);

impl SimulatedProcessor {
    /// Dials in for payments of the attacker's own currency.
    ///
    /// # Errors
    /// [`Trouble`]: the gate cannot be reached, or refuses what must be accepted.
    pub async fn open(field: &Field) -> Result<SimulatedProcessor, Trouble> {
        let id = processor_id(field, 0)?;
        let line = ProcessorLine::greeted(field, &id, &[CredentialKind::WalletToken]).await?;
        Ok(SimulatedProcessor { line, id, operations: BTreeMap::new(), open: BTreeMap::new() })
    }

    /// Runs a session of 100 Wh at an attacker's charger while the processor answers by `answering`. Returns true if
    /// it was admitted and its stop is durable.
    ///
    /// # Errors
    /// [`Trouble`]: the gate cannot be reached, or refuses what must be accepted.
    pub async fn session(&mut self, field: &Field, answering: Answering<'_>) -> Result<bool, Trouble> {
        let charging = charge(field);
        tokio::pin!(charging);
        loop {
            tokio::select! {
                done = &mut charging => return done,
                received = self.line.receive(ANSWER) => self.take(field, received, answering)?,
            }
        }
    }

    /// Answers for a while, or until an operation of this kind has come and was answered.
    ///
    /// # Errors
    /// [`Trouble`]: the gate cannot be reached, or refuses what must be accepted.
    pub async fn serve(
        &mut self,
        field: &Field,
        within: Duration,
        until: Option<OperationKind>,
        answering: Answering<'_>,
    ) -> Result<(), Trouble> {
        let deadline = Instant::now() + within;
        while !until.is_some_and(|kind| self.operations.contains_key(&kind)) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let received = self.line.receive(left).await;
            if !matches!(received, Incoming::Nothing) {
                self.take(field, received, answering)?;
            }
        }
        Ok(())
    }

    /// Sends a message and waits for its result.
    ///
    /// # Errors
    /// [`Trouble`]: the gate cannot be reached, or refuses what must be accepted.
    pub async fn ask(&mut self, field: &Field, question: SentMessage, answering: Answering<'_>) -> Result<(), Trouble> {
        let callback = self.send(question);
        let deadline = Instant::now() + ANSWER;
        while self.open.contains_key(&callback) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let received = self.line.receive(left).await;
            self.take(field, received, answering)?;
        }
        Ok(())
    }

    /// Counts what was never answered.
    pub fn done(self, field: &Field) {
        for question in self.open.into_values() {
            field.tally.violation(format!("{}: no answer", question.what));
        }
    }

    fn send(&mut self, question: SentMessage) -> CallbackId {
        self.line.send(&question.message);
        let callback = match &question.message {
            FromProcessor::Answer(answer) => answer.callback,
            FromProcessor::Notification(notification) => notification.callback,
            FromProcessor::Settlement(part) => part.callback,
            FromProcessor::Hello(_)
            | FromProcessor::Credit { .. }
            | FromProcessor::Drain(_)
            | FromProcessor::GoAway(_) => return CallbackId(0),
        };
        self.open.insert(callback, question);
        callback
    }

    fn take(
        &mut self,
        field: &Field,
        received: Incoming<ToProcessor>,
        answering: Answering<'_>,
    ) -> Result<(), Trouble> {
        match received {
            Incoming::Message(ToProcessor::Operation(operation)) => {
                for question in answering(&mut self.line, &operation) {
                    self.send(question);
                }
                self.operations.insert(operation.request.kind(), operation);
            }
            Incoming::Message(ToProcessor::Ack { callback }) => self.judged(field, callback, None),
            Incoming::Message(ToProcessor::Nack { callback, code, .. }) => self.judged(field, callback, Some(code)),
            Incoming::Message(_) | Incoming::Nothing => {}
            Incoming::Ended(ended) => return Err(Trouble(ended.text)),
        }
        Ok(())
    }

    fn judged(&mut self, field: &Field, callback: CallbackId, code: Option<Code>) {
        if let Some(question) = self.open.remove(&callback) {
            judge(field, question.what, &Incoming::Message(code), question.right);
        }
    }
}

/// A session at the attacker's charger, from its start to its durable stop.
async fn charge(field: &Field) -> Result<bool, Trouble> {
    let id = charger_id(field, field.round % 16)?;
    let mut line = ChargerLine::greeted(field, &id, Power::from_milliwatts(22_000_000)).await?;
    let (key, begin) = (field.fresh_key(0), field.now().wall);
    let first = Energy::from_watt_hours(5_000).unwrap_or(Energy::ZERO);
    let token = format!("evil-{}-{}", field.name, field.round);
    if line.start(start(key, CredentialKind::WalletToken, token.as_bytes(), begin, first)).await.is_err() {
        return Ok(false);
    }
    let after = |wh: i64| first.checked_add(Energy::from_watt_hours(wh).unwrap_or(Energy::ZERO)).unwrap_or(first);
    line.send_readings(key, &[reading(1, field.now().wall, after(50))]);
    let stopped = line.stop(key, reading(2, field.now().wall, after(100))).await;
    Ok(matches!(stopped, Incoming::Message(ToCharger::MeterAck(_) | ToCharger::Receipt(_))))
}

/// The right answer to an operation.
pub fn well(line: &mut ProcessorLine, operation: &Operation) -> Vec<SentMessage> {
    let currency = line.currency();
    let asked = match &operation.request {
        Request::Authorize { amount, .. } | Request::Capture { amount, .. } | Request::Refund { amount, .. } => *amount,
        Request::Increment { new_total, .. } | Request::Decrement { new_total, .. } => *new_total,
        Request::Void { .. } => Amount::new(0, currency),
        Request::Inquire { target } => {
            let outcome = line.done().get(target).cloned().unwrap_or(Outcome::NotFound);
            let message = of(line, operation, outcome);
            return vec![SentMessage { message, what: "inquiry answered", right: ORDINARY }];
        }
    };
    let message = approved(line, operation, asked);
    if let FromProcessor::Answer(answer) = &message {
        line.done().insert(operation.id, answer.outcome.clone());
    }
    vec![SentMessage { message, what: "operation answered", right: ORDINARY }]
}

/// An approval of this amount.
pub fn approved(line: &mut ProcessorLine, operation: &Operation, amount: Amount) -> FromProcessor {
    let expires_at = Some(line.now().saturating_add(HOLD_LIVES));
    let processor_ref = ProcessorRef("evil".into());
    of(line, operation, Outcome::Approved { amount, processor_ref, expires_at })
}

/// An answer to an operation.
pub fn of(line: &mut ProcessorLine, operation: &Operation, outcome: Outcome) -> FromProcessor {
    let callback = line.fresh_callback();
    FromProcessor::Answer(Answer { callback, operation: operation.id, hold: operation.hold, outcome })
}

/// Counts what became of a callback: right when it is one of these refusals (0: acknowledged).
pub fn judge(field: &Field, what: &str, verdict: &Incoming<Option<Code>>, right: &[u16]) {
    match verdict {
        Incoming::Message(code) => {
            let number = code.map_or(0, Code::number);
            let word = if number == 0 { "acknowledged".to_owned() } else { number.to_string() };
            if right.contains(&number) {
                field.tally.right(format!("{what}: {word}"))
            } else {
                field.tally.violation(format!("{what}: {word} instead of one of {right:?}"))
            }
        }
        Incoming::Ended(ended) => field.tally.violation(format!("{what}: {}", ended.text)),
        Incoming::Nothing => field.tally.violation(format!("{what}: no answer")),
    }
}
