//! A fleet: many simulated chargers on many connections, or on a few through their site controllers.
//!
//! One task per connection owns its chargers; only the stop order and the published figures are shared. A broken
//! connection is dialled again with growing pauses, and the chargers continue from the gate's position.

mod ocpp;
mod report;

pub use report::FleetReport;

use super::backoff::Backoff;
use super::charger::{Charger, Finished, Settings, Tally};
use super::memory::ChargerMemories;
use super::ocpp::{OcppCharger, OcppLine, OcppSettings};
use super::pace::Pace;
use super::pipe::{Dialler, Pipe, PipeEvent};
use crate::message::{Channel, FromCharger, Received, ToCharger};
use crate::units::rng::Rng;
use crate::units::{ChargerId, Energy, MeterReading, Mono, Now, SessionKey, Timestamp};
use crate::wire::{ChargerClientLink, MeterValues, SendError};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// One connection: its chargers, and its dialler.
pub struct Line {
    /// How to connect, as the charger or the site controller.
    pub dialler: Dialler,
    /// The chargers on it.
    pub chargers: Vec<Settings>,
    /// What is spoken on it.
    pub speaks: Speaks,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// The native protocol, by one charger.
    Native,
    /// The native protocol, by a site controller with a channel for each charger.
    Site,
    /// OCPP, by one charger; the dialler opens the WebSocket.
    Ocpp(OcppSettings),
}

/// Observes the messages between a fleet's chargers and the gate, when they are passed on.
pub trait Observer: Send + Sync {
    /// Called with a message of a charger.
    fn sent(&self, charger: &ChargerId, message: &FromCharger, at: Instant);

    /// Called with a message to a charger.
    fn received(&self, charger: &ChargerId, message: &ToCharger, at: Instant);
}

/// An order to the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Run,
    /// No new drivers; end when every session has its receipt.
    Finish,
    Stop,
}

/// A running fleet. Dropping it stops it.
pub struct Fleet {
    order: watch::Sender<Order>,
    boards: Vec<Arc<Mutex<FleetReport>>>,
    tasks: Vec<JoinHandle<()>>,
}

/// Bytes that may wait for the gate before a charger holds its tongue.
const BACKLOG_MAX: usize = 64 * 1_024;
/// Messages that one charger sends before the next one has its turn.
const MESSAGES_PER_TURN: usize = 1_024;
/// Interval at which a connection publishes its figures.
const PUBLISHED_EVERY: Duration = Duration::from_millis(200);
/// Waits between dials.
const DIAL_AGAIN_FIRST: Duration = Duration::from_millis(100);
const DIAL_AGAIN_MOST: Duration = Duration::from_secs(5);
/// How long an attempt to connect may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(20);

impl Fleet {
    /// Starts the fleet on the current runtime. Connections are opened evenly over `within`; `keep_finished` keeps every
    /// session with its receipt for the final report.
    pub fn start(lines: Vec<Line>, pace: &Pace, within: Duration, keep_finished: bool) -> Fleet {
        Fleet::run(Fleet::fresh(lines, pace), pace, within, keep_finished, None)
    }

    /// The same with an observer of every message.
    pub fn start_observed(lines: Vec<Line>, pace: &Pace, within: Duration, observer: Arc<dyn Observer>) -> Fleet {
        Fleet::run(Fleet::fresh(lines, pace), pace, within, false, Some(observer))
    }

    /// Chargers that are switched on for the first time.
    fn fresh(lines: Vec<Line>, pace: &Pace) -> Vec<Woken> {
        let now = pace.now().wall;
        let woken = lines.into_iter().map(|line| {
            let chargers = line.chargers.into_iter().map(|settings| Charger::new(settings, now)).collect();
            Woken { dialler: line.dialler, speaks: line.speaks, chargers, memories: None }
        });
        woken.collect()
    }

    /// The same with chargers that store their state in this folder, and continue their sessions.
    ///
    /// # Errors
    /// The folder cannot be made, or a stored state cannot be read; the error names it.
    pub fn start_remembering(lines: Vec<Line>, pace: &Pace, within: Duration, folder: &Path) -> Result<Fleet, String> {
        let memories = ChargerMemories::open(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut woken = Vec::with_capacity(lines.len());
        for line in lines {
            let now = pace.now().wall;
            let mut chargers = Vec::with_capacity(line.chargers.len());
            for settings in line.chargers {
                let mut charger = Charger::new(settings, now);
                let named = |error: String| format!("the memory of {} in {}: {error}", charger.id(), folder.display());
                let known = memories.recall(charger.id()).map_err(|error| named(error.to_string()))?;
                if let Some(known) = known {
                    // A memory that was cut off makes the charger one that was replaced.
                    if let Err(error) = charger.remember(&known, now) {
                        tracing::warn!(charger = %charger.id(), %error, "a simulated charger has lost its memory");
                    }
                }
                chargers.push(charger);
            }
            woken.push(Woken {
                dialler: line.dialler,
                speaks: line.speaks,
                chargers,
                memories: Some(memories.clone()),
            });
        }
        Ok(Fleet::run(woken, pace, within, false, None))
    }

    fn run(
        lines: Vec<Woken>,
        pace: &Pace,
        within: Duration,
        keep_finished: bool,
        observer: Option<Arc<dyn Observer>>,
    ) -> Fleet {
        let (order, orders) = watch::channel(Order::Run);
        let count = u32::try_from(lines.len()).unwrap_or(u32::MAX).max(1);
        let (mut boards, mut tasks) = (Vec::new(), Vec::new());
        for (line, place) in lines.into_iter().zip(0_u32..) {
            let board = Arc::new(Mutex::new(FleetReport::default()));
            boards.push(Arc::clone(&board));
            let seed = line.chargers.first().map_or(0, Charger::seed);
            let ocpp = match line.speaks {
                Speaks::Ocpp(settings) => Some(OcppLine::new(OcppCharger::new(settings, pace.now().wall))),
                Speaks::Native | Speaks::Site => None,
            };
            let runner = Runner {
                chargers: line.chargers,
                memories: line.memories,
                site: line.speaks == Speaks::Site,
                ocpp,
                dialler: line.dialler,
                pace: pace.clone(),
                rng: Rng::of(seed, u128::from(place) | 1 << 100),
                due: BTreeSet::new(),
                due_of: Vec::new(),
                dirty: BTreeSet::new(),
                online: BTreeSet::new(),
                report: FleetReport::default(),
                board,
                published: Instant::now(),
                keep_finished,
                observer: observer.clone(),
                orders: orders.clone(),
            };
            tasks.push(tokio::spawn(runner.run(within * place / count)));
        }
        Fleet { order, boards, tasks }
    }

    /// How it stands, as of a moment ago, without the list of finished sessions.
    pub fn counts(&self) -> FleetReport {
        let mut sum = FleetReport::default();
        for board in &self.boards {
            sum.add(&board.lock().unwrap_or_else(PoisonError::into_inner));
        }
        sum
    }

    /// Sessions that got their receipts since the last call, if they are kept; those do not come again.
    pub fn take_finished(&self) -> Vec<Finished> {
        let taken = |board: &Arc<Mutex<FleetReport>>| {
            std::mem::take(&mut board.lock().unwrap_or_else(PoisonError::into_inner).finished)
        };
        self.boards.iter().flat_map(taken).collect()
    }

    /// Its end.
    fn last_report(&self) -> FleetReport {
        let mut sum = self.counts();
        for board in &self.boards {
            sum.finished.append(&mut board.lock().unwrap_or_else(PoisonError::into_inner).finished);
        }
        sum
    }

    /// Admits no new drivers, ends the running sessions, and waits until every session has its receipt or the
    /// time-out is over; then stops.
    pub async fn finish(mut self, timeout: Duration) -> FleetReport {
        self.order.send_replace(Order::Finish);
        let deadline = Instant::now() + timeout;
        let mut tasks = std::mem::take(&mut self.tasks);
        for task in &mut tasks {
            if tokio::time::timeout_at(deadline, &mut *task).await.is_err() {
                break;
            }
        }
        self.stop_tasks(tasks).await;
        self.last_report()
    }

    /// Stops at once, without waiting for anything from the gate.
    pub async fn stop(mut self) -> FleetReport {
        let tasks = std::mem::take(&mut self.tasks);
        self.stop_tasks(tasks).await;
        self.last_report()
    }

    async fn stop_tasks(&self, tasks: Vec<JoinHandle<()>>) {
        self.order.send_replace(Order::Stop);
        for task in tasks {
            if !task.is_finished() {
                // A task that panicked has published what it knew.
                let _ = task.await;
            }
        }
    }
}

/// A connection with its chargers, after they were switched on.
struct Woken {
    dialler: Dialler,
    speaks: Speaks,
    chargers: Vec<Charger>,
    memories: Option<ChargerMemories>,
}

/// One connection's task.
struct Runner {
    chargers: Vec<Charger>,
    memories: Option<ChargerMemories>,
    site: bool,
    /// Its one charger speaks OCPP.
    ocpp: Option<OcppLine>,
    dialler: Dialler,
    pace: Pace,
    rng: Rng,
    /// When which charger has something to do, by the chargers' clock.
    due: BTreeSet<(Timestamp, usize)>,
    due_of: Vec<Option<Timestamp>>,
    /// Chargers that may have messages to send.
    dirty: BTreeSet<usize>,
    online: BTreeSet<usize>,
    report: FleetReport,
    board: Arc<Mutex<FleetReport>>,
    published: Instant,
    keep_finished: bool,
    observer: Option<Arc<dyn Observer>>,
    orders: watch::Receiver<Order>,
}

/// Why a connection is not served any more.
enum Over {
    /// The fleet is to stop, or has nothing left to do.
    Done,
    /// The connection is lost; dial again after this pause.
    Lost(String, Duration),
}

impl Runner {
    async fn run(mut self, delay: Duration) {
        self.due_of = vec![None; self.chargers.len()];
        for index in 0..self.chargers.len() {
            self.schedule(index);
        }
        self.publish();
        let mut backoff = Backoff::new(DIAL_AGAIN_FIRST, DIAL_AGAIN_MOST);
        let mut wait = delay;
        while self.pause(wait).await {
            self.report.dials += 1;
            let dialling = tokio::time::timeout(DIAL_TIMEOUT, self.dialler.dial()).await;
            let outcome = match dialling {
                Ok(Ok(stream)) if self.ocpp.is_some() => self.serve_ocpp(Pipe::new(stream), &mut backoff).await,
                Ok(Ok(stream)) => self.serve(Pipe::new(stream), &mut backoff).await,
                Ok(Err(error)) => {
                    self.report.dials_failed += 1;
                    Over::Lost(error.to_string(), Duration::ZERO)
                }
                Err(_) => {
                    self.report.dials_failed += 1;
                    Over::Lost("no connection in time".to_owned(), Duration::ZERO)
                }
            };
            self.online.clear();
            let now = self.pace.now().mono;
            for charger in &mut self.chargers {
                match &mut self.ocpp {
                    Some(ocpp) => ocpp.disconnected(charger, now),
                    None => charger.disconnected(),
                }
            }
            match outcome {
                Over::Done => break,
                Over::Lost(error, at_least) => {
                    self.report.last_error = Some(error);
                    wait = backoff.wait(&mut self.rng).max(at_least);
                }
            }
            self.publish();
        }
        self.publish();
    }

    /// Waits, unless there is nothing left to wait for.
    async fn pause(&mut self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        loop {
            let order = *self.orders.borrow_and_update();
            match order {
                Order::Stop => return false,
                Order::Finish => {
                    let now = self.pace.now();
                    for charger in &mut self.chargers {
                        charger.close(now);
                    }
                    if self.is_finished() {
                        return false;
                    }
                }
                Order::Run => {}
            }
            tokio::select! {
                () = tokio::time::sleep_until(until) => return true,
                changed = self.orders.changed() => if changed.is_err() { return false },
            }
        }
    }

    fn is_finished(&self) -> bool {
        self.chargers.iter().all(|charger| charger.open_sessions() == 0)
    }

    /// Serves one connection until it ends.
    async fn serve(&mut self, mut pipe: Pipe, backoff: &mut Backoff) -> Over {
        let now = self.pace.now();
        let mut link = ChargerClientLink::new(now.mono);
        let mut messages: Vec<Received<ToCharger>> = Vec::new();
        for index in 0..self.chargers.len() {
            let hello = FromCharger::Hello(self.chargers[index].hello(now));
            if let Err(error) = link.send(self.channel(index), &hello, now.mono, pipe.out()) {
                return Over::Lost(error.to_string(), DIAL_AGAIN_MOST);
            }
        }
        loop {
            if !self.obey() {
                link.close();
                pipe.close(Duration::from_secs(1)).await;
                return Over::Done;
            }
            let now = self.pace.now();
            self.pass_time(now);
            if let Err(error) = self.send_due(&mut link, &mut pipe, now) {
                return self.lost(error.to_string());
            }
            if self.published.elapsed() >= PUBLISHED_EVERY {
                self.publish();
            }
            let deadline = self.next_wake(link.next_deadline(), now);
            let received = tokio::select! {
                turn = pipe.turn(deadline) => match turn {
                    Ok(PipeEvent::Bytes(bytes)) => link.receive(bytes, self.pace.now(), &mut messages),
                    Ok(PipeEvent::Sent) => Ok(()),
                    Ok(PipeEvent::Time) => {
                        let now = self.pace.now();
                        if link.next_deadline().is_some_and(|at| at <= now.mono) {
                            // Once per heartbeat all chargers check whether an unanswered start is to be repeated.
                            self.dirty.extend(0..self.chargers.len());
                            link.on_deadline(now, pipe.out())
                        } else {
                            Ok(())
                        }
                    }
                    Err(error) => return self.lost(error.to_string()),
                },
                changed = self.orders.changed() => {
                    if changed.is_err() { return Over::Done }
                    Ok(())
                }
            };
            let now = self.pace.now();
            for message in messages.drain(..) {
                self.on_message(message, now, backoff);
            }
            if let Err(error) = received {
                let wait = match &error {
                    crate::wire::LinkError::PeerLeft(go) => {
                        Duration::from_millis(go.reconnect_after.ms().max(0).unsigned_abs())
                    }
                    _ => Duration::ZERO,
                };
                let Over::Lost(text, _) = self.lost(error.to_string()) else { return Over::Done };
                return Over::Lost(text, wait.min(DIAL_TIMEOUT));
            }
        }
    }

    fn lost(&mut self, error: String) -> Over {
        self.report.disconnects += 1;
        Over::Lost(error, Duration::ZERO)
    }

    /// Carries out orders; returns false when this connection is no longer needed.
    fn obey(&mut self) -> bool {
        let order = *self.orders.borrow_and_update();
        match order {
            Order::Run => true,
            Order::Stop => false,
            Order::Finish => {
                let now = self.pace.now();
                for index in 0..self.chargers.len() {
                    self.chargers[index].close(now);
                    self.dirty.insert(index);
                }
                !self.is_finished()
            }
        }
    }

    fn channel(&self, index: usize) -> Channel {
        if self.site { Channel(u32::try_from(index + 1).unwrap_or(u32::MAX)) } else { Channel::ZERO }
    }

    fn on_message(&mut self, received: Received<ToCharger>, now: Now, backoff: &mut Backoff) {
        let index = match (self.site, received.channel.0.checked_sub(1)) {
            (true, Some(index)) => usize::try_from(index).unwrap_or(usize::MAX),
            (true, None) => return,
            (false, _) => 0,
        };
        let Some(charger) = self.chargers.get_mut(index) else { return };
        match &received.message {
            ToCharger::HelloAck(_) => {
                self.online.insert(index);
                self.report.greetings += 1;
                backoff.succeeded();
            }
            ToCharger::GoAway(go) => {
                self.online.remove(&index);
                self.report.last_error = Some(format!("{}: {}: {}", charger.id(), go.code, go.text));
            }
            _ => {}
        }
        if let Some(observer) = &self.observer {
            observer.received(charger.id(), &received.message, Instant::now());
        }
        charger.on_message(received.message, now);
        for finished in charger.take_finished() {
            *self.report.paid_minor.entry(finished.total.currency.code()).or_default() += finished.total.minor;
            self.report.energy_wh += finished.energy.whole_watt_hours();
            self.report.receipt.get_or_insert_with(|| finished.receipt.clone());
            if self.keep_finished {
                self.report.finished.push(finished);
            }
        }
        self.dirty.insert(index);
        self.schedule(index);
    }

    /// Lets the chargers do everything due.
    fn pass_time(&mut self, now: Now) {
        while let Some(&(at, index)) = self.due.first()
            && at <= now.wall
        {
            self.chargers[index].advance(now);
            self.dirty.insert(index);
            self.schedule(index);
        }
    }

    fn schedule(&mut self, index: usize) {
        if let Some(at) = self.due_of[index].take() {
            self.due.remove(&(at, index));
        }
        if let Some(at) = self.chargers[index].next_deadline() {
            self.due.insert((at, index));
            self.due_of[index] = Some(at);
        }
    }

    /// Sends the chargers' messages, as long as the gate keeps reading.
    fn send_due(&mut self, link: &mut ChargerClientLink, pipe: &mut Pipe, now: Now) -> Result<(), SendError> {
        let mut outbox = Outbox::default();
        while pipe.backlog() < BACKLOG_MAX
            && let Some(index) = self.dirty.pop_first()
        {
            self.remember(index);
            self.chargers[index].take_messages(now.mono, MESSAGES_PER_TURN, &mut outbox.messages);
            if let Some(observer) = &self.observer {
                let at = Instant::now();
                outbox.messages.iter().for_each(|message| observer.sent(self.chargers[index].id(), message, at));
            }
            if outbox.messages.len() == MESSAGES_PER_TURN {
                self.dirty.insert(index);
            }
            outbox.send_all(link, self.channel(index), now, pipe.out())?;
        }
        Ok(())
    }

    /// A charger's state is stored before its messages are sent.
    fn remember(&mut self, index: usize) {
        let (Some(memories), Some(charger)) = (&mut self.memories, self.chargers.get(index)) else { return };
        if let Err(error) = memories.remember(charger.id(), charger.memory()) {
            self.report.last_error = Some(format!("the memory of {}: {error}", charger.id()));
        }
    }

    fn next_wake(&self, deadline: Option<Mono>, now: Now) -> Instant {
        let mut wait = PUBLISHED_EVERY.saturating_sub(self.published.elapsed()).max(Duration::from_millis(1))
            + Duration::from_secs(1);
        if let Some((at, _)) = self.due.first() {
            wait = wait.min(self.pace.until(*at, now));
        }
        if let Some(at) = deadline {
            wait = wait.min(self.pace.until_mono(at, now));
        }
        Instant::now() + wait
    }

    fn publish(&mut self) {
        let mut tally = Tally::default();
        let (mut open, mut to_come, mut unacknowledged) = (0, 0, 0);
        for charger in &self.chargers {
            tally.add(charger.tally());
            open += u64::try_from(charger.open_sessions()).unwrap_or(u64::MAX);
            to_come += u64::try_from(charger.sessions_to_come()).unwrap_or(u64::MAX);
            unacknowledged += charger.unacknowledged();
        }
        self.report.chargers = u64::try_from(self.chargers.len()).unwrap_or(u64::MAX);
        self.report.ocpp_chargers = u64::from(self.ocpp.is_some());
        self.report.chargers_online = u64::try_from(self.online.len()).unwrap_or(u64::MAX);
        self.report.sessions_open = open;
        self.report.sessions_to_come = to_come;
        self.report.readings_unacknowledged = unacknowledged;
        self.report.tally = tally;
        self.published = Instant::now();
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        // Finished sessions move to the board; everything else is replaced.
        let mut finished = std::mem::take(&mut board.finished);
        finished.append(&mut self.report.finished);
        *board = self.report.clone();
        board.finished = finished;
    }
}

/// Messages of a charger that are to be sent.
#[derive(Default)]
pub(super) struct Outbox {
    pub messages: Vec<FromCharger>,
    /// Readings of one session that follow each other.
    run: Vec<MeterReading>,
}

impl Outbox {
    /// Sends the messages; readings of one session that follow each other share frames.
    ///
    /// # Errors
    /// A message does not fit a frame, or its channel has not sent Hello.
    pub fn send_all(
        &mut self,
        link: &mut ChargerClientLink,
        channel: Channel,
        now: Now,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        let Outbox { messages, run } = self;
        run.clear();
        let mut of: Option<SessionKey> = None;
        let flush = |link: &mut ChargerClientLink, run: &mut Vec<MeterReading>, session, out: &mut Vec<u8>| {
            link.send_readings(channel, MeterValues { session, readings: run }, now.mono, out)?;
            run.clear();
            Ok::<(), SendError>(())
        };
        for message in messages.drain(..) {
            match message {
                FromCharger::Reading { session, reading } => {
                    if let Some(other) = of.filter(|other| *other != session) {
                        flush(link, run, other, out)?;
                    }
                    of = Some(session);
                    run.push(reading);
                }
                other => {
                    if let Some(session) = of.take() {
                        flush(link, run, session, out)?;
                    }
                    link.send(channel, &other, now.mono, out)?;
                }
            }
        }
        of.map_or(Ok(()), |session| flush(link, run, session, out))
    }
}

/// Names of simulated chargers: `<prefix>0001` and so on.
///
/// # Errors
/// The prefix is not part of a charger id, or makes one that is too long.
pub fn charger_names(prefix: &str, count: u32) -> Result<Vec<ChargerId>, crate::units::IdError> {
    let width = count.to_string().len().max(4);
    (1..=count).map(|number| ChargerId::new(&format!("{prefix}{number:0width$}"))).collect()
}

/// Energy of all finished sessions.
pub fn energy_of(finished: &[Finished]) -> Energy {
    let sum = finished.iter().fold(0_i64, |sum, one| sum.saturating_add(one.energy.microwatt_hours()));
    Energy::from_microwatt_hours(sum)
}

#[cfg(test)]
mod tests;
