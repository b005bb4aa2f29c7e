//! One connection of the load generator that speaks OCPP 1.6: one charger with one session, and one MeterValues for each reading.

use super::LoadSettings;
use super::stage::{BACKLOG_MAX, Board, Left, Line, POWER, QUANTUM, Stage, micros};
use crate::limits;
use crate::sim::pace::Pace;
use crate::sim::pipe::{Pipe, PipeEvent};
use crate::transport::websocket::{End, Incoming, WebSocket};
use crate::units::Timestamp;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A charger's line.
pub(super) struct OcppLoadLine {
    /// Number of its session among all.
    number: u64,
    born: Timestamp,
    pace: Pace,
    /// Sessions of all lines.
    total: u64,
    rate: Option<u64>,
    window: usize,
    /// Readings that were sent.
    rounds: u64,
    transaction: Option<i64>,
    is_live: bool,
    calls: u64,
    /// Readings under way: the ids of their calls, and when they were due in microseconds after the start.
    under_way: VecDeque<(u64, u64)>,
    latencies: Vec<u64>,
    /// It has left in the storm and is coming back; its reading was sent.
    returning: bool,
    returned: bool,
    text: String,
}

/// Calls of a charger that wait for their answers at most; the gate ends a connection with more than twice as many.
const CALLS_MAX: usize = limits::OCPP_CALLS_WAITING / 2;
/// Id of the call by which the session begins; the readings' are numbers.
const START: &str = "start";
const BOOT: &str = "boot";

impl OcppLoadLine {
    pub fn new(number: u64, settings: &LoadSettings, pace: &Pace) -> OcppLoadLine {
        OcppLoadLine {
            number,
            born: pace.now().wall,
            pace: pace.clone(),
            total: u64::from(settings.sessions),
            rate: settings.rate.map(u64::from),
            window: usize::try_from(settings.window).unwrap_or(usize::MAX).min(CALLS_MAX),
            rounds: 0,
            transaction: None,
            is_live: false,
            calls: 0,
            under_way: VecDeque::new(),
            latencies: Vec::new(),
            returning: false,
            returned: false,
            text: String::new(),
        }
    }
}

impl Line for OcppLoadLine {
    async fn serve(
        &mut self,
        mut pipe: Pipe,
        board: &Board,
        stages: &mut watch::Receiver<Stage>,
    ) -> Result<Left, String> {
        let mut websocket = WebSocket::new(End::Client, false, limits::OCPP_MESSAGE_MAX, 1);
        self.under_way.clear();
        let boot =
            format!(r#"[2,"{BOOT}","BootNotification",{{"chargePointVendor":"wattstile","chargePointModel":"load"}}]"#);
        websocket.sender().text(&boot, pipe.out());
        let mut is_booted = false;
        let mut is_asked = self.transaction.is_some();
        loop {
            let stage = *stages.borrow_and_update();
            let mut wake = Instant::now() + Duration::from_secs(1);
            match stage {
                Stage::Over => {
                    pipe.close(Duration::from_millis(200)).await;
                    return Ok(Left::Over);
                }
                Stage::Opening if is_booted && !is_asked => {
                    is_asked = true;
                    let at = self.born.to_rfc3339();
                    let start = format!(
                        r#"[2,"{START}","StartTransaction",{{"connectorId":1,"idTag":"load","meterStart":0,"timestamp":"{at}"}}]"#
                    );
                    websocket.sender().text(&start, pipe.out());
                }
                Stage::Opening => {}
                Stage::Running { start, end } => {
                    wake = wake.min(self.tick(&mut websocket, &mut pipe, board, (start, end)));
                }
                Stage::Storm { .. } if !self.returning => return Ok(Left::Storm),
                Stage::Storm { .. } if is_booted && !self.returned => {
                    self.returned = true;
                    board.returned.fetch_add(1, Ordering::Relaxed);
                    if self.is_live {
                        self.read(&mut websocket, &mut pipe, 0);
                        board.sent.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Stage::Storm { .. } => {}
            }
            let (mut answers, mut reply, mut closed) = (Vec::new(), Vec::new(), false);
            tokio::select! {
                turn = pipe.turn(wake) => match turn.map_err(|error| error.to_string())? {
                    PipeEvent::Bytes(bytes) => {
                        let read = websocket.receive(bytes, &mut reply, |incoming| match incoming {
                            Incoming::Text(text) => answers.push(Answer::of(text)),
                            Incoming::Close(_) => closed = true,
                            Incoming::Ping | Incoming::Pong => {}
                        });
                        read.map_err(|violation| violation.to_string())?;
                    }
                    PipeEvent::Sent | PipeEvent::Time => {}
                },
                changed = stages.changed() => if changed.is_err() { return Ok(Left::Over) },
            }
            pipe.out().extend_from_slice(&reply);
            let start = match stage {
                Stage::Running { start, .. } | Stage::Storm { since: start } => Some(start),
                Stage::Opening | Stage::Over => None,
            };
            let since_start = start.map_or(0, |start| micros(Instant::now().saturating_duration_since(start)));
            for answer in answers {
                is_booted |= matches!(answer, Answer::Booted);
                if let Answer::Called(id) = &answer {
                    let refused = serde_json::json!([4, id, "NotImplemented", "", {}]).to_string();
                    websocket.sender().text(&refused, pipe.out());
                }
                self.on_answer(answer, since_start, board)?;
            }
            if closed {
                return Err("the gate closed a connection".to_owned());
            }
            if !self.latencies.is_empty() {
                let mut latencies = board.latencies.lock().unwrap_or_else(PoisonError::into_inner);
                for latency in self.latencies.drain(..) {
                    latencies.saturating_record(latency);
                }
            }
        }
    }

    fn come_back(&mut self) {
        self.returning = true;
    }
}

impl OcppLoadLine {
    /// Sends every reading that is due, while few are under way, and returns when the next one is.
    fn tick(
        &mut self,
        websocket: &mut WebSocket,
        pipe: &mut Pipe,
        board: &Board,
        (start, end): (Instant, Instant),
    ) -> Instant {
        let clock = Instant::now();
        if clock < start {
            return start;
        }
        let far = clock + Duration::from_secs(1);
        let now_us = micros(clock.saturating_duration_since(start));
        let end_us = micros(end.saturating_duration_since(start));
        let mut sent = 0;
        let mut wake = far;
        while self.is_live && self.under_way.len() < self.window && pipe.backlog() < BACKLOG_MAX {
            let due_us = match self.rate {
                Some(rate) => (self.rounds * self.total + self.number).saturating_mul(1_000_000) / rate.max(1),
                None => now_us,
            };
            if due_us >= end_us {
                break;
            }
            if due_us > now_us {
                wake = (start + Duration::from_micros(due_us)).max(clock + QUANTUM);
                break;
            }
            self.rounds += 1;
            self.read(websocket, pipe, due_us);
            sent += 1;
        }
        board.sent.fetch_add(sent, Ordering::Relaxed);
        wake
    }

    /// Sends one reading.
    fn read(&mut self, websocket: &mut WebSocket, pipe: &mut Pipe, due_us: u64) {
        use std::fmt::Write;
        let at = self.pace.now().wall;
        let milliwatt_hours = POWER.milliwatts() / 3_600 * at.since(self.born).ms() / 1_000;
        let (wh, rest) = (milliwatt_hours / 1_000, milliwatt_hours % 1_000);
        self.calls += 1;
        self.under_way.push_back((self.calls, due_us));
        self.text.clear();
        // Writing into a text cannot fail.
        let _ = write!(
            self.text,
            r#"[2,"{}","MeterValues",{{"connectorId":1,"transactionId":{},"meterValue":[{{"timestamp":"{}","sampledValue":[{{"value":"{wh}.{rest:03}","context":"Sample.Periodic","measurand":"Energy.Active.Import.Register","unit":"Wh"}}]}}]}}]"#,
            self.calls,
            self.transaction.unwrap_or(-1),
            at.to_rfc3339()
        );
        websocket.sender().text(&self.text, pipe.out());
    }

    fn on_answer(&mut self, answer: Answer, since_start: u64, board: &Board) -> Result<(), String> {
        match answer {
            Answer::Booted | Answer::Called(_) => {}
            Answer::Reading(call) => {
                let Some(place) = self.under_way.iter().position(|(id, _)| *id == call) else { return Ok(()) };
                if let Some((_, due_us)) = self.under_way.remove(place) {
                    self.latencies.push(since_start.saturating_sub(due_us).max(1));
                    board.acknowledged.fetch_add(1, Ordering::Relaxed);
                }
            }
            Answer::Started { transaction, is_accepted } => {
                self.transaction = Some(transaction);
                if is_accepted {
                    self.is_live = true;
                    board.live.fetch_add(1, Ordering::Relaxed);
                } else {
                    board.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
            Answer::Other(text) => return Err(format!("unexpected: {text}")),
        }
        Ok(())
    }
}

/// A message of the gate.
enum Answer {
    Booted,
    Started {
        transaction: i64,
        is_accepted: bool,
    },
    Reading(u64),
    /// A call of the gate.
    Called(String),
    Other(String),
}

impl Answer {
    fn of(text: &str) -> Answer {
        // Nearly all are answers to readings, which need no reader of JSON.
        let reading = text.strip_prefix(r#"[3,""#).and_then(|rest| rest.split_once('"'));
        if let Some(call) = reading.and_then(|(id, _)| id.parse().ok()) {
            return Answer::Reading(call);
        }
        let other = || Answer::Other(text.chars().take(200).collect());
        let Ok(Value::Array(frame)) = serde_json::from_str::<Value>(text) else { return other() };
        match (frame.first().and_then(Value::as_i64), frame.get(1).and_then(Value::as_str), frame.get(2)) {
            (Some(2), Some(id), Some(_)) => Answer::Called(id.to_owned()),
            (Some(3), Some(BOOT), Some(_)) => Answer::Booted,
            (Some(3), Some(START), Some(payload)) => Answer::Started {
                transaction: payload["transactionId"].as_i64().unwrap_or(-1),
                is_accepted: payload["idTagInfo"]["status"] == "Accepted",
            },
            _ => other(),
        }
    }
}
