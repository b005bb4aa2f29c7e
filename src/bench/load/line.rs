//! One connection of the load generator: many sessions, as few instructions per reading as the protocol allows.

use super::LoadSettings;
use super::stage::{BACKLOG_MAX, Board, Left, Line, POWER, QUANTUM, Stage, micros};
use crate::message::{
    Channel, ChargerHello, Code, ConnectorInfo, FromCharger, Received, SessionMark, StartSession, ToCharger,
};
use crate::payment::{Credential, CredentialKind};
use crate::sim::pace::Pace;
use crate::sim::pipe::{Pipe, PipeEvent};
use crate::units::{ChargerId, ConnectorId, Energy, MeterReading, Power, SessionKey, Timestamp};
use crate::wire::{ChargerClientLink, MeterValues};
use std::ops::Range;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A session, in a few bytes: there may be millions.
#[derive(Clone, Copy)]
struct LoadSession {
    /// Its charger's place on the line.
    charger: u32,
    /// Last sequence sent.
    sent: u32,
    /// Last sequence acknowledged.
    acknowledged: u32,
    /// When the last reading was due, in microseconds after the start.
    due_us: u64,
    live: bool,
}

/// One connection.
pub(super) struct LoadLine {
    chargers: Vec<ChargerId>,
    site: bool,
    sessions: Vec<LoadSession>,
    /// The first session of each charger on this line.
    first: Vec<u32>,
    /// Keys are this and the session's place on the line.
    key_base: u64,
    /// Number of the line's first session among all.
    number: u64,
    born: Timestamp,
    pace: Pace,
    /// Sessions of all lines.
    total: u64,
    rate: Option<u64>,
    window: u64,
    /// The next session to tick.
    next: usize,
    /// Rounds over all sessions that are complete.
    rounds: u64,
    /// Starts that were not answered yet, and how many there may be.
    starting: usize,
    starting_max: usize,
    /// Sessions that were requested.
    asked: usize,
    outstanding: u64,
    latencies: Vec<u64>,
    /// It has left in the storm and is coming back.
    returning: bool,
    /// It is back.
    returned: bool,
}

/// Starts that all lines together have unanswered at most, and at least one per line.
const STARTS_IN_FLIGHT: usize = 4_096;
const POWER_MAX: Power = Power::from_milliwatts(22_000_000);

impl LoadLine {
    pub fn new(
        chargers: Vec<ChargerId>,
        sessions: Vec<Range<u64>>,
        site: bool,
        (settings, lines): (&LoadSettings, usize),
        pace: &Pace,
    ) -> LoadLine {
        let mut first = Vec::with_capacity(chargers.len());
        let mut all = Vec::new();
        let number = sessions.first().map_or(0, |range| range.start);
        for (range, charger) in sessions.iter().zip(0_u32..) {
            first.push(u32::try_from(all.len()).unwrap_or(u32::MAX));
            for _ in range.clone() {
                all.push(LoadSession { charger, sent: 0, acknowledged: 0, due_us: 0, live: false });
            }
        }
        let born = pace.now().wall;
        LoadLine {
            chargers,
            site,
            sessions: all,
            first,
            key_base: born.unix_ms().unsigned_abs() << 20,
            number,
            born,
            pace: pace.clone(),
            total: u64::from(settings.sessions),
            rate: settings.rate.map(u64::from),
            window: u64::from(settings.window),
            next: 0,
            rounds: 0,
            starting: 0,
            starting_max: (STARTS_IN_FLIGHT / lines.max(1)).max(1),
            asked: 0,
            outstanding: 0,
            latencies: Vec::new(),
            returning: false,
            returned: false,
        }
    }
}

impl Line for LoadLine {
    async fn serve(
        &mut self,
        mut pipe: Pipe,
        board: &Board,
        stages: &mut watch::Receiver<Stage>,
    ) -> Result<Left, String> {
        let mut link = ChargerClientLink::new(self.pace.now().mono);
        for charger in 0..self.chargers.len() {
            self.hello(charger, &mut link, pipe.out())?;
        }
        let mut greeted = 0;
        let mut messages: Vec<Received<ToCharger>> = Vec::new();
        loop {
            let stage = *stages.borrow_and_update();
            if stage == Stage::Over {
                pipe.close(Duration::from_millis(200)).await;
                return Ok(Left::Over);
            }
            let mut wake = Instant::now() + Duration::from_secs(1);
            match stage {
                Stage::Opening if greeted == self.chargers.len() => self.open(&mut link, &mut pipe)?,
                Stage::Opening | Stage::Over => {}
                Stage::Running { start, end } => {
                    wake = wake.min(self.tick(&mut link, &mut pipe, board, (start, end))?);
                }
                Stage::Storm { .. } if !self.returning => return Ok(Left::Storm),
                Stage::Storm { .. } if greeted == self.chargers.len() && !self.returned => {
                    self.returned = true;
                    board.returned.fetch_add(1, Ordering::Relaxed);
                    self.one_reading_each(&mut link, &mut pipe, board)?;
                }
                Stage::Storm { .. } => {}
            }
            if let Some(at) = link.next_deadline() {
                wake = wake.min(Instant::now() + self.pace.until_mono(at, self.pace.now()));
            }
            tokio::select! {
                turn = pipe.turn(wake) => match turn.map_err(|error| error.to_string())? {
                    PipeEvent::Bytes(bytes) => {
                        link.receive(bytes, self.pace.now(), &mut messages).map_err(|error| error.to_string())?;
                    }
                    PipeEvent::Sent => {}
                    PipeEvent::Time => {
                        let now = self.pace.now();
                        if link.next_deadline().is_some_and(|at| at <= now.mono) {
                            link.on_deadline(now, pipe.out()).map_err(|error| error.to_string())?;
                        }
                    }
                },
                changed = stages.changed() => if changed.is_err() { return Ok(Left::Over) },
            }
            if messages.is_empty() {
                continue;
            }
            let start = match stage {
                Stage::Running { start, .. } | Stage::Storm { since: start } => Some(start),
                Stage::Opening | Stage::Over => None,
            };
            let since_start = start.map_or(0, |start| micros(Instant::now().saturating_duration_since(start)));
            for received in messages.drain(..) {
                greeted += usize::from(matches!(received.message, ToCharger::HelloAck(_)));
                self.on_message(&received, since_start, board)?;
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

impl LoadLine {
    fn channel(&self, charger: u32) -> Channel {
        if self.site { Channel(charger + 1) } else { Channel::ZERO }
    }

    fn hello(&self, charger: usize, link: &mut ChargerClientLink, out: &mut Vec<u8>) -> Result<(), String> {
        let now = self.pace.now();
        let place = u32::try_from(charger).unwrap_or(u32::MAX);
        let connectors = (1..=self.sessions_of(place).len())
            .map(|id| ConnectorInfo { id: ConnectorId(u16::try_from(id).unwrap_or(u16::MAX)), power_max: POWER_MAX });
        let hello = FromCharger::Hello(ChargerHello {
            numbering: Default::default(),
            charger: self.chargers[charger].clone(),
            connectors: connectors.collect(),
            firmware: concat!("wattstile-load/", env!("CARGO_PKG_VERSION")).into(),
            clock: now.wall,
            sessions: self.open_sessions(place),
        });
        link.send(self.channel(place), &hello, now.mono, out).map_err(|error| error.to_string())
    }

    fn sessions_of(&self, charger: u32) -> Range<usize> {
        let place = usize::try_from(charger).unwrap_or(usize::MAX);
        let from = self.first.get(place).copied().map_or(0, |from| usize::try_from(from).unwrap_or(0));
        let to = self.first.get(place + 1).copied().map_or(self.sessions.len(), |to| usize::try_from(to).unwrap_or(0));
        from..to.max(from)
    }

    /// How far a charger's sessions are, for a hello after the first.
    fn open_sessions(&self, charger: u32) -> Vec<SessionMark> {
        let open = self.sessions_of(charger).filter(|place| self.sessions[*place].live);
        open.map(|place| SessionMark { session: self.key(place), last_sequence: self.sessions[place].sent }).collect()
    }

    /// After the storm: sends one reading of every session.
    fn one_reading_each(&mut self, link: &mut ChargerClientLink, pipe: &mut Pipe, board: &Board) -> Result<(), String> {
        // Latencies count from the disconnection of all lines.
        self.rate = None;
        let now = self.pace.now();
        for place in 0..self.sessions.len() {
            let charger = self.sessions[place].charger;
            if !self.sessions[place].live {
                continue;
            }
            let reading = self.reading(place, now.wall, 0);
            let values = MeterValues { session: self.key(place), readings: &[reading] };
            link.send_readings(self.channel(charger), values, now.mono, pipe.out())
                .map_err(|error| error.to_string())?;
            self.outstanding += 1;
            board.sent.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The next reading of a session.
    fn reading(&mut self, place: usize, at: Timestamp, due_us: u64) -> MeterReading {
        let session = &mut self.sessions[place];
        session.sent += 1;
        session.due_us = due_us;
        // A watt hour of a session at 11 kW takes a third of a second; the register follows the wall clock.
        let elapsed = at.since(self.born).ms();
        let register = Energy::from_microwatt_hours(POWER.milliwatts() / 3_600 * elapsed);
        MeterReading { sequence: session.sent, at, register, power: Some(POWER), current: None }
    }

    /// Requests more sessions, while few starts are unanswered.
    fn open(&mut self, link: &mut ChargerClientLink, pipe: &mut Pipe) -> Result<(), String> {
        let now = self.pace.now();
        while self.asked < self.sessions.len() && self.starting < self.starting_max && pipe.backlog() < BACKLOG_MAX {
            let place = self.asked;
            let charger = self.sessions[place].charger;
            let first = usize::try_from(self.first[usize::try_from(charger).unwrap_or(0)]).unwrap_or(0);
            let start = FromCharger::Start(StartSession {
                session: self.key(place),
                connector: ConnectorId(u16::try_from(place - first + 1).unwrap_or(u16::MAX)),
                credential: Credential { kind: CredentialKind::CardToken, token: (*b"load").into() },
                at: self.born,
                register: Energy::ZERO,
            });
            link.send(self.channel(charger), &start, now.mono, pipe.out()).map_err(|error| error.to_string())?;
            self.asked += 1;
            self.starting += 1;
        }
        Ok(())
    }

    fn key(&self, place: usize) -> SessionKey {
        SessionKey(self.key_base + u64::try_from(place).unwrap_or(0))
    }

    /// Sends every reading that is due and returns when the next one is.
    fn tick(
        &mut self,
        link: &mut ChargerClientLink,
        pipe: &mut Pipe,
        board: &Board,
        (start, end): (Instant, Instant),
    ) -> Result<Instant, String> {
        let clock = Instant::now();
        if clock < start {
            return Ok(start);
        }
        let far = clock + Duration::from_secs(1);
        if self.sessions.is_empty() || (clock >= end && self.rate.is_none()) {
            return Ok(far);
        }
        let now_us = micros(clock.saturating_duration_since(start));
        let end_us = micros(end.saturating_duration_since(start));
        let now = self.pace.now();
        let mut sent = 0;
        let mut wake = far;
        let mut skipped = 0;
        while pipe.backlog() < BACKLOG_MAX {
            let due_us = match self.rate {
                Some(rate) => {
                    // The reading's number among all: whole rounds, and the session's own number in this one.
                    let number = self.rounds * self.total + self.number + u64::try_from(self.next).unwrap_or(0);
                    number.saturating_mul(1_000_000) / rate.max(1)
                }
                None if self.outstanding >= self.window => break,
                None => now_us,
            };
            if due_us >= end_us {
                break;
            }
            if due_us > now_us {
                wake = (start + Duration::from_micros(due_us)).max(clock + QUANTUM);
                break;
            }
            let (next, number) = (self.next, self.rounds);
            self.next += 1;
            if self.next == self.sessions.len() {
                self.next = 0;
                self.rounds = number + 1;
            }
            if !self.sessions[next].live {
                skipped += 1;
                if skipped > self.sessions.len() {
                    return Ok(far);
                }
                continue;
            }
            skipped = 0;
            let charger = self.sessions[next].charger;
            let reading = self.reading(next, now.wall, due_us);
            let values = MeterValues { session: self.key(next), readings: &[reading] };
            link.send_readings(self.channel(charger), values, now.mono, pipe.out())
                .map_err(|error| error.to_string())?;
            sent += 1;
        }
        if sent > 0 {
            self.outstanding += sent;
            board.sent.fetch_add(sent, Ordering::Relaxed);
        }
        Ok(wake)
    }

    fn on_message(&mut self, received: &Received<ToCharger>, since_start: u64, board: &Board) -> Result<(), String> {
        match &received.message {
            ToCharger::StartAccepted { session, .. } => {
                if let Some(session) = self.session(*session)
                    && !session.live
                {
                    session.live = true;
                    self.starting = self.starting.saturating_sub(1);
                    board.live.fetch_add(1, Ordering::Relaxed);
                }
            }
            ToCharger::StartRejected { code, .. } => {
                self.starting = self.starting.saturating_sub(1);
                board.refused.fetch_add(1, Ordering::Relaxed);
                *board.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("a start: {code}"));
            }
            ToCharger::MeterAck(ack) => {
                let rate = self.rate;
                let Some(session) = self.session(ack.session) else { return Ok(()) };
                let up_to = ack.up_to.min(session.sent);
                let more = u64::from(up_to.saturating_sub(session.acknowledged));
                if more == 0 {
                    return Ok(());
                }
                let behind = u64::from(session.sent - up_to);
                session.acknowledged = up_to;
                // In a closed loop only the last reading's time is known; in an open one every reading's is.
                if rate.is_some() || behind == 0 {
                    let due_us = session.due_us;
                    self.record(due_us, behind, more, since_start);
                }
                self.outstanding = self.outstanding.saturating_sub(more);
                board.acknowledged.fetch_add(more, Ordering::Relaxed);
            }
            ToCharger::SessionRejected { code, text, .. } => {
                if *code != Code::SessionOver {
                    return Err(format!("a reading was refused: {code}: {text}"));
                }
            }
            ToCharger::StopNow { .. } => return Err("the gate stops a session: its hold is too small".to_owned()),
            ToCharger::HelloAck(_)
            | ToCharger::LimitChanged { .. }
            | ToCharger::Receipt(_)
            | ToCharger::GoAway(_)
            | ToCharger::HeartbeatAck { .. }
            | ToCharger::Answer(_)
            | ToCharger::Order { .. } => {}
        }
        Ok(())
    }

    /// Notes the latency of `more` readings, of which the last is `behind` readings before the one due at `due_us`.
    fn record(&mut self, due_us: u64, behind: u64, more: u64, since_start: u64) {
        let round_us = self.rate.map_or(0, |rate| self.total.saturating_mul(1_000_000) / rate.max(1));
        let most = if self.rate.is_some() { more } else { 1 };
        for earlier in 0..most {
            let due = due_us.saturating_sub((behind + earlier).saturating_mul(round_us));
            self.latencies.push(since_start.saturating_sub(due).max(1));
        }
    }

    fn session(&mut self, key: SessionKey) -> Option<&mut LoadSession> {
        let place = key.0.checked_sub(self.key_base).and_then(|place| usize::try_from(place).ok())?;
        self.sessions.get_mut(place)
    }
}
