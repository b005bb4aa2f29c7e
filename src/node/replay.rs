//! Rebuilds a shard from its records: applies events, without decisions and outputs.

use super::codes;
use super::fact::Fact;
use super::hosted::Slot;
use super::partition::Partition;
use super::session::{HostedSession, Pricing};
use super::shard::Shard;
use super::snapshot::insert_session;
use crate::charger;
use crate::journal::{Record, Replay, Sequence};
use crate::session::{self, Opening, Session};
use crate::tariff::{Rating, Tariff};
use crate::units::{Energy, Now, PartitionId, SessionId};
use jiff::tz::TimeZone;
use std::sync::Arc;

/// A shard while its records are replayed.
pub struct Rebuilding {
    /// The shard.
    pub shard: Shard,
    /// The clocks of the start.
    pub now: Now,
}

impl Replay for Rebuilding {
    fn snapshot(&mut self, partition: PartitionId, _: Sequence, state: &[u8]) -> Result<(), String> {
        self.shard.restore(partition, state, self.now)
    }

    fn record(&mut self, record: Record<'_>) -> Result<(), String> {
        self.shard.replay(record, self.now)
    }
}

impl Shard {
    /// Applies one record of one of this shard's partitions. The error names the part that cannot be decoded.
    ///
    /// # Errors
    /// The part that cannot be decoded.
    pub fn replay(&mut self, record: Record<'_>, now: Now) -> Result<(), String> {
        let fact = Fact::read(record).map_err(|error| format!("its payload cannot be read: {error}"))?;
        self.replay_fact(record.partition, fact, now)
    }

    /// Applies one fact of one of this shard's partitions.
    ///
    /// # Errors
    /// It does not follow from those before it.
    pub(super) fn replay_fact(&mut self, partition: PartitionId, fact: Fact<'_>, now: Now) -> Result<(), String> {
        let (node_config, policy) = (Arc::clone(self.node_config()), Arc::clone(&self.node_config().policy));
        let partition = self.partition_mut(partition);
        match fact {
            Fact::Session(id, event) => {
                return replay_session(partition, id, &event, |state, charger, pricing| {
                    HostedSession::new(state, charger, pricing, policy, now)
                });
            }
            Fact::Charger(id, event) => {
                let slot = partition.charger(&id);
                let charger = partition.chargers.get_mut(slot).ok_or("a charger without a cell")?;
                charger.replay(&event);
                if let charger::Event::StartRefused { key, .. } = event {
                    partition.used_number(key);
                }
            }
            Fact::Account(id, event) => {
                node_config.credentials.links().fold(&id, &event);
                let slot = partition.account(&id);
                let account = partition.accounts.get_mut(slot).ok_or("an account without a cell")?;
                account.fold(&event, &mut |entry| partition.books.post(&entry));
            }
            Fact::TariffPinned(hash, source) => {
                let tariff = Tariff::parse_pinned(source).map_err(|error| format!("a pinned tariff: {error}"))?;
                if tariff.hash() != hash {
                    return Err(format!("a tariff is pinned as {hash} but hashes to {}", tariff.hash()));
                }
                partition.pin(Arc::new(tariff));
            }
            Fact::TopUp(id, event) => partition.topped_up(id, &event),
            Fact::Processor(event) => partition.acquainted(&event, &node_config),
            Fact::Settlement(event) => partition.settled(&event),
            Fact::Billing(series, event) => partition.billed(&series, &event),
            Fact::Document(event) => partition.requested(&event),
            Fact::Certificate(event) => partition.expiring.apply(&event),
        }
        Ok(())
    }
}

fn replay_session(
    partition: &mut Partition,
    id: SessionId,
    event: &session::Event,
    host: impl FnOnce(Session, Slot, Pricing) -> HostedSession,
) -> Result<(), String> {
    partition.tally.count(event);
    if let session::Event::Opened(opening) = event {
        return open(partition, opening, host);
    }
    if let session::Event::Restored(archived) = event {
        partition.remove_session(id);
        return insert_session(partition, Session::clone(archived), host).map(drop);
    }
    let cell = partition.find_session(id).ok_or_else(|| format!("session {id} was never opened"))?;
    let hosted = partition.sessions.get_mut(cell).ok_or("a session without a cell")?;
    hosted.fold(event, &mut |entry| partition.books.post(&entry));
    let (slot, state) = (hosted.charger(), hosted.state());
    if let Some(fact) = charger_fact(event, state) {
        project(partition, slot, cell, &fact);
    }
    Ok(())
}

/// The fact for a charger that follows from one of its session.
pub(super) fn charger_fact(event: &session::Event, session: &Session) -> Option<charger::Event> {
    match event {
        session::Event::Ended(ended) | session::Event::Corrected(ended) => Some(ended_fact(ended, session)),
        session::Event::Ruled(_) => {
            session.is_orphan().then(|| session.ended().map(|ended| ended_fact(ended, session)))?
        }
        session::Event::Continued { .. } => {
            let Session { key, id, connector, .. } = session;
            Some(charger::Event::SessionContinued { key: *key, session: *id, connector: *connector })
        }
        session::Event::Quarantined { cause, .. } => {
            let origin = session.origin.as_ref()?;
            let mark = charger::Mark { exact: origin.mark.0, loose: origin.mark.1 };
            let code = codes::of_refused_start(cause.refused()?).number();
            Some(charger::Event::StartRefused { key: session.key, mark, code })
        }
        session::Event::Closed { .. } => Some(charger::Event::SessionClosed { key: session.key }),
        _ => None,
    }
}

fn ended_fact(ended: &session::Ended, session: &Session) -> charger::Event {
    charger::Event::SessionEnded {
        key: session.key,
        at: ended.known_at,
        sequence: session.meter.sequence,
        refused: !ended.admitted && counts_as_refused(session),
        estimated: ended.reason.is_estimate(),
        apart: session.apart().map(|(first, last)| charger::Apart {
            connector: session.connector,
            first,
            last,
            last_at: session.meter.at,
        }),
    }
}

/// Whether a session that was not admitted had a credential that a charger should not present again and again.
fn counts_as_refused(session: &Session) -> bool {
    !matches!(
        session.quarantine().map(|quarantine| quarantine.cause),
        Some(session::Cause::Orphan | session::Cause::Refused(session::StopReason::NotAccepted))
    )
}

/// The fact for a charger that a session of it opened.
pub(super) fn opened_fact(opening: &Opening) -> charger::Event {
    let mark = opening.origin.as_ref().map(|origin| charger::Mark { exact: origin.mark.0, loose: origin.mark.1 });
    charger::Event::SessionOpened { key: opening.key, session: opening.id, connector: opening.connector, mark }
}

fn open(
    partition: &mut Partition,
    opening: &Opening,
    host: impl FnOnce(Session, Slot, Pricing) -> HostedSession,
) -> Result<(), String> {
    let tariff =
        partition.pinned(&opening.tariff).ok_or_else(|| format!("tariff {} was never pinned", opening.tariff))?;
    let zone = TimeZone::get(&opening.zone).map_err(|error| error.to_string())?;
    let rating = Rating::open(&tariff, &zone, opening.at, Energy::ZERO).map_err(|error| error.to_string())?;
    let slot = partition.charger(&opening.charger);
    let state = Session::new(opening, rating, tariff.currency());
    let cell = partition.insert_session(host(state, slot, Pricing { tariff, zone }));
    project(partition, slot, cell, &opened_fact(opening));
    if opening.origin.is_some() {
        partition.used_number(opening.key);
    }
    Ok(())
}

fn project(partition: &mut Partition, slot: u32, cell: u32, fact: &charger::Event) {
    if let Some(charger) = partition.chargers.get_mut(slot) {
        charger.project(fact, cell);
    }
}
