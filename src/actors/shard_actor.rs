//! The actix actor around a [`Shard`]: one per core, alone on its thread.
//!
//! It takes turns from connections, answers from processors, committed batches from the journal's writer and ticks of
//! the clock, and lets the shard decide. What the gate releases goes out through the [`Outside`].

use super::keeper::{Keeper, Swept};
use super::outside::Outside;
use super::turn::{Attach, Detach, Turn};
use super::writer::{Append, JournalWriter, LogFigures};
use crate::journal::{Batch, Busy, Position, Sequence};
use crate::limits;
use crate::message::{Code, FromCharger, Received};
use crate::metrics::{Durations, MAILBOX_DEPTH};
use crate::node::charger::Link;
use crate::node::shard::{Input, LOOK_AHEAD, Shard};
use crate::node::snapshot::Sweep;
use crate::units::{Clock, Now, PartitionId};
use actix::prelude::SendError;
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, StreamHandler};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// How often a shard looks at its timer wheel.
const TICK: Duration = Duration::from_millis(50);

/// A shard that is so far behind begins no new session. What has begun goes on, however late: readings wait, and money is
/// asked for before them.
const START_WAIT_MAX: Duration = Duration::from_millis(limits::START_WAIT_MAX.ms().unsigned_abs());

/// How long a shard does other things between two pieces of a snapshot.
const SWEEP_PAUSE: Duration = Duration::from_millis(1);

/// After each of so much time a shard writes a piece of a snapshot that is under way: a quarter of what it can.
const SWEEP_EVERY: Duration = Duration::from_micros(800);

/// So many pieces are written at once, however long there was something else to do: some 10 ms.
const SWEEP_PIECES_MAX: usize = 50;

/// A shard on its thread.
pub struct ShardActor {
    shard: Shard,
    outside: Outside,
    clock: Arc<dyn Clock>,
    writer: Addr<JournalWriter>,
    committed: mpsc::Sender<Batch>,
    returning: Option<mpsc::Receiver<Batch>>,
    /// Turns that found the journal busy. At most one for each connection: it reads no further until its turn is taken.
    turns: VecDeque<Turn>,
    /// Other inputs that found the journal busy; bounded by what processors and accounts may have in flight.
    inputs: VecDeque<Input>,
    /// Turns whose records are not durable yet: up to where, since when, and how many readings.
    under_way: VecDeque<(Position, Instant, u64)>,
    ticks: Arc<Durations>,
    /// How long the log is: at its bound turns wait.
    log: Arc<LogFigures>,
    /// The snapshots that are being taken, each of another partition, and when a piece of them was last written. At most
    /// [`limits::SNAPSHOTS_UNDER_WAY`].
    snapshots: Vec<(PartitionId, Addr<Keeper>)>,
    swept: Instant,
    /// A [`GoOn`] is on its way.
    goes_on: bool,
    /// What waits for the journal in all shards, and what this one has told of it.
    depth: ::metrics::Gauge,
    told: u32,
}

/// Take a snapshot of a partition, beside everything else.
pub struct TakeSnapshot {
    /// Which partition.
    pub partition: PartitionId,
    /// Not if this is its last record.
    pub unless: Option<Sequence>,
    /// Who keeps it.
    pub reply: Addr<Keeper>,
}

impl Message for TakeSnapshot {
    type Result = ();
}

/// Go on with the snapshot.
struct GoOn;

impl Message for GoOn {
    type Result = ();
}

/// Anything for the shard that is not a charger's turn.
pub struct Take(pub Input);

impl Message for Take {
    type Result = ();
}

/// A look at the shard, for the console.
pub struct Look(pub Box<dyn FnOnce(&Shard) + Send>);

impl Message for Look {
    type Result = ();
}

/// Finish: makes what was decided durable and lets it leave. Answers whether nothing is left; ask again if not.
pub struct Drain(pub std::sync::mpsc::Sender<bool>);

impl Message for Drain {
    type Result = ();
}

impl ShardActor {
    /// A shard with its surroundings. How long readings took from their arrival until they were durable is counted in `ticks`.
    pub fn new(
        shard: Shard,
        outside: Outside,
        clock: Arc<dyn Clock>,
        writer: Addr<JournalWriter>,
        ticks: Arc<Durations>,
        log: Arc<LogFigures>,
    ) -> ShardActor {
        let (committed, returning) = mpsc::channel(limits::BATCHES_IN_FLIGHT_MAX);
        ShardActor {
            shard,
            outside,
            clock,
            writer,
            committed,
            returning: Some(returning),
            turns: VecDeque::new(),
            inputs: VecDeque::new(),
            under_way: VecDeque::new(),
            ticks,
            log,
            snapshots: Vec::new(),
            swept: Instant::now(),
            goes_on: false,
            depth: MAILBOX_DEPTH.gauge(&["shard"]),
            told: 0,
        }
    }

    /// Writes up to `cells` more cells of the first snapshot that is not written, and hands over those that may be kept. Says
    /// whether there are more cells.
    fn sweep(&mut self, cells: usize) -> bool {
        let mut going = false;
        self.snapshots.retain(|(partition, keeper)| {
            match self.shard.sweep(*partition, if going { 0 } else { cells }) {
                Sweep::Going => {
                    going = true;
                    true
                }
                // Looked at again after the next commit.
                Sweep::Waiting => true,
                Sweep::Done(taken) => {
                    // The keeper has room for the answers of each shard.
                    let _ = keeper.try_send(Swept { partition: *partition, taken: Some(taken) });
                    false
                }
            }
        });
        going
    }

    /// Writes as much of the snapshots as a shard does that has other things to do as well: a piece in [`SWEEP_EVERY`], and those
    /// that it did not come to; at least this many. Says whether there is more.
    fn sweep_between(&mut self, pieces_min: usize) -> bool {
        if self.snapshots.is_empty() {
            return false;
        }
        let pieces = self.swept.elapsed().as_micros() / SWEEP_EVERY.as_micros();
        let pieces =
            usize::try_from(pieces).map_or(SWEEP_PIECES_MAX, |pieces| pieces.clamp(pieces_min, SWEEP_PIECES_MAX));
        if pieces == 0 {
            return true;
        }
        let going = self.sweep(pieces * limits::SNAPSHOT_CELLS_AT_ONCE);
        self.swept = Instant::now();
        going
    }

    /// Says how much waits for the journal.
    fn tell_depth(&mut self) {
        let waiting = u32::try_from(self.turns.len() + self.inputs.len()).unwrap_or(u32::MAX);
        self.depth.increment(f64::from(waiting) - f64::from(self.told));
        self.told = waiting;
    }

    /// Takes what waited for the journal, as far as it has room again. Older first, so that nobody is overtaken.
    fn catch_up(&mut self, now: Now) {
        while let Some(input) = self.inputs.pop_front() {
            if let Err(input) = self.shard.take(input, now) {
                self.inputs.push_front(input);
                return;
            }
        }
        while let Some(mut turn) = self.turns.pop_front() {
            if self.take_turn(&mut turn, now).is_err() {
                self.turns.push_front(turn);
                return;
            }
        }
    }

    /// Takes the messages of a turn. Busy: the rest waits, and its connection reads no further.
    fn take_turn(&mut self, turn: &mut Turn, now: Now) -> Result<(), Busy> {
        if self.log.is_full() {
            return Err(Busy::Log);
        }
        let (mut readings, mut speakers, mut next) = (0, [None; LOOK_AHEAD], LOOK_AHEAD);
        loop {
            if next == LOOK_AHEAD {
                speakers = self.shard.look_ahead(turn.connection, turn.messages.as_slice());
                next = 0;
            }
            // Before a message is taken, so that none is lost or copied.
            self.shard.has_room()?;
            let Some(Received { channel, message }) = turn.messages.next() else { break };
            let speaker = speakers[next];
            next += 1;
            let link = Link { connection: turn.connection, channel };
            match message {
                FromCharger::Hello(hello) if !self.shard.has_room_for(&hello.charger) => {
                    let most = limits::CHARGERS_PER_PARTITION;
                    tracing::warn!(charger = %hello.charger, most, "a charger is sent away: its partition has as many as it may have");
                    self.outside.close(link, Code::Overloaded);
                }
                FromCharger::Hello(hello) => {
                    if let Some(replaced) = self.shard.hello(link, &hello, now)? {
                        self.outside.close(replaced, Code::Replaced);
                    }
                    next = LOOK_AHEAD;
                }
                message => {
                    if let FromCharger::Start(start) = &message
                        && turn.arrived.elapsed() > START_WAIT_MAX
                        && self.shard.is_new(link, start.session)
                    {
                        self.outside.refuse_start(link, start.session, Code::Busy);
                        continue;
                    }
                    readings += u64::from(matches!(message, FromCharger::Reading { .. }));
                    match speaker {
                        Some(charger) => self.shard.known_charger_says(charger, message, now)?,
                        // A newer connection speaks for this charger: what the older one still says is not heard.
                        None => self.outside.close(link, Code::Replaced),
                    }
                }
            }
        }
        // What only repeats has nothing to wait for.
        match self.shard.appended() {
            _ if readings == 0 => {}
            last if last <= self.shard.durable() => self.ticks.observe_many(turn.arrived.elapsed(), readings),
            last => self.under_way.push_back((last, turn.arrived, readings)),
        }
        self.outside.resume(turn.connection);
        Ok(())
    }

    /// Hands what has gathered to the writer, and what is durable to the outside.
    fn pump(&mut self, now: Now) {
        loop {
            if let Some(batch) = self.shard.take_batch() {
                let append = Append { batch, reply: self.committed.clone() };
                match self.writer.try_send(append) {
                    Ok(()) => {}
                    // The process is at its end: nothing becomes durable any more, so nothing leaves any more.
                    Err(SendError::Closed(_)) => return,
                    Err(SendError::Full(_)) => unreachable!("the writer's mailbox has room for every shard's batches"),
                }
            }
            let (mut looped, mut looked_at) = (false, 0);
            loop {
                if looked_at == 0 {
                    self.shard.look_behind_gate();
                    looked_at = LOOK_AHEAD;
                }
                looked_at -= 1;
                let Some(output) = self.shard.release() else { break };
                self.outside.carry(&self.shard, output);
            }
            self.outside.flush(&self.shard);
            while let Some(input) = self.outside.next_input() {
                looped = true;
                if let Err(input) = self.shard.take(input, now) {
                    self.inputs.push_back(input);
                }
            }
            if !looped {
                return;
            }
        }
    }
}

impl Actor for ShardActor {
    type Context = Context<ShardActor>;

    fn started(&mut self, context: &mut Context<ShardActor>) {
        context.set_mailbox_capacity(limits::SHARD_MAILBOX);
        let returning = self.returning.take().expect("a shard starts once");
        context.add_stream(ReceiverStream::new(returning));
        context.run_interval(TICK, |actor, _| {
            let now = actor.clock.now();
            actor.catch_up(now);
            actor.shard.tick(now);
            actor.outside.retry(&actor.shard);
            actor.tell_depth();
            actor.pump(now);
        });
        let now = self.clock.now();
        self.shard.resume(now);
        self.pump(now);
    }
}

impl StreamHandler<Batch> for ShardActor {
    fn handle(&mut self, batch: Batch, _: &mut Context<ShardActor>) {
        let now = self.clock.now();
        let durable = self.shard.committed(batch);
        while let Some((_, arrived, readings)) = self.under_way.pop_front_if(|(last, ..)| *last <= durable) {
            self.ticks.observe_many(arrived.elapsed(), readings);
        }
        self.catch_up(now);
        self.pump(now);
        // A snapshot may have waited for these records.
        self.sweep(1);
    }
}

impl Handler<TakeSnapshot> for ShardActor {
    type Result = ();

    fn handle(&mut self, wanted: TakeSnapshot, context: &mut Context<ShardActor>) {
        let TakeSnapshot { partition, unless, reply } = wanted;
        if unless == Some(self.shard.last(partition)) {
            let _ = reply.try_send(Swept { partition, taken: None });
            return;
        }
        self.shard.begin_snapshot(partition);
        if self.snapshots.is_empty() {
            self.swept = Instant::now();
        }
        self.snapshots.push((partition, reply));
        if !self.goes_on {
            self.goes_on = true;
            context.notify(GoOn);
        }
    }
}

impl Handler<GoOn> for ShardActor {
    type Result = ();

    fn handle(&mut self, _: GoOn, context: &mut Context<ShardActor>) {
        self.goes_on = self.sweep_between(1);
        if self.goes_on {
            match self.log.is_strained() {
                true => context.notify(GoOn),
                false => drop(context.notify_later(GoOn, SWEEP_PAUSE)),
            }
        }
    }
}

impl Handler<Attach> for ShardActor {
    type Result = ();

    fn handle(&mut self, attach: Attach, _: &mut Context<ShardActor>) {
        self.outside.attach(attach.connection, attach.outlet);
    }
}

impl Handler<Detach> for ShardActor {
    type Result = ();

    fn handle(&mut self, Detach(connection): Detach, _: &mut Context<ShardActor>) {
        self.turns.retain(|turn| turn.connection != connection);
        self.shard.disconnected(connection);
        self.outside.detach(connection);
    }
}

impl Handler<Turn> for ShardActor {
    type Result = ();

    fn handle(&mut self, mut turn: Turn, _: &mut Context<ShardActor>) {
        let now = self.clock.now();
        if !self.turns.is_empty() || self.take_turn(&mut turn, now).is_err() {
            self.turns.push_back(turn);
        }
        self.pump(now);
        // Behind many turns the next word of the snapshots may be long in coming.
        self.sweep_between(0);
    }
}

impl Handler<Take> for ShardActor {
    type Result = ();

    fn handle(&mut self, Take(input): Take, _: &mut Context<ShardActor>) {
        let now = self.clock.now();
        if let Err(input) = self.shard.take(input, now) {
            self.inputs.push_back(input);
        }
        self.pump(now);
    }
}

impl Handler<Drain> for ShardActor {
    type Result = ();

    fn handle(&mut self, Drain(done): Drain, _: &mut Context<ShardActor>) {
        let now = self.clock.now();
        self.catch_up(now);
        self.pump(now);
        let _ = done.send(self.shard.is_idle() && self.inputs.is_empty() && self.turns.is_empty());
    }
}

impl Handler<Look> for ShardActor {
    type Result = ();

    fn handle(&mut self, Look(look): Look, _: &mut Context<ShardActor>) {
        look(&self.shard);
    }
}
