//! The feed: what happened, for programs that follow it. Facts leave the gate for observers when they are durable.
//!
//! ```text
//!   log ── after each sync ─▶ FactTail (newest, in memory) ─┐
//!   log on disk, as far as it reaches ──────────────────────┼─▶ events ─▶ JSON Lines, SSE, webhooks
//!   archive and live sessions, for what is older ───────────┘
//! ```
//!
//! An observer keeps a [`Cursor`] and pulls, so one that is slow or away costs the gate nothing. A restart changes no
//! position. Who was away longer than the log reaches back gets the sessions' events from the archive and from the live
//! sessions, under the same ids, and `feed.gap`.

mod events;

pub(super) use events::of_session as told_by_session;
pub use events::{EVENT_TYPES, Event};

use super::views::{Unanswered, Views};
use crate::actors::Addr;
use crate::actors::writer::{JournalWriter, View};
use crate::journal::{ById, Failure, KeptRecord, LogPosition, LogView};
use crate::limits::{EVENTS_MAX, FEED_SESSIONS_READ};
use crate::node::fact::Fact;
use crate::node::fact_tail::{FactTail, is_for_observers};
use crate::node::query;
use crate::payment::{OperationKind, Ordinal};
use crate::session::Session;
use crate::units::{PartitionId, PaymentId, SessionId, TimeSpan, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Where an observer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cursor {
    /// Behind this record of the log; the time of the last event.
    Log {
        /// The block.
        block: u64,
        /// The record in it.
        index: u16,
        /// The time of the last event before, in milliseconds.
        at: i64,
    },
    /// In sessions whose facts may have left the log: those behind this one, from a time on; then the log from a block on.
    Sessions {
        /// The last session, as a number.
        last: u128,
        /// From when, in milliseconds.
        since: i64,
        /// The first block of the log afterwards.
        resume: u64,
    },
}

impl Cursor {
    /// Before everything that the log has.
    pub const BEGINNING: Cursor = Cursor::Log { block: 0, index: 0, at: i64::MIN };

    fn of(at: LogPosition, time: i64) -> Cursor {
        Cursor::Log { block: at.block, index: at.index, at: time }
    }
}

/// Some events in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Events {
    /// Each with the cursor behind it.
    pub events: Vec<(Event, Cursor)>,
    /// Where the feed goes on.
    pub next: Cursor,
    /// Whether there may be more at once.
    pub more: bool,
}

/// Source of events of a running gate.
pub struct Feed {
    tail: Arc<FactTail>,
    writer: Addr<JournalWriter>,
}

/// How long the writer of the log may take to answer.
const VIEW_WITHIN: Duration = Duration::from_secs(10);
/// How often the log is read anew when a part of it was trimmed meanwhile.
const READS_MAX: usize = 4;
/// Sessions are searched from so long before the time that an observer has seen.
pub const SESSION_LIFE: TimeSpan = TimeSpan::from_secs(-14 * 86_400);
/// Clocks of chargers and of facts that came out of order.
pub const OVERLAP: TimeSpan = TimeSpan::from_secs(-600);

/// Facts behind a position.
pub(super) enum Facts {
    /// Some of them.
    Some {
        /// In their order.
        facts: Vec<Arc<KeptRecord>>,
        /// Behind the last one.
        next: LogPosition,
        /// Whether there may be more at once.
        more: bool,
    },
    /// The log begins later: at this block.
    Trimmed(u64),
}

/// What the log has behind a position.
enum FromLog {
    Facts(Vec<Arc<KeptRecord>>),
    /// It begins later: at this block.
    Trimmed(u64),
}

impl Feed {
    /// The feed of a gate.
    pub fn new(tail: Arc<FactTail>, writer: Addr<JournalWriter>) -> Feed {
        Feed { tail, writer }
    }

    /// The cursor behind the newest event.
    pub fn end(&self) -> Cursor {
        Cursor::of(self.tail.end(), i64::MIN)
    }

    /// Waits until there may be an event behind a cursor, at most so long.
    pub fn wait(&self, cursor: &Cursor, timeout: Duration) {
        match cursor {
            Cursor::Log { block, index, .. } => self.tail.wait(LogPosition { block: *block, index: *index }, timeout),
            Cursor::Sessions { .. } => {}
        }
    }

    /// The events behind a cursor: those of some [`EVENTS_MAX`] facts.
    ///
    /// # Errors
    /// The log, the archive or a shard cannot be read now.
    pub fn behind(&self, views: &Views, cursor: Cursor) -> Result<Events, Unanswered> {
        match cursor {
            Cursor::Log { block, index, at } => self.in_log(views, LogPosition { block, index }, at),
            Cursor::Sessions { last, since, resume } => from_sessions(views, SessionId::from_u128(last), since, resume),
        }
    }

    /// Where the newest fact stands.
    pub(super) fn log_end(&self) -> LogPosition {
        self.tail.end()
    }

    /// Waits until there is a fact behind a position, at most so long.
    pub fn wait_behind(&self, after: LogPosition, timeout: Duration) {
        self.tail.wait(after, timeout);
    }

    /// The facts for observers behind a position, at most [`EVENTS_MAX`].
    pub(super) fn facts(&self, after: LogPosition) -> Result<Facts, Unanswered> {
        let (facts, end) = match self.tail.behind(after, EVENTS_MAX) {
            Ok(facts) => (facts, None),
            Err(begin) => match self.read_log(after)? {
                // What is missing up to there is in the tail.
                FromLog::Facts(facts) => (facts, Some(begin)),
                FromLog::Trimmed(first) => return Ok(Facts::Trimmed(first)),
            },
        };
        let more = facts.len() >= EVENTS_MAX || end.is_some();
        let mut next = facts.last().map_or(after, |last| last.at);
        if facts.len() < EVENTS_MAX
            && let Some(end) = end
        {
            next = next.max(end);
        }
        Ok(Facts::Some { facts, next, more })
    }

    fn in_log(&self, views: &Views, after: LogPosition, time: i64) -> Result<Events, Unanswered> {
        let (facts, next, more) = match self.facts(after)? {
            Facts::Some { facts, next, more } => (facts, next, more),
            Facts::Trimmed(first) if after.block == 0 && time == i64::MIN => {
                let next = Cursor::of(LogPosition { block: first, index: 0 }, time);
                return Ok(Events { events: Vec::new(), next, more: true });
            }
            Facts::Trimmed(first) => {
                let since = Timestamp::from_unix_ms(time).saturating_add(OVERLAP);
                let oldest = since.saturating_add(SESSION_LIFE).max(Timestamp::default());
                let first_session = SessionId::new(oldest, PartitionId(0), 0);
                let next = Cursor::Sessions { last: first_session.as_u128(), since: since.unix_ms(), resume: first };
                return Ok(Events { events: vec![(Event::gap(since), next)], next, more: true });
            }
        };
        let (mut events, mut time) = (Vec::new(), time);
        for kept in &facts {
            // The log was verified when it was written: a fact that cannot be read is one of a newer version.
            let Ok(fact) = Fact::read(kept.record()) else { continue };
            for event in events_of(views, kept, &fact)? {
                time = Timestamp::parse_rfc3339(&event.at).map_or(time, |at| time.max(at.unix_ms()));
                events.push((event, Cursor::of(kept.at, time)));
            }
        }
        Ok(Events { events, next: Cursor::of(next, time), more })
    }

    /// Reads the log on disk. It goes on being written and trimmed meanwhile; then it is read again.
    fn read_log(&self, after: LogPosition) -> Result<FromLog, Unanswered> {
        let mut failure = None;
        for _ in 0..READS_MAX {
            let Some(mut view) = self.view() else { break };
            if after.block < view.first_block() {
                return Ok(FromLog::Trimmed(view.first_block()));
            }
            let mut facts = Vec::new();
            let read = view.facts_behind(after, is_for_observers, &mut |kept| {
                facts.push(Arc::new(kept));
                facts.len() < EVENTS_MAX
            });
            match read {
                Ok(()) => return Ok(FromLog::Facts(facts)),
                Err(error) => failure = Some(error),
            }
        }
        Err(Unanswered::Archive(failure.unwrap_or(Failure::Dead)))
    }

    fn view(&self) -> Option<LogView> {
        let (reply, view) = mpsc::channel();
        self.writer.try_send(View(reply)).ok()?;
        view.recv_timeout(VIEW_WITHIN).ok()
    }
}

/// The events of a fact, with its place.
pub(super) fn events_of(views: &Views, kept: &KeptRecord, fact: &Fact<'_>) -> Result<Vec<Event>, Unanswered> {
    let kind_of = |payment: PaymentId, number: Ordinal| kind_of(views, payment, number);
    let mut events = events::of_fact(kept.partition, fact, &kind_of)?;
    for event in &mut events {
        (event.partition, event.sequence) = (Some(kept.partition.0), Some(kept.sequence.0));
    }
    Ok(events)
}

/// The events that a session's state still tells, from a time on.
pub fn events_of_session(session: &Session, since: Timestamp) -> Vec<Event> {
    events::of_session(session, since)
}

/// The event that those of accounts, processors and settlement before a time are missing.
pub fn gap(before: Timestamp) -> Event {
    Event::gap(before)
}

/// The kind of an operation, where its fact does not tell it: it never changes.
fn kind_of(views: &Views, payment: PaymentId, number: Ordinal) -> Result<Option<OperationKind>, Unanswered> {
    let Some((payment, _)) = views.payment(payment)? else { return Ok(None) };
    Ok(events::kind_in(&payment, number))
}

/// Sessions behind one, in the order of ids, live and archived: the events that they still tell.
fn from_sessions(views: &Views, last: SessionId, since: i64, resume: u64) -> Result<Events, Unanswered> {
    let page = super::Page { after: Some(last), limit: FEED_SESSIONS_READ };
    let live = views.first(&page, |part| query::WholeSessions { part })?;
    let is_whole = live.len() <= FEED_SESSIONS_READ;
    let mut sessions: BTreeMap<SessionId, Box<Session>> = live.into_iter().take(FEED_SESSIONS_READ).collect();
    let until = if is_whole { None } else { sessions.last_key_value().map(|(id, _)| *id) };
    let (mut read, mut reached) = (0, until);
    for id in views.archived_ids(Some(last), ById::OldestFirst) {
        let id = id?;
        if until.is_some_and(|until| id > until) {
            break;
        }
        if read == FEED_SESSIONS_READ {
            reached = Some(id);
            break;
        }
        read += 1;
        if !sessions.contains_key(&id)
            && let Some(found) = views.archived(id)?
        {
            sessions.insert(id, Box::new(found.session));
        }
    }
    let at = Timestamp::from_unix_ms(since);
    let mut events = Vec::new();
    for (id, session) in sessions.range(..).filter(|(id, _)| reached.is_none_or(|reached| **id <= reached)) {
        let behind = Cursor::Sessions { last: id.as_u128(), since, resume };
        events.extend(events::of_session(session, at).into_iter().map(|event| (event, behind)));
    }
    let next = match reached {
        // One that was reached and not read comes next.
        Some(reached) if !sessions.contains_key(&reached) => {
            let before = sessions.range(..reached).next_back().map_or(last, |(id, _)| *id);
            Cursor::Sessions { last: before.as_u128(), since, resume }
        }
        Some(reached) => Cursor::Sessions { last: reached.as_u128(), since, resume },
        None => Cursor::of(LogPosition { block: resume, index: 0 }, since),
    };
    Ok(Events { events, next, more: true })
}
