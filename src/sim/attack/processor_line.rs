//! A hostile processor's connection, driven message by message.

use super::charger_line::{ANSWER, Ended, Incoming};
use super::{Field, Trouble};
use crate::message::{Code, FromProcessor, ProcessorHello, Subject, ToProcessor};
use crate::payment::{CallbackId, Capabilities, CredentialKind, Outcome};
use crate::sim::pipe::{Duplex, Pipe, PipeEvent};
use crate::sim::processor::Settings;
use crate::units::{Clock, Currency, OpId, ProcessorId, TimeSpan, Timestamp};
use crate::wire::ProcessorClientLink;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A connection as a processor.
pub struct ProcessorLine {
    pipe: Pipe,
    link: ProcessorClientLink,
    clock: Arc<dyn Clock>,
    came: VecDeque<ToProcessor>,
    ended: Option<Ended>,
    next_callback: u128,
    currency: Currency,
    done: BTreeMap<OpId, Outcome>,
}

impl ProcessorLine {
    /// Over a stream.
    pub fn over(stream: Box<dyn Duplex>, id: &ProcessorId, field: &Field) -> ProcessorLine {
        let clock = Arc::clone(&field.ways.clock);
        let now = clock.now();
        let link = ProcessorClientLink::new(id.clone(), None, now.mono);
        let next_callback = u128::from(now.wall.unix_ms().unsigned_abs()) << 64;
        ProcessorLine {
            pipe: Pipe::new(stream),
            link,
            clock,
            came: VecDeque::new(),
            ended: None,
            next_callback,
            currency: field.currency,
            done: BTreeMap::new(),
        }
    }

    /// Connects as a processor.
    ///
    /// # Errors
    /// [`Trouble`]: the gate cannot be reached, or refuses what must be accepted.
    pub async fn dial(field: &Field, id: &ProcessorId) -> Result<ProcessorLine, Trouble> {
        Ok(ProcessorLine::over(field.dial(&Subject::Processor(id.clone())).await?, id, field))
    }

    /// Connects as a processor that takes such credentials, and is greeted. With none it gets no operations.
    ///
    /// # Errors
    /// [`Trouble`]: the gate cannot be reached, or refuses what must be accepted.
    pub async fn greeted(
        field: &Field,
        id: &ProcessorId,
        credentials: &[CredentialKind],
    ) -> Result<ProcessorLine, Trouble> {
        let mut line = ProcessorLine::dial(field, id).await?;
        line.send_hello(id, credentials);
        match line.receive(ANSWER).await {
            Incoming::Message(ToProcessor::HelloAck(_)) => Ok(line),
            Incoming::Message(other) => Err(Trouble(format!("instead of a greeting: {other:?}"))),
            Incoming::Ended(ended) => Err(Trouble(ended.text)),
            Incoming::Nothing => Err(Trouble("no greeting in time".to_owned())),
        }
    }

    /// Introduces itself.
    pub fn send_hello(&mut self, id: &ProcessorId, credentials: &[CredentialKind]) {
        let capabilities = capabilities_in(self.currency, id, credentials);
        let clock = self.clock.now().wall;
        let hello = ProcessorHello { processor: id.clone(), instance: "evil".into(), capabilities, clock };
        self.send(&FromProcessor::Hello(hello));
    }

    /// Sends a message, unless it exceeds a frame.
    pub fn send(&mut self, message: &FromProcessor) {
        let _ = self.link.send(message, self.clock.now().mono, self.pipe.out());
    }

    /// Sends raw bytes.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.pipe.out().extend_from_slice(bytes);
    }

    /// The currency that it takes.
    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// Outcomes of its operations, for inquiries. A line lasts for a round, so these are few.
    pub fn done(&mut self) -> &mut BTreeMap<OpId, Outcome> {
        &mut self.done
    }

    /// Its clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now().wall
    }

    /// A number for a message that was never used.
    pub fn fresh_callback(&mut self) -> CallbackId {
        self.next_callback += 1;
        CallbackId(self.next_callback)
    }

    /// The next message; pings are answered meanwhile.
    pub async fn receive(&mut self, within: Duration) -> Incoming<ToProcessor> {
        let until = Instant::now() + within;
        loop {
            if let Some(message) = self.came.pop_front() {
                return Incoming::Message(message);
            }
            if let Some(ended) = &self.ended {
                return Incoming::Ended(ended.clone());
            }
            let (mut messages, mut reply) = (Vec::new(), Vec::new());
            let outcome = match self.pipe.turn(until).await {
                Ok(PipeEvent::Bytes(bytes)) => self.link.receive(bytes, self.clock.now(), &mut messages, &mut reply),
                Ok(PipeEvent::Sent) => Ok(()),
                Ok(PipeEvent::Time) => return Incoming::Nothing,
                Err(error) => {
                    self.ended = Some(Ended { code: None, text: error.to_string() });
                    Ok(())
                }
            };
            self.pipe.out().extend_from_slice(&reply);
            self.came.extend(messages);
            if let Err(error) = outcome {
                self.ended = Some(Ended::of(&error));
            }
            let now = self.clock.now().mono;
            if self.link.next_deadline().is_some_and(|at| at <= now) {
                let _ = self.link.on_deadline(now, self.pipe.out());
            }
        }
    }

    /// Whether the gate has ended the connection, once everything that came before was read.
    pub async fn is_closed(&mut self, within: Duration) -> bool {
        let until = Instant::now() + within;
        loop {
            match self.receive(until.saturating_duration_since(Instant::now())).await {
                Incoming::Message(_) => {}
                Incoming::Ended(_) => return true,
                Incoming::Nothing => return false,
            }
        }
    }

    /// What becomes of a callback: `None` when it is acknowledged, else why it is refused.
    pub async fn verdict(&mut self, callback: CallbackId) -> Incoming<Option<Code>> {
        loop {
            match self.receive(ANSWER).await {
                Incoming::Message(ToProcessor::Ack { callback: of }) if of == callback => {
                    return Incoming::Message(None);
                }
                Incoming::Message(ToProcessor::Nack { callback: of, code, .. }) if of == callback => {
                    return Incoming::Message(Some(code));
                }
                Incoming::Message(_) => {}
                Incoming::Ended(ended) => return Incoming::Ended(ended),
                Incoming::Nothing => return Incoming::Nothing,
            }
        }
    }
}

/// The capabilities that an attacking processor declares: it accepts the attacker's own currency only.
pub fn capabilities(field: &Field, id: &ProcessorId, credentials: &[CredentialKind]) -> Capabilities {
    capabilities_in(field.currency, id, credentials)
}

/// The same with the attacker's currency.
pub(super) fn capabilities_in(currency: Currency, id: &ProcessorId, credentials: &[CredentialKind]) -> Capabilities {
    let mut capabilities = Settings::new(id.clone(), 0).capabilities;
    capabilities.credentials = credentials.to_vec();
    capabilities.currencies = vec![currency];
    capabilities.request_life_max = TimeSpan::from_secs(5);
    capabilities.inquiry_authoritative_after = Some(TimeSpan::from_secs(5));
    capabilities
}

/// The name of an attacker's processor.
///
/// # Errors
/// [`Trouble`]: the gate cannot be reached, or refuses what must be accepted.
pub fn processor_id(field: &Field, number: u64) -> Result<ProcessorId, Trouble> {
    ProcessorId::new(&field.peer_name(number)).map_err(Trouble::of)
}
