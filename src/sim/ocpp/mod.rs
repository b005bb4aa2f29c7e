//! A simulated charger that speaks OCPP 1.6, 2.0.1 or 2.1: the charger's end of a connection, without any input or output.
//!
//! Drivers, cars and meters are those of every simulated charger ([`Charger`]), which keeps each reading until it is acknowledged.
//! This is its tongue: starts, readings and stops become calls, answers become acknowledgements.
//!
//! ```text
//!   Charger ── start, reading, stop ──▶ calls that wait ──▶ call under way ──▶ text
//!   Charger ◀── admitted, acknowledged, ended ──────────────────────────────── answer
//! ```
//!
//! A call that is not answered in time is repeated; on a new connection everything unacknowledged is. How a charger deviates from
//! its protocol are its [`Manners`].

mod answers;
mod line;
mod manners;
mod payload;
#[cfg(test)]
mod tests;

pub use line::{LineError, OcppLine};
pub use manners::{Begin, ClockStyle, EnergyStyle, Manners, Numbers, Repeats, Unknown};

use super::charger::{Charger, Occupied};
use crate::message::{FromCharger, Limit, StartSession, StopReason};
use crate::ocpp::Version;
use crate::payment::CredentialKind;
use crate::units::{Amount, ConnectorId, Currency, MeterReading, Mono, Now, SessionKey, TimeSpan, Timestamp};
use payload::{token, whole_wh};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};

/// How a simulated charger speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OcppSettings {
    /// The version.
    pub version: Version,
    /// How it deviates from it.
    pub manners: Manners,
    /// The currency of amounts that the gate names.
    pub currency: Currency,
}

/// What a charger of a fleet speaks, by its number from 1, where a share of them speaks OCPP: the first `versions` of
/// [`Version::ALL`] in turn. None: the native protocol.
pub fn version_of_share(number: u32, percent: u8, versions: usize) -> Option<Version> {
    let spoken = |number: u32| u64::from(number) * u64::from(percent.min(100)) / 100;
    let before = spoken(number.saturating_sub(1));
    let which = usize::try_from(before).unwrap_or(0) % versions.clamp(1, Version::ALL.len());
    (spoken(number) > before).then(|| Version::ALL[which])
}

/// The charger's name for a transaction, or the gate's number (1.6).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// By the gate.
    Number(i64),
    /// By the charger.
    Text(String),
}

/// A session whose end was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedSession {
    /// Its transaction.
    pub name: Name,
    /// What the charger has reported, from the first register to the last, in watt hours.
    pub energy_wh: i64,
    /// The total of the answer to its end, where it had one.
    pub total: Option<Amount>,
    /// It began while there was no connection, and the gate refused it later.
    pub is_refused: bool,
    /// The gate can bill all of its energy: the register of its beginning was reported, and its driver.
    pub is_plain: bool,
}

/// No answer came, again and again: the connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gate does not answer")]
pub struct Unanswered;

/// The charger's end of its connections, one after the other.
#[derive(Clone, Debug)]
pub struct OcppCharger {
    version: Version,
    manners: Manners,
    currency: Currency,
    stage: Stage,
    /// Sessions that are not over.
    transactions: BTreeMap<SessionKey, Transaction>,
    waiting: VecDeque<Call>,
    under_way: Vec<UnderWay>,
    /// Calls on this connection; with bad manners its number is the id.
    calls: u64,
    /// Transactions since the charger was reset.
    begun: u64,
    /// Calls of its whole life.
    all_calls: u64,
    next_heartbeat: Mono,
    heartbeat: TimeSpan,
    shown: BTreeMap<ConnectorId, Occupied>,
    switched_on: Timestamp,
    clock_is_set: bool,
    offline_since: Option<Mono>,
    /// Drivers charge although there is no connection.
    is_open_offline: bool,
    ended: Vec<EndedSession>,
    /// Refusals of calls that a gate must never refuse.
    errors: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Offline,
    /// The answer to the boot is awaited.
    Booting,
    Ready,
}

/// A session as the protocol sees it.
#[derive(Clone, Debug)]
struct Transaction {
    name: Option<Name>,
    connector: ConnectorId,
    token: String,
    is_card: bool,
    /// Its start was answered.
    is_begun: bool,
    is_offline: bool,
    is_refused: bool,
    /// Number of the next event.
    events: u64,
    first_wh: Option<i64>,
}

#[derive(Clone, Debug)]
struct Call {
    what: What,
    attempts: u32,
    /// Those of the first attempt, which a repetition has again.
    id: Option<String>,
    number: Option<u64>,
}

#[derive(Clone, Debug)]
enum What {
    Boot,
    Heartbeat,
    Status(ConnectorId, Occupied, Timestamp),
    Authorize(StartSession),
    Start(StartSession),
    Readings(SessionKey, Vec<MeterReading>),
    Stop(SessionKey, MeterReading, StopReason),
}

#[derive(Clone, Debug)]
struct UnderWay {
    id: String,
    since: Mono,
    call: Call,
}

/// How long an answer is awaited.
const ANSWER_TIMEOUT: TimeSpan = TimeSpan::from_secs(30);
/// Attempts of a call on one connection.
const ATTEMPTS: u32 = 3;
/// Readings that are taken from the charger at once.
const WINDOW: usize = 64;
/// A charger that starts sessions without a connection does so after this time without one.
const OFFLINE_AFTER: TimeSpan = TimeSpan::from_secs(20);
/// Calls before the boot of a charger that boots late.
const CALLS_BEFORE_BOOT: u64 = 4;

impl OcppCharger {
    /// A charger that was switched on at `now`.
    pub fn new(settings: OcppSettings, now: Timestamp) -> OcppCharger {
        OcppCharger {
            version: settings.version,
            manners: settings.manners,
            currency: settings.currency,
            stage: Stage::Offline,
            transactions: BTreeMap::new(),
            waiting: VecDeque::new(),
            under_way: Vec::new(),
            calls: 0,
            begun: 0,
            all_calls: 0,
            next_heartbeat: Mono::NEVER,
            heartbeat: TimeSpan::from_secs(300),
            shown: BTreeMap::new(),
            switched_on: now,
            clock_is_set: false,
            offline_since: None,
            is_open_offline: false,
            ended: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// What it speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its manners.
    pub fn manners(&self) -> &Manners {
        &self.manners
    }

    /// Whether the gate has let it in on this connection.
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// The sessions that ended since the last call.
    pub fn take_ended(&mut self) -> Vec<EndedSession> {
        std::mem::take(&mut self.ended)
    }

    /// Errors since the last call by which the gate answered what it must never refuse.
    pub fn take_errors(&mut self) -> Vec<String> {
        std::mem::take(&mut self.errors)
    }

    /// A connection is up. Everything unacknowledged is sent again.
    pub fn connected(&mut self, charger: &mut Charger, now: Now) {
        charger.hello(now);
        (self.calls, self.offline_since, self.is_open_offline) = (0, None, false);
        self.shown.clear();
        self.next_heartbeat = now.mono.after(self.heartbeat);
        if self.manners.boots_late {
            self.stage = Stage::Ready;
            charger.ready(WINDOW);
        } else {
            self.stage = Stage::Booting;
            self.waiting.push_back(What::Boot.into());
        }
    }

    /// The connection has ended.
    pub fn disconnected(&mut self, charger: &mut Charger, now: Mono) {
        self.stage = Stage::Offline;
        self.waiting.clear();
        self.under_way.clear();
        self.offline_since.get_or_insert(now);
        charger.disconnected();
    }

    /// The charger was reset, or replaced: it knows nothing of before.
    pub fn forget_everything(&mut self, now: Timestamp) {
        self.transactions.clear();
        self.waiting.clear();
        self.under_way.clear();
        (self.begun, self.clock_is_set, self.switched_on) = (0, false, now);
    }

    /// When [`OcppCharger::drive`] is to be called next, besides the charger's own deadlines.
    pub fn next_deadline(&self) -> Option<Mono> {
        if self.stage == Stage::Offline {
            // Later drivers are noticed when they come.
            let starts = self.offline_since.filter(|_| self.manners.starts_offline && !self.is_open_offline);
            return starts.map(|since| since.after(OFFLINE_AFTER));
        }
        let answers = self.under_way.iter().map(|under_way| under_way.since.after(ANSWER_TIMEOUT));
        answers.chain([self.next_heartbeat]).min()
    }

    /// Sends what is due and may be sent.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub fn drive(&mut self, charger: &mut Charger, now: Now, out: &mut Vec<String>) -> Result<(), Unanswered> {
        if self.stage == Stage::Offline {
            self.start_offline(charger, now);
            return Ok(());
        }
        self.repeat(now.mono)?;
        if self.stage == Stage::Ready && now.mono >= self.next_heartbeat {
            self.next_heartbeat = now.mono.after(self.heartbeat);
            self.waiting.push_back(What::Heartbeat.into());
        }
        while self.under_way.len() < self.manners.pipelined {
            if self.manners.boots_late && self.calls == CALLS_BEFORE_BOOT && !self.is_booting() {
                self.waiting.push_front(What::Boot.into());
            }
            if self.waiting.is_empty() && self.stage == Stage::Ready {
                self.pull(charger, now);
            }
            let Some(call) = self.waiting.pop_front() else { break };
            if !self.may_be_sent(&call.what) {
                self.waiting.push_front(call);
                break;
            }
            self.send(call, now, out);
        }
        Ok(())
    }

    /// Takes a message of the gate.
    pub fn receive(&mut self, charger: &mut Charger, text: &str, now: Now, out: &mut Vec<String>) {
        let Ok(Value::Array(frame)) = serde_json::from_str::<Value>(text) else { return };
        let id = frame.get(1).and_then(Value::as_str).unwrap_or_default();
        match frame.first().and_then(Value::as_i64) {
            Some(2) => {
                let action = frame.get(2).and_then(Value::as_str).unwrap_or_default();
                let payload = frame.get(3).cloned().unwrap_or_default();
                out.extend(self.called(charger, (id, action, &payload), now));
            }
            Some(kind @ (3 | 4)) => {
                let Some(place) = self.under_way.iter().position(|under_way| under_way.id == id) else { return };
                let UnderWay { call, .. } = self.under_way.remove(place);
                match kind {
                    3 => self.answered(charger, call, frame.get(2).unwrap_or(&Value::Null), now),
                    _ => self.refused(charger, call, text, now),
                }
            }
            _ => {}
        }
    }
}

/// Calls of the charger.
impl OcppCharger {
    /// Calls without an answer are repeated, before those that wait.
    fn repeat(&mut self, now: Mono) -> Result<(), Unanswered> {
        let late = |under_way: &UnderWay| under_way.since.after(ANSWER_TIMEOUT) <= now;
        while let Some(place) = self.under_way.iter().rposition(late) {
            let UnderWay { id, mut call, .. } = self.under_way.remove(place);
            call.attempts += 1;
            if call.attempts >= ATTEMPTS {
                return Err(Unanswered);
            }
            call.id = (self.manners.repeats == Repeats::SameId).then_some(id);
            self.waiting.push_front(call);
        }
        Ok(())
    }

    /// The gate refuses a call by an error. One that reports a transaction is repeated, and given up in the end.
    fn refused(&mut self, charger: &mut Charger, mut call: Call, text: &str, now: Now) {
        match call.what {
            What::Boot | What::Start(_) | What::Readings(..) | What::Stop(..) => {
                self.errors.push(text.to_owned());
                call.attempts += 1;
                call.id = None;
                if call.attempts < ATTEMPTS {
                    self.waiting.push_front(call);
                } else {
                    self.answered(charger, call, &Value::Null, now);
                }
            }
            What::Heartbeat | What::Status(..) | What::Authorize(_) => {}
        }
    }

    fn is_booting(&self) -> bool {
        let is_boot = |what: &What| matches!(what, What::Boot);
        self.waiting.iter().any(|call| is_boot(&call.what))
            || self.under_way.iter().any(|under_way| is_boot(&under_way.call.what))
    }

    /// Whether the start of a session waits, or is under way.
    fn is_starting(&self, key: SessionKey) -> bool {
        let starts = |call: &Call| matches!(&call.what, What::Start(start) if start.session == key);
        self.waiting.iter().any(starts) || self.under_way.iter().any(|under_way| starts(&under_way.call))
    }

    /// Without a connection, a charger that does so lets its drivers charge.
    fn start_offline(&mut self, charger: &mut Charger, now: Now) {
        let due = self.offline_since.is_some_and(|since| since.after(OFFLINE_AFTER) <= now.mono);
        if !due || !self.manners.starts_offline {
            return;
        }
        self.is_open_offline = true;
        for start in charger.asked().collect::<Vec<_>>() {
            let transaction = self.transaction(&start);
            // One that was sent before may have been admitted, and its answer lost: it is sent again.
            if !transaction.is_begun {
                transaction.is_offline = true;
                charger.admit(start.session, Limit::default(), now);
            }
        }
    }

    /// The transaction of a session, which gets its name here.
    fn transaction(&mut self, start: &StartSession) -> &mut Transaction {
        let (version, comes_back) = (self.version, self.manners.names_come_back);
        let begun = &mut self.begun;
        self.transactions.entry(start.session).or_insert_with(|| {
            *begun += 1;
            let name = match version {
                Version::V16 => None,
                Version::V201 | Version::V21 if comes_back => Some(Name::Text(format!("tx-{begun}"))),
                Version::V201 | Version::V21 => Some(Name::Text(format!("{:016x}", start.session.0))),
            };
            Transaction {
                name,
                connector: start.connector,
                token: token(&start.credential),
                is_card: start.credential.kind == CredentialKind::CardToken,
                is_begun: false,
                is_offline: false,
                is_refused: false,
                events: 0,
                first_wh: None,
            }
        })
    }

    /// Takes what the charger has to say: states of connectors, then starts, readings and stops.
    fn pull(&mut self, charger: &mut Charger, now: Now) {
        for (connector, occupied) in charger.connectors() {
            if self.shown.insert(connector, occupied) != Some(occupied) {
                self.waiting.push_back(What::Status(connector, occupied, now.wall).into());
            }
        }
        let mut messages = Vec::new();
        charger.take_messages(now.mono, self.manners.readings_per_call, &mut messages);
        for message in messages {
            match message {
                FromCharger::Start(start) => self.begin(start),
                FromCharger::Reading { session, reading } => {
                    self.begin_first(charger, session);
                    match self.waiting.back_mut() {
                        Some(Call { what: What::Readings(of, readings), .. }) if *of == session => {
                            readings.push(reading);
                        }
                        _ => self.waiting.push_back(What::Readings(session, vec![reading]).into()),
                    }
                }
                FromCharger::Stop { session, last, reason } => {
                    self.begin_first(charger, session);
                    self.waiting.push_back(What::Stop(session, last, reason).into());
                }
                FromCharger::Hello(_) | FromCharger::Status(_) | FromCharger::Unnumbered(_) => {}
            }
        }
    }

    fn begin(&mut self, start: StartSession) {
        if self.is_starting(start.session) {
            return;
        }
        self.transaction(&start);
        // Some ask before, and some have no other way to name the driver.
        if self.manners.hides_token || start.session.0.is_multiple_of(4) {
            self.waiting.push_back(What::Authorize(start.clone()).into());
        }
        self.waiting.push_back(What::Start(start).into());
    }

    /// A session that was begun without a connection, or by an earlier process, is begun here before it is reported.
    fn begin_first(&mut self, charger: &Charger, key: SessionKey) {
        if self.transactions.get(&key).is_none_or(|transaction| !transaction.is_begun)
            && let Some(start) = charger.start_of(key)
        {
            self.begin(start);
        }
    }

    /// What reports a session waits until its start is answered.
    fn may_be_sent(&self, what: &What) -> bool {
        let may_start = |key: &SessionKey| {
            let before = self.under_way.iter().any(|under_way| match &under_way.call.what {
                What::Authorize(start) => start.session == *key,
                _ => false,
            });
            !before
        };
        match what {
            What::Boot | What::Heartbeat | What::Status(..) | What::Authorize(_) => true,
            What::Start(start) => may_start(&start.session),
            What::Readings(key, _) | What::Stop(key, ..) => {
                self.transactions.get(key).is_none_or(|transaction| transaction.is_begun)
            }
        }
    }

    fn send(&mut self, mut call: Call, now: Now, out: &mut Vec<String>) {
        let Some((action, mut payload)) = self.written(&call, now) else { return };
        if action == "TransactionEvent" {
            let key = match &call.what {
                What::Start(start) => Some(start.session),
                What::Readings(key, _) | What::Stop(key, ..) => Some(*key),
                What::Boot | What::Heartbeat | What::Status(..) | What::Authorize(_) => None,
            };
            if call.number.is_none() {
                let transaction = key.and_then(|key| self.transactions.get_mut(&key));
                call.number = transaction.map(|transaction| {
                    transaction.events += 1;
                    transaction.events - 1
                });
            }
            let number = call.number.unwrap_or(0);
            payload["seqNo"] = match self.manners.numbers {
                Numbers::Right => number,
                Numbers::Zero => 0,
                Numbers::FromOne => number + 1,
            }
            .into();
        }
        self.calls += 1;
        self.all_calls += 1;
        let id = call.id.take().unwrap_or_else(|| {
            if self.manners.names_come_back { format!("m{}", self.calls) } else { format!("{:08x}", self.all_calls) }
        });
        out.push(json!([2, id, action, payload]).to_string());
        self.under_way.push(UnderWay { id, since: now.mono, call });
    }

    /// The text of a call; none: its session is not known any more.
    fn written(&mut self, call: &Call, now: Now) -> Option<(&'static str, Value)> {
        match &call.what {
            What::Boot => Some(self.boot()),
            What::Heartbeat => Some(("Heartbeat", json!({}))),
            What::Status(connector, occupied, at) => Some(self.status(*connector, *occupied, *at)),
            What::Authorize(start) => Some(self.authorize(start)),
            What::Start(start) => {
                let moved = call.attempts > 0 && self.manners.repeats == Repeats::NewTime;
                let at = if moved { now.wall } else { start.at };
                if self.manners.begin == Begin::Right {
                    let first = whole_wh(start.register);
                    self.transactions.get_mut(&start.session)?.first_wh = Some(first);
                }
                let transaction = self.transactions.get(&start.session)?;
                Some(self.start(start, transaction, at))
            }
            What::Readings(key, readings) => {
                let first = readings.first().map(|reading| whole_wh(reading.register));
                let transaction = self.transactions.get_mut(key)?;
                transaction.first_wh = transaction.first_wh.or(first);
                let transaction = self.transactions.get(key)?;
                Some(self.readings(transaction, readings))
            }
            What::Stop(key, last, reason) => {
                let transaction = self.transactions.get_mut(key)?;
                transaction.first_wh.get_or_insert(whole_wh(last.register));
                let transaction = self.transactions.get(key)?;
                Some(self.stop(transaction, last, *reason))
            }
        }
    }
}

impl From<What> for Call {
    fn from(what: What) -> Call {
        Call { what, attempts: 0, id: None, number: None }
    }
}
